"""Feature vectors brought to 2 or 3 dimensions, with what was lost on the way.

PCA is a projection: its axes mean something, and new points are placed exactly. t-SNE keeps neighbours and nothing
else: sizes, gaps and distances between clusters in its picture mean nothing. Both give an `Embedding`, which places new
points without moving the others and carries the figures of its quality.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cnnviz import tsne_engine as engine
from cnnviz.errors import CnnvizError

Array = NDArray[np.float32]
_MOST_PAIRS = 4_000_000  # how many distances a figure of quality may look at


class EmbeddingError(CnnvizError):
    """Vectors that cannot be embedded."""


@dataclass(frozen=True)
class Embedding:
    """Points (n, dimensions) for n vectors, in their order.

    `quality` holds figures by name (explained variance ratios, KL divergence, ...), `options` what was asked for,
    `notes` a sentence for each thing that was changed or left out. `transform` places new vectors (m, d) among the
    points, which never move; `placement` says how.
    """

    method: str
    points: Array
    quality: Mapping[str, Any]
    options: Mapping[str, Any]
    placement: str
    notes: tuple[str, ...] = ()
    components: Array | None = None
    _place: Callable[[Array], Array] = field(repr=False, default=lambda vectors: vectors)

    def transform(self, vectors: ArrayLike) -> Array:
        """New vectors (m, d) as points (m, dimensions). Raises `EmbeddingError` when they do not fit."""
        new = np.atleast_2d(np.asarray(vectors, np.float32))
        if not np.isfinite(new).all():
            raise EmbeddingError("the new vectors hold NaN or infinite values; there is no place for them")
        return self._place(new)


def pca(vectors: ArrayLike, dimensions: int = 2, *, scale: str = "none") -> Embedding:
    """The directions along which the vectors (n, d) differ most; exact, and fast for any n.

    `scale`: "none" centres only, "z-score" divides each column by its standard deviation (columns that never vary are
    left out), "l2" makes every vector unit length first, as the cosine does. The sign of each component is fixed: its
    largest loading is positive. `quality["explained_variance"]` are the ratios of all components. Pearson 1901.
    """
    prepared = _prepared(vectors, scale)
    matrix = prepared.matrix
    n, width = matrix.shape
    kept = min(dimensions, n, width)
    mean = matrix.mean(0)
    centred = matrix - mean
    variance, directions = _principal(centred)
    total = float(variance.sum())
    components = _signed(directions[:, :kept])
    points = _padded(centred @ components, dimensions)
    ratios = (variance / total).numpy() if total > 0 else np.zeros(len(variance))
    notes = prepared.notes + _missing_components(kept, dimensions, n, width) + _flat(total)
    quality = {"explained_variance": ratios, "kept": float(ratios[:kept].sum())}
    options = {"dimensions": dimensions, "scale": scale}

    def place(new: Array) -> Array:
        return _padded((prepared.like(new) - mean) @ components, dimensions).numpy()

    loadings = components.T.numpy()
    return Embedding("PCA", points.numpy(), quality, options, "projected exactly", notes, loadings, place)


def tsne(vectors: ArrayLike, dimensions: int = 2, perplexity: float = 30, seed: int = 0, **options: Any) -> Embedding:
    """A picture (n, dimensions) in which near neighbours stay near, and nothing else is promised.

    Options as in `tsne_frames`. van der Maaten & Hinton 2008. Raises `EmbeddingError` for NaN.
    """
    return deque(tsne_frames(vectors, dimensions, perplexity, seed, **options), maxlen=1)[0]


def tsne_frames(
    vectors: ArrayLike,
    dimensions: int = 2,
    perplexity: float = 30,
    seed: int = 0,
    *,
    schedule: engine.Schedule = engine.Schedule(),  # noqa: B008  (frozen)
    components: int = 50,
    metric: str = "euclidean",
    every: int = 10,
    still: float = 0.0,
    device: str = "cpu",
) -> Iterator[Embedding]:
    """The picture while it forms: an `Embedding` every `every` iterations, the last one with its KL divergence.

    Vectors are first brought to `components` principal components (0 keeps all); `metric` is "euclidean" or "cosine".
    The start is the first principal components; `seed` only separates points that coincide. Stops early once the
    gradient is shorter than `still`. A perplexity that n points cannot have is lowered, with a note.
    """
    reduced, start, notes = _before_tsne(vectors, dimensions, components, metric, seed, device)
    n = len(reduced)
    allowed = min(perplexity, max(1.0, (n - 1) / 3))
    if allowed < perplexity:
        notes += (f"perplexity {perplexity:g} is too high for {n} points; {allowed:.3g} was used",)
    chosen = {"dimensions": dimensions, "perplexity": allowed, "seed": seed, "components": components, "metric": metric}
    if n < 3:
        notes += (f"{n} points have no neighbourhoods to keep; this is their PCA",)
        yield Embedding("t-SNE", (start * 1e4).cpu().numpy(), {}, chosen, "not placed", notes)
        return
    pairs = engine.affinities(reduced, allowed)
    for frame in engine.optimise(start, pairs, schedule, every=every):
        over = frame.iteration == schedule.total or frame.gradient < still
        quality = {"iteration": frame.iteration, "iterations": schedule.total, "gradient": frame.gradient}
        if over:
            quality["kl"] = engine.divergence(frame.points, pairs)
        yield Embedding(
            "t-SNE",
            frame.points.cpu().numpy(),
            quality,
            chosen,
            "started at the mean of its neighbours and moved with all others fixed",
            notes,
            None,
            _placer(vectors, components, metric, reduced, frame.points, allowed),
        )
        if over:
            return


def _placer(
    vectors: ArrayLike, components: int, metric: str, reduced: Tensor, points: Tensor, perplexity: float
) -> Callable[[Array], Array]:
    def place(new: Array) -> Array:
        reduce = _reducer(_prepared(vectors, _SCALES[metric]), components)
        return engine.place(reduce(new).to(points.device), reduced, points, perplexity).cpu().numpy()

    return place


_SCALES = {"euclidean": "none", "cosine": "l2"}


def _before_tsne(
    vectors: ArrayLike, dimensions: int, components: int, metric: str, seed: int, device: str
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The vectors reduced (n, ≤ components), the start (n, dimensions), and notes."""
    if metric not in _SCALES:
        raise EmbeddingError(f"“{metric}” is not a metric here; choose one of {', '.join(_SCALES)}")
    prepared = _prepared(vectors, _SCALES[metric])
    raw = prepared.matrix
    reduced = _reducer(prepared, components)(prepared.raw)
    first = _padded((raw - raw.mean(0)) @ _signed(_principal(raw - raw.mean(0))[1][:, :dimensions]), dimensions)
    spread = float(first[:, 0].std()) if len(first) > 1 else 0.0
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(first.shape, generator=generator)
    notes = prepared.notes + _flat(spread)
    start = first / spread * 1e-4 if spread > 0 else torch.zeros_like(first)
    return reduced.to(device), (start + noise * 1e-7).to(device), notes


