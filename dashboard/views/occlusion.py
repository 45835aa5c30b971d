"""Hide a part and ask again: a patch moved by hand, and the whole experiment of Zeiler and Fergus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from cnnviz import FILLS, Channel, Class, Difference, Sweep
from cnnviz.attribution.gradient import target_values
from cnnviz.figures import numbers, scales, theme
from cnnviz.figures import occlusion as figures
from cnnviz.figures.sheet import captioned
from dashboard import cache, explaining, frame, layers, sweeping
from dashboard.address import Place, choose, chosen
from dashboard.choices import Choice, label_of
from dashboard.components.patch import class_rows, patch
from dashboard.components.prediction_bars import softmax
from dashboard.components.sweep_panels import Labels, Panel, sweep_panels
from dashboard.jobs.polling import polled
from dashboard.sweeping import Box, Experiment, Found
from dashboard.views import view

HEAVY = 10**11  # multiply-accumulates from which a sweep waits for a click
SMALL = 64  # pixels of the longer side up to which strokes are worth an outline
FIRST_BOX = "cnnviz:first-patch"
ABOUT_HAND = frame.About(
    "The part of the picture under the patch is replaced, and the network is asked again. Nothing is approximated: "
    "every position is a forward pass of its own.",
    "S_c(x with x_{ij} := fill for (i, j) under the patch)",
    (
        "The network also sees the patch itself: an edge where there was none. Compare two fills before you conclude.",
        "A probability near 100 % hardly moves while the logit falls by a lot: look at the drop, too.",
    ),
    "Zeiler & Fergus 2013, arXiv:1311.2901, section 4.2",
)
ABOUT_SWEEP = frame.About(
    "The patch stands at every position of a grid. Three panels as in the paper: the probability of the class, the "
    "most probable class, and the total activation of one feature map; and the drop of the target, averaged over all "
    "patches that cover a pixel. A cell is drawn at the centre of its patch: a border that none reaches is empty.",
    "D_p = S_c(x) − S_c(x_p);  H_{ij} = mean of D_p over the patches p that cover (i, j)",
    (
        "Patches that are cut by the border count with the pixels they cover.",
        "A negative drop means that the patch hid something that spoke against the target.",
        "Only what a patch changes is computed (exactly); “computed by” says which engine ran, and what it saved.",
    ),
    "Zeiler & Fergus 2013, arXiv:1311.2901, figure 7",
)
READS = {"logit": "logit", "probability": "probability", "log_probability": "log-probability"}


@view(
    "Occlusion",
    section="Explain",
    order=30,
    lede="Hide a part and ask again: what the answer cannot do without.",
    icon=":material/select_all:",
)
def occlusion(choice: Choice) -> None:
    """The controls, the patch by hand, the sweep."""
    asked = _controls(choice)
    heavy = asked.arithmetic > HEAVY
    coarse = Experiment(**{**vars(asked), "stride": asked.window}) if heavy else asked
    sharpen = not heavy or st.query_params.get("sharpen") == asked.key[:6]
    work = sweeping.sweep(asked if sharpen else coarse)
    _hand_held(choice, asked, work)

    def drawn() -> None:
        now = sweeping.sweep(asked if sharpen else coarse)
        _sweep(Shown(choice, asked if sharpen else coarse, now), None if sharpen else asked)

    polled(work, drawn)


def _controls(choice: Choice) -> Experiment:
    side = min(choice.model.size[1:])
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="cnnviz-controls"):
        with frame.labelled("Patch"):
            default = max(1, round(side / 7))
            window = st.number_input(
                "Patch, pixels", 1, side, default, key=f"window_{side}", bind="query-params", **_BESIDE
            )
        with frame.labelled("Stride"):
            quarter = max(1, window // 4)
            strides = sorted({1, quarter, max(1, window // 2), window})
            stride = st.selectbox("Stride", strides, index=strides.index(quarter), key=f"stride_{window}", **_BESIDE)
        with frame.labelled("Fill"):
            fill = st.segmented_control(
                "Fill", list(FILLS), default="mean", key="fill", bind="query-params", required=True, width="content",
                label_visibility="collapsed",
            )  # fmt: skip
        with frame.labelled("Map"):
            layer, channel = _unit(choice)
        precision = _precision() if side > SMALL else "exact"
    return Experiment(
        choice.model, choice.image, choice.target, Channel(layer, channel, "sum"), window, stride, fill, precision
    )


_BESIDE: dict[str, Any] = {"width": 84, "label_visibility": "collapsed"}


def _precision() -> str:
    with frame.labelled("Precision"):
        return st.segmented_control(
            "Precision", ["exact", "fast"], default="exact", key="precision", bind="query-params", required=True,
            width="content", label_visibility="collapsed",
        )  # fmt: skip


def _unit(choice: Choice) -> tuple[str, int]:
    """The feature map whose total is panel c: at first the strongest of the last activation that has maps."""
    names = [layer.name for layer in choice.model.layers if layer.spatial and min(layer.shape[1:]) > 1]
    names = names or [choice.model.layers[-1].name]
    rectified = [name for name in names if layers.activation(choice.model.layer(name))]
    first = (rectified or names)[-1]
    layer = st.selectbox(
        "Feature map", names, index=names.index(first), key="map_layer", bind="query-params", width=116,
        label_visibility="collapsed",
    )  # fmt: skip
    maps = cache.outputs(choice.model, choice.image, (layer,))[layer]
    totals = maps.reshape(len(maps), -1).sum(1)
    channel = st.number_input(
        "Channel", 0, len(maps) - 1, int(totals.argmax()), key=f"map_channel_{layer}_{choice.image_digest}", **_BESIDE
    )
    return layer, int(channel)


# By hand


def _hand_held(choice: Choice, asked: Experiment, work: Any) -> None:
    height, width = choice.model.size[1:]
    first = _first_box(asked, work.part)
    places = {"patch": Place(first, lambda text: _read_box(text, height, width))}
    fill = sweeping.fill_of(choice.model, choice.image, asked.fill, (asked.window, asked.window))

    def moved(value: dict[str, Any]) -> None:
        choose(places, {"patch": _Box(map(int, value["box"]))})

    @st.fragment
    def by_hand() -> None:
        box: Box = tuple(chosen(places)["patch"])
        masked = sweeping.covered(choice.model, choice.image, fill, box)
        scores = cache.scores(choice.model, masked)
        with frame.plate(
            "Hand-held",
            "drag the patch or its handle; arrow keys move it, with Shift resize it",
            about=ABOUT_HAND,
            npz=lambda: {"image": masked.numpy(), "scores": scores, "clean": choice.scores, "patch": np.array(box)},
            python=_python_patch(asked, box),
            patch=box,
            fill=asked.fill,
        ):
            _patch(choice, asked, box, scores, fill, moved)

    by_hand()


class _Box(tuple):  # type: ignore[type-arg]
    """A patch that writes itself into the address as `8,8,14,14`."""

    def __str__(self) -> str:
        return ",".join(map(str, self))


def _read_box(text: str, height: int, width: int) -> _Box:
    top, left, bottom, right = map(int, text.split(","))
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise ValueError(text)
    return _Box((top, left, bottom, right))


def _first_box(asked: Experiment, found: Found | None) -> _Box:
    """Where the first sweep found the largest drop, decided once; the middle while there is no sweep."""
    name = (
        f"{FIRST_BOX}:{asked.model.digest}:{cache.digest(asked.image)}:{asked.target.text}:{asked.window}:{asked.fill}"
    )
    if name not in st.session_state and found is not None and found.sweeps:
        sweep = found.sweeps[0]
        row, column = np.unravel_index(int(sweep.drop.argmax()), sweep.drop.shape)
        st.session_state[name] = _Box(sweep.box(int(row), int(column)))
    if name in st.session_state:
        return st.session_state[name]  # type: ignore[no-any-return]
    (height, width), side = asked.model.size[1:], asked.window
    top, left = (height - side) // 2, (width - side) // 2
    return _Box((top, left, top + side, left + side))


def _patch(
    choice: Choice, asked: Experiment, box: Box, scores: NDArray[np.float32], fill: NDArray[np.float32], moved: Any
) -> None:
    hidden = softmax(scores)
    best = int(scores.argmax())
    known = choice.target_class if choice.target_class is not None else choice.predicted
    if isinstance(choice.target, Class):
        what, before, after = f"logit of {choice.class_name(known)}", choice.scores[known], scores[known]
    else:
        masked = sweeping.covered(choice.model, choice.image, fill, box)
        what = _target_name(choice)
        before, after = target_values(choice.model, torch.cat([choice.image, masked]), choice.target)
    colour = (
        ", ".join(numbers.fixed(v, 4 if v % 1 else 1) for v in fill[:, 0, 0]) if np.ptp(fill, (1, 2)).max() == 0 else ""
    )
    note = FILLS[asked.fill].title + (f": {colour}." if colour else ".") + " " + _fill_caveat(asked.fill, choice)
    patch(
        choice.image[0].numpy(),
        fill,
        box=box,
        rows=class_rows(choice.model.classes, choice.probabilities, hidden, (choice.predicted, best, known)),
        chosen=known,
        words={
            "answer": {"name": choice.class_name(best), "probability": numbers.percent(float(hidden[best]))},
            "facts": [
                [what, f"{numbers.fixed(before)} → {numbers.fixed(after)}"],
                ["drop", numbers.fixed(before - after)],
            ],
            "note": note,
            "alt": choice.picture.title,
            "barsLabel": "Probabilities of the whole picture and with the patch",
        },
        key="patch",
        on_move=moved,
    )


def _fill_caveat(fill: str, choice: Choice) -> str:
    if fill == "black" and choice.model.size[0] == 1:
        return "On black ground it hides strokes only."
    if fill == "noise":
        return "Always the same noise, from seed 0."
    return ""


# The sweep


@dataclass(frozen=True, eq=False)
class Shown:
    """An experiment as it stands, with everything the panels and the caption ask of it."""

    choice: Choice
    asked: Experiment
    work: Any

    @cached_property
    def found(self) -> Found:
        return self.work.part or Found([])

    @property
    def sweep(self) -> Sweep:
        return self.found.sweeps[0]

    @property
    def total(self) -> Sweep:
        return self.found.sweeps[1]

    @cached_property
    def known(self) -> int:
        """The class whose probability is shown: the target's, or the predicted one."""
        return self.choice.target_class if self.choice.target_class is not None else self.choice.predicted

    @cached_property
    def shares(self) -> NDArray[np.floating[Any]]:
        """Probabilities under every patch, (rows, columns, K)."""
        return softmax(self.sweep.scores)

    @cached_property
    def heatmap(self) -> NDArray[np.floating[Any]]:
        return self.sweep.heatmap()

    @cached_property
    def winners(self) -> list[tuple[int, int]]:
        """(class, how many patches make it the most probable), the most frequent first."""
        classes, counts = np.unique(self.sweep.label, return_counts=True)
        return sorted(zip(classes.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])

    @property
    def what(self) -> str:
        """The target's number in a word."""
        target = self.choice.target
        if isinstance(target, Difference):
            return "logit difference"
        return READS[target.readout] if isinstance(target, Class) else "activation"

    @property
    def name(self) -> str:
        return _target_name(self.choice)


