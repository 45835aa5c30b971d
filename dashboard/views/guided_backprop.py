"""Guided backprop: what one number of the network, down to a single neuron, would like to see more of."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnnviz import Channel, Class, Difference, Layer, Model, Neuron
from cnnviz.attribution import explained
from cnnviz.exemplars import Exemplar, exemplars
from cnnviz.figures import numbers
from cnnviz.figures.saliency import leading, own_scales, sheet_with_names, summary
from cnnviz.figures.scales import scale_for
from cnnviz.figures.sheet import captioned
from dashboard import cache as kept
from dashboard import choices, explaining, frame, layers
from dashboard.address import Place, choose, chosen, one_of, yes_no
from dashboard.choices import Choice
from dashboard.components.exemplar_strip import Item, exemplar_strip
from dashboard.components.neuron_picker import Maps, Panel, neuron_picker
from dashboard.components.toy_backprop import toy_backprop
from dashboard.components.trust_strip import trust_strip
from dashboard.explaining import Answer
from dashboard.frame import About
from dashboard.jobs.background import Work
from dashboard.jobs.polling import page_again, polled
from dashboard.samples import Sample, sample_for
from dashboard.trusting import Tested, arrays_of, trial
from dashboard.views import view

RULES = {
    "saliency": ("Gradient", "passes where the ReLU was **open**"),
    "deconvnet": ("Deconvnet", "passes what is **positive**"),
    "guided_backprop": ("Guided", "passes what is positive **where it was open**"),
}
SHOWS = one_of("signed", "colour", "magnitude")
STRONGEST = 8
STRONGEST_TITLE = "Where it fires most"
CEILINGS = ("relu6", "hardtanh", "clamp", "hardsigmoid", "sigmoid", "tanh")
BATCH = 32
ABOUT = About(
    "The gradient of one number of the network with respect to the picture, sent back through every layer as usual, "
    "except that at each ReLU only positive signals pass, and only where the ReLU was open. What arrives shows what "
    "the picture holds that excites this number.",
    "R_l = 1[f_l > 0] · 1[R_{l+1} > 0] · R_{l+1}",
    (
        "It hardly depends on the class or on the weights of the late layers: it is close to an edge detector. Make "
        "the weights random, below, and see how much of it is the picture itself.",
        "Only ReLU and ReLU6 have a rule in the paper; SiLU, GELU and their like are left alone, and that is said.",
        "A max-pooling passes its signal to the place that was highest: these are the switches of the deconvnet.",
        "In a network with skip connections the skip is not clipped, so its maps are noisier. That is no error.",
    ),
    "Springenberg et al. 2014, arXiv:1412.6806; deconvnet: Zeiler & Fergus 2013, arXiv:1311.2901",
)
ABOUT_STRONGEST = About(
    "The pictures of a data set for which this unit is highest. A filter stands at every position, so its best cell of "
    "each picture is taken, the picture is cut to what that cell sees, and guided backprop is run from it.",
    caveats=(
        "What excites a filter in these pictures is not all that could excite it.",
        "The pictures are a sample; how many is stated.",
    ),
    paper="Springenberg et al. 2014, figures 3 to 5",
)
ABOUT_RANDOM = About(
    "The weights before the target are drawn anew, layer by layer from the top down, and the map is made again each "
    "time. A map that stays the same cannot be about what the network learned.",
    paper="Adebayo et al. 2018, arXiv:1810.03292",
)
ABOUT_TOY = About(
    "Two pixels, three hidden units, one answer: small enough to check every rule with a pencil. The weights v of the "
    "answer are the signal R that first comes back; each rule decides which of it passes the ReLU; Wᵀ then brings it "
    "to the pixels.",
    "f = W x,  y = v · max(0, f)",
    paper="Springenberg et al. 2014, figure 1",
)


@view(
    "Guided backprop",
    section="Explain",
    order=20,
    lede="What in the picture excites one number of the network.",
    icon=":material/filter_center_focus:",
)
def guided_backprop(choice: Choice) -> None:
    """The three rules for the target, its strongest pictures, and the rules worked out by hand."""
    layer = _layer(choice)
    if layer is not None:
        layers.stepper(choice.model, layer, _spatial)
    work = explaining.sheet(choice.model, choice.image, list(RULES), [choice.target], {})
    polled(work, lambda: _rules(choice, layer))
    _strongest(choice)
    _randomised(choice, work)
    with frame.plate("By hand", "two pixels, three units; type in any framed cell", about=ABOUT_TOY):
        toy_backprop(key="toy")


def _spatial(layer: Layer) -> bool:
    return bool(layer.spatial)


def _layer(choice: Choice) -> Layer | None:
    """The layer to pick from: the one asked for, else the target's own, else the last activation; None without any."""
    own = getattr(choice.target, "layer", None)
    if own is not None and "layer" not in st.query_params and choice.model.layer(own).spatial:
        return choice.model.layer(own)
    if not any(map(_spatial, choice.model.layers)):
        return None
    return layers.chosen_layer(choice.model, _spatial)


