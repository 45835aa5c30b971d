"""How a map over pixels is shown: one number for each pixel, a colour picture, a mask of the strongest pixels.

A gradient has a number for each colour channel, a picture of it one for each pixel. The surprise: we show the value of
the channel where it is largest in magnitude, *with its sign*. Its magnitude is then the map of the saliency paper, and
nothing negative is lost on the way, as it would be by taking the largest value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.figures.pixels import arrange, enlarge, indexed_png
from cnnviz.figures.scales import EMPTY_INDEX, Floats, Scale, indices, palette, scale_for
from cnnviz.figures.sheet import Key, headed


def leading(values: Floats) -> Floats:
    """(…, C, H, W) → (…, H, W): of each pixel's channels the value that is largest in magnitude, with its sign."""
    if values.shape[-3] == 1:
        return np.asarray(values[..., 0, :, :])
    first = np.abs(values).argmax(axis=-3, keepdims=True)
    return np.asarray(np.take_along_axis(values, first, axis=-3)[..., 0, :, :])


def centred(values: Floats) -> Floats:
    """A signed map (C, H, W) as a picture in [0, 1]: zero is mid-grey, the largest magnitude black or white."""
    peak = float(np.abs(values).max(initial=0.0))
    return np.asarray(0.5 + values / (2 * peak) if peak else np.full_like(values, 0.5))


def strongest_pixels(pixels: Floats, share: float) -> NDArray[np.bool_]:
    """The `share` (0 to 1) of the pixels (H, W) with the largest magnitude: at least one, ties in reading order."""
    order = np.argsort(-np.abs(pixels), axis=None, kind="stable")
    kept = np.zeros(pixels.size, dtype=bool)
    kept[order[: max(1, round(share * pixels.size))]] = True
    return kept.reshape(pixels.shape)


def sheet_png(rows: Sequence[Sequence[Floats]], *, signed: bool, cell: int = 3, gap: int = 4) -> bytes:
    """Maps (H, W) in rows and columns as one PNG, each on its own scale: red-blue when `signed` and negative somewhere,
    otherwise magnitudes in cividis."""
    diverging = [signed and bool((pixels < 0).any()) for row in rows for pixels in row]
    columns = max(map(len, rows))
    if len(set(diverging)) == 1:
        return _one_palette([pixels for row in rows for pixels in row], diverging[0], columns, (cell, gap))
    return _one_palette([pixels for row in rows for pixels in row], True, columns, (cell, gap))


def sheet_with_names(
    rows: Sequence[Sequence[Floats]], names: tuple[Sequence[str], Sequence[str]], *, signed: bool, cell: int = 3
) -> Image.Image:
    """The same with the names of the rows and of the columns, the latter on two lines where they are long."""
    gap, (height, width) = 4, rows[0][0].shape
    beside, above = names
    return headed(
        sheet_png(rows, signed=signed, cell=cell, gap=gap),
        above=[(gap + place * (width * cell + gap), _two_lines(name)) for place, name in enumerate(above)],
        beside=[(gap + place * (height * cell + gap), name) for place, name in enumerate(beside)],
    )


def own_scales(*, signed: bool) -> Key:
    """The colour bar of maps that have a scale each."""
    if signed:
        return Key("each map has its own scale", Scale(-1.0, 1.0, "diverging"), ("lowers", "raises"))
    return Key("magnitude; each map has its own scale", Scale(0.0, 1.0, "cividis"), ("0", "its highest"))


def _two_lines(name: str) -> str:
    return "\n".join(name.rsplit(" ", 1)) if len(name) > 12 else name


def _one_palette(maps: Sequence[Floats], diverging: bool, columns: int, sizes: tuple[int, int]) -> bytes:
    cell, gap = sizes
    tiles = [_tile(pixels if diverging else np.abs(pixels), diverging) for pixels in maps]
    board = arrange(enlarge(np.stack(tiles), cell), columns=columns, gap=gap)
    return indexed_png(
        np.pad(board, gap, constant_values=EMPTY_INDEX), palette("diverging" if diverging else "cividis")
    )


def _tile(pixels: Floats, diverging: bool) -> NDArray[np.uint8]:
    return np.asarray(indices(pixels[None], scale_for(pixels[None], signed=diverging))[0])


def summary(pixels: Floats) -> dict[str, Any]:
    """What a caption needs of a map (H, W): its peak, where, the share of pixels that hold half of the magnitude, and
    the share of the magnitude that is negative."""
    magnitude = np.abs(pixels, dtype=np.float64)
    total = float(magnitude.sum())
    if not total:
        return {"peak": 0.0, "row": 0, "column": 0, "half": 1.0, "negative": 0.0}
    row, column = np.unravel_index(int(magnitude.argmax()), pixels.shape)
    heights = np.sort(magnitude, axis=None)[::-1].cumsum()
    return {
        "peak": float(pixels[row, column]),
        "row": int(row),
        "column": int(column),
        "half": float(np.searchsorted(heights, total / 2) + 1) / pixels.size,
        "negative": float(magnitude[pixels < 0].sum()) / total,
    }
