"""A trained network made ready to be looked at.

A `Model` holds a private twin of the network: modules of its own over the *same* weights, in evaluation mode, frozen,
with the hooks of `trace` placed once. The network that a person gave is never touched: not its mode, its hooks, its
`requires_grad`, its `.grad` or its buffers.

The surprise: because the weights are shared, training the original later changes what the Model sees; `digest` is then
another one (unless the weights were written to behind PyTorch's back, through `.data`). The running statistics of
batch norm are shared too; other buffers are copies, because a forward pass may write to them.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cnnviz.errors import LayerError, NetworkError
from cnnviz.receptive_field import ReceptiveField, arithmetic, fields
from cnnviz.tape import Mark, Ref, Step, Tape
from cnnviz.torchscript import Compiled
from cnnviz.trace import Trace, instrument, is_leaf

_NEVER_NEGATIVE = frozenset("relu relu6 sigmoid hardsigmoid softmax softplus exp abs square sqrt".split())
_CLAMPS = frozenset("clamp clamp_min hardtanh".split())
_KEEPS_SIGN = frozenset(
    "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d dropout dropout2d feature_dropout flatten view "
    "reshape permute transpose contiguous cat add mul mean clone pad getitem chunk split squeeze unsqueeze".split()
)

_SomeTrace = TypeVar("_SomeTrace", bound=Trace)


@dataclass(frozen=True)
class Layer:
    """A named step of one forward pass.

    `shape` is that of its output without the batch; `parameters` are its own (a module used again has none the second
    time); `macs` are multiply-accumulate operations for one image; `signed` says whether values below zero can occur;
    `spatial` whether the output is channels × rows × columns.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    receptive_field: ReceptiveField
    signed: bool
    spatial: bool
    module: nn.Module | None

    @property
    def channels(self) -> int:
        """How many channels (or units) the output has."""
        return self.shape[0]


