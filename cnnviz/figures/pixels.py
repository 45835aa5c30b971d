"""NumPy in, PNG bytes out: one map, a mosaic of hundreds, or the picture itself.

A map becomes an 8-bit palette PNG: one byte for each cell, and the browser or the reader enlarges it without blur. The
surprise: the PNG is written here in a dozen lines, because a picture library spends longer on a palette mosaic than
the colours themselves cost.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import theme
from cnnviz.figures.scales import (
    EMPTY_INDEX,
    GROUND_INDEX,
    STRIPE_INDEX,
    Floats,
    Scale,
    indices,
    palette,
    scale_for,
)

Bytes = NDArray[np.uint8]
_STRIPE = 8  # a dead map's stripes: 2 of 8 pixels, at 135 degrees


def map_png(values: Floats, scale: Scale | None = None, *, cell: int = 1, mode: theme.Mode = "light") -> bytes:
    """One map (H, W) as a palette PNG, each value a square of `cell` pixels. The default scale is the map's own."""
    scale = scale or scale_for(values[None], per="layer")
    return indexed_png(enlarge(indices(values, scale), cell), palette(scale.palette, mode))


def mosaic_png(
    maps: Floats,
    scale: Scale | None = None,
    *,
    columns: int = 8,
    gap: int = 1,
    cell: int = 1,
    dead: NDArray[np.bool_] | None = None,
    mode: theme.Mode = "light",
) -> bytes:
    """Many maps (C, H, W) as one palette PNG, `columns` to a row, `gap` pixels of paper between them.

    `dead` (C,) marks maps that are zero on every image of a data set: they are striped. NaN has a colour of its own.
    """
    scale = scale or scale_for(maps)
    tiles = indices(maps, scale)
    tiles = enlarge(tiles, cell)
    if dead is not None and dead.any():
        tiles[dead] = stripes(tiles.shape[1], tiles.shape[2])
    return indexed_png(arrange(tiles, columns=columns, gap=gap), palette(scale.palette, mode))


def picture_png(image: Floats, *, cell: int = 1) -> bytes:
    """A picture (C, H, W) or (H, W) with values 0 to 1 as it is: one channel grey and never inverted, three RGB.

    Values beyond 0 and 1 are clipped. Raises ValueError for another number of channels.
    """
    planes = image[None] if image.ndim == 2 else image
    if planes.shape[0] not in (1, 3):
        raise ValueError(f"a picture has 1 or 3 channels, not {planes.shape[0]}; draw each channel as a map instead")
    levels = np.rint(np.clip(np.nan_to_num(planes), 0, 1) * 255).astype(np.uint8)
    pixels = enlarge(levels, cell).transpose(1, 2, 0)  # (H, W, C)
    return _png(pixels, colour_type=0 if planes.shape[0] == 1 else 2)


def enlarge(tiles: Bytes, cell: int) -> Bytes:
    """Each value of (..., H, W) as a square of `cell` × `cell`."""
    if cell == 1:
        return tiles
    return np.repeat(np.repeat(tiles, cell, axis=-2), cell, axis=-1)


def arrange(tiles: Bytes, *, columns: int, gap: int) -> Bytes:
    """Tiles (C, H, W) side by side, `columns` to a row: one (rows, width) picture with `EMPTY_INDEX` between them."""
    count, height, width = tiles.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    board = np.full((rows * columns, height + gap, width + gap), EMPTY_INDEX, np.uint8)
    board[:count, :height, :width] = tiles
    board = board.reshape(rows, columns, height + gap, width + gap).transpose(0, 2, 1, 3)
    whole = board.reshape(rows * (height + gap), columns * (width + gap))
    return whole[: whole.shape[0] - gap, : whole.shape[1] - gap]


def shrink(maps: Floats, factor: int) -> Floats:
    """Maps (..., H, W) with blocks of `factor` × `factor` cells as one: the value farthest from zero of each block.

    The mean would hide single strong cells, which is what one looks for in a map. Border blocks may be smaller.
    """
    if factor == 1:
        return maps
    height, width = maps.shape[-2:]
    rows, columns = -(-height // factor), -(-width // factor)
    padding = [(0, 0)] * (maps.ndim - 2) + [(0, rows * factor - height), (0, columns * factor - width)]
    blocks = np.pad(maps, padding).reshape(*maps.shape[:-2], rows, factor, columns, factor)
    highest, lowest = blocks.max(axis=(-3, -1)), blocks.min(axis=(-3, -1))
    return np.asarray(np.where(highest >= -lowest, highest, lowest))


def indexed_png(pixels: Bytes, colours: Bytes) -> bytes:
    """A picture of palette indices (H, W) and its colours (256, 3) as PNG bytes."""
    return _png(pixels[:, :, None], colour_type=3, colours=colours)


def stripes(height: int, width: int) -> Bytes:
    """The palette indices (H, W) of a dead map: stripes at 135 degrees."""
    rows, columns = np.indices((height, width))
    stripe = (rows + columns) % _STRIPE < _STRIPE // 4
    return np.where(stripe, STRIPE_INDEX, GROUND_INDEX).astype(np.uint8)


def _png(pixels: Bytes, *, colour_type: int, colours: Bytes | None = None) -> bytes:
    height, width, depth = pixels.shape
    rows = pixels.reshape(height, width * depth)
    lines = np.full(
        (height, 1 + width * depth), 2, np.uint8
    )  # each line starts with its filter: 2 = minus the line above
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))]
    if colours is not None:
        chunks.append(_chunk(b"PLTE", colours.tobytes()))
    chunks += [_chunk(b"IDAT", deflate(lines)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deflate(array: NDArray[Any]) -> bytes:
    """zlib at its fastest level: half the time of the usual one, and on noisy maps no larger."""
    return zlib.compress(np.ascontiguousarray(array).data, 1)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
