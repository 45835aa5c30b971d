"""What the network says, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.components.kit import Handler, define, mount, pack

MANY = 12  # with more classes than this, the most probable ten are shown
_component = define("prediction_bars")


def prediction_rows(
    logits: NDArray[np.floating[Any]], names: Sequence[str], *, always: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """The rows of prediction bars from logits (K,): softmax probability and logit, in class order.

    With more than `MANY` classes the ten most probable are given, highest first, and those of `always`.
    """
    probabilities = softmax(logits)
    kept = list(range(len(logits)))
    if len(logits) > MANY:
        kept = [int(i) for i in np.argsort(-logits, kind="stable")[:10]]
        kept += [index for index in always if index not in kept]
    return [
        {"index": i, "name": str(names[i]), "probability": float(probabilities[i]), "logit": float(logits[i])}
        for i in kept
    ]


def prediction_bars(
    logits: NDArray[np.floating[Any]],
    names: Sequence[str],
    *,
    key: str,
    chosen: int | None = None,
    title: str = "Prediction",
    actions: Sequence[dict[str, Any]] = (),
    on_class: Handler | None = None,
    on_action: Handler | None = None,
) -> dict[str, Any]:
    """Bars on a 0 to 100 % axis, probability and logit of every class; never sorted, unless there are too many.

    logits (K,). `chosen`: the class being explained, in accent. A class name is a button: `on_class(index)`. `actions`:
    buttons below, `{"name", "text", "filled"}`: `on_action(name)`. Gives {"class_", "action"} of this run.
    """
    rows = prediction_rows(logits, names, always=[] if chosen is None else [chosen])
    header = {"rows": rows, "chosen": chosen, "title": title, "actions": list(actions), "classes": len(logits)}
    return mount(_component, pack(header), key=key, class_=on_class, action=on_action)


def prediction_change(
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    names: Sequence[str],
    *,
    key: str,
    chosen: int | None = None,
    words: tuple[str, str] = ("whole image", "with the patch"),
    columns: tuple[str, str, str] = ("whole", "hidden", "change"),
) -> None:
    """Two predictions of the same classes, one bar under the other, and the change in points of per cent.

    `before` and `after` are logits (K,). `words` name the thin and the thick bar, `columns` the numbers. With more than
    `MANY` classes the six most probable before and the six after are shown, in class order.
    """
    first, second = softmax(before), softmax(after)
    kept = range(len(first))
    if len(first) > MANY:
        tops = {int(i) for share in (first, second) for i in np.argsort(-share, kind="stable")[:6]}
        kept = sorted(tops | ({chosen} if chosen is not None else set()))
    rows = [{"index": i, "name": str(names[i]), "before": float(first[i]), "after": float(second[i])} for i in kept]
    label = f"Probabilities, {words[0]} and {words[1]}"
    mount(
        _component, pack({"rows": rows, "chosen": chosen, "words": words, "columns": columns, "label": label}), key=key
    )


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Probabilities of logits (..., K), each row summing to 1."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
