"""What an occlusion experiment found: where the windows stood, and what the network said under each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.occlusion.grid import Pair
from cnnviz.target import Class, Target

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """One number for each place of a window, (rows, columns), and everything needed to read it.

    `rows` and `columns` are the windows' half-open pixel ranges, cut at the border. `scores` (rows, columns, K) are the
    network's scores under each window, `score` the target's value; `clean` (K,) and `clean_score` are those of the
    whole image. `engine` says what computed it, `saving` how many times less arithmetic that took than the whole
    network for every window, `deviation` how far `precision="fast"` was from exact on a few windows, as a share of the
    map's range (None while it has not been measured).
    """

    target: Target
    image: Pair
    window: Pair
    stride: Pair
    fill: str
    rows: tuple[Pair, ...]
    columns: tuple[Pair, ...]
    scores: Floats
    score: Floats
    clean: Floats
    clean_score: float
    engine: str
    precision: str
    saving: float
    deviation: float | None

    @property
    def drop(self) -> Floats:
        """(rows, columns): the clean value minus the occluded one; positive where the window hid support."""
        return self.clean_score - self.score

    @property
    def probability(self) -> Floats | None:
        """(rows, columns): the probability of the target's class under each window; None unless it is a class."""
        if not isinstance(self.target, Class):
            return None
        shifted = np.exp(self.scores - self.scores.max(-1, keepdims=True))
        result: Floats = shifted[..., self.target.index] / shifted.sum(-1)
        return result

    @property
    def label(self) -> NDArray[np.int64]:
        """(rows, columns): the most probable class under each window."""
        labels: NDArray[np.int64] = self.scores.argmax(-1)
        return labels

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return self.score.size

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The pixels of one window: (top, left, bottom, right), half-open."""
        (top, bottom), (left, right) = self.rows[row], self.columns[column]
        return (top, left, bottom, right)

    def heatmap(self, values: Floats | None = None) -> Floats:
        """(H, W): for each pixel the mean of `values` (rows, columns; the drop) over the windows that cover it."""
        down, across = _covers(self.rows, self.image[0]), _covers(self.columns, self.image[1])
        total = down.T @ (self.drop if values is None else values) @ across  # (H, rows) (rows, columns) (columns, W)
        result: Floats = total / np.outer(down.sum(0), across.sum(0))
        return result


def _covers(ranges: tuple[Pair, ...], length: int) -> Floats:
    """(windows, pixels): 1 where the window covers the pixel."""
    pixels = np.arange(length)
    low, high = np.array(ranges).T[:, :, None]
    covered: Floats = ((low <= pixels) & (pixels < high)).astype(np.float64)
    return covered
