"""The kernels of every convolution, as they were learned: all of a layer at once, and one of them in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnnviz import Channel, Layer, Model, checkpoint
from cnnviz import filters as learned
from cnnviz.figures import kernels as figures
from cnnviz.figures import numbers, scales
from cnnviz.figures.sheet import Key, captioned
from dashboard import cache, choices, frame, layers, silence, views
from dashboard.choices import Choice
from dashboard.components import binned
from dashboard.components.kernel_matrix import Kernel, Readout, Tiles, kernel_matrix
from dashboard.views import view

STRENGTH, ACTIVATION, INDEX = "strength", "mean activation", "number"
SCALES = ("kernel", "layer", "network")
COLOUR, APART = "in colour", "channel by channel"
NOW, CHANGE = "weights", "change since the start"
MANY_LAYERS = 14
MOST_COLUMNS, MOST_POINTS, MOST_FILTERS, MOST_TILES = 64, 160, 64, 120
NOTHING = 1e-3  # a filter this much weaker than the strongest is said to have no strength
RGB = ("red", "green", "blue")
ABOUT = frame.About(
    "A convolution slides each of its filters over its input. A filter holds one small kernel for every input channel "
    "it sees; each kernel multiplies the numbers under it, and all the products are added. Red weights count what lies "
    "under them, blue weights count against it, paper-white ones do not look.",
    formula="y_{f}(i, j) = b_{f} + Σ_{c} Σ_{u,v} w_{fc}(u, v) · x_{c}(i + u, j + v)",
    caveats=(
        "Only the first layer looks at pixels. From the second on a kernel weighs feature maps, and its shape says "
        "little without knowing what those maps mean (see Feature maps).",
        "The strength of a filter is the length of its weights. Where batch norm follows, its factor is counted in; "
        "without it a large filter may have a small effect.",
        "The spectrum is the size of the kernel’s Fourier transform: the middle is a flat picture, the edges are "
        "stripes one pixel wide.",
    ),
    paper="Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional networks, 2012, figure 3",
)


@dataclass(frozen=True)
class Shown:
    """One convolution, and how its kernels are to be shown."""

    choice: Choice
    layer: Layer
    order: str
    per: str
    colour: bool
    change: bool

    @property
    def model(self) -> Model:
        return self.choice.model

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """The weights as they are, (out, in / groups, rows, columns)."""
        return _kernels(self.model, self.layer.name)

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """What is drawn: the weights, or how far they came since the start."""
        if not self.change:
            return self.weights
        return self.weights - _kernels(cache.model(self.choice.name, 0), self.layer.name)

    @cached_property
    def wiring(self) -> learned.Convolution:
        return learned.wiring(self.model, self.layer.name)

    @property
    def grid(self) -> bool:
        """Whether every filter is one tile: one input each, or three colours as one."""
        return self.values.shape[1] == 1 or self.colour

    @cached_property
    def strengths(self) -> NDArray[Any]:
        if self.change:
            return np.linalg.norm(self.values.reshape(len(self.values), -1), axis=1)
        return cache.result(
            lambda: learned.strengths(self.model, self.layer.name), "strengths", self.model.digest, self.layer.name
        )

    @cached_property
    def twins(self) -> list[learned.Twin]:
        return cache.result(lambda: learned.twins(self.weights), "twins", self.model.digest, self.layer.name)

    def twin(self, filter: int) -> learned.Twin | None:
        """The near-duplicate of a filter, if it has one: on other inputs the same pattern is no duplicate."""
        twin, inputs = self.twins[filter], self.wiring.inputs_of
        return twin if abs(twin.cosine) >= learned.ALIKE and inputs(filter) == inputs(twin.filter) else None

    @cached_property
    def activation(self) -> Layer | None:
        return learned.activation_after(self.model, self.layer.name)

    @cached_property
    def activations(self) -> NDArray[np.float32]:
        """The mean of every channel on the picture, after its activation where it has one."""
        name = (self.activation or self.layer).name
        maps = cache.outputs(self.choice.model, self.choice.image, (name,))[name]
        return np.asarray(maps.reshape(len(maps), -1).mean(axis=1))

    @cached_property
    def tried(self) -> silence.Tried | None:
        return silence.tried(self.model, self.activation) if self.activation else None

    @property
    def dead(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.values), bool) if self.tried is None else self.tried.dead

    @cached_property
    def ordered(self) -> NDArray[np.intp]:
        """All filters, first first."""
        keys = {STRENGTH: lambda: self.strengths, ACTIVATION: lambda: self.activations}
        key = keys.get(self.order, lambda: -np.arange(len(self.values)))()
        return np.argsort(-np.nan_to_num(key, nan=-np.inf), kind="stable")

    @property
    def most(self) -> int:
        """How many filters go on one page."""
        if self.grid:
            return MOST_TILES
        return MOST_POINTS if self.wiring.size == (1, 1) else MOST_FILTERS

    @cached_property
    def inputs(self) -> NDArray[np.intp]:
        """The inputs that have a column, as places in the kernels' second dimension."""
        most = MOST_POINTS if self.wiring.size == (1, 1) else MOST_COLUMNS
        return figures.strongest_inputs(self.values, most)

    @cached_property
    def top(self) -> float | None:
        """The end of the shared scale; None when every kernel has its own."""
        if self.per == "kernel":
            return None
        whole = _strongest_of_network(self) if self.per == "network" else self.values
        return float(scales.strongest(np.asarray(whole), signed=True))


