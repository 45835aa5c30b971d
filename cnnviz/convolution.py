"""Convolution and pooling written out, to be read beside the picture they make.

A small window slides over the image; at each stop it multiplies, adds and writes one number. What deep learning calls
convolution is cross-correlation: the kernel is not flipped. Everything here is NumPy and loops over positions, so that
it can be followed line by line; the tests hold it equal to PyTorch over random shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import CnnvizError

Array = NDArray[np.float64]


class ShapeError(CnnvizError):
    """Sizes that do not fit together; the message shows the sum that fails."""


@dataclass(frozen=True)
class Window:
    """How a window moves along one axis: size F, stride S, padding P on both sides, dilation D between its taps."""

    size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    ceil: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("size", self.size, 1),
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ):
            if value < least:
                raise ShapeError(f"the {name} of a window is {value}; it must be at least {least}")

    @property
    def span(self) -> int:
        """How many cells the window reaches over, from its first tap to its last."""
        return self.dilation * (self.size - 1) + 1

    def positions(self, length: int) -> int:
        """How many stops the window makes along `length` cells: ⌊(W + 2P − D(F − 1) − 1) / S⌋ + 1.

        With `ceil` the division rounds up, but no stop starts in the padding after the end (as in PyTorch's pooling).
        Raises `ShapeError`, with the sum written out, when the window does not fit once.
        """
        room = length + 2 * self.padding - self.span
        if room < 0:
            raise ShapeError(
                f"a window that spans {self.span} does not fit into {length} + 2 · {self.padding} = "
                f"{length + 2 * self.padding} cells: {self.formula(length)} is less than 1"
            )
        stops = -(-room // self.stride) + 1 if self.ceil else room // self.stride + 1
        if self.ceil and (stops - 1) * self.stride >= length + self.padding:
            stops -= 1
        return stops

    def formula(self, length: int) -> str:
        """The sum behind `positions` with its numbers, for example ⌊(28 − 5 + 2 · 2) / 1⌋ + 1."""
        reach = f"{self.size}" if self.dilation == 1 else f"{self.dilation} · ({self.size} − 1) − 1"
        left, right = ("⌈", "⌉") if self.ceil else ("⌊", "⌋")
        return f"{left}({length} − {reach} + 2 · {self.padding}) / {self.stride}{right} + 1"

    def ignored(self, length: int) -> int:
        """How many cells at the end (padding included) no window ever covers."""
        return max(0, length + 2 * self.padding - (self.positions(length) - 1) * self.stride - self.span)

    def cells(self, stop: int) -> range:
        """The cells under the window at a stop, counted in the image: those below 0 or past its end are padding."""
        first = stop * self.stride - self.padding
        return range(first, first + self.span, self.dilation)


def same_padding(size: int, stride: int = 1, dilation: int = 1) -> int:
    """The padding that keeps W: P = D(F − 1) / 2, for stride 1 and an odd span; `ShapeError` when there is none."""
    if stride != 1:
        raise ShapeError(f"with stride {stride} no padding on both sides keeps every size; stride 1 does")
    if dilation * (size - 1) % 2:
        raise ShapeError(
            f"a window that spans {dilation * (size - 1) + 1} needs half a cell of padding on each side to keep the "
            "size; choose an odd size"
        )
    return dilation * (size - 1) // 2


def settings_giving(length: int, wanted: int, *, stride: int, largest: int = 7) -> list[Window]:
    """Every window up to size `largest` that makes `wanted` stops along `length` cells at this stride."""
    return [
        window
        for size in range(1, largest + 1)
        for padding in range(size // 2 + 1)
        for ceil in (False, True)
        if (window := Window(size, stride, padding, ceil=ceil)).span <= length + 2 * padding
        and window.positions(length) == wanted
        and (not ceil or Window(size, stride, padding).positions(length) != wanted)
    ]


def convolve(
    image: Array,
    kernels: Array,
    bias: Array | None = None,
    *,
    rows: Window | None = None,
    columns: Window | None = None,
    groups: int = 1,
) -> Array:
    """The feature maps (out, h, w) of an image (in, H, W) under kernels (out, in / groups, kh, kw) and a bias (out).

    `rows` and `columns` say how the window moves; without them it moves by 1 with no padding.
    """
    maps: Array = partial_maps(image, kernels, rows=rows, columns=columns, groups=groups).sum(1)
    return maps if bias is None else maps + np.asarray(bias, float)[:, None, None]


def partial_maps(
    image: Array, kernels: Array, *, rows: Window | None = None, columns: Window | None = None, groups: int = 1
) -> Array:
    """What each input channel adds to each map, before the sum and the bias: (out, in / groups, h, w)."""
    image, kernels = np.asarray(image, float), np.asarray(kernels, float)
    rows, columns = rows or Window(kernels.shape[2]), columns or Window(kernels.shape[3])
    _check_channels(image, kernels, groups)
    height, width = rows.positions(image.shape[1]), columns.positions(image.shape[2])
    maps = np.zeros((*kernels.shape[:2], height, width))
    per_group = len(kernels) // groups
    for row in range(height):
        for column in range(width):
            patch = window_at(image, rows.cells(row), columns.cells(column))
            for out, kernel in enumerate(kernels):
                first = out // per_group * kernels.shape[1]
                maps[out, :, row, column] = (patch[first : first + kernels.shape[1]] * kernel).sum((1, 2))
    return maps


def _check_channels(image: Array, kernels: Array, groups: int) -> None:
    if image.shape[0] != kernels.shape[1] * groups:
        raise ShapeError(
            f"the image has {image.shape[0]} channels, but each kernel reads {kernels.shape[1]} in each of {groups} "
            f"groups, {kernels.shape[1] * groups} in all"
        )
    if len(kernels) % groups:
        raise ShapeError(f"{len(kernels)} kernels cannot be shared out to {groups} groups evenly")


def window_at(image: Array, rows: Sequence[int], columns: Sequence[int], outside: float = 0.0) -> Array:
    """The cells (channels, len(rows), len(columns)) under a window; those beyond the image are `outside`."""
    r, c = np.asarray(rows)[:, None], np.asarray(columns)[None, :]
    inside = (r >= 0) & (r < image.shape[1]) & (c >= 0) & (c < image.shape[2])
    patch = image[:, r.clip(0, image.shape[1] - 1), c.clip(0, image.shape[2] - 1)]
    return np.where(inside, patch, outside)


@dataclass(frozen=True)
class Contribution:
    """What one input channel adds to one output cell: the patch, the kernel, and the sum of their products."""

    channel: int
    patch: Array
    kernel: Array
    total: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", float((self.patch * self.kernel).sum()))


def ledger(image: Array, kernel: Array, cell: tuple[int, int], *, rows: Window, columns: Window) -> list[Contribution]:
    """One output cell taken apart by input channel, the largest contribution first.

    `image` and `kernel` hold the channels that this map reads: (in / groups, H, W) and (in / groups, kh, kw).
    """
    patch = window_at(np.asarray(image, float), rows.cells(cell[0]), columns.cells(cell[1]))
    entries = [Contribution(c, p, k) for c, (p, k) in enumerate(zip(patch, np.asarray(kernel, float), strict=True))]
    return sorted(entries, key=lambda entry: -abs(entry.total))


def relu(values: Array) -> Array:
    """Negative values become 0, the others stay."""
    return np.maximum(values, 0)


def pool(maps: Array, kind: str, *, rows: Window, columns: Window | None = None) -> Array:
    """Pooled maps (channels, h, w): "max" takes the largest cell under each window, "average" their mean.

    Padding is never the largest and counts as zeros in the mean, as in PyTorch. Cells that the last window does not
    reach are left out: `Window.ignored` counts them.
    """
    if kind not in _POOLS:
        raise ShapeError(f"“{kind}” is not a pooling; choose one of {', '.join(_POOLS)}")
    outside, reduce = _POOLS[kind]
    columns = columns or rows
    stops = [
        [window_at(maps, rows.cells(r), columns.cells(c), outside) for c in range(columns.positions(maps.shape[2]))]
        for r in range(rows.positions(maps.shape[1]))
    ]
    pooled: Array = reduce(np.array(stops, float), axis=(3, 4))
    return np.moveaxis(pooled, 2, 0)


_POOLS: dict[str, tuple[float, Callable[..., Array]]] = {"max": (-np.inf, np.max), "average": (0.0, np.mean)}


def global_average(maps: Array) -> Array:
    """One number for each map: the mean of all its cells, (channels,)."""
    means: Array = np.asarray(maps, float).mean((1, 2))
    return means


def shared_weights(out: int, channels: int, window: Window) -> int:
    """How many weights a convolution has, whatever the size of the image: out × in × F × F, biases not counted."""
    return out * channels * window.size**2


def dense_weights(out: int, channels: int, height: int, width: int) -> int:
    """How many weights a dense layer needs to read the same image: out × in × H × W, biases not counted."""
    return out * channels * height * width


def chain(length: int, layers: Sequence[tuple[str, Window]]) -> Iterator[tuple[str, int]]:
    """The size after each named layer, in order; the `ShapeError` of one that does not fit names the layer."""
    for name, window in layers:
        try:
            length = window.positions(length)
        except ShapeError as problem:
            raise ShapeError(f"{name}: {problem}") from None
        yield name, length
