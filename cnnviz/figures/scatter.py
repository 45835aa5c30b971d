"""Points in classes as a picture to take away: a colour and a shape for each class, with the key beside them.

The surprise: points are drawn in the order they come, so a shuffled order lets no class hide another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cnnviz.figures import theme
from cnnviz.figures.scales import Floats
from cnnviz.figures.theme import ClassMark

_FINE = 3  # drawn this much larger, then shrunk: Pillow does not smooth edges
KEY_WIDTH = 170
Corners = list[tuple[float, float]]


def _polygon(corners: int, turned: float = 0.0) -> Corners:
    angles = [2 * math.pi * k / corners + turned for k in range(corners)]
    return [(math.sin(angle), -math.cos(angle)) for angle in angles]


def _star() -> Corners:
    return [(x * r, y * r) for (x, y), r in zip(_polygon(10), (1, 0.42) * 5, strict=True)]


def _plus(arm: float = 0.32) -> Corners:
    quarter = [(-arm, -1.0), (arm, -1.0), (arm, -arm)]
    turns: Corners = []
    for _ in range(4):
        turns += quarter
        quarter = [(-y, x) for x, y in quarter]
    return turns


def _turned(corners: Corners, angle: float) -> Corners:
    c, s = math.cos(angle), math.sin(angle)
    return [(c * x - s * y, s * x + c * y) for x, y in corners]


SHAPES: dict[str, Corners] = {
    "circle": _polygon(24),
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle-up": _polygon(3),
    "diamond": _polygon(4),
    "cross": _plus(),
    "x": _turned(_plus(), math.pi / 4),
    "triangle-down": _polygon(3, math.pi),
    "pentagon": _polygon(5),
    "hexagon": _polygon(6),
    "star": _star(),
}
"""The corners of each marker within the unit circle, by plotly's names."""


def scatter(
    points: Floats,
    group: NDArray[np.integer],
    marks: Sequence[tuple[str, ClassMark]],
    *,
    ringed: NDArray[np.bool_] | None = None,
    here: tuple[float, float] | None = None,
    size: tuple[int, int] = (760, 560),
) -> Image.Image:
    """Points (n, 2), each drawn as its `group` (n,) in `marks` (name, mark), which also give the key at the right.

    `ringed` (n,) get a ring; `here` is one more place, marked with a cross-hair. Both axes have one scale.
    """
    frame = theme.FRAMES["light"]
    board = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), frame.paper)
    pen = ImageDraw.Draw(board)
    places = _fitted(points if here is None else np.vstack([points, [here]]), (size[0] - KEY_WIDTH, size[1])) * _FINE
    radius = _FINE * (4.5 if len(points) > 1500 else 6.0)
    for k, place in enumerate(places[: len(points)]):
        _draw(pen, place, radius, marks[int(group[k])][1])
        if ringed is not None and ringed[k]:
            _ring(pen, place, radius * 1.6, frame.ink)
    if here is not None:
        _cross_hair(pen, places[-1], radius * 2.4, frame)
    small = board.resize(size, Image.Resampling.LANCZOS)
    _key(small, marks, size[0] - KEY_WIDTH + 24)
    return small


def _fitted(points: Floats, size: tuple[int, int], margin: int = 14) -> Floats:
    low, high = points.min(0), points.max(0)
    span = np.maximum(high - low, 1e-12)
    scale = ((np.array(size) - 2 * margin) / span).min()
    centred = (points - (low + high) / 2) * scale * (1, -1)
    return np.asarray(centred + np.array(size) / 2, np.float32)


def _draw(pen: ImageDraw.ImageDraw, place: Floats, radius: float, mark: ClassMark) -> None:
    corners = [(place[0] + x * radius, place[1] + y * radius) for x, y in SHAPES[mark.shape]]
    pen.polygon(corners, fill=mark.colour, outline=theme.FRAMES["light"].edge, width=_FINE // 2)


def _ring(pen: ImageDraw.ImageDraw, place: Floats, radius: float, colour: str, width: int = _FINE) -> None:
    x, y = map(float, place)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=width)


def _cross_hair(pen: ImageDraw.ImageDraw, place: Floats, radius: float, frame: theme.Frame) -> None:
    x, y = map(float, place)
    for colour, width in ((frame.paper, 6 * _FINE), (frame.accent, 2 * _FINE)):  # on paper, to stand off the points
        _ring(pen, place, radius + width / 2, colour, width)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            near, far = 0.6 * radius, 1.6 * radius
            pen.line((x + dx * near, y + dy * near, x + dx * far, y + dy * far), fill=colour, width=width)


def _key(board: Image.Image, marks: Sequence[tuple[str, ClassMark]], left: int, most: int = 20) -> None:
    pen, font, ink = ImageDraw.Draw(board), ImageFont.load_default(13), theme.FRAMES["light"].ink
    for row, (name, mark) in enumerate(marks[:most]):
        _draw(pen, np.array([left, 18 + 22 * row]), 6.0, mark)
        pen.text((left + 14, 18 + 22 * row), name[:22], font=font, fill=ink, anchor="lm")
