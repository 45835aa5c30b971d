"""Which channels of a layer are dead: never above zero on any of a number of pictures that is stated.

The pictures are those of a bundled data set that fits the network. The surprise: for a large network few are tried, so
that a page does not wait for seconds, and for a very large one none; then nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnviz import Layer, Model, data
from cnnviz.activity import highest
from cnnviz.errors import CnnvizError
from dashboard import cache

SAMPLE = 300  # pictures tried
FEWEST, ENOUGH = 8, 50  # below the second number nobody is called dead
MACS = 2.5e9  # what the search may cost, so that the first look stays within a second


@dataclass(frozen=True)
class Tried:
    """How many pictures of which data set were tried, and the highest value of every channel on them."""

    pictures: int
    title: str
    highest: NDArray[np.float32]

    @property
    def silent(self) -> NDArray[np.bool_]:
        """The channels that are never above zero, (C,); one that is not a number is not among them."""
        return np.asarray(self.highest <= 0)

    @property
    def dead(self) -> NDArray[np.bool_]:
        """The silent channels, where enough pictures were tried to call them dead."""
        return self.silent & (self.pictures >= ENOUGH)


def tried(model: Model, layer: Layer) -> Tried | None:
    """What a layer after its activation reached; None where the question has no sense or costs too much."""
    name = _sample_of(model)
    if layer.signed or name is None:
        return None
    sample = data.open(name)
    macs = max(sum(each.macs for each in model.layers), 1)
    count = int(min(len(sample), SAMPLE, max(FEWEST, MACS / macs)))
    if count * macs > 8 * MACS:
        return None
    positions = np.linspace(0, len(sample) - 1, count).astype(int)

    def compute() -> dict[str, NDArray[np.float32]]:
        names = [each.name for each in model.layers if not each.signed]
        return highest(model, model.prepare([sample[int(i)] for i in positions]), names)

    tops = cache.result(compute, "highest", model.digest, name, count)
    return Tried(count, sample.title.split(",")[0], tops[layer.name])


def _sample_of(model: Model) -> str | None:
    """A data set that is here and fits the network: its own, or one of its picture size."""
    own = (model.card.get("data") or {}).get("name", "")
    fits = [name for name, info in data.DATASETS.items() if info.bundled and info.size == tuple(model.size)]
    try:
        if own in data.DATASETS and data.is_here(own):
            return own
    except CnnvizError:
        pass
    return fits[0] if fits else ("photos" if model.size[0] == 3 else None)
