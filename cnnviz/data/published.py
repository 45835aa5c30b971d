"""Data sets that are published on the web: read from a folder, downloaded through torchvision only when asked.

The folder is `data` in the working directory, or what the environment variable CNNVIZ_DATA names. MNIST's files are
read as they are published (`.gz` or unpacked), so copying four files there is enough on a machine without a network.
No page ever downloads by itself.
"""

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnnviz.data.bundled import DIGITS, bundled_positions
from cnnviz.data.dataset import DataSet
from cnnviz.errors import DataError
from cnnviz.networks.torchvision_import import torchvision_module

GARMENTS = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_MNIST_LICENCE = "MNIST, LeCun, Cortes & Burges 1998, widely given as CC BY-SA 3.0"
_FASHION_LICENCE = "Fashion-MNIST, Xiao, Rasul & Vollgraf 2017, MIT"
_CIFAR_LICENCE = "CIFAR-10, Krizhevsky 2009, no licence stated"


def data_folder() -> Path:
    """Where published data sets lie: $CNNVIZ_DATA, or `data` in the working directory."""
    return Path(os.environ.get("CNNVIZ_DATA") or "data").expanduser()


def mnist(split: str) -> DataSet:
    """MNIST: "train" 60,000, "test" 10,000, "train-55000" the train split without the 5,000 bundled digits."""
    whole = _idx_data("mnist", "MNIST", DIGITS, split="test" if split == "test" else "train", licence=_MNIST_LICENCE)
    if split != "train-55000":
        return whole
    assert whole.labels is not None
    others = np.delete(np.arange(len(whole)), bundled_positions(whole.labels))
    return whole.take(others, split=split)


def fashion_mnist(split: str) -> DataSet:
    """Fashion-MNIST: "train" 60,000, "test" 10,000."""
    return _idx_data("fashion-mnist", "FashionMNIST", GARMENTS, split=split, licence=_FASHION_LICENCE)


def cifar_10(split: str) -> DataSet:
    """CIFAR-10 as published: "train" 50,000, "test" 10,000, 3×32×32."""
    if not (data_folder() / "cifar-10-batches-py").is_dir():  # before torchvision is imported, which takes a second
        raise _no_cifar()
    try:
        source = torchvision_module("datasets").CIFAR10(data_folder(), train=split == "train", download=False)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise _no_cifar() from error
    return _data_set("cifar-10", split, source.data, np.asarray(source.targets), CIFAR, _CIFAR_LICENCE)


def _no_cifar() -> DataError:
    return _absent("cifar-10", "cifar-10-batches-py", ("data_batch_1 … data_batch_5", "test_batch"))


def download(name: str) -> None:
    """Fetch a published data set into the data folder; raises DataError when that fails."""
    fetchers: dict[str, Callable[..., Any]] = {
        "mnist": torchvision_module("datasets").MNIST,
        "fashion-mnist": torchvision_module("datasets").FashionMNIST,
        "cifar-10": torchvision_module("datasets").CIFAR10,
    }
    if name not in fetchers:
        raise DataError(f"{name} cannot be downloaded; only {', '.join(fetchers)} can.")
    try:
        fetchers[name](data_folder(), download=True)
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(":. ")
        raise DataError(f"{name} could not be fetched into {data_folder()} ({reason}); is there a network?") from error


def _idx_data(name: str, folder: str, classes: tuple[str, ...], *, split: str, licence: str) -> DataSet:
    stem = "train" if split == "train" else "t10k"
    raw = data_folder() / folder / "raw"
    files = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    images, labels = (_read_idx(name, raw, file) for file in files)
    if len(images) != len(labels):
        raise DataError(
            f"{files[0]} has {len(images)} pictures but {files[1]} has {len(labels)} labels; copy both again."
        )
    return _data_set(name, split, images, labels.astype(np.int64), classes, licence)


def _data_set(
    name: str, split: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], licence: str
) -> DataSet:
    title = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar-10": "CIFAR-10"}[name]
    return DataSet(
        name=name,
        title=title,
        split=split,
        images=images,
        labels=labels.astype(np.int64),
        classes=classes,
        index=np.arange(len(images)),
        source=f"{title} {split}",
        licence=licence,
    )


def _read_idx(name: str, folder: Path, file: str) -> np.ndarray:
    """An array in MNIST's own format: two zero bytes, type 8, number of dimensions, sizes, bytes."""
    content = _content(name, folder, file)
    try:
        zero, kind, dimensions = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
        if (zero, kind) != (0, 8):
            raise ValueError("not an idx file of bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (struct.error, ValueError) as error:
        raise DataError(f"{folder / file} is damaged or not one of {name}'s files; copy it again.") from error


def _content(name: str, folder: Path, file: str) -> bytes:
    packed = folder / f"{file}.gz"
    try:
        if packed.exists():
            return gzip.decompress(packed.read_bytes())
        if (folder / file).exists():
            return (folder / file).read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{packed} is damaged; copy it again.") from error
    names = tuple(f"{s}-{k}-ubyte.gz" for s in ("train", "t10k") for k in ("images-idx3", "labels-idx1"))
    raise _absent(name, str(folder.relative_to(data_folder())), names)


def _absent(name: str, folder: str, files: tuple[str, ...]) -> DataError:
    return DataError(
        f"{name} is not on this machine: put {', '.join(files)} into {data_folder() / folder}, "
        f"or fetch it with a network by: python -m cnnviz.data {name}"
    )