@view("Filters", section="See", order=20, lede="The kernels, as they were learned.")
def filters(choice: Choice) -> None:
    """Stepper over the convolutions, controls, all kernels, one kernel."""
    names = learned.convolutions(choice.model)
    if not names:
        frame.caption("Nothing to see:", "this network runs no convolution that can be seen, so it has no kernels.")
        return
    layer = _layer(choice.model, names)
    layers.stepper(choice.model, layer, lambda each: each.name in names)
    shown = _controls(choice, layer, names)
    kernel, page = _chosen(shown), _page(shown)
    tiles = _tiles(shown, page)
    with frame.plate(
        _title(shown),
        _facts(shown),
        about=ABOUT,
        png=lambda: _png(shown),
        npz=lambda: _arrays(shown),
        python=_python(shown),
        layer=layer.name,
        order=shown.order,
        scale=shown.per,
        shown=CHANGE if shown.change else NOW,
    ):
        kernel_matrix(
            tiles,
            _readout(shown, kernel),
            key="kernels",
            layer=layer.name,
            legend=_legend(shown),
            note=_note(shown),
            caption=_caption(shown),
            page=(page, _pages(shown)),
            page_words=_page_words(shown, page),
            on_choose=lambda value: _choose(shown, value),
            on_action=lambda name: _act(shown, name, kernel),
            on_page=lambda number: _turn(int(number)),
        )
    if goal := st.session_state.pop("cnnviz:open-map", None):
        frame.go("feature_maps", **goal)


# What is chosen


def _layer(model: Model, names: list[str]) -> Layer:
    """The convolution in the address; where that names another layer, the convolution before it."""
    asked = st.query_params.get("layer") or st.session_state.get("cnnviz:layer")
    ran = [layer.name for layer in model.layers]
    before = [name for name in names if asked in ran and ran.index(name) <= ran.index(asked)]
    return model.layer(before[-1] if before else names[0])


def _controls(choice: Choice, layer: Layer, names: list[str]) -> Shown:
    rgb = layer.name == names[0] and _kernels(choice.model, layer.name).shape[1] == 3
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="cnnviz-controls"):
        if len(names) > MANY_LAYERS:
            _layer_menu(names, layer)
        order = _segments("Order", (STRENGTH, ACTIVATION, INDEX), STRENGTH, "filter_order")
        per = _segments("Scale", SCALES, "layer", "kernel_scale")
        colour = rgb and _segments("", (COLOUR, APART), COLOUR, "colour") == COLOUR
        change = _has_start(choice) and _segments("", (NOW, CHANGE), NOW, "shown") == CHANGE
    return Shown(choice, layer, order, per, colour, change)


def _segments(label: str, options: tuple[str, ...], default: str, key: str) -> str:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
        if label:
            st.html(f'<span style="font-size:0.875rem;opacity:0.76">{label}</span>', width="content")
        return st.segmented_control(
            label or key.capitalize(), options, default=default, key=key, bind="query-params", required=True,
            width="content", label_visibility="collapsed",
        )  # fmt: skip


