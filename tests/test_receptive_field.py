"""The box of a cell is exactly what the cell can see: compared with asking the network itself, pixel by pixel.

The oracle writes NaN into one pixel at a time and looks which cells turn NaN: NaN goes through every sum, product and
maximum, whatever the weights are, so nothing is missed by chance. A box is the smallest rectangle around those pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnviz import Model
from cnnviz.errors import LayerError
from cnnviz.networks import NETWORKS, torchvision_module
from tests import nets


class Body(nn.Module):
    """`layers` at work, then an average and a linear layer."""

    def __init__(self, body: Callable[[Tensor], Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.inside = nn.ModuleList(modules)
        self.body = body
        self.fc = nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x, *self.inside)
        return self.fc(torch.tanh(x).mean((2, 3)))


def conv(out: int, *arguments: object, **options: object) -> nn.Conv2d:
    return nn.Conv2d(2, out, *arguments, **options)  # type: ignore[arg-type]


def convnext(x: Tensor, c: nn.Module, n: nn.Module, a: nn.Module, b: nn.Module) -> Tensor:
    y = c(x).permute(0, 2, 3, 1)
    return x + b(F.gelu(a(n(y)))).permute(0, 3, 1, 2)


def shuffle(x: Tensor, c: nn.Module) -> Tensor:
    n, _, h, w = x.shape
    x = c(x).view(n, 2, 2, h, w).transpose(1, 2).reshape(n, 4, h, w)
    return x.chunk(2, 1)[1]


CASES: dict[str, Callable[[], Body]] = {
    "3 × 3": lambda: Body(lambda x, a: a(x), conv(3, 3)),
    "stride and padding": lambda: Body(lambda x, a: a(x), conv(3, 3, stride=2, padding=1)),
    "oblong kernel": lambda: Body(lambda x, a: a(x), conv(3, (1, 5), stride=(2, 1), padding=(0, 2))),
    "dilation": lambda: Body(lambda x, a: a(x), conv(3, 3, padding=2, dilation=2)),
    "same padding of an even kernel": lambda: Body(lambda x, a: a(x), conv(3, 4, padding="same")),
    "valid padding": lambda: Body(lambda x, a: a(x), conv(3, 2, padding="valid")),
    "uneven padding": lambda: Body(lambda x, a: a(F.pad(x, (2, 0, 1, 0))), conv(3, 3)),
    "cropping by negative padding": lambda: Body(lambda x, a: a(F.pad(x, (-1, 0, 0, -2))), conv(3, 3)),
    "reflected border": lambda: Body(lambda x, a: a(x), conv(3, 3, padding=1, padding_mode="reflect")),
    "replicated border": lambda: Body(lambda x, a: a(x), conv(3, 3, padding=1, padding_mode="replicate")),
    "depthwise": lambda: Body(lambda x, a: a(x), conv(2, 3, groups=2)),
    "two convolutions and pooling": lambda: Body(
        lambda x, a, b: F.max_pool2d(b(F.relu(a(x))), 2), conv(2, 3, padding=1), conv(2, 3, padding=1)
    ),
    "overlapping pooling": lambda: Body(lambda x, a: F.max_pool2d(a(x), 3, 2, 1), conv(2, 3)),
    "ceiling pooling": lambda: Body(lambda x, a: F.max_pool2d(a(x), 2, 2, ceil_mode=True), conv(2, 2)),
    "dilated pooling": lambda: Body(lambda x, a: F.max_pool2d(a(x), 2, 1, 0, 2), conv(2, 2)),
    "average pooling with a border": lambda: Body(lambda x, a: a(F.avg_pool2d(x, 3, 2, 1)), conv(2, 2)),
    "power pooling": lambda: Body(lambda x, a: F.lp_pool2d(a(x), 1, 2), conv(2, 2)),
    "adaptive pooling": lambda: Body(lambda x, a: F.adaptive_avg_pool2d(a(x), (3, 2)), conv(2, 3)),
    "adaptive pooling that divides": lambda: Body(lambda x, a: F.adaptive_max_pool2d(a(x), (5, 3)), conv(2, 1)),
    "adaptive pooling that repeats": lambda: Body(lambda x, a: F.adaptive_avg_pool2d(a(x), (13, 9)), conv(2, 1)),
    "residual": lambda: Body(lambda x, a: F.relu(a(x) + x), conv(2, 3, padding=1)),
    "concatenation": lambda: Body(
        lambda x, a, b: torch.cat([a(x), b(x), x], 1), conv(2, 3, padding=1), conv(1, (5, 1), padding=(2, 0))
    ),
    "concatenation with a shifted branch": lambda: Body(
        lambda x, a: torch.cat([a(x)[:, :, 2:], x[:, :, :-2]], 1), conv(2, 3, padding=1)
    ),
    "strided slices": lambda: Body(lambda x, a: a(x[:, :, 1::2, ::2]), conv(2, 2)),
    "sums of slices": lambda: Body(lambda x, a: a(x)[:, :, :-1] - a(x)[:, :, 1:], conv(2, 2)),
    "a gate from the whole picture": lambda: Body(lambda x, a: a(x) * F.adaptive_avg_pool2d(a(x), 1), conv(2, 3)),
    "permuted as in ConvNeXt": lambda: Body(
        convnext, conv(2, 5, padding=2, groups=2), nn.LayerNorm(2), nn.Linear(2, 4), nn.Linear(4, 2)
    ),
    "shuffled channels": lambda: Body(shuffle, conv(4, 3, padding=1)),
    "stored statistics": lambda: Body(lambda x, a, n: n(a(x)), conv(2, 3), nn.BatchNorm2d(2)),
    "statistics of the batch": lambda: Body(
        lambda x, a, n: n(a(x)), conv(2, 3), nn.BatchNorm2d(2, track_running_stats=False)
    ),
    "group norm": lambda: Body(lambda x, a, n: n(a(x)), conv(2, 3), nn.GroupNorm(1, 2)),
    "channels last, cut into rows of the same size": lambda: Body(
        lambda x, a: a(x).permute(0, 2, 3, 1).reshape(len(x), 11, 11, 8), conv(11, 3, padding=1)
    ),
    "a flip": lambda: Body(lambda x, a: a(x).flip(3), conv(2, 3)),
    "writing into a tensor": lambda: Body(lambda x, a: _overwritten(a(x), x), conv(2, 3, padding=1)),
}  # fmt: skip
# Where the hull of what is seen is not the answer: the cell says "everything", which is never less than the truth.
COARSE = {"a flip", "writing into a tensor", "channels last, cut into rows of the same size"}


def _overwritten(maps: Tensor, x: Tensor) -> Tensor:
    maps[:, :, :3] = x[:, :, -3:]
    return maps


def seen_by(model: Model, layer: str, size: tuple[int, int, int]) -> np.ndarray:
    """For every cell, which pixels it sees: (rows, columns, height, width)."""
    _channels, height, width = size
    images = torch.full((height * width, *size), 0.5)
    for pixel in range(height * width):
        images[pixel, :, pixel // width, pixel % width] = torch.nan
    with torch.no_grad():
        output = model.trace(images, keep=(layer,)).outputs[layer]
    hit = output.isnan().any(1).numpy()  # (pixels, rows, columns)
    return hit.transpose(1, 2, 0).reshape(*hit.shape[1:], height, width)


def hull(seen: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return (0, 0, 0, 0)
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def check_boxes(model: Model, size: tuple[int, int, int], *, coarse: bool = False) -> None:
    for layer in model.layers:
        if not layer.spatial:
            continue
        seen = seen_by(model, layer.name, size)
        for row in range(seen.shape[0]):
            for column in range(seen.shape[1]):
                box, truth = layer.receptive_field.box(row, column), hull(seen[row, column])
                if coarse:
                    assert box[0] <= truth[0] and box[1] <= truth[1] and box[2] >= truth[2] and box[3] >= truth[3]
                elif truth == (0, 0, 0, 0):
                    assert (box[2] - box[0]) * (box[3] - box[1]) == 0
                else:
                    assert box == truth, (layer.name, row, column)


@pytest.mark.parametrize("case", CASES)
def test_the_box_of_every_cell_is_what_the_cell_sees(case: str) -> None:
    size = (2, 11, 8)
    network = CASES[case]()
    network.eval()(torch.rand(1, *size))
    check_boxes(Model(network, size), size, coarse=case in COARSE)


@pytest.mark.parametrize("name", ["simple-cnn", "one-conv", "two-conv", "net"])
def test_the_boxes_of_a_network_built_by_name_are_what_its_cells_see(name: str) -> None:
    info = NETWORKS[name]
    size = (info.input_size()[0], 8, 8) if name == "net" else info.input_size()
    check_boxes(Model(info.build(), size), size)


def test_the_boxes_of_a_residual_network_are_what_its_cells_see() -> None:
    network, size = nets.seeded(torchvision_module("models").resnet18(weights=None)), (3, 24, 20)
    model = Model(network, size)
    for name in ("maxpool", "layer1.0.add", "layer2.0.relu_1", "layer3.0.downsample.0", "layer4.1.add"):
        layer = model.layer(name)
        seen = seen_by(model, name, size)
        for row, column in np.ndindex(seen.shape[:2]):
            assert layer.receptive_field.box(row, column) == hull(seen[row, column]), name


# vgg16: Araujo, Norris, Sim, “Computing receptive fields of convolutional neural networks”, Distill 2019. The residual
# networks' are the usual figures for torchvision, whose bottlenecks stride in the 3 × 3 convolution.
@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("vgg16", "features.30", 212), ("resnet18", "layer4.1.relu_1", 435), ("resnet50", "layer4.2.relu_2", 427)],
)
def test_sizes_far_from_the_border_are_the_published_ones(name: str, layer: str, size: int) -> None:
    with torch.device("meta"):
        network = torchvision_module("models").get_model(name, weights=None)
    model = Model(network.to_empty(device="cpu"), (3, 64, 64))
    assert model.layer(layer).receptive_field.size == (size, size)
    assert model.layer(layer).receptive_field.stride == (32, 32)


def test_size_and_stride_are_those_without_a_border() -> None:
    network = nn.Sequential(
        conv(2, 3, stride=2, padding=1), nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(2 * 6 * 2, 2)
    )
    model = Model(network, (2, 11, 8))
    first, second, flat = (model.layer(name).receptive_field for name in ("0", "1", "2"))
    assert (first.size, first.stride) == ((3, 3), (2, 2))
    assert (second.size, second.stride) == ((3, 5), (2, 4))
    assert (flat.size, flat.stride, flat.is_whole) == ((11, 8), None, True)
    assert first.box(0, 0) == (0, 0, 2, 2) and first.box(5, 3) == (9, 5, 11, 8)


def test_a_joined_field_reaches_from_the_first_to_the_last_branch() -> None:
    network = CASES["concatenation with a shifted branch"]()
    network(torch.rand(1, 2, 11, 8))
    assert Model(network, (2, 11, 8)).layer("cat").receptive_field.size == (4, 3)  # rows −1 … 2 of a cell's own row + 1


def test_a_cell_that_sees_padding_alone_has_an_empty_box() -> None:
    network = nn.Sequential(conv(1, 1, padding=2), nn.Flatten(), nn.Linear(15 * 12, 2))
    box = Model(network, (2, 11, 8)).layer("0").receptive_field.box(0, 5)
    assert (box[2] - box[0]) * (box[3] - box[1]) == 0


def test_a_cell_that_does_not_exist_is_refused() -> None:
    field = Model(nets.build("Reused"), nets.SIZE).layer("conv").receptive_field
    with pytest.raises(LayerError, match="row 12 does not exist: this layer has 12"):
        field.box(12, 0)
    with pytest.raises(LayerError, match="column -1 does not exist"):
        field.box(0, -1)
