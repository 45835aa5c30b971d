"""How far to trust a map: four questions with numbers, and what follows from them in one sentence each.

Does the map change when the weights become random (`randomisation`)? Do the pixels that it marks matter to the network
(`pixel_removal`)? Do contributions add up (`completeness`)? Does the map survive a little noise (`noise_sensitivity`)?
Each is a generator that yields what is known so far; closing it stops the work.

The surprise: the questions disagree with each other, so there is no single score of trust, and none is made here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnviz.attribution import explained
from cnnviz.attribution.gradient import target_values
from cnnviz.attribution.method import at_once
from cnnviz.errors import ExplanationError
from cnnviz.model import Layer, Model
from cnnviz.occlusion.fills import fill_picture
from cnnviz.target import Class, Target, as_target

Floats = NDArray[np.floating[Any]]
Options = Mapping[str, Any]
Rank = Literal["magnitude", "value"]


# does the map depend on the weights? --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A map from a network whose weights are random from the top down to `layer`, compared with the real map.

    `spearman` is the rank correlation of the magnitudes, `ssim` their structural similarity: 1 is the same picture, 0
    nothing in common. `map` (H, W) is the map's magnitude under the random weights.
    """

    layer: str
    spearman: float
    ssim: float
    map: Floats = field(compare=False, repr=False)


@dataclass(frozen=True)
class Randomisation:
    """The stages done so far of a cascade that has `total`."""

    stages: tuple[Stage, ...]
    total: int

    @property
    def done(self) -> float:
        return len(self.stages) / self.total

    @property
    def sentence(self) -> str:
        """What the correlations mean for a reader of the map."""
        if not self.stages:
            return "No weights are random yet."
        last = self.stages[-1]
        where = f"With all weights random down to {last.layer}, the map's rank correlation with the real one is"
        if last.spearman > 0.5:
            return f"{where} {last.spearman:.2f}: it shows the image more than what the network learned."
        if last.spearman > 0.2:
            return f"{where} {last.spearman:.2f}: part of it is the image itself, not what the network learned."
        return f"{where} {last.spearman:.2f}: it depends on what the network learned, as it should."


def randomisation(
    method: str,
    model: Model,
    image: Tensor,
    target: Target | int,
    options: Options | None = None,
    *,
    stages: int = 8,
    seed: int = 0,
) -> Iterator[Randomisation]:
    """Re-initialise the layers before the target from the top down, and compare the maps (Adebayo et al. 2018).

    `image` (1, C, H, W). The layers are taken in at most `stages` equal groups; weights are drawn anew as PyTorch draws
    them, from a generator of `seed`, on a private copy. Raises `ExplanationError` for a network that shows no layers.
    """
    wanted = _one(model, image, target)
    real = _magnitude(explained(method, model, image, wanted, **(options or {})).values)
    copy = _private_copy(model)
    groups = _groups(_with_weights(copy, wanted), stages)
    generator = torch.Generator().manual_seed(seed)
    so_far: tuple[Stage, ...] = ()
    for group in groups:
        for layer in group:
            _reinitialise(copy, layer, generator)
        now = _magnitude(explained(method, copy, image, wanted, **(options or {})).values)
        so_far = (*so_far, Stage(group[-1].name, rank_correlation(real, now), structural(real, now), now))
        yield Randomisation(so_far, len(groups))


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation of two maps (H, W); 0 when one of them is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    from scipy.stats import spearmanr  # slow to import, and only needed here

    return float(spearmanr(first, second, axis=None).statistic)


