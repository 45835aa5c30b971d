"""Every layer's answer to the picture: all channels in one grid, each cell with its value and what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from PIL import Image

from cnnviz import Channel, Layer, Model, Neuron
from cnnviz.figures import maps as orders
from cnnviz.figures import numbers, scales
from cnnviz.figures.sheet import Key, captioned, labelled_mosaic
from dashboard import cache, choices, frame, gallery, layers, silence, views
from dashboard.choices import Choice
from dashboard.components import Cell, Maps, binned, field_of, map_grid
from dashboard.views import view

HIGHEST, CHANNEL, MEAN, DIFFERENCE = "highest value", "channel", "mean", "difference"
ORDERS = (HIGHEST, CHANNEL, MEAN, DIFFERENCE)
SCALES: tuple[scales.Per, ...] = ("map", "layer", "network")
MANY_LAYERS = 14  # beyond this a menu stands beside the stepper
ABOUT = frame.About(
    "A feature map is what one channel of a layer gives for a picture: a number for each position. It is taken as it "
    "is computed, at the moment it is computed; a later step that overwrites it in place does not reach it. "
    "The pixels that can change a cell are its receptive field.",
    formula="A_{k} = ReLU(Σ_{c} W_{kc} ∗ A_{c} + b_{k})",
    caveats=(
        "A high value means that the channel’s pattern is there, not that the answer depends on it: cover it and see "
        "(Occlusion).",
        "A map that is 0 here may answer to another picture. Only a channel that is 0 on every picture tried is called "
        "dead, and the number of pictures is stated.",
    ),
    paper="Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014",
)


@dataclass(frozen=True)
class Shown:
    """One layer on one picture, and how it is to be shown."""

    choice: Choice
    layer: Layer
    order: str
    per: scales.Per
    hide: bool
    against: gallery.Picture | None = None

    @property
    def model(self) -> Model:
        return self.choice.model

    @cached_property
    def partner(self) -> Layer | None:
        """The other side of the activation."""
        return layers.partner(self.model, self.layer)

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """(C, H, W), or (C,) for units and for maps of a single cell."""
        return _output(self.choice, self.layer)

    @property
    def has_maps(self) -> bool:
        return self.values.ndim == 3

    @cached_property
    def distances(self) -> NDArray[np.floating[Any]] | None:
        """How differently each channel answers to the other picture, (C,)."""
        if self.against is None:
            return None
        image = cache.result(
            lambda: self.model.prepare(self.against.pixels), "image", self.against.digest, self.model.size,
            self.model.resize,
        )  # fmt: skip
        others = cache.outputs(self.model, image, (self.layer.name,))[self.layer.name]
        return orders.difference(self.values, others.reshape(self.values.shape))

    @cached_property
    def scale(self) -> scales.Scale:
        per = "layer" if self.values.ndim == 1 and self.per == "map" else self.per
        top = _strongest_of_network(self.choice, self.layer.signed) if per == "network" else None
        return scales.scale_for(self.values, signed=self.layer.signed, per=per, network=top)

    @cached_property
    def silent(self) -> NDArray[np.bool_]:
        """Channels that are 0 everywhere on this picture, (C,)."""
        return np.asarray(~self.values.reshape(len(self.values), -1).any(axis=1))

    @cached_property
    def ordered(self) -> NDArray[np.intp]:
        keys = {
            CHANNEL: lambda: -np.arange(len(self.values)),
            MEAN: lambda: orders.per_channel(self.values, np.mean),
            DIFFERENCE: lambda: self.distances,
        }
        key = keys.get(self.order, lambda: orders.per_channel(self.values))()
        channels = orders.ranked(orders.per_channel(self.values) if key is None else key)
        return channels[~self.silent[channels]] if self.hide else channels

    @cached_property
    def words(self) -> tuple[str, str]:
        """What a cell's value and its value at the other side of the activation are called."""
        if self.partner is None:
            return "value", ""
        name = layers.activation(self.layer)
        if name:
            return f"value after {name}", f"before {name}"
        name = layers.activation(self.partner)
        return f"value before {name}", f"after {name}"


@view("Feature maps", section="See", order=30, lede="What each channel answers to this picture.")
def feature_maps(choice: Choice) -> None:
    """Stepper, controls, grid."""
    layer = layers.chosen_layer(choice.model)
    layers.stepper(choice.model, layer)
    shown = _controls(choice, layer)
    content = {
        "png": (lambda: _png(shown)) if len(shown.ordered) else None,
        "npz": lambda: {"maps": shown.values, "order": shown.ordered, "low": shown.scale.low, "high": shown.scale.high},
    }
    with frame.plate(
        _title(shown), _facts(shown), about=ABOUT, python=_python(shown), layer=layer.name, scale=shown.per, **content
    ):
        _grid(shown)


