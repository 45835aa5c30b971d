"""What a method gives back: the numbers, and the facts without which they mislead.

A guided map of a network without a single ReLU is the plain gradient; integrated gradients that do not add up have too
few steps. Such facts are part of the answer, as numbers and as sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.rules import Rectifiers

if TYPE_CHECKING:
    from cnnviz.attribution.method import Method


CLOSE_ENOUGH = 0.01  # completeness gap, as a share of the difference of scores
LITTLE_CHANGE = (
    "The score is nearly the same for the baseline and for the image; a gap measured against so small a change is "
    "large even where the values are right."
)


@dataclass(frozen=True)
class Facts:
    """What a reader of the maps must know; what a method does not measure is None.

    `score` (N,) is the target's value; `gap` (N,) the completeness gap of a method whose values should add up to a
    difference of scores, as a share of that difference; `layer` the layer that the maps come from.
    """

    score: NDArray[np.floating[Any]] | None = None
    rectifiers: Rectifiers | None = None
    gap: NDArray[np.floating[Any]] | None = None
    layer: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """The facts as sentences."""
        lines = list(self.rectifiers.sentences) if self.rectifiers is not None else []
        if self.layer is not None:
            lines.append(f"The map comes from layer {self.layer} and is enlarged to the image.")
        if self.gap is not None:
            worst = float(np.max(self.gap))
            verdict = "which is close enough" if worst <= CLOSE_ENOUGH else "which is too far: take more steps"
            within = f"{100 * worst:.2f}\N{NO-BREAK SPACE}%"
            lines.append(f"The values add up to the difference of scores within {within}, {verdict}.")
        return (*lines, *self.notes)


@dataclass(frozen=True)
class Attribution:
    """What a method computes: values (N, C or 1, H, W) and facts."""

    values: Tensor
    facts: Facts = field(default_factory=Facts)

    @classmethod
    def of(cls, result: Attribution | Tensor | NDArray[Any]) -> Attribution:
        """An attribution from whatever a method returned: values alone carry no facts."""
        return result if isinstance(result, Attribution) else cls(torch.as_tensor(result))


@dataclass(frozen=True)
class Explanation:
    """The maps of one method: `values` (N, C or 1, H, W) in pixels, negative only where `signed`."""

    method: str
    title: str
    target: str
    options: Mapping[str, Any]
    signed: bool
    values: NDArray[np.floating[Any]]
    facts: Facts

    @classmethod
    def of(cls, method: Method, options: Mapping[str, Any], target: str, answer: Attribution) -> Explanation:
        """The explanation that a method's attribution amounts to."""
        values = answer.values.detach().cpu().numpy()
        frozen = MappingProxyType(dict(options))
        return cls(method.name, method.title, target, frozen, method.signed, values, answer.facts)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader must know beside the picture, one sentence each."""
        return self.facts.sentences

    @property
    def blank(self) -> NDArray[np.bool_]:
        """(N,): which maps are zero everywhere; `cnnviz.diagnosis` says why."""
        return np.asarray(~self.values.reshape(len(self.values), -1).any(axis=1))


def joined(parts: Sequence[Attribution]) -> Attribution:
    """Batches of one explanation as one."""
    if len(parts) == 1:
        return parts[0]
    facts = [part.facts for part in parts]
    together = replace(
        facts[0],
        score=_stacked([f.score for f in facts]),
        gap=_stacked([f.gap for f in facts]),
        notes=tuple(dict.fromkeys(note for f in facts for note in f.notes)),
    )
    return Attribution(torch.cat([part.values for part in parts]), together)


def _stacked(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if present else None
