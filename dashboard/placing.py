"""Embeddings for the page: the vectors of a stratified part of a data set, and their picture while it forms.

Two pieces of background work, so that another method or perplexity never runs the network again: `gather` gives the
vectors and what the network says of each picture, `place` an embedding of them with its figures. The surprise: the same
seed takes the same pictures for every layer and method, so that pictures of two layers can be compared point by point.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from cnnviz import Model, data, embedding, tsne_engine
from cnnviz.data import DataSet, stratified
from cnnviz.embedding import Embedding
from cnnviz.features import features_in_parts
from dashboard import cache as kept
from dashboard.jobs.background import AT_ONCE, BACKGROUND, Work
from dashboard.samples import data_for

NEIGHBOURS = 8
BATCH = 128
FINAL, PIXELS = "final features", "raw pixels"
SCHEDULES = {"quick": tsne_engine.QUICK, "full": tsne_engine.Schedule()}
Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Crowd:
    """Pictures at `positions` of a data set, drawn with `seed` in nearly equal shares of its classes."""

    whole: DataSet
    positions: Numbers
    seed: int

    @cached_property
    def pictures(self) -> DataSet:
        return self.whole.take(self.positions)

    @property
    def labels(self) -> Numbers | None:
        """The class of each picture among the data set's, (n,)."""
        return None if self.whole.labels is None else self.whole.labels[self.positions]

    def __len__(self) -> int:
        return len(self.positions)


def crowd_for(model: Model, most: int, seed: int) -> Crowd | None:
    """At most `most` pictures that fit the model; None where no data set does."""
    name = data_for(model)
    if name is None:
        return None
    whole = data.open(name)
    order = np.arange(len(whole)) if whole.labels is None else stratified(whole.labels, seed)
    return Crowd(whole, np.asarray(order[:most], np.int64), seed)


@dataclass(frozen=True, eq=False)
class Asked:
    """Which vectors: of these pictures, as this layer of the model gives them."""

    model: Model
    crowd: Crowd
    layer: str

    @property
    def key(self) -> str:
        whole = self.crowd.whole
        return kept.digest("vectors", self.model.digest, whole.name, self.crowd.positions, self.layer)

    @property
    def of_layer(self) -> str | None:
        """The layer as `cnnviz.features.features` wants it."""
        return {FINAL: None, PIXELS: "pixels"}.get(self.layer, self.layer)


@dataclass(eq=False)
class Gathered:
    """`done` pictures so far; at the end vectors (n, d), scores (n, K), and each vector's nearest others (n, k) with
    their distances."""

    done: int
    of: int
    vectors: Floats
    scores: Floats
    near: Numbers
    distances: Floats

    @cached_property
    def predicted(self) -> Numbers:
        return np.asarray(self.scores.argmax(1), np.int64)

    @cached_property
    def confidence(self) -> Floats:
        """The probability of the predicted class, (n,)."""
        return np.asarray(torch.from_numpy(self.scores).softmax(1).amax(1))


def gather(asked: Asked, *, again: bool = False) -> Work:
    """The vectors as background work; its part is a `Gathered`. What a person stopped stays so, unless `again`."""
    start = BACKGROUND.start if again else BACKGROUND.resume
    work = start(asked.key, lambda: _gather(asked))
    work.wait(AT_ONCE)
    return work


def _gather(asked: Asked) -> Generator[Gathered, None, None]:
    of, pictures = len(asked.crowd), asked.crowd.pictures
    vectors: list[Floats] = []
    scores: list[Floats] = []
    nothing = np.zeros((0, 0), np.float32)
    for start in range(0, of, BATCH):
        images = asked.model.prepare([pictures[i] for i in range(start, min(start + BATCH, of))])
        vectors += features_in_parts(asked.model, images, asked.of_layer, batch=BATCH)
        scores.append(asked.model.scores(images).float().cpu().numpy())
        yield Gathered(min(start + BATCH, of), of, nothing, nothing, nothing.astype(np.int64), nothing)
    together = np.concatenate(vectors)
    near, distances = nearest(together, together, NEIGHBOURS, themselves=True)
    yield Gathered(of, of, together, np.concatenate(scores), near, distances)


def nearest(vectors: Floats, among: Floats, count: int, *, themselves: bool = False) -> tuple[Numbers, Floats]:
    """Indices and Euclidean distances (m, k) of the nearest of `among`; `themselves`: both are one set, others only."""
    count = min(count, len(among) - themselves)
    if count < 1:
        return np.zeros((len(vectors), 0), np.int64), np.zeros((len(vectors), 0), np.float32)
    given, others = torch.tensor(vectors), torch.tensor(among)
    _, index = tsne_engine.neighbours(given, count, among=None if themselves else others)
    exact = [(others[near] - own).norm(dim=1) for own, near in zip(given, index, strict=True)]  # not by a product
    return index.numpy(), torch.stack(exact).numpy()


@dataclass(frozen=True, eq=False)
class Method:
    """How the vectors become a picture. `name` is "PCA" or "t-SNE"; the rest is t-SNE's."""

    name: str
    perplexity: int = 30
    schedule: str = "quick"
    seed: int = 0

    @property
    def options(self) -> Mapping[str, object]:
        """What a download says about it."""
        return {} if self.name == "PCA" else {k: v for k, v in vars(self).items() if k != "name"}


@dataclass(eq=False)
class Placed:
    """An embedding, and once it is final, its figures by name."""

    embedding: Embedding
    figures: Mapping[str, float] | None = None


def place(asked: Asked, gathered: Gathered, method: Method, *, again: bool = False) -> Work:
    """The picture as background work; its part is a `Placed`. What a person stopped stays so, unless asked `again`."""
    key = kept.digest(asked.key, method.name, *method.options.values())
    start = BACKGROUND.start if again else BACKGROUND.resume
    work = start(key, lambda: _place(gathered, method, asked.crowd.labels))
    work.wait(AT_ONCE)
    return work


def _place(gathered: Gathered, method: Method, labels: Numbers | None) -> Generator[Placed, None, None]:
    latest = None
    for latest in _embeddings(gathered.vectors, method):
        yield Placed(latest)
    assert latest is not None
    yield Placed(latest, figures_of(gathered.vectors, latest.points, labels))


def _embeddings(vectors: Floats, method: Method) -> Generator[Embedding, None, None]:
    if method.name == "PCA":
        yield embedding.pca(vectors)
    else:
        yield from embedding.tsne_frames(
            vectors, perplexity=method.perplexity, seed=method.seed, schedule=SCHEDULES[method.schedule]
        )


def figures_of(vectors: Floats, points: Floats, labels: Numbers | None) -> dict[str, float]:
    """How much of the neighbourhoods the picture keeps; the accuracies only where there are labels."""
    figures = {
        "trustworthiness": embedding.trustworthiness(vectors, points),
        "kept": embedding.neighbours_kept(vectors, points),
    }
    if labels is not None:
        figures["accuracy_vectors"] = embedding.neighbour_accuracy(vectors, labels)
        figures["accuracy_picture"] = embedding.neighbour_accuracy(points, labels)
    return figures
