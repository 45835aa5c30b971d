"""Note 0's `SimpleCNN`: one convolution of 18 filters on a 32×32 colour picture, then two linear layers.

Deviations from the note. Its code mixes tabs and spaces and does not run: indented anew. `x.view(-1, 18 * 16 * 16)` can
merge pictures of a wrong size into a batch of another length: flattened per picture. The ReLUs are modules, so both
can be named: `relu` after the convolution and `relu_1` after `fc1` (one module, used twice). The note's comment says
4608 = 18·16·16 input features; that number is worked out here, so size, kernel, stride and padding may change. The
note gives no training: the preset is this project's choice.
"""

import torch
from torch import Tensor, nn

from cnnviz.networks.info import Choice, NetworkInfo, Preset, Size, Whole
from cnnviz.networks.shapes import POOLINGS, convolved, halved, pooling_layer


class SimpleCNN(nn.Module):
    """conv1 → relu → pool → flatten → fc1 → relu → fc2; (N, 3, 32, 32) to (N, classes) logits."""

    def __init__(
        self,
        *,
        filters: int = 18,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        pooling: str = "max",
        units: int = 64,
        classes: int = 10,
        size: Size = (3, 32, 32),
    ) -> None:
        super().__init__()
        channels, *sides = size
        high, wide = (halved(convolved(side, kernel, stride, padding, where="conv1"), where="pool") for side in sides)
        self.conv1 = nn.Conv2d(channels, filters, kernel, stride, padding)
        self.relu = nn.ReLU()
        self.pool = pooling_layer(pooling)
        self.fc1 = nn.Linear(filters * high * wide, units)
        self.fc2 = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # (N, 18, 16, 16)
        x = torch.flatten(x, 1)  # (N, 4608)
        x = self.relu(self.fc1(x))
        return self.fc2(x)  # type: ignore[no-any-return]


INFO = NetworkInfo(
    name="simple-cnn",
    title="Simple CNN (note 0): one convolution, colour",
    builder=SimpleCNN,
    size=(3, 32, 32),
    arguments={
        "filters": 18,
        "kernel": 3,
        "stride": 1,
        "padding": 1,
        "pooling": "max",
        "units": 64,
        "classes": 10,
        "size": (3, 32, 32),
    },
    changeable=(
        Whole("filters", "Filters", 1, 128),
        Whole("kernel", "Kernel", 1, 11),
        Whole("stride", "Stride", 1, 4),
        Whole("padding", "Padding", 0, 5),
        Choice("pooling", "Pooling", POOLINGS),
        Whole("units", "Units", 1, 2048),
    ),
    preset=Preset(data="digits-on-photos-32", epochs=10, batch=64, optimiser="adam", rate=1e-3),
    source="note 0",
)
