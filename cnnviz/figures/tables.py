"""Tables of numbers as a picture to keep: an image, a kernel and what comes of them, side by side.

The surprise: cells are as wide as the widest number of all tables, so that a cell of one is a cell of the other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnviz.figures import theme
from cnnviz.figures.scales import Floats
from cnnviz.figures.sheet import captioned

_SIDE, _GAP, _HEAD, _SIZE, _PADDING = 34, 36, 24, 15, 12


def tables_png(tables: Mapping[str, Floats], title: str, *, facts: str = "") -> bytes:
    """Tables (rows, columns) by name, with their names above them, on one sheet: PNG bytes."""
    font = ImageFont.load_default(_SIZE)
    cells = {name: [[_written(float(value)) for value in row] for row in table] for name, table in tables.items()}
    widest = max(font.getlength(text) for rows in cells.values() for row in rows for text in row)
    side = max(_SIDE, int(widest) + _PADDING)
    widths = [max(side * len(rows[0]), int(font.getlength(name))) for name, rows in cells.items()]
    height = _HEAD + _SIDE * max(map(len, cells.values())) + 1
    sheet = Image.new("RGB", (sum(widths) + _GAP * (len(widths) - 1) + 1, height), theme.FRAMES["light"].paper)
    left = 0
    for (name, rows), width in zip(cells.items(), widths, strict=True):
        _draw(sheet, (left, side), name, rows)
        left += width + _GAP
    return captioned(sheet, title, facts=facts)


def _draw(sheet: Image.Image, place: tuple[int, int], name: str, rows: list[list[str]]) -> None:
    pen, font, frame = ImageDraw.Draw(sheet), ImageFont.load_default(_SIZE), theme.FRAMES["light"]
    left, side = place
    pen.text((left, 0), name, font=font, fill=frame.ink)
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            x, y = left + c * side, _HEAD + r * _SIDE
            pen.rectangle((x, y, x + side, y + _SIDE), outline=frame.edge)
            pen.text((x + side / 2, y + _SIDE / 2), text, font=font, fill=frame.ink, anchor="mm")
    pen.rectangle((left, _HEAD, left + side * len(rows[0]), _HEAD + _SIDE * len(rows)), outline=frame.ink)


def _written(value: float) -> str:
    return f"{np.round(value, 2) + 0.0:g}"
