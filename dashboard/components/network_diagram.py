"""A network as it runs: a silhouette that is also the layer picker, a table of its layers, one layer in detail.

In the silhouette a box is as high as the layer's maps have rows and as wide as it has channels, both in steps of a
factor of two, so that the usual trade (fewer positions, more channels) can be seen. Large networks fold into blocks;
folding and hovering happen in the browser, choosing a layer asks Python for its facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.components.kit import Handler, define, mount, pack
from dashboard.components.ruled_picture import packed_picture

_component = define("network_diagram")
FAMILIES = ("weights", "norm", "activation", "pooling", "join", "other")


@dataclass(frozen=True)
class Row:
    """One layer: `family` is one of `FAMILIES`, `side` the larger of its maps' rows and columns (0 for units), `sees`
    the receptive field in words."""

    name: str
    kind: str
    family: str
    shape: tuple[int, ...]
    side: int
    parameters: int
    macs: int
    sees: str


@dataclass(frozen=True)
class Detail:
    """The chosen layer: facts, settings as code, and the box (top, left, bottom, right) that its middle cell sees."""

    title: str
    settings: str
    facts: Sequence[tuple[str, str]]
    box: tuple[int, int, int, int]
    box_words: str
    actions: Sequence[dict[str, Any]] = ()


def network_diagram(
    rows: Sequence[Row],
    blocks: Sequence[tuple[str, int]],
    shortcuts: Sequence[tuple[int, int]],
    image: NDArray[np.floating[Any]],
    detail: Detail,
    *,
    key: str,
    chosen: str,
    fold: bool,
    outputs: str,
    legend: str,
    caption: str,
    on_choose: Handler | None = None,
    on_action: Handler | None = None,
) -> None:
    """Draw silhouette, table and detail; handlers run before the page runs again.

    `blocks`: (name, how many rows) in order. `shortcuts`: pairs of places in `rows` (−1 is the image) where a later
    layer reads an earlier one. `image` (C, H, W) in [0, 1]. `fold` starts with the blocks closed, except the one with
    the chosen layer. `outputs` names what comes out at the end. `on_choose(name)`, `on_action(name)`.
    """
    picture, arrays = packed_picture(image, 224)
    header = {
        "rows": [
            [row.name, row.kind, row.family, list(row.shape), row.side, row.parameters, row.macs, row.sees]
            for row in rows
        ],
        "blocks": [list(block) for block in blocks], "shortcuts": [list(pair) for pair in shortcuts],
        "picture": picture, "imageSide": int(max(image.shape[1:])), "chosen": chosen, "fold": fold,
        "outputs": outputs, "legend": legend, "caption": caption,
        "detail": {
            "title": detail.title, "settings": detail.settings, "facts": [list(row) for row in detail.facts],
            "box": list(detail.box), "boxWords": detail.box_words, "actions": list(detail.actions),
        },
    }  # fmt: skip
    mount(_component, pack(header, **arrays), key=key, choose=on_choose, action=on_action)
