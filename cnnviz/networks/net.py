"""Note 4's `Net`: 32 filters of 5×5, ReLU, pooling, one linear layer, and a ReLU on its answer.

Deviations from the note. Its linear layer is fixed at 32·4 inputs, which fits pictures of 8×8 and 9×9 only; here the
number follows from `size`: 32·2·2 for the 8×8 digits as written, 32·12·12 for 28×28. Kept as written, because both are
lessons: 20 classes unless told otherwise, and the ReLU on the logits, under which a class with a negative score has
score 0 and gradient 0; `relu_on_logits=False` leaves it out. The note names no data for it: the preset is this
project's choice. The note's second version of the code has 3×3 kernels: `kernel=3`.
"""

import torch
from torch import Tensor, nn

from cnnviz.networks.info import Choice, NetworkInfo, Preset, Size, Whole
from cnnviz.networks.shapes import POOLINGS, convolved, halved, pooling_layer


class Net(nn.Module):
    """conv1 → relu → pool → flatten → fc1 (→ relu); (N, 1, 8, 8) to (N, classes)."""

    def __init__(
        self,
        *,
        filters: int = 32,
        kernel: int = 5,
        stride: int = 1,
        padding: int = 0,
        pooling: str = "max",
        relu_on_logits: bool = True,
        classes: int = 20,
        size: Size = (1, 8, 8),
    ) -> None:
        super().__init__()
        channels, *sides = size
        high, wide = (halved(convolved(side, kernel, stride, padding, where="conv1"), where="pool") for side in sides)
        self.conv1 = nn.Conv2d(channels, filters, kernel, stride, padding)
        self.relu = nn.ReLU()
        self.pool = pooling_layer(pooling)
        self.fc1 = nn.Linear(filters * high * wide, classes)
        self.relu_on_logits = relu_on_logits

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # (N, 32, 2, 2)
        x = torch.flatten(x, 1)  # (N, 128)
        x = self.fc1(x)
        return self.relu(x) if self.relu_on_logits else x


INFO = NetworkInfo(
    name="net",
    title="Net (note 4): 32 filters, optional ReLU on the logits",
    builder=Net,
    size=(1, 8, 8),
    arguments={
        "filters": 32,
        "kernel": 5,
        "stride": 1,
        "padding": 0,
        "pooling": "max",
        "relu_on_logits": True,
        "classes": 20,
        "size": (1, 8, 8),
    },
    changeable=(
        Whole("filters", "Filters", 1, 128),
        Whole("kernel", "Kernel", 1, 11),
        Whole("stride", "Stride", 1, 4),
        Whole("padding", "Padding", 0, 5),
        Choice("pooling", "Pooling", POOLINGS),
        Choice("relu_on_logits", "ReLU on the logits", (True, False)),
    ),
    preset=Preset(data="digits-8x8", epochs=30, batch=64, optimiser="adam", rate=1e-3),
    source="note 4",
)
