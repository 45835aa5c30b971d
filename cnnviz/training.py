"""Train a network by name and hand over an unchanging snapshot after every epoch.

`train` is a generator: it computes only while somebody asks for the next epoch, never prints and never saves. It is
fast because the whole data set lies in memory as tensors, normalised once, in channels-last order, and because
multiplications run in bfloat16 where the processor has units for it; accuracy on test data is measured in float32.

The surprise: dropout and the first weights take no generator in PyTorch, so the global random state is borrowed while
an epoch runs and put back before the snapshot is yielded. Nothing else in the process may draw from it in the meantime;
training in a process of its own makes sure of that. Resuming from a snapshot continues bit for bit on the same machine
with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnviz import data as datasets
from cnnviz.data import DataSet, stratified
from cnnviz.errors import CnnvizError, DataError
from cnnviz.networks import NETWORKS, network_info

Pair = tuple[DataSet, DataSet]


class TrainingError(CnnvizError):
    """Training cannot start, or cannot go on."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides how a training run goes; plain values, so a card or a run directory can hold them.

    `pictures` limits the training to so many, evenly over the classes. `augment` holds words such as "flip" and
    "shift 2" (pixels). `precision` is "auto", "bfloat16" or "float32", `device` "auto", "cpu", "cuda" or "mps".
    """

    network: str
    data: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    batch: int = 64
    optimiser: str = "adam"
    rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pictures: int | None = None
    precision: str = "auto"
    device: str = "auto"
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        return asdict(self) | {"arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Step:
    """How far the current epoch is: `loss` and `accuracy` are those of the last batch, dropout on."""

    epoch: int
    done: int
    total: int
    loss: float
    accuracy: float
    samples_per_second: float


@dataclass(frozen=True, eq=False)
class Epoch:
    """The network after `number` epochs; number 0 is the start, with nothing learned.

    `weights` is a state dict of copies on the CPU. Training loss and accuracy are averages over the epoch while it ran,
    dropout and augmentation on; test loss and accuracy are measured afterwards on the whole test split in evaluation
    mode. `weight_norms` and `gradient_norms` (of the last batch) are L2 norms per parameter. `resume` holds what
    continuing needs besides the weights: tensors and plain values only.
    """

    number: int
    weights: Mapping[str, Tensor]
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float
    seconds: float
    samples_per_second: float | None
    weight_norms: Mapping[str, float]
    gradient_norms: Mapping[str, float]
    settings: Settings
    device: str
    precision: str
    resume: Mapping[str, Any]


def preset(network: str, **options: Any) -> Settings:
    """The settings of the network's note (or this project's choice for it), with `options` over them.

    Options are the fields of `Settings` and the network's own arguments (`filters=16`). Raises TrainingError for a name
    that is neither, NetworkError for a network that does not exist or an argument out of range.
    """
    info = network_info(network)
    if info.preset is None:
        raise TrainingError(f"{network} comes trained and is not trained here; choose {', '.join(_trainable())}.")
    known = {f.name for f in fields(Settings)}
    arguments = dict(options.pop("arguments", {}))
    arguments |= {name: options.pop(name) for name in list(options) if name not in known and name in info.arguments}
    unknown = sorted(set(options) - known)
    if unknown:
        raise TrainingError(f"{unknown[0]!r} is no option of training {network}; there are {', '.join(sorted(known))}.")
    settings = Settings(network, arguments=arguments, **{**asdict(info.preset), **options})
    return _checked(settings)


def train(
    network: str | Settings,
    *,
    data: str | Pair | None = None,
    resume: Epoch | None = None,
    progress: Callable[[Step], None] | None = None,
    **options: Any,
) -> Iterator[Epoch]:
    """Train a network of `NETWORKS` and yield an Epoch for the start and after every epoch.

    `data` is a data set's name or a (training, test) pair; None takes the preset's. `options` are the fields of
    `Settings` (epochs, seed, batch, optimiser "adam" or "sgd", rate, schedule "constant" or "one-cycle", augment ...)
    and the network's own arguments. `resume` continues after a snapshot, with its settings, and yields only what comes
    after; more `epochs` may be given. `progress` is called after every batch and may raise to stop. Raises
    TrainingError, NetworkError or DataError.
    """
    settings = _settings(network, data, resume, options)
    pair = data if isinstance(data, tuple) else _opened(settings)
    run = _Training(_matched(settings, pair), pair)
    yield from run.epochs(resume, progress)


def precision_of(device: torch.device | str) -> str:
    """ "bfloat16" where the device multiplies it in hardware, else "float32"."""
    kind = torch.device(device).type
    if kind == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if kind == "cpu":
        abilities = torch.cpu.get_capabilities()
        return "bfloat16" if abilities.get("amx_bf16") or abilities.get("avx512_bf16") else "float32"
    return "float32"


def chosen_device(name: str = "auto") -> torch.device:
    """The device a name stands for; "auto" takes CUDA, then Apple's MPS, then the CPU; raises TrainingError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, available in there.items() if available))
    if not there.get(name, False):
        usable = ", ".join(kind for kind, available in there.items() if available)
        raise TrainingError(f"This machine has no device {name!r}; it has {usable}.")
    return torch.device(name)


