"""Convolutions of changes: zero padding is exact there, and there is no bias.

Wide 3×3 kernels go through Winograd's F(4×4, 3×3) (Lavin & Gray 2015): 36 multiplications in the place of 144. Its
rounding error is relative to what goes in, and changes are small, so it is safe here where it would not be on
activations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_WIDE = 128  # channels from which on Winograd beats the direct convolution (measured on two cores with AVX-512)


@dataclass
class Kernel:
    """The weights of one convolution, kept in whatever form the processor likes, made when first used."""

    weight: Tensor
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    _forms: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def __call__(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Convolve (N, C, H, W), channels last, with that much zero padding on both sides of rows and columns."""
        if self.suits_winograd and x.dtype == torch.float32 and not x.is_cuda:
            return winograd(x, self._form("winograd", x.dtype, lambda w: winograd_weights(w)), padding)
        if _packs(x):
            key = ("packed", x.dtype)
            if key not in self._forms:
                weight = self.weight.to(x.dtype).contiguous(memory_format=torch.channels_last)
                self._forms[key] = torch.ops.mkldnn._reorder_convolution_weight(
                    weight, padding, self.stride, self.dilation, self.groups, list(x.shape)
                )
            return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
                x, self._forms[key], None, padding, self.stride, self.dilation, self.groups, "none", [], ""
            )
        weight = self._form("plain", x.dtype, lambda w: w.contiguous(memory_format=torch.channels_last))
        return F.conv2d(x, weight, None, self.stride, padding, self.dilation, self.groups)

    def _form(self, name: str, dtype: torch.dtype, make: Any) -> Tensor:
        key = (name, dtype)
        if key not in self._forms:
            self._forms[key] = make(self.weight).to(dtype)
        return self._forms[key]

    @property
    def suits_winograd(self) -> bool:
        """Whether this is a wide 3×3 kernel that moves by one."""
        plain = self.stride == (1, 1) == self.dilation and self.groups == 1
        return plain and tuple(self.weight.shape[2:]) == (3, 3) and self.weight.shape[1] >= _WIDE


def _packs(x: Tensor) -> bool:
    """Whether PyTorch can keep weights in the processor's own order; it saves reordering them at every call."""
    return not x.is_cuda and x.dtype in (torch.float32, torch.bfloat16) and _CAN_PACK


_CAN_PACK = hasattr(torch.ops.mkldnn, "_reorder_convolution_weight") and torch.backends.mkldnn.is_available()

_G = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
) / torch.tensor([24.0] * 6, dtype=torch.float64)[:, None]
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


def winograd(x: Tensor, weights: Tensor, padding: tuple[int, int]) -> Tensor:
    """3×3 convolution, stride 1, of (N, C, H, W) in tiles of 4×4 outputs; channels last in and out."""
    count, channels, height, width = x.shape
    high, wide = height + 2 * padding[0] - 2, width + 2 * padding[1] - 2
    down, across = -(-high // 4), -(-wide // 4)
    around = (0, 0, padding[1], 4 * across + 2 - width - padding[1], padding[0], 4 * down + 2 - height - padding[0])
    cells = F.pad(x.permute(0, 2, 3, 1), around)  # (N, 4·down + 2, 4·across + 2, C)
    line, image = cells.stride(1), cells.stride(0)
    patches = cells.as_strided(
        (6, 6, count, down, across, channels), (line, channels, image, 4 * line, 4 * channels, 1)
    ).reshape(36, -1)
    spread = (_INPUT.to(x.dtype) @ patches).view(36, -1, channels)  # (36, tiles, C)
    products = torch.bmm(spread, weights).view(36, -1)  # (36, tiles · out)
    outputs = (_OUTPUT.to(x.dtype) @ products).view(4, 4, count, down, across, -1)
    result = outputs.permute(2, 3, 0, 4, 1, 5).reshape(count, 4 * down, 4 * across, -1)[:, :high, :wide]
    return result.contiguous().permute(0, 3, 1, 2)
