"""A colour bar in words and numbers, for pictures that do not carry one of their own."""

from __future__ import annotations

from cnnviz.figures.scales import Scale
from dashboard.components.kit import define, mount, pack

_component = define("legend")


def legend(words: str, scale: Scale, *, key: str, note: str = "", nan: int = 0, width: int = 230) -> None:
    """What the colours mean: `words` (quantity, unit or "no unit"; may mark words as `**bold**`), bar, limits.

    `note` stands below. `nan`: how many values are not a number; their colour is shown when there are any.
    """
    low, high = scale.of(0)
    header = {"words": words, "palette": scale.palette, "low": low, "high": high, "note": note, "nan": nan}
    mount(_component, pack({**header, "width": width}), key=key)
