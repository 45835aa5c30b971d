"""The space of the vectors a network decides from: who is near whom, which are mistakes, and where one's own lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnnviz.data import DataSet
from cnnviz.errors import CnnvizError
from cnnviz.features import features, final_features_are
from cnnviz.figures import numbers, pixels, theme
from cnnviz.figures.scatter import scatter
from cnnviz.figures.sheet import captioned
from cnnviz.figures.theme import ClassMark
from dashboard import cache, frame, placing
from dashboard.choices import Choice
from dashboard.components.point_cloud import (
    Cloud,
    Colouring,
    Here,
    Readings,
    cloud_readings,
    point_cloud,
    sheet_of,
)
from dashboard.jobs.background import BACKGROUND, Work
from dashboard.jobs.polling import polled
from dashboard.placing import FINAL, PIXELS, SCHEDULES, Asked, Gathered, Method, Placed
from dashboard.views import view

COUNTS = {"500": 500, "1,000": 1000, "2,000": 2000, "5,000": 5000}
COLOURS = {"class": "label", "prediction": "prediction", "correctness": "correctness", "confidence": "confidence"}
STEPS = 16  # of cividis, for the confidence
AGAIN = "cnnviz:embed-again"  # session state: whether a stopped picture is asked for again
CLOUD = "cloud"
ABOUT = {
    "PCA": frame.About(
        "Every picture becomes the vector that the network holds of it at the chosen layer. PCA looks at all vectors "
        "from the direction in which they differ most, and draws the two widest directions.",
        "y = (x − mean) · W,  W = the first two eigenvectors of the covariance",
        (
            "It is a shadow: points that fall on each other may be far apart in the directions that are not drawn. "
            "The share of the variance says how much is.",
            "Distances and axes mean what they say, and a new picture is placed exactly.",
        ),
        "Pearson 1901, On lines and planes of closest fit",
    ),
    "t-SNE": frame.About(
        "Every picture becomes the vector that the network holds of it at the chosen layer. t-SNE puts points on the "
        "page so that those that are near in the vectors are near here, starting from the PCA.",
        "minimise KL(P ‖ Q) = Σ p_{ij} log(p_{ij} / q_{ij})",
        (
            "Only near neighbours are kept. The size of a group, the gap between groups and their shapes mean nothing.",
            "Another perplexity gives another picture: look at several before you conclude.",
            "A new picture is placed by letting it alone move among the others, which stay where they are.",
        ),
        "van der Maaten & Hinton 2008; interpolated repulsion of Linderman et al. 2019, arXiv:1712.09005",
    ),
}
BANNER = (
    "**Read with care.** t-SNE keeps near neighbours and nothing else: how far two groups lie apart, how large they "
    "are and what shape they have means nothing."
)


@view(
    "Embedding",
    section="Debug",
    order=10,
    lede="Which pictures the network takes to be alike.",
    icon=":material/scatter_plot:",
)
def embedding(choice: Choice) -> None:
    """The controls, the vectors, the cloud."""
    found = _controls(choice)
    if found is None:
        frame.caption("No pictures fit.", f"{choice.name} takes pictures of a size that no data set here has.")
        return
    asked, method, colour = found
    again = st.session_state.pop(AGAIN, False)
    work = placing.gather(asked, again=again)
    if not work.over:
        polled(work, lambda: _gathering(asked))
        return
    if work.state == "cancelled":
        frame.caption("Stopped.", "The vectors of these pictures are not complete, so there is nothing to place yet.")
        st.button("Start again", key="gather-again", on_click=_ask_again)
        return
    if work.state != "done":
        raise CnnvizError(work.problem or "the vectors were not finished; choose again")
    placed = placing.place(asked, work.part, method, again=again)
    if placed.state == "failed":
        raise CnnvizError(placed.problem)
    _plate(Shown(choice, asked, work.part, method, placed, colour))


# Controls


def _controls(choice: Choice) -> tuple[Asked, Method, str] | None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="cnnviz-controls"):
        with frame.labelled("Method"):
            name = _segments("Method", ["PCA", "t-SNE"], "method")
        with frame.labelled("Vectors"):
            layer = st.selectbox(
                "Vectors", [FINAL, PIXELS, *(layer.name for layer in choice.model.layers)], key="vectors",
                bind="query-params", width=164, label_visibility="collapsed",
            )  # fmt: skip
        with frame.labelled("Pictures"):
            most = COUNTS[
                st.selectbox("Pictures", list(COUNTS), 1, key="pictures", bind="query-params", **_beside(108))
            ]
        with frame.labelled("Colour"):
            colour = COLOURS[st.selectbox("Colour", list(COLOURS), key="colour", bind="query-params", **_beside(126))]
        method = _tsne() if name == "t-SNE" else Method(name)
    crowd = placing.crowd_for(choice.model, most, 0)
    return None if crowd is None or not len(crowd) else (Asked(choice.model, crowd, layer), method, colour)


def _tsne() -> Method:
    with frame.labelled("Perplexity"):
        perplexity = st.number_input("Perplexity", 2, 100, 30, key="perplexity", bind="query-params", **_beside(84))
    with frame.labelled("Schedule"):
        schedule = _segments("Schedule", list(SCHEDULES), "schedule")
    with frame.labelled("Seed"):
        seed = st.number_input("Seed", 0, 999, 0, key="seed", bind="query-params", **_beside(78))
    return Method("t-SNE", int(perplexity), schedule, int(seed))


def _segments(label: str, options: list[str], key: str) -> str:
    return st.segmented_control(
        label, options, default=options[0], key=key, bind="query-params", required=True, width="content",
        label_visibility="collapsed",
    )  # fmt: skip


def _beside(width: int) -> dict[str, Any]:
    return {"width": width, "label_visibility": "collapsed"}


def _gathering(asked: Asked) -> None:
    now = BACKGROUND.look(asked.key)
    part: Gathered | None = now.part if now else None
    done = part.done if part else 0
    with st.container(key="cnnviz-gathering"):
        st.progress(done / len(asked.crowd), f"{done:,} of {len(asked.crowd):,} pictures through the network")
        if now is not None:
            st.button("Stop", key="stop-gathering", on_click=now.cancel)


# The cloud


@dataclass(frozen=True, eq=False)
class Shown:
    """An embedding as it stands, with everything the cloud and the caption ask of it."""

    choice: Choice
    asked: Asked
    gathered: Gathered
    method: Method
    work: Work
    colour: str

    @property
    def placed(self) -> Placed | None:
        part: Placed | None = self.work.part
        return part

    @property
    def final(self) -> bool:
        """Whether the picture will not move any more, and its figures are known."""
        return self.placed is not None and self.placed.figures is not None

    @property
    def count(self) -> int:
        return len(self.asked.crowd)

    @cached_property
    def comparable(self) -> bool:
        """Whether the labels of the data set are the classes of the model."""
        whole = self.asked.crowd.whole
        return whole.labels is not None and tuple(whole.classes) == tuple(self.asked.model.classes)

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Which points the network gets wrong; none where that cannot be known."""
        if not self.comparable:
            return np.zeros(self.count, np.bool_)
        return np.asarray(self.gathered.predicted != self.asked.crowd.labels)

    @cached_property
    def colourings(self) -> list[Colouring]:
        return colourings(self)

    @property
    def colouring(self) -> Colouring:
        """The one that was chosen, or the first where that one cannot be."""
        return next((one for one in self.colourings if one.name == self.colour), self.colourings[0])

    @property
    def who(self) -> str:
        """Which pictures, and with which seed they were drawn."""
        whole = self.asked.crowd.whole
        if self.count == len(whole):
            return f"all {self.count:,} of {whole.title}"
        return f"{self.count:,} of {whole.title}, in equal shares, seed {self.asked.crowd.seed}"

    @property
    def vector_words(self) -> str:
        """Where the vectors come from, with their length."""
        width = self.gathered.vectors.shape[1]
        if self.asked.layer == FINAL:
            return f"{final_features_are(self.asked.model)}, {width:,} numbers"
        if self.asked.layer == PIXELS:
            return f"the pixels, {width:,} numbers"
        maps = self.asked.model.layer(self.asked.layer).spatial
        return f"{self.asked.layer}{', each map averaged' if maps else ''}, {width:,} numbers"


