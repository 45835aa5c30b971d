"""Pick a neuron from a layer's maps; below, what three rules send back from it to the picture.

The surprise: the picker and the results are one component, because the brackets on the pictures, the marked cell and
the words under them are one statement about one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures.scales import Floats, Scale
from dashboard.components.kit import Handler, define, mount, pack

MOST_MAPS = 32
_component = define("neuron_picker")


@dataclass(frozen=True)
class Maps:
    """The maps of a layer: `values` (C, H, W), their scale; `chosen` is (channel, row, column), row and column None
    for a whole channel, or None when the target is not in this layer."""

    layer: str
    values: Floats
    scale: Scale
    chosen: tuple[int, int | None, int | None] | None

    def shown(self) -> list[int]:
        """The strongest channels, the chosen one always among them."""
        order = np.argsort(-self.values.reshape(len(self.values), -1).max(axis=1), kind="stable")[:MOST_MAPS].tolist()
        if self.chosen is not None and self.chosen[0] not in order:
            order[-1] = self.chosen[0]
        return order


@dataclass(frozen=True)
class Panel:
    """What one rule gave: title, the rule in words (may mark **bold**), one short fact, alt text, why it is blank."""

    title: str
    rule: str
    fact: str
    alt: str
    blank: str = ""


def neuron_picker(
    maps: Maps | None,
    results: Sequence[tuple[Panel, Floats]],
    *,
    picture: Floats,
    box: tuple[int, int, int, int] | None,
    controls: Mapping[str, Any],
    words: Mapping[str, Any],
    key: str,
    on_choose: Handler,
    on_act: Handler,
    on_set: Handler,
) -> None:
    """`maps` None: the layer has no rows and columns. `results`: panels with values (C, H, W) in pixels of `picture`.

    `box` is the receptive field (top, left, bottom, right) or None where it is the whole picture. `controls`: show
    (signed, colour, magnitude), crop. `words`: caption, hint, pictureWords, pictureAlt, facts (pairs), actions
    ({"name", "text"}). `on_choose({channel, row, column})`, `on_act({name})`, `on_set(changes)`.
    """
    header = {
        **_maps_header(maps),
        "height": picture.shape[1], "width": picture.shape[2], "channelsIn": picture.shape[0], "box": box,
        "panels": [{**asdict(panel), "peak": float(np.abs(values).max(initial=0.0))} for panel, values in results],
        "controls": dict(controls), **words,
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        "picture": np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8),
        "results": np.concatenate([_planes(values, picture.shape[0]) for _, values in results]),
    }
    if maps is not None:
        arrays["maps"] = maps.values[maps.shown()].astype(np.float32)
    mount(_component, pack(header, **arrays), key=key, choose=on_choose, act=on_act, set=on_set)


def _maps_header(maps: Maps | None) -> dict[str, Any]:
    if maps is None:
        return {"layer": "", "channels": [], "tops": [], "shape": [0, 0, 0], "chosen": None}
    shown = maps.shown()
    low, high = maps.scale.of(0)
    chosen = None if maps.chosen is None else dict(zip(("channel", "row", "column"), maps.chosen, strict=True))
    return {
        "layer": maps.layer, "channels": shown, "shape": list(maps.values.shape), "chosen": chosen, "low": low,
        "high": high, "palette": maps.scale.palette, "tops": [float(maps.values[channel].max()) for channel in shown],
    }  # fmt: skip


def _planes(values: Floats, channels: int) -> NDArray[np.float32]:
    """A map as many channels as the picture has, so that all results are one array."""
    return np.broadcast_to(values, (channels, *values.shape[1:])).astype(np.float32)