class Model:
    """A network with what it needs to be looked at: how it wants its input, its class names, its layers.

    `network` is any module that takes one tensor of images (N, C, H, W) and gives scores (N, K). `size` is (C, H, W).
    `mean` and `std` (one number, or one for each channel) are what the network's training subtracted and divided by;
    the Model does it inside, so that everybody else speaks of pixels in [0, 1]. `classes` name the K scores.
    `resize` is how a picture is brought to the size (see `cnnviz.picture.fit`). `mode` remembers whether the network
    came in "train" or "eval" mode. Raises `NetworkError` when the network does not run on such an image.
    """

    def __init__(
        self,
        network: nn.Module,
        size: Sequence[int],
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        classes: Iterable[str] | None = None,
        *,
        resize: str = "fit",
        name: str = "",
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.size = _checked_size(size)
        self.mean = _per_channel("mean", mean, self.size[0], 0.0)
        self.std = _per_channel("std", std, self.size[0], 1.0)
        self.resize = resize
        self.name = name or type(network).__name__
        self.card: Mapping[str, Any] = dict(card or {})
        self.mode = "train" if network.training else "eval"
        plain = unwrapped(network)
        _takes_one_image(plain)
        self._twin = _Twin(plain)
        first = next(chain(plain.parameters(), plain.buffers()), torch.empty(0))
        self.device = first.device
        self.dtype = next((t.dtype for t in plain.parameters() if t.is_floating_point()), torch.float32)
        self._shift = torch.tensor(self.mean, dtype=self.dtype, device=self.device).view(1, -1, 1, 1)
        self._scale = torch.tensor(self.std, dtype=self.dtype, device=self.device).view(1, -1, 1, 1)
        self.tape, scores = self._dry_run()
        self._twin.share_statistics()
        self.classes = _class_names(classes, scores)
        self.layers = _layers(self.tape, self.size[1:])

    def __repr__(self) -> str:
        return f"<Model {self.name}: {' × '.join(map(str, self.size))} → {len(self.classes)} classes>"

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises `LayerError` with the names there are."""
        if name in self._by_name:
            return self._by_name[name]
        if not self.layers:
            raise LayerError(f"{self.name} does not show its layers (it is compiled); only its scores can be explained")
        shown = ", ".join(layer.name for layer in self.layers[:12]) + (" …" if len(self.layers) > 12 else "")
        raise LayerError(f"{name} is not a layer of this network; its layers are {shown}")

    def prepare(self, pictures: Any) -> Tensor:
        """Pictures as images: PIL images, arrays or paths, one or several, → (N, C, H, W) float32 in [0, 1].

        Each is read, brought to the model's channels and size by its `resize` rule. Raises `PictureError`.
        """
        from cnnviz import picture

        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        return torch.stack([torch.as_tensor(picture.fit(picture.read(p), self.size, self.resize)) for p in several])

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] as the network wants them: minus mean, divided by std."""
        return (images.to(self.device, self.dtype) - self._shift) / self._scale

    def scores(self, images: Tensor) -> Tensor:
        """The logits (N, K) of images (N, C, H, W) in [0, 1]; no gradient is recorded."""
        self.check_images(images)
        with torch.no_grad():
            return self._twin.network(self.normalised(images))  # type: ignore[no-any-return]

    def trace(self, images: Tensor, keep: Collection[str] = (), *, until_kept: bool = False) -> Trace:
        """One pass over images (N, C, H, W) in [0, 1] that keeps the outputs of the layers `keep`.

        Attached to autograd when `images` require a gradient. With `until_kept` the pass stops once everything in
        `keep` has been seen, and there are no scores. Raises `LayerError` for a layer that does not exist.
        """
        for name in keep:
            self.layer(name)
        return self.run(Trace(keep, until_kept=until_kept), images)

    def run(self, trace: _SomeTrace, images: Tensor) -> _SomeTrace:
        """One pass over images (N, C, H, W) in [0, 1] that `trace`, a `Trace` of any kind, watches."""
        self.check_images(images)
        trace.run(self._twin.network, self.normalised(images))
        for name in trace.keep.difference(trace.outputs):
            raise LayerError(f"{name} did not run for these images: the network takes another branch for them")
        return trace

    def check_images(self, images: Tensor) -> None:
        """Raise `NetworkError` unless `images` is a batch of at least one image of the model's size."""
        if not isinstance(images, Tensor) or images.dim() != 4 or tuple(images.shape[1:]) != self.size:
            given = " × ".join(map(str, images.shape)) if isinstance(images, Tensor) else type(images).__name__
            wanted = " × ".join(map(str, self.size))
            raise NetworkError(f"{self.name} wants images of N × {wanted}, not {given}; model.prepare makes them")
        if len(images) == 0:
            raise NetworkError("a batch of 0 images has nothing to look at; give at least one")

    def twin(self) -> nn.Module:
        """A fresh private copy of the modules over the same weights, without hooks: for libraries that hook modules."""
        return _Twin(unwrapped(self.network)).share_statistics().network

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(p.numel() for p in unwrapped(self.network).parameters())

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the weights, buffers and preprocessing; taken anew when a weight was written to."""
        tensors = [*self._twin.network.parameters(), *self._twin.network.buffers()]
        stamp = tuple((t.data_ptr(), t._version) for t in tensors)
        if getattr(self, "_stamp", None) != stamp:
            structure = [(step.name, _settings((step.args, step.kwargs))) for step in self.tape.steps]
            self._digest = _digest(self._twin.network, (self.size, self.mean, self.std, self.resize, structure))
            self._stamp = stamp
        return self._digest

    def _dry_run(self) -> tuple[Tape, Tensor]:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((1, *self.size), generator=generator)
        tape = Tape()
        try:
            tape.run(self._twin.run_instrumented(), self.normalised(images))
        except Exception as problem:
            raise NetworkError(_why_it_failed(tape, self.size, problem)) from problem
        return tape, _checked_scores(tape.scores)


class _Twin:
    """Modules of our own over the weights of a network: frozen, in evaluation mode, instrumented."""

    def __init__(self, network: nn.Module) -> None:
        self._original = network
        try:
            copies = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
            compiled = isinstance(network, torch.jit.ScriptModule)
            self.network = Compiled(network) if compiled else _unwrapped_inside(deepcopy(network, copies))
        except Exception as problem:
            raise NetworkError(
                f"{type(network).__name__} cannot be copied ({_first_line(problem)}); keep tensors in parameters or "
                "buffers, keep locks and files out of the network, and run lazy layers once before"
            ) from problem
        for module in self.network.modules():
            module.training = False
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)

    def run_instrumented(self) -> nn.Module:
        """The twin with its hooks in place; a compiled (TorchScript) network has no place for hooks."""
        return self.network if isinstance(self.network, Compiled) else instrument(self.network)

    def share_statistics(self) -> _Twin:
        """Let batch norm read the original's running statistics: in evaluation mode it never writes to them."""
        if isinstance(self.network, Compiled):
            return self
        originals = {name: module for name, module in self._original.named_modules() if _keeps_statistics(module)}
        for name, module in self.network.named_modules():
            if name in originals:
                module._buffers.update({k: b if b is None else b.detach() for k, b in originals[name]._buffers.items()})
        return self


def _keeps_statistics(module: nn.Module) -> bool:
    """Whether this is one of PyTorch's own batch or instance norms, whose forward pass we know."""
    return isinstance(module, nn.modules.batchnorm._NormBase) and type(module).__module__.startswith("torch.nn.")


def _unwrapped_inside(network: nn.Module) -> nn.Module:
    """The same network with its compiled or parallel parts replaced by what they wrap."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if unwrapped(child) is not child:
                setattr(module, name, unwrapped(child))
    return network


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside `torch.compile` and `DataParallel`, whose wrappers hide its steps."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = network.module
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def _checked_size(size: Sequence[int]) -> tuple[int, int, int]:
    if len(size) != 3 or any(int(n) != n or n < 1 for n in size):
        raise NetworkError(f"size must be (channels, height, width), three whole numbers above 0, not {tuple(size)}")
    return (int(size[0]), int(size[1]), int(size[2]))


def _per_channel(what: str, value: float | Sequence[float] | None, channels: int, default: float) -> tuple[float, ...]:
    if value is None:
        return (default,) * channels
    numbers = (float(value),) * channels if isinstance(value, int | float) else tuple(map(float, value))
    if len(numbers) != channels:
        raise NetworkError(f"{what} has {len(numbers)} numbers for {channels} channels; give one for each channel")
    if not all(map(math.isfinite, numbers)) or (what == "std" and min(numbers) <= 0):
        raise NetworkError(f"{what} is {numbers}; it must be finite" + (" and above 0" if what == "std" else ""))
    return numbers


def _takes_one_image(network: nn.Module) -> None:
    try:
        parameters = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) > 1:
        raise NetworkError(
            f"{type(network).__name__} takes {len(needed)} inputs ({', '.join(needed)}); cnnviz shows networks of one "
            "image: wrap it in a module whose forward takes the image and fills in the others"
        )


def _why_it_failed(tape: Tape, size: tuple[int, ...], problem: Exception) -> str:
    image = " × ".join(map(str, size))
    ran = f"the last layer that ran was {tape.names[-1]}" if tape.names else "no layer had run"
    return f"the network fails on an image of {image} ({_first_line(problem)}); {ran}"


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]


def _checked_scores(scores: Any) -> Tensor:
    if isinstance(scores, Tensor) and scores.dim() == 2 and len(scores) == 1 and scores.shape[1] > 0:
        return scores
    given = (
        f"a tensor of {' × '.join(map(str, scores.shape))}"
        if isinstance(scores, Tensor)
        else f"a {type(scores).__name__}" + (f" of {len(scores)}" if isinstance(scores, Sequence | Mapping) else "")
    )
    raise NetworkError(
        f"the network gives {given}; cnnviz needs one tensor of scores (images × classes): wrap the network in a "
        "module that returns the head you want to look at"
    )


def _class_names(classes: Iterable[str] | None, scores: Tensor) -> tuple[str, ...]:
    count = scores.shape[1]
    names = tuple(map(str, classes)) if classes is not None else tuple(map(str, range(count)))
    if len(names) != count:
        raise NetworkError(f"{len(names)} class names for a network with {count} scores; give one for each score")
    return names


def _layers(tape: Tape, image: tuple[int, int]) -> tuple[Layer, ...]:
    seen = fields(tape.steps)
    positive = _never_negative(tape.steps)
    used: set[int] = set()
    layers, before = [], 0
    for mark in tape.marks:
        steps = tape.steps[before + 1 : mark.at.step + 1] if mark.at.step > before else []
        field = seen[mark.at.step]
        layers.append(
            Layer(
                name=mark.layer,
                kind=_kind(mark, tape.steps[mark.at.step]),
                shape=mark.shape[1:],
                parameters=_own_parameters(mark, steps, used),
                macs=sum(arithmetic(step, tape.steps) for step in steps),
                receptive_field=ReceptiveField(image, None if field is None or field.dims != (2, 3) else field.axes),
                signed=not positive[mark.at.step],
                spatial=len(mark.shape) == 4 and (field is None or field.dims == (2, 3)),
                module=mark.module,
            )
        )
        before = max(before, mark.at.step)
    return tuple(layers)


def _kind(mark: Mark, step: Step) -> str:
    return step.name if mark.module is None else type(mark.module).__name__


def _own_parameters(mark: Mark, steps: list[Step], used: set[int]) -> int:
    own = [a for s in steps for a in (*s.args, *s.kwargs.values()) if isinstance(a, nn.Parameter)]
    if mark.module is not None and is_leaf(mark.module):
        own += mark.module.parameters()
    fresh = {id(p): p for p in own if id(p) not in used}
    used.update(fresh)
    return sum(p.numel() for p in fresh.values())


def _never_negative(steps: list[Step]) -> list[bool]:
    found = [False]
    for step in steps[1:]:
        carried = step.name in _KEEPS_SIGN and all(found[ref.step] for ref in step.refs) and not _constant_below_0(step)
        found.append(step.name in _NEVER_NEGATIVE or _rectifies(step) or carried)
    return found


def _rectifies(step: Step) -> bool:
    """Whether a step cuts off below a bound that is 0 or more, as ReLU6 does."""
    named = next((step.kwargs[key] for key in ("min", "min_val") if key in step.kwargs), None)
    lowest = step.args[1] if named is None and len(step.args) > 1 else named
    return step.name in _CLAMPS and isinstance(lowest, int | float) and lowest >= 0


def _constant_below_0(step: Step) -> bool:
    """Whether a constant that could turn the sign enters: `x * -1`, `x + bias`, a padding value."""
    values = (*step.args, *step.kwargs.values()) if step.name in {"add", "mul", "pad", "cat"} else ()
    return any(
        bool((value.detach() < 0).any()) if isinstance(value, Tensor) else isinstance(value, int | float) and value < 0
        for value in chain(values, *(value for value in values if isinstance(value, tuple | list)))
    )


def _settings(value: Any) -> Any:
    """What a step was told besides its tensors: it tells apart two networks with the same weights."""
    if isinstance(value, tuple | list):
        return tuple(map(_settings, value))
    if isinstance(value, dict):
        return tuple((key, _settings(item)) for key, item in value.items())
    return value if isinstance(value, int | float | str | Ref | None) else type(value).__name__


def _digest(network: nn.Module, preprocessing: object) -> str:
    digest = hashlib.sha256(repr(preprocessing).encode())
    for name, tensor in sorted(network.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
