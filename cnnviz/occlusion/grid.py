"""Where the windows stand.

Windows start every `stride` pixels from the first one; the last is cut at the border, so that every pixel is covered.
A grid is a product: a list of row ranges and a list of column ranges, each half-open, [top, bottom).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cnnviz.errors import ExplanationError

Pair = tuple[int, int]
Starts = tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Windows of `window` (height, width) pixels every `stride` (down, right) over an image of `image` pixels."""

    image: Pair
    window: Pair
    stride: Pair

    @property
    def starts(self) -> tuple[Starts, Starts]:
        """Where the windows start: (tops, lefts)."""
        tops, lefts = (
            tuple(range(0, math.ceil((side - window) / stride) * stride + 1, stride))
            for side, window, stride in zip(self.image, self.window, self.stride, strict=True)
        )
        return tops, lefts

    def boxes(self, axis: int, starts: Starts) -> tuple[Pair, ...]:
        """The half-open ranges of the windows that start there, cut at the border; axis 0 is down, 1 is right."""
        return tuple((start, min(start + self.window[axis], self.image[axis])) for start in starts)

    def coarser(self, factor: int) -> tuple[Starts, Starts]:
        """Every `factor`-th start of each axis, and the last: still every pixel is covered."""
        tops, lefts = (
            tuple(dict.fromkeys((*starts[:: self._bounded(factor, axis)], starts[-1])))
            for axis, starts in enumerate(self.starts)
        )
        return tops, lefts

    @property
    def factors(self) -> tuple[int, ...]:
        """Powers of two from the coarsest grid that still covers every pixel down to 1."""
        most = max(self._most(axis) for axis in (0, 1))
        return tuple(2**power for power in range(most.bit_length() - 1, -1, -1))

    def _most(self, axis: int) -> int:
        return max(1, self.window[axis] // self.stride[axis])

    def _bounded(self, factor: int, axis: int) -> int:
        """A power of two no larger than the windows of this axis allow without a gap."""
        return min(factor, 1 << (self._most(axis).bit_length() - 1))


def grid_of(image: Pair, window: int | Pair | None, stride: int | Pair | None) -> Grid:
    """The grid that fits the image where nothing is said: a seventh of each side, a quarter of the window apart.

    Raises `ExplanationError` for a window larger than the image, or a stride larger than the window.
    """
    sides = _pair("window", window) or tuple(max(1, round(side / 7)) for side in image)
    steps = _pair("stride", stride) or tuple(max(1, side // 4) for side in sides)
    for name, side, most in zip(("height", "width"), sides, image, strict=True):
        if side > most:
            raise ExplanationError(f"the window's {name} is {side} pixels, more than the image's {most}")
    for name, step, side in zip(("down", "right"), steps, sides, strict=True):
        if step > side:
            raise ExplanationError(
                f"the stride {name} is {step} pixels, more than the window's {side}: pixels in between would never be "
                f"covered; choose at most {side}"
            )
    return Grid(image, (sides[0], sides[1]), (steps[0], steps[1]))


def _pair(name: str, value: int | Pair | None) -> Pair | None:
    if value is None:
        return None
    numbers = (value, value) if isinstance(value, int) else tuple(value)
    if len(numbers) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in numbers):
        raise ExplanationError(f"{name} must be a whole number of pixels above 0, or (height, width), not {value!r}")
    return (numbers[0], numbers[1])


@dataclass(frozen=True)
class Lattice:
    """Windows at every top of `tops` with every left of `lefts`."""

    tops: Starts
    lefts: Starts

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def cells(self) -> Iterator[tuple[int, int]]:
        """Every (row, column) index of the lattice, row by row."""
        return ((row, column) for row in range(len(self.tops)) for column in range(len(self.lefts)))


def missing(known: Lattice, wanted: Lattice) -> tuple[Lattice, ...]:
    """The windows of `wanted` that are not in `known`, as lattices: new rows whole, then new columns of old rows."""
    old_tops = tuple(top for top in wanted.tops if top in set(known.tops))
    new_tops = tuple(top for top in wanted.tops if top not in set(known.tops))
    new_lefts = tuple(left for left in wanted.lefts if left not in set(known.lefts))
    parts = (Lattice(new_tops, wanted.lefts), Lattice(old_tops, new_lefts))
    return tuple(part for part in parts if len(part))
