"""Saliency: which pixels move the answer, by several methods, for several answers, on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnnviz import Class, Difference
from cnnviz.attribution import METHODS
from cnnviz.figures import numbers
from cnnviz.figures.saliency import leading, own_scales, sheet_with_names, summary
from cnnviz.figures.sheet import captioned
from dashboard import explaining, frame
from dashboard.address import Place, choose, chosen, one_of, whole, yes_no
from dashboard.choices import Choice, label_of
from dashboard.components.contact_sheet import Column, Row, Tile, contact_sheet
from dashboard.components.trust_strip import trust_strip
from dashboard.explaining import Answer
from dashboard.frame import About
from dashboard.jobs.background import Work
from dashboard.jobs.polling import polled
from dashboard.options import option_widgets
from dashboard.trusting import Tested, arrays_of, trial
from dashboard.views import view

FIRST = (
    "saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "guided_backprop", "grad_cam",
)  # fmt: skip
ROWS = ("Runner-up", "True class", "Difference")
UNITS = {
    "saliency": "change of the {what} per unit of pixel value",
    "smoothgrad": "mean change of the {what} per unit of pixel value",
    "input_x_gradient": "contribution to the {what}",
    "integrated_gradients": "contribution to the {what}",
    "guided_backprop": "guided signal, no unit",
    "deconvnet": "deconvnet signal, no unit",
    "grad_cam": "weighted activation, no unit",
    "occlusion": "drop of the {what}",
}
CALLED = {"as": "view", "row": "target", "limits": "scale"}  # in the address: what the component calls it
WHAT = {"logit": "logit", "probability": "probability", "log_probability": "log-probability"}
CONVENTION = "Every gradient is with respect to the picture's own pixels in [0, 1]; the model normalises inside."
ABOUT_TRUST = About(
    "A map can look convincing and still say nothing about the network. Four questions: does it change when the "
    "weights become random, layer by layer from the top (a)? Do the pixels it marks matter when they are taken away or "
    "put back (b)? Does it survive noise that nobody sees (c)? Do its values add up to the answer, "
    "where they should (d)?",
    caveats=(
        "A map that keeps its shape under random weights shows the picture, not what the network learned.",
        "Taking pixels away makes pictures that the network has never seen; the random order has the same fault, so "
        "compare the two curves, not one curve with an ideal.",
    ),
    paper="Adebayo et al. 2018, arXiv:1810.03292; Petsiuk et al. 2018, arXiv:1806.07421; Yeh et al. 2019, "
    "arXiv:1901.09392",
)
TESTS = {
    "randomisation": "Random weights",
    "removal": "Pixels that matter",
    "noise": "A little noise",
    "completeness": "Does it add up?",
}
CAVEAT = "These tests can disagree, and none of them proves a map right: they only show in what way it can be wrong."
NOTHING_RAISES = (
    "This method keeps only what raises the number, and nothing it looks at does here: its sum is nowhere above 0. "
    "Choose another layer in Options, or a method with a sign."
)
NO_CAUSE = "Nothing comes back to the picture by this method: every path ends on the way."
ABOUT = About(
    "How the chosen number moves when a pixel moves a little: the gradient of the class's logit with respect to the "
    "picture. Each method answers that question in another way. A map with three colour channels is drawn as the value "
    "of the channel that is largest in magnitude, with its sign; its magnitude is the map of the paper.",
    "M_{ij} = max_c |∂S_k / ∂x_{cij}|",
    (
        "The gradient is with respect to pixels in [0, 1]. With respect to the normalised input it is this one times "
        "the standard deviation of the channel, and another channel may then be the largest.",
        "A map tells what a small change would do here, not what the network would say without the region: for that, "
        "see Occlusion.",
        "Guided backprop and deconvnet mostly redraw the picture; test a map before you trust it (Fig. 2).",
    ),
    "Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034",
)


@view(
    "Saliency",
    section="Explain",
    order=10,
    lede="Which pixels move the answer, and by how much.",
    icon=":material/flare:",
)
def saliency(choice: Choice) -> None:
    """Methods and answers chosen, their maps on one sheet, and the tests of the map that is large."""
    with st.container(horizontal=True, gap="small"):
        methods = _methods()
        targets = _targets(choice)
        options = _options(methods, choice)
    if not methods:
        frame.caption("Nothing to draw:", "choose at least one method.")
        return
    sheet = Sheet(methods, targets, options)
    polled(sheet.start(choice), lambda: _plate(choice, sheet))
    _trust(choice, sheet)


def _trust(choice: Choice, sheet: Sheet) -> None:
    """The tests of the map that is large, when somebody asks for them."""
    now = chosen(sheet.places)
    answer = sheet.answer(now["method"], now["row"])
    target = next(target for target in sheet.targets if target.text == now["row"])
    name = f"{METHODS[now['method']].title}, {label(choice, target)}"
    wanted = st.toggle("Test the large map", key="test", bind="query-params")
    if not wanted or answer is None or answer.values is None:
        return
    if not answer.values.any():
        frame.caption("Nothing to test:", "a map that is zero everywhere marks no pixel.")
        return
    tested = Tested(now["method"], choice.model, choice.image, target, sheet.options.get(now["method"], {}), answer)
    work = trial(tested)
    polled(work, lambda: _trust_plate(tested, work, name))


def _trust_plate(tested: Tested, work: Work, name: str) -> None:
    report = work.part or {}
    with frame.plate(
        "How far to trust it", f"{name}: {_tested(work)}", about=ABOUT_TRUST, npz=lambda: arrays_of(report)
    ):
        if work.problem:
            frame.caption("Not tested:", work.problem)
        if report:
            trust_strip(
                [(TESTS[question], answered) for question, answered in report.items()],
                [np.abs(leading(tested.answer.values))],
                unit=_removal_unit(tested.target),
                caveat=CAVEAT,
                key="trust-strip",
            )
        if not work.over:
            st.button("Stop the tests", key="stop-trust", on_click=work.cancel)
        if work.state == "cancelled":
            st.button("Go on testing", key="again-trust", on_click=lambda: trial(tested, again=True))


def _tested(work: Work) -> str:
    states = {"done": "all tests done", "cancelled": "stopped", "failed": "failed", "waiting": "waiting for its turn"}
    return states.get(work.state, f"testing, {work.parts} steps so far")


def _removal_unit(target: Any) -> str:
    return "probability" if isinstance(target, Class) else "logits" if isinstance(target, Difference) else "activation"


class Sheet:
    """What is on the sheet: methods, targets with their roles, options, and the work that fills it."""

    work: Work

    def __init__(self, methods: Sequence[str], targets: Mapping[Any, str], options: explaining.Options) -> None:
        self.methods, self.targets, self.options = methods, targets, options
        self.places = {
            "method": Place(methods[0], one_of(*methods)),
            "row": Place(next(iter(targets)).text, one_of(*(target.text for target in targets))),
        }

    def start(self, choice: Choice, *, again: bool = False) -> Work:
        """The work that fills the sheet, running or done."""
        self.work = explaining.sheet(
            choice.model, choice.image, self.methods, list(self.targets), self.options, again=again
        )
        return self.work

    @property
    def found(self) -> Mapping[explaining.Place, Answer]:
        return (self.work.part or explaining.NOTHING).answers

    @property
    def causes(self) -> Mapping[str, tuple[str, ...]]:
        return (self.work.part or explaining.NOTHING).causes

    def answer(self, method: str, target: str) -> Answer | None:
        return self.found.get((method, target))

    def map(self, method: str, target: str) -> NDArray[np.float32] | None:
        """The map as drawn, (H, W), or None while there is none."""
        answer = self.answer(method, target)
        return None if answer is None or answer.values is None else leading(answer.values)


def places(choice: Choice, sheet: Sheet) -> dict[str, Place]:
    """What the sheet keeps in the address."""
    small = max(choice.model.size[1:]) <= 64
    return {
        "show": Place("signed", one_of("signed", "magnitude")),
        "limits": Place("map", one_of("map", "method")),
        "overlay": Place(100, whole(0, 100)),
        "outline": Place(small, yes_no),
        "as": Place("map", one_of("map", "mask")),
        "keep": Place(10, whole(1, 100)),
        **sheet.places,
    }


def _methods() -> list[str]:
    titles = {METHODS[name].title: name for name in METHODS}
    with st.popover("Methods"):
        picked = st.pills(
            "Methods on the sheet",
            list(titles),
            selection_mode="multi",
            default=[METHODS[name].title for name in FIRST if name in METHODS],
            key="methods",
            bind="query-params",
        )
    return [name for title, name in titles.items() if title in picked]


def _targets(choice: Choice) -> dict[Any, str]:
    """The chosen target first, then what it is compared with; each once, with its role."""
    with st.popover("Compared with"):
        wanted = st.pills(
            "Rows of the sheet", ROWS, selection_mode="multi", default=list(ROWS), key="rows", bind="query-params"
        )
    rows = {choice.target: _role(choice)}
    for target, role in _comparisons(choice).items():
        if role in wanted:
            rows.setdefault(target, role.lower())
    return rows


def _comparisons(choice: Choice) -> dict[Any, str]:
    readout = getattr(choice.target, "readout", "logit")
    first = choice.target_class if isinstance(choice.target, Class | Difference) else choice.predicted
    other = choice.runner_up if first == choice.predicted else choice.predicted
    rows: dict[Any, str] = {Class(other, readout): "Runner-up"}
    if choice.true_label is not None:
        rows.setdefault(Class(choice.true_label, readout), "True class")
    if first is not None and first != other:
        rows[Difference(first, other)] = "Difference"
    return rows


def _role(choice: Choice) -> str:
    if isinstance(choice.target, Class) and choice.target.index == choice.predicted:
        return "predicted"
    if isinstance(choice.target, Class) and choice.target.index == choice.true_label:
        return "true class"
    return "chosen"


def _options(methods: Sequence[str], choice: Choice) -> dict[str, dict[str, Any]]:
    with_options = [name for name in methods if METHODS[name].options]
    found = {}
    with st.popover("Options", disabled=not with_options):
        for name in with_options:
            st.markdown(f"**{METHODS[name].title}**")
            found[name] = option_widgets(METHODS[name], choice.model)
    return found


def label(choice: Choice, target: Any) -> str:
    """How a target is called in a row of the sheet."""
    if isinstance(target, Class):
        return choice.class_name(target.index)
    if isinstance(target, Difference):
        return f"{choice.class_name(target.first)} {numbers.MINUS} {choice.class_name(target.second)}"
    return label_of(target)


def _plate(choice: Choice, sheet: Sheet) -> None:
    where = places(choice, sheet)
    now = chosen(where)
    target = next(target for target in sheet.targets if target.text == now["row"])
    with frame.plate(
        "Contact sheet",
        _progress(sheet),
        about=ABOUT,
        png=lambda: _png(choice, sheet, now),
        npz=lambda: _arrays(sheet),
        python=_python(now["method"], target, sheet.options.get(now["method"], {})),
        method=now["method"],
        explained=target.text,
        options={name: dict(sheet.options.get(name, {})) for name in sheet.methods},
    ):
        contact_sheet(
            [_column(name, choice) for name in sheet.methods],
            [Row(target.text, label(choice, target), role) for target, role in sheet.targets.items()],
            [_tile(choice, sheet, method, target) for target in sheet.targets for method in sheet.methods],
            picture=choice.image[0].numpy(),
            controls=_named(now),
            words={"caption": caption(choice, sheet, now), "convention": CONVENTION},
            key="contact-sheet",
            on_set=lambda changes: choose(where, _unnamed(changes)),
        )
    if not sheet.work.over:
        st.button("Stop", key="stop-sheet", on_click=sheet.work.cancel)
    if sheet.work.state == "cancelled":
        st.button("Go on", key="again-sheet", on_click=lambda: sheet.start(choice, again=True))


def _named(now: Mapping[str, Any]) -> dict[str, Any]:
    return {CALLED.get(name, name): value for name, value in now.items()}


def _unnamed(changes: Mapping[str, Any]) -> dict[str, Any]:
    names = {called: name for name, called in CALLED.items()}
    return {names.get(name, name): value for name, value in changes.items()}


def _progress(sheet: Sheet) -> str:
    count = len(sheet.methods) * len(sheet.targets)
    if sheet.work.state == "done":
        methods, answers = len(sheet.methods), len(sheet.targets)
        return f"{methods} method{'s' * (methods > 1)}, {answers} answer{'s' * (answers > 1)}"
    words = {"cancelled": "stopped", "failed": sheet.work.problem}.get(sheet.work.state, "computing")
    return f"{len(sheet.found)} of {count} maps, {words}"


def _column(name: str, choice: Choice) -> Column:
    what = WHAT.get(getattr(choice.target, "readout", ""), "activation")
    what = "logit" if isinstance(choice.target, Difference) else what
    return Column(name, METHODS[name].title, METHODS[name].signed, UNITS.get(name, "no unit").format(what=what))


def _tile(choice: Choice, sheet: Sheet, method: str, target: Any) -> Tile:
    answer = sheet.answer(method, target.text)
    if answer is None:
        return Tile(method, target.text, None, progress="stopped" if sheet.work.over else "waiting", alt="no map yet")
    if answer.values is None:
        return Tile(method, target.text, None, progress="not possible", sentences=(answer.problem,), alt=answer.problem)
    causes = sheet.causes.get(target.text, ())
    blank = "" if answer.values.any() else (causes or (NO_CAUSE if METHODS[method].signed else NOTHING_RAISES,))[0]
    doubts = () if blank else tuple(f"**Caveat.** {cause}" for cause in causes)
    alt = _alt(leading(answer.values))
    return Tile(method, target.text, answer.values, answer.fact, (*answer.sentences, *doubts), blank=blank, alt=alt)


def _alt(pixels: NDArray[Any]) -> str:
    found = summary(pixels)
    if not found["peak"]:
        return "zero everywhere"
    return (
        f"strongest at row {found['row']}, column {found['column']}, {numbers.short(found['peak'])}; half of the "
        f"magnitude lies in {numbers.percent(found['half'])} of the pixels"
    )


def caption(choice: Choice, sheet: Sheet, now: Mapping[str, Any]) -> str:
    """What to look for in the large map, and what the sheet says about the methods."""
    pixels = sheet.map(now["method"], now["row"])
    if pixels is None:
        return "**Waiting:** the maps appear as they are computed, the quick methods first."
    found = summary(pixels)
    if not found["peak"]:
        return "**Nothing to see:** this map is zero everywhere; the sentence beside it says why."
    effect = "raises" if found["peak"] > 0 else "lowers"
    where = f"row {found['row']}, column {found['column']}"
    name = next(label(choice, target) for target in sheet.targets if target.text == now["row"])
    first = (
        f"**Look for** where the strong pixels sit. Half of this map lies in **{numbers.percent(found['half'])}** of "
        f"the pixels; the strongest, at {where}, {effect} {name}."
    )
    return f"{first} {_class_blind(choice, sheet)}".strip()


def _class_blind(choice: Choice, sheet: Sheet) -> str:
    """Which method's map hardly changes with the class, from the first two rows."""
    texts = [target.text for target in sheet.targets if isinstance(target, Class)][:2]
    if len(texts) < 2:
        return ""
    alike = {}
    for method in sheet.methods:
        pair = [sheet.map(method, text) for text in texts]
        if pair[0] is not None and pair[1] is not None and pair[0].any() and pair[1].any():
            alike[method] = float(np.corrcoef(np.abs(pair[0]).ravel(), np.abs(pair[1]).ravel())[0, 1])
    if len(alike) < 2:
        return ""
    most = max(alike, key=lambda name: alike[name])
    least = min(alike, key=lambda name: alike[name])
    title = METHODS[most].title
    if alike[most] > 0.9:
        return (
            f"**{title}** draws nearly the same map for both classes (correlation {numbers.fixed(alike[most])}): it "
            "shows the picture, not the reason."
        )
    return (
        f"From the first row to the second **{METHODS[least].title}** changes most (correlation "
        f"{numbers.fixed(alike[least])}), {title} least ({numbers.fixed(alike[most])})."
    )


def _python(method: str, target: Any, options: Mapping[str, Any]) -> str:
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    return f'target = cnnviz.{target!r}\nvalues = cnnviz.explain("{method}", model, image, target{more})[0]'


def _arrays(sheet: Sheet) -> dict[str, NDArray[Any]]:
    return {
        f"{method}__{target}".replace(":", "_"): answer.values
        for (method, target), answer in sheet.found.items()
        if answer.values is not None
    }


def _png(choice: Choice, sheet: Sheet, now: Mapping[str, Any]) -> bytes:
    rows = [[sheet.map(method, target.text) for method in sheet.methods] for target in sheet.targets]
    shape = next(pixels.shape for row in rows for pixels in row if pixels is not None)
    full = [[np.zeros(shape, np.float32) if pixels is None else pixels for pixels in row] for row in rows]
    signed = now["show"] == "signed"
    names = [label(choice, target) for target in sheet.targets], [METHODS[method].title for method in sheet.methods]
    board = sheet_with_names(full, names, signed=signed, cell=max(1, 112 // max(shape)))
    return captioned(
        board, f"{choice.model.name}, {choice.facts()}", facts="methods by targets", key=own_scales(signed=signed)
    )
