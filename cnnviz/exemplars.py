"""The images of a data set that excite a target most, and where in each.

A filter stands at every position, so for a channel or a neuron the best cell of each image is taken, wherever it is.
The surprise: the answer is given after every batch, because the first hundred images usually hold most of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnviz.model import Model
from cnnviz.target import Channel, Neuron, Target


@dataclass(frozen=True, order=True)
class Exemplar:
    """An image by its place in the sequence, the target's value there, and the cell (row, column) that gave it, or
    None for a target without cells. Ordered by value."""

    value: float
    index: int
    cell: tuple[int, int] | None


def exemplars(
    model: Model, batches: Iterable[Tensor], target: Target, *, count: int = 8
) -> Iterator[tuple[int, tuple[Exemplar, ...]]]:
    """How many images were seen so far and the `count` best of them, highest first, after each batch (N, C, H, W).

    Raises `TargetError` when the model has no such target.
    """
    target.check(model)
    best: list[Exemplar] = []
    seen = 0
    for images in batches:
        values, cells = _read(model, images, target)
        best += [Exemplar(float(v), seen + i, cell) for i, (v, cell) in enumerate(zip(values, cells, strict=True))]
        best = sorted(best, key=lambda one: (-one.value, one.index))[:count]
        seen += len(images)
        yield seen, tuple(best)


def _read(model: Model, images: Tensor, target: Target) -> tuple[Tensor, list[tuple[int, int] | None]]:
    """The target's value for each image (N,), and the cell that gave it."""
    with torch.no_grad():
        trace = model.trace(images, keep=target.layers, until_kept=bool(target.layers))
        if not isinstance(target, Channel | Neuron) or trace.outputs[target.layer].dim() != 4:
            return target(trace), [None] * len(images)
        maps = trace.outputs[target.layer][:, target.channel]  # (N, H, W)
        values, places = maps.flatten(1).max(1)
        width = maps.shape[2]
        return values, [(int(place) // width, int(place) % width) for place in places]
