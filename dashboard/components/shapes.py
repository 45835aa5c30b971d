"""How large the result is, for one layer and for a chain; a puzzle about it; and how many weights it takes.

Everything is worked out in the browser, and each figure's settings are one short text for the address. The surprise:
the four figures are one component with a `kind`, because they share the arithmetic of the window.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dashboard.components.kit import Handler, define, mount, pack

_component = define("shapes")
SIZE, SHARE, NOTES = "28_5_1_2_1_0", "100_5_1_1", "1_28~c_5_1_2_1_0_32~p_2_2_0_1_0_0~c_5_1_2_1_0_64~p_2_2_0_1_0_0"
_SHAPES = {
    "size": r"\d{1,3}(_\d{1,2}){4}_[01]",
    "chain": r"\d{1,4}_\d{1,3}(~[cp](_\d{1,2}){4}_[01]_\d{1,4}){1,14}",
    "share": r"\d{1,4}_\d{1,2}(_\d{1,4}){2}",
}


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
