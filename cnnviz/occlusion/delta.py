"""The engine that computes only what a window changes.

One clean pass, then block after block of windows: each operation runs on the tiles that the plan gives it. From where
there are only vectors left, all blocks go on together, so that large weights are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from cnnviz.occlusion.clean import CleanMaps
from cnnviz.occlusion.cost import Costs, Cut
from cnnviz.occlusion.grid import Lattice
from cnnviz.occlusion.loop import Answers, Experiment, FullLoop, Part
from cnnviz.occlusion.operations import Clean, Operation
from cnnviz.occlusion.plan import Run
from cnnviz.occlusion.program import Program, replay
from cnnviz.occlusion.tile import Tile
from cnnviz.tape import Ref, Tape
from cnnviz.target import Channel, Neuron, Target
from cnnviz.trace import Trace


@dataclass(frozen=True)
class _Seen:
    """As much of a trace as a target looks at."""

    scores: Tensor | None = None
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


def value_of(target: Target, scores: Tensor | None = None, **outputs: Tensor) -> Tensor:
    """A target's value, (n,), from scores or from its layer's output."""
    seen: Any = _Seen(scores, {name: output for layer in target.layers for name, output in ((layer, outputs["x"]),)})
    return target(cast(Trace, seen))


@dataclass(frozen=True)
class Watch:
    """A target on an inner layer: its place among the targets and the value it reads."""

    place: int
    target: Target
    ref: Ref

    def read(self, tile: Tile, clean: Tensor) -> Tensor:
        """(n,): the target under each window, from the change of its layer and the layer's clean output."""
        tile, target = tile.tidied(), self.target
        if isinstance(target, Channel | Neuron) and tile.dims in (None, (2, 3)):
            chosen = slice(target.channel, target.channel + 1)
            tile, clean = replace(tile, data=tile.data[:, chosen]), clean[:, chosen]
            target = replace(target, channel=0)
        # a few windows at a time: whole maps are large
        return torch.cat([value_of(target, x=part) for part in _whole_maps(tile, clean)])


_MAPS_AT_ONCE = 1 << 24


