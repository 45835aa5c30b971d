"""The plain way: the whole network, once for each window, in batches.

Always there, always right; the other engines are measured against it and fall back to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnviz.occlusion.grid import Lattice, Pair

if TYPE_CHECKING:
    from cnnviz.model import Model
    from cnnviz.target import Target
    from cnnviz.trace import Trace


@dataclass(frozen=True)
class Experiment:
    """What is asked: an image (C, H, W) and a fill (C, H, W) in [0, 1], the targets, and the window's size."""

    model: Model
    image: Tensor
    fill: Tensor
    targets: tuple[Target, ...]
    window: Pair
    memory: int

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the targets read."""
        return tuple(dict.fromkeys(name for target in self.targets for name in target.layers))

    def occluded(self, corners: Sequence[Pair]) -> Tensor:
        """The image with each window filled: (n, C, H, W), channels last."""
        height, width = self.window
        images = self.image.expand(len(corners), -1, -1, -1).clone(memory_format=torch.channels_last)
        for image, (top, left) in zip(images, corners, strict=True):
            part = (..., slice(top, top + height), slice(left, left + width))
            image[part] = self.fill[part]
        return images


@dataclass(frozen=True)
class Answers:
    """What the network said: scores (n, K) and the targets' values (n, T)."""

    scores: Tensor
    values: Tensor


@dataclass(frozen=True)
class Part:
    """Answers for some windows; `cells` are their places in the lattice that was asked for, row by row."""

    cells: Tensor
    answers: Answers


class FullLoop:
    """Every window through the whole network."""

    name = "full"
    precision = "exact"
    saving = 1.0

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._batch = batch_size(experiment.model, experiment.memory)

    @cached_property
    def clean(self) -> Answers:
        """The whole image."""
        return self._answers(self._experiment.image[None])

    def at(self, corners: Sequence[Pair]) -> Answers:
        """Answers for a few windows, all at once."""
        return self._answers(self._experiment.occluded(corners))

    def run(self, lattice: Lattice, check: Callable[[], None] = lambda: None) -> Iterator[Part]:
        """Answers for every window of the lattice, batch by batch; `check` may raise between two batches."""
        cells = list(lattice.cells())
        for start in range(0, len(cells), self._batch):
            check()
            some = cells[start : start + self._batch]
            corners = [(lattice.tops[row], lattice.lefts[column]) for row, column in some]
            answers = self._answers(self._experiment.occluded(corners))
            yield Part(torch.arange(start, start + len(some)), answers)

    def deviations(self, lattice: Lattice, values: Tensor) -> list[float | None]:
        """Nothing deviates here."""
        return [0.0] * values.shape[-1]

    def _answers(self, images: Tensor) -> Answers:
        experiment = self._experiment
        with torch.no_grad():
            trace = experiment.model.trace(images, keep=experiment.layers)
            return Answers(trace.scores.cpu(), read(experiment.targets, trace).cpu())


def read(targets: Sequence[Target], trace: Trace) -> Tensor:
    """The values of all targets, (n, T)."""
    return torch.stack([target(trace) for target in targets], 1)


_CACHE = 32 << 20  # measured: batches whose largest activation is about this large are the fastest on two cores


def batch_size(model: Model, memory: int) -> int:
    """How many images to send at a time: enough work for the matrix units, little enough to stay in the cache."""
    sizes = [math.prod(step.shape) for step in model.tape.steps if step.shape is not None]
    width = model.dtype.itemsize * max(sizes, default=1)
    return max(1, min(256, max(_CACHE // width, 8), memory // (6 * width)))
