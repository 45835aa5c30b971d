"""The graph of one clean forward pass, written down as it runs.

Some questions need the graph: how far a cell sees, how much a layer computes, what an occluded window can reach.
Symbolic tracing and export change global state while they run and would break every other thread, so nothing is traced:
a `Tape` is a `Trace` that writes down each tensor operation of one ordinary pass, with its arguments.

The surprise: a tape tells what *this* input did. Where a network branches on a value, another input may do something
else; `Tape.reads_values` says so, and whoever replays the tape must not trust it then. What no function mode sees (an
`autograd.Function`, a scripted function) stands on the tape as a step `unseen` that cannot be replayed and may have
read everything: gradients are recorded during the pass, so that its result is not taken for a constant.
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
        """Write down one pass over `images`."""
        with torch.inference_mode(False), torch.enable_grad():
            images = images.detach().clone().requires_grad_().clone()  # a network may overwrite its input: no leaf
        self.begin(images)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                super().run(network, images)
            if isinstance(self.scores, Tensor):
                self.output = self._find(self.scores)
                self.scores = self.scores.detach()
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
        referred_args, referred_kwargs = self._refer(args), self._refer(kwargs)
        if next(find_refs((referred_args, referred_kwargs)), None) is None:
            return  # made of constants alone: it enters the tape as a constant where it is used
        self.reads_values |= name in _READS_VALUES
        if name == "setitem":
            output = args[0]  # `x[…] = y` gives nothing back: what it made is x
        if isinstance(output, Tensor) or any(isinstance(part, Tensor) for part in _parts(output)):
            self._write(name, function, referred_args, referred_kwargs, output)

    def named(self, name: str, output: Tensor, module: nn.Module | None, inputs: Any) -> None:
        at = self._find(output)
        if at is not None:
            self.marks.append(Mark(name, at, module, tuple(output.shape)))

    def _write(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any, output: Any) -> None:
        index, parts = len(self.steps), _parts(output)
        shape = None if parts else tuple(output.shape)
        self.steps.append(Step(index, name, function, args, kwargs, shape, tuple(map(_shape, parts))))
        if not parts:
            self._remember(output, Ref(index))
        for part, tensor in enumerate(parts):
            if isinstance(tensor, Tensor):
                self._remember(tensor, Ref(index, part))

    def _find(self, tensor: Tensor) -> Ref | None:
        """Where a tensor was computed; None for a constant."""
        if id(tensor) not in self._place and tensor.grad_fn is not None:  # from the image, in a way that was not seen
            self._write("unseen", _unseen, (Ref(0),), {}, tensor)
        return self._place.get(id(tensor))

    def _remember(self, tensor: Tensor, ref: Ref) -> None:
        self._held.append(tensor)
        self._place[id(tensor)] = ref

    def _refer(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._find(value) or value
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


def _parts(output: Any) -> tuple[Any, ...]:
    return tuple(output) if isinstance(output, tuple | list) else ()


def _shape(part: Any) -> tuple[int, ...] | None:
    return tuple(part.shape) if isinstance(part, Tensor) else None


def _identity(x: Any) -> Any:
    return x


def _unseen(*_: Any) -> Any:
    raise NotImplementedError("this step of the network cannot be replayed: PyTorch does not show what it did")