def _plate(shown: Shown) -> None:
    whole = shown.asked.crowd.whole
    with frame.plate(
        f"{shown.method.name} of {shown.asked.layer}",
        shown.who,
        about=ABOUT[shown.method.name],
        png=lambda: _png(shown),
        npz=lambda: _arrays(shown),
        python=_python(shown),
        method=shown.method.name,
        options=dict(shown.method.options),
        data=whole.name,
        vectors=shown.asked.layer,
    ):
        point_cloud(_cloud(shown), key=CLOUD)
        polled(shown.work, lambda: _readings(shown))


def _cloud(shown: Shown) -> Cloud:
    crowd, gathered = shown.asked.crowd, shown.gathered
    whole = crowd.whole
    name = cache.digest(whole.name, crowd.positions)
    sheet, tile = cache.result(lambda: sheet_of(crowd.pictures.images), "sheet", name)
    return Cloud(
        set=shown.asked.key,
        crowd=name,
        sheet=sheet,
        tile=tile,
        position=crowd.positions,
        index=whole.index[crowd.positions],
        source=whole.source,
        label=crowd.labels,
        labels=whole.classes,
        predicted=gathered.predicted,
        confidence=gathered.confidence,
        classes=shown.asked.model.classes,
        known=shown.comparable,
        near=gathered.near,
        distances=gathered.distances,
        colourings=shown.colourings,
        href=_way_to(whole),
        titles=crowd.pictures.titles,
        alt=f"{shown.method.name} of {shown.count:,} pictures of {whole.title}.",
    )


