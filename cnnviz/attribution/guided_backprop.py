"""Guided backpropagation: a gradient that a ReLU passes back only where it is positive and the ReLU was open."""

from __future__ import annotations

from torch import Tensor

from cnnviz import rules
from cnnviz.attribution.explanation import Attribution
from cnnviz.attribution.gradient import pixel_gradient
from cnnviz.attribution.method import method
from cnnviz.model import Model
from cnnviz.target import Target


@method("Guided backprop", paper="Springenberg et al. 2014, arXiv:1412.6806", signed=True)
def guided_backprop(model: Model, images: Tensor, target: Target) -> Attribution:
    """The gradient with everything removed, at every ReLU, that would lower the target: sharp, and nearly class-blind.

    (N, C, H, W), signed. It shows what an image holds that excites the target, not why the class won.
    """
    return Attribution(*pixel_gradient(model, images, target, rules.guided))