def accuracy_and_loss(network: nn.Module, images: Tensor, labels: Tensor, *, batch: int = 500) -> tuple[float, float]:
    """Share of right answers and mean cross-entropy over normalised `images` (N, C, H, W), in evaluation mode."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            scores = torch.cat([network(part).float() for part in torch.split(images, batch)])
    finally:
        network.train(training)
    right = (scores.argmax(1) == labels).double().mean()
    return float(right), float(F.cross_entropy(scores, labels))


# Choosing


def _trainable() -> list[str]:
    return [name for name, info in NETWORKS.items() if info.preset is not None]


def _settings(
    network: str | Settings, data: str | Pair | None, resume: Epoch | None, options: dict[str, Any]
) -> Settings:
    if isinstance(data, str):
        options = options | {"data": data}
    elif data is not None:
        options = options | {"data": data[0].name}
    if resume is not None:
        return _checked(replace(resume.settings, **options))
    if isinstance(network, Settings):
        return _checked(replace(network, **options))
    return preset(network, **options)


_CHOICES = {
    "optimiser": ("adam", "sgd"),
    "schedule": ("constant", "one-cycle"),
    "precision": ("auto", "bfloat16", "float32"),
}
_LEAST = {
    "epochs": 1,
    "batch": 1,
    "pictures": 1,
    "seed": 0,
    "momentum": 0,
    "weight_decay": 0,
    "label_smoothing": 0,
}


def _checked(settings: Settings) -> Settings:
    for name, values in _CHOICES.items():
        if getattr(settings, name) not in values:
            raise TrainingError(f"{name} must be one of {', '.join(values)}, not {getattr(settings, name)!r}.")
    for name, least in _LEAST.items():
        value: float | None = getattr(settings, name)
        if value is not None and not value >= least:
            raise TrainingError(f"{name} must be at least {least}, not {value!r}.")
    if not 0 < settings.rate < math.inf:
        raise TrainingError(f"rate must be a number above 0, not {settings.rate!r}.")
    if settings.momentum >= 1 or settings.label_smoothing >= 1:
        raise TrainingError("momentum and label_smoothing must be below 1.")
    for words in settings.augment:
        _augmentation(words)
    network_info(settings.network).complete(**settings.arguments)
    return settings


def _opened(settings: Settings) -> Pair:
    info = datasets.dataset_info(settings.data)
    if "test" not in info.splits:
        raise DataError(f"{settings.data} has no labels to learn; choose another data set.")
    return datasets.open(settings.data, info.training_split), datasets.open(settings.data, "test")


def _matched(settings: Settings, pair: Pair) -> Settings:
    """Settings whose network takes the data's size and answers with its classes, unless told otherwise."""
    train, test = pair
    if train.labels is None or train.size is None or train.size != test.size:
        raise DataError(f"{train.title} cannot be trained on: its pictures need labels and one size.")
    info = network_info(settings.network)
    offered = {"classes": len(train.classes), "size": train.size}
    arguments: dict[str, Any] = {name: value for name, value in offered.items() if name in info.arguments}
    arguments |= dict(settings.arguments)
    if arguments.get("classes", len(train.classes)) < len(train.classes):
        raise TrainingError(f"{train.title} has {len(train.classes)} classes; the network has {arguments['classes']}.")
    return replace(settings, arguments=info.complete(**arguments))