def _layer_menu(names: list[str], layer: Layer) -> None:
    key = f"filter-menu:{layer.name}"
    st.selectbox(
        "Layer", names, index=names.index(layer.name), key=key, label_visibility="collapsed", width=190,
        on_change=lambda: layers.choose_layer(st.session_state[key]),
    )  # fmt: skip


def _has_start(choice: Choice) -> bool:
    return choice.epoch is not None and 0 in checkpoint.epochs(choice.name)


def _chosen(shown: Shown) -> Kernel:
    """The kernel in the address, when this layer has it; else the first filter's strongest."""
    asked = st.query_params.get("kernel", st.query_params.get("channel", ""))
    parts = [int(part) for part in asked.split(",") if part.isdecimal()]
    count = len(shown.values)
    filter = parts[0] if parts and parts[0] < count else int(shown.ordered[0])
    inputs = shown.wiring.inputs_of(filter)
    if len(parts) == 2 and parts[0] == filter and parts[1] in inputs:
        return Kernel(filter, parts[1])
    sizes = np.square(np.nan_to_num(shown.values[filter])).sum(axis=(1, 2))
    return Kernel(filter, inputs[int(sizes.argmax())])


def _choose(shown: Shown, value: dict[str, int]) -> None:
    filter, place = int(value["filter"]), int(value["input"])
    inputs = shown.wiring.inputs_of(filter)
    st.query_params["kernel"] = str(filter) if place not in inputs else f"{filter},{place}"


def _act(shown: Shown, name: str, kernel: Kernel) -> None:
    if name == "target":
        choices.aim(Channel(shown.layer.name, kernel.filter))
    else:
        layer = (shown.activation or shown.layer).name
        st.session_state["cnnviz:open-map"] = {"layer": layer, "cell": f"{kernel.filter},0,0"}


