"""Kernels are the network's own numbers, and what is said of them can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnviz import Model, kernels
from cnnviz.errors import LayerError
from cnnviz.filters import (
    Convolution,
    activation_after,
    convolutions,
    spectrum,
    strengths,
    strongest_wave,
    twins,
    wiring,
)
from tests import nets


class Body(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body, self.fc = nn.Sequential(*layers), nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).mean((2, 3)))


def opened(*layers: nn.Module) -> Model:
    network = Body(*layers)
    network(nets.images())
    return Model(nets.seeded(network), nets.SIZE)


def test_kernels_are_the_weights_and_a_copy_of_them() -> None:
    network = nets.build("Reused")
    values = kernels(Model(network, nets.SIZE), "conv")
    assert values.shape == (4, 3, 3, 3) and np.array_equal(values, network.conv.weight.detach().numpy())
    values[:] = 0
    assert network.conv.weight.abs().sum() > 0


def test_kernels_of_a_convolution_called_by_hand_are_found() -> None:
    network = nets.build("Functional")
    model = Model(network, nets.SIZE)
    assert convolutions(model) == ["conv2d"]
    assert np.array_equal(kernels(model, "conv2d"), network.weight.detach().numpy())
    assert wiring(model, "conv2d") == Convolution(4, 3, 1, (3, 3))


def test_a_transposed_convolution_gives_its_kernels_filter_by_filter() -> None:
    layer = nn.ConvTranspose2d(3, 6, 2, groups=3)
    model = opened(layer)
    values = kernels(model, "body.0")
    assert values.shape == (6, 1, 2, 2)
    for out in range(6):  # filter `out` belongs to group out // 2 and is that group's column out % 2
        assert np.array_equal(values[out, 0], layer.weight.detach().numpy()[out // 2, out % 2])


def test_a_layer_without_kernels_is_answered_with_those_that_have() -> None:
    model = Model(nets.build("Reused"), nets.SIZE)
    for name in ("relu", "head.fc"):
        with pytest.raises(LayerError, match=f"{name} has no kernels; the convolutions of this network are conv, same"):
            kernels(model, name)


def test_wiring_tells_which_inputs_a_filter_sees() -> None:
    model = opened(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, (1, 3), groups=2))
    point, depth, grouped = (wiring(model, name) for name in ("body.0", "body.1", "body.2"))
    assert point == Convolution(8, 3, 1, (1, 1)) and not point.depthwise and list(point.inputs_of(5)) == [0, 1, 2]
    assert depth.depthwise and list(depth.inputs_of(5)) == [5]
    assert not grouped.depthwise and list(grouped.inputs_of(1)) == [0, 1, 2, 3]
    assert list(grouped.inputs_of(2)) == [4, 5, 6, 7]


def test_the_activation_of_a_convolution_is_found_through_batch_norm() -> None:
    model = opened(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 1))
    after = activation_after(model, "body.0")
    assert after is not None and after.name == "body.2"
    assert activation_after(model, "body.3") is None  # SiLU can be negative
    assert activation_after(model, "body.5") is None


def test_the_activation_after_a_sum_belongs_to_no_single_convolution() -> None:
    assert activation_after(Model(nets.build("InPlaceResidual"), nets.SIZE), "second") is None


def test_strengths_are_lengths_with_batch_norm_folded_in() -> None:
    model = opened(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    conv, norm = model.layer("body.0").module, model.layer("body.1").module
    images = nets.images(4)
    flat = np.linalg.norm(kernels(model, "body.3").reshape(2, -1), axis=1)
    assert strengths(model, "body.3") == pytest.approx(flat, rel=1e-6)
    with torch.no_grad():  # the same from behaviour: a kernel scaled by the factor gives what batch norm gives
        factor = norm(conv(images)) - norm(torch.zeros_like(conv(images)))
        factor = (factor / conv(images)).mean((0, 2, 3)).abs()
    wanted = np.linalg.norm(kernels(model, "body.0").reshape(4, -1), axis=1) * factor.numpy()
    assert strengths(model, "body.0") == pytest.approx(wanted, rel=1e-4)


def test_twins_are_equal_up_to_size_and_negatives_count() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(5, 2, 3, 3))
    weights[3], weights[4] = 2 * weights[0], -weights[1]
    found = twins(weights)
    assert found[0] == (3, pytest.approx(1)) and found[3] == (0, pytest.approx(1))
    assert found[1] == (4, pytest.approx(-1)) and found[4].filter == 1
    assert abs(found[2].cosine) < 0.9


def test_a_filter_of_zeros_and_one_that_is_alone_have_no_twin() -> None:
    weights = np.zeros((3, 1, 2, 2))
    weights[0, 0, 0, 0] = weights[1, 0, 1, 1] = 1
    assert [twin.cosine for twin in twins(weights)] == [0, 0, 0]
    assert twins(np.ones((1, 1, 3, 3))) == [(0, 0.0)]
    assert all(abs(twin.cosine) <= 1 for twin in twins(np.full((2, 1, 2, 2), np.nan)))


def test_the_middle_of_a_spectrum_is_the_sum_and_its_total_the_energy() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 5))
    strength = spectrum(kernel, 16)
    assert strength.shape == (16, 16)
    assert strength[8, 8] == pytest.approx(abs(kernel.sum()))
    assert (strength**2).mean() == pytest.approx((kernel**2).sum())  # Parseval


@pytest.mark.parametrize(
    ("kernel", "cycles", "degrees"),
    [
        (np.ones((3, 3)), 0, 0),  # a blur passes a flat picture best
        (np.array([[1, -1]]), 0.5, 0),  # the finest vertical stripes
        (np.array([[1], [-1]]), 0.5, 90),  # the finest horizontal stripes
        (np.array([[1, 0, -1]] * 3), 0.25, 0),  # Prewitt: stripes four pixels wide
        (np.array([[1, -1], [-1, 1]]), 0.5 * 2**0.5, 45),  # a chessboard
    ],
)
def test_the_wave_a_kernel_passes_best_is_known_by_hand(kernel: np.ndarray, cycles: float, degrees: float) -> None:
    wave = strongest_wave(kernel)
    assert wave.cycles == pytest.approx(cycles)
    assert wave.degrees == pytest.approx(degrees)


def test_a_kernel_of_not_a_number_has_a_spectrum_of_nothing() -> None:
    assert not spectrum(np.full((3, 3), np.nan)).any()
