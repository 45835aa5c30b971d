"""What a data set is: pictures, labels, and where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import DataError

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Labelled pictures in memory.

    `images` is one read-only uint8 array (N, H, W) or (N, H, W, 3), or, where the pictures differ in size, a tuple of
    (H, W) or (H, W, 3) arrays. `labels` (N,) index into `classes`; they are None where there is nothing to recognise.
    `index` (N,) tells which picture of the source each one is; `source` says how that source counts.
    """

    name: str
    title: str
    split: str
    images: Bytes | tuple[Bytes, ...]
    labels: Numbers | None
    classes: tuple[str, ...]
    index: Numbers
    source: str
    licence: str
    titles: tuple[str, ...] | None = None
    credits: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for array in (self.images, self.labels, self.index):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Bytes:
        """One picture, (H, W) or (H, W, 3) uint8."""
        return self.images[self._checked(position)]

    @property
    def size(self) -> tuple[int, int, int] | None:
        """(channels, height, width) shared by all pictures; None when they differ."""
        if not isinstance(self.images, np.ndarray):
            return None
        height, width = self.images.shape[1:3]
        return (self.images.shape[3] if self.images.ndim == 4 else 1, height, width)

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel of pixels in [0, 1]."""
        return tuple(float(channel.mean() / 255) for channel in self._channels())

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel of pixels in [0, 1]."""
        return tuple(float(channel.std() / 255) for channel in self._channels())

    def label(self, position: int) -> str | None:
        """The name of a picture's class, or None where there are no labels."""
        return None if self.labels is None else self.classes[int(self.labels[self._checked(position)])]

    def credit(self, position: int) -> str:
        """Whose picture it is and under which terms."""
        return self.licence if self.credits is None else self.credits[self._checked(position)]

    def describe(self, position: int) -> str:
        """A title for one picture: its own, or its class and its number in the source."""
        position = self._checked(position)
        if self.titles is not None:
            return self.titles[position]
        label = self.label(position)
        return f"{'picture' if label is None else label} · {self.source} {int(self.index[position])}"

    def of_class(self, label: int) -> Numbers:
        """Positions of the pictures of one class, in order."""
        if self.labels is None:
            raise DataError(f"{self.title} has no classes to choose from.")
        return np.flatnonzero(self.labels == label)

    def take(self, positions: Sequence[int] | Numbers, *, split: str | None = None) -> DataSet:
        """The same data set with only these pictures, in this order."""
        chosen = np.asarray(positions, dtype=np.int64)
        return replace(
            self,
            split=split or self.split,
            images=_taken(self.images, chosen),
            labels=None if self.labels is None else self.labels[chosen],
            index=self.index[chosen],
            titles=None if self.titles is None else tuple(self.titles[i] for i in chosen),
            credits=None if self.credits is None else tuple(self.credits[i] for i in chosen),
        )

    def _checked(self, position: int) -> int:
        if not 0 <= position < len(self):
            raise DataError(f"{self.title} ({self.split}) has pictures 0 to {len(self) - 1}, not {position}.")
        return position

    def _channels(self) -> list[Bytes]:
        if not isinstance(self.images, np.ndarray):
            raise DataError(f"The pictures of {self.title} differ in size; they have no mean picture.")
        pictures = self.images.reshape(*self.images.shape[:3], -1)
        return [pictures[..., channel] for channel in range(pictures.shape[-1])]


def stratified(labels: Numbers, seed: int) -> Numbers:
    """A shuffled order in which every stretch holds the classes in nearly equal shares.

    The k-th picture of every class comes before the (k + 1)-th of any, for classes of equal size; within such a round
    the classes are shuffled.
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rounds = (generator.permutation(len(members)) + 0.5) / len(members)
        place[members] = rounds
    return np.lexsort((generator.random(len(labels)), place))


def _taken(images: Bytes | tuple[Bytes, ...], chosen: Numbers) -> Bytes | tuple[Bytes, ...]:
    if isinstance(images, np.ndarray):
        return images[chosen]
    return tuple(images[i] for i in chosen)