def _pages(shown: Shown) -> int:
    return -(-len(shown.values) // shown.most)


def _page(shown: Shown) -> int:
    asked = st.query_params.get("part", "1")
    return min(int(asked) - 1 if asked.isdecimal() and int(asked) else 0, _pages(shown) - 1)


def _turn(number: int) -> None:
    st.query_params["part"] = str(number + 1)


# What is drawn


def _kernels(model: Model, layer: str) -> NDArray[np.float32]:
    return cache.result(lambda: learned.kernels(model, layer), "kernels", model.digest, layer)


def _strongest_of_network(shown: Shown) -> float:
    def compute() -> float:
        names = learned.convolutions(shown.model)
        return max(float(scales.strongest(learned.kernels(shown.model, name), signed=True)) for name in names)

    return cache.result(compute, "strongest kernel", shown.model.digest)


def _tiles(shown: Shown, page: int) -> Tiles:
    here = shown.ordered[page * shown.most : (page + 1) * shown.most]
    values = shown.values[here] if shown.grid else shown.values[np.ix_(here, shown.inputs)]
    tops = _tops(shown, values)
    return Tiles(
        values=values,
        filters=here.tolist(),
        inputs=[] if shown.grid else _input_numbers(shown),
        scale=scales.Scale(-tops, tops, "diverging"),
        strengths=shown.activations[here] if shown.order == ACTIVATION else shown.strengths[here],
        dead=shown.dead[here].tolist(),
        twins=[twin.filter if (twin := shown.twin(int(each))) else -1 for each in here],
        colours=figures.composite(values, tops) if shown.colour else None,
        grid=shown.grid,
    )


def _input_numbers(shown: Shown) -> list[int]:
    """Column heads: input channels; with several groups each filter's own inputs count from its group's first."""
    return shown.inputs.tolist()


def _tops(shown: Shown, values: NDArray[np.float32]) -> Any:
    """The limit of the shared scale, or one for each tile: of a filter where three colours are one tile."""
    if shown.top is not None:
        return shown.top
    tiles = values if shown.colour else values.reshape(-1, *values.shape[2:])
    return scales.strongest(tiles, signed=True, per="map").astype(np.float64)


def _readout(shown: Shown, kernel: Kernel) -> Readout:
    place = shown.wiring.inputs_of(kernel.filter).index(kernel.input)
    values = shown.values[kernel.filter, place]
    parts = tuple((RGB[channel], channel) for channel in range(3)) if shown.colour else ()
    limit = shown.top if shown.top is not None else float(scales.strongest(shown.values[kernel.filter], signed=True))
    return Readout(
        kernel, _kernel_title(shown, kernel), values, learned.spectrum(values), _wave(values),
        _rows(shown, kernel, values), limit, parts, _actions(), _histogram(shown),
    )  # fmt: skip


def _actions() -> list[dict[str, Any]]:
    actions = [{"name": "map", "text": "Show its map", "filled": True}] if views.page("feature_maps") else []
    return [*actions, {"name": "target", "text": "Make it the target"}]


def _histogram(shown: Shown) -> dict[str, Any]:
    return cache.result(lambda: binned(shown.values), "binned", shown.model.digest, shown.layer.name, shown.change)


# Words


def _kernel_title(shown: Shown, kernel: Kernel) -> str:
    if shown.wiring.inputs == 1:
        return f"Filter {kernel.filter}"
    name = RGB[kernel.input] if shown.colour else f"input {kernel.input}"
    return f"Filter {kernel.filter}, {name}"


def _wave(values: NDArray[np.float32]) -> str:
    if values.size == 1:
        return "A single weight passes every wave alike: it has no spectrum to speak of."
    if not np.nan_to_num(values).any():
        return "A kernel of zeros passes nothing."
    wave = learned.strongest_wave(values)
    if _is_flat(wave, values):
        return "Passes a **flat picture** best, as a blur does."
    return f"Passes **{figures.nearest(wave.degrees)}** best, one in {numbers.fixed(1 / wave.cycles, 1)} pixels."


def _is_flat(wave: learned.Wave, kernel: NDArray[np.float32]) -> bool:
    """Whether a wave is so long that a kernel of this size cannot tell it from a flat picture."""
    return wave.cycles * 2 * max(kernel.shape) < 1


def _rows(shown: Shown, kernel: Kernel, values: NDArray[np.float32]) -> list[tuple[str, str]]:
    finite = values[np.isfinite(values)]
    ends = f"{numbers.short(float(finite.min()))} to {numbers.short(float(finite.max()))}" if finite.size else "none"
    bias = getattr(shown.layer.module, "bias", None)
    moved = "change of the filter" if shown.change else "strength of the filter"
    rows = [
        ("weights", ends),
        ("sum (answer to a flat 1)", numbers.short(float(values.sum()))),
        (moved, numbers.short(float(shown.strengths[kernel.filter]))),
        ("bias", "none" if bias is None else numbers.short(float(bias[kernel.filter]))),
        ("mean of its map here", numbers.short(float(shown.activations[kernel.filter]))),
    ]
    twin = shown.twins[kernel.filter]
    if twin.cosine:
        rows.append(("most like", f"{twin.filter}, cosine {numbers.fixed(twin.cosine)}"))
    if shown.tried is not None:
        highest = float(shown.tried.highest[kernel.filter])
        none = "0: dead" if shown.dead[kernel.filter] else "0"
        reached = none if highest <= 0 else numbers.short(highest)
        rows.append((f"highest on {shown.tried.pictures} pictures", reached))
    return rows


def _title(shown: Shown) -> str:
    wiring, name = shown.wiring, shown.layer.name
    if shown.change:
        return f"{name}, how far its {wiring.filters:,} filters came"
    if wiring.depthwise:
        return f"{name}, {wiring.filters:,} depthwise filters"
    if wiring.size == (1, 1):
        return f"{name}, {wiring.filters:,} {numbers.TIMES} {shown.values.shape[1]:,} single weights"
    if wiring.inputs == 1:
        return f"{name}, all {wiring.filters:,} kernels"
    return f"{name}, {wiring.filters:,} filters {numbers.TIMES} {shown.values.shape[1]:,} inputs"


def _facts(shown: Shown) -> str:
    words = {"kernel": "a scale for each kernel", "layer": "one scale for the layer", "network": "one for the network"}
    size = numbers.shape(shown.wiring.size)
    grouped = f", {shown.wiring.groups} groups" if shown.wiring.groups > 1 and not shown.wiring.depthwise else ""
    cut = shown.values.shape[1] - len(shown.inputs)
    few = "" if shown.grid or cut <= 0 else f", the {len(shown.inputs)} strongest inputs"
    return f"{size}{grouped}{few}, {words[shown.per]}"


def _legend(shown: Shown) -> str:
    if shown.colour:
        return "colours a filter counts, their opposites against"
    return "change of weight" if shown.change else "weight, no unit"


def _note(shown: Shown) -> str:
    what = {STRENGTH: "strength", ACTIVATION: "mean activation on this picture", INDEX: "strength"}[shown.order]
    what = f"change, {what}" if shown.change and shown.order != ACTIVATION else what
    where = "Under each kernel: filter" if shown.grid else "Beside each row: filter; right"
    if shown.colour:
        return f"Grey: no weight. {where}, {what}."
    return f"{where}, {what}; {chr(8776)}{numbers.SPACE}n is nearly filter n."


def _page_words(shown: Shown, page: int) -> str:
    first = page * shown.most + 1
    last = min(first + shown.most - 1, len(shown.values))
    how = {STRENGTH: "strongest first", ACTIVATION: "most active first", INDEX: "in their own order"}[shown.order]
    return f"filters {first}{numbers.DASH}{last} of {len(shown.values):,}, {how}"


def _caption(shown: Shown) -> str:
    missing = scales.count_nan(shown.values)
    if missing:
        return (
            f"**Not a number:** {missing:,} of {shown.values.size:,} weights. Whatever this layer and all later ones "
            "give is not a number either; training went wrong before this was saved."
        )
    if not shown.values.any():
        return "**Nothing to see:** " + ("no weight moved since the start." if shown.change else "every weight is 0.")
    return " ".join(
        part for part in (_lead(shown), _about_strength(shown), _about_twins(shown), _about_dead(shown)) if part
    )


def _lead(shown: Shown) -> str:
    wiring = shown.wiring
    if shown.change:
        return (
            "**Look for** where training pulled: red weights grew, blue ones fell, and white ones stayed as they were "
            "drawn at random."
        )
    if wiring.depthwise:
        return "**Look for** one small pattern for each channel: a depthwise filter sees its own channel and no other."
    if wiring.size == (1, 1):
        return "**Look for** rows that mix few channels: a 1 × 1 filter looks at one position and only weighs channels."
    if shown.colour:
        return "**Look for** edges in grey and blobs in colour: filters for brightness and filters for hue."
    if wiring.inputs == 1:
        return "**Look for** " + _stripes(shown)
    return "**Look for** columns that are strong in many rows, the input channels that most filters use. " + _inputs(
        shown
    )


def _inputs(shown: Shown) -> str:
    """Whether some input channels carry more of the weight than others."""
    energy = np.square(np.nan_to_num(shown.values.astype(np.float64))).sum(axis=(0, 2, 3))
    shares, even = energy / energy.sum(), 1 / len(energy)
    first = int(shares.argmax())
    if shares[first] < 1.5 * even or shown.wiring.groups > 1:
        return "Here none stands out." if shown.wiring.groups == 1 else ""
    share = numbers.percent(float(shares[first]))
    return f"Input {first} carries {share} of the squared weight; an even share is {numbers.percent(even)}."


def _stripes(shown: Shown) -> str:
    """What the waves of single-input kernels have in common."""
    waves = [learned.strongest_wave(values[0]) for values in shown.values]
    flat = sum(_is_flat(wave, shown.values[0, 0]) for wave in waves)
    names = [figures.nearest(wave.degrees) for wave in waves if not _is_flat(wave, shown.values[0, 0])]
    if not names:
        return "blurs: every kernel passes a flat picture best."
    common = max(set(names), key=names.count)
    often = names.count(common)
    direction = f"most often to {common} ({often})" if often > len(names) / 3 else "in no direction more than in others"
    rest = f"; {flat} {'passes' if flat == 1 else 'pass'} a flat picture best" if flat else ""
    return f"edges: {len(names)} of {len(waves)} kernels answer to stripes, {direction}{rest}."


def _about_strength(shown: Shown) -> str:
    order = np.argsort(-np.nan_to_num(shown.strengths), kind="stable")
    first, last = int(order[0]), int(order[-1])
    if first == last or shown.strengths[first] <= 0:
        return ""
    verb = "came farthest" if shown.change else "is the strongest"
    most, least = float(shown.strengths[first]), float(shown.strengths[last])
    none = int((shown.strengths < NOTHING * most).sum())
    rest = f", {numbers.short(most / least, 2)} times filter {last}" if not none else ""
    nothing = f"; {none} {'has' if none == 1 else 'have'} practically none" if none else ""
    return f"Filter {first} {verb} ({numbers.short(most)}){rest}{nothing}."


def _about_twins(shown: Shown) -> str:
    pairs = sorted(
        {(min(f, t.filter), max(f, t.filter), t.cosine < 0) for f in range(len(shown.values)) if (t := shown.twin(f))}
    )
    if not pairs or shown.wiring.size == (1, 1):
        return ""
    if len(pairs) > 3:
        return f"{len(pairs)} pairs of filters are nearly the same or each other’s negative."
    said = [f"{a} and {b} are nearly {'negatives' if negative else 'the same'}" for a, b, negative in pairs]
    return numbers.listing(said) + "."


def _about_dead(shown: Shown) -> str:
    if shown.tried is None:
        return ""
    over = f"over {shown.tried.pictures:,} pictures of {shown.tried.title}"
    dead, silent = np.flatnonzero(shown.dead), int(shown.tried.silent.sum())
    if not silent:
        return f"No filter is dead: {over} each answers somewhere."
    if not len(dead):
        return f"{silent} never {'answers' if silent == 1 else 'answer'} {over}, too few to call them dead."
    names = numbers.listing([str(each) for each in dead[:5]]) + (f" and {len(dead) - 5} more" if len(dead) > 5 else "")
    return f"Hatched: dead {over}: {names}."


# What is taken away


def _png(shown: Shown) -> bytes:
    facts = f"{_facts(shown)}; {shown.choice.name}"
    if shown.colour:
        return captioned(_drawn(shown), _title(shown), facts=f"{facts}; {_legend(shown)}")
    top = shown.top or 1.0
    ends = None if shown.top else (f"{numbers.MINUS} largest", "largest of each")
    key = Key(_legend(shown), scales.Scale(-top, top, "diverging"), ends)
    return captioned(_drawn(shown), _title(shown), facts=facts, key=key)


def _drawn(shown: Shown) -> bytes:
    here = shown.ordered
    if shown.colour:
        return figures.composite_png(figures.composite(shown.values[here], _tops(shown, shown.values[here])))
    values = shown.values[here] if shown.grid else shown.values[here][:, shown.inputs]
    tops = _tops(shown, values)
    scale = scales.Scale(-tops, tops, "diverging")
    if shown.grid:
        values = _in_rows(values)
        scale = scales.Scale(-tops, tops, "diverging") if np.ndim(tops) == 0 else figures.kernel_scale(values, "map")
    return figures.matrix_png(values, scale, cell=8 if shown.wiring.size != (1, 1) else 6, gap=4)


def _in_rows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels of one input, eight to a row; the last row is filled with nothing."""
    count, _, height, width = values.shape
    rows = -(-count // 8)
    board = np.zeros((rows * 8, height, width), np.float32)
    board[:count] = values[:, 0]
    return board.reshape(rows, 8, height, width)


def _arrays(shown: Shown) -> dict[str, Any]:
    return {
        "kernels": shown.weights, "drawn": shown.values, "order": shown.ordered, "strengths": shown.strengths,
        "mean_activation": shown.activations, "dead": shown.dead,
        "most_like": np.array([twin.filter for twin in shown.twins]),
        "cosine": np.array([twin.cosine for twin in shown.twins]),
    }  # fmt: skip


def _python(shown: Shown) -> str:
    lines = [f'kernels = cnnviz.kernels(model, "{shown.layer.name}")  # {numbers.shape(shown.weights.shape)}']
    if shown.change:
        lines += [
            f'start = cnnviz.load("{shown.choice.name}", epoch=0)',
            f'change = kernels - cnnviz.kernels(start, "{shown.layer.name}")',
        ]
    return "\n".join(lines)
