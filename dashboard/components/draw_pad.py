"""A square to draw a digit in: with mouse, pen or finger, or with the arrow keys.

It gives strokes, not pixels: lists of points in [0, 1], which are small, can be undone, and are drawn again when one
comes back to the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dashboard.components.kit import define, mount, pack

MOST_STROKES, MOST_POINTS = 60, 4000
Strokes = list[list[list[float]]]
_component = define("draw_pad")


def draw_pad(strokes: Strokes, *, key: str, on_strokes: Callable[[Strokes], None]) -> None:
    """Show the pad with `strokes` on it; `on_strokes` gets all strokes after each one, and none after Clear."""
    mount(_component, pack({"strokes": strokes}), key=key, strokes=lambda value: on_strokes(checked(value)))


def checked(value: Any) -> Strokes:
    """What the browser sent, held to what a drawing can be: numbers in [0, 1], not too many of them."""
    strokes: Strokes = []
    left = MOST_POINTS
    for stroke in value if isinstance(value, list) else []:
        points = [_point(p) for p in stroke[:left] if _is_point(p)] if isinstance(stroke, list) else []
        left -= len(points)
        if points and len(strokes) < MOST_STROKES:
            strokes.append(points)
    return strokes


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(n, int | float) and math.isfinite(n) for n in value)
    )


def _point(value: list[float]) -> list[float]:
    return [min(max(round(float(n), 3), 0.0), 1.0) for n in value]
