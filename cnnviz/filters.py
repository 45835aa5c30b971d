"""The kernels of a network, as numbers, and what can be said of them without a picture.

The surprise: where batch norm follows a convolution, the size of a kernel says nothing by itself, because batch norm
multiplies each channel again. `strengths` therefore folds that factor in before it compares filters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnviz.errors import LayerError
from cnnviz.model import Layer, Model

Floats = NDArray[np.floating[Any]]
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
ALIKE = 0.95  # cosine from which two filters count as near-duplicates


class Twin(NamedTuple):
    """The filter most like another one, and the cosine between the two: −1 where it is its negative."""

    filter: int
    cosine: float


class Wave(NamedTuple):
    """The wave a kernel passes best: cycles per pixel (0 to 0.71), and the direction across its stripes in degrees,
    0 = from left to right, 90 = from top to bottom."""

    cycles: float
    degrees: float


@dataclass(frozen=True)
class Convolution:
    """How a convolution's kernels are wired: filter f sees the `inputs // groups` input channels of its own group."""

    filters: int
    inputs: int
    groups: int
    size: tuple[int, int]

    @property
    def depthwise(self) -> bool:
        """Whether every filter sees one input channel of its own."""
        return self.groups == self.inputs > 1

    def inputs_of(self, filter: int) -> range:
        """The input channels that a filter sees."""
        each, group = self.inputs // self.groups, filter // (self.filters // self.groups)
        return range(group * each, (group + 1) * each)


def kernels(model: Model, layer: str) -> NDArray[np.float32]:
    """The weights of a convolution, (out, in / groups, rows, columns), signed, as the network applies them.

    Raises `LayerError` when the layer is not a convolution, with the names of those there are.
    """
    weight = _weight(model, model.layer(layer))
    if weight is None:
        found = ", ".join(convolutions(model)) or "none"
        raise LayerError(f"{layer} has no kernels; the convolutions of this network are {found}")
    values = weight.detach().cpu().float().numpy()
    module = model.layer(layer).module
    if isinstance(module, nn.ConvTranspose2d):  # PyTorch has (in, out / groups, …) there
        parts = values.reshape(module.groups, -1, *values.shape[1:])
        values = parts.swapaxes(1, 2).reshape(-1, parts.shape[1], *values.shape[2:])
    return values.copy()


def convolutions(model: Model) -> list[str]:
    """The names of the layers that have kernels, in the order they run."""
    return [layer.name for layer in model.layers if _weight(model, layer) is not None]


def wiring(model: Model, layer: str) -> Convolution:
    """How many filters, inputs and groups a convolution has. Raises `LayerError` for any other layer."""
    filters, each, *size = kernels(model, layer).shape
    groups = int(getattr(model.layer(layer).module, "groups", 0)) or _groups_by_hand(model, layer)
    return Convolution(filters, each * groups, groups, (size[0], size[1]))


def activation_after(model: Model, layer: str) -> Layer | None:
    """The layer where the answers of a convolution's channels can no longer be negative; None where it has none.

    Only a batch norm (or another step that keeps channels apart and shape the same) may stand in between.
    """
    place = [each.name for each in model.layers].index(model.layer(layer).name)
    shape = model.layers[place].shape
    for after in model.layers[place + 1 :]:
        if after.shape != shape or after.kind in ("add", "cat", "mul") or _weight(model, after) is not None:
            return None
        if not after.signed:
            return after
    return None


def strengths(model: Model, layer: str) -> Floats:
    """The length (L2 norm) of every filter, (out,), with the factor of a batch norm right behind it folded in."""
    weights = kernels(model, layer).astype(np.float64)
    return np.asarray(np.linalg.norm(weights.reshape(len(weights), -1), axis=1) * np.abs(_folded(model, layer)))


def twins(weights: Floats) -> list[Twin]:
    """For each filter (out, in, rows, columns) the one most like it or its negative; itself where it is alone.

    A filter of zeros is like no other.
    """
    flat = np.nan_to_num(weights.reshape(len(weights), -1).astype(np.float32))
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    cosines = flat @ flat.T
    np.fill_diagonal(cosines, 0)
    nearest = np.abs(cosines).argmax(axis=1)
    return [
        Twin(int(other), float(cosines[place, other])) if cosines[place, other] else Twin(place, 0.0)
        for place, other in enumerate(nearest)
    ]


def spectrum(kernel: Floats, side: int = 32) -> Floats:
    """How strongly a kernel (rows, columns) passes waves of every frequency, (side, side), not negative.

    The magnitude of its Fourier transform; the middle is no wave at all (a flat picture), the edges are half a cycle
    per pixel. NaN counts as 0.
    """
    return np.asarray(np.fft.fftshift(np.abs(np.fft.fft2(np.nan_to_num(kernel), (side, side)))))


def strongest_wave(kernel: Floats, side: int = 32) -> Wave:
    """The wave that a kernel passes best; 0 cycles for one that passes a flat picture best."""
    strength, middle = spectrum(kernel, side), side // 2
    best = np.argwhere(strength >= strength.max() * (1 - 1e-9)) - middle  # a row of weights passes whole lines of waves
    down, across = (int(place) / side for place in best[np.abs(best).sum(axis=1).argmin()])
    return Wave(math.hypot(down, across), math.degrees(math.atan2(down, across)) % 180)


def _weight(model: Model, layer: Layer) -> Tensor | None:
    if layer.module is None:
        return _weight_by_hand(model, layer)
    weight = getattr(layer.module, "weight", None)
    convolves = isinstance(layer.module, nn.Conv2d | nn.ConvTranspose2d)
    return weight if convolves and isinstance(weight, Tensor) and weight.dim() == 4 else None


def _weight_by_hand(model: Model, layer: Layer) -> Tensor | None:
    """The weight that `F.conv2d(x, weight)` was called with."""
    if layer.kind not in ("conv2d", "convolution"):
        return None
    step = model.tape.steps[_step_of(model, layer.name)]
    weight = step.kwargs.get("weight", step.args[1] if len(step.args) > 1 else None)
    return weight if isinstance(weight, Tensor) and weight.dim() == 4 else None


def _groups_by_hand(model: Model, layer: str) -> int:
    step = model.tape.steps[_step_of(model, layer)]
    return int(step.kwargs.get("groups", step.args[6] if step.name == "conv2d" and len(step.args) > 6 else 1))


def _step_of(model: Model, layer: str) -> int:
    return next(mark.at.step for mark in model.tape.marks if mark.layer == layer)


def _folded(model: Model, layer: str) -> Floats:
    """What a batch norm right behind a convolution multiplies each channel by; 1 where there is none."""
    place = [each.name for each in model.layers].index(layer)
    norm = model.layers[place + 1].module if place + 1 < len(model.layers) else None
    if not isinstance(norm, _NORMS) or norm.running_var is None:
        return np.ones(model.layers[place].shape[0])
    spread = (norm.running_var.double() + norm.eps).sqrt()
    factor = spread.reciprocal() if norm.weight is None else norm.weight.detach().double() / spread
    return factor.cpu().numpy()
