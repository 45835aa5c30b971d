"""One image through the whole network, on one screen: the page a teacher leaves on the projector."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnnviz import Class, Layer
from cnnviz.figures import numbers
from cnnviz.figures.sheet import captioned
from cnnviz.figures.strips import strips_with_names
from dashboard import cache, choices, frame, views
from dashboard.choices import DIFFERENCE, Choice
from dashboard.components.overview import (
    Block,
    Strip,
    choose_strips,
    choose_units,
    overview,
    prediction_of,
    strips_of,
    units_strip,
)
from dashboard.views import view

ABOUT = frame.About(
    what="Every convolutional layer turns its input into maps, one for each of its channels: at each place a map says "
    "how strongly the channel's kernel is answered there. Shown are, of each block, the channels with the highest "
    "values in its last layer, the same channels in the same columns, and what the network makes of them all.",
    formula="p_c = e^{z_c} / Σ_k e^{z_k}, with z_k the logit of class k",
    caveats=(
        "Each layer has a colour scale of its own; brightness cannot be compared between layers.",
        "The channels are those that answer most to this picture. Others may answer to the next.",
    ),
    paper="LeCun, Bottou, Bengio & Haffner 1998, “Gradient-based learning applied to document recognition”.",
)
NEXT = {  # section: pages in the order of preference, with the question that each answers
    "Learn": (("convolution", "What is a map made of?"), ("training", "How did it learn that?")),
    "See": (("filters", "Which kernels drew them?"), ("network", "What are its steps?")),
    "Explain": (("occlusion", "Which pixels made it a {}?"), ("saliency", "Which pixels made it a {}?")),
    "Debug": (("mistakes", "When does it mistake a {}?"), ("embedding", "What does it find alike?")),
}
EXPLAINERS = ("saliency", "guided_backprop", "occlusion")


@view(
    "Overview",
    section="Start",
    order=0,
    icon="",
    lede="Everything this network makes of one picture: from the pixels, through every layer, to its answer.",
)
def draw(choice: Choice) -> None:
    """Image, layers and prediction, and where to go from there."""
    shown, units = choose_strips(choice.model.layers), choose_units(choice.model.layers)
    names = [layer.name for block in shown for layer in block] + ([units.name] if units else [])
    outputs = cache.outputs(choice.model, choice.image, names)
    blocks = strips_of(shown, outputs, {layer.name: _hint(layer) for block in shown for layer in block})
    units_shown = units_strip(units, outputs[units.name]) if units else None
    with frame.plate(
        "One image through the network",
        choice.facts(),
        about=ABOUT,
        png=lambda: _png(choice, blocks, units_shown),
        npz=lambda: {"image": choice.image.numpy(), "scores": choice.scores, **outputs},
        python=f"trace = model.trace(image, keep={tuple(names)!r})\nscores = trace.scores",
        layers=names,
    ):
        clicked = overview(
            choice.image[0].numpy(),
            blocks,
            key="overview",
            units=units_shown,
            prediction=_prediction(choice),
            caption=caption(choice, shown, blocks),
            on_class=lambda index: choices.aim(Class(int(index))),
        )
    _follow(choice, clicked, outputs)
    _onwards(choice)


def caption(choice: Choice, shown: Sequence[Sequence[Layer]], blocks: Sequence[Block]) -> str:
    """How to read these very strips, and where to look first."""
    layers = [layer for block in shown for layer in block]
    if not layers:
        return "This network has no maps: its layers are units without rows and columns."
    return f"**Read downward.** {_colours(layers)} {_size(choice, layers[-1])} {_strongest(blocks[-1], layers[-1])}"


def _colours(layers: Sequence[Layer]) -> str:
    signed, rectified = any(layer.signed for layer in layers), any(not layer.signed for layer in layers)
    words = ["Red and blue are a convolution’s signed answers"] if signed else []
    if rectified:
        words.append("ReLU keeps the red" if signed else "Bright is a strong answer, after ReLU")
    pool = next((layer for layer in layers if "pool" in layer.kind.lower()), None)
    if pool is not None:
        words.append(_pooling(pool))
    return "; ".join(words[:2]) + (f", {words[2]}." if len(words) > 2 else ".")


def _pooling(pool: Layer) -> str:
    window = getattr(pool.module, "kernel_size", None)
    sides = window if isinstance(window, tuple) else (window, window)
    cells = f"{sides[0]} × {sides[1]} cells" if isinstance(sides[0], int) else "neighbouring cells"
    return f"pooling the {'mean' if 'avg' in pool.kind.lower() else 'largest'} of every {cells}"


def _size(choice: Choice, last: Layer) -> str:
    cells, pixels = last.shape[1] * last.shape[2], choice.model.size[1] * choice.model.size[2]
    name = f"the {choice.class_name(choice.predicted)}" if len(choice.model.classes) <= 20 else "the picture"
    if cells * 10 > pixels:
        return f"At {last.name} a map still has {cells:,} of the picture’s {pixels:,} cells."
    left = "one cell" if cells == 1 else f"{cells:,} cells"
    return f"At {last.name} a map has {left} left and {name} is no longer a picture."


def _strongest(block: Block, layer: Layer) -> str:
    values = np.nan_to_num(block.strips[-1].values)
    if not values.any():
        return f"**Look for** nothing in {layer.name}: every map shown is zero on this picture."
    place, row, column = (int(i) for i in np.unravel_index(values.argmax(), values.shape))
    top, left, bottom, right = layer.receptive_field.box(row, column)
    height, width = layer.receptive_field.image
    channel = block.channels[place]
    if (bottom - top) * (right - left) > 0.6 * height * width:
        return f"**Look for** channel {channel}: it answers most; its strongest cell sees nearly the whole picture."
    where = _region((top + bottom) / 2 / height, (left + right) / 2 / width)
    rows, columns = numbers.span(top, bottom), numbers.span(left, right)
    return f"**Look for** channel {channel}: it answers most, to the {where}, rows {rows}, columns {columns}."


def _region(down: float, across: float) -> str:
    rows, columns = ("upper", "", "lower")[min(int(down * 3), 2)], ("left", "", "right")[min(int(across * 3), 2)]
    return " ".join(word for word in (rows, columns) if word) + (" part" if rows or columns else "middle")


def _hint(layer: Layer) -> str:
    kernel = getattr(layer.module, "kernel_size", None)
    size = f"{kernel[0]} × {kernel[1]}, " if isinstance(kernel, tuple) else ""
    return f"{layer.kind}: {size}{layer.parameters:,} weights" if layer.parameters else layer.kind


def _prediction(choice: Choice) -> dict[str, Any]:
    target = choice.target_class
    best, second = choice.class_name(choice.predicted), choice.class_name(choice.runner_up)
    explained = best if target is None else choice.class_name(target)
    actions = [{"name": "explain", "text": f"Explain {_brief(explained)}", "filled": True}]
    if choice.runner_up != choice.predicted:
        actions.append({"name": "against", "text": f"{_brief(best)} against {_brief(second)}", "filled": False})
    return prediction_of(
        choice.scores,
        choice.model.classes,
        chosen=target,
        aside_title="How close was it?",
        aside=odds(choice),
        actions=actions if _explainer() else (),
    )


def odds(choice: Choice) -> str:
    """The distance between the two best classes, in logits and as the odds that softmax makes of it."""
    if choice.runner_up == choice.predicted:
        return "There is one class, so there is nothing to compare."
    gap = float(choice.scores[choice.predicted] - choice.scores[choice.runner_up])
    if not math.isfinite(gap):
        return "The logits are not all numbers; they cannot be compared."
    pair = f"{choice.class_name(choice.predicted)} and {choice.class_name(choice.runner_up)}"
    power = numbers.fixed(gap)
    ratio = numbers.short(math.exp(gap), 2) if gap < 14 else "more than a million"
    return f"The logits of {pair} differ by {power}. Softmax turns that into odds of e^{{{power}}} = {ratio} to 1."


def _brief(name: str) -> str:
    return name if len(name) <= 12 else name.split(",")[0][:16]


def _explainer() -> str | None:
    return next((slug for slug in EXPLAINERS if views.page(slug)), None)


def _follow(choice: Choice, clicked: dict[str, Any], outputs: Mapping[str, NDArray[np.float32]]) -> None:
    opened, action, explainer = clicked.get("map"), clicked.get("action"), _explainer()
    if opened and views.page("feature_maps"):
        frame.go("feature_maps", layer=opened["layer"], cell=_top_cell(outputs[opened["layer"]], opened["channel"]))
    if action == "explain" and explainer:
        frame.go(explainer)
    if action == "against" and explainer:
        labels = choices.class_labels(choice.model.classes)
        frame.go(explainer, target=DIFFERENCE, of=labels[choice.predicted], against=labels[choice.runner_up])


def _top_cell(values: NDArray[np.float32], channel: int) -> str:
    """The strongest cell of a channel as the feature maps' page has it in its address."""
    if values.ndim == 1:
        return f"{int(np.nan_to_num(values).argmax())},0,0"
    row, column = np.unravel_index(np.nan_to_num(values[channel]).argmax(), values.shape[1:])
    return f"{channel},{row},{column}"


def _onwards(choice: Choice) -> None:
    name = choice.class_name(choice.predicted)
    what = name if len(choice.model.classes) <= 20 else _brief(name)
    cells = []
    for section, pages in NEXT.items():
        found = next(((views.page(slug), question) for slug, question in pages if views.page(slug)), None)
        if found and found[0]:
            page, question = found
            link = f'href="{page.href}" data-go="{page.href}"'
            words = html.escape(question.format(what))
            cells.append(f"<a {link}><span>{section}</span><b>{words}</b><em>{html.escape(page.title)}</em></a>")
    if cells and not frame.presenting():
        st.html(f'<nav class="cnnviz-next" aria-label="Where to go next">{"".join(cells)}</nav>')


def _png(choice: Choice, blocks: Sequence[Block], units: Strip | None) -> bytes:
    rows = [(strip.values, strip.scale) for block in blocks for strip in block.strips]
    names = [strip.layer for block in blocks for strip in block.strips]
    board = strips_with_names(
        [*rows, (units.values, units.scale)] if units else rows, [*names, units.layer] if units else names
    )
    facts = "of each block, the channels that reach the highest value"
    return captioned(board, f"{choice.model.name}, {choice.facts()}", facts=facts)