# Pictures


class _Pictures:
    """A data set as normalised tensors (N, H, W, C), so that a batch is channels-last without a copy."""

    def __init__(self, source: DataSet, settings: Settings, device: torch.device, dtype: torch.dtype) -> None:
        assert isinstance(source.images, np.ndarray) and source.labels is not None
        pixels = torch.tensor(source.images.reshape(*source.images.shape[:3], -1))
        channels = pixels.shape[3]
        mean, std = (_per_channel(values, channels, default) for values, default in _scale(settings))
        self.black = (-mean / std).to(device, dtype)
        self.images = torch.empty(pixels.shape, dtype=dtype, device=device)
        for start in range(0, len(pixels), 4096):  # in parts: the float copy of a whole data set is large
            part = pixels[start : start + 4096].float().div_(255)
            self.images[start : start + 4096] = ((part - mean) / std).to(device, dtype)
        self.labels = torch.tensor(source.labels, device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) pictures and (B,) labels."""
        chosen = chosen.to(self.labels.device)
        return self.images[chosen], self.labels[chosen]


def _scale(settings: Settings) -> tuple[tuple[tuple[float, ...] | None, float], ...]:
    return (settings.mean, 0.0), (settings.std, 1.0)


def _per_channel(values: tuple[float, ...] | None, channels: int, default: float) -> Tensor:
    chosen = tuple(values) if values is not None else (default,) * channels
    if len(chosen) == 1:
        chosen *= channels
    if len(chosen) != channels:
        raise TrainingError(f"mean and std need 1 or {channels} numbers for these pictures, not {len(chosen)}.")
    return torch.tensor(chosen)


_Augmentation = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def _augmentation(words: str) -> _Augmentation:
    """The function that "flip" or "shift 2" names: (pictures (B, H, W, C), black (C,), generator) to pictures."""
    name, _, amount = words.partition(" ")
    if name == "flip" and not amount:
        return _flip
    if name == "shift" and amount.isdecimal() and int(amount) >= 1:
        return lambda pictures, black, generator: _shift(pictures, black, generator, int(amount))
    raise TrainingError(f'{words!r} is not an augmentation; there are "flip" and "shift 2" (up to so many pixels).')


def _flip(pictures: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror about half of the pictures left to right."""
    chosen = torch.rand(len(pictures), generator=generator) < 0.5
    return torch.where(chosen.to(pictures.device)[:, None, None, None], pictures.flip(2), pictures)