def _target_name(choice: Choice) -> str:
    target = choice.target
    if isinstance(target, Class):
        return choice.class_name(target.index)
    if isinstance(target, Difference):
        return f"{choice.class_name(target.first)} {numbers.MINUS} {choice.class_name(target.second)}"
    return label_of(target)


def _sweep(shown: Shown, finer: Experiment | None) -> None:
    if not shown.found.sweeps:
        _waiting(shown)
        return
    with frame.plate(
        "Sweep",
        _facts(shown),
        about=ABOUT_SWEEP,
        png=lambda: _png(shown),
        npz=lambda: _arrays(shown.sweep, shown.total),
        python=_python(shown.asked),
        window=shown.asked.window,
        stride=shown.asked.stride,
        fill=shown.asked.fill,
        precision=shown.sweep.precision,
        engine=shown.sweep.engine,
    ):
        sweep_panels(
            shown.choice.image[0].numpy(),
            sweeping.fill_of(shown.choice.model, shown.choice.image, shown.asked.fill, shown.sweep.window),
            _panels(shown),
            _labels(shown),
            boxes=(shown.sweep.rows, shown.sweep.columns),
            scores=shown.sweep.scores,
            names=shown.choice.model.classes,
            words={"caption": caption(shown), "outline": max(shown.choice.model.size[1:]) <= SMALL},
            at=None,
            key="sweep-panels",
            on_place=lambda value: _put_patch(shown.sweep, value),
        )
    if not shown.work.over and st.button("Stop", key="stop-sweep"):
        shown.work.cancel()
    if finer is not None and shown.work.over:
        _offer(shown, finer)


