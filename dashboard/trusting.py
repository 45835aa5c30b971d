"""The tests of a map as background work: each question answered in turn, readable while it grows.

The surprise: nothing is tested until somebody asks. A test costs dozens of passes, and most maps are only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from cnnviz import Model, trust
from dashboard import cache as kept
from dashboard.explaining import Answer, shown_soon
from dashboard.jobs.background import Work

EVERYTHING = ("randomisation", "removal", "noise", "completeness")
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Tested:
    """A map and what it is a map of."""

    method: str
    model: Model
    image: Tensor
    target: Any
    options: Mapping[str, Any]
    answer: Answer


def trial(tested: Tested, questions: Sequence[str] = EVERYTHING, *, again: bool = False) -> Work:
    """Ask the questions of a map; the work's part is {question: what `cnnviz.trust` knows so far}."""
    asked = [name for name in questions if name != "completeness" or _adds_up(tested)]
    options = sorted(tested.options.items())
    key = kept.digest("trial", asked, tested.method, tested.model.digest, tested.image, tested.target.text, options)

    def steps() -> Generator[Report, None, None]:
        report: dict[str, Any] = {}
        for name in asked:
            for answered in _QUESTIONS[name](tested):
                report[name] = answered
                yield dict(report)

    return shown_soon(key, steps, again=again)


def arrays_of(report: Report) -> dict[str, Any]:
    """Every number of a report by name, for a download."""
    return {
        f"{question}_{field.name}": np.asarray(getattr(answered, field.name))
        for question, answered in report.items()
        for field in fields(answered)
        if field.name != "stages"
    } | _stages(report)


def _stages(report: Report) -> dict[str, Any]:
    stages = report["randomisation"].stages if "randomisation" in report else ()
    if not stages:
        return {}
    return {
        f"randomisation_{name}": np.array([getattr(stage, name) for stage in stages])
        for name in ("layer", "spearman", "ssim", "map")
    }


def _adds_up(tested: Tested) -> bool:
    return "completeness gap" in tested.answer.fact


def _randomised(tested: Tested) -> Iterator[Any]:
    return trust.randomisation(tested.method, tested.model, tested.image, tested.target, tested.options)


def _removed(tested: Tested) -> Iterator[Any]:
    values = tested.answer.values
    assert values is not None
    return trust.pixel_removal(values[None], tested.model, tested.image, tested.target)


def _noisy(tested: Tested) -> Iterator[Any]:
    return trust.noise_sensitivity(tested.method, tested.model, tested.image, tested.target, tested.options)


def _added_up(tested: Tested) -> Iterator[Any]:
    baseline = tested.options.get("baseline")
    more = {} if baseline is None else {"baseline": baseline}
    return partial(trust.completeness, **more)(tested.model, tested.image, tested.target)


_QUESTIONS: dict[str, Callable[[Tested], Iterator[Any]]] = {
    "randomisation": _randomised,
    "removal": _removed,
    "noise": _noisy,
    "completeness": _added_up,
}
