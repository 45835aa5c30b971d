"""The row of layers that every page about one layer begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.components.kit import Handler, define, mount, pack

_component = define("layer_stepper")


def layer_stepper(
    layers: Sequence[Any],
    current: str,
    *,
    key: str,
    label: str = "Layer",
    on_choose: Handler | None = None,
) -> str:
    """A stepper over layers in the order they run; gives the name just chosen, or `current`.

    `layers`: objects with `.name` and `.shape` (a `cnnviz.Layer`). Arrow keys step. `on_choose(name)` is called before
    the page runs again: the place to write the choice into session state.
    """
    stops = [{"name": layer.name, **_size(layer)} for layer in layers]
    return stepper(stops, current, key=key, label=label, on_choose=on_choose)


def stepper(
    stops: Sequence[dict[str, Any]], current: str, *, key: str, label: str, on_choose: Handler | None = None
) -> str:
    """A row of stops between hairlines, one of them current: layers, parts of a lesson, epochs.

    Each stop has `name` (what is returned); optional `size` and `unit` under it ("32", "channels"; the unit is dropped
    where space is short), `letter` before it, and `text` to show instead of the name (then in the body's font).
    """
    data = pack({"label": label, "stops": list(stops), "current": current})
    chosen = mount(_component, data, key=key, choose=on_choose)["choose"]
    return current if chosen is None else str(chosen)


def _size(layer: Any) -> dict[str, Any]:
    return {"size": f"{layer.shape[0]:,}", "unit": "channels" if len(layer.shape) == 3 else "units"}
