"""What the network computed for the whole image, where a non-linear step needs it again under every window.

A map is kept with rows and columns before channels, in a frame of a value that makes a step give zero outside the map.
A block of windows looks at it through one strided view: overlapping tiles of the same memory, nothing copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnviz.occlusion.plan import Span


@dataclass(frozen=True)
class _Framed:
    """A map (rows + 2·margin, columns + 2·margin, channels)."""

    cells: Tensor
    margin: int


class CleanMaps:
    """Framed maps of one image, made when first asked for; the frame grows when windows reach further out."""

    def __init__(self) -> None:
        self._maps: dict[tuple[int, str], _Framed] = {}

    def view(self, key: tuple[int, str], rows: Span, columns: Span, make: Callable[[], tuple[Tensor, float]]) -> Tensor:
        """(rows of windows, columns of windows, height, width, channels) of a map; `make` gives (cells, outside)."""
        framed = self._maps.get(key)
        if framed is None or not _reaches(framed, rows, columns):
            cells, outside = make()
            margin = max(rows.overhang(cells.shape[0]), columns.overhang(cells.shape[1]))
            framed = self._maps[key] = _frame(cells, outside, margin)
        _, width, channels = framed.cells.shape
        line, offset = width * channels, framed.margin
        return framed.cells.as_strided(
            (rows.count, columns.count, rows.length, columns.length, channels),
            (rows.step * line, columns.step * channels, line, channels, 1),
            (rows.start + offset) * line + (columns.start + offset) * channels,
        )


def _reaches(framed: _Framed, rows: Span, columns: Span) -> bool:
    height, width = (side - 2 * framed.margin for side in framed.cells.shape[:2])
    return max(rows.overhang(height), columns.overhang(width)) <= framed.margin


def _frame(cells: Tensor, outside: float, margin: int) -> _Framed:
    height, width, channels = cells.shape
    framed = torch.full(
        (height + 2 * margin, width + 2 * margin, channels), outside, dtype=cells.dtype, device=cells.device
    )
    framed[margin : margin + height, margin : margin + width] = cells
    return _Framed(framed, margin)
