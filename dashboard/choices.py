"""What one looks at, chosen at the left of every page: model, epoch, image, target; at the bottom, what the model says.

Every choice is a widget bound to the address, so a view is a link and Back is the choice before. The surprise: the
address holds the *labels* of the menus, so a label never carries a number that depends on another choice (only the
first one, "Predicted class, 4", may: a default is not written into the address).
"""

from __future__ import annotations

import base64
import html
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz import Channel, Class, Difference, Model, Neuron, WholeLayer, checkpoint, data, picture
from cnnviz.errors import CnnvizError
from cnnviz.figures import numbers, pixels
from cnnviz.networks.published import torchvision_names
from dashboard import cache as kept
from dashboard import gallery
from dashboard.components.draw_pad import draw_pad
from dashboard.gallery import Picture

Target = Any
GALLERY, UPLOAD, CAMERA, DRAW = "Gallery", "Upload a picture", "Camera", "Draw a digit"
PREDICTED, TRUE, DIFFERENCE = "Predicted class", "True class", "Class difference"
RUNNER_UP, EVERY = "Runner-up", "Any class"
READOUTS = {"Logit": "logit", "Prob.": "probability", "Log p": "log_probability"}
TORCHVISION = tuple(
    f"torchvision:{name}"
    for name in (
        *(
            f"{name}@DEFAULT"
            for name in "alexnet vgg11 vgg16 squeezenet1_1 resnet18 resnet50 googlenet densenet121 mobilenet_v2 "
            "mobilenet_v3_small efficientnet_b0 convnext_tiny".split()
        ),
        "resnet18",
        "vgg16",
    )
)
MINE = "cnnviz:mine"  # session state: pictures a person gave, by label
STROKES = "cnnviz:strokes"  # session state: the drawing so far
NOTICES = "cnnviz:notices"  # session state: sentences about what could not be shown, until the next choice
POINTED = "cnnviz:pointed"  # session state: which of them is shown
ASKED = "cnnviz:asked"  # session state: the address as it was read last
LAST_MODEL = "cnnviz:model"
FAILED = "cnnviz:failed"  # session state: the model that could not be opened, and why
MOST_OF_MINE, MOST_BYTES = 8, 40_000_000  # files as they came: decoded, one can be seven times its size
_UNIT = re.compile(r"(?P<layer>\S+) channel (?P<channel>\d+)(?: cell \((?P<row>\d+), (?P<column>\d+)\))?")
_LAYER = re.compile(r"all of (?P<layer>\S+)")


@dataclass(frozen=True, eq=False)
class Choice:
    """Everything that has been chosen, for a view to draw.

    `image` (1, C, H, W) in [0, 1] as the model takes it; `scores` (K,) its logits; `target` what is being explained;
    `true_label` the index of the picture's class among the model's, None where it is not known; `epoch` None at the
    end.
    """

    model: Model
    epoch: int | None
    picture: Picture
    image: Tensor
    scores: NDArray[np.float32]
    target: Target
    true_label: int | None

    @property
    def name(self) -> str:
        """The model's name as one chooses it."""
        return self.model.name

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Softmax of the scores, (K,)."""
        powers = np.exp(self.scores - self.scores.max())
        return np.asarray(powers / powers.sum())

    @cached_property
    def ranking(self) -> NDArray[np.int64]:
        """Class indices, the most probable first."""
        return np.argsort(-self.scores, kind="stable")

    @property
    def predicted(self) -> int:
        return int(self.ranking[0])

    @property
    def runner_up(self) -> int:
        """The second most probable class; the first where there is only one."""
        return int(self.ranking[min(1, len(self.ranking) - 1)])

    @property
    def target_class(self) -> int | None:
        """The class being explained: of a difference the first; None for a layer, channel or neuron."""
        return getattr(self.target, "index", getattr(self.target, "first", None))

    @cached_property
    def image_digest(self) -> str:
        return kept.digest(self.image)

    def class_name(self, index: int) -> str:
        return self.model.classes[index]

    def facts(self) -> str:
        """ "epoch 6, MNIST train 718": the quiet facts in a plate's line."""
        return ", ".join(([f"epoch {self.epoch}"] if self.epoch is not None else []) + [self.picture.title])

    def manifest(self) -> dict[str, Any]:
        """What a download says about where its numbers come from; `python` are the lines that open all of it."""
        return {
            "model": self.name,
            "model_digest": self.model.digest,
            "epoch": self.epoch,
            "image": self.picture.title,
            "image_digest": self.image_digest,
            "target": self.target.text,
            "versions": _versions(),
            "python": self.python(),
        }

    def python(self) -> tuple[str, ...]:
        """The lines of Python that open this model, image and target."""
        shown = self.model.card.get("epoch_shown")
        epoch = "" if shown is None else f", epoch={shown}"
        return (
            *(("import cnnviz", "from cnnviz import data") if "data." in self.picture.code else ("import cnnviz",)),
            "",
            f'model = cnnviz.load("{self.name}"{epoch})',
            f"image = model.prepare({self.picture.code.replace('cnnviz.data', 'data')})",
            f"target = cnnviz.{self.target!r}",
        )


