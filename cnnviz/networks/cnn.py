"""Note 1's `CNN`: two convolutions and poolings, then three linear layers on 24·16·16 features.

Deviations from the note. Its convolutions are written `nn.Conv2d(...)`: here 3 → 12 → 24 filters of 3×3 with padding 1
on 64×64 colour pictures, the plainest choice that gives its 24·16·16 features. Its two `Sequential`s are taken apart,
so that every step has a name of its own; a state dict with the note's keys (`conv_layers.0.weight`) loads. Kept as
written: there is no activation between the convolutions, only the maximum of the pooling; `activation=True` mends it.
"""

import torch
from torch import Tensor, nn

from cnnviz.networks.info import Choice, NetworkInfo, Preset, Size, Whole
from cnnviz.networks.shapes import POOLINGS, convolved, halved, pooling_layer


class CNN(nn.Module):
    """conv1 → pool → conv2 → pool → flatten → fc1 → relu → fc2 → relu → fc3; (N, 3, 64, 64) to (N, classes) logits."""

    def __init__(
        self,
        *,
        filters: int = 12,
        filters2: int = 24,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        pooling: str = "max",
        activation: bool = False,
        units: int = 256,
        units2: int = 128,
        classes: int = 10,
        size: Size = (3, 64, 64),
    ) -> None:
        super().__init__()
        channels, *sides = size
        for where in ("1", "2"):
            sides = [convolved(side, kernel, stride, padding, where=f"conv{where}") for side in sides]
            sides = [halved(side, where=f"the pooling after conv{where}") for side in sides]
        self.conv1 = nn.Conv2d(channels, filters, kernel, stride, padding)
        self.pool = pooling_layer(pooling)
        self.conv2 = nn.Conv2d(filters, filters2, kernel, stride, padding)
        self.fc1 = nn.Linear(filters2 * sides[0] * sides[1], units)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(units, units2)
        self.fc3 = nn.Linear(units2, classes)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for convolution in (self.conv1, self.conv2):
            x = convolution(x)
            x = self.pool(self.relu(x) if self.activation else x)
        x = torch.flatten(x, 1)  # (N, 24·16·16)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.fc3(x)  # type: ignore[no-any-return]


INFO = NetworkInfo(
    name="cnn",
    title="CNN (note 1): two convolutions, three linear layers",
    builder=CNN,
    size=(3, 64, 64),
    arguments={
        "filters": 12,
        "filters2": 24,
        "kernel": 3,
        "stride": 1,
        "padding": 1,
        "pooling": "max",
        "activation": False,
        "units": 256,
        "units2": 128,
        "classes": 10,
        "size": (3, 64, 64),
    },
    changeable=(
        Whole("filters", "Filters of the first convolution", 1, 128),
        Whole("filters2", "Filters of the second convolution", 1, 128),
        Whole("kernel", "Kernel", 1, 11),
        Whole("stride", "Stride", 1, 4),
        Whole("padding", "Padding", 0, 5),
        Choice("pooling", "Pooling", POOLINGS),
        Choice("activation", "ReLU after each convolution", (False, True)),
        Whole("units", "Units of the first linear layer", 1, 2048),
        Whole("units2", "Units of the second linear layer", 1, 2048),
    ),
    preset=Preset(data="digits-on-photos-64", epochs=10, batch=64, optimiser="adam", rate=1e-3),
    source="note 1",
    keys={
        "conv_layers.0": "conv1",
        "conv_layers.2": "conv2",
        "fc_layers.0": "fc1",
        "fc_layers.2": "fc2",
        "fc_layers.4": "fc3",
    },
)
