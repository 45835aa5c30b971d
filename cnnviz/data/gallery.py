"""A few good pictures to start from, picked by eye: one clear digit of each class, and photos with one clear subject.

They name a place in a bundled data set, in its test split, so that no network trained on the training split has seen
them. Positions hold because every bundled data set is in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import cnnviz.data
from cnnviz.data.dataset import DataSet


@dataclass(frozen=True)
class GalleryPicture:
    """A hand-picked picture; `name` is short and stable, for links."""

    name: str
    title: str
    data: str
    split: str
    position: int

    def source(self) -> DataSet:
        """The data set it is in."""
        return cnnviz.data.open(self.data, self.split)

    def pixels(self) -> np.ndarray:
        """The picture, uint8 (H, W) or (H, W, 3)."""
        return self.source()[self.position]

    def label(self) -> str | None:
        """The name of its true class; None for a photo."""
        return self.source().label(self.position)

    def credit(self) -> str:
        """Whose picture it is and under which terms."""
        return self.source().credit(self.position)


# the position of a clear 0, 1, 2 ... 9 in the test split
_DIGITS = {
    "mnist-5000": ("digit", (53, 117, 21, 75, 67, 70, 41, 95, 58, 29)),
    "digits-8x8": ("small digit", (32, 88, 30, 1, 76, 8, 26, 23, 44, 15)),
    "digits-on-photos-32": ("digit on a photo", (64, 24, 30, 87, 33, 118, 86, 109, 58, 52)),
    "digits-on-photos-64": ("large digit on a photo", (42, 47, 19, 66, 73, 91, 113, 95, 17, 7)),
}
_PHOTOS = (("cat", 0), ("coffee", 1), ("motorcycle", 4), ("temple", 5), ("flower", 6), ("astronaut", 2), ("rocket", 3))
_FIRST_DIGIT = 3  # loops, corners and open ends: the digit that shows most


def _digit_pictures(data: str) -> list[GalleryPicture]:
    kind, positions = _DIGITS[data]
    prefix = kind.replace(" ", "-")
    return [
        GalleryPicture(f"{prefix}-{digit}", f"{kind} {digit}".capitalize(), data, "test", position)
        for digit, position in enumerate(positions)
    ]


def _photo_pictures() -> list[GalleryPicture]:
    return [GalleryPicture(name, name.capitalize(), "photos", "all", position) for name, position in _PHOTOS]


GALLERY: dict[str, GalleryPicture] = {
    picture.name: picture
    for picture in [*(one for data in _DIGITS for one in _digit_pictures(data)), *_photo_pictures()]
}


def gallery_for(size: tuple[int, int, int], data: str | None = None) -> tuple[GalleryPicture, ...]:
    """The pictures that suit a network of this input size, trained on `data`, best first.

    Those of its own data set, else those of its very size, else MNIST digits for a grey network and photos for a colour
    one. The first is the one to open with.
    """
    chosen = [picture for picture in GALLERY.values() if picture.data == data]
    chosen = chosen or [picture for picture in GALLERY.values() if _size_of(picture.data) == tuple(size)]
    fallback = "mnist-5000" if size[0] == 1 else "photos"
    chosen = chosen or [picture for picture in GALLERY.values() if picture.data == fallback]
    first = _FIRST_DIGIT if chosen[0].data in _DIGITS else 0
    return (chosen[first], *chosen[:first], *chosen[first + 1 :])


def _size_of(data: str) -> tuple[int, int, int] | None:
    return cnnviz.data.DATASETS[data].size
