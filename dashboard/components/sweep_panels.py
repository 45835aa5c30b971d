"""The panels of an occlusion experiment side by side: probability, most probable class, a map's total, mean drop.

Every cell is drawn at the centre of its window, so the border that no centre reaches stays empty. Pointing at a cell
shows that masked picture and its most probable classes, in the browser alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures.scales import Floats
from dashboard.components.kit import Handler, define, mount, pack
from dashboard.components.prediction_bars import softmax

_component = define("sweep_panels", "contour")
_CLASSES = 12


@dataclass(frozen=True)
class Panel:
    """One panel: `values` for every window (rows, columns), or for every pixel (H, W) when `per_pixel`.

    `words` says what the colours are, with their unit; `title` and `alt` what is seen.
    """

    letter: str
    title: str
    values: Floats
    low: float
    high: float
    palette: str
    words: str
    alt: str
    per_pixel: bool = False


@dataclass(frozen=True)
class Labels:
    """The panel of most probable classes: `label` (rows, columns), and for each class that occurs its name, colour and
    at which window (row, column) its name is written."""

    label: NDArray[np.int64]
    classes: Sequence[Mapping[str, Any]]
    alt: str
    title: str = "Most probable class"
    note: str = ""
    letter: str = field(default="b")


def sweep_panels(
    picture: Floats,
    fill: Floats,
    panels: Sequence[Panel],
    labels: Labels,
    *,
    boxes: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]],
    scores: Floats,
    names: Sequence[str],
    words: Mapping[str, Any],
    at: tuple[int, int] | None,
    key: str,
    on_place: Handler,
) -> None:
    """Show `panels` (the labels go second) of windows whose row and column ranges are `boxes`.

    `picture` and `fill` (C, H, W) make the masked picture; `scores` (rows, columns, K) its bars. `words` holds
    `caption` and `progress`; `at` is the window that is marked. `on_place({"row", "column"})` when a cell is clicked.
    """
    shown = _busiest(scores)
    header: dict[str, Any] = {
        "height": picture.shape[1],
        "width": picture.shape[2],
        "channels": picture.shape[0],
        "rows": [list(map(int, pair)) for pair in boxes[0]],
        "columns": [list(map(int, pair)) for pair in boxes[1]],
        "panels": [
            {k: v for k, v in vars(panel).items() if k != "values"} | {"shape": list(panel.values.shape)}
            for panel in panels
        ],
        "labels": {k: v for k, v in vars(labels).items() if k not in {"label", "classes"}}
        | {"classes": [dict(one) for one in labels.classes]},
        "names": [names[i] for i in shown],
        "at": at,
        **words,
    }
    arrays = {f"panel{i}": panel.values.astype(np.float32) for i, panel in enumerate(panels)}
    mount(
        _component,
        pack(
            header,
            picture=levels_of(picture),
            fill=levels_of(fill),
            label=labels.label.astype(np.int32),
            shares=softmax(scores)[..., shown].astype(np.float32),
            **arrays,
        ),
        key=key,
        place=on_place,
    )


def levels_of(picture: Floats) -> NDArray[np.uint8]:
    """A picture (C, H, W) in [0, 1] as bytes."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _busiest(scores: Floats) -> list[int]:
    """The classes that are the most probable anywhere, in class order; at most a dozen."""
    best = softmax(scores).reshape(-1, scores.shape[-1]).max(0)
    return sorted(np.argsort(-best, kind="stable")[:_CLASSES].tolist())
