"""The Filters page from the server's side: what it says of kernels, and that its words fit the weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from cnnviz import Model
from dashboard import silence
from dashboard.views import filters as page
from tests import nets
from tests.dashboard.opening import opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def shown(*layers: nn.Module, layer: str = "0", channels: int = 3, **how: object) -> page.Shown:
    """One convolution of a small network on a random image."""
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))
    images = torch.rand(1, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    network(images)
    model = Model(nets.seeded(network), (channels, 8, 8), name="small")
    choice = SimpleNamespace(model=model, image=images, name="small", epoch=None)
    options = {"order": page.STRENGTH, "per": "layer", "colour": False, "change": False} | how
    return page.Shown(choice, model.layer(layer), **options)


def with_weights(values: np.ndarray, **how: object) -> page.Shown:
    conv = nn.Conv2d(values.shape[1], len(values), values.shape[2:])
    made = shown(conv, nn.ReLU(), channels=values.shape[1], **how)
    with torch.no_grad():
        made.model.network[0].weight.copy_(torch.from_numpy(values))
    return made


def titles(app: AppTest) -> list[str]:
    return app.session_state["cnnviz:figures"]


def test_the_page_opens_on_the_first_convolution():
    assert titles(opened("filters", model="mnist-one-conv")) == ["conv1, all 8 kernels"]


def test_a_link_to_another_layer_shows_the_convolution_before_it():
    assert titles(opened("filters", model="mnist-two-conv", layer="relu_1")) == ["conv2, 64 filters × 32 inputs"]


@pytest.mark.parametrize("address", [{"kernel": "999,1"}, {"kernel": "banana"}, {"part": "77"}, {"layer": "conv9"}])
def test_what_an_address_asks_in_vain_is_passed_over(address: dict[str, str]):
    assert len(titles(opened("filters", model="mnist-one-conv", **address))) == 1


def test_orders_follow_their_numbers():
    made = shown(nn.Conv2d(3, 5, 3), nn.ReLU())
    assert (np.diff(made.strengths[made.ordered]) <= 0).all()
    active = shown(nn.Conv2d(3, 5, 3), nn.ReLU(), order=page.ACTIVATION)
    assert (np.diff(active.activations[active.ordered]) <= 0).all()
    assert shown(nn.Conv2d(3, 5, 3), order=page.INDEX).ordered.tolist() == [0, 1, 2, 3, 4]


def test_a_weight_that_is_not_a_number_is_said_first():
    values = np.ones((4, 1, 3, 3), np.float32)
    values[2, 0, 1, 1] = np.nan
    assert page._caption(with_weights(values)).startswith("**Not a number:** 1 of 36 weights")


def test_a_layer_of_zeros_has_nothing_to_see():
    assert page._caption(with_weights(np.zeros((2, 1, 3, 3), np.float32))) == "**Nothing to see:** every weight is 0."


def test_twins_are_named_and_negatives_told_apart():
    values = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32)
    values[1], values[3] = values[0], -values[2]
    assert "0 and 1 are nearly the same and 2 and 3 are nearly negatives." in page._caption(with_weights(values))


def test_the_same_pattern_on_another_channel_is_no_duplicate():
    made = shown(nn.Conv2d(3, 3, 3, groups=3))
    with torch.no_grad():
        made.model.network[0].weight.copy_(made.model.network[0].weight[:1].expand(3, 1, 3, 3))
    assert [made.twin(filter) for filter in range(3)] == [None] * 3
    assert page._title(made) == "0, 3 depthwise filters"


@pytest.mark.parametrize(
    ("convolution", "title", "facts"),
    [
        (nn.Conv2d(3, 4, 1), "0, 4 × 3 single weights", "1 × 1, one scale for the layer"),
        (nn.Conv2d(3, 6, 3), "0, 6 filters × 3 inputs", "3 × 3, one scale for the layer"),
        (nn.Conv2d(3, 6, (1, 3), groups=3), "0, 6 depthwise filters", "1 × 3, one scale for the layer"),
    ],
)
def test_a_layer_is_called_what_it_is(convolution: nn.Module, title: str, facts: str):
    made = shown(convolution)
    assert (page._title(made), page._facts(made)) == (title, facts)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (np.ones((3, 3)), "Passes a **flat picture** best, as a blur does."),
        (np.array([[1, 0, -1]] * 3), "Passes **vertical stripes** best, one in 4.0 pixels."),
        (np.array([[2.0]]), "A single weight passes every wave alike: it has no spectrum to speak of."),
        (np.zeros((3, 3)), "A kernel of zeros passes nothing."),
    ],
)
def test_the_spectrum_is_told_in_words(kernel: np.ndarray, words: str):
    assert page._wave(kernel) == words


def test_dead_filters_are_counted_on_pictures_that_are_named():
    conv = nn.Conv2d(1, 4, 3)
    network = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    with torch.no_grad():
        conv.weight.fill_(0.1)
        conv.bias.fill_(0.1)
        conv.weight[2].fill_(-0.1)
        conv.bias[2] = -0.1
    model = Model(network, (1, 28, 28), name="small")
    tried = silence.tried(model, model.layer("1"))
    assert tried is not None and tried.dead.tolist() == [False, False, True, False]
    assert tried.pictures == silence.SAMPLE and "MNIST" in tried.title
    assert silence.tried(model, model.layer("0")) is None  # before the activation the question has no sense


def test_downloads_hold_the_kernels_and_what_is_said_of_them():
    made = shown(nn.Conv2d(3, 5, 3), nn.ReLU())
    arrays = page._arrays(made)
    assert np.array_equal(arrays["kernels"], made.model.network[0].weight.detach().numpy())
    assert sorted(arrays["order"].tolist()) == [0, 1, 2, 3, 4] and arrays["cosine"].shape == (5,)
    for how in ({}, {"per": "kernel"}, {"colour": True}, {"colour": True, "per": "kernel"}):
        assert page._png(shown(nn.Conv2d(3, 5, 3), **how)).startswith(b"\x89PNG")
    assert page._png(shown(nn.Conv2d(3, 9, 3, groups=3), per="kernel")).startswith(b"\x89PNG")
