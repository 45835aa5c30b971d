"""Data sets by name: `cnnviz.data.open("mnist-5000")`. Bundled ones need no download and are read in under a second.

A data set is read once and kept (the last few), so opening it again is free; its arrays are read-only because they are
shared.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from cnnviz.data import bundled, composed, folders, photos, published
from cnnviz.data.dataset import DataSet, stratified
from cnnviz.data.folders import open_folder
from cnnviz.data.published import data_folder
from cnnviz.errors import DataError


@dataclass(frozen=True)
class DataInfo:
    """A data set that can be opened by name. `splits` starts with the one opened unless another is asked for.

    `files` are paths in the data folder of which one tells that a published data set is there; bundled ones have none.
    """

    name: str
    title: str
    reader: Callable[[str], DataSet]
    splits: tuple[str, ...]
    bundled: bool
    size: tuple[int, int, int] | None
    classes: tuple[str, ...]
    files: tuple[str, ...] = ()

    @property
    def training_split(self) -> str:
        """The split to train on: for MNIST the one without the bundled digits, so that those stay unseen."""
        return "train-55000" if "train-55000" in self.splits else "train"


def _cifar_10_jpeg(split: str) -> DataSet:
    """CIFAR-10 as lossy JPEG files: `cifar10_jpeg/train/CLASS/*.jpg` and `test` in the data folder."""
    folder = data_folder() / "cifar10_jpeg"
    if not folder.is_dir():
        raise DataError(
            f"cifar-10-jpeg is not on this machine: put its train and test folders, each with one folder per class, "
            f"into {folder}."
        )
    licence = "CIFAR-10, Krizhevsky 2009, no licence stated; a copy compressed as JPEG"
    return open_folder(folder, name="cifar-10-jpeg", split=split, licence=licence)


_CONTENTS = (
    DataInfo(
        "mnist-5000",
        "MNIST, 5,000 bundled digits",
        bundled.mnist_5000,
        ("all", "train", "test"),
        True,
        (1, 28, 28),
        bundled.DIGITS,
    ),
    DataInfo("digits-8x8", "Digits 8×8", bundled.digits_8x8, ("all", "train", "test"), True, (1, 8, 8), bundled.DIGITS),
    DataInfo("photos", "Photos", photos.photos, ("all",), True, None, ()),
    DataInfo(
        "digits-on-photos-32",
        "Digits on photos 32×32 (composed)",
        composed.digits_on_photos_32,
        ("test", "train"),
        True,
        (3, 32, 32),
        bundled.DIGITS,
    ),
    DataInfo(
        "digits-on-photos-64",
        "Digits on photos 64×64 (composed)",
        composed.digits_on_photos_64,
        ("test", "train"),
        True,
        (3, 64, 64),
        bundled.DIGITS,
    ),
    DataInfo(
        "mnist",
        "MNIST",
        published.mnist,
        ("test", "train", "train-55000"),
        False,
        (1, 28, 28),
        bundled.DIGITS,
        ("MNIST/raw/t10k-images-idx3-ubyte.gz", "MNIST/raw/t10k-images-idx3-ubyte"),
    ),
    DataInfo(
        "fashion-mnist",
        "Fashion-MNIST",
        published.fashion_mnist,
        ("test", "train"),
        False,
        (1, 28, 28),
        published.GARMENTS,
        ("FashionMNIST/raw/t10k-images-idx3-ubyte.gz", "FashionMNIST/raw/t10k-images-idx3-ubyte"),
    ),
    DataInfo(
        "cifar-10",
        "CIFAR-10",
        published.cifar_10,
        ("test", "train"),
        False,
        (3, 32, 32),
        published.CIFAR,
        ("cifar-10-batches-py/test_batch",),
    ),
    DataInfo(
        "cifar-10-jpeg",
        "CIFAR-10, a JPEG copy",
        _cifar_10_jpeg,
        ("test", "train"),
        False,
        (3, 32, 32),
        published.CIFAR,
        ("cifar10_jpeg/test",),
    ),
)

DATASETS: MappingProxyType[str, DataInfo] = MappingProxyType({info.name: info for info in _CONTENTS})

_lock = threading.RLock()


def open(name: str, split: str | None = None, *, download: bool = False) -> DataSet:
    """A data set by name; `split` None is the first of its splits.

    `download=True` fetches a published one when it is not there. Raises DataError, with the files to put where, when it
    is not there, and for a name or split that does not exist.
    """
    info = dataset_info(name)
    chosen = split or info.splits[0]
    if chosen not in info.splits:
        raise DataError(f"{name} has no split {chosen!r}; it has {', '.join(info.splits)}.")
    with _lock:
        try:
            return _read(name, chosen, str(data_folder()))
        except DataError:
            if not download or info.bundled:
                raise
        published.download(name)
        return _read(name, chosen, str(data_folder()))


def dataset_info(name: str) -> DataInfo:
    """The entry of `DATASETS`; raises DataError with the list of names."""
    if name not in DATASETS:
        raise DataError(f"{name!r} is not a data set; there are {', '.join(DATASETS)}.")
    return DATASETS[name]


def is_here(name: str) -> bool:
    """Whether a data set can be opened without a network; looks for its files and reads none."""
    info = dataset_info(name)
    return info.bundled or any((data_folder() / file).exists() for file in info.files)


@lru_cache(maxsize=6)
def _read(name: str, split: str, folder: str) -> DataSet:
    """`folder` is part of the key only: another CNNVIZ_DATA is another data set."""
    return DATASETS[name].reader(split)


from cnnviz.data.gallery import GALLERY, GalleryPicture, gallery_for  # noqa: E402  it opens data sets by name

__all__ = [
    "DATASETS",
    "GALLERY",
    "DataInfo",
    "DataSet",
    "GalleryPicture",
    "data_folder",
    "dataset_info",
    "folders",
    "gallery_for",
    "is_here",
    "open",
    "open_folder",
    "stratified",
]
