"""What a method lets one choose: the annotation of a keyword-only parameter is its widget, and its check.

`steps: Annotated[int, Range(8, 256, 8)] = 64` is a slider from 8 to 256; the same line refuses 0 from a notebook.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

from cnnviz.errors import ExplanationError


class Widget(Protocol):
    """How an option is chosen, and which values it takes."""

    def check(self, name: str, value: Any) -> None:
        """Raise `ExplanationError` when `value` is not one of its values."""


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, in steps of `step` on a slider (any number in between from a notebook)."""

    low: float
    high: float
    step: float = 1
    unit: str = ""

    @property
    def whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return all(float(n).is_integer() for n in (self.low, self.high, self.step))

    def check(self, name: str, value: Any) -> None:
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            what = "a whole number" if self.whole else "a number"
            unit = f" {self.unit}" if self.unit else ""
            raise ExplanationError(f"{name} must be {what} from {self.low} to {self.high}{unit}, not {value!r}")


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]

    def check(self, name: str, value: Any) -> None:
        if value not in self.values:
            raise ExplanationError(f"{name} must be one of {', '.join(self.values)}, not {value!r}")


@dataclass(frozen=True)
class LayerChoice:
    """The name of a layer with rows and columns, or None for the one the method itself would take.

    Whether the network has the layer is found out where the method asks the Model for it.
    """

    none: str = "last convolution, with its ReLU"

    def check(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, str):
            raise ExplanationError(f"{name} must be the name of a layer, or None for the {self.none}, not {value!r}")


@dataclass(frozen=True)
class Switch:
    """Yes or no."""

    def check(self, name: str, value: Any) -> None:
        if not isinstance(value, bool):
            raise ExplanationError(f"{name} must be True or False, not {value!r}")


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter of a method: its name, how it is chosen, its default."""

    name: str
    widget: Widget
    default: Any

    @property
    def title(self) -> str:
        """The name as a label."""
        return self.name.replace("_", " ").capitalize()


def options_of(function: Callable[..., Any]) -> tuple[Option, ...]:
    """The options that a method's signature declares; raises TypeError for one without a widget or a default."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return tuple(_option(p, hints.get(p.name)) for p in parameters if p.kind is p.KEYWORD_ONLY)


def _option(parameter: inspect.Parameter, hint: Any) -> Option:
    widget = Switch() if hint is bool else next(iter(getattr(hint, "__metadata__", ())), None)
    if widget is None or parameter.default is parameter.empty:
        raise TypeError(f"option {parameter.name} needs a default and a widget: Annotated[int, Range(1, 10)] = 5")
    return Option(parameter.name, widget, parameter.default)
