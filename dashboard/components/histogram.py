"""How the values of a layer or a kernel are spread: bars, and the ends in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import numbers
from dashboard.components.kit import define, mount, pack

BINS = 50
_component = define("histogram")


def binned(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Counts over equal bins from minimum to maximum, and the sentence under them with minimum, maximum and NaN count.

    Infinite values are counted in the sentence and left out of the bars.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    bins = min(BINS, max(10, finite.size // 8))
    counts = np.histogram(finite, bins=bins, range=(low, high if high > low else low + 1))[0]
    return {"counts": counts.tolist(), "low": low, "high": high, "words": _words(values, finite, low, high)}


def histogram(values: NDArray[np.floating[Any]], *, key: str, title: str = "") -> None:
    """The distribution of `values` (any shape): small bars whose height is the square root of the count."""
    mount(_component, pack({**binned(values), "title": title}), key=key)


def _words(values: NDArray[Any], finite: NDArray[Any], low: float, high: float) -> str:
    missing, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if not finite.size:
        return f"{values.size:,} values, none of them a finite number"
    parts = [f"{values.size:,} values: minimum {numbers.short(low)}, maximum {numbers.short(high)}"]
    zeros = int((finite == 0).sum())
    if zeros:
        parts.append(f"{numbers.percent(zeros / values.size)} are exactly 0")
    parts.append(f"**{missing:,} not a number**" if missing else "0 not a number")
    if infinite:
        parts.append(f"**{infinite:,} infinite**")
    return ", ".join(parts) + ". Bar heights: square root of the count."
