"""How an occlusion experiment is shown: windows as cells around their centres, and where a class's name is written."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.figures import theme
from cnnviz.figures.scales import Floats, Scale, indices, palette

Pairs = Sequence[tuple[int, int]]


def heart(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The cell (row, column) of a region that lies deepest inside it: where its name is written."""
    depth, left = np.zeros(mask.shape, int), mask
    while left.any():
        depth += left
        inner = np.pad(left, 1)
        left = left & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(column)


def edges(ranges: Pairs, length: int) -> list[tuple[int, int]]:
    """For windows along one axis, the half-open range of pixels that each one's cell takes: halfway to the next."""
    middles = np.array([(low + high) / 2 for low, high in ranges])
    half = (middles[1] - middles[0]) / 2 if len(middles) > 1 else length / 2
    between = (middles[1:] + middles[:-1]) / 2
    bounds = np.concatenate([[max(0, middles[0] - half)], between, [min(length, middles[-1] + half)]])
    rounded = np.floor(bounds + 0.5).astype(int)
    return list(zip(rounded[:-1].tolist(), rounded[1:].tolist(), strict=True))


def cells(values: NDArray[np.uint8], rows: Pairs, columns: Pairs, image: tuple[int, int]) -> NDArray[np.uint8]:
    """Colours (rows, columns, 3) of windows as a picture (H, W, 3); the border that no centre reaches is pale."""
    board = np.full((*image, 3), theme.rgb(theme.FRAMES["light"].well), np.uint8)
    for row, (top, bottom) in zip(values, edges(rows, image[0]), strict=True):
        for colour, (left, right) in zip(row, edges(columns, image[1]), strict=True):
            board[top:bottom, left:right] = colour
    return board


def coloured(values: Floats, scale: Scale) -> NDArray[np.uint8]:
    """Values (H, W) as colours (H, W, 3)."""
    colours: NDArray[np.uint8] = palette(scale.palette)[indices(values, scale)]
    return colours


def class_colours(label: NDArray[np.int64], classes: int, chosen: tuple[int, ...]) -> NDArray[np.uint8]:
    """Class indices (rows, columns) as colours (rows, columns, 3)."""
    table = {k: theme.rgb(theme.class_mark(k, of=classes, chosen=chosen).colour) for k in np.unique(label).tolist()}
    return np.array([[table[k] for k in row] for row in label.tolist()], np.uint8)


def side_by_side(pictures: Sequence[NDArray[np.uint8]], *, least: int = 224, gap: int = 8) -> bytes:
    """Pictures (H, W, 3) of one size in a row as one PNG, enlarged by a whole number to at least `least` pixels."""
    cell = max(1, -(-least // max(pictures[0].shape[:2])))
    large = [np.repeat(np.repeat(picture, cell, 0), cell, 1) for picture in pictures]
    paper = np.full((large[0].shape[0], gap, 3), theme.rgb(theme.FRAMES["light"].paper), np.uint8)
    row = [part for picture in large for part in (paper, picture)][1:]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(row, 1)).save(buffer, "PNG")
    return buffer.getvalue()
