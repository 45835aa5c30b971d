"""What the dashboard, the trainer and the loader must know about a network they can build by name.

A network's arguments fall in two: what its lesson lets one change (`changeable`, each with its range) and what follows
from the data (`size`, `classes`). Both are plain numbers and words, so a card can hold them and rebuild the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from cnnviz.errors import NetworkError

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Whole:
    """An argument that is a whole number from `least` to `most`."""

    name: str
    title: str
    least: int
    most: int

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise NetworkError(f"{self.title} must be a whole number from {self.least} to {self.most}, not {value!r}.")


@dataclass(frozen=True)
class Share:
    """An argument that is a share from 0 up to, but not including, 1."""

    name: str
    title: str

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise NetworkError(f"{self.title} must be a number from 0 up to, but not including, 1, not {value!r}.")


@dataclass(frozen=True)
class Choice:
    """An argument that is one of a few values."""

    name: str
    title: str
    values: tuple[Any, ...]

    def check(self, value: object) -> None:
        if value not in self.values:
            raise NetworkError(f"{self.title} must be one of {', '.join(map(str, self.values))}, not {value!r}.")


Argument = Whole | Share | Choice


@dataclass(frozen=True)
class Preset:
    """How to train a network unless told otherwise: its note's own settings where the note has any."""

    data: str
    epochs: int = 10
    batch: int = 64
    optimiser: str = "adam"
    rate: float = 1e-3
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class NetworkInfo:
    """A network that can be built by name, and everything one may change about it."""

    name: str
    title: str
    builder: Callable[..., nn.Module]
    size: Size
    arguments: Mapping[str, Any]
    changeable: tuple[Argument, ...] = ()
    preset: Preset | None = None
    source: str = ""
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def complete(self, **arguments: Any) -> dict[str, Any]:
        """All arguments, the given ones over the defaults; raises NetworkError for a name or value out of place."""
        unknown = sorted(set(arguments) - set(self.arguments))
        if unknown:
            raise NetworkError(f"{self.name} has no argument {unknown[0]!r}; it has {', '.join(self.arguments)}.")
        chosen = {**self.arguments, **arguments}
        if "size" in chosen:
            chosen["size"] = _checked_size(chosen["size"])
        for argument in self.changeable:
            argument.check(chosen[argument.name])
        return chosen

    def build(self, **arguments: Any) -> nn.Module:
        """A new network with random weights from torch's global generator; raises NetworkError when it does not fit."""
        return self.builder(**self.complete(**arguments))

    def input_size(self, **arguments: Any) -> Size:
        """The (channels, height, width) that the network with these arguments takes."""
        size: Size = self.complete(**arguments).get("size", self.size)
        return size

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict under this project's layer names, from one under the note's own (`l1.0.weight`)."""
        return {self._renamed(key): value for key, value in state.items()}

    def _renamed(self, key: str) -> str:
        module, _, leaf = key.rpartition(".")
        return f"{self.keys.get(module, module)}.{leaf}" if module else key


def _checked_size(size: object) -> Size:
    sides = [side for side in size if isinstance(side, int) and 1 <= side <= 1024] if isinstance(size, Sequence) else []
    if not isinstance(size, Sequence) or not len(size) == len(sides) == 3:
        raise NetworkError(f"size must be (channels, height, width), each from 1 to 1024, not {size!r}.")
    return sides[0], sides[1], sides[2]
