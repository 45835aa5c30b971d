"""A network's outline as one picture: a box for each layer, as high as its maps and as wide as its channels.

Both are in steps of a factor of two, because a linear scale would leave nothing of the last layers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from cnnviz.figures import theme

HEIGHT, MARGIN, GAP, ROOF = 220, 24, 6, 40
_SOLID, _OUTLINED = "weights", ("norm", "join")


def box_size(shape: Sequence[int], side: int, most: int) -> tuple[float, float]:
    """Width and height (0 to 1) of a layer's box; `side` rows of its maps (0 for units), `most` those of the image."""
    channels = math.log2(max(shape[0], 1))
    if not side:
        return 0.06, min(1.0, max(0.12, channels / 12))
    return (2 + 3.2 * channels) / 40, 0.1 + 0.9 * math.log2(max(side, 1)) / max(math.log2(max(most, 2)), 1)


def silhouette_png(
    boxes: Sequence[tuple[str, Sequence[int], int]],
    shortcuts: Sequence[tuple[int, int]],
    most: int,
    *,
    mode: theme.Mode = "light",
) -> bytes:
    """Boxes of (family, shape, side) from left to right, arcs over what a shortcut jumps (−1 is the image)."""
    frame = theme.FRAMES[mode]
    sizes = [box_size(shape, side, most) for _, shape, side in boxes]
    widths = [max(4, round(40 * width)) for width, _ in sizes]
    lefts = [MARGIN + sum(widths[:place]) + GAP * place for place in range(len(boxes))]
    picture = Image.new("RGB", (lefts[-1] + widths[-1] + MARGIN, HEIGHT + 2 * MARGIN + ROOF), frame.paper)
    draw = ImageDraw.Draw(picture)
    middle = MARGIN + ROOF + HEIGHT / 2
    tops = [middle - height * HEIGHT / 2 for _, height in sizes]
    for (family, _, _), left, width, top in zip(boxes, lefts, widths, tops, strict=True):
        fill = frame.edge if family == _SOLID else frame.paper if family in _OUTLINED else frame.well
        draw.rectangle((left, top, left + width, 2 * middle - top), fill, frame.ink if family == "join" else frame.edge)
    for source, to in shortcuts:
        start = lefts[source] + widths[source] / 2 if source >= 0 else 0
        end, roof = lefts[to] + widths[to] / 2, min(tops[max(source, 0)], tops[to])
        draw.arc((start, roof - ROOF / 2, end, roof + ROOF / 2), 180, 360, frame.ink)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