def _shift(pictures: Tensor, black: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Move every picture by up to `most` pixels along each axis; black comes in from outside."""
    count, high, wide, channels = pictures.shape
    padded = black.expand(count, high + 2 * most, wide + 2 * most, channels).clone()
    padded[:, most : most + high, most : most + wide] = pictures
    start = torch.randint(2 * most + 1, (2, count), generator=generator).to(pictures.device)
    rows = start[0, :, None] + torch.arange(high, device=pictures.device)  # (B, H)
    columns = start[1, :, None] + torch.arange(wide, device=pictures.device)  # (B, W)
    every = torch.arange(count, device=pictures.device)
    return padded[every[:, None, None], rows[:, :, None], columns[:, None, :]]


# Training


class _Tally:
    """Loss and right answers of an epoch, kept on the device: asking a GPU after every batch would stall it."""

    def __init__(self, number: int, total: int, started: float, device: torch.device) -> None:
        self.number, self.total, self.started, self.done = number, total, started, 0
        self.loss = torch.zeros((), dtype=torch.float64, device="cpu" if device.type == "mps" else device)
        self.right = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, count: int, loss: Tensor, right: Tensor) -> Callable[[], Step]:
        """Count a batch in; calling the answer reads this batch's own figures."""
        self.loss += loss.to(self.loss.device, torch.float64) * count
        self.right += right
        self.done += count
        return lambda: self._step(float(loss), float(right) / count)

    @property
    def mean_loss(self) -> float:
        return float(self.loss) / self.done

    @property
    def accuracy(self) -> float:
        return float(self.right) / self.done

    def _step(self, loss: float, accuracy: float) -> Step:
        rate = self.done / (time.perf_counter() - self.started)
        return Step(self.number, self.done, self.total, loss, accuracy, rate)


class _Training:
    """One run: what changes while it goes on. Only `train` makes one."""

    def __init__(self, settings: Settings, pair: Pair) -> None:
        self.settings = settings
        self.device = chosen_device(settings.device)
        self.precision = precision_of(self.device) if settings.precision == "auto" else settings.precision
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        learned = _limited(pair[0], settings.pictures)
        self.pictures = _Pictures(learned, settings, self.device, dtype)
        test = _Pictures(pair[1], settings, self.device, torch.float32)
        self.test = test.images.permute(0, 3, 1, 2), test.labels
        self.augmentations = [_augmentation(words) for words in settings.augment]
        self.order = torch.Generator().manual_seed(settings.seed)
        self.random = _seeded_state(settings.seed, self.device)
        with _borrowed(self):
            network = network_info(settings.network).build(**settings.arguments)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = _optimiser(self.network, settings)

    def epochs(self, resume: Epoch | None, progress: Callable[[Step], None] | None) -> Iterator[Epoch]:
        first = 1
        if resume is None:
            yield self._snapshot(0, time.perf_counter(), None)
        else:
            self._restore(resume)
            first = resume.number + 1
        for number in range(first, self.settings.epochs + 1):
            yield self._epoch(number, progress)

    def _epoch(self, number: int, progress: Callable[[Step], None] | None) -> Epoch:
        started = time.perf_counter()
        self.network.train()
        tally = _Tally(number, len(self.pictures), started, self.device)
        order = torch.randperm(len(self.pictures), generator=self.order)
        batches = torch.split(order, self.settings.batch)
        with _borrowed(self):
            for place, chosen in enumerate(batches):
                moment = (number - 1 + place / len(batches)) / self.settings.epochs
                step = tally.add(len(chosen), *self._batch(chosen, moment))
                if progress is not None:
                    progress(step())
        if not math.isfinite(tally.mean_loss):
            raise TrainingError(
                f"The loss is no longer a number in epoch {number}; try a rate below {self.settings.rate:g}."
            )
        return self._snapshot(number, started, (tally.mean_loss, tally.accuracy))

    def _batch(self, chosen: Tensor, moment: float) -> tuple[Tensor, Tensor]:
        """One step of learning; `moment` is the share of the whole run that is over."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate * _SCHEDULES[self.settings.schedule](moment)
        pictures, labels = self.pictures.batch(chosen)
        for augment in self.augmentations:
            pictures = augment(pictures, self.pictures.black, self.order)
        with self._autocast():
            scores = self.network(pictures.permute(0, 3, 1, 2))
        loss = F.cross_entropy(scores.float(), labels, label_smoothing=self.settings.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # this network belongs to the run alone
        self.optimiser.step()
        return loss.detach(), (scores.detach().argmax(1) == labels).sum()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _snapshot(self, number: int, started: float, learned: tuple[float, float] | None) -> Epoch:
        seconds = time.perf_counter() - started
        accuracy, loss = accuracy_and_loss(self.network, *self.test)
        return Epoch(
            number=number,
            weights=_copied(self.network.state_dict()),
            train_loss=learned[0] if learned else None,
            train_accuracy=learned[1] if learned else None,
            test_loss=loss,
            test_accuracy=accuracy,
            seconds=seconds,
            samples_per_second=len(self.pictures) / seconds if learned else None,
            weight_norms=_norms(self.network, gradient=False),
            gradient_norms=_norms(self.network, gradient=True),
            settings=self.settings,
            device=str(self.device),
            precision=self.precision,
            resume=self._state(),
        )

    def _state(self) -> dict[str, Any]:
        return {
            "optimiser": _optimiser_state(self.optimiser),
            "order": self.order.get_state(),
            "random": tuple(state.clone() for state in self.random),
        }

    def _restore(self, epoch: Epoch) -> None:
        self.network.load_state_dict(epoch.weights)
        _restore_optimiser(self.optimiser, epoch.resume["optimiser"])
        self.order.set_state(epoch.resume["order"])
        self.random = tuple(epoch.resume["random"])


def _norms(network: nn.Module, *, gradient: bool) -> dict[str, float]:
    values = {name: p.grad if gradient else p.detach() for name, p in network.named_parameters()}
    return {name: float(value.norm()) for name, value in values.items() if value is not None}


def _limited(data: DataSet, pictures: int | None) -> DataSet:
    if pictures is None or pictures >= len(data):
        return data
    assert data.labels is not None
    return data.take(stratified(data.labels, 0)[:pictures])


def _one_cycle(moment: float) -> float:
    """Up in a straight line over the first quarter, then down along a cosine (Smith & Topin 2018, arXiv:1708.07120)."""
    if moment < 0.25:
        return 0.04 + 0.96 * moment / 0.25
    return 0.5 * (1 + math.cos(math.pi * (moment - 0.25) / 0.75)) + 1e-4


_SCHEDULES: dict[str, Callable[[float], float]] = {"constant": lambda moment: 1.0, "one-cycle": _one_cycle}


def _optimiser(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    common = {"lr": settings.rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), **common)  # type: ignore[arg-type]
    nesterov = settings.momentum > 0
    return torch.optim.SGD(network.parameters(), momentum=settings.momentum, nesterov=nesterov, **common)  # type: ignore[arg-type]


def _optimiser_state(optimiser: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    state = optimiser.state_dict()["state"]
    return {place: _copied(values) for place, values in state.items()}


def _restore_optimiser(optimiser: torch.optim.Optimizer, saved: Mapping[int, Mapping[str, Any]]) -> None:
    """Put averages back in the memory order of their parameters: the fused step walks both as one stretch of memory."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for place, values in saved.items():
        parameter = parameters[place]
        optimiser.state[parameter] = {name: _like(value, parameter) for name, value in values.items()}


def _like(value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().to("cpu", copy=True).contiguous() if isinstance(value, Tensor) else value
        for name, value in state.items()
    }


def _seeded_state(seed: int, device: torch.device) -> tuple[Tensor, ...]:
    """The state of the global generator(s) of CPU and device after seeding, without touching them."""
    states = [torch.Generator().manual_seed(seed).get_state()]
    if device.type == "cuda":
        states.append(torch.Generator(device).manual_seed(seed).get_state())
    return tuple(states)


@contextmanager
def _borrowed(run: _Training) -> Iterator[None]:
    """The global random state is the run's inside, and as it was outside."""
    cuda = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.set_rng_state(run.random[0])
        if cuda:
            torch.cuda.set_rng_state(run.random[1], run.device)
        yield
        kept = [torch.get_rng_state()]
        if cuda:
            kept.append(torch.cuda.get_rng_state(run.device))
        run.random = tuple(kept)
