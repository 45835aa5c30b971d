"""All maps of a layer at once, and beside them one cell: its value, and what it sees of the picture.

Hovering, choosing and moving happen in the browser, without a run of the page. The surprise: small layers travel as
numbers, so every value under the pointer is exact; a layer of more than `EXACT_CELLS` cells travels as colour indices
(a hundred times too many numbers for a classroom's network), its hovered values read "about", and the chosen cell's
exact value comes from Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import pixels, scales
from dashboard.components.kit import define, mount, pack
from dashboard.components.ruled_picture import packed_picture

EXACT_CELLS = 40_000
LARGEST_SIDE = 112  # CSS pixels; larger maps are shrunk by a whole number, and the plate says so
_component = define("map_grid")


class Cell(NamedTuple):
    """One cell of one channel; row and column are 0 for a layer without rows and columns."""

    channel: int
    row: int
    column: int


@dataclass(frozen=True)
class Maps:
    """What a grid shows of one layer on one picture.

    `values` (C, H, W), or (C,) for units. `order`: the channels to show, first first. `rows` (H, 2) and `columns`
    (W, 2): which rows and columns of the picture a cell sees, half-open (see `field_of`). `dead` (C,): zero on every
    image of a data set. `under` (C,): the numbers under the maps, instead of their highest values. `other`: the same
    cells before (or after) the activation, named by `other_words`.
    """

    layer: str
    values: NDArray[np.float32]
    scale: scales.Scale
    order: Sequence[int]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    words: str = "value"
    other: NDArray[np.float32] | None = None
    other_words: str = ""
    dead: NDArray[np.bool_] | None = None
    under: NDArray[np.floating[Any]] | None = None

    @property
    def units(self) -> bool:
        return self.values.ndim == 1

    @property
    def shrunk_by(self) -> int:
        """How many cells, across and down, one drawn square stands for."""
        return 1 if self.units else -(-max(self.values.shape[1:]) // LARGEST_SIDE)

    @property
    def across(self) -> int:
        """How many units stand in one row."""
        count = len(self.values)
        return min(count, 32 if count <= 512 else 64 if count <= 4096 else 128)

    def strongest(self) -> Cell | None:
        """The highest cell of the first map shown; None where nothing is shown."""
        if not len(self.order):
            return None
        if self.units:
            return Cell(int(self.order[int(np.nanargmax(self.values[np.asarray(self.order)]))]), 0, 0)
        return self.top_of(int(self.order[0]))

    def top_of(self, channel: int) -> Cell:
        """The highest cell of one map."""
        if self.units:
            return Cell(channel, 0, 0)
        values = np.nan_to_num(self.values[channel], nan=-np.inf)
        return Cell(channel, *(int(i) for i in np.unravel_index(values.argmax(), values.shape)))

    def at(self, cell: Cell) -> float:
        return float(self.values[cell.channel] if self.units else self.values[cell])

    def snapped(self, cell: Cell) -> Cell:
        """The strongest cell of the drawn square that `cell` belongs to."""
        by = self.shrunk_by
        if by == 1:
            return cell
        top, left = cell.row // by * by, cell.column // by * by
        block = np.abs(np.nan_to_num(self.values[cell.channel, top : top + by, left : left + by]))
        row, column = np.unravel_index(block.argmax(), block.shape)
        return Cell(cell.channel, top + int(row), left + int(column))


def field_of(layer: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The rows (H, 2) and columns (W, 2) of the picture that a `cnnviz.Layer`'s cells see, half-open."""
    box = layer.receptive_field.box
    height, width = layer.shape[1:] if layer.spatial else (1, 1)
    rows = np.array([box(row, 0)[0::2] for row in range(height)], np.int32)
    columns = np.array([box(0, column)[1::2] for column in range(width)], np.int32)
    return rows, columns


