"""The network as it runs: every layer with its size, its cost and what it sees of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from cnnviz import Layer, Model
from cnnviz import filters as learned
from cnnviz.figures import numbers
from cnnviz.figures.sheet import captioned
from cnnviz.figures.silhouette import silhouette_png
from cnnviz.graph import INPUT, Block, blocks, shortcuts, sources
from dashboard import cache, frame, layers, views
from dashboard.choices import Choice
from dashboard.components.network_diagram import Detail, Row, network_diagram
from dashboard.views import view

MANY = 24  # layers; beyond this they fold into blocks
NAMED = 14  # more layers than this have no room for their names in a saved picture
MOST_SETTINGS = 110
LEGEND = "Height: rows of a map; width: channels; both in steps of two."
NORMS = (
    "batchnorm",
    "batch_norm",
    "layernorm",
    "layer_norm",
    "groupnorm",
    "group_norm",
    "instancenorm",
    "localresponse",
)
JOINS = ("add", "mul", "cat")
ABOUT = frame.About(
    "Every step of one forward pass, found by running the network once and watching: modules under their own names, "
    "and steps written by hand in a forward under the name of the operation. A step used again gets a number.",
    formula="MACs(convolution) = rows · columns · filters · (inputs / groups) · kernel rows · kernel columns",
    caveats=(
        "Multiply-adds are counted for one image and for convolutions, linear layers and matrix products alone; "
        "activations, pooling and normalisation cost time as well.",
        "A receptive field is what a cell can see, not what it looks at: most of its weight lies near the middle.",
        "Where a network branches on a value, another picture may run other steps; the layers are those of one run.",
    ),
    paper="Araujo, Norris and Sim, Computing receptive fields of convolutional neural networks, Distill 2019",
)


@view("Network", section="See", order=10, lede="Every layer: its size, its cost, what it sees.")
def network(choice: Choice) -> None:
    """Silhouette, table, one layer."""
    model = choice.model
    if not model.layers:
        frame.caption("Nothing to see:", "this network is compiled and does not show its layers, only its scores.")
        return
    layer = layers.chosen_layer(model)
    rows = [_row(each) for each in model.layers]
    with frame.plate(
        f"{choice.name}, {len(rows)} layers",
        f"for one image of {numbers.shape(model.size)}",
        about=ABOUT,
        npz=lambda: _arrays(model),
        png=lambda: captioned(
            silhouette_png(
                [(row.family, row.shape, row.side) for row in rows],
                _arcs(model),
                max(model.size[1:]),
                names=[row.name for row in rows] if len(rows) <= NAMED else (),
            ),
            f"{choice.name}, {len(rows)} layers",
            facts=LEGEND,
        ),
        python=PYTHON,
        layer=layer.name,
    ):
        network_diagram(
            rows,
            [(block.name, len(block.layers)) for block in _blocks(model)],
            _arcs(model),
            choice.image[0].numpy(),
            _detail(model, layer),
            key="network",
            chosen=layer.name,
            fold=len(rows) > MANY,
            outputs=f"{len(model.classes)} scores",
            legend=LEGEND,
            caption=_caption(model),
            on_choose=layers.choose_layer,
            on_action=lambda name: _act(layer, name),
        )
    if goal := st.session_state.pop("cnnviz:open-layer", None):
        frame.go(goal[0], layer=goal[1])


PYTHON = """for layer in model.layers:
    print(layer.name, layer.kind, layer.shape, layer.parameters, layer.macs, layer.receptive_field.size)"""


def _act(layer: Layer, page: str) -> None:
    st.session_state["cnnviz:open-layer"] = (page, layer.name)


# What the diagram is made of


def _row(layer: Layer) -> Row:
    side = max(layer.shape[1:]) if layer.spatial else 0
    return Row(layer.name, layer.kind, _family(layer), layer.shape, side, layer.parameters, layer.macs, _sees(layer))


def _family(layer: Layer) -> str:
    kind = layer.kind.lower()
    if kind.startswith(NORMS):
        return "norm"
    if kind in JOINS:
        return "join"
    if layers.activation(layer) or kind in ("softmax", "logsoftmax", "log_softmax", "threshold"):
        return "activation"
    return "weights" if layer.macs or layer.parameters else "pooling"


def _sees(layer: Layer) -> str:
    field = layer.receptive_field
    if field.is_whole:
        return "everything"
    return "varies" if field.size is None else f"{field.size[0]} {numbers.TIMES} {field.size[1]}"


def _blocks(model: Model) -> list[Block]:
    return cache.result(lambda: blocks(model), "blocks", model.digest)


def _arcs(model: Model) -> list[tuple[int, int]]:
    place = {INPUT: -1} | {layer.name: i for i, layer in enumerate(model.layers)}
    pairs = cache.result(lambda: shortcuts(model), "shortcuts", model.digest)
    return [(place[source], place[name]) for source, name in pairs]


def _detail(model: Model, layer: Layer) -> Detail:
    row, column = (layer.shape[1] // 2, layer.shape[2] // 2) if layer.spatial else (0, 0)
    box = layer.receptive_field.box(row, column)
    return Detail(
        layer.name, _settings(layer), _facts(model, layer), box, _box_words(layer, box), _actions(model, layer)
    )


def _settings(layer: Layer) -> str:
    """What the module was made with: `Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1))`."""
    inside = layer.module.extra_repr() if layer.module is not None else ""
    text = f"{layer.kind}({inside})"
    return text if len(text) <= MOST_SETTINGS else f"{text[:MOST_SETTINGS]}…"


def _facts(model: Model, layer: Layer) -> list[tuple[str, str]]:
    field = layer.receptive_field
    reads = cache.result(lambda: sources(model), "sources", model.digest)[layer.name]
    rows = [
        ("reads", numbers.listing(["the image" if name == INPUT else name for name in reads[:4]])),
        ("output", numbers.shape(layer.shape)),
        ("values for one image", f"{int(np.prod(layer.shape)):,}"),
    ]
    counts = (("parameters", layer.parameters), ("multiply-adds", layer.macs))
    rows += [(name, f"{value:,}") for name, value in counts if value]
    if field.stride is None or field.is_whole:
        return [*rows, ("a cell sees", _sees(layer))]
    return [*rows, ("a cell sees", f"{_sees(layer)}, every {field.stride[0]} {numbers.TIMES} {field.stride[1]} pixels")]


def _box_words(layer: Layer, box: tuple[int, int, int, int]) -> str:
    top, left, bottom, right = box
    if not layer.spatial or layer.receptive_field.is_whole:
        return "It sees the whole picture."
    if bottom <= top or right <= left:
        return "The middle cell sees padding alone."
    return f"The middle cell sees rows {numbers.span(top, bottom)}, columns {numbers.span(left, right)}."


def _actions(model: Model, layer: Layer) -> list[dict[str, Any]]:
    actions = []
    if views.page("feature_maps"):
        actions.append({"name": "feature_maps", "text": "Open its maps", "filled": True})
    if views.page("filters") and layer.name in learned.convolutions(model):
        actions.append({"name": "filters", "text": "Open its filters"})
    return actions


# Words


def _caption(model: Model) -> str:
    return " ".join(part for part in (_about_cost(model), _about_sight(model), _about_branches(model)) if part)


def _about_cost(model: Model) -> str:
    """Where the parameters are and where the work is: seldom in the same place."""
    parameters, macs = sum(layer.parameters for layer in model.layers), sum(layer.macs for layer in model.layers)
    if not parameters or not macs:
        return "**Look for** the shapes: this network has no weights that can be seen."
    heavy = max(model.layers, key=lambda layer: layer.parameters)
    busy = max(model.layers, key=lambda layer: layer.macs)
    held = numbers.percent(heavy.parameters / parameters)
    done = numbers.percent(busy.macs / macs)
    if heavy.name == busy.name:
        return (
            f"**Look for** one layer that dominates: {heavy.name} holds {held} of the {parameters:,} parameters and "
            f"does {done} of the {_large(macs)} multiply-adds."
        )
    return (
        f"**Look for** where memory and work sit: {heavy.name} holds {held} of the {parameters:,} "
        f"parameters, {busy.name} does {done} of the {_large(macs)} multiply-adds."
    )


def _large(value: int) -> str:
    for factor, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if value >= factor:
            return f"{numbers.short(value / factor)} {word}"
    return str(value)


def _about_sight(model: Model) -> str:
    spatial = [layer for layer in model.layers if layer.spatial and not layer.receptive_field.is_whole]
    whole = next((layer for layer in model.layers if layer.receptive_field.is_whole), None)
    if not spatial or spatial[-1].receptive_field.size is None:
        return f"From {whole.name} on every cell sees the whole picture." if whole else ""
    height, width = spatial[-1].receptive_field.size
    image = f"{model.size[1]} {numbers.TIMES} {model.size[2]}"
    first = f"A cell of {spatial[-1].name} sees {height} {numbers.TIMES} {width} of {image} pixels"
    if height >= model.size[1] and width >= model.size[2]:
        first = f"A cell of {spatial[-1].name} reaches {height} {numbers.TIMES} {width} pixels, past the border"
    return f"{first}; {whole.name} is the first to see everything." if whole else f"{first}."


def _about_branches(model: Model) -> str:
    jumps = len(_arcs(model))
    if not jumps:
        return ""
    if jumps == 1:
        return "The arc is a shortcut."
    return f"The {jumps} arcs are shortcuts."


# What is taken away


def _arrays(model: Model) -> dict[str, Any]:
    sizes = [layer.receptive_field.size or (0, 0) for layer in model.layers]
    return {
        "name": np.array([layer.name for layer in model.layers]),
        "kind": np.array([layer.kind for layer in model.layers]),
        "shape": np.array([numbers.shape(layer.shape) for layer in model.layers]),
        "parameters": np.array([layer.parameters for layer in model.layers]),
        "macs": np.array([layer.macs for layer in model.layers]),
        "receptive_field": np.array(sizes),
    }
