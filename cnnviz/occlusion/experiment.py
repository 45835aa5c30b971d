"""Occlude an image: cover it window by window and write down what the network says (Zeiler & Fergus 2013, section 4.2).

A drop, clean minus occluded, is positive where the window hid something that supported the target. The surprise: in a
network without global steps most of the arithmetic is the same for every window, so `engine="auto"` computes only what
a window changes, where that is faster; the answer is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor

from cnnviz.errors import Cancelled, ExplanationError
from cnnviz.occlusion.engine import Engine, engine_for
from cnnviz.occlusion.fills import fill_name, fill_picture
from cnnviz.occlusion.grid import Grid, Lattice, Pair, grid_of, missing
from cnnviz.occlusion.loop import Experiment
from cnnviz.occlusion.sweep import Sweep
from cnnviz.target import Class, Target

if TYPE_CHECKING:
    from cnnviz.model import Model

Progress = Callable[[int, int], None]
_ENGINES = ("auto", "full", "delta")
_PRECISIONS = ("exact", "fast")


@overload
def occlude(
    model: Model, image: Tensor, target: Target | int, window: int | Pair | None = ..., stride: int | Pair | None = ...,
    fill: str | Tensor = ..., precision: str = ..., engine: str = ..., memory: int = ..., *, seed: int = ...,
    progress: Progress | None = ..., cancelled: Callable[[], bool] | None = ...,
) -> Sweep: ...  # fmt: skip


@overload
def occlude(
    model: Model, image: Tensor, target: Sequence[Target | int], window: int | Pair | None = ...,
    stride: int | Pair | None = ..., fill: str | Tensor = ..., precision: str = ..., engine: str = ...,
    memory: int = ..., *, seed: int = ..., progress: Progress | None = ...,
    cancelled: Callable[[], bool] | None = ...,
) -> list[Sweep]: ...  # fmt: skip


def occlude(
    model: Model,
    image: Tensor,
    target: Target | int | Sequence[Target | int],
    window: int | Pair | None = None,
    stride: int | Pair | None = None,
    fill: str | Tensor = "mean",
    precision: str = "exact",
    engine: str = "auto",
    memory: int = 2 << 30,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Sweep | list[Sweep]:
    """Cover an image (C, H, W) in [0, 1] window by window; a `Sweep`, or one for each of several targets.

    `window` and `stride` are in pixels, one number or (height, width); by default a seventh of each side, a quarter of
    the window apart. `fill` is a name in `FILLS` or another image; `seed` is that of noise. `precision="fast"` computes
    the changes in bfloat16 where the processor is fast at that, and states its deviation. `engine` is "auto" (whatever
    is faster), "full" (the whole network for every window) or "delta" (only what changes). `memory` bounds the working
    memory, in bytes. `progress(done, windows)` is called on the way; `cancelled()` stops it with `Cancelled`.
    Raises `CnnvizError` for a window that does not fit, a stride that leaves pixels uncovered, or an unknown name.
    """
    question = _question(model, image, target, window, stride, fill, memory, seed)
    wanted = Lattice(*question.grid.starts)
    table = _Table(question, _engine(question, precision, engine), progress, cancelled)
    table.fill_in(wanted)
    return question.shaped(table.sweeps(wanted, finished=True))


def occlude_progressively(
    model: Model,
    image: Tensor,
    target: Target | int | Sequence[Target | int],
    window: int | Pair | None = None,
    stride: int | Pair | None = None,
    fill: str | Tensor = "mean",
    precision: str = "exact",
    engine: str = "auto",
    memory: int = 2 << 30,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[Sweep | list[Sweep]]:
    """The same experiment from coarse to fine: each yield is a `Sweep` of its own, with every pixel covered.

    The first has the widest stride, a power of two times the one asked for, that leaves no gap; windows already
    computed are not computed again, and the last yield is what `occlude` gives. Closing the iterator stops it.
    """
    question = _question(model, image, target, window, stride, fill, memory, seed)
    table = _Table(question, _engine(question, precision, engine), progress, cancelled)
    return _levels(question, table)


def _levels(question: _Question, table: _Table) -> Iterator[Sweep | list[Sweep]]:
    for factor in question.grid.factors:
        wanted = Lattice(*question.grid.coarser(factor))
        table.fill_in(wanted)
        yield question.shaped(table.sweeps(wanted, finished=factor == 1))


@dataclass(frozen=True)
class _Question:
    """A checked experiment, its grid and how the answer is wanted."""

    experiment: Experiment
    grid: Grid
    fill: str
    several: bool

    def shaped(self, sweeps: list[Sweep]) -> Sweep | list[Sweep]:
        return sweeps if self.several else sweeps[0]


def _question(
    model: Model,
    image: Tensor,
    target: Target | int | Sequence[Target | int],
    window: int | Pair | None,
    stride: int | Pair | None,
    fill: str | Tensor,
    memory: int,
    seed: int,
) -> _Question:
    model.check_images(image[None] if image.dim() == 3 else image)
    if image.dim() == 4 and len(image) != 1:
        raise ExplanationError(f"occlusion takes one image at a time, not {len(image)}; give images[0]")
    single = (image if image.dim() == 3 else image[0]).detach().to(model.device, model.dtype)
    several = isinstance(target, Sequence)
    given = target if isinstance(target, Sequence) else [target]
    targets = tuple(Class(item) if isinstance(item, int) else item for item in given)
    if not targets:
        raise ExplanationError("there is no target; give one, such as Class(3), or a list of them")
    for item in targets:
        item.check(model)
    grid = grid_of(model.size[1:], window, stride)
    picture = fill_picture(fill, model, single, grid.window, seed)
    experiment = Experiment(model, single, picture, targets, grid.window, memory)
    return _Question(experiment, grid, fill_name(fill), several)


def _engine(question: _Question, precision: str, engine: str) -> Engine:
    for what, value, allowed in (("precision", precision, _PRECISIONS), ("engine", engine, _ENGINES)):
        if value not in allowed:
            raise ExplanationError(f"{value!r} is not a {what} of occlusion; choose one of {', '.join(allowed)}")
    return engine_for(question.experiment, question.grid, precision, engine)


class _Table:
    """The answers so far, for every window of the full grid."""

    def __init__(
        self, question: _Question, engine: Engine, progress: Progress | None, cancelled: Callable[[], bool] | None
    ) -> None:
        self._question, self._engine = question, engine
        self._progress, self._cancelled = progress, cancelled
        self._tops, self._lefts = ({s: i for i, s in enumerate(starts)} for starts in question.grid.starts)
        shape = (len(self._tops), len(self._lefts))
        self._scores = engine.clean.scores.new_zeros((*shape, engine.clean.scores.shape[1]))
        self._values = engine.clean.values.new_zeros((*shape, len(question.experiment.targets)))
        self._known = Lattice((), ())
        self._done = 0

    def fill_in(self, wanted: Lattice) -> None:
        """Compute the windows of `wanted` that are not known yet."""
        for lattice in missing(self._known, wanted):
            rows = torch.tensor([self._tops[top] for top in lattice.tops])
            columns = torch.tensor([self._lefts[left] for left in lattice.lefts])
            for part in self._engine.run(lattice, self._check):
                row, column = rows[part.cells // len(lattice.lefts)], columns[part.cells % len(lattice.lefts)]
                self._scores[row, column] = part.answers.scores
                self._values[row, column] = part.answers.values
                self._report(len(part.cells))
        self._known = wanted

    def sweeps(self, lattice: Lattice, *, finished: bool) -> list[Sweep]:
        """A sweep for each target over the windows of `lattice`."""
        experiment, grid, clean = self._question.experiment, self._question.grid, self._engine.clean
        place = (
            torch.tensor([self._tops[top] for top in lattice.tops])[:, None],
            torch.tensor([self._lefts[left] for left in lattice.lefts]),
        )
        scores, values = self._scores[place].numpy(), self._values[place].numpy()
        deviations = self._engine.deviations(lattice, self._values[place]) if finished else [None] * len(values)
        return [
            Sweep(
                target=target,
                image=grid.image,
                window=grid.window,
                stride=_spacing(grid, lattice),
                fill=self._question.fill,
                rows=grid.boxes(0, lattice.tops),
                columns=grid.boxes(1, lattice.lefts),
                scores=scores,
                score=values[..., index],
                clean=clean.scores[0].numpy(),
                clean_score=float(clean.values[0, index]),
                engine=self._engine.name,
                precision=self._engine.precision,
                saving=self._engine.saving,
                deviation=deviations[index] if finished else None,
            )
            for index, target in enumerate(experiment.targets)
        ]

    def _check(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("the occlusion experiment was stopped")

    def _report(self, windows: int) -> None:
        self._done += windows
        if self._progress is not None:
            self._progress(self._done, len(self._tops) * len(self._lefts))


def _spacing(grid: Grid, lattice: Lattice) -> Pair:
    """How far apart the windows of a coarser grid are."""
    down, right = (
        starts[1] - starts[0] if len(starts) > 1 else stride
        for starts, stride in zip((lattice.tops, lattice.lefts), grid.stride, strict=True)
    )
    return (down, right)
