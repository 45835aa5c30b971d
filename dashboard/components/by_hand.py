"""A convolution small enough for a pencil: every number can be changed, every window stepped through.

All of it is worked out in the browser. The surprise: the whole state is one short text, which stands in the address;
Python reads it for the downloads and checks it, because an address may come from a stranger.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnviz.convolution import Array, ShapeError, Window, convolve, global_average, pool, relu
from dashboard.components.kit import Handler, define, mount, pack

_component = define("by_hand")
POOLS = ("max", "average", "global")
LARGEST_IMAGE, LARGEST_KERNEL, LARGEST_NUMBER = 12, 5, 99
STEPS = 11  # of the lesson
LIMITS = {"stride": (1, 5), "padding": (0, 4), "dilation": (1, 3)}
Rows = tuple[tuple[float, ...], ...]
_NUMBER = re.compile(r"-?\d{1,2}(\.\d{1,2})?")


@dataclass(frozen=True)
class Hand:
    """An image, a kernel, how the window moves, how the map is pooled, and at which stop we are (0 is the first)."""

    image: Rows = ((1, 2, 0, 1), (0, 1, 3, 1), (2, 2, 1, 0), (1, 0, 1, 3))
    kernel: Rows = ((1, 0), (0, 1))
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    bias: float = 0
    pool: str = "max"
    at: int = 5

    @property
    def text(self) -> str:
        """All of it as the address holds it: numbers by `_`, rows by `~`, parts by `~~`."""
        moves = (*(_written(n) for n in (self.stride, self.padding, self.dilation, self.bias)), self.pool, str(self.at))
        return "~~".join((_rows_text(self.image), _rows_text(self.kernel), "_".join(moves)))

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, text: str) -> Hand:
        """The state that `text` stands for. Raises `ValueError` when it is none."""
        image, kernel, moves = text.split("~~")
        stride, padding, dilation, bias, kind, at = moves.split("_")
        if kind not in POOLS:
            raise ValueError(f"“{kind}” is not a pooling; choose one of {', '.join(POOLS)}")
        return cls(
            _matrix(image, LARGEST_IMAGE), _matrix(kernel, LARGEST_KERNEL), _whole("stride", stride),
            _whole("padding", padding), _whole("dilation", dilation), _number(bias), kind, int(at),
        )  # fmt: skip

    @property
    def window(self) -> Window:
        """How the kernel moves along the rows."""
        return Window(len(self.kernel), self.stride, self.padding, self.dilation)

    def results(self) -> dict[str, Array]:
        """Image, kernel, map, map after ReLU and pooled map, each (rows, columns); without those that do not fit."""
        known = {"image": np.array(self.image, float), "kernel": np.array(self.kernel, float)}
        columns = Window(len(self.kernel[0]), self.stride, self.padding, self.dilation)
        try:
            found = convolve(
                known["image"][None], known["kernel"][None, None], np.array([self.bias]), rows=self.window,
                columns=columns,
            )  # fmt: skip
            known |= {"map": found[0], "after_relu": relu(found)[0]}
            known["pooled"] = self._pooled(relu(found))
        except ShapeError:
            pass  # the picture says where it does not fit
        return known

    def _pooled(self, maps: Array) -> Array:
        return global_average(maps)[None] if self.pool == "global" else pool(maps, self.pool, rows=Window(2, 2))[0]


def by_hand(hand: Hand, *, lesson: int = 0, key: str, on_change: Handler) -> None:
    """Show the worked example, at a step of the lesson (1 to `STEPS`; 0 is none).

    `on_change({"text", "lesson"})` is called with the new state once the person's hand rests.
    """
    header: dict[str, Any] = {
        "text": hand.text, "lesson": lesson, "first": Hand().text, "limits": LIMITS,
        "image": LARGEST_IMAGE, "kernel": LARGEST_KERNEL,
    }  # fmt: skip
    mount(_component, pack(header), key=key, change=on_change)


def _written(value: float) -> str:
    return f"{value:g}"


def _rows_text(rows: Rows) -> str:
    return "~".join("_".join(map(_written, row)) for row in rows)


def _matrix(text: str, largest: int) -> Rows:
    rows = tuple(tuple(_number(word) for word in row.split("_")) for row in text.split("~"))
    if len(rows) > largest or len(rows[0]) > largest or len({len(row) for row in rows}) != 1:
        raise ValueError(f"a table of at most {largest} × {largest} numbers is wanted")
    return rows


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"“{text}” is not a number from −{LARGEST_NUMBER} to {LARGEST_NUMBER}")
    value = float(text)
    return int(value) if math.floor(value) == value else value


def _whole(name: str, text: str) -> int:
    value, (low, high) = int(text), LIMITS[name]
    if not low <= value <= high:
        raise ValueError(f"a {name} of {value} is not from {low} to {high}")
    return value
