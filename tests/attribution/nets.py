"""Small networks for the tests of explanations, each with its rectifiers written in another way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cnnviz

SPELLINGS = {
    "nn.ReLU": lambda: nn.ReLU(),
    "nn.ReLU in place": lambda: nn.ReLU(inplace=True),
    "F.relu": lambda: F.relu,
    "F.relu in place": lambda: lambda x: F.relu(x, inplace=True),
    "torch.relu": lambda: torch.relu,
    "Tensor.relu": lambda: lambda x: x.relu(),
    "Tensor.relu_": lambda: lambda x: x.relu_(),
    "clamp(min=0)": lambda: lambda x: x.clamp(min=0),
    "clamp_min": lambda: lambda x: x.clamp_min(0),
    "threshold": lambda: lambda x: F.threshold(x, 0, 0),
    "threshold in place": lambda: nn.Threshold(0, 0, inplace=True),
    "hardtanh from 0": lambda: nn.Hardtanh(0, 1e6),
}


class Small(nn.Module):
    """Two convolutions, a pool and a linear layer; one activation, used twice."""

    def __init__(self, activation, channels: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.fc = nn.Linear(6 * 16, 3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.activation(self.conv1(x)), 2)
        return self.fc(self.activation(self.conv2(x)).flatten(1))


class Skip(nn.Module):
    """`relu(h) + h`: the input of the rectifier is also used elsewhere."""

    def __init__(self, activation=F.relu) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 64, 3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        return self.fc(F.relu(self.activation(h) + h).flatten(1))


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in evaluation mode with weights of its own, from a seed; batch norm has seen something."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(network.state_dict().items()):
        if tensor.is_floating_point():
            fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 25
            drawn = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) * (2 / fan_in) ** 0.5
            scale = name.endswith(("running_var",)) or (tensor.dim() == 1 and name.endswith("weight"))
            tensor.copy_(1 + 0.1 * drawn.abs() if scale else drawn)
    return network.eval()


def small(spelling: str = "F.relu", **options) -> cnnviz.Model:
    return cnnviz.Model(seeded(Small(SPELLINGS[spelling]())), (1, 8, 8), **options)


def images(count: int = 2, size=(1, 8, 8), seed: int = 1, dtype=torch.float32) -> Tensor:
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative_error(a, b) -> float:
    a, b = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    return float((a - b).norm() / b.norm())
