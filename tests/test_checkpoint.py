"""Weights and card survive a round trip; a hostile or unfitting file is refused in one sentence and runs nothing."""

import copy
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from cnnviz import checkpoint
from cnnviz.checkpoint import MODELS, load, read, save, save_epochs, save_weights
from cnnviz.errors import CheckpointError, NetworkError
from cnnviz.model import Model
from cnnviz.networks import NETWORKS

SHIPPED = [name for name, info in MODELS.items() if info.path is not None]


def small(**arguments: Any) -> nn.Module:
    return NETWORKS["one-conv"].build(filters=2, **arguments)


CARD = {
    "name": "small",
    "network": "one-conv",
    "arguments": {"filters": 2},
    "preprocessing": checkpoint.preprocessing((1, 28, 28), (0.1307,), (0.3081,)),
    "classes": list("abcdefghij"),
}


def same_scores(first: Model, second: Model) -> bool:
    images = torch.rand(3, *first.size, generator=torch.Generator().manual_seed(0))
    return torch.equal(first.scores(images), second.scores(images))


def test_a_saved_model_is_opened_again_with_its_scores_preprocessing_and_classes(tmp_path) -> None:
    model = Model(small(), (1, 28, 28), 0.1307, 0.3081, "abcdefghij", name="small", card=CARD)
    save(model, tmp_path / "w.safetensors")
    again = load(tmp_path / "w.safetensors")
    assert same_scores(model, again) and again.digest == model.digest
    assert again.classes == tuple("abcdefghij") and again.mean == model.mean and again.name == "small"


def test_a_model_of_ones_own_is_saved_and_filled_into_a_copy_of_its_network(tmp_path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 6, 3))
    model = Model(network, (1, 8, 8), classes="xyz")
    save(model, tmp_path / "own.safetensors")
    with pytest.raises(CheckpointError, match=r'network="two-conv"'):
        load(tmp_path / "own.safetensors")
    empty = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 6, 3))
    before = empty[0].weight.clone()
    again = load(tmp_path / "own.safetensors", network=empty)
    assert same_scores(model, again) and again.classes == ("x", "y", "z")
    assert torch.equal(empty[0].weight, before)


