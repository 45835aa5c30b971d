"""Integrated gradients: the gradient along the straight way from a baseline image, so that the values add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cnnviz.attribution.explanation import CLOSE_ENOUGH, LITTLE_CHANGE, Attribution, Facts
from cnnviz.attribution.gradient import mean_gradient, target_values
from cnnviz.attribution.method import at_once, method, one_each
from cnnviz.attribution.options import Choice, Range
from cnnviz.model import Model
from cnnviz.target import Target

_AS_BASELINE = "An image equals its baseline: nothing changes along the way, and its map is zero everywhere."


def _mean(images: Tensor, model: Model) -> Tensor:
    """The colour that the model normalises to 0; for a model without normalisation that is black."""
    return images.new_tensor(model.mean).view(1, -1, 1, 1).expand_as(images)


def _blurred(images: Tensor, model: Model) -> Tensor:
    """The image through a box blur of a quarter of its shorter side."""
    reach = max(1, min(images.shape[-2:]) // 8)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * reach + 1, stride=1)


# Baselines are chosen in pixel space: a "zero" after normalisation is the mean colour, not black.
BASELINES: Mapping[str, Callable[[Tensor, Model], Tensor]] = MappingProxyType(
    {
        "black": lambda images, model: torch.zeros_like(images),
        "white": lambda images, model: torch.ones_like(images),
        "grey": lambda images, model: torch.full_like(images, 0.5),
        "mean": _mean,
        "blur": _blurred,
    }
)


@method("Integrated gradients", paper="Sundararajan et al. 2017, arXiv:1703.01365", signed=True, contributes=True)
def integrated_gradients(
    model: Model,
    images: Tensor,
    target: Target,
    *,
    steps: Annotated[int, Range(4, 256, 4)] = 64,
    baseline: Annotated[str, Choice(tuple(BASELINES))] = "black",
) -> Attribution:
    """What each pixel contributes on the straight way from a baseline to the image; all values add up to the change.

    (N, C, H, W), signed, in units of the target. The gap to that sum is in the facts; more steps make it smaller.
    """
    start = BASELINES[baseline](images, model)
    slopes = torch.stack([_mean_gradient(model, (a, b), one_each(target, row, 1), steps)
                          for row, (a, b) in enumerate(zip(start, images, strict=True))])  # fmt: skip
    values = (images - start) * slopes
    score, before = target_values(model, images, target), target_values(model, start, target)
    same = bool((images == start).flatten(1).all(1).any())
    gap = completeness_gap(values, score - before)
    notes = (_AS_BASELINE,) * same + (LITTLE_CHANGE,) * _is_little(values, score - before, gap)
    return Attribution(values, Facts(score=score, gap=gap, notes=notes))


def _is_little(values: Tensor, change: NDArray[Any], gap: NDArray[Any]) -> bool:
    """Whether a gap is large only because next to nothing changed: under 5 % of what the pixels move to and fro."""
    moved = values.flatten(1).abs().double().sum(1).cpu().numpy()
    return bool(((gap > CLOSE_ENOUGH) & (np.abs(change) < 0.05 * moved)).any())


def completeness_gap(values: Tensor, change: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """(N,): how far the values (N, C, H, W) of each image are from adding up to the change, as a share of it."""
    total = values.flatten(1).double().sum(1).cpu().numpy()
    gap: NDArray[np.floating[Any]] = np.abs(total - change) / np.maximum(np.abs(change), np.finfo(np.float32).eps)
    return gap


def _mean_gradient(model: Model, ends: tuple[Tensor, Tensor], target: Target, steps: int) -> Tensor:
    """The gradient (C, H, W) averaged over the middles of `steps` equal parts of the way between two images."""
    first, last = ends
    places = (torch.arange(steps, dtype=first.dtype, device=first.device) + 0.5) / steps
    parts = torch.split(places, at_once(first))
    return mean_gradient(model, (first + some.view(-1, 1, 1, 1) * (last - first) for some in parts), target)
