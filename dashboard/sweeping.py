"""Occlusion experiments for the page: grown in the background, from coarse to fine, and single patches at once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnnviz import Channel, Model, Sweep, occlude_progressively
from cnnviz.occlusion.fills import fill_picture
from cnnviz.occlusion.grid import grid_of
from dashboard import cache as kept
from dashboard.jobs.background import AT_ONCE, BACKGROUND, Work

Pair = tuple[int, int]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is asked: windows of `window` pixels every `stride`, filled with `fill`, for a target and a map's total."""

    model: Model
    image: Tensor
    target: Any
    unit: Channel
    window: int
    stride: int
    fill: str
    precision: str

    @property
    def key(self) -> str:
        parts = (self.target.text, self.unit.text, self.window, self.stride, self.fill, self.precision)
        return kept.digest("occlusion", self.model.digest, self.image, *parts)

    @property
    def positions(self) -> int:
        """How many windows the whole experiment has."""
        grid = grid_of(self.model.size[1:], self.window, self.stride)
        return len(grid.starts[0]) * len(grid.starts[1])

    @property
    def arithmetic(self) -> int:
        """Multiply-accumulate operations of the whole network for every window."""
        return self.positions * sum(layer.macs for layer in self.model.layers)


@dataclass
class Found:
    """What is known so far: a sweep for the target, one for the map's total, and how many windows were computed."""

    sweeps: list[Sweep]
    done: int = 0
    of: int = 0


def sweep(experiment: Experiment) -> Work:
    """The experiment as background work; its part is `Found` so far, at first a coarse picture."""
    key = experiment.key
    known = BACKGROUND.look(key)
    if known is not None and known.state != "failed":
        return known
    work = BACKGROUND.start(key, lambda: _steps(experiment, key))
    work.wait(AT_ONCE)
    return work


def _steps(experiment: Experiment, key: str) -> Generator[Found, None, None]:
    found = Found([])

    def progress(done: int, of: int) -> None:
        found.done, found.of = done, of

    for sweeps in occlude_progressively(
        experiment.model, experiment.image, [experiment.target, experiment.unit], experiment.window, experiment.stride,
        experiment.fill, experiment.precision, progress=progress, cancelled=lambda: BACKGROUND.stopping(key),
    ):  # fmt: skip
        found.sweeps = list(sweeps) if isinstance(sweeps, list) else [sweeps]
        yield found


def fill_of(model: Model, image: Tensor, fill: str, window: Pair) -> NDArray[np.float32]:
    """The picture (C, H, W) that shows through the windows."""
    return kept.result(
        lambda: fill_picture(fill, model, image[0], window, 0).cpu().float().numpy(),
        "fill", model.digest, image, fill, window,
    )  # fmt: skip


def covered(model: Model, image: Tensor, fill: NDArray[np.float32], box: Box) -> Tensor:
    """The image (1, C, H, W) with the pixels of `box` (top, left, bottom, right) replaced."""
    top, left, bottom, right = box
    masked = image.clone()
    masked[0, :, top:bottom, left:right] = masked.new_tensor(fill[:, top:bottom, left:right])
    return masked