@pytest.mark.parametrize("wrap", ["{}", "module.{}", "_orig_mod.{}", "module._orig_mod.{}", "model.{}"])
def test_prefixes_that_wrappers_leave_are_taken_off(wrap: str, tmp_path) -> None:
    network = small()
    torch.save({wrap.format(key): value for key, value in network.state_dict().items()}, tmp_path / "w.pth")
    weights = read(tmp_path / "w.pth").weights
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("nest", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_inside_a_training_snapshot_is_found(nest: str, tmp_path) -> None:
    torch.save({nest: small().state_dict(), "epoch": 3, "optimiser": {"lr": 0.1}}, tmp_path / "w.pt")
    assert set(read(tmp_path / "w.pt").weights) == set(small().state_dict())


def test_the_notes_own_keys_open_under_this_projects_names(tmp_path) -> None:
    ours = NETWORKS["two-conv"].build(units=8)
    notes = {"conv1": "l1.0", "conv2": "l2.0"}
    state = {
        ".".join((notes.get(key.split(".")[0], key.split(".")[0]), key.split(".")[1])): value
        for key, value in ours.state_dict().items()
    }
    assert "l1.0.weight" in state
    save_weights(state, {**CARD, "network": "two-conv", "arguments": {"units": 8}}, tmp_path / "w.safetensors")
    assert torch.equal(load(tmp_path / "w.safetensors").network.conv2.weight, ours.conv2.weight)


def test_the_number_of_classes_is_told_by_the_weights_when_there_is_no_card(tmp_path) -> None:
    torch.save(NETWORKS["one-conv"].build(classes=4).state_dict(), tmp_path / "w.pth")
    assert len(load(tmp_path / "w.pth", network="one-conv").classes) == 4


def test_a_state_dict_for_a_torchvision_network_opens(tmp_path) -> None:
    from cnnviz.networks.published import torchvision_network

    state = torchvision_network("torchvision:squeezenet1_1", classes=7).network.state_dict()
    torch.save(state, tmp_path / "w.pth")
    model = load(tmp_path / "w.pth", network="torchvision:squeezenet1_1")
    assert len(model.classes) == 7 and model.resize == "crop 256 bilinear"
    assert all(torch.equal(model.network.state_dict()[key], value) for key, value in state.items())


def test_a_file_of_another_network_is_refused_with_the_keys_that_do_not_fit(tmp_path) -> None:
    torch.save(NETWORKS["net"].build(size=(1, 28, 28), classes=10).state_dict(), tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=r"another network than OneConv: .*conv1\.weight is 32×1×5×5, wanted 8×1×3×3"
    ):
        load(tmp_path / "net.pth", network="one-conv")
    with pytest.raises(CheckpointError, match=r"missing \(conv2\.weight"):
        load(tmp_path / "net.pth", network="two-conv")


def test_nothing_is_copied_into_a_network_unless_everything_fits() -> None:
    network, other = small(), small().state_dict()
    other["fc1.bias"] = torch.zeros(3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"fc1\.bias is 3, wanted 10"):
        checkpoint.fill(network, other)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_weights_that_are_nan_are_opened_and_reported(tmp_path) -> None:
    state = small().state_dict()
    state["conv1.weight"][0, 0, 0, 0] = float("nan")
    state["fc1.bias"][:2] = float("inf")
    save_weights(state, CARD, tmp_path / "w.safetensors")
    remarks = read(tmp_path / "w.safetensors").remarks
    assert len(remarks) == 2 and "conv1.weight has 1 of 18 values that are NaN or infinite" in remarks
    assert load(tmp_path / "w.safetensors").card["remarks"] == list(remarks)


class Mischief:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def compressed(path: Path) -> None:
    plain = io.BytesIO()
    torch.save({"w": torch.zeros(1_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))


def hostile(kind: str, folder: Path) -> Path:
    """A bad file of the kind, and nothing else in the folder."""
    path = folder / ("w.safetensors" if kind.startswith("safetensors") else "w.pth")
    good = safetensors.torch.save(small().state_dict())
    whole = io.BytesIO()
    torch.save(small().state_dict(), whole)
    contents = {
        "empty": b"",
        "noise": bytes(range(256)) * 8,
        "bare pickle": pickle.dumps(Mischief(folder / "ran")),
        "truncated zip": whole.getvalue()[:-400],
        "safetensors truncated": good[:-8],
        "safetensors header only": good[:20],
        "safetensors header too long": struct.pack("<Q", 1 << 60) + good[8:],
        "safetensors header of the wrong kind": struct.pack("<Q", 2) + b"[]",
        "safetensors overlapping": struct.pack("<Q", 62)
        + json.dumps({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode().ljust(62)
        + b"\0\0\0\0",
        "safetensors huge shape": struct.pack("<Q", 80)
        + json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}).encode().ljust(80)
        + b"\0\0\0\0",
    }
    if kind in contents:
        path.write_bytes(contents[kind])
        return path
    objects = {
        "pickle that runs code": {"w": Mischief(folder / "ran")},
        "pickled network": nn.Linear(2, 2),
        "a number": 3,
        "not tensors": {"w": torch.zeros(2), "name": "x"},
        "stride zero": {"w": torch.zeros(1).expand(1 << 20, 1 << 20)},
        "sparse": {"w": torch.eye(3).to_sparse()},
        "no tensors": {},
    }
    if kind in objects:
        torch.save(objects[kind], path)
    elif kind == "compressed zip":
        compressed(path)
    elif kind == "torchscript":
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    elif kind == "old format":
        torch.save(small().state_dict(), path, _use_new_zipfile_serialization=False)
    elif kind == "exported program":
        torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path.with_suffix(".pt2"))
        return path.with_suffix(".pt2")
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "damaged, cut off, or not a file of weights"),
        ("noise", "damaged, cut off, or not a file of weights"),
        ("bare pickle", "bare pickle"),
        ("old format", "before 1.6"),
        ("pickle that runs code", "a pickle can run code"),
        ("pickled network", r"pickled object \(torch.nn.modules.linear.Linear\)"),
        ("truncated zip", "damaged"),
        ("compressed zip", "compressed entries"),
        ("a number", "is not a state dict"),
        ("not tensors", "is not a state dict"),
        ("no tensors", "is not a state dict"),
        ("stride zero", "claims 1099511627776 values and holds 1"),
        ("sparse", "quantised or sparse"),
        ("torchscript", "is TorchScript"),
        ("exported program", "is an exported program"),
        ("safetensors truncated", "damaged or cut off"),
        ("safetensors header only", "header is longer than the file"),
        ("safetensors header too long", "header is longer than the file"),
        ("safetensors header of the wrong kind", "header is not a table"),
        ("safetensors overlapping", "damaged or cut off"),
        ("safetensors huge shape", "damaged or cut off"),
    ],
)
def test_a_hostile_file_is_refused_in_one_sentence_and_runs_nothing(kind: str, says: str, tmp_path) -> None:
    path = hostile(kind, tmp_path)
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=says) as caught:
        load(path, network="one-conv")
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_bomb_of_stored_entries_that_share_their_bytes_is_refused(tmp_path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("w/data/0", bytes(100_000))
        for number in range(1, 50):
            again = copy.copy(archive.filelist[0])
            again.filename = f"w/data/{number}"
            archive.filelist.append(again)
    with pytest.raises(CheckpointError, match=r"w\.pth claims to unpack to more than it holds"):
        read(path)


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "w.pth"
    torch.save(small().state_dict(), path)
    monkeypatch.setattr(checkpoint, "MOST_BYTES", path.stat().st_size)
    read(path)
    monkeypatch.setattr(checkpoint, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="files of up to"):
        read(path)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"network": "three-conv"}, "is not a network"),
        ({"network": "one-conv", "arguments": {"filters": 10**9}}, "from 1 to 128"),
        (
            {"network": "one-conv", "arguments": {"filters": 2}, "preprocessing": {"mean": [0]}},
            "card that does not fit",
        ),
        ({"network": "one-conv", "arguments": {"filters": 2}, "classes": ["only one"]}, "class"),
        ({"network": "one-conv", "arguments": [1, 2]}, "card that does not fit"),
    ],
)
def test_a_card_that_lies_is_refused(card: dict[str, Any], says: str, tmp_path) -> None:
    save_weights(small().state_dict(), card, tmp_path / "w.safetensors")
    with pytest.raises((CheckpointError, NetworkError), match=says):
        load(tmp_path / "w.safetensors")


