"""SmoothGrad: the gradient averaged over noisy copies of the image."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from cnnviz.attribution.explanation import Attribution, Facts
from cnnviz.attribution.gradient import mean_gradient, target_values
from cnnviz.attribution.method import at_once, method, one_each
from cnnviz.attribution.options import Range
from cnnviz.model import Model
from cnnviz.target import Target

_CONSTANT = "An image is one constant value, so its noise has no width: its map is the plain gradient."


@method("SmoothGrad", paper="Smilkov et al. 2017, arXiv:1706.03825", signed=True)
def smoothgrad(
    model: Model,
    images: Tensor,
    target: Target,
    *,
    samples: Annotated[int, Range(2, 256, 1)] = 50,
    level: Annotated[float, Range(0.0, 0.5, 0.01)] = 0.15,
    seed: Annotated[int, Range(0, 9999, 1)] = 0,
) -> Attribution:
    """The mean gradient over noisy copies of the image: what stays when the gradient's own jitter is averaged away.

    (N, C, H, W), signed: the signed gradients are averaged. The noise is normal, its width `level` times the image's
    highest minus lowest value; the same seed gives the same noise to every image, whatever batch it comes in.
    """
    maps = [
        _smoothed(model, image, one_each(target, row, 1), (samples, level, seed)) for row, image in enumerate(images)
    ]
    notes = (_CONSTANT,) if level and bool((_spread(images) == 0).any()) else ()
    return Attribution(torch.stack(maps), Facts(score=target_values(model, images, target), notes=notes))


def _smoothed(model: Model, image: Tensor, target: Target, noise: tuple[int, float, int]) -> Tensor:
    """The mean gradient (C, H, W) over noisy copies of one image."""
    samples, level, seed = noise
    width = level * _spread(image[None]).item()
    generator = torch.Generator().manual_seed(seed)

    def noisy(copies: int) -> Tensor:
        # one draw for each copy, so that the noise does not depend on how many go through the network together
        drawn = torch.stack([torch.randn(image.shape, generator=generator) for _ in range(copies)])
        return image + width * drawn.to(image)

    most = at_once(image)
    return mean_gradient(model, (noisy(min(most, samples - done)) for done in range(0, samples, most)), target)


def _spread(images: Tensor) -> Tensor:
    """(N,): the highest minus the lowest value of each image."""
    pixels = images.flatten(1)
    return pixels.amax(1) - pixels.amin(1)
