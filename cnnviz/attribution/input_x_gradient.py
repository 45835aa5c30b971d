"""Input × gradient: what each pixel contributes, if the network were the straight line that touches it here."""

from __future__ import annotations

from torch import Tensor

from cnnviz.attribution.explanation import Attribution
from cnnviz.attribution.gradient import pixel_gradient
from cnnviz.attribution.method import method
from cnnviz.model import Model
from cnnviz.target import Target


@method("Input × gradient", paper="Shrikumar et al. 2016, arXiv:1605.01713", signed=True, contributes=True)
def input_x_gradient(model: Model, images: Tensor, target: Target) -> Attribution:
    """Each pixel times its gradient: black pixels contribute nothing, whatever the network makes of them.

    (N, C, H, W), signed. Pixels in [0, 1], so black is the zero that everything is measured from.
    """
    slopes, facts = pixel_gradient(model, images, target)
    return Attribution(images * slopes, facts)
