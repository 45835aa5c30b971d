"""What does a unit look for? An image is changed, step by step, until it answers as strongly as it can.

Erhan et al. 2009; Simonyan et al. 2013; Olah et al. 2017 ("Feature visualization", Distill). The same targets that are
explained elsewhere are maximised here. The image is kept where images of the model's data lie: its spectrum, colours
and mean are measured from that data (`Prior.of`), so that small grey networks give readable pictures as well as large
colour ones.

The surprise: the objective is summed over the images of a batch, never averaged. Each image has one target of its own
and must not take smaller steps because others are beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnviz import rules
from cnnviz.errors import CnnvizError
from cnnviz.model import Model
from cnnviz.target import PerImage, Target, as_target
from cnnviz.trace import Trace

Parametrisation = Literal["fourier", "pixels"]
_REDIRECTED_STEPS = 16  # a unit that does not fire has no gradient; Lucid lets one through for the first steps
_AT_REST = 0.25  # the share of the steps, at the end, over which the movements fade out


@dataclass(frozen=True)
class Prior:
    """Where images of some data lie: their mean (C, H, W), how their colours vary together (C, C), and the amplitude
    of each spatial frequency (H, W // 2 + 1), scaled to a mean square of 1."""

    mean: Tensor
    colours: Tensor
    spectrum: Tensor
    source: str

    @classmethod
    def of(cls, images: Tensor, source: str = "the model's data") -> Prior:
        """Measured from images (N, C, H, W) in [0, 1]; a hundred are plenty."""
        mean = images.mean(0)
        centred = images - mean
        flat = centred.transpose(0, 1).flatten(1)
        values, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
        root = vectors @ torch.diag(values.clamp(min=1e-8).sqrt()) @ vectors.T
        amplitude = torch.fft.rfft2(centred, norm="ortho").abs().square().mean((0, 1)).sqrt()
        return cls(mean, root / root.norm() * math.sqrt(len(root)), _unit(amplitude), source)

    @classmethod
    def neutral(cls, size: tuple[int, int, int]) -> Prior:
        """Without data: middle grey, independent colours, amplitude falling as 1 / frequency."""
        channels, height, width = size
        rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
        frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(height, width))
        return cls(torch.full(size, 0.5), torch.eye(channels), _unit(1 / frequency), "no data: 1 / frequency")


def _unit(amplitude: Tensor) -> Tensor:
    return amplitude / amplitude.square().mean().sqrt().clamp(min=1e-12)


@dataclass(frozen=True)
class Frame:
    """The images (N, C, H, W) in [0, 1] after `step` steps, and what each target answers to them, (N,)."""

    step: int
    images: Tensor
    reached: Tensor


@dataclass(frozen=True)
class Settings:
    """How an image is changed. `transform` is how far it is shifted, turned and scaled before each look, as a share of
    its side; `decay` pulls every coefficient back towards the data; `direction` −1 minimises."""

    steps: int = 128
    rate: float = 0.05
    parametrisation: Parametrisation = "fourier"
    transform: float = 0.05
    decay: float = 0.0
    direction: int = 1
    seed: int = 0


def maximise(
    model: Model,
    targets: Sequence[Target],
    steps: int = 128,
    seed: int = 0,
    *,
    settings: Settings | None = None,
    prior: Prior | None = None,
    start: Tensor | None = None,
    every: int = 8,
) -> Iterator[Frame]:
    """Images that excite their targets, one image for each target, growing: a `Frame` every `every` steps.

    `prior` is measured from the model's data (`Prior.of`), neutral without; `start` (C, H, W) begins at an image
    instead of noise. The last frame is the result; closing the iterator cancels. Nothing of the model is written.
    Raises `TargetError` or `LayerError` for a target that does not exist.
    """
    target = as_target(list(targets), len(targets))
    target.check(model)
    settings = settings or Settings(steps=steps, seed=seed)
    generator = torch.Generator().manual_seed(settings.seed)
    canvas = _Canvas(prior or Prior.neutral(model.size), settings.parametrisation, len(targets))
    coefficients = canvas.begin(generator, start).requires_grad_()
    optimiser = torch.optim.Adam([coefficients], settings.rate)
    yield Frame(0, *_now(model, canvas, coefficients, target))
    for step in range(1, settings.steps + 1):
        images = canvas.images(coefficients)
        seen = _moved(images, _share(settings, step), generator)
        rule = rules.redirected if step <= _REDIRECTED_STEPS else rules.plain
        answers = target(_look(model, seen, target)) * settings.direction
        loss = -answers.sum() + settings.decay * coefficients.square().sum()
        optimiser.zero_grad()
        coefficients.grad = rules.gradient(loss, coefficients, rule)[0]
        optimiser.step()
        if step % every == 0 or step == settings.steps:
            yield Frame(step, *_now(model, canvas, coefficients, target))


