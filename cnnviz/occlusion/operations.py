"""What each kind of step does to a change.

Let δ be occluded minus clean. A linear step maps δ to δ with its weights alone: no bias, and zero padding is exact. A
non-linear step f needs the clean value c: f(c + δ) − f(c), and only where δ is not zero. An operation plans, for one
axis, which cells it wants of its sources and which it makes, and then runs on tiles of just those cells.

The surprise: because rounding is relative to δ and not to c, half as many digits are enough where a network computed in
bfloat16 would be useless.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnviz.occlusion.clean import CleanMaps
from cnnviz.occlusion.convolve import Around, Kernel, Scratch
from cnnviz.occlusion.plan import Span, Taps, before_sliding, union, whole
from cnnviz.occlusion.tile import Dims, Tile, flat_cells, from_cells, recut
from cnnviz.tape import Ref

MaybeSpan = Span | None
Spans = tuple[MaybeSpan, ...]
_FAR = 1e30  # outside the map: no change is larger


@dataclass(frozen=True)
class Form:
    """The shape of a value (batch of one included) and which of its axes are rows and columns, if any."""

    shape: tuple[int, ...]
    dims: Dims | None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return (1, 1) if self.dims is None else (self.shape[self.dims[0]], self.shape[self.dims[1]])

    @property
    def channels(self) -> int:
        """How many numbers a cell has, or a vector."""
        return math.prod(self.shape[1:]) // math.prod(self.size)


@dataclass(frozen=True)
class Clean:
    """The clean pass over one image: `values` of the steps that are read again, and their framed maps."""

    values: Mapping[Ref, Tensor]
    maps: CleanMaps
    dtype: torch.dtype
    scratch: Scratch = field(default_factory=Scratch)


@dataclass(frozen=True)
class Operation:
    """One step for changes: from `sources` to `output`. This one hands the change on as it is.

    `reads` are the clean values it needs; `overwrites` says that nobody else needs its first source's memory.
    """

    index: int
    sources: tuple[Ref, ...]
    output: Ref
    forms: tuple[Form, ...]
    form: Form
    overwrites: bool = field(default=False, kw_only=True)

    fresh = True  # the result's memory is its own
    passes = 2  # how often a cell goes through memory, for the cost of it

    @property
    def reads(self) -> tuple[Ref, ...]:
        return ()

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one cell of the output."""
        return 0

    def plan(self, spans: Spans, axis: int) -> tuple[Spans, MaybeSpan]:
        """(what is wanted of each source, what comes out) along one axis; None for vectors."""
        known = [span for span in spans if span is not None]
        if not known or self.form.dims is None:
            return spans, None
        if len({span.step for span in known}) > 1:
            known = [span.clipped(self.form.size[axis]) for span in known]
            spans = tuple(known)
        return spans, union(known)

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        """The change of the output, over the cells `out`."""
        return tiles[0]

    def _made(self, data: Tensor, out: tuple[MaybeSpan, MaybeSpan], *, tidy: bool) -> Tile:
        rows, columns = out
        if rows is not None and columns is not None:
            size = self.form.size
            tidy = tidy or not (rows.overhang(size[0]) or columns.overhang(size[1]))
        return Tile(data, self.form.dims, rows, columns, self.form.size, tidy)

    def _cells_of(self, clean: Clean, ref: Ref, form: Form) -> Tensor:
        return flat_cells(clean.values[ref], form.dims)[0]