def _waiting(shown: Shown) -> None:
    with frame.plate("Sweep", _facts(shown) if shown.found.sweeps else f"{shown.asked.positions} positions"):
        if shown.work.state == "failed":
            frame.caption("Not computed:", shown.work.problem)
        else:
            frame.caption("Computing:", "the first, coarse picture appears in a moment.")
        if not shown.work.over and st.button("Stop", key="stop-sweep"):
            shown.work.cancel()


def _offer(shown: Shown, finer: Experiment) -> None:
    seconds = shown.work.seconds * finer.positions / max(1, shown.sweep.windows)
    about = "about a second" if seconds < 1.5 else f"at most about {max(2, round(seconds))} seconds"
    if st.button(f"Sharpen: {finer.positions:,} positions, {about}", key="sharpen"):
        st.query_params["sharpen"] = finer.key[:6]
        st.rerun()


def _put_patch(sweep: Sweep, value: dict[str, Any]) -> None:
    box = _Box(sweep.box(int(value["row"]), int(value["column"])))
    st.query_params["patch"] = str(box)


def _facts(shown: Shown) -> str:
    sweep, found = shown.sweep, shown.found
    down, right = sweep.stride
    words = [f"{sweep.windows:,} positions, stride {down if down == right else f'{down} × {right}'}"]
    if not shown.work.over:
        words = [f"{found.done:,} of {found.of:,} positions"]
    if sweep.saving > 1.05:
        words.append(f"computed by what changes: {numbers.short(sweep.saving, 2)} times less arithmetic")
    elif sweep.engine == "delta":
        words.append("computed by what changes")
    else:
        words.append("computed by the whole network for each")
    if sweep.precision == "fast" and sweep.deviation is not None:
        words.append(f"bfloat16, off by {numbers.percent(sweep.deviation)} of the range at most on the windows checked")
    if shown.work.state == "cancelled":
        words.append("stopped")
    return "; ".join(words)


