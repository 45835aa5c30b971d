"""How the windows are best cut into blocks, and whether computing only the changes is worth it at all.

A roofline: arithmetic at the rate of the processor, memory at its bandwidth, a little for every call. The rates are
those of two cores with AVX-512; only their ratios matter here, because like is compared with like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch

from cnnviz.occlusion.grid import Grid, Lattice
from cnnviz.occlusion.operations import Convolve, MaybeSpan, Operation, Spans, WholeMaps
from cnnviz.occlusion.plan import Run, Span, runs
from cnnviz.occlusion.program import Program
from cnnviz.tape import Ref

Planned = list[tuple[Spans, MaybeSpan]]

_RATES = {torch.float32: 1.3e11, torch.float64: 0.5e11, torch.bfloat16: 6e11}  # multiply-accumulates per second
_WINOGRAD = 1.7  # times faster than the direct convolution
_DEPTHWISE = 1.5e10
_BANDWIDTH = 1.5e10  # bytes per second
_CALL = 3e-5  # seconds


def planned(operations: Sequence[Operation], span: Span, axis: int) -> Planned:
    """For each operation what it wants of its sources and what it makes, along one axis, for one run of windows."""
    spans: dict[Ref, MaybeSpan] = {Ref(0): span}
    plan: Planned = []
    for operation in operations:
        wanted, out = operation.plan(tuple(spans[ref] for ref in operation.sources), axis)
        spans.update(zip(operation.sources, wanted, strict=True))
        spans[operation.output] = out
        plan.append((wanted, out))
    return plan


@dataclass(frozen=True)
class Cut:
    """Windows of a lattice in blocks: every run of rows with every run of columns."""

    rows: tuple[Run, ...]
    columns: tuple[Run, ...]


@dataclass(frozen=True)
class Costs:
    """Estimates for a program over windows of one size, in `dtype`."""

    program: Program
    operations: tuple[Operation, ...]
    grid: Grid
    dtype: torch.dtype

    @classmethod
    def of(cls, program: Program, grid: Grid, dtype: torch.dtype) -> Costs:
        """The costs of the part of a program that has maps; planned once for each grid, for all images."""
        known = program.costs
        if (grid, dtype) not in known:
            while len(known) >= _GRIDS:
                known.pop(next(iter(known)), None)
            known[grid, dtype] = cls(program, program.maps, grid, dtype)
        costs: Costs = known[grid, dtype]
        return costs

    def cut(self, lattice: Lattice, memory: int) -> Cut:
        """The quickest way to cut a lattice into blocks that fit into `memory` bytes."""
        if (lattice, memory) not in self._cuts:
            ways = sorted(self._ways(lattice), key=lambda cut: self.seconds(cut))
            chosen = next((cut for cut in ways if self.bytes(cut) <= memory), None)
            self._cuts[lattice, memory] = chosen or min(ways, key=self.bytes)
        return self._cuts[lattice, memory]

    @cached_property
    def _cuts(self) -> dict[tuple[Lattice, int], Cut]:
        return {}

    def _ways(self, lattice: Lattice) -> Iterator[Cut]:
        spacings = [_spacing(starts) for starts in (lattice.tops, lattice.lefts)]
        seen = set()
        for reach in _REACHES:
            steps = [spacing * max(1, reach // spacing) for spacing in spacings]
            for most in _BLOCKS:
                cut = Cut(*(
                    tuple(runs(starts, step, most))
                    for starts, step in zip((lattice.tops, lattice.lefts), steps, strict=True)
                ))  # fmt: skip
                if cut not in seen:
                    seen.add(cut)
                    yield cut

    def seconds(self, cut: Cut) -> float:
        """How long the blocks of a cut take, about."""
        rows, columns = self._lengths(cut.rows, 0), self._lengths(cut.columns, 1)
        work = sum(down * across * cost for down, across, cost in zip(rows, columns, self._per_cell, strict=True))
        return work + len(cut.rows) * len(cut.columns) * self._per_block

    def macs(self, cut: Cut) -> float:
        """Multiply-accumulate operations of a cut."""
        rows, columns = self._lengths(cut.rows, 0), self._lengths(cut.columns, 1)
        return sum(
            down * across * operation.macs
            for down, across, operation in zip(rows, columns, self.operations, strict=True)
        )

    def bytes(self, cut: Cut) -> int:
        """The most memory that a block of this cut holds at a time."""
        rows = self._longest(cut.rows, 0)
        columns = self._longest(cut.columns, 1)
        width = self.dtype.itemsize
        held: dict[Ref, int] = {}
        most = 0
        for place, operation in enumerate(self.operations):
            size = int(rows[place] * columns[place] * operation.form.channels * width)
            most = max(most, sum(held.values()) + size * (4 if isinstance(operation, Convolve) else 2))
            held[operation.output] = size
            for ref in operation.sources:
                if self._last_use[ref] <= place:
                    held.pop(ref, None)
        return most

    def loop_seconds(self, windows: int) -> float:
        """How long the whole network takes for so many windows, about."""
        total = 0.0
        for operation in self.program.operations:
            total += _area(operation) * _per_cell(operation, torch.float32, passes=2.0, winograd=False)
        return windows * total + len(self.program.operations) * _CALL * windows / 16

    def loop_macs(self, windows: int) -> float:
        """Multiply-accumulate operations of the whole network for so many windows."""
        return windows * sum(float(_area(operation)) * operation.macs for operation in self.operations)

    @cached_property
    def _per_cell(self) -> list[float]:
        return [
            _per_cell(operation, self.dtype, passes=operation.passes, winograd=True) for operation in self.operations
        ]

    @cached_property
    def _per_block(self) -> float:
        """What every block costs, however small: the calls, and reading the weights."""
        weights = sum(_weights(operation, self.dtype) for operation in self.operations)
        return weights / _BANDWIDTH + len(self.operations) * _CALL

    @cached_property
    def _last_use(self) -> dict[Ref, int]:
        return self.program.last_use()

    @cached_property
    def _plans(self) -> dict[tuple[Span, int], Planned]:
        return {}

    def plan(self, run: Run, axis: int) -> Planned:
        """The plan of one run of windows, remembered."""
        span = run.span(self.grid.window[axis])
        if (span, axis) not in self._plans:
            self._plans[span, axis] = planned(self.operations, span, axis)
        return self._plans[span, axis]

    def _lengths(self, every: tuple[Run, ...], axis: int) -> list[int]:
        """For each operation the cells along this axis that it makes, over all windows of all runs."""
        return [sum(column) for column in zip(*(self._cells(run, axis) for run in every), strict=True)]

    def _longest(self, every: tuple[Run, ...], axis: int) -> list[int]:
        return [max(column) for column in zip(*(self._cells(run, axis) for run in every), strict=True)]

    def _cells(self, run: Run, axis: int) -> list[int]:
        count = len(run.places)
        return [count * (1 if out is None else out.length) for _, out in self.plan(run, axis)]


_GRIDS = 8  # grids of a program whose plans are remembered
_REACHES = (1, 8, 32)  # pixels between the windows of a block: strides of a network keep such windows in step
_BLOCKS = (3, 6, 9, 25)


def _spacing(starts: tuple[int, ...]) -> int:
    return min((b - a for a, b in pairwise(starts)), default=1)


def _weights(operation: Operation, dtype: torch.dtype) -> int:
    """Bytes of weights; Winograd's are 36 numbers in the place of 9."""
    if not isinstance(operation, Convolve):
        return 0
    spread = 4 if dtype == torch.float32 and operation.kernel.suits_winograd else 1
    return operation.kernel.weight.numel() * dtype.itemsize * spread


def _area(operation: Operation) -> int:
    rows, columns = operation.form.size
    return rows * columns


def _per_cell(operation: Operation, dtype: torch.dtype, *, passes: float, winograd: bool) -> float:
    rate = _RATES.get(dtype, _RATES[torch.float32])
    if isinstance(operation, Convolve):
        if operation.kernel.groups > 1:
            rate = _DEPTHWISE * (4 / dtype.itemsize)
        elif winograd and dtype == torch.float32 and operation.kernel.suits_winograd:
            rate *= _WINOGRAD
    width = operation.form.channels * (4 if isinstance(operation, WholeMaps) else dtype.itemsize)
    return operation.macs / rate + passes * width / _BANDWIDTH