@dataclass(frozen=True)
class Slide(Operation):
    """Whatever slides a kernel over rows and columns."""

    taps: tuple[Taps, Taps]

    def plan(self, spans: Spans, axis: int) -> tuple[Spans, MaybeSpan]:
        span, taps = spans[0], self.taps[axis]
        assert span is not None
        wanted = before_sliding(span, self.forms[0].size[axis], taps.stride)
        return (wanted,), taps.outputs(wanted, self.form.size[axis])

    def _inputs(self, out: tuple[MaybeSpan, MaybeSpan]) -> tuple[Span, Span]:
        rows, columns = out
        assert rows is not None and columns is not None
        return self.taps[0].inputs(rows), self.taps[1].inputs(columns)

    def _around(self, tile: Tile, out: tuple[MaybeSpan, MaybeSpan]) -> Around:
        """How many zeros the outputs read before and after the tile; fewer than none where they do not read it all."""
        rows, columns = (
            (span.start - reads.start, reads.start + reads.length - span.start - span.length)
            for span, reads in zip(tile.spans, self._inputs(out), strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class Convolve(Slide):
    """A convolution: the change with the same weights."""

    kernel: Kernel

    @property
    def macs(self) -> int:
        return self.kernel.weight.numel()

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0].tidied()
        return self._made(self.kernel(tile.data, self._around(tile, out), clean.scratch), out, tidy=False)


@dataclass(frozen=True)
class AveragePool(Slide):
    """The mean under a kernel: the sum of the changes, divided by what the clean pass divided by."""

    divisor: tuple[Tensor, Tensor] | float

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0].tidied()
        (top, bottom), (left, right) = self._around(tile, out)
        height, width = tile.data.shape[2:]
        data = recut(recut(tile.data, 2, -top, height + top + bottom), 3, -left, width + left + right)
        kernel, stride = (tuple(getattr(taps, name) for taps in self.taps) for name in ("kernel", "stride"))
        sums = self._made(F.avg_pool2d(data, kernel, stride, divisor_override=1), out, tidy=False)
        if isinstance(self.divisor, float):
            return replace(sums, data=sums.data.div_(self.divisor))
        rows, columns = sums.spans
        counts = self.divisor[0][:, None, None] * self.divisor[1][None, :, None]
        share = clean.maps.view((self.index, "share"), rows, columns, lambda: ((1 / counts).to(clean.dtype), 0.0))
        return replace(sums, data=_spread(sums.cells() * share, self.form), tidy=True)


@dataclass(frozen=True)
class MaxPool(Slide):
    """The largest under a kernel, with and without the change."""

    clean_source: Ref
    clean_output: Ref
    passes = 5

    @property
    def reads(self) -> tuple[Ref, ...]:
        return (self.clean_source, self.clean_output)

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0].tidied()
        rows, columns = self._inputs(out)
        before = clean.maps.view((self.index, "before"), rows, columns, lambda: self._far(clean, 0))
        changed = _added(before, tile, rows, columns)
        kernel, stride, dilation = (
            tuple(getattr(taps, name) for taps in self.taps) for name in ("kernel", "stride", "dilation")
        )
        largest = self._made(
            F.max_pool2d(_spread(changed, self.forms[0]), kernel, stride, 0, dilation), out, tidy=False
        )
        after = clean.maps.view((self.index, "after"), *largest.spans, lambda: self._far(clean, 1))
        return replace(largest, data=_spread((largest.cells() - after).to(clean.dtype), self.form))

    def _far(self, clean: Clean, which: int) -> tuple[Tensor, float]:
        form = (self.forms[0], self.form)[which]
        return self._cells_of(clean, self.reads[which], form), -_FAR


def _added(before: Tensor, tile: Tile, rows: Span, columns: Span) -> Tensor:
    """Clean cells with the tile's change added where they overlap; the rest of `before` is copied."""
    mine = tile.spans
    if rows.within(mine[0]) and columns.within(mine[1]):
        return before + tile.over(rows, columns).cells()
    changed = before.clone(memory_format=torch.contiguous_format)
    source = tile.cells()
    for dim, span, wanted in zip((2, 3), mine, (rows, columns), strict=True):
        low, high = max(span.start, wanted.start), min(span.start + span.length, wanted.start + wanted.length)
        if low >= high:
            return changed
        source = source.narrow(dim, low - span.start, high - low)
    part = changed
    for dim, span, wanted in zip((2, 3), mine, (rows, columns), strict=True):
        part = part.narrow(dim, max(span.start - wanted.start, 0), source.shape[dim])
    part += source
    return changed


def _spread(cells: Tensor, form: Form) -> Tensor:
    """(rows of windows, columns of windows, height, width, channels) with the axes of the recorded tensor."""
    assert form.dims is not None
    return from_cells(cells.flatten(0, 1), form.shape, form.dims)