def _panels(shown: Shown) -> list[Panel]:
    choice, sweep, total = shown.choice, shown.sweep, shown.total
    name = choice.class_name(shown.known)
    share = shown.shares[..., shown.known]
    low, high = scales.scale_for(total.score[None], signed=bool(total.score.min() < 0)).of(0)
    top = float(np.abs(shown.heatmap).max()) or 1.0
    where = f"lowest at the patch over {_where(sweep, int(share.argmin()))}"
    return [
        Panel("a", f"Probability of {name}" if len(name) < 12 else "Probability", share, 0.0, 1.0, "cividis",
              "probability; **dark = needed**", f"{where}, {numbers.percent(float(share.min()))}"),
        Panel("c", f"{shown.asked.unit.layer}, channel {shown.asked.unit.channel}", total.score, low, high,
              "diverging" if low < 0 else "cividis", f"total; whole image **{numbers.short(total.clean_score)}**",
              f"lowest total at the patch over {_where(total, int(total.score.argmin()))}"),
        Panel("d", f"Mean drop of the {shown.what}" if len(shown.what) < 9 else "Mean drop", shown.heatmap, -top, top,
              "diverging", f"{shown.what} lost, mean per pixel",
              f"the largest drop is near row {int(shown.heatmap.max(1).argmax())}, column "
              f"{int(shown.heatmap.max(0).argmax())}", per_pixel=True),
    ]  # fmt: skip


def _labels(shown: Shown) -> Labels:
    count = len(shown.choice.model.classes)
    frequent = tuple(index for index, _ in shown.winners[:6])
    classes = [
        {
            "index": index,
            "name": shown.choice.class_name(index),
            "count": number,
            "colour": theme.class_mark(index, of=count, chosen=frequent).colour,
            "spot": figures.heart(shown.sweep.label == index) if number * 40 >= shown.sweep.windows else None,
        }
        for index, number in shown.winners[:8]
    ]
    rest = {index: theme.ANY_CLASS.colour for index, _ in shown.winners[8:]}
    others = [
        {"index": index, "name": "", "count": 0, "colour": colour, "spot": None} for index, colour in rest.items()
    ]
    alt = ", ".join(f"{one['name']} under {one['count']} patches" for one in classes)
    note = f"of {shown.sweep.windows:,} positions" + (f"; {len(rest)} more classes in grey" if rest else "")
    return Labels(shown.sweep.label, classes + others, alt, note=note)


