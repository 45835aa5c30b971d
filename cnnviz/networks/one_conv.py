"""Note 2's `SimpleCNN`: eight 3×3 filters on a 28×28 digit, ReLU, pooling, one linear layer.

Deviations from the note. `x.view(-1, 8 * 13 * 13)` can merge pictures of a wrong size into a batch of another length:
flattened per picture. `torch.relu` became a module, so it can be named. The sizes follow from the arguments. Module
names are the note's own, so its state dicts load as they are. Its training loop stops after one batch ("for
demonstration purposes"); the preset runs whole epochs with its Adam 1e-3, batches of 64 and no normalisation.
"""

import torch
from torch import Tensor, nn

from cnnviz.networks.info import Choice, NetworkInfo, Preset, Size, Whole
from cnnviz.networks.shapes import POOLINGS, convolved, halved, pooling_layer


class OneConv(nn.Module):
    """conv1 → relu → pool → flatten → fc1; (N, 1, 28, 28) to (N, classes) logits."""

    def __init__(
        self,
        *,
        filters: int = 8,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 0,
        pooling: str = "max",
        classes: int = 10,
        size: Size = (1, 28, 28),
    ) -> None:
        super().__init__()
        channels, *sides = size
        high, wide = (halved(convolved(side, kernel, stride, padding, where="conv1"), where="pool") for side in sides)
        self.conv1 = nn.Conv2d(channels, filters, kernel, stride, padding)
        self.relu = nn.ReLU()
        self.pool = pooling_layer(pooling)
        self.fc1 = nn.Linear(filters * high * wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # (N, 8, 13, 13)
        x = torch.flatten(x, 1)  # (N, 1352)
        return self.fc1(x)  # type: ignore[no-any-return]


INFO = NetworkInfo(
    name="one-conv",
    title="One convolution (note 2): 8 filters",
    builder=OneConv,
    size=(1, 28, 28),
    arguments={
        "filters": 8,
        "kernel": 3,
        "stride": 1,
        "padding": 0,
        "pooling": "max",
        "classes": 10,
        "size": (1, 28, 28),
    },
    changeable=(
        Whole("filters", "Filters", 1, 128),
        Whole("kernel", "Kernel", 1, 11),
        Whole("stride", "Stride", 1, 4),
        Whole("padding", "Padding", 0, 5),
        Choice("pooling", "Pooling", POOLINGS),
    ),
    preset=Preset(data="mnist", epochs=10, batch=64, optimiser="adam", rate=1e-3),
    source="note 2",
)
