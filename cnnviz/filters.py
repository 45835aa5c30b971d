"""The kernels of a network, as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnviz.errors import LayerError
from cnnviz.model import Model


def kernels(model: Model, layer: str) -> NDArray[np.float32]:
    """The weights of a convolution, (out, in / groups, rows, columns), signed, as the network holds them.

    Raises `LayerError` when the layer is not a convolution, with the names of those there are.
    """
    weight = getattr(model.layer(layer).module, "weight", None)
    if isinstance(weight, Tensor) and weight.dim() == 4:
        return weight.detach().cpu().float().numpy().copy()
    found = ", ".join(convolutions(model)) or "none"
    raise LayerError(f"{layer} has no kernels; the convolutions of this network are {found}")


def convolutions(model: Model) -> list[str]:
    """The names of the layers that have kernels, in the order they run."""
    return [layer.name for layer in model.layers if isinstance(layer.module, nn.Conv2d | nn.ConvTranspose2d)]
