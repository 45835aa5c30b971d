"""Tiny networks, each with one awkward habit of networks that people write.

`AWKWARD` names them; every one takes images of `SIZE` and gives three scores, so that a test can hold for all of them.
Those that cnnviz must refuse stand below and are not in the table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SIZE = (3, 12, 10)
CLASSES = 3
AWKWARD: dict[str, Callable[[], nn.Module]] = {}
# PyTorch itself cannot differentiate these: what a ReLU needs for its gradient is overwritten after it.
WITHOUT_GRADIENT = frozenset({"InPlaceMethods", "InPlaceActivation"})


def _awkward(network: type[nn.Module]) -> type[nn.Module]:
    AWKWARD[network.__name__] = network
    return network


def build(name: str, seed: int = 0) -> nn.Module:
    """The network of that name with weights drawn from `seed`, large enough that every layer matters."""
    return seeded(AWKWARD[name](), seed)


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """The same network with its weights (and running statistics) drawn anew from a generator."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * (2 / fan) ** 0.5)
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network


def images(count: int = 2, seed: int = 0, size: tuple[int, ...] = SIZE) -> Tensor:
    """Random images (count, *size) in [0, 1]."""
    return torch.rand((count, *size), generator=torch.Generator().manual_seed(seed))


class _Head(nn.Module):
    """The common end: average over the picture, one linear layer."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


class _OneConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = _Head()


@_awkward
class InPlaceModule(_OneConv):
    """`nn.ReLU(inplace=True)` overwrites the convolution's output."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)))


@_awkward
class InPlaceIgnored(_OneConv):
    """`F.relu(x, inplace=True)` whose return value nobody takes."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        F.relu(x, inplace=True)
        return self.head(x)


@_awkward
class InPlaceNamed(_OneConv):
    """The tensor is given by name: `F.relu(input=x, inplace=True)`."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        F.relu(input=x, inplace=True)
        return self.head(x)


@_awkward
class InPlaceMethods(_OneConv):
    """`relu_` with `inplace` by position, then `+=`, `mul_` and `clamp_`, one after the other on one tensor."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        before = x.clone()
        F.relu(x, True)
        x += before
        x.mul_(before)
        torch.clamp_(x, -1, 1)
        return self.head(x)


@_awkward
class InPlaceResidual(_OneConv):
    """A residual block as torchvision writes it: the sum is made in place, and so is the ReLU after it."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        out = self.second(x)
        out += x
        return self.head(self.relu(out))


@_awkward
class InPlaceActivation(_OneConv):
    """A hand-written activation module that works in place in several steps, some of them unusual."""

    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x.relu_()
            x.div_(3)
            x[x > 0.2] = 0.2
            return x

    def __init__(self) -> None:
        super().__init__()
        self.act = self.Swish()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.conv(x)))


@_awkward
class IdentityThenInPlace(_OneConv):
    """A dropout that does nothing in evaluation mode gives back the same tensor, which is then overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        same = self.drop(x)
        x.relu_()
        return self.head(x + same)


@_awkward
class ViewThenInPlace(_OneConv):
    """Features are flattened into a view, and the maps behind it are overwritten later."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4 * 12 * 10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        flat = torch.flatten(x, 1)
        scores = self.fc(flat)
        x.relu_()
        return scores + self.head(x)


@_awkward
class Reused(_OneConv):
    """One ReLU module and one convolution used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.same(self.conv(x)))
        return self.head(self.relu(self.same(x)))


@_awkward
class NamedLikeAReuse(_OneConv):
    """A module whose name is what the second use of another would be called."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.relu_1 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        return self.head(self.relu_1(self.relu(x - 0.1)))


@_awkward
class EveryRelu(_OneConv):
    """ReLU in every spelling."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)) - 0.01
        x = torch.relu(x) - 0.01
        x = x.relu() - 0.01
        x = torch.clamp(x, min=0) - 0.01
        x = F.relu6(x) - 0.01
        x = F.threshold(x, 0.0, 0.0) - 0.01
        x = F.hardtanh(x, 0.0, 6.0) - 0.01
        x = torch.ops.aten.relu.default(x)
        return self.head(x)


@_awkward
class Functional(nn.Module):
    """Weights as bare parameters, everything by hand: no module inside at all."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
        self.linear = nn.Parameter(torch.zeros(CLASSES, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(F.conv2d(x, self.weight, padding=1)), 2)
        return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), self.linear)


@_awkward
class Branching(_OneConv):
    """What runs depends on a value of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.bright = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        if x.mean() > 0.7:
            maps = self.bright(maps)
        return self.head(F.relu(maps))


@_awkward
class Counting(_OneConv):
    """Writes to a buffer in every forward pass; the count scales nothing, but must not reach the person's network."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        self.register_buffer("bright", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if x.mean() > 0.7:  # a dry run on a middling image does not come here
            self.bright.add_(1)
        return self.head(F.relu(self.conv(x)))


@_awkward
class TrainingMode(_OneConv):
    """Dropout and batch norm, left in training mode by whoever gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout2d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu(self.norm(self.conv(x))))
        return self.head(F.dropout(x, 0.5, self.training))


@_awkward
class Reparametrised(_OneConv):
    """The convolution's weight is computed from others (weight norm)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = weight_norm(nn.Conv2d(3, 4, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x)))


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 2


@_awkward
class CustomFunction(_OneConv):
    """An `autograd.Function` in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(_Double.apply(self.conv(x))))


@torch.jit.script
def _swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


@_awkward
class Scripted(_OneConv):
    """Calls a scripted function, which PyTorch shows to no function mode."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(_swish(self.conv(x))))


@_awkward
class ContainerStep(_OneConv):
    """A block that does a step of its own after its last layer: its output is a layer."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.exp(-self.conv(x).square())

    def __init__(self) -> None:
        super().__init__()
        self.gate = self.Gate()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(self.conv(x)) - 0.5)


@_awkward
class Catching(_OneConv):
    """Tries something that fails, catches whatever it is, and goes on."""

    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no such kernel on this machine")

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Tanh()
        self.fast = self.Failing()
        self.slow = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        try:
            x = self.fast(self.first(x))
        except Exception:
            x = self.slow(x)
        return self.head(x)


@_awkward
class Branches(nn.Module):
    """Two branches joined by concatenation, split again, multiplied and added."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, (1, 5), padding=(0, 2))
        self.head = _Head()

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x), self.right(x)], 1)
        first, second = both.chunk(2, 1)
        return self.head(F.relu(first * second + second))


class TwoInputs(_OneConv):
    """Wants two tensors: refused."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.conv(x) * mask)


class TwoOutputs(_OneConv):
    """Gives scores and features: refused."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.conv(x)
        return self.head(maps), maps


class FailsHalfWay(_OneConv):
    """A flatten size that fits no image of `SIZE`: refused, and told how far it came."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.fc = nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(x)).flatten(1))


class Squeezing(_OneConv):
    """`squeeze()` also removes the batch of one: refused."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x)).squeeze()


class Locked(_OneConv):
    """Holds a thing that cannot be copied: refused."""

    def __init__(self) -> None:
        super().__init__()
        self.log = open("/dev/null")  # noqa: SIM115

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x))
