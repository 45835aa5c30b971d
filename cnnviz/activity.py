"""Which channels ever answer: the highest value of every channel over many images.

A channel that is never above zero after its activation, on any of N images and at any position, is called dead *on
those N images*. The surprise: before the activation the same test says nothing, so ask only layers that cannot be
negative (`Layer.signed` is False).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.model import Model


def highest(model: Model, images: Tensor, layers: Sequence[str], *, batch: int = 64) -> dict[str, NDArray[np.float32]]:
    """The highest value of every channel over images (N, C, H, W) in [0, 1] and all positions: layer → (channels,).

    Raises `LayerError` for a layer that does not exist. NaN where a channel was not a number on any image.
    """
    best: dict[str, Tensor] = {}
    with torch.no_grad():
        for part in torch.split(images, batch):
            trace = model.trace(part, keep=layers, until_kept=True)
            for name in layers:
                output = trace.outputs[name]
                top = output.flatten(2).amax(dim=(0, 2)) if output.dim() > 2 else output.amax(dim=0)
                best[name] = torch.maximum(best[name], top) if name in best else top
    return {name: values.float().cpu().numpy() for name, values in best.items()}
