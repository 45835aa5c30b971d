"""DeconvNet: the signal sent back through every ReLU as if it went forward."""

from __future__ import annotations

from torch import Tensor

from cnnviz import rules
from cnnviz.attribution.explanation import Attribution
from cnnviz.attribution.gradient import pixel_gradient
from cnnviz.attribution.method import method
from cnnviz.model import Model
from cnnviz.target import Target


@method("DeconvNet", paper="Zeiler & Fergus 2013, arXiv:1311.2901", signed=True)
def deconvnet(model: Model, images: Tensor, target: Target) -> Attribution:
    """The signal from above with its negative part removed at every ReLU, whether or not the ReLU was open.

    (N, C, H, W), signed. Only pooling switches carry what this image did, so it depends on it less than the others.
    """
    return Attribution(*pixel_gradient(model, images, target, rules.deconvnet))