def _share(settings: Settings, step: int) -> float:
    """How far images are moved at a step: less and less at the end, so that the result is sharp where it stands."""
    left = (settings.steps - step) / max(1.0, _AT_REST * settings.steps)
    return settings.transform * min(1.0, left)


def answers(model: Model, images: Tensor, target: Target) -> Tensor:
    """What a target answers to images (N, C, H, W), (N,); no gradient is recorded."""
    with torch.no_grad():
        return target(_look(model, images, target))


def _look(model: Model, images: Tensor, target: Target) -> Trace:
    """A pass that goes no further than the target needs."""
    singles = target.targets if isinstance(target, PerImage) else (target,)
    return model.trace(images, keep=target.layers, until_kept=all(single.layers for single in singles))


def _now(model: Model, canvas: _Canvas, coefficients: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        images = canvas.images(coefficients)
    return images, answers(model, images, target)


class _Canvas:
    """Coefficients to images and back: an image is a sigmoid of coloured noise shaped like the data's spectrum."""

    def __init__(self, prior: Prior, parametrisation: Parametrisation, count: int) -> None:
        if parametrisation not in ("fourier", "pixels"):
            raise CnnvizError(f"“{parametrisation}” is not a parametrisation; choose fourier or pixels")
        self.prior = prior
        self.fourier = parametrisation == "fourier"
        self.count = count
        self.middle = torch.logit(prior.mean.clamp(0.02, 0.98))

    def begin(self, generator: torch.Generator, start: Tensor | None) -> Tensor:
        """The first coefficients: faint noise around the mean of the data, or those of an image."""
        channels, height, width = self.middle.shape
        shape = (self.count, channels, height, width // 2 + 1, 2) if self.fourier else (self.count, *self.middle.shape)
        noise = 0.1 * torch.randn(shape, generator=generator)
        return noise if start is None else 0.1 * noise + self._coefficients(start)

    def images(self, coefficients: Tensor) -> Tensor:
        """Coefficients as images (N, C, H, W) in (0, 1)."""
        field = self._field(coefficients)
        coloured = torch.einsum("dc,nchw->ndhw", self.prior.colours, field)
        return torch.sigmoid(self.middle + coloured)

    def _field(self, coefficients: Tensor) -> Tensor:
        if not self.fourier:
            return coefficients
        spectrum = torch.view_as_complex(coefficients) * self.prior.spectrum
        field: Tensor = torch.fft.irfft2(spectrum, s=self.middle.shape[1:], norm="ortho")
        return field

    def _coefficients(self, image: Tensor) -> Tensor:
        coloured = torch.logit(image.clamp(0.02, 0.98)) - self.middle
        field = torch.einsum("dc,chw->dhw", torch.linalg.inv(self.prior.colours), coloured)
        if not self.fourier:
            return field
        spectrum = torch.fft.rfft2(field, norm="ortho") / self.prior.spectrum.clamp(min=1e-3)
        return torch.view_as_real(spectrum)


def _moved(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Each image turned, scaled and shifted a little, at random: what a unit looks for must survive that."""
    if share == 0:
        return images
    n = len(images)
    turn, zoom, down, right = torch.randn(4, n, generator=generator)
    angle, scale = turn * share, 1 + zoom * share
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    affine = torch.stack([cos, -sin, 2 * share * right, sin, cos, 2 * share * down], 1).view(n, 2, 3)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.device), padding_mode="border", align_corners=False)