# The three rules


def _rules(choice: Choice, layer: Layer | None) -> None:
    work = explaining.sheet(choice.model, choice.image, list(RULES), [choice.target], {})
    answers, causes = work.part or explaining.NOTHING
    found = {method: answer for (method, _), answer in answers.items()}
    drawn = [(name, found[name]) for name in RULES if name in found and found[name].values is not None]
    places = _places(choice)
    now = chosen(places)
    with frame.plate(
        target_words(choice),
        _layer_facts(choice, layer),
        about=ABOUT,
        png=lambda: _png(choice, dict(drawn)),
        npz=lambda: {name: answer.values for name, answer in drawn} | {"box": np.array(_box(choice) or ())},
        python=_python(choice),
        methods=list(RULES),
    ):
        if not drawn:
            problems = {answer.problem for answer in found.values()} or {"computing"}
            frame.caption("Nothing to draw:", "; ".join(problems))
            return
        neuron_picker(
            None if layer is None else _maps(choice, layer),
            [
                (_panel(choice, name, answer, causes.get(choice.target.text, ())), answer.values)
                for name, answer in drawn
            ],
            picture=choice.image[0].numpy(),
            box=_box(choice),
            controls=now,
            words=_words(choice, layer, dict(drawn)),
            key="neuron-picker",
            on_choose=lambda cell: _aim(layer, cell),
            on_act=lambda act: _act(choice, layer, act["name"]),
            on_set=lambda changes: choose(places, changes),
        )


def target_words(choice: Choice) -> str:
    """The target as a title: "relu_1, channel 19, cell (10, 8)"."""
    target = choice.target
    if isinstance(target, Class):
        return f"Class {choice.class_name(target.index)}"
    if isinstance(target, Difference):
        return f"{choice.class_name(target.first)} against {choice.class_name(target.second)}"
    if isinstance(target, Neuron):
        return f"{target.layer}, channel {target.channel}, cell ({target.row}, {target.column})"
    if isinstance(target, Channel):
        return f"{target.layer}, channel {target.channel}"
    return f"{target.layer}, the whole layer"


def _places(choice: Choice) -> dict[str, Place]:
    """What the panels keep in the address; a field that would be a speck in the picture is cut out from the start."""
    top, left, bottom, right = _box(choice) or (0, 0, *choice.model.size[1:])
    small = 4 * max(bottom - top, right - left) <= max(choice.model.size[1:])
    return {"show": Place("signed", SHOWS), "crop": Place(small, yes_no)}


def _layer_facts(choice: Choice, layer: Layer | None) -> str:
    facts = choice.facts()
    if layer is None:
        return facts
    return f"{facts}; to pick from: {layer.name}, {numbers.shape(layer.shape)}"


def _maps(choice: Choice, layer: Layer) -> Maps:
    values = kept.outputs(choice.model, choice.image, (layer.name,))[layer.name]
    target, here = choice.target, None
    if getattr(target, "layer", None) == layer.name and isinstance(target, Neuron | Channel):
        here = (target.channel, getattr(target, "row", None), getattr(target, "column", None))
    return Maps(layer.name, values, scale_for(values, signed=layer.signed), here)


def _box(choice: Choice) -> tuple[int, int, int, int] | None:
    """What the target sees, None where that is the whole picture (or nothing)."""
    if not isinstance(choice.target, Neuron):
        return None
    top, left, bottom, right = choice.model.layer(choice.target.layer).receptive_field.box(
        choice.target.row, choice.target.column
    )
    whole = (bottom - top, right - left) == tuple(choice.model.size[1:])
    return None if whole or bottom <= top or right <= left else (top, left, bottom, right)


def _panel(choice: Choice, name: str, answer: Answer, causes: tuple[str, ...]) -> Panel:
    title, rule = RULES[name]
    pixels = leading(answer.values)
    share = float((pixels != 0).mean())
    fact = answer.fact or "no rule: the derivative itself"
    return Panel(
        title,
        rule,
        fact,
        f"{title}: {numbers.percent(share)} of the pixels are not zero",
        _blank(choice, answer, causes),
    )