def _reducer(prepared: _Prepared, components: int) -> Callable[[Array], Tensor]:
    matrix = prepared.matrix
    mean = matrix.mean(0)
    if not 0 < components < matrix.shape[1]:
        return lambda new: prepared.like(new) - mean
    directions = _principal(matrix - mean)[1][:, :components]
    return lambda new: ((prepared.like(new) - mean) @ directions).contiguous()


@dataclass(frozen=True)
class _Prepared:
    """Vectors checked and scaled, and how to scale others in the same way."""

    raw: Array
    matrix: Tensor
    notes: tuple[str, ...]
    like: Callable[[Array], Tensor]


def _prepared(vectors: ArrayLike, scale: str) -> _Prepared:
    raw = np.asarray(vectors, np.float32)
    if raw.ndim != 2 or 0 in raw.shape:
        raise EmbeddingError(f"vectors must be a table (n, d) with n and d at least 1, not {raw.shape}")
    bad = int((~np.isfinite(raw)).any(1).sum())
    if bad:
        raise EmbeddingError(f"{bad} of {len(raw)} vectors hold NaN or infinite values; leave those images out")
    if scale not in _LIKE:
        raise EmbeddingError(f"“{scale}” is not a scaling; choose one of {', '.join(_LIKE)}")
    like, notes = _LIKE[scale](torch.from_numpy(raw))
    return _Prepared(raw, like(raw), notes, like)


_Like = Callable[[Array], Tensor]


def _as_given(reference: Tensor) -> tuple[_Like, tuple[str, ...]]:
    return (lambda new: torch.from_numpy(np.ascontiguousarray(new))), ()


def _unit_length(reference: Tensor) -> tuple[_Like, tuple[str, ...]]:
    return (lambda new: torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(new)))), ()


def _standardised(reference: Tensor) -> tuple[_Like, tuple[str, ...]]:
    deviation = reference.std(0, correction=0)
    varies = deviation > 1e-6 * deviation.max().clamp(min=1e-30)
    left_out = int((~varies).sum())
    notes = (f"{left_out} of {len(varies)} features never vary and were left out",) if left_out else ()
    if left_out == len(varies):
        return _as_given(reference)[0], notes
    return (lambda new: torch.from_numpy(np.ascontiguousarray(new))[:, varies] / deviation[varies]), notes


