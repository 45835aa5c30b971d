"""A picture to take away: the maps with their numbers, a title above, the colour bar with its limits below.

What leaves the page must still say what it is. The surprise: the text is set in the typeface that comes with Pillow,
which has no ×, − or –; they are written x and - here and only here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cnnviz.figures import theme
from cnnviz.figures.numbers import DASH, MINUS, SPACE, TIMES, short
from cnnviz.figures.pixels import enlarge, stripes
from cnnviz.figures.scales import Floats, Scale, indices, palette

MARGIN, LINE, BAR_WIDTH, BAR_HEIGHT = 24, 20, 230, 9
PLAIN = str.maketrans({TIMES: "x", MINUS: "-", DASH: "-", SPACE: " ", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})


@dataclass(frozen=True)
class Key:
    """The colour bar under a picture: what the colours are, in words, and their limits.

    `ends` replaces the numbers, for maps that have a scale each.
    """

    words: str
    scale: Scale
    ends: tuple[str, str] | None = None


def labelled_mosaic(
    maps: Floats,
    scale: Scale,
    labels: Sequence[tuple[str, str]],
    *,
    columns: int = 8,
    cell: int = 6,
    dead: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Maps (C, H, W) in rows of `columns`, each with two words under it: at its left and at its right.

    `dead` (C,) marks maps that are striped, as on the page.
    """
    frame = theme.FRAMES["light"]
    tiles, colours = enlarge(indices(maps, scale), cell), palette(scale.palette)
    height, width = tiles.shape[1:]
    if dead is not None:
        tiles[dead] = stripes(height, width)
    step_x, step_y = max(width, 52) + 10, height + LINE + 6
    rows = -(-len(maps) // columns)
    board = Image.new("RGB", (min(columns, len(maps)) * step_x - 10, rows * step_y - 6), frame.paper)
    pen, font = ImageDraw.Draw(board), ImageFont.load_default(12)
    for place, (tile, (left, right)) in enumerate(zip(tiles, labels, strict=True)):
        x, y = place % columns * step_x, place // columns * step_y
        board.paste(Image.fromarray(colours[tile]), (x, y))
        pen.text((x, y + height + 3), left.translate(PLAIN), font=font, fill=frame.ink)
        pen.text((x + width, y + height + 3), right.translate(PLAIN), font=font, fill=frame.ink_2, anchor="ra")
    return board


def headed(
    picture: Image.Image | bytes, *, above: Sequence[tuple[int, str]] = (), beside: Sequence[tuple[int, str]] = ()
) -> Image.Image:
    """A picture with words over its columns, each at its x, and left of its rows, each at its y (in pixels of it)."""
    drawn, frame = _opened(picture), theme.FRAMES["light"]
    lines = max((text.count("\n") + 1 for _, text in above), default=0)
    left = max((_length(line, 13) + 12 for _, text in beside for line in text.split("\n")), default=0)
    top = LINE * lines
    ends = [left + x + _length(line, 13) for x, text in above for line in text.split("\n")]
    board = Image.new("RGB", (max(left + drawn.width, *ends, 0), top + drawn.height), frame.paper)
    pen = ImageDraw.Draw(board)
    board.paste(drawn, (left, top))
    for x, text in above:
        for place, line in enumerate(reversed(text.split("\n")), 1):
            _write(pen, (left + x, top - LINE * place), line, 13)
    for y, text in beside:
        for place, line in enumerate(text.split("\n")):
            _write(pen, (0, top + y + LINE * place), line, 13, frame.ink_2 if place else frame.ink)
    return board


def _opened(picture: Image.Image | bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB") if isinstance(picture, bytes) else picture


def captioned(picture: Image.Image | bytes, title: str, *, facts: str = "", key: Key | None = None) -> bytes:
    """A picture (or PNG bytes) on paper with `title` and quiet `facts` above it and a colour bar below: PNG bytes."""
    drawn = _opened(picture)
    frame, above = theme.FRAMES["light"], MARGIN + 2 * LINE
    width = max(drawn.width, BAR_WIDTH, _length(title, 16), _length(facts, 13)) + 2 * MARGIN
    sheet = Image.new("RGB", (width, above + 8 + drawn.height + (4 * LINE if key else 0) + MARGIN), frame.paper)
    pen = ImageDraw.Draw(sheet)
    pen.line((MARGIN, MARGIN - 8, width - MARGIN, MARGIN - 8), fill=frame.ink, width=2)
    _write(pen, (MARGIN, MARGIN), title, 16)
    _write(pen, (MARGIN, MARGIN + LINE), facts, 13, frame.ink_2)
    sheet.paste(drawn, (MARGIN, above + 8))
    if key:
        _draw_key(sheet, key, above + 8 + drawn.height + LINE // 2)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_key(sheet: Image.Image, key: Key, top: int) -> None:
    frame, pen, low, high = theme.FRAMES["light"], ImageDraw.Draw(sheet), *key.scale.of(0)
    ramp = np.repeat(theme.colours(key.scale.palette, BAR_WIDTH)[None], BAR_HEIGHT, axis=0)
    _write(pen, (MARGIN, top), key.words, 13, frame.ink_2)
    sheet.paste(Image.fromarray(ramp), (MARGIN, top + LINE))
    first, last = key.ends or (short(low), short(high))
    middle = "0" if key.scale.signed else ""
    for share, text, anchor in ((0, first, "la"), (0.5, middle, "ma"), (1, last, "ra")):
        if not text:
            continue
        x = MARGIN + share * (BAR_WIDTH - 1)
        pen.line((x, top + LINE + BAR_HEIGHT, x, top + LINE + BAR_HEIGHT + 3), fill=frame.edge)
        pen.text((x, top + LINE + BAR_HEIGHT + 5), text.translate(PLAIN), font=_font(12), fill=frame.ink, anchor=anchor)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: str = theme.FRAMES["light"].ink
) -> None:
    pen.text(at, text.translate(PLAIN), font=_font(size), fill=colour)


def _length(text: str, size: int) -> int:
    return int(_font(size).getlength(text.translate(PLAIN))) + 1


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