def choose() -> Choice:
    """Draw the choices (inside `st.sidebar`) and give what has been chosen. What cannot be is said, and replaced."""
    st.session_state[NOTICES] = _lasting_notices()
    name, model, epoch = _model()
    shown = _picture(model, changed=st.session_state.get(LAST_MODEL) not in (None, name))
    st.session_state[LAST_MODEL] = name
    image = kept.result(lambda: model.prepare(shown.pixels), "image", shown.digest, model.size, model.resize)
    scores = kept.scores(model, image)
    true = model.classes.index(shown.label) if shown.label in model.classes else None
    _thumbnail(shown, image, model)
    target = _target(model, scores, true)
    choice = Choice(model, epoch, shown, image, scores, target, true)
    _answer(choice)
    st.session_state[NOTICES]["with"] = _chosen_now()
    return choice


def label_of(target: Target) -> str:
    """How a channel, neuron or layer is called in the target menu, and in the address: for `frame.href(target=...)`."""
    if isinstance(target, Neuron):
        return f"{target.layer} channel {target.channel} cell ({target.row}, {target.column})"
    return f"{target.layer} channel {target.channel}" if isinstance(target, Channel) else f"all of {target.layer}"


def class_label(model: Model, index: int) -> str:
    """How a class is called in the target menu, and in the address: for `frame.href(target=...)`."""
    return class_labels(model.classes)[index]