def map_grid(
    maps: Maps,
    image: NDArray[np.floating[Any]],
    *,
    key: str,
    legend: str,
    note: str = "",
    caption: str = "",
    chosen: Cell | None = None,
    actions: Sequence[dict[str, Any]] = (),
    histogram: dict[str, Any] | None = None,
    on_choose: Callable[[Cell], None] | None = None,
    on_action: Callable[[str, Cell], None] | None = None,
) -> dict[str, Any]:
    """All maps of a layer, eight to a row, with a readout of the cell under the pointer beside them.

    `image` (C, H, W) in [0, 1] is the picture that the receptive field is drawn on. `legend` says what the colours
    are; `note` what stands under each map; `caption` may mark words as `**bold**`. `chosen` is the pinned cell, by
    default the strongest of the first map. `actions`: buttons under the readout, each `{"name", "text", "filled"}`.
    `histogram`: what `histogram.binned` gives.

    A click or Enter pins a cell: `on_choose(cell)`. A button: `on_action(name, cell)`. Both run before the page runs
    again. Gives {"choose": Cell | None, "action": {"name", ...} | None} for this run.
    """
    chosen = chosen or maps.strongest()
    header = {
        **_described(maps),
        "legend": legend, "note": note, "caption": caption, "actions": list(actions), "histogram": histogram,
        "chosen": _exact(maps, chosen),
    }  # fmt: skip
    picture, arrays = packed_picture(image)
    data = pack({**header, "picture": picture}, **_arrays(maps), **arrays)

    def choose(value: dict[str, int]) -> None:
        if on_choose:
            on_choose(maps.snapped(_cell(value)))

    def act(value: dict[str, Any]) -> None:
        if on_action:
            on_action(value["name"], maps.snapped(_cell(value)))

    result = mount(_component, data, key=key, choose=choose, action=act)
    picked = result["choose"]
    return {**result, "choose": maps.snapped(_cell(picked)) if picked else None}


def _cell(value: dict[str, int]) -> Cell:
    return Cell(int(value["channel"]), int(value["row"]), int(value["column"]))


def _described(maps: Maps) -> dict[str, Any]:
    channels = np.asarray(maps.order, dtype=int)
    values = maps.values.reshape(len(maps.values), -1)[channels]
    finite = np.where(np.isfinite(values), values, -np.inf)
    limits = [maps.scale.of(int(channel)) for channel in channels] or [maps.scale.of(0)]
    return {
        "layer": maps.layer, "units": maps.units, "words": maps.words, "otherWords": maps.other_words,
        "palette": maps.scale.palette, "shared": len(set(limits)) == 1, "limits": limits, "by": maps.shrunk_by,
        "channels": channels.tolist(), "count": len(maps.values), "across": maps.across,
        "tops": [round(float(top), 6) if np.isfinite(top) else None for top in finite.max(axis=1, initial=-np.inf)],
        "above": (values > 0).sum(axis=1).tolist(), "nan": scales.count_nan(maps.values),
        "under": None if maps.under is None else [float(number) for number in maps.under[channels]],
        "dead": [] if maps.dead is None else np.flatnonzero(maps.dead[channels]).tolist(),
    }  # fmt: skip


def _exact(maps: Maps, cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    other = None if maps.other is None else float(maps.other[cell.channel] if maps.units else maps.other[cell])
    return {**cell._asdict(), "value": _number(maps.at(cell)), "other": _number(other)}


def _number(value: float | None) -> float | None:
    """JSON has no NaN: it travels as null, and the browser says "not a number"."""
    return None if value is None or not np.isfinite(value) else value


def _arrays(maps: Maps) -> dict[str, NDArray[Any] | bytes]:
    fields = {"rows": maps.rows, "columns": maps.columns}
    channels = np.asarray(maps.order, dtype=int)
    if maps.units:
        exact = {"values": maps.values} if maps.other is None else {"values": maps.values, "other": maps.other}
        return {**fields, **exact, "size": np.array([1, len(maps.values)], np.int32)}
    values = maps.values[channels]
    if values.size <= EXACT_CELLS and maps.shrunk_by == 1:
        exact = {"values": values} if maps.other is None else {"values": values, "other": maps.other[channels]}
        return {**fields, **exact, "size": np.array(values.shape[1:], np.int32)}
    drawn = pixels.shrink(values, maps.shrunk_by)
    scale = maps.scale if np.ndim(maps.scale.high) == 0 else _ordered(maps.scale, channels)
    index = scales.indices(drawn, scale).reshape(-1, drawn.shape[2])
    index[1:] -= index[:-1].copy()
    return {**fields, "index": pixels.deflate(index), "size": np.array(drawn.shape[1:], np.int32)}


def _ordered(scale: scales.Scale, channels: NDArray[np.int_]) -> scales.Scale:
    return replace(scale, low=np.asarray(scale.low)[channels], high=np.asarray(scale.high)[channels])