def _way_to(whole: DataSet) -> str:
    """The address at which a picture of a data set is the one in the sidebar."""
    if whole.titles is not None:
        return frame.href("", image="", picture="TITLE")
    return frame.href("", image=whole.title, number="NUMBER", **{"class": ""})


def colourings(shown: Shown) -> list[Colouring]:
    """By class, prediction, correctness and confidence; the first and third only where labels are known."""
    whole, labels = shown.asked.crowd.whole, shown.asked.crowd.labels
    found = []
    if labels is not None:
        found.append(_by_class("label", "Class", labels, whole.classes))
    found.append(_by_class("prediction", "It says", shown.gathered.predicted, shown.asked.model.classes))
    if shown.comparable:
        marks = (("right", theme.ANY_CLASS), ("mistake", theme.CLASS_MARKS[5]))
        found.append(Colouring("correctness", "Correctness", shown.wrong.astype(np.int64), marks))
    return [*found, _by_confidence(shown.gathered.confidence)]


def _by_class(name: str, title: str, values: NDArray[np.int64], classes: Any) -> Colouring:
    """Up to ten classes one each; of more, the nine most frequent, and the rest together in grey."""
    if len(classes) <= len(theme.CLASS_MARKS):
        marks = [(text, theme.class_mark(i, of=len(classes))) for i, text in enumerate(classes)]
        return Colouring(name, title, values, marks)
    counts = np.bincount(values, minlength=len(classes))
    chosen = tuple(int(i) for i in np.argsort(-counts, kind="stable")[:9] if counts[i])
    marks = [(classes[i], theme.class_mark(i, of=len(classes), chosen=chosen)) for i in chosen]
    group = np.full(len(values), len(chosen))
    for place, index in enumerate(chosen):
        group[values == index] = place
    rest = (
        [(f"{int((counts > 0).sum()) - len(chosen)} others", theme.ANY_CLASS)] if (group == len(chosen)).any() else []
    )
    return Colouring(name, title, group, marks + rest)


