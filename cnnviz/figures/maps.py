"""In which order maps are shown, and where in a picture something lies, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures.scales import Floats

_NAMES = (("upper left", "top", "upper right"), ("left", "centre", "right"), ("lower left", "bottom", "lower right"))


def per_channel(values: Floats, of: Callable[..., Any] = np.max) -> Floats:
    """One number for each channel of (C, H, W) or (C,): `of` its values; those that are not finite count as lowest."""
    flat = values.reshape(len(values), -1)
    return np.asarray(of(np.where(np.isfinite(flat), flat, np.finfo(np.float32).min), axis=1))


def difference(values: Floats, others: Floats) -> Floats:
    """How differently each channel answers to two pictures: mean distance of its cells, (C,)."""
    return per_channel(np.abs(values.astype(np.float64) - others), np.mean)


def ranked(key: Floats) -> NDArray[np.intp]:
    """Channels, the highest key first; equal ones in their own order."""
    return np.argsort(-key, kind="stable")


def whereabouts(box: tuple[int, int, int, int], size: tuple[int, int]) -> str:
    """Where the middle of a box (top, left, bottom, right) lies in a picture of `size` (H, W): "upper left"."""
    top, left, bottom, right = box
    row = min(int(3 * (top + bottom) / (2 * size[0])), 2)
    column = min(int(3 * (left + right) / (2 * size[1])), 2)
    return _NAMES[row][column]