def _blank(choice: Choice, answer: Answer, causes: tuple[str, ...]) -> str:
    """Why a map is zero everywhere; empty where it is not."""
    if answer.values.any():
        return ""
    layer = getattr(choice.target, "layer", None)
    if layer is not None and answer.score > 0 and _capped(choice, layer, answer.score):
        top = numbers.short(answer.score)
        return f"This number stands at {top}, the top of its activation, where it is closed. Take a lower cell."
    return (causes or ("Nothing arrives at the picture: every path is closed at some ReLU.",))[0]


def _capped(choice: Choice, layer: str, score: float) -> bool:
    """Whether a value is the ceiling of its layer (ReLU6): several cells stand at exactly the highest value."""
    values = kept.outputs(choice.model, choice.image, (layer,))[layer]
    return bool(score == values.max() and (values == score).sum() > 1)


def strongest_cell(values: NDArray[Any]) -> tuple[int, int, int]:
    """Channel, row and column of the highest value of (C, H, W) that is not a ceiling shared by several cells: at the
    top of a ReLU6 nothing passes back."""
    flat = np.nan_to_num(values, nan=-np.inf)
    if (flat == flat.max()).sum() > 1 and (flat < flat.max()).any():
        flat = np.where(flat < flat.max(), flat, -np.inf)
    channel, row, column = np.unravel_index(int(flat.argmax()), values.shape)
    return int(channel), int(row), int(column)


def _words(choice: Choice, layer: Layer | None, found: Mapping[str, Answer]) -> dict[str, Any]:
    return {
        "caption": caption(choice, found),
        "hint": _hint(choice, layer),
        "pictureWords": "what the number sees" if _box(choice) else "all of it can matter",
        "pictureAlt": f"{choice.picture.title}, the receptive field in brackets"
        if _box(choice)
        else choice.picture.title,
        "facts": _facts(choice, found),
        "actions": _actions(choice, layer),
    }


def _hint(choice: Choice, layer: Layer | None) -> str:
    if layer is None:
        return "This network has no layer with rows and columns to pick a neuron from."
    shown, count = min(32, layer.shape[0]), layer.shape[0]
    some = f"the {shown} strongest of {count:,} channels" if shown < count else f"all {count} channels, strongest first"
    return f"{some}, one scale for the layer; click a cell to make it the target"


def _facts(choice: Choice, found: Mapping[str, Answer]) -> list[tuple[str, str]]:
    score = next((answer.score for answer in found.values()), float("nan"))
    rows = [("value", numbers.fixed(score))]
    box = _box(choice)
    if box is None:
        return [*rows, ("sees", "whole picture")]
    top, left, bottom, right = box
    return [
        *rows,
        ("sees", numbers.shape((bottom - top, right - left))),
        ("rows", numbers.span(top, bottom)),
        ("columns", numbers.span(left, right)),
    ]


def _actions(choice: Choice, layer: Layer | None) -> list[dict[str, str]]:
    actions = [] if layer is None else [{"name": "strongest", "text": "Strongest in this picture"}]
    if isinstance(choice.target, Neuron):
        actions.append({"name": "channel", "text": f"All of channel {choice.target.channel}"})
    if getattr(choice.target, "layer", None) is not None:
        actions.append({"name": "class", "text": "The predicted class"})
    return actions


def _aim(layer: Layer | None, cell: Mapping[str, Any]) -> None:
    page_again()
    if layer is not None:
        choices.aim(Neuron(layer.name, int(cell["channel"]), int(cell["row"]), int(cell["column"])))


def _act(choice: Choice, layer: Layer | None, name: str) -> None:
    page_again()
    if name == "class":
        st.session_state["target"] = choices.PREDICTED
    elif name == "channel":
        choices.aim(Channel(choice.target.layer, choice.target.channel))
    elif layer is not None:
        values = kept.outputs(choice.model, choice.image, (layer.name,))[layer.name]
        choices.aim(Neuron(layer.name, *strongest_cell(values)))


