"""The layer that pages about one layer show: in the address as `layer=conv2`, shared by all of them.

The surprise: no menu holds this choice, the stepper does, so the address itself is the record (`st.query_params`); what
was last looked at is remembered for pages that are opened from a menu, without an address of ours.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cnnviz import Layer, Model
from dashboard.components import layer_stepper

_LAST = "cnnviz:layer"  # session state: the layer last looked at, on whatever page
ACTIVATIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "leakyrelu": "leaky ReLU", "prelu": "PReLU",
    "elu": "ELU", "selu": "SELU", "celu": "CELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish",
    "hardswish": "hard swish", "hardsigmoid": "hard sigmoid", "sigmoid": "sigmoid", "tanh": "tanh",
    "softplus": "softplus", "hardtanh": "hard tanh", "clamp": "clamp",
}  # fmt: skip


def chosen_layer(model: Model, suits: Callable[[Layer], bool] = lambda layer: True) -> Layer:
    """The layer asked for in the address or looked at last, when this model has it and it `suits`; else a good first.

    A good first is the last activation whose output has rows and columns; without one, the first layer that suits.
    """
    fit = {layer.name: layer for layer in model.layers if suits(layer)}
    asked = st.query_params.get("layer")
    name = asked if asked in fit else st.session_state.get(_LAST)
    name = name if name in fit else _first(fit)
    st.session_state[_LAST] = name
    return fit[name]


def choose_layer(name: str) -> None:
    """Make `name` the layer; call this in a callback. A cell chosen in another layer is forgotten."""
    st.session_state[_LAST] = name
    st.query_params["layer"] = name
    if "cell" in st.query_params:
        del st.query_params["cell"]


def stepper(model: Model, current: Layer, suits: Callable[[Layer], bool] = lambda layer: True) -> None:
    """The row of layers; stepping changes the layer before the page runs again."""
    layers = [layer for layer in model.layers if suits(layer)]
    layer_stepper(layers, current.name, key="stepper", on_choose=choose_layer)


def activation(layer: Layer) -> str | None:
    """What an activation is called in a sentence ("ReLU"), None for any other layer."""
    return ACTIVATIONS.get(layer.kind.lower())


def partner(model: Model, layer: Layer) -> Layer | None:
    """The step before an activation, or the activation after a step: the two sides of it. None where there is none."""
    layers = model.layers
    place = next(i for i, other in enumerate(layers) if other.name == layer.name)
    before, after = (layers[i] if 0 <= i < len(layers) else None for i in (place - 1, place + 1))
    near = before if activation(layer) else after if after and activation(after) else None
    return near if near and near.shape == layer.shape else None


def _first(fit: dict[str, Layer]) -> str:
    spatial = [name for name, layer in fit.items() if layer.spatial and activation(layer)]
    return spatial[-1] if spatial else next(iter(fit))
