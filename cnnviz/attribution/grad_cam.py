"""Grad-CAM: where in a layer of feature maps the evidence for the target lies."""

from __future__ import annotations

from itertools import takewhile
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnviz.attribution.explanation import Attribution, Facts
from cnnviz.attribution.gradient import attached_values, leaf
from cnnviz.attribution.method import method
from cnnviz.attribution.options import LayerChoice
from cnnviz.errors import ExplanationError, LayerError
from cnnviz.model import Layer, Model
from cnnviz.target import Target


@method("Grad-CAM", paper="Selvaraju et al. 2017, arXiv:1610.02391", signed=False)
def grad_cam(
    model: Model, images: Tensor, target: Target, *, layer: Annotated[str | None, LayerChoice()] = None
) -> Attribution:
    """The feature maps of a layer, weighted by how much the target rises with each, and added where they are positive.

    (N, 1, H, W), at least 0, enlarged bilinearly from the layer's own size. The layer is the last convolution with what
    follows it at the same size (normalisation, ReLU, a residual sum), as in the authors' own code (relu5_3 of VGG-16),
    unless one is named. Raises `ExplanationError` when the target does not depend on the layer.
    """
    chosen = _chosen_layer(model, target, layer)
    with torch.inference_mode(False), torch.enable_grad():
        pixels = leaf(images)
        values, trace = attached_values(model, pixels, target, keep=(chosen.name,))
        maps = trace.outputs[chosen.name]  # (N, K, h, w)
        slopes = _slopes(values, maps, chosen.name)
    weights = slopes.mean((2, 3), keepdim=True)  # (N, K, 1, 1)
    small = (weights * maps.detach()).sum(1, keepdim=True).relu()  # (N, 1, h, w)
    large = F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False)
    return Attribution(large, Facts(score=values.detach().cpu().numpy(), layer=chosen.name))


def _slopes(values: Tensor, maps: Tensor, name: str) -> Tensor:
    if not maps.requires_grad:
        raise ExplanationError(
            f"layer {name} is cut off from the image as far as autograd can see; choose another layer"
        )
    (slopes,) = torch.autograd.grad(values.sum(), maps, allow_unused=True)
    if slopes is None:
        raise ExplanationError(f"the target does not depend on layer {name}; choose a layer before the target")
    return slopes


def _chosen_layer(model: Model, target: Target, name: str | None) -> Layer:
    if name is not None:
        layer = model.layer(name)
        if not layer.spatial:
            shape = " × ".join(map(str, layer.shape))
            raise LayerError(f"{name} has no rows and columns, its output is {shape}; choose a layer of feature maps")
        return layer
    return last_convolution(model, target)


def last_convolution(model: Model, target: Target) -> Layer:
    """The last maps of the last convolution that runs before the target, as the next size reads them.

    Raises `ExplanationError` when there is none.
    """
    if not model.layers:
        raise ExplanationError(f"Grad-CAM needs a layer, and {model.name} does not show its layers (it is compiled)")
    names = [layer.name for layer in model.layers]
    end = min((names.index(name) for name in target.layers), default=len(names))
    before = model.layers[:end]
    convolutions = [i for i, one in enumerate(before) if one.spatial and one.kind.lower().startswith("conv")]
    if convolutions:
        shape = before[convolutions[-1]].shape
        return list(takewhile(lambda layer: layer.shape == shape, before[convolutions[-1] :]))[-1]
    what = "before the target" if target.layers else "that the network shows"
    raise ExplanationError(f"Grad-CAM needs a convolution, and there is none {what}; use saliency instead")
