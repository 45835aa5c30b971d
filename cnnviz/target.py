"""The one number that an explanation explains.

A target is small, frozen and hashable: a cache key, a piece of a link, and the same thing for saliency, guided
backprop, occlusion and feature visualisation. Called with a `Trace` it gives one number for each image, still attached
to autograd; `layers` says which outputs the trace must keep for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from cnnviz.errors import TargetError

if TYPE_CHECKING:
    from cnnviz.model import Layer, Model
    from cnnviz.trace import Trace

Readout = Literal["logit", "probability", "log_probability"]
Reduce = Literal["mean", "sum", "max"]

_READOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "logit": lambda scores: scores,
    "probability": lambda scores: scores.softmax(1),
    "log_probability": lambda scores: scores.log_softmax(1),
}
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.flatten(1).mean(1),
    "sum": lambda maps: maps.flatten(1).sum(1),
    "max": lambda maps: maps.flatten(1).amax(1),
}


class Target(Protocol):
    """What every target can do."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that a trace must keep for this target."""

    @property
    def text(self) -> str:
        """The target as a piece of a link; `parse_target` reads it back."""

    def __call__(self, trace: Trace) -> Tensor:
        """One number for each image, (N,)."""

    def check(self, model: Model) -> None:
        """Raise `TargetError` or `LayerError` when `model` has no such number."""


@dataclass(frozen=True)
class Class:
    """The score of one class: its logit, or its probability or log-probability after softmax."""

    index: int
    readout: Readout = "logit"

    @property
    def layers(self) -> tuple[str, ...]:
        return ()

    @property
    def text(self) -> str:
        return f"class:{self.index}" + ("" if self.readout == "logit" else f":{self.readout}")

    def __call__(self, trace: Trace) -> Tensor:
        return _READOUTS[self.readout](trace.scores)[:, self.index]

    def check(self, model: Model) -> None:
        _one_of("read-out", self.readout, tuple(_READOUTS))
        _class_exists(model, self.index)


@dataclass(frozen=True)
class Difference:
    """The logit of class `first` minus the logit of class `second`: why this one and not that one."""

    first: int
    second: int

    @property
    def layers(self) -> tuple[str, ...]:
        return ()

    @property
    def text(self) -> str:
        return f"difference:{self.first}:{self.second}"

    def __call__(self, trace: Trace) -> Tensor:
        return trace.scores[:, self.first] - trace.scores[:, self.second]

    def check(self, model: Model) -> None:
        _class_exists(model, self.first)
        _class_exists(model, self.second)


@dataclass(frozen=True)
class Channel:
    """One channel of a layer, its cells reduced to their mean, sum or maximum; a unit of a vector layer is itself."""

    layer: str
    channel: int
    reduce: Reduce = "mean"

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def text(self) -> str:
        return f"channel:{self.layer}:{self.channel}" + ("" if self.reduce == "mean" else f":{self.reduce}")

    def __call__(self, trace: Trace) -> Tensor:
        return _REDUCTIONS[self.reduce](trace.outputs[self.layer][:, self.channel, None])

    def check(self, model: Model) -> None:
        _one_of("reduction", self.reduce, tuple(_REDUCTIONS))
        _within(model.layer(self.layer), "channel", self.channel, 0)


@dataclass(frozen=True)
class Neuron:
    """One cell of one channel of a layer, before anything is averaged."""

    layer: str
    channel: int
    row: int
    column: int

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def text(self) -> str:
        return f"neuron:{self.layer}:{self.channel}:{self.row}:{self.column}"

    def __call__(self, trace: Trace) -> Tensor:
        return trace.outputs[self.layer][:, self.channel, self.row, self.column]

    def check(self, model: Model) -> None:
        layer = model.layer(self.layer)
        if not layer.spatial:
            raise TargetError(
                f"{self.layer} has no rows and columns, its output is {' × '.join(map(str, layer.shape))}; "
                f'use Channel("{self.layer}", {self.channel}) for one of its units'
            )
        for axis, name, index in ((0, "channel", self.channel), (1, "row", self.row), (2, "column", self.column)):
            _within(layer, name, index, axis)


