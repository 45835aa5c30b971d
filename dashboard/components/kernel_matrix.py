"""The kernels of one convolution, and beside them one kernel: its numbers, its spectrum, where it stands in the layer.

A layer whose filters see one input each (or three colours) is a grid of tiles; any other is a matrix, a row for each
filter, a column for each input. The surprise: kernels travel as colour indices and only the chosen one as numbers,
because a wide layer has millions of weights and a person reads nine of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import pixels, scales
from cnnviz.figures.scales import Scale
from dashboard.components.kit import Handler, define, mount, pack

_component = define("kernel_matrix")


class Kernel(NamedTuple):
    """One kernel: its filter (output channel) and the input channel it looks at."""

    filter: int
    input: int


@dataclass(frozen=True)
class Tiles:
    """What is drawn. `values` (filters, inputs, rows, columns) are the kernels on this page, in the order drawn;
    `filters` and `inputs` their numbers. `colours` (filters, rows, columns, 3) replaces them where three channels are
    drawn as one colour. `strengths`, `dead` and `twins` (number of the other filter, or −1) say of each filter
    what stands beside it.
    """

    values: NDArray[np.floating[Any]]
    filters: Sequence[int]
    inputs: Sequence[int]
    scale: Scale
    strengths: NDArray[np.floating[Any]]
    dead: Sequence[bool]
    twins: Sequence[int]
    colours: NDArray[np.uint8] | None = None
    grid: bool = False


@dataclass(frozen=True)
class Readout:
    """The chosen kernel: its numbers, spectrum, facts and, for three colours, all three of them."""

    kernel: Kernel
    title: str
    numbers: NDArray[np.floating[Any]]
    spectrum: NDArray[np.floating[Any]]
    wave: str
    facts: Sequence[tuple[str, str]]
    limit: float
    parts: Sequence[tuple[str, int]] = ()
    actions: Sequence[dict[str, Any]] = ()
    histogram: dict[str, Any] | None = field(default=None)


def kernel_matrix(
    tiles: Tiles,
    readout: Readout,
    *,
    key: str,
    layer: str,
    legend: str,
    note: str,
    caption: str,
    page: tuple[int, int] = (0, 1),
    page_words: str = "",
    on_choose: Handler | None = None,
    on_action: Handler | None = None,
    on_page: Handler | None = None,
) -> None:
    """Draw the kernels and the readout; handlers run before the page runs again.

    `on_choose({"filter", "input"})`, `on_action(name)`, `on_page(number)` of the `page` (number, how many).
    """
    header = {
        **_described(tiles), "layer": layer, "legend": legend, "note": note, "caption": caption,
        "page": list(page), "pageWords": page_words, "readout": _read_out(readout),
    }  # fmt: skip
    arrays = _arrays(tiles) | {"spectrum": _levels(readout.spectrum)}
    mount(_component, pack(header, **arrays), key=key, choose=on_choose, action=on_action, page=on_page)


def _described(tiles: Tiles) -> dict[str, Any]:
    count, inputs, height, width = tiles.values.shape
    shared = np.ndim(tiles.scale.high) == 0
    return {
        "grid": tiles.grid, "filters": [int(f) for f in tiles.filters], "inputs": [int(i) for i in tiles.inputs],
        "size": [height, width], "colour": tiles.colours is not None, "palette": tiles.scale.palette,
        "top": float(tiles.scale.high) if shared else None, "nan": scales.count_nan(tiles.values),
        "strengths": [_number(float(s)) for s in tiles.strengths], "dead": [bool(d) for d in tiles.dead],
        "twins": [int(t) for t in tiles.twins], "columns": inputs if not tiles.grid else 1, "count": count,
    }  # fmt: skip


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def _arrays(tiles: Tiles) -> dict[str, NDArray[Any] | bytes]:
    if tiles.colours is not None:
        return {"colours": tiles.colours}
    flat = tiles.values.reshape(-1, *tiles.values.shape[2:])
    index = scales.indices(flat, tiles.scale).reshape(-1, tiles.values.shape[3])
    index[1:] -= index[:-1].copy()  # as the kit's `inflate` undoes it
    return {"index": pixels.deflate(index)}


def _levels(spectrum: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return scales.indices(spectrum[None], scales.scale_for(spectrum[None], signed=False))[0]


def _read_out(readout: Readout) -> dict[str, Any]:
    height, width = readout.numbers.shape
    return {
        "filter": readout.kernel.filter, "input": readout.kernel.input, "title": readout.title,
        "numbers": [_exact(float(v)) for v in readout.numbers.flat], "height": height, "width": width,
        "limit": _number(readout.limit) or 0, "wave": readout.wave, "facts": [list(row) for row in readout.facts],
        "parts": [list(part) for part in readout.parts], "actions": list(readout.actions),
        "histogram": readout.histogram, "side": int(readout.spectrum.shape[0]),
    }  # fmt: skip


def _exact(value: float) -> float | None:
    """JSON has no NaN: it travels as null, and the browser says "NaN"."""
    return value if np.isfinite(value) else None
