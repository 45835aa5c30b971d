"""How large the result is, for one layer and for a chain; a puzzle about it; and how many weights it takes.

Everything is worked out in the browser, and each figure's settings are one short text for the address. The surprise:
the four figures are one component with a `kind`, because they share the arithmetic of the window.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from torch import nn

from cnnviz import Layer, Model
from dashboard.components.kit import Handler, define, mount, pack

_component = define("shapes")
SIZE, SHARE, NOTES = "28_5_1_2_1_0", "100_5_1_1", "1_28~c_5_1_2_1_0_32~p_2_2_0_1_0_0~c_5_1_2_1_0_64~p_2_2_0_1_0_0"
_SHAPES = {
    "size": r"\d{1,3}(_\d{1,2}){4}_[01]",
    "chain": r"\d{1,4}_\d{1,3}(~[cp](_\d{1,2}){4}_[01]_\d{1,4}){1,14}",
    "share": r"\d{1,4}_\d{1,2}(_\d{1,4}){2}",
}
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def shapes(kind: str, text: str, *, key: str, on_change: Handler | None = None, own: str = "") -> None:
    """Show one figure: "size", "chain", "puzzle" or "share", with the settings `text`.

    `own` is the chain of the open network, offered beside that of the notes; `on_change(text)` reports new settings.
    """
    first = {"size": SIZE, "chain": own or NOTES, "share": SHARE}.get(kind, "")
    mount(_component, pack({"kind": kind, "text": text, "first": first, "notes": NOTES, "own": own}), key=key,
          change=on_change)  # fmt: skip


def settings(kind: str) -> Callable[[str], str]:
    """How the settings of a figure are read from the address; `ValueError` for what are none."""

    def read(text: str) -> str:
        if not re.fullmatch(_SHAPES[kind], text):
            raise ValueError(f"“{text}” is not a {kind}")
        return text

    return read


def chain_of(model: Model) -> str:
    """The square convolutions and poolings of a network as settings; "" where it is no plain chain of them.

    A network is taken for a chain when the arithmetic gives the size that each of these layers really had.
    """
    channels, *sides = model.size
    rows: list[str] = []
    length = sides[0]
    for layer in model.layers:
        if not isinstance(layer.module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            continue
        moves = list(_moves(layer))
        if len(moves) != 5 or len(rows) >= 14:
            return ""
        size, stride, padding, dilation, ceil = moves
        room = length + 2 * padding - dilation * (size - 1) - 1
        length = (-(-room // stride) if ceil else room // stride) + 1
        if layer.shape[1:] != (length, length):
            return ""
        kind, out = ("p", 0) if isinstance(layer.module, _POOLS) else ("c", layer.channels)
        rows.append("_".join(map(str, (kind, *moves, out))))
    return "~".join((f"{channels}_{sides[0]}", *rows)) if rows and sides[0] == sides[1] else ""


def _moves(layer: Layer) -> Iterator[int]:
    """Size, stride, padding, dilation and ceil mode of a square window; fewer where it is not square."""
    for name, default in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        value = getattr(layer.module, name, default)
        sides = value if isinstance(value, tuple) else (value, value)
        if isinstance(value, str) or len(set(sides)) != 1:
            return
        yield int(sides[0])
    yield int(getattr(layer.module, "ceil_mode", False))