def _by_confidence(confidence: NDArray[np.float32]) -> Colouring:
    group = np.minimum((confidence * STEPS).astype(np.int64), STEPS - 1)
    table = theme.colours("cividis", STEPS)
    marks = [
        (
            f"{100 * i // STEPS} to {100 * (i + 1) // STEPS} %",
            ClassMark("#{:02X}{:02X}{:02X}".format(*table[i]), "circle"),
        )
        for i in range(STEPS)
    ]
    ramp = {"words": "probability of the class it says", "low": 0.0, "high": 1.0}
    return Colouring("confidence", "Confidence", group, marks, ramp)


def _readings(shown: Shown) -> None:
    placed = shown.placed
    if placed is None:
        st.html('<p class="cnnviz-caption">Measuring who is near whom …</p>')
        return
    here = _here(shown, placed) if shown.final else None
    cloud_readings(
        placed.embedding.points,
        readings(shown, placed, here),
        cloud=CLOUD,
        of=shown.asked.key,
        colour=shown.colouring.name,
        here=here,
        key="readings",
        on_act=lambda value: _act(shown, value["act"]),
    )


def _act(shown: Shown, act: str) -> None:
    if act == "stop":
        shown.work.cancel()
    else:
        _ask_again()


def _ask_again() -> None:
    st.session_state[AGAIN] = True


def _here(shown: Shown, placed: Placed) -> Here:
    """The picture at the left among the points: where its vector falls, and which vectors are nearest to it."""
    choice, asked = shown.choice, shown.asked
    vector = cache.result(
        lambda: features(choice.model, choice.image, asked.of_layer), "vector", asked.model.digest, asked.layer,
        choice.image,
    )  # fmt: skip
    place = cache.result(
        lambda: placed.embedding.transform(np.array(vector)),
        "place",
        shown.work.key,
        choice.image,
        placed.embedding.points,
    )
    index, distances = placing.nearest(vector, shown.gathered.vectors, placing.NEIGHBOURS)
    near = [(int(i), float(d)) for i, d in zip(index[0], distances[0], strict=True)]
    words = {
        "title": choice.picture.title,
        "says": f"{choice.class_name(choice.predicted)} {numbers.percent(float(choice.probabilities.max()))}",
        "placed": _placement(placed),
        "own": None if choice.true_label is None or not shown.comparable else choice.class_name(choice.true_label),
    }
    return Here((float(place[0, 0]), float(place[0, 1])), _thumbnail(choice), near, words)


def _placement(placed: Placed) -> str:
    text = placed.embedding.placement
    return text[:1].upper() + text[1:] + "."


