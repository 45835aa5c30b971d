"""A handful of a data set that fits a network: what "over N pictures" means on a page.

The surprise: N depends on the network, so that a first look never takes more than a second or two of computing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cnnviz import Model, data
from dashboard import cache as kept

MOST = 600
MACS = 6e9


@dataclass(frozen=True)
class Sample:
    """Pictures at evenly spread `positions` of a data set, prepared for a model: `images` (N, C, H, W)."""

    data: str
    title: str
    positions: tuple[int, ...]
    images: Tensor

    def name(self, index: int) -> str:
        """What picture number `index` of the sample is called."""
        return data.open(self.data).describe(self.positions[index])


def sample_for(model: Model) -> Sample | None:
    """A sample of the data the model was trained on, or of one that fits it; None when there is none here."""
    name = data_for(model)
    if name is None:
        return None
    whole = data.open(name)
    work = max(sum(layer.macs for layer in model.layers), 1)
    count = int(min(len(whole), MOST, max(12, MACS / work)))
    positions = tuple(int(i) for i in np.linspace(0, len(whole) - 1, count))
    images = kept.result(
        lambda: model.prepare([whole[i] for i in positions]).numpy(), "sample", name, count, model.size, model.resize
    )
    return Sample(name, whole.title, positions, _tensor(images))


def _tensor(array: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.array(array))


def data_for(model: Model) -> str | None:
    """The name of the data set the model was trained on, or of one that fits it; None when there is none here."""
    own = str(model.card.get("data", ""))
    if own in data.DATASETS and data.is_here(own):
        return own
    fits = [name for name, info in data.DATASETS.items() if info.bundled and info.size == tuple(model.size)]
    return fits[0] if fits else ("photos" if model.size[0] == 3 else None)