def caption(shown: Shown) -> str:
    """What to look for: where the answer rests, whether a patch changes it, and what the map's total does there."""
    sweep, choice = shown.sweep, shown.choice
    worst = int(sweep.drop.argmax())
    row, column = np.unravel_index(worst, sweep.drop.shape)
    drop = float(sweep.drop.max())
    if drop <= 0 and sweep.drop.min() >= 0:
        why = explaining.why_blank(choice.model, choice.image, choice.target)
        return " ".join(
            (f"**Nothing to see:** no patch of this size changes the {shown.what} of {shown.name} at all.", *why[:1])
        )
    if drop <= 0:
        return f"**Nothing is needed:** every patch raises the {shown.what} of {shown.name}, or leaves it as it is."
    said = choice.predicted
    others = [(index, number) for index, number in shown.winners if index != said]
    first = (
        f"**Look for** the red in **d**. The patch over {_where(sweep, worst)} costs {shown.name} most: "
        f"{numbers.fixed(drop)} of its {shown.what}"
    )
    answer = choice.class_name(int(sweep.label[row, column]))
    first += f", and the answer becomes {answer}." if int(sweep.label[row, column]) != said else "; the answer stays."
    if not others:
        second = f" No patch of this size changes the answer from {choice.class_name(said)}."
    else:
        named = numbers.listing([f"{choice.class_name(index)} ({number})" for index, number in others[:3]])
        total = sum(number for _, number in others)
        second = (
            f" {total} of {sweep.windows:,} positions change it, to {named}{' and others' if len(others) > 3 else ''}."
        )
    return first + second + _about_total(shown, worst)


def _about_total(shown: Shown, worst: int) -> str:
    """Whether the map's total falls where the answer does: a strong activation is not yet a reason."""
    total = shown.total
    if total.clean_score == 0 or not total.score.any():
        return ""
    lowest = int(total.score.argmin())
    share = float(total.score.flat[worst]) / total.clean_score
    name = f"channel {shown.asked.unit.channel} in **c**"
    if share >= 1:
        return f" There {name} loses nothing of its total: what a map answers to is not yet a reason."
    if lowest != worst and share > 0.8:
        return f" There {name} keeps {numbers.percent(share)} of its total: a strong activation is not yet a reason."
    return f" There {name} is left with {numbers.percent(share)} of its total."


def _where(sweep: Sweep, flat: int) -> str:
    row, column = divmod(flat, len(sweep.columns))
    top, left, bottom, right = sweep.box(row, column)
    return f"{numbers.lines('row', top, bottom)}, {numbers.lines('column', left, right)}"


# Downloads


def _png(shown: Shown) -> bytes:
    sweep, image = shown.sweep, shown.sweep.image
    frequent = tuple(index for index, _ in shown.winners[:6])
    panels = _panels(shown)

    def drawn(panel: Panel) -> NDArray[np.uint8]:
        scale = scales.Scale(panel.low, panel.high, panel.palette)  # type: ignore[arg-type]
        colours = figures.coloured(np.asarray(panel.values, np.float32), scale)
        return colours if panel.per_pixel else figures.cells(colours, sweep.rows, sweep.columns, image)

    labels = figures.class_colours(sweep.label, len(shown.choice.model.classes), frequent)
    between = figures.cells(labels, sweep.rows, sweep.columns, image)
    row = figures.side_by_side([drawn(panels[0]), between, drawn(panels[1]), drawn(panels[2])])
    titles = ", ".join([panels[0].title, "most probable class", panels[1].title, panels[2].title])
    return captioned(row, f"Occlusion of {shown.choice.picture.title}", facts=f"from left to right: {titles}")


def _arrays(sweep: Sweep, total: Sweep) -> dict[str, NDArray[Any]]:
    return {
        "score": sweep.score, "drop": sweep.drop, "label": sweep.label, "scores": sweep.scores, "clean": sweep.clean,
        "heatmap": sweep.heatmap(), "total": total.score, "rows": np.array(sweep.rows),
        "columns": np.array(sweep.columns),
    }  # fmt: skip


def _python(asked: Experiment) -> str:
    precision = "" if asked.precision == "exact" else f', precision="{asked.precision}"'
    return (
        f"target = cnnviz.{asked.target!r}\n"
        f"sweep = cnnviz.occlude(model, image, target, window={asked.window}, stride={asked.stride}, "
        f'fill="{asked.fill}"{precision})\nheatmap = sweep.heatmap()'
    )


def _python_patch(asked: Experiment, box: Sequence[int]) -> str:
    top, left, bottom, right = box
    return (
        "from cnnviz.occlusion.fills import fill_picture\n"
        f'fill = fill_picture("{asked.fill}", model, image[0], ({asked.window}, {asked.window}), 0)\n'
        "masked = image.clone()\n"
        f"masked[0, :, {top}:{bottom}, {left}:{right}] = fill[:, {top}:{bottom}, {left}:{right}]\n"
        "scores = model.scores(masked)"
    )
