"""One output channel of a convolution, taken apart: what it reads, its kernels, its bias, and what PyTorch made of it.

The surprise: the input of a layer is what stood in memory at that moment, which is no layer's output where a network
slices, scales or overwrites in between. It is therefore taken from the pass itself, and copied there and then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import cnnviz
from cnnviz import Layer, Model
from cnnviz.errors import LayerError
from cnnviz.filters import wiring
from cnnviz.trace import Trace, tensors_in
from dashboard import cache
from dashboard.components.on_network import Taken

Floats = NDArray[np.float32]
_BETWEEN = ("add", "cat", "mul")
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def is_convolution(layer: Layer) -> bool:
    """Whether a layer is a Conv2d with rows and columns."""
    return isinstance(layer.module, nn.Conv2d) and layer.spatial


def taken(model: Model, image: Tensor, layer: Layer, channel: int) -> Taken:
    """The channel of a convolution on an image (1, C, H, W)."""
    module = layer.module
    assert isinstance(module, nn.Conv2d)
    inputs, outputs = passed(model, image, layer.name)
    reads = wiring(model, layer.name).inputs_of(channel)
    read, padding = _bordered(module, inputs[reads.start : reads.stop])
    return Taken(
        inputs=read,
        first=reads.start,
        kernel=cnnviz.kernels(model, layer.name)[channel],
        bias=None if module.bias is None else float(module.bias[channel]),
        stride=_pair(module.stride),
        padding=padding,
        dilation=_pair(module.dilation),
        groups=module.groups,
        border=module.padding_mode,
        output=outputs[channel],
        after={name: maps[channel] for name, maps in _after(model, image, layer)},
    )


def passed(model: Model, image: Tensor, name: str) -> tuple[Floats, Floats]:
    """What went into a layer and what came out: (C, H, W) each, read-only."""

    def compute() -> tuple[Floats, Floats]:
        watch = _Watch(name)
        with torch.no_grad():
            model.run(watch, image)
        return _numbers(watch.input[0]), _numbers(watch.outputs[name][0])

    return cache.result(compute, "in and out", model.digest, image, name)


def scores_with(model: Model, image: Tensor, layer: Layer, channel: int, kernel: Floats) -> Floats:
    """The logits (K,) of the network as it would be with another `kernel` (C, kh, kw) for one output channel.

    A private copy of the modules is run with other weights in their place; the network that everyone looks at is not
    touched. Raises `LayerError` where the weights of the layer are computed from others.
    """

    def compute() -> Floats:
        twin = model.twin()
        name = _weight_name(twin, layer.name)
        weight = twin.get_parameter(name).detach().clone()
        weight[channel] = torch.from_numpy(kernel.copy()).to(weight)
        with torch.no_grad():
            return _numbers(functional_call(twin, {name: weight}, (model.normalised(image),))[0])

    return cache.result(compute, "edited", model.digest, image, layer.name, channel, kernel)


def _weight_name(network: nn.Module, layer: str) -> str:
    """A layer that runs a second time is called `conv_1`; its weights are those of `conv`."""
    parameters = dict(network.named_parameters())
    for name in (layer, re.sub(r"_\d+$", "", layer)):
        if f"{name}.weight" in parameters:
            return f"{name}.weight"
    raise LayerError(f"the weights of {layer} are computed from others; such a kernel cannot be edited by itself")


class _Watch(Trace):
    """A pass up to one layer that also keeps what went into it."""

    def __init__(self, layer: str) -> None:
        super().__init__((layer,), until_kept=True)
        self._layer = layer
        self.input = torch.empty(0)

    def named(self, name: str, output: Tensor, module: nn.Module | None, inputs: Any) -> None:
        if name == self._layer:
            self.input = next(tensors_in(inputs)).detach().clone()


def _bordered(module: nn.Conv2d, inputs: Floats) -> tuple[Floats, tuple[int, int]]:
    """The inputs with a border that is not zeros put around them, and the padding (top, left) that is left to do."""
    left, right, top, bottom = module._reversed_padding_repeated_twice
    if module.padding_mode == "zeros":
        return inputs, (int(top), int(left))
    padded = functional.pad(torch.tensor(inputs)[None], (left, right, top, bottom), mode=module.padding_mode)
    return padded[0].numpy(), (0, 0)


def _after(model: Model, image: Tensor, layer: Layer) -> Iterator[tuple[str, Floats]]:
    """The steps behind a convolution that keep its cells and channels apart: batch norm, activation."""
    place = [each.name for each in model.layers].index(layer.name)
    names = []
    for step in model.layers[place + 1 : place + 4]:
        if step.shape != layer.shape or step.kind in _BETWEEN or is_convolution(step):
            break
        names.append(step.name)
    found = cache.outputs(model, image, tuple(names)) if names else {}
    yield from found.items()


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value
    return int(rows), int(columns)


def _numbers(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().float().numpy().copy()


def chain_of(model: Model) -> str:
    """The square convolutions and poolings of a network as settings; "" where it is no plain chain of them.

    A network is taken for a chain when the arithmetic gives the size that each of these layers really had.
    """
    channels, *sides = model.size
    rows: list[str] = []
    length = sides[0]
    for layer in model.layers:
        if not isinstance(layer.module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            continue
        moves = list(_moves(layer))
        if len(moves) != 5 or len(rows) >= 14:
            return ""
        size, stride, padding, dilation, ceil = moves
        room = length + 2 * padding - dilation * (size - 1) - 1
        length = (-(-room // stride) if ceil else room // stride) + 1
        if layer.shape[1:] != (length, length):
            return ""
        kind, out = ("p", 0) if isinstance(layer.module, _POOLS) else ("c", layer.channels)
        rows.append("_".join(map(str, (kind, *moves, out))))
    return "~".join((f"{channels}_{sides[0]}", *rows)) if rows and sides[0] == sides[1] else ""


def _moves(layer: Layer) -> Iterator[int]:
    """Size, stride, padding, dilation and ceil mode of a square window; fewer where it is not square."""
    for name, default in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        value = getattr(layer.module, name, default)
        sides = value if isinstance(value, tuple) else (value, value)
        if isinstance(value, str) or len(set(sides)) != 1:
            return
        yield int(sides[0])
    yield int(getattr(layer.module, "ceil_mode", False))
