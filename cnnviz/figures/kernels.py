"""Kernels as pictures: which of them fit on a page, colours of three-channel kernels, the matrix as one PNG.

The surprise: a kernel on three colour channels is shown around middle grey, one scale for the three of them, so that
grey is "no weight" and a colour is the colour the filter adds, with its opposite for what it subtracts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import pixels, scales
from cnnviz.figures.scales import Floats, Scale

Bytes = NDArray[np.uint8]
_NO_WEIGHT = 127.5


def composite(kernels: Floats, tops: Floats) -> Bytes:
    """Kernels over red, green and blue (out, 3, rows, columns) as colours (out, rows, columns, 3), 0 to 255.

    `tops`: the weight that gets full colour, one number or one for each kernel (out,).
    """
    limits = np.asarray(tops, np.float64)
    limits = limits.reshape(-1, 1, 1, 1) if limits.ndim else limits
    shares = np.divide(kernels, limits, out=np.zeros(kernels.shape), where=limits > 0)
    levels = np.rint(_NO_WEIGHT * (1 + np.clip(np.nan_to_num(shares), -1, 1)))
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(0, 2, 3, 1))


def kernel_scale(kernels: Floats, per: scales.Per, network: float | None = None) -> Scale:
    """The signed scale of kernels (out, in, rows, columns): one for each kernel ("map"), the layer or the network.

    With "map" the limits are one number for each of the out · in kernels, in that order.
    """
    flat = kernels.reshape(-1, *kernels.shape[2:])
    return scales.scale_for(flat, signed=True, per=per, network=network)


def strongest_inputs(kernels: Floats, most: int) -> NDArray[np.intp]:
    """The input channels with the largest weights, at most `most` of them, in their own order."""
    energy = np.square(np.nan_to_num(kernels.astype(np.float64))).sum(axis=(0, 2, 3))
    return np.sort(np.argsort(-energy, kind="stable")[:most])


def matrix_png(kernels: Floats, scale: Scale, *, cell: int = 8, gap: int = 4) -> bytes:
    """Kernels (out, in, rows, columns) as one PNG: a row for each filter, a column for each input."""
    out, inputs = kernels.shape[:2]
    flat = kernels.reshape(out * inputs, *kernels.shape[2:])
    return pixels.mosaic_png(flat, scale, columns=inputs, gap=gap, cell=cell)


def composite_png(colours: Bytes, *, columns: int = 8, cell: int = 12, gap: int = 6) -> bytes:
    """Colours (out, rows, columns, 3) as one picture, `columns` kernels to a row."""
    count, height, width, _ = colours.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    high, wide = height * cell + gap, width * cell + gap
    board = np.full((3, rows * high - gap, columns * wide - gap), 1.0)
    for place in range(count):
        top, left = place // columns * high, place % columns * wide
        tile = pixels.enlarge(colours[place].transpose(2, 0, 1), cell)
        board[:, top : top + height * cell, left : left + width * cell] = tile / 255
    return pixels.picture_png(board)


def nearest(shares: Any) -> str:
    """What a direction in degrees (0 to 180, across the stripes) is called: the stripes it belongs to."""
    names = ("vertical stripes", "stripes falling to the left", "horizontal stripes", "stripes falling to the right")
    return names[int((float(shares) + 22.5) // 45) % 4]
