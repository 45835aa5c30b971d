"""The notes' networks are as their notes say, and what does not fit is explained."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from cnnviz.errors import NetworkError
from cnnviz.networks import NETWORKS, NetworkInfo, network_info
from cnnviz.networks.shapes import convolved

EVERY = pytest.mark.parametrize("info", NETWORKS.values(), ids=NETWORKS)

PARAMETERS = {
    "simple-cnn": (3 * 9 + 1) * 18 + (18 * 16 * 16 + 1) * 64 + 65 * 10,
    "cnn": (3 * 9 + 1) * 12 + (12 * 9 + 1) * 24 + (24 * 16 * 16 + 1) * 256 + 257 * 128 + 129 * 10,
    "one-conv": (9 + 1) * 8 + (8 * 13 * 13 + 1) * 10,
    "two-conv": (25 + 1) * 32 + (32 * 25 + 1) * 64 + (7 * 7 * 64 + 1) * 1000 + 1001 * 10,
    "net": (25 + 1) * 32 + (32 * 4 + 1) * 20,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_notes_network_has_the_parameters_of_its_note(name: str) -> None:
    assert sum(p.numel() for p in NETWORKS[name].build().parameters()) == PARAMETERS[name]


@EVERY
def test_a_network_answers_pictures_of_its_size_with_its_classes(info: NetworkInfo) -> None:
    classes = info.arguments["classes"]
    with torch.no_grad():
        assert info.build().eval()(torch.rand(2, *info.input_size())).shape == (2, classes)


@EVERY
def test_a_network_builds_with_every_argument_at_its_bounds_or_says_why_not(info: NetworkInfo) -> None:
    for argument in info.changeable:
        values = getattr(argument, "values", None) or (getattr(argument, "least", 0), getattr(argument, "most", 0.5))
        for value in values:
            arguments = {argument.name: value}
            try:
                network = info.build(**arguments)
            except NetworkError as error:
                assert "⌋ + 1 = " in str(error)
            else:
                with torch.no_grad():
                    assert torch.isfinite(network.eval()(torch.rand(1, *info.input_size()))).all()


def test_a_kernel_that_does_not_fit_is_explained_with_the_formula() -> None:
    with pytest.raises(NetworkError, match=r"conv1 does not fit.*⌊\(8 − 11 \+ 2·0\)/1⌋ \+ 1 = -2"):
        NETWORKS["net"].build(kernel=11)


def test_a_map_too_small_to_pool_is_explained() -> None:
    with pytest.raises(NetworkError, match="pool does not fit"):
        NETWORKS["net"].build(kernel=8)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"), [(28, 5, 1, 2), (28, 3, 1, 0), (7, 3, 2, 1), (9, 4, 3, 0)]
)
def test_the_formula_agrees_with_torch(side: int, kernel: int, stride: int, padding: int) -> None:
    convolution = nn.Conv2d(1, 1, kernel, stride, padding)
    expected = convolution(torch.zeros(1, 1, side, side)).shape[-1]
    assert convolved(side, kernel, stride, padding, where="conv1") == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"filters": 0}, "Filters must be a whole number from 1 to 128, not 0"),
        ({"filters": 2.5}, "not 2.5"),
        ({"filters": True}, "not True"),
        ({"pooling": "median"}, "one of max, average"),
        ({"colour": "red"}, "has no argument 'colour'; it has filters"),
        ({"size": (1, 28)}, r"\(channels, height, width\)"),
        ({"size": (1, 28, 9999)}, "from 1 to 1024"),
    ],
)
def test_an_argument_out_of_place_is_refused(arguments: Mapping[str, object], says: str) -> None:
    with pytest.raises(NetworkError, match=says):
        NETWORKS["one-conv"].build(**arguments)


def test_a_network_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(NetworkError, match="'three-conv' is not a network; there are simple-cnn"):
        network_info("three-conv")


class NoteThree(nn.Module):
    """Note 3's network as the note writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Conv2d(1, 32, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.l2 = nn.Sequential(nn.Conv2d(32, 64, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.drop_out = nn.Dropout()
        self.fc1 = nn.Linear(7 * 7 * 64, 1000)
        self.fc2 = nn.Linear(1000, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.l2(self.l1(x))
        x = self.drop_out(x.reshape(x.size(0), -1))
        return self.fc2(self.fc1(x))


class NoteOne(nn.Module):
    """Note 1's network with its blanks filled in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.MaxPool2d(2)
        )
        self.fc_layers = nn.Sequential(
            nn.Linear(24 * 16 * 16, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_layers(torch.flatten(self.conv_layers(x), start_dim=1))


@pytest.mark.parametrize(("name", "note"), [("two-conv", NoteThree), ("cnn", NoteOne)])
def test_weights_under_the_notes_own_names_give_the_notes_own_scores(name: str, note: type[nn.Module]) -> None:
    info, written = NETWORKS[name], note().eval()
    ours = info.build().eval()
    ours.load_state_dict(info.rename(written.state_dict()))
    images = torch.rand(2, *info.input_size())
    with torch.no_grad():
        assert torch.equal(ours(images), written(images))


def test_the_relu_on_the_logits_of_note_4_can_be_left_out() -> None:
    with_relu, without = (NETWORKS["net"].build(relu_on_logits=switch) for switch in (True, False))
    without.load_state_dict(with_relu.state_dict())
    images = torch.rand(16, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(with_relu(images), without(images).clamp(min=0))
        assert (without(images) < 0).any()


def test_note_4_fits_28_pixels_with_32_times_12_times_12_features() -> None:
    assert NETWORKS["net"].build(size=(1, 28, 28)).fc1.in_features == 32 * 12 * 12