def _controls(choice: Choice, layer: Layer) -> Shown:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="cnnviz-controls"):
        if len(choice.model.layers) > MANY_LAYERS:
            _layer_menu(choice.model, layer)
        _sides(choice.model, layer)
        order = _segments("Order", ORDERS, HIGHEST, "order")
        per = _segments("Scale", SCALES, "layer", "scale")
        against = _other_picture(choice) if order == DIFFERENCE else None
        hide = st.checkbox("Hide zero maps", key="hide", bind="query-params", width="content")
    return Shown(choice, layer, order, per, hide, against)


def _segments(label: str, options: tuple[Any, ...], default: str, key: str) -> Any:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
        st.html(f'<span style="font-size:0.875rem;opacity:0.76">{label}</span>', width="content")
        return st.segmented_control(
            label, options, default=default, key=key, bind="query-params", required=True, width="content",
            label_visibility="collapsed",
        )  # fmt: skip


def _layer_menu(model: Model, layer: Layer) -> None:
    names = [each.name for each in model.layers]
    key = f"layer-menu:{layer.name}"
    st.selectbox(
        "Layer", names, index=names.index(layer.name), key=key, label_visibility="collapsed", width=190,
        on_change=lambda: layers.choose_layer(st.session_state[key]),
    )  # fmt: skip


def _sides(model: Model, layer: Layer) -> None:
    """Before or after the activation: a step to the neighbouring layer."""
    other = layers.partner(model, layer)
    if other is None:
        return
    after = layers.activation(layer)
    name = after or layers.activation(other)
    sides = {f"before {name}": other if after else layer, f"after {name}": layer if after else other}
    here = f"{'after' if after else 'before'} {name}"
    key = f"side:{layer.name}"
    st.segmented_control(
        "Side of the activation", list(sides), default=here, key=key, required=True, label_visibility="collapsed",
        width="content", on_change=lambda: layers.choose_layer(sides[st.session_state[key]].name),
    )  # fmt: skip


def _other_picture(choice: Choice) -> gallery.Picture:
    names = [name for name in gallery.names_for(choice.model.size) if choice.picture.title not in name]
    name = st.selectbox(
        "compared with", names, key="compare", bind="query-params", width=230,
        label_visibility="collapsed",
    )  # fmt: skip
    return gallery.from_gallery(name)


# The grid


def _grid(shown: Shown) -> None:
    rows, columns = field_of(shown.layer)
    other = _output(shown.choice, shown.partner) if shown.partner else None
    tried, dead = _dead(shown)
    maps = Maps(
        shown.layer.name, shown.values, shown.scale, shown.ordered, rows, columns,
        words=shown.words[0], other=other, other_words=shown.words[1], under=shown.distances,
        dead=dead if tried[0] >= silence.ENOUGH else None,
    )  # fmt: skip
    map_grid(
        maps,
        shown.choice.image[0].numpy(),
        key="grid",
        legend=_legend(shown),
        note=_note(shown, maps),
        caption=_caption(shown, maps, tried, dead),
        chosen=_cell(shown, maps),
        actions=_actions(shown),
        histogram=cache.result(lambda: binned(shown.values), "histogram", shown.values),
        on_choose=_choose,
        on_action=lambda name, cell: _act(shown, name, cell),
    )
    _go_to_the_filter()


def _cell(shown: Shown, maps: Maps) -> Cell | None:
    """The cell in the address ("19,10,8", or the strongest of "19"), when this layer has it."""
    try:
        channel, *place = (int(part) for part in st.query_params["cell"].split(","))
        cell = Cell(channel, *place) if place else maps.top_of(channel)
    except (KeyError, ValueError, TypeError, IndexError):
        return None
    size = (*shown.values.shape, 1, 1)[:3]
    inside = all(0 <= place < side for place, side in zip(cell, size, strict=True))
    return cell if inside and cell.channel in maps.order else None


def _choose(cell: Cell) -> None:
    st.query_params["cell"] = ",".join(str(place) for place in cell)


def _act(shown: Shown, name: str, cell: Cell) -> None:
    _choose(cell)
    if name == "target":
        choices.aim(_target(shown.layer, cell))
    else:
        st.session_state["cnnviz:open-filter"] = (_kernel_of(shown), cell.channel)


def _target(layer: Layer, cell: Cell) -> Channel | Neuron:
    return Neuron(layer.name, *cell) if layer.spatial else Channel(layer.name, cell.channel)


def _go_to_the_filter() -> None:
    if goal := st.session_state.pop("cnnviz:open-filter", None):
        frame.go("filters", layer=goal[0], kernel=goal[1])


