"""Which engine answers an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from torch import Tensor

from cnnviz.occlusion.grid import Grid, Lattice
from cnnviz.occlusion.loop import Answers, Experiment, FullLoop, Part


class Engine(Protocol):
    """What computes the answers: `clean` for the whole image, `run` for windows."""

    name: str
    precision: str
    saving: float
    clean: Answers

    def run(self, lattice: Lattice, check: Callable[[], None] = ...) -> Iterator[Part]:
        """Answers for every window of the lattice, part by part; `check` may raise between two parts."""

    def deviations(self, lattice: Lattice, values: Tensor) -> list[float | None]:
        """For each target how far `values` (rows, columns, T) are from exact, as a share of their range."""


def engine_for(experiment: Experiment, grid: Grid, precision: str, engine: str) -> Engine:
    """The engine to use."""
    return FullLoop(experiment)