def structural(first: Floats, second: Floats) -> float:
    """Structural similarity of two maps (H, W), each scaled to its own largest value; 0 when one of them is blank."""
    side = min(7, (min(first.shape) - 1) // 2 * 2 + 1)
    if not first.any() or not second.any() or side < 3:
        return 0.0
    one, other = (np.asarray(m / np.abs(m).max(), np.float64) for m in (first, second))
    from skimage.metrics import structural_similarity  # slow to import, and only needed here

    return float(structural_similarity(one, other, data_range=1.0, win_size=side))  # type: ignore[no-untyped-call]


def _private_copy(model: Model) -> Model:
    """The same model over weights of its own: nothing done to them reaches the network that others look at."""
    if not model.layers:
        raise ExplanationError(f"{model.name} does not show its layers (it is compiled), so none can be made random")
    network = deepcopy(model.twin())
    return Model(network, model.size, model.mean, model.std, model.classes, name=f"{model.name}, random")


def _with_weights(model: Model, target: Target) -> list[Layer]:
    """The layers with weights that the target can depend on, the last to run first."""
    names = [layer.name for layer in model.layers]
    end = max((names.index(name) + 1 for name in target.layers), default=len(names))
    found = [layer for layer in model.layers[:end] if layer.parameters]
    if not found:
        raise ExplanationError("there are no weights before the target, so none can be made random")
    return found[::-1]


def _groups(layers: Sequence[Layer], count: int) -> list[list[Layer]]:
    cuts = np.array_split(np.arange(len(layers)), min(count, len(layers)))
    return [[layers[place] for place in cut] for cut in cuts]


def _reinitialise(model: Model, layer: Layer, generator: torch.Generator) -> None:
    """Draw a layer's weights anew; a batch norm becomes one that has seen nothing."""
    with torch.no_grad():
        if isinstance(layer.module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
            _reset_norm(layer.module)
            return
        weights = _weights_of(model, layer)
        fan_in = max((w[0].numel() for w in weights if w.dim() > 1), default=1)
        for weight in weights:  # the bounds of nn.Linear and nn.Conv2d, weights and biases alike
            weight.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)


def _reset_norm(norm: nn.Module) -> None:
    fresh = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for name, tensor in (*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)):
        if name in fresh:
            tensor.fill_(fresh[name])


def _weights_of(model: Model, layer: Layer) -> list[Tensor]:
    """The parameters of a layer: its module's, or those that its steps read where there is no module."""
    if layer.module is not None and next(layer.module.parameters(), None) is not None:
        return list(layer.module.parameters())
    marks = model.tape.marks
    place = next(i for i, mark in enumerate(marks) if mark.layer == layer.name)
    first = marks[place - 1].at.step + 1 if place else 1
    steps = model.tape.steps[first : marks[place].at.step + 1]
    return [a for step in steps for a in (*step.args, *step.kwargs.values()) if isinstance(a, nn.Parameter)]


# do the pixels that it marks matter? --------------------------------------------------------------------------------


@dataclass(frozen=True)
class PixelRemoval:
    """How the target falls when pixels are taken away, and rises when they are put back, most important first.

    Each curve has the target's value at every share of `shares`, as far as it is known: for a class its probability,
    otherwise the target's own units. `deletion` and `insertion` follow the map, the others a random order.
    """

    shares: Floats
    fill: str
    deletion: Floats
    random_deletion: Floats
    insertion: Floats
    random_insertion: Floats

    @property
    def done(self) -> float:
        known = (self.deletion, self.random_deletion, self.insertion, self.random_insertion)
        return sum(map(len, known)) / (4 * len(self.shares))

    @property
    def areas(self) -> dict[str, float]:
        """The area under each curve that is complete: low is good for deletion, high for insertion."""
        curves = {name: getattr(self, name) for name in _CURVES}
        return {name: area(curve, self.shares) for name, curve in curves.items() if len(curve) == len(self.shares)}

    @property
    def sentence(self) -> str:
        """Whether the map beats chance at finding pixels that matter."""
        found = self.areas
        if len(found) < 4:
            return "The curves are not complete yet."
        deletes = found["deletion"] < found["random_deletion"]
        inserts = found["insertion"] > found["random_insertion"]
        numbers = (
            f"(deletion {found['deletion']:.2f} against {found['random_deletion']:.2f}, "
            f"insertion {found['insertion']:.2f} against {found['random_insertion']:.2f}, filled with {self.fill})"
        )
        return f"{_VERDICTS[deletes, inserts]} {numbers}."


