"""A patch one moves over the picture by hand, and what the network says with and without it.

Dragging reports the patch ("move") as fast as the page answers, never faster: the next report waits for the answer to
the last. The surprise: the patch follows the pointer at once; only the bars are as late as the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnviz.figures.scales import Floats
from dashboard.components.kit import Handler, define, mount, pack
from dashboard.components.ruled_picture import packed_picture
from dashboard.components.sweep_panels import levels_of

_component = define("patch")
Box = tuple[int, int, int, int]


def patch(
    picture: Floats,
    fill: Floats,
    *,
    box: Box,
    rows: Sequence[Mapping[str, Any]],
    chosen: int | None,
    words: Mapping[str, Any],
    key: str,
    on_move: Handler,
) -> None:
    """Show `picture` (C, H, W) with the patch `box` (top, left, bottom, right) drawn as `fill` (C, H, W) really is.

    `rows` are the classes: index, name, before and after (probabilities). `words` holds `answer` (name, probability),
    `facts` (pairs), `note` and `alt`. `on_move({"box": [...]})` is called with each patch that is asked about.
    """
    small, arrays = packed_picture(picture)
    header = {
        "picture": small,
        "box": list(map(int, box)),
        "height": picture.shape[1],
        "width": picture.shape[2],
        "channels": picture.shape[0],
        "rows": [dict(row) for row in rows],
        "chosen": chosen,
        **words,
    }
    blocks = {"png": arrays["png"], "fill": levels_of(fill)}
    mount(_component, pack(header, **blocks), key=key, move=on_move)


def class_rows(names: Sequence[str], whole: Floats, hidden: Floats, always: Sequence[int]) -> list[dict[str, Any]]:
    """The classes worth a row: all of up to ten; of more, `always` and the most probable of either, in class order."""
    count = len(names)
    if count <= 10:
        shown: list[int] = list(range(count))
    else:
        ranked = np.argsort(-np.maximum(whole, hidden), kind="stable")[:10].tolist()
        shown = sorted({*always, *ranked[: 10 - len(set(always) - set(ranked))]})
    return [{"index": i, "name": names[i], "before": float(whole[i]), "after": float(hidden[i])} for i in shown]