def _thumbnail(choice: Choice) -> bytes:
    image = choice.image[0].numpy()
    by = max(1, -(-max(image.shape[1:]) // 112))
    return pixels.picture_png(np.ascontiguousarray(image[:, ::by, ::by]))


# Words


def readings(shown: Shown, placed: Placed, here: Here | None) -> Readings:
    """The caption, figures and state of the work, as they are now."""
    result = placed.embedding
    tsne = shown.method.name == "t-SNE"
    status, progress = _status(shown, placed)
    running = not shown.work.over
    return Readings(
        caption=caption(shown, placed, here) if shown.final else _forming(result.quality),
        banner=BANNER if tsne else "",
        facts=_facts(shown, placed),
        scree=None if tsne else _scree(result.quality["explained_variance"]),
        status=" ".join([status, *(f"Note: {note}." for note in result.notes)]).strip(),
        progress=progress,
        action="stop" if running and tsne else "again" if shown.work.state == "cancelled" else None,
        axes="no axes: only who is near whom means something" if tsne else _axes(result.quality["explained_variance"]),
        running=running,
    )


def _status(shown: Shown, placed: Placed) -> tuple[str, float | None]:
    quality = placed.embedding.quality
    if shown.method.name == "PCA" or "iteration" not in quality or shown.final:
        return "", None
    done, of = quality["iteration"], quality["iterations"]
    if shown.work.state == "cancelled":
        return f"Stopped after {done} of {of} iterations.", None
    return (f"{done} of {of} iterations" if done < of else "Measuring what was kept"), done / of


def _forming(quality: Any) -> str:
    done, of = quality.get("iteration", 0), quality.get("iterations", 1)
    early = "Neighbours pull at many times their strength now, so that groups can form." if done * 5 < of * 2 else ""
    return f"**The picture is not final.** {early}".strip()


def caption(shown: Shown, placed: Placed, here: Here | None) -> str:
    """What to look for: whether classes come apart, where the mistakes lie, and the neighbours of one's own picture."""
    return " ".join(filter(None, [_apart(placed), _confused(shown), _own(shown, here)]))


def _apart(placed: Placed) -> str:
    figures = placed.figures or {}
    if "accuracy_vectors" not in figures:
        return "**Look for** pictures whose neighbours surprise you: nothing here knows their classes."
    vectors, picture = figures["accuracy_vectors"], figures["accuracy_picture"]
    text = (
        f"**Look for** groups of one class: the ten nearest vectors name a picture's class in "
        f"{numbers.percent(vectors)} of cases, the ten nearest points in {numbers.percent(picture)}."
    )
    if vectors - picture > 0.05:
        text += " The classes are further apart than this picture shows."
    return text


def _confused(shown: Shown) -> str:
    if not shown.comparable:
        return ""
    labels, classes = shown.asked.crowd.labels, shown.asked.model.classes
    assert labels is not None
    mistakes = int(shown.wrong.sum())
    if not mistakes:
        return "The network makes no mistake on these pictures."
    pairs = np.stack([labels, shown.gathered.predicted], 1)[shown.wrong]
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    true, said = found[int(counts.argmax())]
    most = (
        f", most often {classes[int(true)]} taken for {classes[int(said)]} ({int(counts.max())})"
        if mistakes > 1
        else ""
    )
    where = _between(shown)
    return f"Ringed: {mistakes} mistake{'s' * (mistakes != 1)}{most}{where}."


def _between(shown: Shown) -> str:
    """Whether the neighbours of mistakes are of several classes."""
    labels, near = shown.asked.crowd.labels, shown.gathered.near
    if labels is None or not near.shape[1]:
        return ""
    mixed = (labels[near] != labels[:, None]).mean(1)
    there, elsewhere = (
        float(mixed[shown.wrong].mean()),
        float(mixed[~shown.wrong].mean()) if (~shown.wrong).any() else 0.0,
    )
    return (
        f"; {numbers.percent(there)} of their neighbours are of another class, {numbers.percent(elsewhere)} elsewhere"
    )


def _own(shown: Shown, here: Here | None) -> str:
    crowd = shown.asked.crowd
    if here is None or not here.near or crowd.labels is None:
        return ""
    names = [crowd.whole.classes[int(crowd.labels[index])] for index, _ in here.near]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    if len(ranked) == 1:
        return f"All {len(names)} neighbours of **your picture** are of class {names[0]}."
    return f"The neighbours of **your picture**: {numbers.listing([f'{n} of class {name}' for name, n in ranked[:3]])}."


def _facts(shown: Shown, placed: Placed) -> list[tuple[str, str]]:
    quality, figures = placed.embedding.quality, placed.figures
    rows = [("vectors", shown.vector_words.removeprefix("the "))]
    if "kept" in quality:
        rows.append(("variance in this picture", numbers.percent(float(quality["kept"]))))
    if "kl" in quality:
        rows.append(("KL(P ‖ Q), in nats", numbers.fixed(float(quality["kl"]))))
        rows.append(("perplexity", numbers.short(float(placed.embedding.options["perplexity"]))))
    if figures:
        rows.append(("trustworthiness, 0 to 1", numbers.fixed(figures["trustworthiness"], 3)))
        rows.append(("ten neighbours kept", numbers.percent(figures["kept"])))
    if figures and "accuracy_vectors" in figures:
        rows.append(("10-NN accuracy, vectors", numbers.percent(figures["accuracy_vectors"])))
        rows.append(("10-NN accuracy, picture", numbers.percent(figures["accuracy_picture"])))
    return rows


def _scree(ratios: NDArray[np.floating[Any]], most: int = 20) -> dict[str, Any]:
    shares = [float(v) for v in ratios[:most]]
    half = int(np.searchsorted(np.cumsum(ratios), 0.9) + 1)
    words = (
        f"The first {len(shares)} of {len(ratios):,}; 90 % needs {min(half, len(ratios))}. "
        "The two at the left are drawn here."
    )
    return {"shares": shares, "words": words}


def _axes(ratios: NDArray[np.floating[Any]]) -> str:
    shares = [float(ratios[k]) if k < len(ratios) else 0.0 for k in (0, 1)]
    across, up = (numbers.percent(share) for share in shares)
    return f"component 1 across, {across} of the variance; component 2 up, {up}"


# Downloads


def _png(shown: Shown) -> bytes:
    placed = _now(shown)
    here = _here(shown, placed).point if shown.final else None
    drawn = scatter(
        np.array(placed.embedding.points), shown.colouring.group, shown.colouring.marks, ringed=shown.wrong, here=here
    )
    facts = f"{shown.who}; {shown.vector_words}" + (f"; cross-hair: {shown.choice.picture.title}" if here else "")
    return captioned(drawn, f"{shown.method.name} of {shown.asked.layer}, {shown.choice.name}", facts=facts)


def _arrays(shown: Shown) -> dict[str, Any]:
    placed, gathered, crowd = _now(shown), shown.gathered, shown.asked.crowd
    labels = {} if crowd.labels is None else {"labels": crowd.labels}
    quality = {name: np.asarray(value) for name, value in placed.embedding.quality.items()}
    return {
        "points": placed.embedding.points, "vectors": gathered.vectors, "scores": gathered.scores,
        "positions": crowd.positions, "neighbours": gathered.near, "distances": gathered.distances,
        **labels, **quality, **(placed.figures or {}),
    }  # fmt: skip


def _now(shown: Shown) -> Placed:
    if shown.placed is None:
        raise CnnvizError("The picture has no points yet; wait for the first ones.")
    return shown.placed


def _python(shown: Shown) -> str:
    crowd, layer = shown.asked.crowd, shown.asked.of_layer
    whole, count = crowd.whole, shown.count
    method = shown.method
    if method.name == "PCA":
        place = "picture = embedding.pca(vectors)"
    else:
        schedule = "schedule=tsne_engine.QUICK" if method.schedule == "quick" else "schedule=tsne_engine.Schedule()"
        place = f"picture = embedding.tsne(vectors, perplexity={method.perplexity}, seed={method.seed}, {schedule})"
    order = f"range({count})" if whole.labels is None else f"data.stratified(whole.labels, seed={crowd.seed})[:{count}]"
    lines = (
        "from cnnviz import data, embedding, tsne_engine",
        "from cnnviz.features import features",
        "",
        f'whole = data.open("{whole.name}")',
        f"pictures = [whole[i] for i in {order}]",
        f"vectors = features(model, model.prepare(pictures){'' if layer is None else f', {layer!r}'})",
        place,
        f"here = picture.transform(features(model, image{'' if layer is None else f', {layer!r}'}))",
    )
    return "\n".join(lines)