def caption(choice: Choice, found: Mapping[str, Answer]) -> str:
    """What the three maps show in this very picture."""
    if "guided_backprop" not in found or "saliency" not in found:
        return "**Waiting** for the other rules."
    plain, guided = (leading(found[name].values) for name in ("saliency", "guided_backprop"))
    if not plain.any() and not guided.any() and "deconvnet" in found and found["deconvnet"].values.any():
        return (
            "**Look for** the one map that is not blank. This number is closed here, so gradient and guided stop "
            "at its own gate; **deconvnet** never asks whether a unit was open, and shows what would have excited it."
        )
    if not plain.any() and not guided.any():
        return "**Nothing to see:** nothing comes back from this number to the picture."
    if np.array_equal(plain, guided):
        return (
            "**Nothing to tell apart:** between this number and the picture the rules change nothing, so gradient and "
            "guided are the same map."
        )
    top, left, bottom, right = _box(choice) or (0, 0, *plain.shape)
    seen = (slice(top, bottom), slice(left, right))
    half = [numbers.percent(summary(pixels[seen])["half"]) for pixels in (plain, guided)]
    moved = _correlation(np.abs(guided[seen]), _edges(choice.image[0].numpy())[seen])
    where = "the pixels it sees" if _box(choice) else "the pixels"
    verdict = (
        "it follows the edges of the picture, whatever the network learned from them"
        if moved > 0.3
        else "it is more than the edges of the picture"
    )
    return (
        f"**Look for** what the rule leaves: half of the gradient's magnitude is spread over {half[0]} of {where}, "
        f"half of guided's over **{half[1]}**. Its correlation with the edges of the picture is "
        f"{numbers.fixed(moved)}: {verdict}. It shows **what excites** this number, not why the answer was given."
    )


def _edges(picture: NDArray[Any]) -> NDArray[Any]:
    """How steep the picture (C, H, W) is at each pixel."""
    down, right = np.gradient(picture.mean(axis=0))
    return np.asarray(np.hypot(down, right))


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _python(choice: Choice) -> str:
    lines = [f'{name} = cnnviz.explain("{name}", model, image, target)[0]' for name in RULES]
    if isinstance(choice.target, Neuron):
        field = f'model.layer("{choice.target.layer}").receptive_field'
        lines.append(f"top, left, bottom, right = {field}.box({choice.target.row}, {choice.target.column})")
    return "\n".join(lines)


# Is it the network, or the picture?


def _randomised(choice: Choice, work: Work) -> None:
    """On one click: gradient and guided under ever more random weights."""
    asked = st.toggle("Make the weights random", key="random", bind="query-params")
    found = (work.part or explaining.NOTHING).answers
    tested = {}
    for method in ("saliency", "guided_backprop"):
        answer = found.get((method, choice.target.text))
        if answer is not None and answer.values is not None and answer.values.any():
            tested[method] = Tested(method, choice.model, choice.image, choice.target, {}, answer)
    if not asked:
        return
    if not tested:
        frame.caption("Nothing to test:", "a blank map stays blank; take a number that is above 0.")
        return
    works = {method: trial(one, ("randomisation",)) for method, one in tested.items()}
    slowest = next((each for each in works.values() if not each.over), next(iter(works.values())))
    polled(slowest, lambda: _randomised_plate(choice, tested, works))


def _randomised_plate(choice: Choice, tested: Mapping[str, Tested], works: Mapping[str, Work]) -> None:
    reports = {method: work.part["randomisation"] for method, work in works.items() if work.part}
    problems = {work.problem for work in works.values() if work.problem}
    with frame.plate(
        "The same with random weights",
        target_words(choice),
        about=ABOUT_RANDOM,
        npz=lambda: {f"{m}_{k}": v for m, r in reports.items() for k, v in arrays_of({"randomisation": r}).items()},
    ):
        if problems:
            frame.caption("Not tested:", "; ".join(problems))
        if reports:
            trust_strip(
                [(RULES[method][0], report) for method, report in reports.items()],
                [leading(tested[method].answer.values) for method in reports],
                unit="",
                caveat="Random weights are one draw from one seed; another draw gives somewhat other numbers.",
                key="random-strip",
            )
        if not all(work.over for work in works.values()):
            st.button("Stop", key="stop-random", on_click=lambda: [work.cancel() for work in works.values()])