def _whole_maps(tile: Tile, clean: Tensor) -> Iterator[Tensor]:
    if tile.dims is None:
        yield clean + tile.data
        return
    rows, columns = tile.spans
    several = max(1, _MAPS_AT_ONCE // clean.numel())
    for row in range(rows.count):
        for first in range(0, columns.count, several):
            count = min(several, columns.count - first)
            place = row * columns.count + first
            part = replace(
                tile,
                data=tile.data[place : place + count],
                rows=replace(rows, start=rows.start + row * rows.step, step=0, count=1),
                columns=replace(columns, start=columns.start + first * columns.step, count=count),
            )
            if columns.step and count == 1:
                part = replace(part, columns=replace(part.columns, step=0))  # type: ignore[type-var]
            yield clean + part.whole().data


def clean_pass(tape: Tape, program: Program, image: Tensor, keep: frozenset[Ref]) -> dict[Ref, Tensor]:
    """The values of one clean pass over a normalised image (1, C, H, W) that are read again."""
    values: dict[Ref, Tensor] = {Ref(0): image}
    last = {ref: step.index for step in tape.steps for ref in step.refs}
    derived = {source: (ref, function) for ref, (source, function) in program.derived.items()}
    kept: dict[Ref, Tensor] = {Ref(0): image}
    for step in tape.steps[1:]:
        result = replay(step, values)
        parts = {Ref(step.index): result} if step.shape is not None else {
            Ref(step.index, part): item for part, item in enumerate(result)
        }  # fmt: skip
        values.update(parts)
        for ref, value in parts.items():
            if ref in keep:
                kept[ref] = value
            if ref in derived:
                kept[derived[ref][0]] = derived[ref][1](value)
        for ref in {ref for ref in step.refs if last[ref] == step.index}:
            values.pop(ref, None)
    return kept


class DeltaEngine:
    """Only what changes. `saving` says how many times less arithmetic that is."""

    name = "delta"

    def __init__(self, experiment: Experiment, costs: Costs, watched: Sequence[Watch]) -> None:
        self._experiment, self._watched, self.costs = experiment, watched, costs
        program, dtype = costs.program, costs.dtype
        self._program, self._head = program, len(costs.operations)
        self.precision = "fast" if dtype == torch.bfloat16 else "exact"
        self.saving = 1.0
        self._spent = self._whole = 0.0
        model = experiment.model
        with torch.inference_mode():
            image, fill = (model.normalised(x[None]) for x in (experiment.image, experiment.fill))
            image = image.contiguous(memory_format=torch.channels_last)
            keep = program.reads | {program.output, *(w.ref for w in watched)}
            values = clean_pass(model.tape, program, image, keep | {_output(model.tape)})
            self._clean = Clean(values, CleanMaps(), dtype)
            self._change = (fill - image)[0].permute(1, 2, 0).contiguous().to(dtype)
            self._scores = values[_output(model.tape)]
            self.clean = self._answers(self._scores, {w.place: _at(w, values[w.ref]) for w in watched})

    def run(self, lattice: Lattice, check: Callable[[], None] = lambda: None) -> Iterator[Part]:
        """Answers for every window of the lattice; `check` may raise between two blocks."""
        cut = self.costs.cut(lattice, self._experiment.memory)
        self._spent += self.costs.macs(cut)
        self._whole += self.costs.loop_macs(len(lattice))
        self.saving = self._whole / max(self._spent, 1.0)
        waiting: list[_Block] = []
        for rows in cut.rows:
            for columns in cut.columns:
                check()
                with torch.inference_mode():
                    waiting.append(self._block(rows, columns, len(lattice.lefts)))
                if sum(block.bytes for block in waiting) > self._experiment.memory // 4:
                    yield self._finished(waiting)
                    waiting = []
        if waiting:
            yield self._finished(waiting)

    def deviations(self, lattice: Lattice, values: Tensor) -> list[float | None]:
        """How far a few windows are from the full network, as a share of the range; exact ones are not measured."""
        if self.precision == "exact":
            return [0.0] * values.shape[-1]
        cells = sample_cells(values[..., 0])
        exact = (
            FullLoop(self._experiment).at([(lattice.tops[row], lattice.lefts[column]) for row, column in cells]).values
        )
        ours = torch.stack([values[row, column] for row, column in cells])
        spread = (values.flatten(0, 1).amax(0) - values.flatten(0, 1).amin(0)).clamp_min(1e-30)
        return [float(d) for d in (exact - ours).abs().amax(0) / spread]

    def _block(self, rows: Run, columns: Run, width: int) -> _Block:
        """Run one block of windows as far as there are maps."""
        plans = [self.costs.plan(run, axis) for axis, run in enumerate((rows, columns))]
        spans = [run.span(side) for run, side in zip((rows, columns), self.costs.grid.window, strict=True)]
        view = CleanMaps().view((0, "change"), spans[0], spans[1], lambda: (self._change, 0.0))
        first = view.contiguous().flatten(0, 1).permute(0, 3, 1, 2)
        tiles = {Ref(0): Tile(first, (2, 3), spans[0], spans[1], self.costs.grid.image)}
        values: dict[int, Tensor] = {}
        for place, operation in enumerate(self.costs.operations):
            (wanted_rows, out_rows), (wanted_columns, out_columns) = plans[0][place], plans[1][place]
            for ref, down, across in zip(operation.sources, wanted_rows, wanted_columns, strict=True):
                if down is not None and across is not None:
                    tiles[ref] = tiles[ref].over(down, across)
            self._step(place, operation, tiles, (out_rows, out_columns), values)
        cells = torch.tensor([row * width + column for row in rows.places for column in columns.places])
        return _Block(cells, tiles, values)

    def _step(
        self, place: int, operation: Operation, tiles: dict[Ref, Tile], out: Any, values: dict[int, Tensor]
    ) -> None:
        made = operation.run([tiles[ref] for ref in operation.sources], out, self._clean)
        tiles[operation.output] = made
        for watch in self._watched:
            if self._program.change_of(watch.ref) == operation.output:
                values[watch.place] = watch.read(made, self._clean.values[watch.ref])
        for ref in set(operation.sources):
            if self._last_use[ref] <= place and ref != self._program.output:
                del tiles[ref]

    @property
    def _last_use(self) -> dict[Ref, int]:
        return self.costs._last_use

    def _finished(self, blocks: list[_Block]) -> Part:
        """Bring blocks together and run what is left of the network on all of their windows at once."""
        with torch.inference_mode():
            refs = list(blocks[0].tiles)
            tiles = {ref: Tile(torch.cat([block.tiles[ref].data for block in blocks])) for ref in refs}
            values = {place: torch.cat([block.values[place] for block in blocks]) for place in blocks[0].values}
            for place, operation in enumerate(self._program.operations[self._head :], self._head):
                self._step(place, operation, tiles, (None, None), values)
            scores = self._scores + tiles[self._program.output].data
            return Part(torch.cat([block.cells for block in blocks]), self._answers(scores, values))

    def _answers(self, scores: Tensor, values: dict[int, Tensor]) -> Answers:
        columns = [
            values[place] if place in values else value_of(target, scores)
            for place, target in enumerate(self._experiment.targets)
        ]
        return Answers(scores.cpu(), torch.stack([c.to(scores.dtype) for c in columns], 1).cpu())


@dataclass(frozen=True)
class _Block:
    """A block of windows at the point where only vectors are left."""

    cells: Tensor
    tiles: dict[Ref, Tile]
    values: dict[int, Tensor]

    @property
    def bytes(self) -> int:
        return sum(tile.data.nbytes for tile in self.tiles.values())


def _output(tape: Tape) -> Ref:
    assert tape.output is not None
    return tape.output


def _at(watch: Watch, clean: Tensor) -> Tensor:
    return value_of(watch.target, x=clean)


def sample_cells(values: Tensor) -> list[tuple[int, int]]:
    """Three cells to measure at: the lowest, the highest and the middle one."""
    width = values.shape[1]
    order = values.flatten().argsort()
    chosen = dict.fromkeys(int(order[i]) for i in (0, len(order) // 2, -1))
    return [(cell // width, cell % width) for cell in chosen]


__all__ = ["Cut", "DeltaEngine", "Watch", "clean_pass"]
