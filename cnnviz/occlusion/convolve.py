"""Convolutions of changes: zero padding is exact there, and there is no bias.

Wide 3×3 kernels go through Winograd's F(4×4, 3×3) (Lavin & Gray 2015): 36 multiplications in the place of 144. Its
rounding error is relative to what goes in, and changes are small, so it is safe here where it would not be on
activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnviz.occlusion.tile import recut

_WIDE = 128  # channels from which on Winograd beats the direct convolution (measured on two cores with AVX-512)


Around = tuple[tuple[int, int], tuple[int, int]]


class Scratch:
    """Memory that is used again for the passing results of one sweep: fresh pages cost more than the arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised memory of that shape; the last one of that name is overwritten."""
        key, size = (name, like.dtype), math.prod(shape)
        if key not in self._buffers or self._buffers[key].numel() < size:
            self._buffers[key] = torch.empty(size, dtype=like.dtype, device=like.device)
        return self._buffers[key][:size].view(shape)


@dataclass
class Kernel:
    """The weights of one convolution, kept in whatever form the processor likes, made when first used."""

    weight: Tensor
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    _forms: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def __call__(self, x: Tensor, around: Around, scratch: Scratch) -> Tensor:
        """Convolve (N, C, H, W) with zeros around it: ((top, bottom), (left, right)), cut where they are negative."""
        if self.suits_winograd and x.dtype == torch.float32 and not x.is_cuda:
            return winograd(x, self._form("winograd", x.dtype, winograd_weights), around, scratch)
        x, padding = evenly_padded(x, around)
        x = x.contiguous(memory_format=torch.channels_last)
        if not _packs(x):
            weight = self._form("plain", x.dtype, lambda w: w.contiguous(memory_format=torch.channels_last))
            return F.conv2d(x, weight, None, self.stride, padding, self.dilation, self.groups)
        weight = self._packed(x, padding)
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            x, weight, None, padding, self.stride, self.dilation, self.groups, "none", [], ""
        )

    @property
    def suits_winograd(self) -> bool:
        """Whether this is a wide 3×3 kernel that moves by one."""
        plain = self.stride == (1, 1) == self.dilation and self.groups == 1
        return plain and tuple(self.weight.shape[2:]) == (3, 3) and self.weight.shape[1] >= _WIDE

    def _form(self, name: str, dtype: torch.dtype, make: Callable[[Tensor], Tensor]) -> Tensor:
        key = (name, dtype)
        if key not in self._forms:
            self._forms[key] = make(self.weight).to(dtype)
        return self._forms[key]

    def _packed(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        key = ("packed", x.dtype)
        if key not in self._forms:
            weight = self.weight.to(x.dtype).contiguous(memory_format=torch.channels_last)
            self._forms[key] = torch.ops.mkldnn._reorder_convolution_weight(
                weight, padding, self.stride, self.dilation, self.groups, list(x.shape)
            )
        return self._forms[key]


def evenly_padded(x: Tensor, around: Around) -> tuple[Tensor, tuple[int, int]]:
    """Cut or pad so far that only an equal padding on both sides of an axis is left to do."""
    even = []
    for dim, (before, after) in zip((2, 3), around, strict=True):
        both = max(0, min(before, after))
        if (before, after) != (both, both):
            x = recut(x, dim, both - before, x.shape[dim] + before + after - 2 * both)
        even.append(both)
    return x, (even[0], even[1])


def _packs(x: Tensor) -> bool:
    """Whether PyTorch can keep weights in the processor's own order; it saves reordering them at every call."""
    return not x.is_cuda and x.dtype in (torch.float32, torch.bfloat16) and _CAN_PACK


_CAN_PACK = hasattr(torch.ops.mkldnn, "_reorder_convolution_weight") and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

_G = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64)
    / torch.tensor([24.0] * 6, dtype=torch.float64)[:, None]
)
_B = torch.tensor(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
     [0, 4, 0, -5, 0, 1]], dtype=torch.float64,
)  # fmt: skip
_A = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)
_INPUT, _OUTPUT = torch.kron(_B, _B), torch.kron(_A, _A)  # (36, 36), (16, 36): both axes at once


def winograd_weights(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) as 36 matrices (36, in, out)."""
    both = torch.kron(_G, _G).to(weight.dtype)  # (36, 9)
    flat = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (both @ flat).view(36, weight.shape[1], weight.shape[0])


def winograd(x: Tensor, weights: Tensor, around: Around, scratch: Scratch) -> Tensor:
    """3×3 convolution, stride 1, of (N, C, H, W) in tiles of 4×4 outputs; channels last in and out."""
    count, channels, height, width = x.shape
    (top, bottom), (left, right) = around
    high, wide = height + top + bottom - 2, width + left + right - 2
    down, across, out = -(-high // 4), -(-wide // 4), weights.shape[2]
    cells = _set_in(x, (4 * down + 2, 4 * across + 2), (top, left), scratch)
    image, line = cells.stride(0), cells.stride(1)
    patches = scratch.take("patches", (6, 6, count, down, across, channels), x)
    patches.copy_(cells.as_strided(patches.shape, (line, channels, image, 4 * line, 4 * channels, 1)))
    tiles = count * down * across
    spread = torch.mm(_INPUT.to(x), patches.view(36, -1), out=scratch.take("spread", (36, tiles * channels), x))
    products = scratch.take("products", (36, tiles, out), x)
    torch.bmm(spread.view(36, tiles, channels), weights, out=products)
    outputs = torch.mm(_OUTPUT.to(x), products.view(36, -1), out=scratch.take("outputs", (16, tiles * out), x))
    result = outputs.view(4, 4, count, down, across, out).permute(2, 3, 0, 4, 1, 5)
    result = result.clone(memory_format=torch.contiguous_format)  # never a view: the next call overwrites `outputs`
    return result.view(count, 4 * down, 4 * across, out)[:, :high, :wide].permute(0, 3, 1, 2)


def _set_in(x: Tensor, size: tuple[int, int], corner: tuple[int, int], scratch: Scratch) -> Tensor:
    """(N, C, H, W) as (N, *size, C), moved to `corner`, zeros around it."""
    cells = scratch.take("cells", (len(x), *size, x.shape[1]), x).zero_()
    ranges = [
        (max(at, 0), min(at + side, most), max(-at, 0))
        for at, side, most in zip(corner, x.shape[2:], size, strict=True)
    ]
    if all(low < high for low, high, _ in ranges):
        (low, high, skip), (first, last, cut) = ranges
        source = x[:, :, skip : skip + high - low, cut : cut + last - first]
        cells[:, low:high, first:last].copy_(source.permute(0, 2, 3, 1))
    return cells
