"""The options of a method as widgets: the annotation of its parameter is all that is known about each.

A method that is added brings its widgets along. The surprise: the widgets live in the address under `method.option`, so
a link holds the samples of SmoothGrad as well as its class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from cnnviz import Model
from cnnviz.attribution import Choice, LayerChoice, Method, Option, Range, Switch


def option_widgets(method: Method, model: Model) -> dict[str, Any]:
    """Draw a widget for each option of a method, bound to the address; gives what is chosen."""
    return {option.name: _widget(option, f"{method.name}.{option.name}", model) for option in method.options}


def _widget(option: Option, key: str, model: Model) -> Any:
    return _WIDGETS[type(option.widget)](option, key, model)


def _number(option: Option, key: str, model: Model) -> int | float:
    span = option.widget
    assert isinstance(span, Range)
    kind: Callable[[float], int | float] = int if span.whole else float
    label = f"{option.title} ({span.unit})" if span.unit else option.title
    sizes = {"min_value": kind(span.low), "max_value": kind(span.high), "step": kind(span.step)}
    return st.slider(label, **sizes, value=kind(option.default), key=key, bind="query-params")


def _word(option: Option, key: str, model: Model) -> str:
    values = option.widget.values  # type: ignore[attr-defined]
    return st.selectbox(option.title, values, index=values.index(option.default), key=key, bind="query-params")


def _layer(option: Option, key: str, model: Model) -> str | None:
    usual = option.widget.none  # type: ignore[attr-defined]
    names = (usual, *(layer.name for layer in model.layers if layer.spatial))
    name = st.selectbox(option.title, names, key=key, bind="query-params")
    return None if name == usual else name


def _switch(option: Option, key: str, model: Model) -> bool:
    return st.toggle(option.title, value=option.default, key=key, bind="query-params")


_WIDGETS: dict[type, Callable[[Option, str, Model], Any]] = {
    Range: _number,
    Choice: _word,
    LayerChoice: _layer,
    Switch: _switch,
}
