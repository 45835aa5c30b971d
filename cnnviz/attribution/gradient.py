"""The gradient that every method here is made of: of a target, with respect to the pixels of a batch.

The surprise: a target in a middle layer stops the pass there, so looking into an early layer of a deep network costs
what a shallow network costs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnviz import rules
from cnnviz.attribution.explanation import Facts
from cnnviz.attribution.folded import folded
from cnnviz.attribution.method import one_each
from cnnviz.errors import ExplanationError
from cnnviz.target import Target
from cnnviz.trace import Trace

if TYPE_CHECKING:
    from cnnviz.model import Model


_DETACHED = (
    "the target does not depend on the image as far as autograd can see: the network detaches, quantises, rounds or "
    "compares on the way; remove that step, or use occlusion, which needs no gradient"
)


def pixel_gradient(
    model: Model, images: Tensor, target: Target, rule: rules.Rule = rules.plain
) -> tuple[Tensor, Facts]:
    """The gradient (N, C, H, W) of the target with respect to the pixels, and the facts of the pass.

    Raises `ExplanationError` when the target is not a finite number or does not depend on the image.
    """
    with torch.inference_mode(False), torch.enable_grad():
        pixels = leaf(images)
        values, _ = attached_values(model, pixels, target)
        slopes, found = differentiated(values, pixels, rule)
    counts = None if rule is rules.plain else found
    return slopes, Facts(score=values.detach().cpu().numpy(), rectifiers=counts)


def mean_gradient(model: Model, batches: Iterable[Tensor], target: Target) -> Tensor:
    """The mean gradient (C, H, W) of the target over all images of some batches (n, C, H, W): for dozens of passes."""
    network = folded(model) if _reads_only_scores(target) else None
    total, count = torch.zeros(model.size, dtype=model.dtype, device=model.device), 0
    for images in batches:
        aim = one_each(target, 0, len(images))
        total += _summed(model, images, aim, network)
        count += len(images)
    return total / count


def _summed(model: Model, images: Tensor, target: Target, network: nn.Module | None) -> Tensor:
    """The gradient summed over a batch; channels last, which is as fast or faster for batches (up to a fifth)."""
    with torch.inference_mode(False), torch.enable_grad():
        pixels = leaf(images.to(memory_format=torch.channels_last))
        if network is None:
            values, _ = attached_values(model, pixels, target)
        else:
            trace = Trace()
            trace.scores = network(model.normalised(pixels))
            values = _usable(target(trace))
        return differentiated(values, pixels)[0].sum(0)


def target_values(model: Model, images: Tensor, target: Target) -> NDArray[np.floating[Any]]:
    """The target's values (N,) without a gradient."""
    with torch.no_grad():
        trace = model.trace(images, keep=target.layers, until_kept=not _reads_scores(target))
        return target(trace).cpu().numpy()


def leaf(images: Tensor) -> Tensor:
    """The images as a fresh start of an autograd graph; the caller's tensor keeps its own flags."""
    return (images.clone() if images.is_inference() else images.detach()).requires_grad_()


def attached_values(model: Model, pixels: Tensor, target: Target, keep: Collection[str] = ()) -> tuple[Tensor, Trace]:
    """The target's values (N,), attached to autograd, and the trace they were read from, which kept `keep` too."""
    trace = model.trace(pixels, keep={*keep, *target.layers}, until_kept=not keep and not _reads_scores(target))
    return _usable(target(trace)), trace


def _usable(values: Tensor) -> Tensor:
    if not values.requires_grad:
        raise ExplanationError(_DETACHED)
    if not bool(torch.isfinite(values).all()):
        raise ExplanationError(
            f"the target is {values.detach().flatten()[~torch.isfinite(values)][0].item()}, not a finite number: "
            "the weights, or the normalisation, hold or make NaN or infinity; check the checkpoint"
        )
    return values


def differentiated(values: Tensor, inputs: Tensor, rule: rules.Rule = rules.plain) -> tuple[Tensor, rules.Rectifiers]:
    """`rules.gradient` with PyTorch's refusals as one sentence."""
    try:
        return rules.gradient(values, inputs, rule)
    except RuntimeError as problem:
        first = str(problem).strip().splitlines()[0][:200]
        if "appears to not have been used" in first:
            raise ExplanationError(_DETACHED) from problem
        raise ExplanationError(f"the network cannot be differentiated: {first}") from problem


def _reads_only_scores(target: Target) -> bool:
    return _reads_scores(target) and not target.layers


def _reads_scores(target: Target) -> bool:
    parts: tuple[Target, ...] = getattr(target, "targets", ())  # several targets in one
    return any(map(_reads_scores, parts)) if parts else not target.layers
