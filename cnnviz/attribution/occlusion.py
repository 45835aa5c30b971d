"""Occlusion: how much the target drops when a window is covered."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from cnnviz.attribution.explanation import Attribution, Facts
from cnnviz.attribution.gradient import target_values
from cnnviz.attribution.method import method, one_each
from cnnviz.attribution.options import Choice, Range
from cnnviz.model import Model
from cnnviz.occlusion import FILLS, Sweep, occlude
from cnnviz.target import PerImage, Target


@method("Occlusion", paper="Zeiler & Fergus 2013, arXiv:1311.2901, section 4.2", signed=True, contributes=True)
def occlusion(
    model: Model,
    images: Tensor,
    target: Target,
    *,
    window: Annotated[int, Range(0, 128, 1, "pixels; 0: a seventh of the side")] = 0,
    stride: Annotated[int, Range(0, 128, 1, "pixels; 0: a quarter of the window")] = 0,
    fill: Annotated[str, Choice(tuple(FILLS))] = "mean",
    precision: Annotated[str, Choice(("exact", "fast"))] = "exact",
) -> Attribution:
    """How much the target drops when a window is covered: for each pixel the mean over the windows that cover it.

    (N, 1, H, W), signed: positive where covering lowers the target, negative where it hid a distraction.
    """
    sweeps = [
        occlude(model, image, _single(target, row), window or None, stride or None, fill, precision)
        for row, image in enumerate(images)
    ]
    maps = torch.from_numpy(np.stack([sweep.heatmap()[None] for sweep in sweeps])).to(images)
    return Attribution(maps, Facts(score=target_values(model, images, target), notes=_notes(sweeps)))


def _single(target: Target, row: int) -> Target:
    one = one_each(target, row, 1)
    return one.targets[0] if isinstance(one, PerImage) else one


def _notes(sweeps: list[Sweep]) -> tuple[str, ...]:
    first = sweeps[0]
    (height, width), (down, right) = first.window, first.stride
    windows = (
        f"{first.windows} windows of {height} × {width} pixels, {down} down and {right} right from one to the next."
    )
    deviations = [sweep.deviation for sweep in sweeps if sweep.deviation]
    return (windows, *([f"Fast arithmetic is off by up to {max(deviations):.1%} of the range."] if deviations else []))
