"""A private network for methods that need dozens of gradients: every batch norm folded into its convolution.

In evaluation mode a batch norm is a scale and a shift, so a convolution can do its work, and a pass forward and back
through a residual network takes a fifth less time. Only scores come out of it: its layers are not those of the network.
The surprise: folding copies weights, so the copy is made anew when the digest of the original has changed.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cnnviz.model import Model

_TOLERANCE = 1e-4  # of the scores' norm; folding rounds a float32 network by about 1e-6
_lock = Lock()
_known: WeakKeyDictionary[Model, tuple[str, nn.Module | None]] = WeakKeyDictionary()


def folded(model: Model) -> nn.Module | None:
    """The model's network with folded batch norms, channels last; None where there is nothing to fold.

    It takes normalised images and gives scores, those of `model.scores` up to rounding: that is tried out first.
    """
    pairs = _pairs(model)
    if not pairs:
        return None
    with _lock:
        digest, network = _known.get(model, ("", None))
        if digest != model.digest:
            network = _same_or_none(model, _fold(model, pairs))
            _known[model] = (model.digest, network)
        return network


def _pairs(model: Model) -> list[tuple[str, str]]:
    """The names of convolutions and of the batch norms that alone read them; each of the two used once."""
    tape = model.tape
    if tape.reads_values:
        return []
    uses = Counter(id(mark.module) for mark in tape.marks)
    readers = Counter(ref for step in tape.steps for ref in step.refs)
    convolutions = {m.at: m for m in tape.marks if isinstance(m.module, nn.Conv2d) and readers[m.at] == 1}
    found = []
    for mark in tape.marks:
        refs = tape.steps[mark.at.step].refs
        before = convolutions.get(refs[0]) if isinstance(mark.module, nn.BatchNorm2d) and refs else None
        if before is not None and uses[id(mark.module)] == uses[id(before.module)] == 1:
            found.append((before.layer, mark.layer))
    return found


def _fold(model: Model, pairs: list[tuple[str, str]]) -> nn.Module:
    network = deepcopy(model.twin())
    for convolution, norm in pairs:
        modules = network.get_submodule(convolution), network.get_submodule(norm)
        network.set_submodule(convolution, fuse_conv_bn_eval(*modules))  # type: ignore[type-var, arg-type]
        network.set_submodule(norm, nn.Identity())
    network.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _same_or_none(model: Model, network: nn.Module) -> nn.Module | None:
    images = torch.rand((2, *model.size), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            ours, theirs = network(model.normalised(images)), model.scores(images)
    except (AttributeError, RuntimeError):  # a forward that reads the norm's own weights
        return None
    return network if float((ours - theirs).norm()) <= _TOLERANCE * float(theirs.norm()) else None
