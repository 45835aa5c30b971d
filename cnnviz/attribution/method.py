"""What a method is: a function with a title and a paper, and the table that holds them all.

A method takes `(model, images, target, *, options)` and gives an `Attribution`: values (N, C or 1, H, W) in the image's
own pixels and the facts a reader needs. The surprise: batches are cut here, not in the methods. A gradient of four
photographs at a time is as fast on a processor as one of sixteen, and needs a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cnnviz.attribution.explanation import Attribution, Explanation, joined
from cnnviz.attribution.options import Option, options_of
from cnnviz.errors import ExplanationError
from cnnviz.target import PerImage, Target, as_target

if TYPE_CHECKING:
    from cnnviz.model import Model

Compute = Callable[..., "Attribution | Tensor"]
_PIXELS_AT_ONCE = 4 * 224 * 224  # measured on two cores: four photographs at a time, hundreds of digits


@dataclass(frozen=True)
class Method:
    """A way of explaining: its key, its title, its paper, whether its values carry a sign, its options.

    Where a method `contributes`, a value says how much its pixel adds to the target or takes from it, so that the
    sign ranks pixels; a gradient's sign only says which way to turn a pixel, so that its magnitude does.
    """

    name: str
    title: str
    paper: str
    signed: bool
    compute: Compute
    options: tuple[Option, ...]
    contributes: bool = False

    @property
    def summary(self) -> str:
        """What the map shows, in one sentence: the first line of the method's docstring."""
        return (self.compute.__doc__ or "").strip().splitlines()[0]

    def complete(self, options: dict[str, Any]) -> dict[str, Any]:
        """All options, the given ones over the defaults. Raises `ExplanationError` for a wrong name or value."""
        chosen = {option.name: option.default for option in self.options}
        for name in options:
            if name not in chosen:
                has = f"it has {', '.join(chosen)}" if chosen else "it has none"
                raise ExplanationError(f"{self.title} has no option {name}; {has}")
        chosen.update(options)
        for option in self.options:
            option.widget.check(option.name, chosen[option.name])
        return chosen


METHODS: dict[str, Method] = {}


def method(title: str, *, paper: str, signed: bool, contributes: bool = False) -> Callable[[Compute], Compute]:
    """Enter a function into `METHODS` under its own name."""

    def register(compute: Compute) -> Compute:
        options = options_of(compute)
        METHODS[compute.__name__] = Method(compute.__name__, title, paper, signed, compute, options, contributes)
        return compute

    return register


def explain(
    method: str, model: Model, images: Tensor, target: Target | Sequence[Target] | int, **options: Any
) -> np.ndarray[Any, np.dtype[Any]]:
    """A map of what in each image moved the target: (N, C or 1, H, W), in the image's own pixels.

    `images` (N, C, H, W) in [0, 1]; `target` is one for all, or a list with one for each image (an int is a class).
    Gradients are with respect to pixels in [0, 1] and keep their sign. Raises `CnnvizError` with one sentence.
    """
    return explained(method, model, images, target, **options).values


def explained(
    method: str, model: Model, images: Tensor, target: Target | Sequence[Target] | int, **options: Any
) -> Explanation:
    """The same map with what a reader must know beside it: the target's value, what was guided, what was left alone."""
    if method not in METHODS:
        raise ExplanationError(f"{method} is not a method; the methods are {', '.join(METHODS)}")
    model.check_images(images)
    wanted = as_target(target, len(images))
    wanted.check(model)
    chosen = METHODS[method].complete(options)
    parts = [
        Attribution.of(METHODS[method].compute(model, some, aim, **chosen))
        for some, aim in _batches(images.to(model.device, model.dtype), wanted)
    ]
    return Explanation.of(METHODS[method], chosen, wanted.text, _finite(joined(parts)))


def _finite(answer: Attribution) -> Attribution:
    if not bool(torch.isfinite(answer.values).all()):
        raise ExplanationError(
            "the map holds values that are not a finite number: the weights, or the normalisation, hold or make NaN or "
            "infinity; check the checkpoint"
        )
    return answer


def at_once(images: Tensor) -> int:
    """How many images of this size go through a network at a time."""
    return max(4, _PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1]))


def one_each(target: Target, row: int, copies: int) -> Target:
    """The target of image `row` of a batch, for a batch of `copies` of that image."""
    return PerImage((target.targets[row],) * copies) if isinstance(target, PerImage) else target


def _batches(images: Tensor, target: Target) -> Iterator[tuple[Tensor, Target]]:
    if not bool(torch.isfinite(images).all()):
        raise ExplanationError("the image holds values that are not finite (NaN or infinity); give numbers in [0, 1]")
    for start in range(0, len(images), at_once(images)):
        some = images[start : start + at_once(images)]
        aims = PerImage(target.targets[start : start + len(some)]) if isinstance(target, PerImage) else target
        yield some, aims
