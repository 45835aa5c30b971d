"""A row of pictures cut to the receptive field of one unit, each over what guided backprop sends back to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnviz.figures.pixels import shrink
from cnnviz.figures.saliency import leading
from cnnviz.figures.scales import Floats
from dashboard.components.kit import define, mount, pack

LARGEST = 112  # CSS pixels
_component = define("exemplar_strip")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Item:
    """A picture (C, H, W) in [0, 1] with the box the unit sees of it, its map (C, H, W) or None while it is computed,
    the unit's value, and what the picture is called."""

    picture: Floats
    box: Box
    result: Floats | None
    value: float
    title: str


def exemplar_strip(items: Sequence[Item], *, note: str, caption: str, key: str) -> None:
    """Show the items in their order; boxes clipped by a border are set where they lie in the largest one."""
    height = max(item.box[2] - item.box[0] for item in items)
    width = max(item.box[3] - item.box[1] for item in items)
    by = -(-max(height, width) // LARGEST)
    cuts = [_smaller(_cut(item, height, width), by) for item in items]
    height, width = cuts[0][1].shape
    ready = all(item.result is not None for item in items)
    header = {
        "width": width, "height": height, "channels": items[0].picture.shape[0], "note": note, "caption": caption,
        "items": [_described(item, cut[2]) for item, cut in zip(items, cuts, strict=True)],
    }  # fmt: skip
    data = pack(
        header,
        pictures=np.stack([cut[0] for cut in cuts]),
        inside=np.stack([cut[1] for cut in cuts]),
        maps=np.stack([cut[2] for cut in cuts]) if ready else np.zeros(0, np.float32),
    )
    mount(_component, data, key=key)


def _described(item: Item, pixels: Floats) -> dict[str, object]:
    top, left, bottom, right = item.box
    place = f"rows {top} to {bottom - 1}, columns {left} to {right - 1}"
    return {"title": item.title, "value": item.value, "place": place, "peak": float(np.abs(pixels).max(initial=0.0))}


def _cut(item: Item, height: int, width: int) -> tuple[Floats, Floats, Floats]:
    """The picture as bytes (C, h, w), which of its cells exist (h, w), and the map (h, w)."""
    top, left, bottom, right = item.box
    size = item.picture.shape[1:]
    # a box clipped at the top or left belongs at the lower right of the frame
    row = height - (bottom - top) if top == 0 and bottom < size[0] else 0
    column = width - (right - left) if left == 0 and right < size[1] else 0
    window = (slice(row, row + bottom - top), slice(column, column + right - left))
    picture = np.zeros((item.picture.shape[0], height, width), np.uint8)
    inside, pixels = np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
    picture[:, *window] = np.rint(np.clip(item.picture[:, top:bottom, left:right], 0, 1) * 255)
    inside[window] = 1
    if item.result is not None:
        pixels[window] = leading(item.result)[top:bottom, left:right]
    return picture, inside, pixels


def _smaller(cut: tuple[Floats, Floats, Floats], by: int) -> tuple[Floats, Floats, Floats]:
    """A cut with blocks of `by` × `by` pixels as one: the mean of the picture, the strongest value of the map."""
    if by == 1:
        return cut
    picture, inside, pixels = cut
    rows, columns = (side // by * by for side in inside.shape)
    blocks = picture[:, :rows, :columns].reshape(len(picture), rows // by, by, columns // by, by)
    small = shrink(pixels[:rows, :columns], by).astype(np.float32)
    return blocks.mean(axis=(2, 4)).astype(np.uint8), inside[:rows:by, :columns:by].copy(), small
