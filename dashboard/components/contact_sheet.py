"""Methods across, targets down: every map of one picture on one sheet, and one of them large with a pixel probe.

The sheet arrives as one block of bytes. The surprise: a map travels as 16-bit steps of its own strongest value, one
number for each pixel (the leading channel, with its sign); all channels in full only for the map that is large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnviz.figures.saliency import leading
from cnnviz.figures.scales import Floats
from dashboard.components.kit import Handler, define, mount, pack

_component = define("contact_sheet", "contour")
_FULL = 32767


@dataclass(frozen=True)
class Column:
    """A method: its key, title, whether its values carry a sign, and what its values count, in words."""

    name: str
    title: str
    signed: bool
    unit: str


@dataclass(frozen=True)
class Row:
    """A target: its text (`Target.text`), what it is called, and why it is here ("predicted", "runner-up")."""

    text: str
    label: str
    role: str


@dataclass(frozen=True)
class Tile:
    """A map: `values` (C, H, W), or None while it is computed, with `progress` in words.

    `fact` is short and stands under the method; `sentences` are the facts in full; `blank` says why a map that is zero
    everywhere is so; `alt` is the finding in words.
    """

    method: str
    target: str
    values: Floats | None
    fact: str = ""
    sentences: tuple[str, ...] = ()
    blank: str = ""
    alt: str = ""
    progress: str = ""


def contact_sheet(
    columns: Sequence[Column],
    rows: Sequence[Row],
    tiles: Sequence[Tile],
    *,
    picture: Floats,
    controls: Mapping[str, Any],
    words: Mapping[str, str],
    key: str,
    on_set: Handler,
) -> None:
    """Show the sheet of `tiles` (one for each row and column, row by row) over `picture` (C, H, W) in [0, 1].

    `controls` are what is chosen: show (signed, magnitude), scale (map, method), overlay (0 to 100), outline, view
    (map, mask), keep (1 to 100), method, target. `on_set(changes)` is called with those that were changed. `words`
    holds `caption` and `convention`.
    """
    mount(
        _component,
        payload(columns, rows, tiles, picture=picture, controls=controls, words=words),
        key=key,
        set=on_set,
    )


def payload(
    columns: Sequence[Column],
    rows: Sequence[Row],
    tiles: Sequence[Tile],
    *,
    picture: Floats,
    controls: Mapping[str, Any],
    words: Mapping[str, str],
) -> bytes:
    """The sheet as the browser reads it."""
    planes, entries = [], []
    for tile in tiles:
        plane = None if tile.values is None else leading(tile.values)
        entries.append(_entry(tile, plane, len(planes)))
        if plane is not None:
            planes.append(_steps(plane))
    large = next((tile for tile in tiles if _is_chosen(tile, controls) and tile.values is not None), None)
    header = {
        "width": picture.shape[2], "height": picture.shape[1], "channels": picture.shape[0],
        "methods": [vars(column) for column in columns], "targets": [vars(row) for row in rows], "maps": entries,
        "controls": dict(controls), **words,
    }  # fmt: skip
    arrays = {
        "picture": np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8),
        "maps": np.concatenate(planes).view(np.uint8) if planes else np.zeros(0, np.uint8),
    }
    if large is not None and large.values is not None and large.values.shape[0] > 1:
        header["detail"] = {"method": large.method, "target": large.target, "channels": large.values.shape[0]}
        arrays["detail"] = large.values.astype(np.float32)
    return pack(header, **arrays)


def _is_chosen(tile: Tile, controls: Mapping[str, Any]) -> bool:
    return (tile.method, tile.target) == (controls["method"], controls["target"])


def _entry(tile: Tile, plane: Floats | None, slot: int) -> dict[str, Any]:
    words = {
        "fact": tile.fact,
        "sentences": tile.sentences,
        "blank": tile.blank,
        "alt": tile.alt,
        "progress": tile.progress,
    }
    place = {"method": tile.method, "target": tile.target, "slot": None, "peak": 0.0, "high": 0.0}
    if plane is not None:
        high = max(0.0, float(plane.max()))
        place |= {"slot": slot, "peak": float(np.abs(plane).max()), "high": high}
    return place | words


def _steps(plane: Floats) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A map as 16-bit steps of its strongest value."""
    peak = float(np.abs(plane).max())
    return np.rint(plane / peak * _FULL).astype(np.int16).ravel() if peak else np.zeros(plane.size, np.int16)