def _actions(shown: Shown) -> list[dict[str, Any]]:
    actions = [{"name": "target", "text": "Make it the target", "filled": True}]
    if views.page("filters") and _kernel_of(shown):
        actions.append({"name": "filter", "text": "Open filter"})
    return actions


def _kernel_of(shown: Shown) -> str | None:
    """The convolution whose filters made these channels, or None where a sum or another layer came between."""
    before = list(shown.model.layers)[: [layer.name for layer in shown.model.layers].index(shown.layer.name) + 1]
    for layer in reversed(before):
        if layer.shape[0] != shown.layer.shape[0] or layer.kind.lower() in ("add", "cat", "mul"):
            return None
        if layer.kind == "Conv2d":
            return layer.name
    return None


def _output(choice: Choice, layer: Layer) -> NDArray[np.float32]:
    values = cache.outputs(choice.model, choice.image, (layer.name,))[layer.name]
    return values.reshape(-1) if values.size == len(values) else values


def _strongest_of_network(choice: Choice, signed: bool) -> float:
    """The strongest value of all layers that share a colour map."""
    names = [layer.name for layer in choice.model.layers if layer.signed == signed]

    def compute() -> float:
        with torch.no_grad():
            outputs = choice.model.trace(choice.image, keep=names).outputs
        return max(float(scales.strongest(outputs[name][0].numpy(), signed=signed)) for name in names)

    return cache.result(compute, "strongest", choice.model.digest, choice.image, signed)


# Dead channels


def _dead(shown: Shown) -> tuple[tuple[int, str], NDArray[np.bool_] | None]:
    """How many pictures of what were tried, and the channels of this layer that are 0 on all of them."""
    tried = silence.tried(shown.model, shown.layer)
    return ((0, ""), None) if tried is None else ((tried.pictures, tried.title), tried.silent)


# Words


def _title(shown: Shown) -> str:
    count, unit = len(shown.values), "channels" if shown.has_maps else "units"
    if len(shown.ordered) < count and shown.has_maps:
        return f"{shown.layer.name}, {len(shown.ordered)} of {count} {unit}"
    return f"{shown.layer.name}, all {count:,} {unit}"


def _facts(shown: Shown) -> str:
    scale = {"map": "a scale for each map", "layer": "one scale for the layer", "network": "one scale for the network"}
    size = f"{numbers.shape(shown.layer.shape[1:])} cells each, " if shown.has_maps else ""
    return size + scale[shown.per]


def _legend(shown: Shown) -> str:
    name = layers.activation(shown.layer)
    what = f"activation after {name}" if name else shown.words[0] if shown.partner else f"output of {shown.layer.name}"
    return f"{what}, no unit"


def _note(shown: Shown, maps: Maps) -> str:
    if maps.units:
        return (
            "One cell for each unit." if len(shown.values) <= 32 else f"One cell for each unit, {maps.across} in a row."
        )
    under = "mean difference" if shown.against else "highest value"
    note = f"Under each map: channel, {under}."
    if maps.shrunk_by > 1:
        by = maps.shrunk_by
        note += f" Each square shows the strongest of {by} {numbers.TIMES} {by} cells."
    return note


def _caption(shown: Shown, maps: Maps, tried: tuple[int, str], dead: NDArray[np.bool_] | None) -> str:
    missing = scales.count_nan(shown.values)
    if missing:
        return (
            f"**Not a number:** {missing:,} of {shown.values.size:,} values. Every later layer computes with them, so "
            "nothing after this point means anything. Look at the layers before for where they begin."
        )
    if shown.silent.all():
        return "**Nothing to see:** every value of this layer is 0 on this picture." + _about_dead(tried, dead)
    if maps.units:
        return _about_units(shown) + _about_dead(tried, dead)
    if shown.against is not None:
        return _about_difference(shown)
    return _about_signs(shown) if shown.layer.signed else _about_activations(shown, dead) + _about_dead(tried, dead)


def _about_units(shown: Shown) -> str:
    above, size = int((shown.values > 0).sum()), shown.values.size
    top = [f"{channel} ({numbers.short(float(shown.values[channel]))})" for channel in shown.ordered[:3]]
    return (
        f"**Look for** the few that speak: {above:,} of {size:,} units are above 0, highest {numbers.listing(top)}. "
        "A unit has no place in the picture: it sees all of it."
    )


def _about_difference(shown: Shown) -> str:
    distances, first = shown.distances, shown.ordered[:3]
    if distances is None or not distances.max() > 0:
        return "**Nothing to see:** both pictures give the same values in every channel."
    names = [str(channel) for channel in first]
    same = int((distances < distances.max() / 10).sum())
    return (
        f"**Look for** what tells the two pictures apart: {numbers.listing(names)} change most from "
        f"{shown.against.title if shown.against else ''}, by {numbers.short(float(distances[first[0]]))} on average in "
        f"the first. {same} of {len(distances)} channels change less than a tenth of that. Shown is this picture."
    )