@dataclass(frozen=True)
class Rectify(Operation):
    """clamp(x, low, high) without a call of it: clamp(δ, low − c, high − c) + (c − clamp(c)); ReLU has no high."""

    clean_source: Ref
    low: float
    high: float | None = None
    passes = 4

    @property
    def reads(self) -> tuple[Ref, ...]:
        return (self.clean_source,)

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0]
        change = tile.cells() if tile.dims is not None else tile.data
        target = change if self.overwrites else torch.empty_like(change)
        if self.high is None:
            torch.maximum(change, self._look(clean, "floor", tile), out=target)
        else:
            torch.clamp(change, self._look(clean, "floor", tile), self._look(clean, "ceiling", tile), out=target)
        target += self._look(clean, "shift", tile)
        data = _spread(target, self.form) if tile.dims is not None else target
        return replace(tile, data=data, tidy=True)

    def _look(self, clean: Clean, name: str, tile: Tile) -> Tensor:
        if tile.dims is None:
            return self._level(name, clean.values[self.clean_source]).to(tile.data.dtype)
        return clean.maps.view((self.index, name), *tile.spans, lambda: self._framed(clean, name))

    def _level(self, name: str, value: Tensor) -> Tensor:
        if name == "shift":
            return value - value.clamp(self.low, self.high)
        return (self.low if name == "floor" else self.high) - value  # type: ignore[operator]

    def _framed(self, clean: Clean, name: str) -> tuple[Tensor, float]:
        cells = self._level(name, self._cells_of(clean, self.clean_source, self.forms[0]))
        # outside the map any change must come out as zero: up to far and down again, or between zero and zero
        outside = 0.0 if self.high is not None else {"floor": _FAR, "shift": -_FAR}[name]
        return cells.to(clean.dtype), outside


@dataclass(frozen=True)
class CellWise(Operation):
    """Any function of one cell's own channels: f(c + δ) − f(c)."""

    clean_source: Ref
    function: Callable[[Tensor], Tensor]
    passes = 6

    @property
    def reads(self) -> tuple[Ref, ...]:
        return (self.clean_source,)

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile, value = tiles[0], clean.values[self.clean_source]
        if tile.dims is None:
            change = self.function(value + tile.data) - self.function(value)
            return self._made(change, out, tidy=True)
        form = self.forms[0]
        view = clean.maps.view(
            (self.index, "c"), *tile.spans, lambda: (self._cells_of(clean, self.clean_source, form), 0)
        )
        after = self.function(_spread(view + tile.cells(), form))
        before = clean.maps.view((self.index, "f"), *tile.spans, lambda: (self._f(value), 0.0))
        result = self._made(after, out, tidy=False)
        return replace(result, data=_spread((result.cells() - before).to(clean.dtype), self.form))

    def _f(self, value: Tensor) -> Tensor:
        return flat_cells(self.function(value), self.form.dims)[0]


@dataclass(frozen=True)
class Scale(Operation):
    """Times a number, or one number for each channel."""

    factor: Tensor | float

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0]
        factor = self.factor.to(tile.data.dtype) if isinstance(self.factor, Tensor) else self.factor
        return replace(tile, data=tile.data.mul_(factor) if self.overwrites else tile.data * factor)


@dataclass(frozen=True)
class Add(Operation):
    """A sum or difference of two branches."""

    sign: int = 1
    passes = 3

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        first, second = tiles
        if first.dims is None or second.dims is None:
            return self._made(first.data + self.sign * second.data, out, tidy=True)
        rows, columns = out
        assert rows is not None and columns is not None
        tidy = first.tidy and second.tidy
        total = first.over(rows, columns)
        data = total.data if self.overwrites or total.data is not first.data else total.data.clone()
        place = data
        for dim, span, mine in zip(self.form.dims or (), second.spans, (rows, columns), strict=True):
            place = place.narrow(dim, span.start - mine.start, span.length)
        place.add_(second.data, alpha=self.sign)
        return self._made(data, out, tidy=tidy)


@dataclass(frozen=True)
class Concatenate(Operation):
    """Channels of several branches side by side."""

    dim: int

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        rows, columns = out
        if rows is not None and columns is not None:
            tiles = [tile.over(rows, columns) for tile in tiles]
        data = torch.cat([tile.data for tile in tiles], self.dim)
        return self._made(data, out, tidy=all(tile.tidy for tile in tiles))


@dataclass(frozen=True)
class Multiply(Operation):
    """A product of two maps of one size: δ₁·(c₂ + δ₂) + c₁·δ₂."""

    clean_sources: tuple[Ref, Ref]
    passes = 6

    @property
    def reads(self) -> tuple[Ref, ...]:
        return self.clean_sources

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        rows, columns = out
        if rows is None or columns is None:
            c1, c2 = (clean.values[ref] for ref in self.clean_sources)
            d1, d2 = (tile.data for tile in tiles)
            return self._made(d1 * (c2 + d2) + c1 * d2, out, tidy=True)
        d1, d2 = (tile.over(rows, columns).cells() for tile in tiles)
        c1, c2 = (
            clean.maps.view((self.index, name), rows, columns, lambda r=ref, f=form: (self._cells_of(clean, r, f), 0.0))  # type: ignore[misc]
            for name, ref, form in zip("ab", self.clean_sources, self.forms, strict=True)
        )
        data = (d1 * (c2 + d2) + c1 * d2).to(clean.dtype)
        return self._made(_spread(data, self.form), out, tidy=all(tile.tidy for tile in tiles))


