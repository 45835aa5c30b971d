"""Explanations for the pages: computed once, kept by digest, and when slow in a thread that can be watched.

The surprise: whether a sheet of maps is quick is not guessed. It always runs in the background, and the page gives it a
moment to finish; a small network's sheet is then drawn at once, a large one's fills while one looks.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnnviz import Model
from cnnviz.attribution import METHODS, Facts, Range, explained
from cnnviz.attribution.explanation import LITTLE_CHANGE
from cnnviz.diagnosis import diagnose
from cnnviz.errors import CnnvizError
from cnnviz.figures import numbers
from dashboard import cache as kept
from dashboard.jobs.background import AT_ONCE, BACKGROUND, Steps, Work

Place = tuple[str, str]  # method, target text
Options = Mapping[str, Mapping[str, Any]]


class Answer(NamedTuple):
    """A map with its facts: `values` (C or 1, H, W), or None when there is none because of `problem`."""

    values: NDArray[np.float32] | None
    fact: str
    sentences: tuple[str, ...]
    problem: str
    score: float


class Found(NamedTuple):
    """What is known so far: the answers by place, and by target text why its maps are blank or to be doubted."""

    answers: Mapping[Place, Answer]
    causes: Mapping[str, tuple[str, ...]]


NOTHING = Found({}, {})


def answer(method: str, model: Model, image: Tensor, target: Any, options: Mapping[str, Any]) -> Answer:
    """The map of one method for one target, kept by digest; what cannot be computed is a sentence, not an error."""
    parts = (model.digest, image, target.text, method, sorted(options.items()))
    return kept.result(lambda: _computed(method, model, image, target, options), "answer", *parts)


def _computed(method: str, model: Model, image: Tensor, target: Any, options: Mapping[str, Any]) -> Answer:
    try:
        found = explained(method, model, image, target, **options)
    except CnnvizError as problem:
        return Answer(None, "", (), str(problem), float("nan"))
    score = float(found.facts.score[0]) if found.facts.score is not None else float("nan")
    values = np.asarray(found.values[0], np.float32)
    return Answer(values, short_fact(found.facts), found.sentences, "", score)


def short_fact(facts: Facts) -> str:
    """The facts of a map in the few words that fit under it."""
    words = []
    if facts.rectifiers is not None:
        words.append(_rectified(facts.rectifiers.guided, facts.rectifiers.left_alone))
    if facts.gap is not None:
        little = " of a change near 0" if LITTLE_CHANGE in facts.notes else ""
        words.append(f"completeness gap {numbers.percent(float(np.max(facts.gap)))}{little}")
    if facts.layer is not None:
        words.append(f"from {facts.layer}")
    return "; ".join(words)


def _rectified(guided: Mapping[str, int], left_alone: Mapping[str, int]) -> str:
    if not guided:
        return "plain gradient: no ReLU here"
    rest = f"; {sum(left_alone.values())} others left alone" if left_alone else ""
    return "rule at " + " and ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in guided.items()) + rest


def sheet(
    model: Model,
    image: Tensor,
    methods: Sequence[str],
    targets: Sequence[Any],
    options: Options,
    *,
    again: bool = False,
) -> Work:
    """The maps of every method for every target as background work; its part is what is `Found` so far.

    Methods without a number to set come first: they cost one pass, those with samples or steps many.
    """
    key = kept.digest("sheet", model.digest, image, [t.text for t in targets], [(m, options.get(m)) for m in methods])

    def steps() -> Generator[Found, None, None]:
        found: dict[Place, Answer] = {}
        causes: dict[str, tuple[str, ...]] = {}
        for method in sorted(methods, key=_many_passes):
            for target in targets:
                found[method, target.text] = answer(method, model, image, target, options.get(method, {}))
                yield Found(dict(found), {})
        for target in targets:
            causes[target.text] = why_blank(model, image, target)
            yield Found(dict(found), dict(causes))

    return shown_soon(key, steps, again=again)


def shown_soon(key: str, steps: Steps, *, again: bool = False) -> Work:
    """Background work that is given a moment, so that quick work is drawn at once; `again` starts what was stopped."""
    work = BACKGROUND.start(key, steps) if again else BACKGROUND.resume(key, steps)
    if work.parts == 0:
        work.wait(AT_ONCE)
    return work


def why_blank(model: Model, image: Tensor, target: Any) -> tuple[str, ...]:
    """Why maps of this target are blank or to be doubted, with what to do, a sentence or two each; kept by digest."""

    def found() -> tuple[str, ...]:
        try:
            return tuple(f"{cause.sentence} {cause.remedy}" for cause in diagnose(model, image, target))
        except CnnvizError as problem:
            return (str(problem),)

    return kept.result(found, "why blank", model.digest, image, target.text)


def _many_passes(method: str) -> bool:
    return any(isinstance(option.widget, Range) for option in METHODS[method].options)
