"""The graph of one clean forward pass, written down as it runs.

Some questions need the graph: how far a cell sees, how much arithmetic a layer costs, what an occluded window can reach.
Symbolic tracing and export change global state while they run and would break every other thread, so nothing is traced:
a `Tape` is a `Trace` that writes down each tensor operation of one ordinary pass, with its arguments.

The surprise: a tape tells what *this* input did. Where a network branches on a value, another input may do something
else; `Tape.reads_values` says so, and whoever replays the tape must not trust it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnviz.trace import Trace, step_name

_READS_VALUES = frozenset({"item", "bool", "int", "float", "tolist", "numpy", "index", "equal", "allclose", "nonzero"})


@dataclass(frozen=True)
class Ref:
    """Stands in a step's arguments for the output of an earlier step; `part` picks from a tuple of outputs."""

    step: int
    part: int | None = None


@dataclass(frozen=True)
class Step:
    """One tensor operation of the pass.

    `args` and `kwargs` are the call's own, with a `Ref` in place of every tensor that the pass computed; weights and
    other constants stand as tensors. `shape` is that of the output, batch included (None for a tuple of outputs).
    """

    index: int
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...] | None
    parts: tuple[tuple[int, ...] | None, ...] = ()

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The computed tensors that this step reads, in order."""
        return tuple(find_refs((self.args, self.kwargs)))


@dataclass(frozen=True)
class Mark:
    """Which step's output is the output of a layer, and the module that made it (None for an operation by hand)."""

    layer: str
    at: Ref
    module: nn.Module | None
    shape: tuple[int, ...]


class Tape(Trace):
    """A `Trace` that also writes down `steps` (step 0 is the input), `marks` (layers) and `output` (the scores).

    Every tensor of the pass is held while the tape runs, so that an identity is never met twice; then let go.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.marks: list[Mark] = []
        self.reads_values = False
        self.output: Ref | None = None
        self._place: dict[int, Ref] = {}
        self._held: list[Any] = []

    def run(self, network: nn.Module, images: Tensor) -> Tape:
        """Write down one pass over `images`; gradients are not recorded."""
        self.begin(images)
        try:
            with torch.no_grad():
                super().run(network, images)
            self.output = self._place.get(id(self.scores))
        finally:
            self._held.clear()
            self._place.clear()
        return self

    def begin(self, images: Tensor) -> None:
        """Set the input, step 0."""
        self.steps.append(Step(0, "input", _identity, (), {}, tuple(images.shape)))
        self._remember(images, Ref(0))

    def saw(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        name = step_name(function)
        if name in _READS_VALUES and any(True for _ in find_refs(self._refer((args, kwargs)))):
            self.reads_values = True
        tensors = _tensors(output)
        if not tensors:
            return
        index = len(self.steps)
        referred = self._refer((args, kwargs))
        if not any(True for _ in find_refs(referred)):
            return  # made of constants alone: it enters the tape as a constant where it is used
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        parts = () if shape is not None else tuple(tuple(t.shape) for t in tensors)
        self.steps.append(Step(index, name, function, *referred, shape, parts))
        if isinstance(output, Tensor):
            self._remember(output, Ref(index))
        else:
            for part, tensor in enumerate(tensors):
                self._remember(tensor, Ref(index, part))

    def named(self, name: str, output: Tensor, module: nn.Module | None) -> None:
        at = self._place.get(id(output))
        if at is not None:
            self.marks.append(Mark(name, at, module, tuple(output.shape)))

    def _remember(self, tensor: Tensor, ref: Ref) -> None:
        self._held.append(tensor)
        self._place[id(tensor)] = ref

    def _refer(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._place.get(id(value), value)
        if isinstance(value, tuple | list):
            return type(value)(self._refer(item) for item in value) if type(value) in (tuple, list) else value
        if isinstance(value, dict):
            return {key: self._refer(item) for key, item in value.items()}
        return value


def find_refs(value: Any) -> Iterator[Ref]:
    """Every `Ref` inside nested tuples, lists and dictionaries."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from find_refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from find_refs(item)


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, tuple | list) and output and all(isinstance(item, Tensor) for item in output):
        return list(output)
    return []


def _identity(x: Any) -> Any:
    return x
