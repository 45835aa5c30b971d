"""A small VGG for 32×32 pictures: three pairs of 3×3 convolutions with batch norm, each pair followed by pooling.

After Simonyan and Zisserman 2015 (https://arxiv.org/abs/1409.1556), with batch norm after each convolution (which
therefore has no bias) and global average pooling in place of the large linear layers. `filters` is the width of the
first pair; it doubles with every pooling.
"""

import torch
from torch import Tensor, nn

from cnnviz.networks.info import NetworkInfo, Preset, Share, Size, Whole
from cnnviz.networks.shapes import halved


class ConvBnRelu(nn.Module):
    """3×3 convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class SmallVGG(nn.Module):
    """Six conv-bn-relu blocks, three poolings, global average, one linear layer; (N, 3, 32, 32) to logits."""

    def __init__(self, *, filters: int = 32, dropout: float = 0.1, classes: int = 10, size: Size = (3, 32, 32)) -> None:
        super().__init__()
        channels, *sides = size
        for stage in ("pool1", "pool2", "pool3"):
            sides = [halved(side, where=stage) for side in sides]
        self.block1 = ConvBnRelu(channels, filters)
        self.block2 = ConvBnRelu(filters, filters)
        self.pool1 = nn.MaxPool2d(2, 2)
        self.block3 = ConvBnRelu(filters, 2 * filters)
        self.block4 = ConvBnRelu(2 * filters, 2 * filters)
        self.pool2 = nn.MaxPool2d(2, 2)
        self.block5 = ConvBnRelu(2 * filters, 4 * filters)
        self.block6 = ConvBnRelu(4 * filters, 4 * filters)
        self.pool3 = nn.MaxPool2d(2, 2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4 * filters, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.block2(self.block1(x)))  # (N, 32, 16, 16)
        x = self.pool2(self.block4(self.block3(x)))  # (N, 64, 8, 8)
        x = self.pool3(self.block6(self.block5(x)))  # (N, 128, 4, 4)
        x = torch.flatten(self.average(x), 1)  # (N, 128)
        return self.fc(self.dropout(x))  # type: ignore[no-any-return]


INFO = NetworkInfo(
    name="small-vgg",
    title="Small VGG: six convolutions with batch norm",
    builder=SmallVGG,
    size=(3, 32, 32),
    arguments={"filters": 32, "dropout": 0.1, "classes": 10, "size": (3, 32, 32)},
    changeable=(Whole("filters", "Filters of the first pair", 1, 128), Share("dropout", "Dropout")),
    preset=Preset(
        data="digits-on-photos-32",
        epochs=15,
        batch=128,
        optimiser="sgd",
        rate=0.2,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.2435, 0.2616),
    ),
    source="Simonyan & Zisserman 2015",
)
