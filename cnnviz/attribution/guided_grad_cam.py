"""Guided Grad-CAM: the fine lines of guided backprop, kept only where Grad-CAM finds evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from torch import Tensor

from cnnviz.attribution.explanation import Attribution
from cnnviz.attribution.grad_cam import grad_cam
from cnnviz.attribution.guided_backprop import guided_backprop
from cnnviz.attribution.method import method
from cnnviz.attribution.options import LayerChoice
from cnnviz.model import Model
from cnnviz.target import Target


@method("Guided Grad-CAM", paper="Selvaraju et al. 2017, arXiv:1610.02391", signed=True)
def guided_grad_cam(
    model: Model, images: Tensor, target: Target, *, layer: Annotated[str | None, LayerChoice()] = None
) -> Attribution:
    """Guided backprop times Grad-CAM: the detail of the one where the other finds evidence for the class.

    (N, C, H, W), signed. Grad-CAM is enlarged bilinearly first, so no block edges appear.
    """
    where = Attribution.of(grad_cam(model, images, target, layer=layer))
    lines = Attribution.of(guided_backprop(model, images, target))
    return Attribution(where.values * lines.values, replace(where.facts, rectifiers=lines.facts.rectifiers))