_PERCENT = "\N{NO-BREAK SPACE}%"
_CURVES = ("deletion", "random_deletion", "insertion", "random_insertion")
_VERDICTS = {
    (True, True): "The pixels that the map marks matter more than random ones, taken away and put back",
    (
        True,
        False,
    ): "Taking the marked pixels away hurts more than random ones, but putting them back does not help more",
    (
        False,
        True,
    ): "Putting the marked pixels back helps more than random ones, but taking them away does not hurt more",
    (False, False): "The pixels that the map marks matter no more to the network than random ones",
}


def pixel_removal(
    values: Floats,
    model: Model,
    image: Tensor,
    target: Target | int,
    *,
    steps: int = 32,
    fill: str = "mean",
    rank: Rank = "magnitude",
    seed: int = 0,
) -> Iterator[PixelRemoval]:
    """Deletion and insertion curves of a map against a random ranking (Petsiuk et al. 2018).

    `values` (1, C or 1, H, W) is the map of `image` (1, C, H, W). Pixels go in `steps` equal shares, by the largest
    magnitude over the channels or, with `rank="value"`, by the sum of the channels, where a method `contributes`. The
    fill is one of `cnnviz.occlusion`'s. Yields after each batch. Raises `ExplanationError` when the map does not fit.
    """
    wanted = _one(model, image, target)
    if isinstance(wanted, Class):
        wanted = Class(wanted.index, "probability")
    if values.shape[0] != 1 or values.shape[-2:] != tuple(image.shape[-2:]):
        raise ExplanationError(f"a map of {values.shape} does not belong to an image of {tuple(image.shape)}")
    rows, columns = image.shape[-2:]
    filled = fill_picture(fill, model, image[0], (max(2, rows // 2), max(2, columns // 2)), seed)[None]
    order = {
        "": _order(values, rank),
        "random_": np.random.default_rng(seed).permutation(rows * columns),
    }
    shares = np.linspace(0, 1, steps + 1)
    curves: dict[str, Floats] = {name: np.empty(0) for name in _CURVES}
    for name in _CURVES:
        start, end = (image, filled) if name.endswith("deletion") else (filled, image)
        random = "random_" if name.startswith("random") else ""
        for part in _curve(model, wanted, (start, end), (order[random], shares)):
            curves[name] = np.concatenate([curves[name], part])
            yield PixelRemoval(shares, fill, **curves)


def area(curve: Floats, shares: Floats) -> float:
    """The area under a curve over shares from 0 to 1, by trapezia."""
    return float(np.trapezoid(curve, shares))


def _order(values: Floats, rank: Rank) -> NDArray[np.intp]:
    """Pixel numbers, most important first; ties in reading order."""
    key = values[0].sum(0) if rank == "value" else np.abs(values[0]).max(0)
    return np.argsort(-key, axis=None, kind="stable")


def _curve(
    model: Model, target: Target, ends: tuple[Tensor, Tensor], plan: tuple[NDArray[np.intp], Floats]
) -> Iterator[Floats]:
    """The target's values while pixels of the first image become those of the second, batch after batch."""
    (start, end), (order, shares) = ends, plan
    counts = np.rint(shares * len(order)).astype(int)
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    places = torch.from_numpy(place.reshape(start.shape[-2:])).to(start.device)
    for first in range(0, len(counts), at_once(start)):
        limits = torch.from_numpy(counts[first : first + at_once(start)]).to(start.device).view(-1, 1, 1, 1)
        yield target_values(model, torch.where(places < limits, end, start), target)


# do contributions add up? -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Completeness:
    """The completeness gap of integrated gradients at more and more steps, as a share of the change of the target."""

    steps: tuple[int, ...]
    gaps: tuple[float, ...]
    total: int

    @property
    def done(self) -> float:
        return len(self.steps) / self.total

    @property
    def sentence(self) -> str:
        """Whether the values can be read as shares of the target."""
        if not self.steps:
            return "Nothing is added up yet."
        verdict = "so they can be read as contributions" if self.gaps[-1] <= 0.01 else "so read them with care"
        gap = f"{100 * self.gaps[-1]:.2f}{_PERCENT}"
        return f"At {self.steps[-1]} steps the values add up to the change of the target within {gap}, {verdict}."


def completeness(
    model: Model,
    image: Tensor,
    target: Target | int,
    *,
    baseline: str = "black",
    steps: Sequence[int] = (8, 16, 32, 64, 128),
) -> Iterator[Completeness]:
    """How far integrated gradients are from adding up to the change of the target, for each number of steps."""
    wanted = _one(model, image, target)
    gaps: tuple[float, ...] = ()
    for count in steps:
        facts = explained("integrated_gradients", model, image, wanted, steps=count, baseline=baseline).facts
        gaps = (*gaps, math.nan if facts.gap is None else float(facts.gap[0]))
        yield Completeness(tuple(steps[: len(gaps)]), gaps, len(steps))


# does it survive a little noise? ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoiseSensitivity:
    """How much the map changes, relative to its own norm, when every pixel moves by at most `radius`."""

    radius: float
    changes: tuple[float, ...]
    correlations: tuple[float, ...]
    total: int

    @property
    def done(self) -> float:
        return len(self.changes) / self.total

    @property
    def sentence(self) -> str:
        """Whether the picture can be read in detail."""
        if not self.changes:
            return "No noise has been tried yet."
        worst, alike = max(self.changes), float(np.mean(self.correlations))
        detail = "its fine structure is noise; look at where, not at which pixel" if alike < 0.5 else "it is stable"
        return (
            f"Noise of at most {100 * self.radius:.0f}{_PERCENT} of the pixel range, which nobody sees, changes the "
            f"map by up to {100 * worst:.0f}{_PERCENT} of its norm (rank correlation {alike:.2f}): {detail}."
        )


def noise_sensitivity(
    method: str,
    model: Model,
    image: Tensor,
    target: Target | int,
    options: Options | None = None,
    *,
    samples: int = 8,
    radius: float = 0.02,
    seed: int = 0,
) -> Iterator[NoiseSensitivity]:
    """Compare the map with those of noisy copies of the image (Yeh et al. 2019). `image` is (1, C, H, W)."""
    wanted = _one(model, image, target)
    real = explained(method, model, image, wanted, **(options or {})).values
    generator = torch.Generator().manual_seed(seed)
    changes: tuple[float, ...] = ()
    alike: tuple[float, ...] = ()
    for _ in range(samples):
        noise = radius * (2 * torch.rand(image.shape, generator=generator) - 1)
        now = explained(method, model, (image + noise.to(image)).clamp(0, 1), wanted, **(options or {})).values
        norm = float(np.linalg.norm(real))
        changes = (*changes, float(np.linalg.norm(now - real)) / norm if norm else 0.0)
        alike = (*alike, rank_correlation(_magnitude(real), _magnitude(now)))
        yield NoiseSensitivity(radius, changes, alike, samples)


def _one(model: Model, image: Tensor, target: Target | int) -> Target:
    model.check_images(image)
    if len(image) != 1:
        raise ExplanationError(f"trust is asked of one image at a time, not {len(image)}; give images[:1]")
    wanted = as_target(target, 1)
    wanted.check(model)
    return wanted


def _magnitude(values: Floats) -> Floats:
    """The map (H, W) that the paper's picture shows: the largest magnitude over the channels."""
    return np.asarray(np.abs(values[0]).max(0))
