"""What a window is filled with, as pixels in [0, 1]: never in normalised space, where 0 is not black.

A fill is a whole picture; a window shows its part of it. The surprise: no fill is neutral. Black on a digit only takes
strokes away, grey puts a shape there that no training image had; the mean colour is the mildest of the plain ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnviz.errors import ExplanationError

if TYPE_CHECKING:
    from cnnviz.model import Model


@dataclass(frozen=True)
class Fill:
    """A fill by name: `picture(model, image, window, seed)` gives (C, H, W)."""

    name: str
    title: str
    picture: Callable[[Model, Tensor, tuple[int, int], int], Tensor]


def _plain(value: float) -> Callable[[Model, Tensor, tuple[int, int], int], Tensor]:
    return lambda model, image, window, seed: torch.full_like(image, value)


def _mean(model: Model, image: Tensor, window: tuple[int, int], seed: int) -> Tensor:
    """The mean colour of the training data where the model normalises with one, otherwise the image's own."""
    colour = image.new_tensor(model.mean) if any(model.mean) else image.mean((1, 2))
    return colour[:, None, None].expand_as(image).clone()


def _blurred(model: Model, image: Tensor, window: tuple[int, int], seed: int) -> Tensor:
    """The image through a Gaussian as wide as a quarter of the window, so that nothing window-sized stays sharp."""
    rows, columns = (_gaussian(side / 4, image) for side in window)
    channels = len(image)
    padded = F.pad(image[None], (len(columns) // 2,) * 2 + (len(rows) // 2,) * 2, mode="replicate")
    down = F.conv2d(padded, rows.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(down, columns.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)[0]


def _gaussian(sigma: float, like: Tensor) -> Tensor:
    reach = max(1, math.ceil(3 * sigma))
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    return (bell / bell.sum()).to(like)


def _noise(model: Model, image: Tensor, window: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(image.shape, generator=generator).to(image)


FILLS: Mapping[str, Fill] = MappingProxyType(
    {
        fill.name: fill
        for fill in (
            Fill("mean", "Mean colour", _mean),
            Fill("black", "Black", _plain(0.0)),
            Fill("grey", "Grey", _plain(0.5)),
            Fill("white", "White", _plain(1.0)),
            Fill("blur", "Blurred", _blurred),
            Fill("noise", "Noise", _noise),
        )
    }
)


def fill_picture(fill: str | Tensor, model: Model, image: Tensor, window: tuple[int, int], seed: int) -> Tensor:
    """The fill as pixels (C, H, W): one of `FILLS` by name, or another image of the same size."""
    if isinstance(fill, Tensor):
        other = fill[0] if fill.dim() == 4 and len(fill) == 1 else fill
        if other.shape != image.shape:
            given, wanted = (" × ".join(map(str, t.shape)) for t in (other, image))
            raise ExplanationError(f"the image to fill with is {given}; it must be as large as the other, {wanted}")
        return other.to(image)
    if fill not in FILLS:
        raise ExplanationError(f"{fill!r} is not a fill; choose one of {', '.join(FILLS)}, or give another image")
    return FILLS[fill].picture(model, image, window, seed)


def fill_name(fill: str | Tensor) -> str:
    """What to call a fill in a caption."""
    return "another image" if isinstance(fill, Tensor) else fill