def _png(choice: Choice, drawn: Mapping[str, Answer]) -> bytes:
    maps = [leading(answer.values) for answer in drawn.values()]
    cell = max(1, 168 // max(maps[0].shape))
    board = sheet_with_names([maps], ((), [RULES[name][0] for name in drawn]), signed=True, cell=cell)
    facts = f"{choice.model.name}, {choice.facts()}"
    return captioned(board, target_words(choice), facts=facts, key=own_scales(signed=True))


# The pictures that excite it most


def _strongest(choice: Choice) -> None:
    sample = sample_for(choice.model)
    if sample is None:
        return
    target = _open_ended(choice)
    key = kept.digest("exemplars", choice.model.digest, target.text, sample.data, sample.positions)
    work = explaining.shown_soon(key, lambda: _search(choice.model, sample, target))
    polled(work, lambda: _strongest_plate(choice, sample, work, target))


def _open_ended(choice: Choice) -> Any:
    """The target; of a unit behind ReLU6 or its like the same unit before it: at a ceiling all are equal and shut."""
    target = choice.target
    if not isinstance(target, Channel | Neuron) or choice.model.layer(target.layer).kind.lower() not in CEILINGS:
        return target
    before = layers.partner(choice.model, choice.model.layer(target.layer))
    return target if before is None else replace(target, layer=before.name)


def _search(model: Model, sample: Sample, target: Any) -> Generator[tuple[int, tuple[Exemplar, ...], Any], None, None]:
    """(pictures seen, the best of them, their guided maps or None) as it grows."""
    seen, best = 0, ()
    for seen, best in exemplars(model, sample.images.split(BATCH), target, count=STRONGEST):
        yield seen, best, None
    images = sample.images[[one.index for one in best]]
    yield seen, best, explained("guided_backprop", model, images, [_at(target, one) for one in best]).values


def _at(target: Any, one: Exemplar) -> Any:
    """The target as that cell, for a channel or neuron; itself otherwise."""
    return Neuron(target.layer, target.channel, *one.cell) if one.cell is not None else target


def _strongest_plate(choice: Choice, sample: Sample, work: Work, target: Any) -> None:
    if work.part is None:
        if work.state == "failed":
            frame.caption("Nothing to draw:", work.problem)
        else:
            with frame.plate(STRONGEST_TITLE, _looking(sample, 0), about=ABOUT_STRONGEST):
                frame.caption("Computing:", "the first pictures appear in a moment.")
        return
    seen, best, maps = work.part
    name = f"{target.layer}, channel {target.channel}" if isinstance(target, Neuron | Channel) else target_words(choice)
    with frame.plate(
        STRONGEST_TITLE,
        f"{name}: the best {len(best)} of {_looking(sample, seen)}",
        about=ABOUT_STRONGEST,
        npz=None if maps is None else lambda: _strongest_arrays(sample, best, maps),
        data=sample.data,
        positions=[sample.positions[one.index] for one in best],
    ):
        exemplar_strip(
            [
                _item(choice.model, sample, target, (one, None if maps is None else maps[i]))
                for i, one in enumerate(best)
            ],
            note=_strongest_note(choice, target),
            caption=_strongest_caption(choice, sample, best),
            key="exemplars",
        )


def _looking(sample: Sample, seen: int) -> str:
    """How many pictures were looked at, of how many, of what."""
    count = len(sample.positions)
    return (f"{count:,}" if seen == count else f"{seen:,} of {count:,}") + f" pictures, {sample.title}"


def _item(model: Model, sample: Sample, target: Any, found: tuple[Exemplar, NDArray[np.float32] | None]) -> Item:
    one, result = found
    picture = sample.images[one.index].numpy()
    box = (0, 0, *picture.shape[1:]) if one.cell is None else model.layer(target.layer).receptive_field.box(*one.cell)
    return Item(picture, box, result, one.value, sample.name(one.index))


def _strongest_arrays(sample: Sample, best: tuple[Exemplar, ...], maps: NDArray[Any]) -> dict[str, Any]:
    return {
        "images": sample.images[[one.index for one in best]].numpy(),
        "guided": maps,
        "values": np.array([one.value for one in best]),
        "cells": np.array([one.cell or (-1, -1) for one in best]),
    }


def _strongest_note(choice: Choice, target: Any) -> str:
    before = (
        "" if target == choice.target else f" Taken in {target.layer}, because {choice.target.layer} has a ceiling."
    )
    cut = "what the cell sees" if isinstance(choice.target, Channel | Neuron) else "the whole picture"
    return f"Above: {cut}. Below: guided backprop from there, each on its own scale, red raises, blue lowers.{before}"


def _strongest_caption(choice: Choice, sample: Sample, best: tuple[Exemplar, ...]) -> str:
    if not best or best[0].value <= 0:
        return f"**Nothing to see:** it is above 0 on none of {len(sample.positions):,} pictures."
    last = best[-1].value / best[0].value
    if last < 0.5:
        return (
            f"**Look for** the first of these: the others excite this number far less, the weakest of them reaches "
            f"{numbers.percent(last)} of the strongest. {len(sample.positions):,} pictures may be too few to find more."
        )
    pictures = "cuts" if best[0].cell is not None else "pictures"
    return (
        f"**Look for** what these {pictures} have in common: that is the pattern this number answers to. The weakest "
        f"of them still reaches {numbers.percent(last)} of the strongest."
    )