_LIKE: dict[str, Callable[[Tensor], tuple[_Like, tuple[str, ...]]]] = {
    "none": _as_given,
    "z-score": _standardised,
    "l2": _unit_length,
}


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (largest first) and directions (d, k) of centred vectors, through the smaller Gram matrix."""
    n, width = centred.shape
    if width <= n:
        values, directions = torch.linalg.eigh((centred.T @ centred).double() / max(1, n - 1))
        return values.flip(0).clamp(min=0), directions.flip(1).float()
    values, left = torch.linalg.eigh((centred @ centred.T).double() / max(1, n - 1))
    values, left = values.flip(0).clamp(min=0), left.flip(1)
    directions = centred.double().T @ left
    return values, torch.nn.functional.normalize(directions, dim=0).float()


def _signed(directions: Tensor) -> Tensor:
    largest = directions.abs().argmax(0, keepdim=True)
    return directions * directions.gather(0, largest).sign().where(
        directions.gather(0, largest) != 0, torch.tensor(1.0)
    )


def _padded(points: Tensor, dimensions: int) -> Tensor:
    return torch.nn.functional.pad(points, (0, dimensions - points.shape[1]))


def _missing_components(kept: int, wanted: int, n: int, width: int) -> tuple[str, ...]:
    if kept == wanted:
        return ()
    return (f"{n} vectors of {width} numbers have {kept} components, not {wanted}; the missing axes are 0",)


def _flat(spread: float) -> tuple[str, ...]:
    return () if spread > 0 else ("all vectors are equal: there is no direction in which they differ",)


def neighbour_accuracy(vectors: ArrayLike, labels: ArrayLike, *, neighbours: int = 10, queries: int = 2000) -> float:
    """Share of points whose label is the most frequent among their nearest others; asks at most `queries` points."""
    matrix, asked = _asked(vectors, queries)
    classes = np.asarray(labels)
    index = _nearest(matrix, asked, min(neighbours, len(matrix) - 1))
    if index.shape[1] == 0:
        return float("nan")
    votes = classes[index]
    guessed = np.array([np.bincount(row).argmax() for row in votes])
    return float((guessed == classes[asked]).mean())


def neighbours_kept(vectors: ArrayLike, points: ArrayLike, *, neighbours: int = 10, queries: int = 1000) -> float:
    """Share of each vector's nearest others that are also among its nearest in the picture, from 0 to 1."""
    matrix, asked = _asked(vectors, queries)
    picture = torch.from_numpy(np.asarray(points, np.float32))
    count = min(neighbours, len(matrix) - 1)
    pairs = zip(_nearest(matrix, asked, count), _nearest(picture, asked, count), strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / max(1, count) for a, b in pairs]))


def trustworthiness(vectors: ArrayLike, points: ArrayLike, *, neighbours: int = 10, queries: int = 1000) -> float:
    """Whether neighbours in the picture are neighbours in truth, from 0 to 1; equals scikit-learn's with all queries.

    Venna & Kaski 2001. Points that are near in the picture but rank far in the vectors cost most.
    """
    matrix, asked = _asked(vectors, queries)
    n = len(matrix)
    count = min(neighbours, (n - 1) // 2)
    if count < 1:
        return float("nan")
    near = torch.from_numpy(_nearest(torch.from_numpy(np.asarray(points, np.float32)), asked, count))
    penalty = 0.0
    step = max(1, _MOST_PAIRS // n)
    for start in range(0, len(asked), step):
        part = torch.from_numpy(asked[start : start + step])
        distances = torch.cdist(matrix[part].double(), matrix.double())
        distances[torch.arange(len(part)), part] = -1
        own = distances.gather(1, near[start : start + step])
        ranks = torch.stack([(distances < own[:, k, None]).sum(1) for k in range(count)], 1)
        penalty += float((ranks - count).clamp(min=0).sum())
    return 1 - penalty * 2 / (len(asked) * count * (2 * n - 3 * count - 1))


def _asked(vectors: ArrayLike, queries: int) -> tuple[Tensor, NDArray[np.int64]]:
    matrix = torch.from_numpy(np.asarray(vectors, np.float32))
    n = len(matrix)
    return matrix, np.arange(n) if n <= queries else np.random.default_rng(0).choice(n, queries, replace=False)


def _nearest(matrix: Tensor, asked: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if count < 1:
        return np.zeros((len(asked), 0), np.int64)
    _, index = engine.neighbours(matrix[asked], count + 1, among=matrix)
    rows = []
    for own, found in zip(asked, index.numpy(), strict=True):
        others = found[found != own]
        rows.append(others[:count])
    return np.stack(rows)


def aligned(points: ArrayLike, reference: ArrayLike) -> Array:
    """Points (n, dimensions) turned, mirrored, scaled and shifted to lie as near to `reference` as they can.

    Orthogonal Procrustes: the picture itself does not change, only how it hangs.
    """
    moving, fixed = np.asarray(points, float), np.asarray(reference, float)
    if moving.shape != fixed.shape:
        raise EmbeddingError(f"{moving.shape} points cannot be aligned with {fixed.shape}; give the same points")
    centre, target = moving.mean(0), fixed.mean(0)
    u, s, vt = np.linalg.svd((moving - centre).T @ (fixed - target))
    norm = float(((moving - centre) ** 2).sum())
    scale = s.sum() / norm if norm > 0 else 1.0
    hung: Array = ((moving - centre) @ (u @ vt) * scale + target).astype(np.float32)
    return hung