@cache
def class_labels(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of classes as menu entries, each of them once."""
    if all(name.isdigit() for name in classes):
        return tuple(f"Class {name}" for name in classes)
    return tuple(f"{name} ({index})" if len(classes) > 20 else name for index, name in enumerate(classes))


def aim(target: Target) -> None:
    """Make `target` (a class of the chosen model's, channel, neuron or layer) the target; call this in a callback."""
    if isinstance(target, Class):
        st.session_state["target"] = class_label(kept.model(st.session_state[LAST_MODEL]), target.index)
    else:
        st.session_state["target"] = label_of(target)


def say_what_was_wrong() -> None:
    """One line for each choice that could not be shown as asked."""
    for sentence in st.session_state.get(NOTICES, {}).get("said", ()):
        st.html(f'<p class="cnnviz-notice" role="status"><b>Note.</b> {html.escape(sentence)}</p>')


# Model and epoch


def model_names() -> tuple[str, ...]:
    """What can be opened: the shipped checkpoints, torchvision's best known, and the one the address asks for."""
    asked = st.session_state.get("model") or st.query_params.get("model") or ""
    names = (*checkpoint.MODELS, *TORCHVISION)
    return names if asked in names or not _torchvision_has(asked) else (*names, asked)


def _torchvision_has(name: str) -> bool:
    return name.startswith("torchvision:") and name[12:].partition("@")[0] in torchvision_names()


def _model() -> tuple[str, Model, int | None]:
    names = model_names()
    _check("model", names, "a model here", names[0])
    name = st.selectbox("Model", names, key="model", bind="query-params")
    facts = st.empty()
    epoch = _epoch(name)
    model = _opened(name, None if epoch == _last_epoch(name) else epoch)
    if model is None:
        name, epoch = names[0], _last_epoch(names[0])
        model = kept.model(name)
    facts.html(f'<p class="cnnviz-quiet">{html.escape(_model_facts(model))}</p>')
    return name, model, epoch


def _opened(name: str, epoch: int | None) -> Model | None:
    """The model, or None after a sentence why not; what failed is not tried again before something else is chosen."""
    failed = st.session_state.get(FAILED, (None, ""))
    if failed[0] != name:
        try:
            model = kept.model(name, epoch)
        except CnnvizError as problem:
            failed = st.session_state[FAILED] = (name, str(problem))
        else:
            st.session_state.pop(FAILED, None)
            return model
    _notice(f"{failed[1]} Showing {model_names()[0]} instead.")
    return None


def _last_epoch(name: str) -> int | None:
    """The number of epochs a model with a history was trained for; None for one without."""
    info = checkpoint.MODELS.get(name)
    return max((*info.epochs, int(info.card.get("epochs", 0)))) if info and info.epochs else None


def _epoch(name: str) -> int | None:
    last = _last_epoch(name)
    if last is None:
        return None
    stops = sorted({*checkpoint.MODELS[name].epochs, last})
    _check("epoch", [str(stop) for stop in stops], f"an epoch of {name}", f"epoch {last}")
    changed = st.session_state.get(LAST_MODEL) not in (None, name)
    if st.session_state.get("epoch", last) not in stops or (changed and "epoch" not in st.query_params):
        st.session_state["epoch"] = last  # an epoch nobody chose is the last one of the new model, too
    return st.select_slider(f"Epoch, of {last}", stops, value=last, key="epoch", bind="query-params")


def _model_facts(model: Model) -> str:
    convolutions = sum(layer.kind == "Conv2d" for layer in model.layers)
    words = [f"{convolutions} convolution{'s' * (convolutions != 1)}", f"{model.parameters:,} parameters"]
    accuracy = model.card.get("accuracy")
    if isinstance(accuracy, Mapping) and "epoch_shown" not in model.card:
        words.append(f"test accuracy {numbers.percent(float(accuracy['value']))}")
    weights = str(model.card.get("weights", ""))
    return ", ".join(words + (["random weights"] if weights.startswith("random") else []))


# Image


def _picture(model: Model, *, changed: bool) -> Picture:
    sources = (GALLERY, *_data_sets(), UPLOAD, CAMERA, DRAW)
    _check("image", sources, "a place pictures come from", GALLERY)
    source = st.selectbox("Image", sources, key="image", bind="query-params")
    give = {GALLERY: _from_gallery, UPLOAD: _uploaded, CAMERA: _photographed, DRAW: _drawn}.get(source)
    if give:
        return give(model, changed)
    return _from_data(_data_sets()[source])


@cache
def _data_sets() -> dict[str, str]:
    """Title → name of every data set that is on this machine."""
    return {info.title: name for name, info in data.DATASETS.items() if name != "photos" and data.is_here(name)}


def _from_gallery(model: Model, changed: bool) -> Picture:
    names = gallery.names_for(model.size)
    first = names[0]
    _check("picture", names, "a picture of the gallery", first)
    if changed and "picture" not in st.query_params:
        st.session_state["picture"] = first  # a picture nobody chose makes room for one that fits the new model
    name = st.selectbox("Picture", names, key="picture", bind="query-params", label_visibility="collapsed")
    return gallery.from_gallery(name)


def _from_data(name: str) -> Picture:
    whole = data.open(name)
    classes = (EVERY, *whole.classes)
    _check("class", classes, f"a class of {whole.title}", EVERY)
    left, right = st.columns(2, gap="small")
    label = left.selectbox("Class", classes, key="class", bind="query-params")
    places = np.arange(len(whole)) if label == EVERY else whole.of_class(whole.classes.index(label))
    _check_range("number", len(places), f"{whole.title}, {label.lower()},")
    number = right.number_input("Number", 0, len(places) - 1, 0, key="number", bind="query-params")
    return gallery.from_data(name, int(places[number]))


def _uploaded(model: Model, changed: bool) -> Picture:
    def take() -> None:
        if st.session_state["upload"] is not None:
            _keep(st.session_state["upload"].getvalue(), st.session_state["upload"].name)

    st.file_uploader(
        "Picture file",
        type=["png", "jpg", "jpeg", "webp", "bmp", "gif"],
        key="upload",
        on_change=take,
        max_upload_size=20,
        label_visibility="collapsed",
    )
    return _mine(model, changed)


def _photographed(model: Model, changed: bool) -> Picture:
    def take() -> None:
        if st.session_state["camera"] is not None:
            _keep(st.session_state["camera"].getvalue(), "photo")

    st.camera_input("Take a photo", key="camera", on_change=take, label_visibility="collapsed")
    return _mine(model, changed)


def _drawn(model: Model, changed: bool) -> Picture:
    def take(strokes: list[list[list[float]]]) -> None:
        st.session_state[STROKES] = strokes
        if strokes:
            _remember(gallery.drawing(strokes))

    draw_pad(st.session_state.get(STROKES, []), key="draw", on_strokes=take)
    return _mine(model, changed)


def _keep(content: bytes, name: str) -> None:
    st.session_state[NOTICES]["said"] = []
    try:
        picture.read(content)
    except CnnvizError as problem:
        _notice(f"{name}: {problem}")
        return
    _remember(Picture(content, name[:24], credit="your own picture", code=json.dumps(name)))


def _remember(shown: Picture) -> None:
    mine: dict[str, Picture] = st.session_state.setdefault(MINE, {})
    label = f"{shown.source} {shown.digest[:8]}"
    mine.pop(label, None)
    mine[label] = shown
    while len(mine) > 1 and (len(mine) > MOST_OF_MINE or sum(len(own.pixels) for own in mine.values()) > MOST_BYTES):
        del mine[next(iter(mine))]
    _point_at(label)


def _point_at(label: str) -> None:
    """Put one of a person's own pictures into the address; only this session can show it."""
    st.session_state[POINTED] = st.query_params["mine"] = label


def _mine(model: Model, changed: bool) -> Picture:
    mine: dict[str, Picture] = st.session_state.get(MINE, {})
    asked = st.query_params.get("mine", st.session_state.get(POINTED, ""))
    if asked and asked not in mine:
        _notice(
            f"“{asked}” was given in another visit and is kept nowhere; please give it again. "
            f"Until then you see {gallery.names_for(model.size)[0]}."
        )
    if not mine or (asked and asked not in mine):
        return gallery.from_gallery(gallery.names_for(model.size)[0])
    labels = tuple(reversed(mine))
    st.session_state["yours"] = asked or labels[0]
    if len(labels) > 1:
        st.selectbox(
            "Your pictures", labels, key="yours", label_visibility="collapsed",
            on_change=lambda: _point_at(st.session_state["yours"]),
        )  # fmt: skip
    return mine[asked or labels[0]]


def _thumbnail(shown: Picture, image: Tensor, model: Model) -> None:
    source = kept.result(lambda: _small_png(image), "thumbnail", image)
    facts = [(shown.source, shown.number)] if shown.number else [("Picture", shown.source)]
    facts += [("True class", shown.label)] if shown.label is not None else []
    facts += [("Size", numbers.shape(model.size[1:]))]
    lines = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts)
    st.html(
        f'<div class="cnnviz-image"><img src="data:image/png;base64,{source}" width="84" height="84" '
        f'alt="{html.escape(shown.title)}, as the network sees it"><dl>{lines}</dl></div>'
        + (f'<p class="cnnviz-quiet cnnviz-credit">{html.escape(shown.credit)}</p>' if not shown.number else "")
    )


def _small_png(image: Tensor) -> str:
    planes = image[0] if image.shape[1] in (1, 3) else image[0].mean(0, keepdim=True)
    if max(planes.shape[1:]) > 168:
        planes = torch.nn.functional.interpolate(planes[None], (168, 168), mode="area")[0]
    return base64.b64encode(pixels.picture_png(planes.numpy())).decode()


# Target


def _target(model: Model, scores: NDArray[np.float32], true: int | None) -> Target:
    labels = class_labels(model.classes)
    unit = _unit(model)
    first = np.argsort(-scores, kind="stable")
    options = (PREDICTED, *([TRUE] * (true is not None)), *([unit[0]] if unit else []), DIFFERENCE, *labels)
    _check("target", options, f"a target in {model.name} (“{labels[0]}” would be one)", PREDICTED)
    if st.session_state.get("target") == PREDICTED and "target" not in st.query_params:
        st.session_state["target"] = PREDICTED  # said again, so that the menu shows the class predicted now
    label = st.selectbox(
        "Target",
        options,
        key="target",
        bind="query-params",
        format_func=lambda option: f"{PREDICTED}, {model.classes[first[0]]}" if option == PREDICTED else option,
    )
    if label == DIFFERENCE:
        return _difference(labels, int(first[0]), int(first[min(1, len(first) - 1)]))
    if unit and label == unit[0]:
        return unit[1]
    index = {PREDICTED: int(first[0]), TRUE: true}.get(label)
    readout = st.segmented_control(
        "Read-out", list(READOUTS), default="Logit", key="readout", bind="query-params", required=True,
        label_visibility="collapsed", width="stretch",
    )  # fmt: skip
    return Class(labels.index(label) if index is None else index, READOUTS[readout or "Logit"])


def _difference(labels: Sequence[str], first: int, second: int) -> Target:
    of = st.selectbox("Of", (PREDICTED, *labels), key="of", bind="query-params")
    against = st.selectbox("Against", (RUNNER_UP, *labels), key="against", bind="query-params")
    one = first if of == PREDICTED else labels.index(of)
    other = second if against == RUNNER_UP else labels.index(against)
    return Difference(one, other)


def _unit(model: Model) -> tuple[str, Target] | None:
    """The channel, neuron or layer that was chosen on a page, with its label; None when there is none, or not here."""
    asked = st.query_params.get("target") or st.session_state.get("target") or ""
    asked = st.session_state.get("target") if _parsed(str(st.session_state.get("target") or "")) else asked
    target = _parsed(str(asked))
    if target is None:
        return None
    try:
        target.check(model)
    except CnnvizError:
        return None
    return str(asked), target


def _parsed(label: str) -> Target | None:
    if whole := _LAYER.fullmatch(label):
        return WholeLayer(whole["layer"])
    if not (found := _UNIT.fullmatch(label)):
        return None
    if found["row"] is None:
        return Channel(found["layer"], int(found["channel"]))
    return Neuron(found["layer"], int(found["channel"]), int(found["row"]), int(found["column"]))


# What the model says, and what could not be shown


def _answer(choice: Choice) -> None:
    def said(words: str, index: int) -> str:
        name, share = html.escape(choice.class_name(index)), numbers.percent(float(choice.probabilities[index]))
        size = "long" if len(choice.class_name(index)) > 3 else ""
        return f'<span>{words} <b class="{size}" title="{name}">{name}</b> <em>{share}</em></span>'

    second = said("then", choice.runner_up) if choice.runner_up != choice.predicted else ""
    st.html(
        '<a class="cnnviz-reset" href="?" data-go="?" data-fresh="1">Reset</a>'
        f'<div class="cnnviz-foot"><div class="cnnviz-answer">{said("It says", choice.predicted)}{second}</div></div>'
    )


def _notice(sentence: str) -> None:
    said: list[str] = st.session_state.setdefault(NOTICES, {"said": []})["said"]
    if sentence not in said:
        said.append(sentence)


def _lasting_notices() -> dict[str, Any]:
    """Sentences stay until another choice is made, because the address of a wrong choice is put right at once."""
    before = st.session_state.get(NOTICES, {"said": []})
    return before if before.get("with", {}) == _chosen_now() else {"said": []}


def _chosen_now() -> dict[str, Any]:
    keys = ("model", "epoch", "image", "picture", "class", "number", "target", POINTED)
    return {key: st.session_state.get(key) for key in keys if key in st.session_state}


def _check(key: str, options: Sequence[str], what: str, instead: str) -> None:
    """Say so when the address asks for something that is not among the options; the widget takes its default."""
    asked = _newly_asked(key)
    if asked and asked not in options and not asked.startswith(f"{PREDICTED},"):
        _notice(f"“{asked}” is not {what}; showing {instead}.")


def _check_range(key: str, count: int, what: str) -> None:
    asked = _newly_asked(key)
    if asked and not (asked.isdecimal() and int(asked) < count):
        _notice(f"{what} has pictures 0 to {count - 1}, not “{asked}”.")


def _newly_asked(key: str) -> str | None:
    """What the address asks for, once: after a click Streamlit still gives the address as it was before it."""
    before = st.session_state.setdefault(ASKED, {})
    asked = st.query_params.get(key)
    new = asked if before.get(key) != asked else None
    before[key] = asked
    return new


@cache
def _versions() -> Mapping[str, str]:
    from importlib.metadata import version

    names = ("torch", "numpy", "streamlit")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
