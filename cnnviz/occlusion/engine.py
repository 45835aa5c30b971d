"""Which engine answers an experiment: only what changes where that is faster, the full loop otherwise.

What is prepared for a network (the program, packed weights) is remembered for the networks used last, so that the next
window answers at once; it is bound to the weights' own memory and version, and never changes an answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from cnnviz.errors import ExplanationError
from cnnviz.occlusion.cost import Costs
from cnnviz.occlusion.delta import DeltaEngine, Watch, clean_pass
from cnnviz.occlusion.grid import Grid, Lattice
from cnnviz.occlusion.loop import Answers, Experiment, FullLoop, Part
from cnnviz.occlusion.program import Program, compiled
from cnnviz.tape import Ref, Tape

if TYPE_CHECKING:
    from cnnviz.model import Model


class Engine(Protocol):
    """What computes the answers: `clean` for the whole image, `run` for windows."""

    name: str
    precision: str
    saving: float

    @property
    def clean(self) -> Answers:
        """The answers for the whole image."""

    def run(self, lattice: Lattice, check: Callable[[], None] = ...) -> Iterator[Part]:
        """Answers for every window of the lattice, part by part; `check` may raise between two parts."""

    def deviations(self, lattice: Lattice, values: Tensor) -> list[float | None]:
        """For each target how far `values` (rows, columns, T) are from exact, as a share of their range."""


def engine_for(experiment: Experiment, grid: Grid, precision: str, engine: str) -> Engine:
    """The engine to use. Raises `ExplanationError` where "delta" is asked of a network that does not allow it."""
    if engine == "full":
        return FullLoop(experiment)
    why_not = _why_not(experiment)
    if why_not and engine == "delta":
        raise ExplanationError(f'{experiment.model.name} {why_not}; use engine="full"')
    if why_not:
        return FullLoop(experiment)
    watched = _watches(experiment)
    program = _prepared(experiment.model, frozenset(watch.ref for watch in watched))
    if program is None:
        if engine == "delta":
            raise ExplanationError(f'{experiment.model.name} does not answer the same when replayed; use engine="full"')
        return FullLoop(experiment)
    if program.mixes and engine != "delta":
        return FullLoop(experiment)
    costs = _costs(experiment, grid, program, precision)
    if engine == "delta" or _estimate(costs, experiment, grid) < 0.9 * costs.loop_seconds(len(Lattice(*grid.starts))):
        return DeltaEngine(experiment, costs, watched)
    return FullLoop(experiment)


_CLEARLY = 0.7  # fast must be so much faster than exact to be worth its deviation
_SHORT = 0.2  # seconds: below that, measuring the deviation takes longer than being exact


def _costs(experiment: Experiment, grid: Grid, program: Program, precision: str) -> Costs:
    """The costs of computing exactly, or in bfloat16 where that is asked for and clearly faster."""
    exact = Costs.of(program, grid, experiment.model.dtype)
    if precision == "exact" or not fast_bfloat16(experiment.model):
        return exact
    fast, seconds = Costs.of(program, grid, torch.bfloat16), _estimate(exact, experiment, grid)
    return fast if seconds > _SHORT and _estimate(fast, experiment, grid) < _CLEARLY * seconds else exact


def _estimate(costs: Costs, experiment: Experiment, grid: Grid) -> float:
    return costs.seconds(costs.cut(Lattice(*grid.starts), experiment.memory))


def fast_bfloat16(model: Model) -> bool:
    """Whether the processor multiplies bfloat16 faster than float32."""
    if model.dtype != torch.float32:
        return False
    if model.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check is not None and check() for check in has)


def _why_not(experiment: Experiment) -> str | None:
    """Why a tape cannot be replayed for this experiment."""
    tape = experiment.model.tape
    if tape.output is None or tape.output.part is not None:
        return "does not show its steps"
    if tape.reads_values:
        return "branches on values, so that a window may take another way"
    if any(step.name == "unseen" for step in tape.steps):
        return "has a step that PyTorch does not show"
    marks = {mark.layer for mark in tape.marks}
    if any(len(target.layers) > 1 or not marks.issuperset(target.layers) for target in experiment.targets):
        return "does not show the layer that is asked for"
    return None


def _watches(experiment: Experiment) -> tuple[Watch, ...]:
    marks = {mark.layer: mark.at for mark in experiment.model.tape.marks}
    return tuple(
        Watch(place, target, marks[target.layers[0]])
        for place, target in enumerate(experiment.targets)
        if target.layers
    )


_REMEMBERED = 3
_programs: OrderedDict[Any, Program | None] = OrderedDict()
_lock = threading.Lock()


def _prepared(model: Model, watched: frozenset[Ref]) -> Program | None:
    """The program of a model, None where replaying its tape does not give its scores."""
    key = (id(model.tape), watched, _stamp(model.tape))
    with _lock:
        if key in _programs:
            _programs.move_to_end(key)
            return _programs[key]
    program = compiled(model.tape, watched)
    prepared = program if _replays(model, program) else None
    with _lock:
        _programs[key] = prepared
        while len(_programs) > _REMEMBERED:
            _programs.popitem(last=False)
    return prepared


def _stamp(tape: Tape) -> tuple[tuple[int, int], ...]:
    constants = (
        item for step in tape.steps for item in (*step.args, *step.kwargs.values()) if isinstance(item, Tensor)
    )
    return tuple((item.data_ptr(), item._version) for item in constants)


def _replays(model: Model, program: Program) -> bool:
    """Whether the recorded steps, run again on another image, give what the network gives."""
    image = torch.rand((1, *model.size), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        try:
            output = model.tape.output or Ref(0)
            again = clean_pass(model.tape, program, model.normalised(image), program.reads | {output})[output]
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return False
        scores = model.scores(image)
    return bool((again - scores).norm() <= 1e-4 * scores.norm() + 1e-12)
