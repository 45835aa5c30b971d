"""t-SNE: our engine beside scikit-learn's on the same vectors, in one process, taking turns.

    python benchmarks/embedding.py                          5,000 and 10,000 points, three rounds
    python benchmarks/embedding.py 5000 --rounds 1
    python benchmarks/embedding.py 60000 --ours-only        how far it goes

Vectors are ten classes in 128 dimensions, two to a curved sheet, so that pairs of classes overlap a little.
Everything from vectors to points is timed: ours with its own PCA and neighbours, scikit-learn's with the PCA to 50
components that its documentation advises. Times are `median [fastest]`; a median far above its fastest is a busy
machine. KL is not compared: the two sum over different pairs. The pictures are compared by what they keep.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cnnviz import embedding
from cnnviz.tsne_engine import QUICK, Schedule

Floats = NDArray[np.float32]
CLASSES, WIDTH, COMPONENTS = 10, 128, 50
SHORT_PERPLEXITY, PERPLEXITY = 15, 30


@dataclass
class Contender:
    """One way from vectors to points; `seconds` of each round, the points of the last."""

    name: str
    run: Callable[[Floats], Floats]
    seconds: list[float] = field(default_factory=list)
    points: Floats | None = None

    def race(self, vectors: Floats) -> None:
        start = time.perf_counter()
        self.points = self.run(vectors)
        self.seconds.append(time.perf_counter() - start)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def ours(perplexity: float, schedule: Schedule) -> Callable[[Floats], Floats]:
    """The engine of this project."""
    return lambda vectors: embedding.tsne(vectors, perplexity=perplexity, schedule=schedule).points


def scikit_learn(perplexity: float, iterations: int) -> Callable[[Floats], Floats]:
    """Barnes-Hut t-SNE on 50 principal components, everything else as scikit-learn has it."""

    def run(vectors: Floats) -> Floats:
        reduced = PCA(COMPONENTS, svd_solver="covariance_eigh").fit_transform(vectors)
        tsne = TSNE(perplexity=perplexity, max_iter=iterations, init="pca", random_state=0, n_jobs=-1)
        return np.asarray(tsne.fit_transform(reduced), np.float32)

    return run


def contenders(ours_only: bool) -> list[Contender]:
    """Ours at both schedules, scikit-learn's at its default and at the same iterations and perplexity."""
    mine = [
        Contender(f"ours, 250 + 250, perplexity {PERPLEXITY}", ours(PERPLEXITY, Schedule())),
        Contender(f"ours, 100 + 150, perplexity {SHORT_PERPLEXITY}", ours(SHORT_PERPLEXITY, QUICK)),
    ]
    if ours_only:
        return mine
    return [
        Contender("scikit-learn, its default of 1,000", scikit_learn(PERPLEXITY, 1000)),
        Contender(f"scikit-learn, 500, perplexity {PERPLEXITY}", scikit_learn(PERPLEXITY, 500)),
        Contender(
            f"scikit-learn, 250 (its least, all exaggerated), perplexity {SHORT_PERPLEXITY}",
            scikit_learn(SHORT_PERPLEXITY, 250),
        ),
        *mine,
    ]


def vectors_and_labels(count: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """`count` vectors (count, 128) of ten classes, two to a curved sheet of six dimensions."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = generator.normal(0, 0.5, (CLASSES, WIDTH))
    bases = generator.normal(0, 1, (CLASSES, 6, WIDTH)) / 6**0.5
    bends = generator.normal(0, 0.35, (CLASSES, 6, WIDTH))
    inner = generator.normal(0, 1, (count, 6))
    vectors = centres[labels] + generator.normal(0, 0.35, (count, WIDTH))
    for label in range(CLASSES):
        own = inner[labels == label]
        vectors[labels == label] += own @ bases[label // 2] + (own**2) @ bends[label // 2]
    return vectors.astype(np.float32), labels


def table(count: int, rounds: int, ours_only: bool) -> str:
    """One size, as a markdown table."""
    vectors, labels = vectors_and_labels(count)
    runners = contenders(ours_only)
    for _ in range(rounds):
        for runner in runners:
            runner.race(vectors)
    default = runners[0].median
    in_vectors = embedding.neighbour_accuracy(vectors, labels)
    lines = [
        f"### {count:,} points, {WIDTH} numbers each, rounds: {rounds}",
        "",
        f"10-NN accuracy in the vectors: {in_vectors:.3f}",
        "",
        "| | seconds | times as fast as the first | ten neighbours kept | 10-NN accuracy | trustworthiness |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_row(runner, vectors, labels, default) for runner in runners])


def _row(runner: Contender, vectors: Floats, labels: NDArray[np.int64], default: float) -> str:
    assert runner.points is not None
    kept = embedding.neighbours_kept(vectors, runner.points)
    accuracy = embedding.neighbour_accuracy(runner.points, labels)
    trust = embedding.trustworthiness(vectors, runner.points)
    times = f"{runner.median:.2f} [{min(runner.seconds):.2f}]"
    return f"| {runner.name} | {times} | {default / runner.median:.1f} | {kept:.3f} | {accuracy:.3f} | {trust:.4f} |"


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[5000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours-only", action="store_true")
    asked = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, scikit-learn {sklearn.__version__}"
    )
    embedding.tsne(vectors_and_labels(200)[0], schedule=Schedule(5, 5))  # the first call loads libraries
    for count in asked.counts:
        print(f"\n{table(count, asked.rounds, asked.ours_only)}", flush=True)


if __name__ == "__main__":
    main()
