"""A cloud of up to tens of thousands of points, and the readings under it that also say where the points are.

`point_cloud` sends what does not move, once: pictures as one sheet, labels, neighbours. `cloud_readings` sends the
positions. The surprise: the two meet in the browser, not here, so that a picture that is still forming costs eight
bytes a point and frame, and keeps its zoom.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.figures.scales import Floats
from cnnviz.figures.theme import ClassMark
from dashboard.components.kit import Handler, define, mount, pack

_cloud = define("point_cloud", "point_shapes")
_readings = define("cloud_readings")
LARGEST = 28  # pixels of the longer side of a picture in the sheet
SHEET_WIDTH = 2048
Numbers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Colouring:
    """One way to colour the points: `group` (n,) indexes `marks` (name, colour and shape), at most 32 of them.

    With `ramp` (`words`, `low`, `high`) the groups are steps of cividis, and a colour bar is the legend.
    """

    name: str
    title: str
    group: Numbers
    marks: Sequence[tuple[str, ClassMark]]
    ramp: Mapping[str, Any] | None = None

    @property
    def header(self) -> dict[str, Any]:
        """What the browser needs besides the groups."""
        groups = [{"name": name, "colour": mark.colour, "shape": mark.shape} for name, mark in self.marks]
        return {"name": self.name, "title": self.title, "groups": groups, "ramp": self.ramp}


@dataclass(frozen=True, eq=False)
class Cloud:
    """What does not move. Arrays have one entry per point, `near` and `distances` one row.

    `set` names the points and their vectors (positions for another set are not drawn), `crowd` the pictures alone:
    zoom and selection stay while it does. `label` is None where no class is known, else it indexes `labels`, and
    `predicted` indexes `classes`; `known` says whether the two can be compared. `href` leads to a picture, with NUMBER
    for its `position` in the data set or TITLE for its title. A picture is called by its `titles`, else by its number
    `index` in `source`.
    """

    set: str
    crowd: str
    sheet: bytes
    tile: tuple[int, int]
    position: Numbers
    index: Numbers
    source: str
    label: Numbers | None
    labels: Sequence[str]
    predicted: Numbers
    confidence: Floats
    classes: Sequence[str]
    known: bool
    near: Numbers
    distances: Floats
    colourings: Sequence[Colouring]
    href: str
    alt: str
    titles: Sequence[str] | None = None


@dataclass(frozen=True)
class Here:
    """The picture one looks at among the points: `point` (x, y), and its neighbours with their distance."""

    point: tuple[float, float]
    png: bytes
    near: Sequence[tuple[int, float]]
    words: Mapping[str, Any]  # title, says, placed, and own: the name of its class or None


@dataclass(frozen=True)
class Readings:
    """What is said under a cloud: `caption`, `banner`, `facts` (pairs), a scree, and how far the work is.

    `action` is "stop", "again" or None; `axes` is written inside the cloud.
    """

    caption: str
    banner: str = ""
    facts: Sequence[tuple[str, str]] = ()
    scree: Mapping[str, Any] | None = None
    status: str = ""
    progress: float | None = None
    action: str | None = None
    axes: str = ""
    running: bool = field(default=False)


def point_cloud(cloud: Cloud, *, key: str) -> None:
    """Show the cloud; its points appear once `cloud_readings` of the same key has said where they are."""
    used = np.unique(cloud.predicted)  # a thousand class names are not sent where twenty are said
    header = {
        "cloud": key, "set": cloud.set, "crowd": cloud.crowd, "count": len(cloud.position), "tile": cloud.tile,
        "columns": SHEET_WIDTH // cloud.tile[0], "source": cloud.source, "labels": _names(cloud.labels, cloud.label),
        "classes": [cloud.classes[i] for i in used], "known": cloud.known, "neighbours": cloud.near.shape[1],
        "colourings": {one.name: one.header for one in cloud.colourings}, "href": cloud.href, "alt": cloud.alt,
        "titles": cloud.titles,
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {f"group_{one.name}": one.group.astype(np.int32) for one in cloud.colourings}
    said: Numbers = np.searchsorted(used, cloud.predicted)
    label = np.zeros(0) if cloud.label is None else cloud.label
    if cloud.known:  # compared by index in the browser, so both count in the same list
        header["classes"], said = list(cloud.classes), cloud.predicted
    blocks = {"position": cloud.position, "index": cloud.index, "label": label, "predicted": said, "near": cloud.near}
    arrays |= {name: np.asarray(values).astype(np.int32) for name, values in blocks.items()}
    mount(
        _cloud,
        pack(
            header,
            sheet=cloud.sheet,
            confidence=cloud.confidence.astype(np.float32),
            distances=cloud.distances.astype(np.float32),
            **arrays,
        ),
        key=key,
    )


def _names(names: Sequence[str], label: Numbers | None) -> list[str] | None:
    return None if label is None else list(names)


def cloud_readings(
    points: Floats,
    readings: Readings,
    *,
    cloud: str,
    of: str,
    colour: str,
    here: Here | None,
    key: str,
    on_act: Handler | None = None,
) -> None:
    """Tell the cloud of key `cloud`, for its set `of`, where its `points` (n, 2) are, and show the readings.

    `on_act({"act": "stop" or "again"})` when the button is pressed.
    """
    centred, turn = fitted(points)
    header: dict[str, Any] = {**vars(readings), "cloud": cloud, "set": of, "colour": colour, "here": None}
    header["extent"] = [float(side) for side in np.maximum(np.abs(centred).max(0, initial=0.0), 0.05)]
    if here is not None:
        at = turn(np.asarray([here.point], np.float32))[0]
        near = [{"index": index, "distance": distance} for index, distance in here.near]
        header["here"] = {**here.words, "point": [float(v) for v in at], "near": near}
        header["extent"] = [float(max(side, abs(v))) for side, v in zip(header["extent"], at, strict=True)]
    mount(
        _readings,
        pack(header, points=centred, here=here.png if here else b""),
        key=key,
        act=on_act,
    )


def fitted(points: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Points (n, 2) centred, the larger half-extent 1, and the function that moves others in the same way."""
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-12)

    def turn(others: Floats) -> Floats:
        return np.asarray((others - centre) / half, np.float32)

    centred = turn(points)
    return centred, turn


def sheet_of(pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> tuple[bytes, tuple[int, int]]:
    """All pictures, (H, W) or (H, W, 3), side by side in one file, and the size (width, height) of each in it.

    Grey pictures are a PNG, exact where they are small; colour ones a JPEG, which is a tenth of that.
    """
    first = pictures[0]
    by = min(1.0, LARGEST / max(first.shape[:2]))
    grey = all(one.ndim == 2 for one in pictures)
    alike = all(one.shape[:2] == first.shape[:2] for one in pictures)
    tile = (max(1, round(first.shape[1] * by)), max(1, round(first.shape[0] * by))) if alike else (LARGEST, LARGEST)
    columns = SHEET_WIDTH // tile[0]
    rows = -(-len(pictures) // columns)
    board = Image.new("L" if grey else "RGB", (columns * tile[0], rows * tile[1]))
    for place, pixels in enumerate(pictures):
        small = Image.fromarray(pixels)
        if small.size != tile:
            small = small.convert(board.mode).resize(tile, Image.Resampling.BOX)
        board.paste(small, (place % columns * tile[0], place // columns * tile[1]))
    buffer = io.BytesIO()
    board.save(buffer, "PNG" if grey else "JPEG", **({"compress_level": 6} if grey else {"quality": 85}))
    return buffer.getvalue(), tile
