"""Rows of maps as one picture: the overview's layers, for a page of text or a slide.

Rows may have maps of different sizes and colours of different meaning, so the picture is RGB and each map is enlarged
by the largest whole number that fits its place.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.figures import theme
from cnnviz.figures.numbers import short
from cnnviz.figures.pixels import enlarge
from cnnviz.figures.scales import Scale, indices, palette
from cnnviz.figures.sheet import headed

SLOT, GAP = 56, 6


def strips_png(rows: Sequence[tuple[NDArray[np.float32], Scale]], *, mode: theme.Mode = "light") -> bytes:
    """One PNG of rows, each maps (n, H, W) with their scale; units (C,) are one row of cells as wide as the picture."""
    paper = np.array(theme.rgb(theme.FRAMES[mode].paper), np.uint8)
    width = _width(rows)
    bands = [_band(maps if maps.ndim == 3 else _cells(maps), scale, width, paper, mode) for maps, scale in rows]
    space = np.broadcast_to(paper, (GAP, width, 3))
    pixels = np.concatenate([part for band in bands for part in (band, space)][:-1])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def strips_with_names(rows: Sequence[tuple[NDArray[np.float32], Scale]], names: Sequence[str]) -> Image.Image:
    """The same with a name and the limits of its scale left of each row."""
    heights = [_size(maps if maps.ndim == 3 else _cells(maps), _width(rows)) for maps, _ in rows]
    tops = [sum(heights[:place]) + GAP * place for place in range(len(rows))]
    limits = [" to ".join(short(end) for end in scale.of(0)) for _, scale in rows]
    words = [f"{name}\n{limit}" for name, limit in zip(names, limits, strict=True)]
    return headed(strips_png(rows), beside=list(zip(tops, words, strict=True)))


def _width(rows: Sequence[tuple[NDArray[np.float32], Scale]]) -> int:
    return max((len(maps) for maps, _ in rows if maps.ndim == 3), default=8) * (SLOT + GAP) - GAP


def _size(maps: NDArray[np.float32], width: int) -> int:
    """How high a row of maps is drawn, in pixels."""
    slot = SLOT if len(maps) > 1 else width
    by = -(-max(maps.shape[1:]) // slot)
    height, across = maps[0, ::by, ::by].shape
    return int(height * max(1, slot // max(height, across)))


def _band(
    maps: NDArray[np.float32], scale: Scale, width: int, paper: NDArray[np.uint8], mode: theme.Mode
) -> NDArray[np.uint8]:
    slot = SLOT if len(maps) > 1 else width
    by = -(-max(maps.shape[1:]) // slot)
    tiles = indices(maps[:, ::by, ::by], scale)
    tiles = enlarge(tiles, max(1, slot // max(tiles.shape[1:])))
    height = tiles.shape[1]
    band = np.broadcast_to(paper, (height, width, 3)).copy()
    for place, tile in enumerate(palette(scale.palette, mode)[tiles]):
        left = place * (SLOT + GAP)
        band[:, left : left + tile.shape[1]] = tile[:, : width - left]
    return band


def _cells(values: NDArray[np.float32], across: int = 64) -> NDArray[np.float32]:
    rows = -(-len(values) // across)
    filled = np.zeros(rows * across, np.float32)
    filled[: len(values)] = values
    return filled.reshape(1, rows, across)
