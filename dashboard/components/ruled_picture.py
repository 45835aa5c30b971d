"""A picture between rulers: the input, or a map laid over it, with brackets for windows and receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.figures import pixels, scales
from dashboard.components.kit import define, mount, pack

LARGEST_PICTURE = 280  # CSS pixels
_component = define("ruled_picture")


def packed_picture(
    image: NDArray[np.floating[Any]], largest: int = LARGEST_PICTURE, *, whole: bool = True
) -> tuple[dict[str, float], dict[str, bytes]]:
    """A picture (C, H, W) in [0, 1] for `pack`: its size in the header, its PNG among the arrays.

    One longer than `largest` is shrunk to it (mean of the pixels that meet), by a whole number when `whole`; `by` says
    how many of its pixels stand side by side in one that is drawn. With a number of channels other than 1 and 3 their
    mean is drawn.
    """
    planes = image if image.shape[0] in (1, 3) else image.mean(axis=0, keepdims=True)
    longest = max(planes.shape[1:])
    by = -(-longest // largest) if whole else max(longest / largest, 1)
    small = _shrunk(planes, by)
    return {"height": small.shape[1], "width": small.shape[2], "by": by}, {"png": pixels.picture_png(small)}


def ruled_picture(
    image: NDArray[np.floating[Any]],
    *,
    key: str,
    alt: str,
    side: int = 196,
    title: str = "",
    overlay: NDArray[np.float32] | None = None,
    scale: scales.Scale | None = None,
    legend: str = "",
    opacity: float = 1.0,
    brackets: Sequence[tuple[int, int, int, int]] = (),
    caption: str = "",
) -> None:
    """A picture with rulers, at the largest whole-number enlargement that fits `side` pixels.

    `image` (C, H, W) in [0, 1]. `overlay` (H, W): a map of the same size drawn over it with `opacity` (1 hides the
    picture), coloured by `scale`; the pointer reads its values. `brackets`: boxes (top, left, bottom, right) in pixels
    of the image. `legend` says what the colours are, `alt` what the picture shows, in words.
    """
    picture, arrays = packed_picture(image, max(side, 1))
    blocks: dict[str, NDArray[Any] | bytes] = dict(arrays)
    header: dict[str, Any] = {"picture": picture, "side": side, "alt": alt, "title": title, "caption": caption}
    if overlay is not None:
        scale = scale or scales.scale_for(overlay[None])
        drawn = pixels.shrink(overlay, int(picture["by"])).astype(np.float32)
        low, high = scale.of(0)
        header["overlay"] = {"palette": scale.palette, "low": low, "high": high, "opacity": opacity, "words": legend}
        blocks["values"] = drawn
    header["brackets"] = [list(map(int, box)) for box in brackets]
    mount(_component, pack(header, **blocks), key=key)


def _shrunk(planes: NDArray[np.floating[Any]], by: float) -> NDArray[np.floating[Any]]:
    if by == 1:
        return planes
    size = (round(planes.shape[2] / by) or 1, round(planes.shape[1] / by) or 1)
    small = [Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BOX) for plane in planes]
    return np.stack([np.asarray(plane) for plane in small])
