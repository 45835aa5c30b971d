"""A network's outline as one picture: a box for each layer, as high as its maps and as wide as its channels.

Both are in steps of a factor of two, because a linear scale would leave nothing of the last layers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from cnnviz.figures import theme
from cnnviz.figures.numbers import shape as shape_text
from cnnviz.figures.sheet import PLAIN

HEIGHT, MARGIN, GAP, ROOF, LINES = 220, 24, 6, 40, 36
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
    names: Sequence[str] = (),
    mode: theme.Mode = "light",
) -> bytes:
    """Boxes of (family, shape, side) from left to right, arcs over what a shortcut jumps (−1 is the image).

    With `names` the boxes stand farther apart, each over its name and its shape.
    """
    frame = theme.FRAMES[mode]
    sizes = [box_size(shape, side, most) for _, shape, side in boxes]
    widths = [max(4, round(40 * width)) for width, _ in sizes]
    named = zip(names, (tuple(shape) for _, shape, _ in boxes), strict=False)
    words = [f"{name}\n{shape_text(shape)}".translate(PLAIN) for name, shape in named]
    font = ImageFont.load_default(12)
    needed = [int(max(map(font.getlength, text.split("\n")))) + 2 * GAP for text in words] or widths
    slots = [max(pair) for pair in zip(widths, needed, strict=True)]
    lefts = [
        MARGIN + sum(slots[:place]) + GAP * place + (slots[place] - widths[place]) // 2 for place in range(len(boxes))
    ]
    whole = MARGIN + sum(slots) + GAP * (len(slots) - 1) + MARGIN
    picture = Image.new("RGB", (whole, HEIGHT + 2 * MARGIN + ROOF + (LINES if names else 0)), frame.paper)
    draw = ImageDraw.Draw(picture)
    for text, left, width in zip(words, lefts, widths, strict=False):
        at = (left + width / 2, MARGIN + ROOF + HEIGHT + GAP)
        draw.multiline_text(at, text, font=font, fill=frame.ink, anchor="ma", align="center")
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
