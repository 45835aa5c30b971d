"""How one number of a feature map comes about: by hand, and in the network that is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from torch import nn

from cnnviz import Layer, Model
from cnnviz.convolution import Window, convolve
from cnnviz.figures import numbers
from cnnviz.figures.scales import scale_for
from cnnviz.figures.sheet import Key, captioned, labelled_mosaic
from cnnviz.figures.tables import tables_png
from dashboard import cache, convolving, frame
from dashboard.address import Place, choose, chosen, whole
from dashboard.choices import Choice
from dashboard.components import layer_stepper, prediction_change, stepper
from dashboard.components.by_hand import STEPS, Hand, by_hand
from dashboard.components.edit_kernel import Edit, edit_kernel
from dashboard.components.on_network import Taken, on_network
from dashboard.components.prediction_bars import softmax
from dashboard.components.shapes import NOTES, SHARE, SIZE, settings, shapes
from dashboard.views import view

ABOUT_HAND = frame.About(
    "The kernel is laid over the image; each weight is multiplied by the number under it, and the products are added. "
    "That sum is one cell of the feature map. Then the window moves on by the stride. ReLU makes negative cells 0; "
    "pooling keeps the largest (or the mean) of each block of 2 × 2.",
    "Y_{ij} = b + Σ_{u} Σ_{v} K_{uv} · X_{i·S + u·D − P, j·S + v·D − P}",
    (
        "Deep learning calls this convolution although the kernel is not flipped; mathematics calls it "
        "cross-correlation. The weights are learned, so that nothing is lost by it.",
        "Where a division leaves a rest, the last rows and columns are never covered: they are hatched.",
    ),
    "Goodfellow, Bengio and Courville, Deep Learning, 2016, chapter 9",
)
ABOUT_NETWORK = frame.About(
    "The same sum on the picture that is open. Each input channel has a kernel of its own; the window is laid over all "
    "of them at once, each gives one sum of products, and these sums and the bias are added to one number: one cell. "
    "The whole ledger is worked out in the browser and compared with what PyTorch computed.",
    "Y_{k,ij} = b_k + Σ_{c} Σ_{u,v} W_{kc,uv} · X_{c,ij+uv}",
    (
        "With groups, a filter sees the input channels of its own group only; depthwise is one channel each.",
        "A large contribution is large for this cell; it does not say that the answer depends on it.",
        "Sums of many numbers differ in the last digits by the order of adding: that is the rounding in the check.",
    ),
    "Dumoulin and Visin, A guide to convolution arithmetic, 2016, arXiv:1603.07285",
)
ABOUT_EDIT = frame.About(
    "The weights of one filter are replaced and its map is worked out anew; then a private copy of the network runs "
    "with these weights. The network itself stays as it was learned.",
    caveats=(
        "Presets are scaled to the length (L2 norm) of the learned kernel, so that later layers get numbers of a size "
        "they know.",
        "One filter of many seldom decides: a network that was trained with dropout is used to missing one.",
    ),
)
ABOUT_SIZE = frame.About(
    "A window of size F slides over W cells with P cells of padding at each end, S cells at a time; with dilation D "
    "its taps stand D cells apart. It stops as often as it fits.",
    "⌊(W + 2P − D(F − 1) − 1) / S⌋ + 1",
    (
        "With D = 1 this is ⌊(W − F + 2P) / S⌋ + 1.",
        "The division is rounded down: what is left over at the end is never looked at, and no error tells.",
    ),
    "Dumoulin and Visin, A guide to convolution arithmetic, 2016, arXiv:1603.07285",
)
ABOUT_SHARE = frame.About(
    "A dense unit has a weight of its own for every pixel. A kernel uses the same few weights at every position, so "
    "what it has learned in one corner it knows in every other.",
    "out · in · F · F  against  out · in · H · W",
)
Scores = NDArray[np.floating[Any]]
BRIEF, LONG = 4, 8  # rows of the ledger: beside the worked example, and on the network's own part
SENT = "cnnviz:convolution"  # session state: what the components were given to begin with, and what they reported


@dataclass(frozen=True)
class Part:
    """One part of the lesson: what the row of parts calls it, and what draws it."""

    title: str
    draw: Callable[[Choice], None]


@view(
    "Convolution",
    section="Learn",
    order=10,
    lede="A small window slides over the picture; at each stop it multiplies, adds and writes one number.",
    icon=":material/grid_on:",
)
def convolution(choice: Choice) -> None:
    """The row of parts, and the part that is chosen."""
    name = chosen(PLACES)["part"]
    stops = [
        {"name": key, "letter": letter, "text": part.title}
        for letter, (key, part) in zip("abcde", PARTS.items(), strict=False)
    ]
    stepper(stops, name, key="parts", label="Part", on_choose=lambda part: choose(PLACES, {"part": part}))
    PARTS[name].draw(choice)


# a: by hand


def _by_hand(choice: Choice) -> None:
    _hand_plate()
    layer = _layer(choice.model)
    if layer is not None:
        _sum_plate(choice, layer, "The same sum in the network", BRIEF)


@st.fragment
def _hand_plate() -> None:
    hand = chosen(PLACES)["hand"]
    with frame.plate(
        "By hand",
        "one window, its products, one sum; type in any cell",
        about=ABOUT_HAND,
        png=lambda: tables_png(_named(hand), "By hand", facts=_hand_facts(hand)),
        npz=hand.results,
        python=_hand_python(hand),
        state=hand.text,
    ):
        by_hand(hand, lesson=chosen(PLACES)["lesson"], key="by-hand", on_change=_keep_hand)


def _keep_hand(state: dict[str, Any]) -> None:
    choose(PLACES, {"hand": Hand.read(state["text"]), "lesson": int(state["lesson"])})


def _named(hand: Hand) -> dict[str, Scores]:
    titles = {"image": "Image", "kernel": "Kernel", "map": "Map", "after_relu": "After ReLU", "pooled": "Pooled"}
    return {titles[name]: table for name, table in hand.results().items()}


def _hand_facts(hand: Hand) -> str:
    moves = f"stride {hand.stride}, padding {hand.padding}, dilation {hand.dilation}, bias {hand.bias:g}"
    return f"{moves}; {'global average' if hand.pool == 'global' else f'2 × 2 {hand.pool}'} pooling"


def _hand_python(hand: Hand) -> str:
    size = f"{len(hand.kernel)}, {hand.stride}, {hand.padding}, {hand.dilation}"
    return (
        "import numpy as np\n"
        "from cnnviz.convolution import Window, convolve, pool, relu\n"
        f"image = np.array({[list(row) for row in hand.image]})\n"
        f"kernel = np.array({[list(row) for row in hand.kernel]})\n"
        f"window = Window({size})\n"
        f"maps = convolve(image[None], kernel[None, None], np.array([{hand.bias}]), rows=window, columns=window)\n"
        + (
            "pooled = relu(maps).mean((1, 2))"
            if hand.pool == "global"
            else f'pooled = pool(relu(maps), "{hand.pool}", rows=Window(2, stride=2))'
        )
    )


# b: on this network


def _on_network(choice: Choice) -> None:
    layer = _stepped(choice.model)
    if layer is not None:
        _sum_plate(choice, layer, f"One cell of {layer.name}", LONG)


def _stepped(model: Model) -> Layer | None:
    """The row of convolutions, and the one that is chosen."""
    layer = _layer(model)
    if layer is None:
        frame.caption("Nothing to take apart:", f"{model.name} has no layer of kind Conv2d.")
        return None
    layers = [each for each in model.layers if convolving.is_convolution(each)]
    layer_stepper(layers, layer.name, key="convolutions", label="Convolution", on_choose=_choose_layer)
    return layer


def _layer(model: Model) -> Layer | None:
    """The convolution asked for; else the first with more than one input channel, where there is something to add."""
    fit = {layer.name: layer for layer in model.layers if convolving.is_convolution(layer)}
    several = [name for name, layer in fit.items() if _reads_several(layer.module)]
    return fit.get(st.query_params.get("layer", "")) or fit.get(next(iter(several or fit), ""))


def _reads_several(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels > module.groups


def _choose_layer(name: str) -> None:
    st.query_params["layer"] = name
    choose(PLACES, {"channel": None, "at": None, "edit": None})


@st.fragment
def _sum_plate(choice: Choice, layer: Layer, title: str, rows: int) -> None:
    channel = _channel(choice, layer)
    part = convolving.taken(choice.model, choice.image, layer, channel)
    cell = _cell(part)
    with frame.plate(
        title,
        ("" if layer.name in title else f"{layer.name}, ") + _sum_facts(part) + "; largest contribution first",
        about=ABOUT_NETWORK,
        png=lambda: _maps_png(f"{layer.name}, channel {channel}", choice, {"the map": part.output}),
        npz=lambda: {
            "inputs": part.inputs,
            "kernel": part.kernel,
            "bias": np.array(part.bias or 0),
            "map": part.output,
        },
        python=_sum_python(layer.name, channel, cell),
        layer=layer.name,
        channel=channel,
        cell=cell,
    ):
        on_network(
            part,
            layer,
            choice.image[0].numpy(),
            words={"channel": channel, "channels": layer.channels, "input": "input value"},
            cell=_sent("cell", cell, (choice.model.digest, choice.image_digest, layer.name, channel)),
            rows=rows,
            key=f"ledger-{rows}",
            on_channel=_choose_channel,
            on_cell=_keep_cell,
        )


def _channel(choice: Choice, layer: Layer) -> int:
    """The output channel asked for, else the one with the largest value on this picture."""
    asked = chosen(PLACES)["channel"]
    if asked is not None and asked < layer.channels:
        return int(asked)
    outputs = convolving.passed(choice.model, choice.image, layer.name)[1]
    return int(outputs.reshape(len(outputs), -1).max(1).argmax())


def _cell(part: Taken) -> Cell:
    """The cell asked for, else the one with the largest value."""
    asked = chosen(PLACES)["at"]
    if asked is not None and asked[0] < part.output.shape[0] and asked[1] < part.output.shape[1]:
        return Cell(*asked)
    row, column = np.unravel_index(int(part.output.argmax()), part.output.shape)
    return Cell(int(row), int(column))


def _sent(name: str, now: Any, here: tuple[Any, ...]) -> Any:
    """What the component begins with: the same as last time while the choice was its own, so nothing is sent again."""
    kept = st.session_state.setdefault(SENT, {})
    place, begun, reported = kept.get(name, (None, now, now))
    if place != here or now not in (begun, reported):
        begun = reported = now
    kept[name] = (here, begun, reported)
    return begun


def _reported(name: str, value: Any) -> None:
    here, begun, _ = st.session_state[SENT][name]
    st.session_state[SENT][name] = (here, begun, value)


def _choose_channel(number: int) -> None:
    choose(PLACES, {"channel": int(number), "edit": None})


def _keep_cell(cell: list[int]) -> None:
    row, column = (int(place) for place in cell)
    _reported("cell", (row, column))
    choose(PLACES, {"at": Cell(row, column)})


class Cell(tuple[int, int]):
    """Row and column as the address holds them: "10,8"."""

    def __new__(cls, row: int, column: int) -> Cell:
        return super().__new__(cls, (row, column))

    def __str__(self) -> str:
        return f"{self[0]},{self[1]}"

    @classmethod
    def read(cls, text: str) -> Cell:
        """The cell that `text` stands for. Raises `ValueError`."""
        row, column = (int(part) for part in text.split(","))
        if row < 0 or column < 0:
            raise ValueError(text)
        return cls(row, column)


def _sum_facts(part: Taken) -> str:
    count = len(part.inputs)
    kind = "1 input channel" if count == 1 else f"{count} input channels"
    groups = f" in each of {part.groups} groups" if part.groups > 1 else ""
    moves = [f"stride {_both(part.stride)}"]
    if part.border == "zeros":
        moves.append(f"padding {_both(part.padding)}")
    else:
        moves.append(f"{part.border} border, drawn as part of the input")
    if part.dilation != (1, 1):
        moves.append(f"dilation {_both(part.dilation)}")
    size = numbers.shape(part.kernel.shape[1:])
    return f"{kind}{groups}, {size}, {', '.join(moves)}"


def _both(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else numbers.shape(pair)


def _sum_python(layer: str, channel: int, cell: Cell) -> str:
    return (
        f'kernels = cnnviz.kernels(model, "{layer}")[{channel}]\n'
        f'maps = model.trace(image, keep=("{layer}",)).outputs["{layer}"][0]\n'
        f"value = maps[{channel}, {cell[0]}, {cell[1]}]"
    )


# c: edit the kernel


def _edit(choice: Choice) -> None:
    layer = _stepped(choice.model)
    if layer is not None:
        _edit_plates(choice, layer)


@st.fragment
def _edit_plates(choice: Choice, layer: Layer) -> None:
    channel = _channel(choice, layer)
    part = convolving.taken(choice.model, choice.image, layer, channel)
    edit = chosen(PLACES)["edit"]
    edit = edit if edit is not None and edit.fits(part.kernel) else None
    kernel = part.kernel if edit is None else edit.applied(part.kernel)
    with frame.plate(
        f"A kernel of {layer.name}",
        _sum_facts(part),
        about=ABOUT_EDIT,
        png=lambda: _maps_png(f"{layer.name}, channel {channel}", choice, _both_maps(part, kernel)),
        npz=lambda: {"learned": part.kernel, "edited": kernel, "map": part.output},
        python=_edit_python(layer.name, channel, edit),
        layer=layer.name,
        channel=channel,
        edit=str(edit or ""),
    ):
        edit_kernel(
            part,
            words={"layer": layer.name, "channel": channel, "channels": layer.channels},
            edit=_sent("edit", edit, (choice.model.digest, choice.image_digest, layer.name, channel)),
            key="edit-kernel",
            on_channel=_choose_channel,
            on_edit=_keep_edit,
        )
    after = convolving.scores_with(choice.model, choice.image, layer, channel, kernel)
    before = cache.scores(choice.model, choice.image)
    with frame.plate("What the network says then", choice.facts(), npz=lambda: {"learned": before, "edited": after}):
        prediction_change(
            before, after, choice.model.classes, key="edited-prediction", chosen=choice.target_class,
            words=("learned kernel", "this kernel"), columns=("learned", "edited", "change"),
        )  # fmt: skip
        frame.caption("Look for", _edit_words(choice, before, after, edited=edit is not None))


def _both_maps(part: Taken, kernel: Scores) -> dict[str, Scores]:
    """The map with the learned kernel and the one with `kernel` (C, kh, kw), each (h, w)."""
    rows, columns = (
        Window(size, stride, padding, dilation)
        for size, stride, padding, dilation in zip(
            kernel.shape[1:], part.stride, part.padding, part.dilation, strict=True
        )
    )
    delta = np.asarray(kernel - part.kernel, float)
    moved = [place for place, change in enumerate(delta) if change.any()]
    changed = (
        convolve(np.asarray(part.inputs[moved], float), delta[None, moved], rows=rows, columns=columns)[0]
        if moved
        else 0
    )
    height, width = part.output.shape
    return {"learned kernel": part.output, "this kernel": part.output + np.asarray(changed)[..., :height, :width]}


def _maps_png(title: str, choice: Choice, maps: dict[str, Scores]) -> bytes:
    """Maps side by side on one scale, as a picture to keep."""
    values = np.stack(list(maps.values())).astype(np.float32)
    scale = scale_for(values, signed=True, per="layer")
    labels = [(name, numbers.short(float(each.max()), 2)) for name, each in maps.items()]
    mosaic = labelled_mosaic(values, scale, labels, columns=len(maps), cell=max(1, 224 // max(values.shape[1:])))
    key = Key("output value, no unit; under each map its largest", scale)
    return captioned(mosaic, title, facts=choice.facts(), key=key)


def _keep_edit(text: str) -> None:
    edit = Edit.read(text) if text else None
    _reported("edit", edit)
    choose(PLACES, {"edit": edit})


def _edit_words(choice: Choice, before: Scores, after: Scores, *, edited: bool) -> str:
    """What the edit did to the answer, in one sentence."""
    if not edited:
        return "what a change does: the kernel above is as it was learned, so both answers are the same."
    names, old, new = choice.model.classes, int(before.argmax()), int(after.argmax())
    shares = [numbers.percent(float(softmax(scores)[old])) for scores in (before, after)]
    moved = f"**{names[old]}** goes from {shares[0]} to {shares[1]}"
    if new != old:
        return f"the answer, which changes: {moved}; now it says **{names[new]}**."
    if shares[0] == shares[1]:
        return f"the answer, which stays: {names[old]} keeps its {shares[0]}. One kernel of many seldom decides."
    return f"the answer, which stays **{names[old]}**: it goes from {shares[0]} to {shares[1]}."


def _edit_python(layer: str, channel: int, edit: Edit | None) -> str:
    if edit is None:
        return f'kernel = cnnviz.kernels(model, "{layer}")[{channel}]'
    where = ":" if edit.channel is None else str(edit.channel)
    return (
        "import copy\nimport torch\n"
        "network = copy.deepcopy(model.network).eval()\n"
        "with torch.no_grad():\n"
        f'    weight = network.get_submodule("{layer}").weight\n'
        f"    values = torch.tensor({list(edit.values)})\n"
        f"    weight[{channel}, {where}] = values.reshape(weight.shape[2:])\n"
        "    scores = network(model.normalised(image))[0]"
    )


# d: shapes and sharing


def _shapes(choice: Choice) -> None:
    own = convolving.chain_of(choice.model)
    places = chosen(PLACES)
    window = places["size"].split("_")
    lines = f"from cnnviz.convolution import Window\nWindow({', '.join(window[1:5])}, ceil={window[5] == '1'})"
    with frame.plate("How large the result is", about=ABOUT_SIZE, python=f"{lines}.positions({window[0]})"):
        _figure("size", places["size"])
    with frame.plate("Layer after layer", "change any number; the sizes follow", about=ABOUT_SIZE):
        _figure("chain", places["chain"] or own or NOTES, own)
    with frame.plate("A puzzle", "5 × 5 with stride 2"):
        shapes("puzzle", "", key="shapes-puzzle")
    with frame.plate("Shared weights", "what a kernel saves against a dense layer", about=ABOUT_SHARE):
        _figure("share", places["share"])


def _figure(kind: str, text: str, own: str = "") -> None:
    shapes(
        kind, text, key=f"shapes-{kind}", own=own,
        on_change=lambda new: choose(PLACES, {kind: settings(kind)(new)}),
    )  # fmt: skip


PARTS = {
    "hand": Part("By hand", _by_hand),
    "network": Part("On this network", _on_network),
    "edit": Part("Edit the kernel", _edit),
    "shapes": Part("Shapes and sharing", _shapes),
}


def _part(text: str) -> str:
    if text not in PARTS:
        raise ValueError(text)
    return text


PLACES = {
    "part": Place("hand", _part),
    "hand": Place(Hand(), Hand.read),
    "lesson": Place(0, whole(0, STEPS)),
    "channel": Place(None, whole(0, 100_000)),
    "at": Place(None, Cell.read),
    "edit": Place(None, Edit.read),
    "size": Place(SIZE, settings("size")),
    "chain": Place("", settings("chain")),
    "share": Place(SHARE, settings("share")),
}
