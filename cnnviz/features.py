"""What a network has made of an image by the time it decides: its final feature vector, or that of any layer.

The final feature vector is the input of the last Linear layer that *runs*: not the second module from the end, and not
a Linear of an auxiliary head that stays idle. A network without one gives the input of its last convolution, averaged
over positions, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.errors import LayerError
from cnnviz.model import Model
from cnnviz.trace import Trace, step_name

POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.flatten(2).mean(2),
    "max": lambda maps: maps.flatten(2).amax(2),
    "flatten": lambda maps: maps.flatten(1),
}


class _DecidingInputs(Trace):
    """A trace that remembers what the last Linear and the last convolution were given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Tensor] = {}

    def saw(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        step = step_name(function)
        if step in {"linear", "conv2d"}:
            self.given[step] = args[0] if args else kwargs["input"]


def features(
    model: Model, images: Tensor, layer: str | None = None, *, pooling: str = "mean", batch: int = 256
) -> NDArray[np.float32]:
    """The final feature vectors (N, D) of images (N, C, H, W) in [0, 1], or the outputs of `layer`.

    A layer of maps becomes vectors by `pooling`: the "mean" or "max" of each channel, or "flatten" for every cell.
    `layer` "pixels" gives the images themselves, flattened. Raises `LayerError` for a layer that does not exist.
    """
    return np.concatenate(list(features_in_parts(model, images, layer, pooling=pooling, batch=batch)))


def features_in_parts(
    model: Model, images: Tensor, layer: str | None = None, *, pooling: str = "mean", batch: int = 256
) -> Iterator[NDArray[np.float32]]:
    """`features`, batch after batch, so that a caller can show progress and stop."""
    if pooling not in POOLINGS:
        raise LayerError(f"“{pooling}” is not a pooling; choose one of {', '.join(POOLINGS)}")
    with torch.no_grad():
        for start in range(0, len(images), batch):
            yield _vectors(model, images[start : start + batch], layer, pooling).float().cpu().numpy()


def _vectors(model: Model, images: Tensor, layer: str | None, pooling: str) -> Tensor:
    if layer == "pixels":
        return images.flatten(1)
    if layer is None:
        return _final(model, images)
    output = model.trace(images, keep=(layer,), until_kept=True).outputs[layer]
    return POOLINGS[pooling](output) if output.dim() > 2 else output


def _final(model: Model, images: Tensor) -> Tensor:
    given = model.run(_DecidingInputs(), images).given
    if "linear" in given:
        return given["linear"].flatten(1)
    if "conv2d" in given:
        return POOLINGS["mean"](given["conv2d"])
    raise LayerError(f"{model.name} runs no Linear and no convolution that cnnviz can see; name a layer")


def final_features_are(model: Model) -> str:
    """In words, what `features` gives for this network: which layer reads the vector, and whether it was averaged."""
    steps = {step.name: step for step in model.tape.steps}
    for kind, words in (("linear", "the input of {}"), ("conv2d", "the input of {}, averaged over positions")):
        if kind in steps:
            reader = next((m.layer for m in model.tape.marks if m.at.step >= steps[kind].index), "the last layer")
            return words.format(reader)
    return "no layer that cnnviz can see"