def test_a_damaged_card_is_named(tmp_path) -> None:
    safetensors.torch.save_file(small().state_dict(), tmp_path / "w.safetensors", {"card": "{not json"})
    with pytest.raises(CheckpointError, match="damaged card"):
        load(tmp_path / "w.safetensors")


def test_a_name_that_is_neither_model_nor_file_is_answered_with_what_there_is() -> None:
    with pytest.raises(CheckpointError, match="neither a model nor a file; models are mnist-two-conv"):
        load("mnist-three-conv")


def test_code_is_opened_from_the_command_line_only() -> None:
    with pytest.raises(CheckpointError, match="python -m dashboard --model os:system"):
        load("os:system")


def test_an_onnx_file_gets_the_way_to_export(tmp_path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"\x08\x07")
    with pytest.raises(CheckpointError, match=r"torch\.export\.save"):
        load(tmp_path / "w.onnx")


def test_a_file_appears_whole_or_not_at_all(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(small().state_dict(), CARD, tmp_path / "absent" / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        save_weights(small().state_dict(), CARD, tmp_path / "w.pth")
    assert list(tmp_path.iterdir()) == []


def test_tied_weights_are_written(tmp_path) -> None:
    shared = torch.rand(3, 3)
    save_weights({"a": shared, "b": shared}, {}, tmp_path / "w.safetensors")
    assert torch.equal(read(tmp_path / "w.safetensors").weights["b"], shared)


def test_a_history_gives_each_epoch_back_to_three_digits(tmp_path, monkeypatch) -> None:
    start, end = small().state_dict(), small().state_dict()
    save_weights(end, {**CARD, "epochs": 9}, tmp_path / "small.safetensors")
    save_epochs({0: start, 7: end}, CARD, tmp_path / "small.epochs.safetensors")
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path)
    info = checkpoint._shipped_info(tmp_path / "small.safetensors")
    monkeypatch.setattr(checkpoint, "MODELS", {"small": info})
    assert checkpoint.epochs("small") == (0, 7, 9)
    assert all(torch.equal(checkpoint.epoch_weights("small", 9)[key], tensor) for key, tensor in end.items())
    for number, state in ((0, start), (7, end)):
        weights = checkpoint.epoch_weights("small", number)
        for key, tensor in state.items():
            assert weights[key].dtype == torch.float32
            assert (weights[key] - tensor).norm() <= 1e-3 * tensor.norm()
    assert load("small", epoch=0).digest != load("small").digest
    with pytest.raises(CheckpointError, match="no weights of epoch 3; its epochs are 0, 7, 9"):
        load("small", epoch=3)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_opens_and_its_card_says_how_it_was_made(name: str) -> None:
    model, card = load(name), MODELS[name].card
    assert model.name == name and len(model.classes) == len(card["classes"])
    for entry in ("title", "network", "arguments", "preprocessing", "data", "seed", "epochs", "date", "versions"):
        assert card[entry] is not None, entry
    assert 0 < card["accuracy"]["right"] <= card["accuracy"]["pictures"]
    assert str(card["accuracy"]["value"])[:6] == str(card["accuracy"]["right"] / card["accuracy"]["pictures"])[:6]


@pytest.mark.parametrize(("name", "least"), [("mnist-one-conv", 0.975), ("mnist-two-conv", 0.985)])
def test_a_shipped_mnist_network_recognises_the_bundled_digits_it_never_saw(name: str, least: float) -> None:
    from cnnviz import data

    digits = data.open("mnist-5000", "test")
    model = load(name)
    assert model.card["data"]["split"] == "train-55000"
    images = torch.tensor(np.asarray(digits.images))[:, None].float() / 255
    right = model.scores(images).argmax(1) == torch.tensor(digits.labels)
    assert right.double().mean() >= least


def test_the_shipped_checkpoints_stay_small() -> None:
    assert sum(path.stat().st_size for path in checkpoint.FOLDER.glob("*.safetensors")) <= 60_000_000


def test_efficientnet_recognises_a_cat_and_an_espresso() -> None:
    from cnnviz import data

    model, photos = load("efficientnet-lite0"), data.open("photos")
    first = model.scores(model.prepare([photos[0], photos[1]])).argmax(1)
    assert "cat" in model.classes[first[0]] and model.classes[first[1]] == "espresso"


def test_random_weights_are_the_same_at_every_load_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again = load("torchvision:squeezenet1_1"), load("torchvision:squeezenet1_1")
    assert first.digest == again.digest
    assert torch.equal(before, torch.get_rng_state())
