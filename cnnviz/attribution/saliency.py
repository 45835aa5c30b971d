"""Saliency: how much the target changes when a pixel changes a little."""

from __future__ import annotations

from torch import Tensor

from cnnviz.attribution.explanation import Attribution
from cnnviz.attribution.gradient import pixel_gradient
from cnnviz.attribution.method import method
from cnnviz.model import Model
from cnnviz.target import Target


@method("Saliency", paper="Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034", signed=True)
def saliency(model: Model, images: Tensor, target: Target) -> Attribution:
    """The gradient of the target with respect to the pixels: how it moves when a pixel moves a little.

    (N, C, H, W), signed. The paper's picture is the largest magnitude over the channels.
    """
    return Attribution(*pixel_gradient(model, images, target))
