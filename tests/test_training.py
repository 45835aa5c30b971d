"""Training learns, repeats, resumes to the bit, leaves the process's randomness alone, and says what went wrong."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from cnnviz import data as datasets
from cnnviz.data import DataSet
from cnnviz.errors import Cancelled, CnnvizError, DataError, NetworkError
from cnnviz.networks import NETWORKS
from cnnviz.training import (
    Epoch,
    Step,
    TrainingError,
    _flip,
    _one_cycle,
    _Pictures,
    _shift,
    accuracy_and_loss,
    chosen_device,
    preset,
    train,
)

QUICK: dict[str, Any] = {"epochs": 3, "batch": 32, "pictures": 256, "relu_on_logits": False}
TINY: dict[str, Any] = {"filters": 4, "filters2": 4, "units": 16, "kernel": 3, "padding": 1, "size": (1, 8, 8)}


def run(network: str = "net", **options: Any) -> list[Epoch]:
    return list(train(network, **{"data": "digits-8x8", **options}))


def same(first: Epoch, second: Epoch) -> bool:
    return all(torch.equal(first.weights[key], second.weights[key]) for key in first.weights)


def test_a_network_learns_the_bundled_digits() -> None:
    epochs = run(epochs=6, rate=5e-3, batch=32, relu_on_logits=False)
    assert [epoch.number for epoch in epochs] == list(range(7))
    assert epochs[0].train_loss is None and epochs[0].test_accuracy < 0.4
    assert epochs[-1].test_accuracy > 0.9 and epochs[-1].test_loss < epochs[1].test_loss < epochs[0].test_loss


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(precision: str) -> None:
    options = {**TINY, "epochs": 2, "pictures": 200, "precision": precision}
    first, second, other = (run("two-conv", **options, seed=seed)[-1] for seed in (1, 1, 2))
    assert same(first, second) and not same(first, other)


@pytest.mark.parametrize(
    "options",
    [
        {"optimiser": "adam", "augment": ("shift 1", "flip")},
        {"optimiser": "sgd", "rate": 0.05, "schedule": "one-cycle", "weight_decay": 1e-3},
    ],
    ids=["adam", "sgd"],
)
def test_a_run_that_is_resumed_ends_with_the_same_weights_bit_for_bit(options: dict[str, Any]) -> None:
    whole = run("two-conv", **TINY, epochs=4, pictures=200, **options)  # dropout draws from the global generator
    torch.rand(7)
    continued = list(train("two-conv", data="digits-8x8", resume=whole[2]))
    assert [epoch.number for epoch in continued] == [3, 4]
    for epoch in continued:
        assert same(epoch, whole[epoch.number])


def test_what_resuming_needs_survives_a_file_of_plain_tensors(tmp_path) -> None:
    whole = run("small-vgg", data="digits-on-photos-32", filters=4, epochs=2, batch=32, pictures=128)
    torch.save({"weights": whole[1].weights, "resume": whole[1].resume}, tmp_path / "snapshot.pt")
    read = torch.load(tmp_path / "snapshot.pt", weights_only=True)
    from dataclasses import replace

    again = replace(whole[1], weights=read["weights"], resume=read["resume"])
    assert same(list(train("small-vgg", resume=again))[-1], whole[2])


def test_more_epochs_can_be_added_to_a_finished_run() -> None:
    whole = run(**QUICK)
    longer = list(train("net", resume=whole[-1], epochs=5))
    assert [epoch.number for epoch in longer] == [4, 5]


def test_the_processs_own_randomness_goes_on_as_if_nothing_had_been_trained() -> None:
    expected = torch.Generator().manual_seed(5)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(expected.get_state())
        for _ in train("two-conv", data="digits-8x8", **TINY, epochs=1, pictures=64):
            drawn = torch.rand(3)
            assert torch.equal(drawn, torch.rand(3, generator=expected))


def test_a_snapshot_does_not_change_while_training_goes_on() -> None:
    epochs = train("net", data="digits-8x8", **QUICK)
    start = next(epochs)
    before = {key: value.clone() for key, value in start.weights.items()}
    list(epochs)
    assert all(torch.equal(before[key], value) for key, value in start.weights.items())


def test_the_test_accuracy_is_that_of_the_snapshot_on_the_whole_test_split_with_dropout_off() -> None:
    epoch = run("two-conv", **TINY, epochs=1, pictures=300, mean=(0.3,), std=(0.4,))[-1]
    network = NETWORKS["two-conv"].build(**epoch.settings.arguments)
    network.load_state_dict(epoch.weights)
    test = datasets.open("digits-8x8", "test")
    images = (torch.tensor(np.asarray(test.images))[:, None].float() / 255 - 0.3) / 0.4
    with torch.no_grad():
        right = network.eval()(images).argmax(1) == torch.tensor(test.labels)
    assert epoch.test_accuracy == pytest.approx(float(right.double().mean()), abs=1 / len(test) + 1e-9)


def test_accuracy_is_measured_in_evaluation_mode_and_the_mode_is_put_back() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Flatten(), torch.nn.Linear(4, 3)).train()
    images, labels = torch.rand(9, 1, 2, 2), torch.zeros(9, dtype=torch.int64)
    assert accuracy_and_loss(network, images, labels) == accuracy_and_loss(network, images, labels, batch=2)
    assert network.training


def test_norms_per_parameter_tell_how_gradients_and_weights_fare() -> None:
    start, end = run(**{**QUICK, "epochs": 1})
    assert start.gradient_norms == {} and set(end.gradient_norms) == set(end.weight_norms) == set(end.weights)
    assert end.weight_norms["fc1.bias"] == pytest.approx(float(end.weights["fc1.bias"].norm()), rel=1e-5)
    assert all(norm > 0 for norm in end.gradient_norms.values())


def test_progress_tells_how_far_an_epoch_is_and_may_stop_the_run() -> None:
    steps: list[Step] = []

    def listen(step: Step) -> None:
        steps.append(step)
        if step.epoch == 2:
            raise Cancelled

    epochs = train("net", data="digits-8x8", progress=listen, **QUICK)
    assert [next(epochs).number, next(epochs).number] == [0, 1]
    with pytest.raises(Cancelled):
        next(epochs)
    assert [step.done for step in steps[:8]] == list(range(32, 257, 32))
    assert all(step.total == 256 and math.isfinite(step.loss) for step in steps)


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence() -> None:
    with pytest.raises(TrainingError, match="no longer a number in epoch 1; try a rate below 1e\\+30"):
        run(**{**QUICK, "rate": 1e30, "optimiser": "sgd"})


def pair_of(images: np.ndarray, labels: np.ndarray) -> tuple[DataSet, DataSet]:
    made = DataSet("own", "Own", "all", images, labels, ("a", "b"), np.arange(len(labels)), "own", "mine")
    return made, made


def test_a_pair_of_ones_own_data_sets_trains_a_network_of_their_size_and_classes() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 64)
    images = (generator.integers(0, 60, (64, 10, 12)) + 190 * labels[:, None, None]).astype(np.uint8)
    epoch = list(train("one-conv", data=pair_of(images, labels), epochs=10, batch=16, rate=0.01))[-1]
    assert epoch.settings.arguments["size"] == (1, 10, 12) and epoch.settings.arguments["classes"] == 2
    assert epoch.test_accuracy > 0.95


def test_a_notes_own_settings_are_its_preset() -> None:
    three, two = preset("two-conv"), preset("one-conv")
    assert (three.optimiser, three.rate, three.batch, three.epochs) == ("adam", 1e-2, 200, 10)
    assert (three.mean, three.std) == ((0.1307,), (0.3081,))
    assert (two.optimiser, two.rate, two.batch, two.mean) == ("adam", 1e-3, 64, None)


@pytest.mark.parametrize(
    ("network", "options", "says", "kind"),
    [
        ("one-conv", {"epochs": 0}, "epochs must be at least 1", TrainingError),
        ("one-conv", {"rate": 0}, "rate must be a number above 0", TrainingError),
        ("one-conv", {"rate": math.nan}, "rate must be a number above 0", TrainingError),
        ("one-conv", {"optimiser": "rmsprop"}, "optimiser must be one of adam, sgd", TrainingError),
        ("one-conv", {"momentum": 1.0}, "below 1", TrainingError),
        ("one-conv", {"augment": ("melt",)}, "'melt' is not an augmentation", TrainingError),
        ("one-conv", {"augment": ("shift 0",)}, "'shift 0' is not an augmentation", TrainingError),
        ("one-conv", {"colour": "red"}, "'colour' is no option of training one-conv", TrainingError),
        ("one-conv", {"filters": 0}, "Filters must be a whole number", NetworkError),
        ("one-conv", {"data": "photos"}, "photos has no labels to learn", DataError),
        ("one-conv", {"data": "mnits"}, "is not a data set", DataError),
        ("one-conv", {"data": "digits-8x8", "classes": 4}, "has 10 classes; the network has 4", TrainingError),
        ("one-conv", {"data": "digits-8x8", "mean": (0, 0)}, "mean and std need 1 or 1", TrainingError),
        ("one-conv", {"data": "digits-8x8", "device": "tpu"}, "no device 'tpu'; it has cpu|cuda", TrainingError),
        ("efficientnet-lite0", {}, "comes trained and is not trained here", TrainingError),
        ("five-conv", {}, "is not a network", NetworkError),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_runs(
    network: str, options: dict[str, Any], says: str, kind: type[CnnvizError]
) -> None:
    with pytest.raises(kind, match=says):
        next(train(network, **options))


def test_the_device_is_chosen_and_said() -> None:
    assert chosen_device().type in ("cuda", "mps", "cpu")
    assert run(**{**QUICK, "epochs": 1, "device": "cpu"})[0].device == "cpu"


def pictures(size: int = 6) -> Iterator[torch.Tensor]:
    yield torch.rand(4, size, size, 2)


def test_shifting_moves_a_picture_and_brings_in_black() -> None:
    black = torch.tensor([-1.0, -2.0])
    for batch in pictures():
        moved = _shift(batch, black, torch.Generator().manual_seed(0), 2)
        for before, after in zip(batch, moved, strict=True):
            places = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if _is_moved(before, after, dy, dx, black)]
            assert len(places) == 1


def _is_moved(before: torch.Tensor, after: torch.Tensor, dy: int, dx: int, black: torch.Tensor) -> bool:
    high, wide = before.shape[:2]
    expected = black.expand(high, wide, 2).clone()
    for row in range(high):
        for column in range(wide):
            if 0 <= row + dy < high and 0 <= column + dx < wide:
                expected[row, column] = before[row + dy, column + dx]
    return torch.equal(expected, after)


def test_flipping_mirrors_about_half_of_the_pictures_left_to_right() -> None:
    batch = torch.rand(200, 3, 4, 1)
    flipped = _flip(batch, torch.zeros(1), torch.Generator().manual_seed(0))
    mirrored = [torch.equal(after, before.flip(1)) for before, after in zip(batch, flipped, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(batch, flipped, strict=True)]
    assert sum(mirrored) + sum(kept) == 200 and 70 < sum(mirrored) < 130


def test_one_cycle_rises_then_falls_to_almost_nothing() -> None:
    values = [_one_cycle(moment / 100) for moment in range(100)]
    assert max(values) == pytest.approx(1, abs=0.01) and values.index(max(values)) == 25
    assert values[0] == pytest.approx(0.04) and values[-1] < 0.002


def test_pictures_are_normalised_once_and_channels_last() -> None:
    source = datasets.open("digits-on-photos-32", "test")
    settings = preset("small-vgg")
    made = _Pictures(source, settings, torch.device("cpu"), torch.float32)
    batch, labels = made.batch(torch.tensor([5, 3]))
    assert batch.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)
    expected = (source[5][..., 1] / 255 - settings.mean[1]) / settings.std[1]
    np.testing.assert_allclose(batch[0, ..., 1].numpy(), expected, atol=1e-5)
    assert labels.tolist() == [source.labels[5], source.labels[3]]
    assert torch.equal(
        made.images.dtype is torch.float32 and made.black, -torch.tensor(settings.mean) / torch.tensor(settings.std)
    )