@dataclass(frozen=True)
class WholeLayer:
    """Half the squared norm of a layer's output: its gradient there is the layer's own activation."""

    layer: str

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def text(self) -> str:
        return f"layer:{self.layer}"

    def __call__(self, trace: Trace) -> Tensor:
        return trace.outputs[self.layer].flatten(1).square().sum(1) / 2

    def check(self, model: Model) -> None:
        model.layer(self.layer)


@dataclass(frozen=True)
class _Several:
    """Targets that are asked for together; `between` joins their texts."""

    targets: tuple[Target, ...]
    between: ClassVar[str]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for target in self.targets for name in target.layers))

    @property
    def text(self) -> str:
        return self.between.join(target.text for target in self.targets)

    def check(self, model: Model) -> None:
        for target in self.targets:
            target.check(model)


@dataclass(frozen=True)
class Sum(_Several):
    """Several targets added up: the mix of two neurons, say."""

    between = "+"

    def __call__(self, trace: Trace) -> Tensor:
        return torch.stack([target(trace) for target in self.targets]).sum(0)


@dataclass(frozen=True)
class PerImage(_Several):
    """A target for each image of a batch, in the batch's order."""

    between = "|"

    def __call__(self, trace: Trace) -> Tensor:
        return torch.stack([target(trace)[row] for row, target in enumerate(self.targets)])


def as_target(target: Target | Sequence[Target] | int, images: int) -> Target:
    """One target for a batch of `images`: an int is a class, a sequence has one target for each image."""
    if isinstance(target, int):
        return Class(target)
    if not isinstance(target, Sequence):
        return target
    if len(target) != images:
        raise TargetError(f"{len(target)} targets for {images} images; give one target, or one for each image")
    return PerImage(tuple(Class(item) if isinstance(item, int) else item for item in target))


def parse_target(text: str) -> Target:
    """The target that `Target.text` wrote. Raises `TargetError` when the text is no target."""
    if "+" in text:
        return Sum(tuple(map(parse_target, text.split("+"))))
    kind, *fields = text.split(":")
    try:
        return _KINDS[kind](fields)
    except (KeyError, ValueError, IndexError, TypeError) as problem:
        raise TargetError(
            f"“{text}” is not a target; a target looks like class:3, difference:3:5, channel:conv2:5, "
            "neuron:conv2:5:4:4 or layer:conv2"
        ) from problem


def _chosen(value: str, allowed: tuple[str, ...]) -> str:
    return allowed[allowed.index(value)]


_KINDS: dict[str, Callable[[list[str]], Target]] = {
    "class": lambda f: Class(int(f[0]), *(_chosen(v, tuple(_READOUTS)) for v in f[1:])),  # type: ignore[arg-type]
    "difference": lambda f: Difference(*map(int, f)),
    "channel": lambda f: Channel(f[0], int(f[1]), *(_chosen(v, tuple(_REDUCTIONS)) for v in f[2:])),  # type: ignore[arg-type]
    "neuron": lambda f: Neuron(f[0], *map(int, f[1:])),
    "layer": lambda f: WholeLayer(*f),
}


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TargetError(f"“{value}” is not a {what}; choose one of {', '.join(allowed)}")


def _class_exists(model: Model, index: int) -> None:
    count = len(model.classes)
    if not 0 <= index < count:
        raise TargetError(f"class {index} does not exist: this network has {count} classes, 0 to {count - 1}")


def _within(layer: Layer, name: str, index: int, axis: int) -> None:
    size = layer.shape[axis]
    if not 0 <= index < size:
        raise TargetError(f"{layer.name} has no {name} {index}: it has {size}, 0 to {size - 1}")
