"""Note 3's `Model`: 32 and 64 filters of 5×5 on a 28×28 digit, dropout, 1000 units.

Deviations from the note. Its `Sequential`s `l1` and `l2` are taken apart, so that every step has a name of its own (one
ReLU and one pooling, each used twice: `relu`, `relu_1`, `pool`, `pool_1`); a state dict with the note's keys
(`l1.0.weight`, `l2.0.weight`) loads. Its last `reshape`, which changes nothing, is gone. Kept as written: there is
nothing between the two linear layers, so together they are one. The note's "test" accuracy of 89.4 % is measured on the
training loader with dropout on; nothing here measures that way.
"""

import torch
from torch import Tensor, nn

from cnnviz.networks.info import Choice, NetworkInfo, Preset, Share, Size, Whole
from cnnviz.networks.shapes import POOLINGS, convolved, halved, pooling_layer


class TwoConv(nn.Module):
    """conv1 → relu → pool → conv2 → relu → pool → flatten → dropout → fc1 → fc2; (N, 1, 28, 28) to logits."""

    def __init__(
        self,
        *,
        filters: int = 32,
        filters2: int = 64,
        kernel: int = 5,
        stride: int = 1,
        padding: int = 2,
        pooling: str = "max",
        dropout: float = 0.5,
        units: int = 1000,
        classes: int = 10,
        size: Size = (1, 28, 28),
    ) -> None:
        super().__init__()
        channels, *sides = size
        for where in ("1", "2"):
            sides = [convolved(side, kernel, stride, padding, where=f"conv{where}") for side in sides]
            sides = [halved(side, where=f"the pooling after conv{where}") for side in sides]
        self.conv1 = nn.Conv2d(channels, filters, kernel, stride, padding)
        self.relu = nn.ReLU()
        self.pool = pooling_layer(pooling)
        self.conv2 = nn.Conv2d(filters, filters2, kernel, stride, padding)
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(filters2 * sides[0] * sides[1], units)
        self.fc2 = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # (N, 32, 14, 14)
        x = self.pool(self.relu(self.conv2(x)))  # (N, 64, 7, 7)
        x = self.dropout(torch.flatten(x, 1))  # (N, 3136)
        x = self.fc1(x)
        return self.fc2(x)  # type: ignore[no-any-return]


INFO = NetworkInfo(
    name="two-conv",
    title="Two convolutions (note 3): 32 and 64 filters",
    builder=TwoConv,
    size=(1, 28, 28),
    arguments={
        "filters": 32,
        "filters2": 64,
        "kernel": 5,
        "stride": 1,
        "padding": 2,
        "pooling": "max",
        "dropout": 0.5,
        "units": 1000,
        "classes": 10,
        "size": (1, 28, 28),
    },
    changeable=(
        Whole("filters", "Filters of the first convolution", 1, 128),
        Whole("filters2", "Filters of the second convolution", 1, 128),
        Whole("kernel", "Kernel", 1, 11),
        Whole("stride", "Stride", 1, 4),
        Whole("padding", "Padding", 0, 5),
        Choice("pooling", "Pooling", POOLINGS),
        Share("dropout", "Dropout"),
        Whole("units", "Units", 1, 4096),
    ),
    preset=Preset(data="mnist", epochs=10, batch=200, optimiser="adam", rate=1e-2, mean=(0.1307,), std=(0.3081,)),
    source="note 3",
    keys={"l1.0": "conv1", "l2.0": "conv2"},
)
