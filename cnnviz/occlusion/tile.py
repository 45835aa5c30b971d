"""Changes of a map, for a block of windows, where they are not zero.

A `Tile` holds occluded minus clean for some cells of a map; every other cell has not changed. Its tensor keeps the
axes of the recorded one (windows first), only the rows and columns are cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnnviz.occlusion.plan import Span, whole

Dims = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """Changes (windows, …) of a map of `size` (rows, columns) that lie along `dims`; a vector has no dims.

    `tidy` says that cells which overhang the map are zero, as they must be before anything is summed over cells.
    """

    data: Tensor
    dims: Dims | None = None
    rows: Span | None = None
    columns: Span | None = None
    size: tuple[int, int] = (1, 1)
    tidy: bool = True

    @property
    def spans(self) -> tuple[Span, Span]:
        assert self.rows is not None and self.columns is not None
        return self.rows, self.columns

    def cells(self) -> Tensor:
        """The same memory as (rows of windows, columns of windows, height, width, channels)."""
        rows, columns = self.spans
        return flat_cells(self.data, self.dims).reshape(rows.count, columns.count, rows.length, columns.length, -1)

    def over(self, rows: Span, columns: Span) -> Tile:
        """The same changes over other cells: sharing, widening or whole maps."""
        tile = self
        for axis, span in enumerate((rows, columns)):
            tile = tile._over(axis, span)
        return tile

    def _over(self, axis: int, span: Span) -> Tile:
        mine = self.spans[axis]
        if mine == span:
            return self
        data = self.data if mine.step == span.step else self._shared(axis, span)
        if mine.step == span.step:
            data = recut(data, self._dim(axis), span.start - mine.start, span.length)
        return replace(self, data=data, rows=span) if axis == 0 else replace(self, data=data, columns=span)

    def _dim(self, axis: int) -> int:
        assert self.dims is not None
        return self.dims[axis]

    def _shared(self, axis: int, span: Span) -> Tensor:
        """Bring windows that stood apart into one range, each at its own place."""
        mine, dim = self.spans[axis], self._dim(axis)
        shape = list(self.data.shape)
        shape[dim] = span.length
        result = zeros_like_layout(self.data, shape, self.dims)
        rows, columns = self.spans
        source = by_window(self.data, rows.count, columns.count)
        target = by_window(result, rows.count, columns.count)
        for window in range(mine.count):
            first = mine.start + window * mine.step
            low, high = max(first, span.start), min(first + mine.length, span.start + span.length)
            if low < high:
                place = target.select(axis, window).narrow(dim, low - span.start, high - low)
                place.copy_(source.select(axis, window).narrow(dim, low - first, high - low))
        return result

    def tidied(self) -> Tile:
        """Zero outside the map."""
        if self.tidy or self.dims is None:
            return self
        rows, columns = self.spans
        windows = by_window(self.data, rows.count, columns.count)
        for axis, span in enumerate(self.spans):
            dim = self._dim(axis)
            for window in range(span.count if span.overhang(self.size[axis]) else 0):
                first = span.start + window * span.step
                cells = windows.select(axis, window)
                if first < 0:
                    cells.narrow(dim, 0, min(-first, span.length)).zero_()
                beyond = min(first + span.length - self.size[axis], span.length)
                if beyond > 0:
                    cells.narrow(dim, span.length - beyond, beyond).zero_()
        return replace(self, tidy=True)

    def whole(self) -> Tile:
        """The changes of the whole map."""
        if self.dims is None:
            return self
        rows, columns = self.spans
        return self.over(whole(self.size[0], rows.count), whole(self.size[1], columns.count))


def by_window(data: Tensor, rows: int, columns: int) -> Tensor:
    """(windows, …) as (rows of windows, columns of windows, …), the same memory."""
    lines = data.stride(0) * columns
    return data.as_strided((rows, columns, *data.shape[1:]), (lines, *data.stride()))


def flat_cells(data: Tensor, dims: Dims | None) -> Tensor:
    """(N, …) as (N, rows, columns, channels): whatever is not a row or a column is a channel."""
    assert dims is not None
    rest = [d for d in range(1, data.dim()) if d not in dims]
    moved = data.permute(0, *dims, *rest)
    return moved if len(rest) == 1 else moved.flatten(3) if rest else moved.unsqueeze(3)


def from_cells(cells: Tensor, like: tuple[int, ...], dims: Dims) -> Tensor:
    """Back from (N, rows, columns, channels) to the axes of a tensor shaped `like` (batch included)."""
    rest = [d for d in range(1, len(like)) if d not in dims]
    spread = cells.reshape(*cells.shape[:3], *(like[d] for d in rest))
    order = [0, *dims, *rest]
    return spread if len(rest) == 1 and dims == (1, 2) else spread.permute([order.index(d) for d in range(len(like))])


def zeros_like_layout(data: Tensor, shape: list[int], dims: Dims | None) -> Tensor:
    """Zeros of that shape with rows and columns before channels in memory: how processors like their convolutions."""
    assert dims is not None
    rest = [d for d in range(1, len(shape)) if d not in dims]
    order = [0, *dims, *rest]
    zeros = torch.zeros([shape[d] for d in order], dtype=data.dtype, device=data.device)
    return zeros.permute([order.index(d) for d in range(len(shape))])


def recut(data: Tensor, dim: int, offset: int, length: int) -> Tensor:
    """Cells [offset, offset + length) along `dim`, zero where there were none."""
    have = data.shape[dim]
    low, high = max(offset, 0), min(offset + length, have)
    if low >= high:
        shape = list(data.shape)
        shape[dim] = length
        return data.new_zeros(shape)
    part = data.narrow(dim, low, high - low)
    if (low, high) == (offset, offset + length):
        return part
    return padded(part, dim, low - offset, offset + length - high)


def padded(data: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Zeros around the cells of one axis; keeps channels last in memory."""
    shape = list(data.shape)
    shape[dim] += before + after
    channels_last = data.dim() == 4 and data.stride(1) == 1
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    result = torch.empty(shape, dtype=data.dtype, device=data.device, memory_format=memory_format)
    result.narrow(dim, 0, before).zero_()
    result.narrow(dim, before + data.shape[dim], after).zero_()
    result.narrow(dim, before, data.shape[dim]).copy_(data)
    return result