def _about_signs(shown: Shown) -> str:
    below = float((shown.values < 0).mean())
    name = shown.partner and layers.activation(shown.partner)
    rest = f" {name} comes next" + (" and sets them to 0." if name == "ReLU" else ".") if name else ""
    places = _peaks(shown)
    return (
        f"**Look for** red where a channel’s pattern is there and blue where its opposite is. {places} "
        f"{numbers.percent(below)} of all values are below 0.{rest}"
    )


def _about_activations(shown: Shown, dead: NDArray[np.bool_] | None) -> str:
    above = float((shown.values > 0).mean())
    quiet = int((shown.silent if dead is None else shown.silent & ~dead).sum())
    waits = ""
    if quiet:
        waits = f" {quiet} {'channel is' if quiet == 1 else 'channels are'} 0 here and may wait for another picture."
    lead = "channels that answer to one part of the picture" if above < 0.4 else "how widely these channels answer"
    return f"**Look for** {lead}. {_peaks(shown)} {numbers.percent(above)} of all cells are above 0.{waits}"


def _peaks(shown: Shown) -> str:
    """Where the strongest channels peak: "19 is highest at the bottom; 21 and 28 at the centre"."""
    groups: dict[str, list[str]] = {}
    size = tuple(shown.model.size[1:])
    for channel in orders.ranked(orders.per_channel(shown.values))[:4]:
        row, column = np.unravel_index(int(np.nanargmax(shown.values[channel])), shown.values.shape[1:])
        box = shown.layer.receptive_field.box(int(row), int(column))
        groups.setdefault(orders.whereabouts(box, (size[0], size[1])), []).append(str(channel))
    said = [f"{numbers.listing(channels)} at the {place}" for place, channels in groups.items()]
    first, rest = said[0], said[1:]
    verb = "peak" if " and " in first else "peaks"
    opening = first.replace(" at the", f" {verb} at the", 1)
    return "Of the strongest, " + ", ".join([opening, *rest]) + "."


def _about_dead(tried: tuple[int, str], dead: NDArray[np.bool_] | None) -> str:
    count, title = tried
    if dead is None:
        return ""
    over, names = f"over {count:,} pictures of {title}", [str(channel) for channel in np.flatnonzero(dead)]
    if not names:
        return f" None is dead: {over} each answers somewhere."
    if count < silence.ENOUGH:
        return f" {len(names)} are 0 {over}, too few to call them dead."
    said = numbers.listing(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"
    return f" Dead {over}: {said}."


# What is taken away


def _png(shown: Shown) -> bytes:
    mosaic = _mosaic_of_maps(shown) if shown.has_maps else _block_of_units(shown)
    scale = shown.scale
    ends = (f"{numbers.MINUS} largest" if scale.signed else "0", "largest of each") if np.ndim(scale.high) else None
    facts = f"{_facts(shown)}; {shown.choice.name}, {shown.choice.picture.title}"
    return captioned(mosaic, _title(shown), facts=facts, key=Key(_legend(shown), scale, ends))


def _mosaic_of_maps(shown: Shown) -> Image.Image:
    channels, (tried, dead) = shown.ordered, _dead(shown)
    below = orders.per_channel(shown.values) if shown.distances is None else shown.distances
    gone = np.zeros(len(shown.values), bool) if dead is None or tried[0] < silence.ENOUGH else dead
    labels = [(str(c), "dead" if gone[c] else numbers.short(float(below[c]), 2)) for c in channels]
    cell = max(1, 84 // max(shown.values.shape[1:]))
    scale = _ordered_scale(shown.scale, channels)
    return labelled_mosaic(shown.values[channels], scale, labels, cell=cell, dead=gone[channels])


def _block_of_units(shown: Shown) -> Image.Image:
    across = min(len(shown.values), 32)
    rows = -(-len(shown.values) // across)
    block = np.zeros(rows * across, np.float32)
    block[: len(shown.values)] = shown.values
    label = (f"{len(shown.values):,} units", f"{across} in a row")
    return labelled_mosaic(block.reshape(1, rows, across), shown.scale, [label], cell=12)


def _ordered_scale(scale: scales.Scale, channels: NDArray[np.intp]) -> scales.Scale:
    low, high = (np.asarray(limit)[channels] if np.ndim(limit) else limit for limit in (scale.low, scale.high))
    return scales.Scale(low, high, scale.palette)


def _python(shown: Shown) -> str:
    name, shape = shown.layer.name, numbers.shape(shown.layer.shape)
    return f'trace = model.trace(image, keep=("{name}",))\nmaps = trace.outputs["{name}"][0]  # {shape}'