@dataclass(frozen=True)
class SpatialMean(Operation):
    """The mean over all cells: from here on there are only vectors, in full precision."""

    passes = 1

    def plan(self, spans: Spans, axis: int) -> tuple[Spans, MaybeSpan]:
        span = spans[0]
        assert span is not None
        return spans, None if self.form.dims is None else whole(1, span.count)

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0].tidied()
        exact = clean.values[Ref(0)].dtype
        total = flat_cells(tile.data, tile.dims).sum((1, 2), dtype=exact) / math.prod(tile.size)
        return self._made(total.view(-1, *self.form.shape[1:]), out, tidy=True)


@dataclass(frozen=True)
class Rearrange(Operation):
    """The same numbers under other axes: permuted, chosen, split, regrouped; rows and columns stay whole."""

    function: Callable[[Tensor], Tensor]
    fresh = False
    passes = 0

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        return self._made(self.function(tiles[0].data), out, tidy=tiles[0].tidy)


@dataclass(frozen=True)
class Linear(Operation):
    """A matrix product over the last axis."""

    weight: Tensor
    _forms: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        return self.weight.numel()

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        data = tiles[0].data
        if data.dtype not in self._forms:
            self._forms[data.dtype] = self.weight.to(data.dtype)
        return self._made(F.linear(data, self._forms[data.dtype]), out, tidy=tiles[0].tidy)


@dataclass(frozen=True)
class Pad(Operation):
    """Constant cells around a map never change: it only lies elsewhere."""

    before: tuple[int, int]

    def plan(self, spans: Spans, axis: int) -> tuple[Spans, MaybeSpan]:
        span = spans[0]
        assert span is not None
        moved = replace(span, start=span.start + self.before[axis])
        return spans, moved.clipped(self.form.size[axis]) if moved.shared else moved

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        tile = tiles[0].tidied()
        rows, columns = (
            replace(span, start=span.start + before) for span, before in zip(tile.spans, self.before, strict=True)
        )
        moved = Tile(tile.data, self.form.dims, rows, columns, self.form.size)
        assert out[0] is not None and out[1] is not None
        return self._made(moved.over(out[0], out[1]).data, out, tidy=False)


@dataclass(frozen=True)
class WholeMaps(Operation):
    """A step of which nothing more is known: the recorded function itself, on whole maps.

    Where it is linear it takes the change alone; otherwise f(c + δ) − f(c). `batched` says that it treats every image
    of a batch by itself; where that is not known, images go one by one.
    """

    clean_sources: tuple[Ref, ...]
    function: Callable[[list[Tensor]], Tensor]
    linear: bool
    batched: bool
    passes = 8

    @property
    def reads(self) -> tuple[Ref, ...]:
        return () if self.linear else (*self.clean_sources, self.output)

    def plan(self, spans: Spans, axis: int) -> tuple[Spans, MaybeSpan]:
        counts = [span.count for span in spans if span is not None]
        wanted = tuple(
            None if span is None else whole(form.size[axis], span.count)
            for span, form in zip(spans, self.forms, strict=True)
        )
        return wanted, None if self.form.dims is None or not counts else whole(self.form.size[axis], counts[0])

    def run(self, tiles: list[Tile], out: tuple[MaybeSpan, MaybeSpan], clean: Clean) -> Tile:
        changes = [tile.tidied().data for tile in tiles]
        if self.linear:
            return self._made(self._call(changes), out, tidy=True)
        changed = [clean.values[ref] + change for ref, change in zip(self.clean_sources, changes, strict=True)]
        change = self._call(changed) - clean.values[self.output]
        return self._made(change.to(clean.dtype) if self.form.dims is not None else change, out, tidy=True)

    def _call(self, batch: list[Tensor]) -> Tensor:
        if self.batched:
            return self.function(batch)
        single = [self.function([item[i : i + 1] for item in batch]) for i in range(len(batch[0]))]
        return torch.cat(single)
