"""The strongest images of a data set, on a network whose answer can be read off the pixels."""

import pytest
import torch
from torch import nn

from cnnviz import Channel, Class, Model, Neuron
from cnnviz.errors import TargetError
from cnnviz.exemplars import exemplars


def identity_model() -> Model:
    """One 1×1 convolution that passes the picture on, and the sums of left and right half as scores."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(16, 2, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(1)
        left = torch.tensor([1.0, 1, 0, 0]).repeat(4)
        network[2].weight.copy_(torch.stack([left, 1 - left]))
    return Model(network, (1, 4, 4))


def spots(*places: tuple[int, int, float]) -> torch.Tensor:
    images = torch.zeros(len(places), 1, 4, 4)
    for index, (row, column, value) in enumerate(places):
        images[index, 0, row, column] = value
    return images


def test_the_brightest_spot_wins_wherever_it_is():
    images = spots((0, 0, 0.2), (3, 1, 0.9), (2, 2, 0.5))
    (_, best) = list(exemplars(identity_model(), images.split(2), Neuron("0", 0, 0, 0), count=2))[-1]
    assert [(one.index, one.cell) for one in best] == [(1, (3, 1)), (2, (2, 2))]
    assert best[0].value == pytest.approx(0.9)


def test_every_batch_gives_what_is_known_so_far():
    images = spots((0, 0, 0.9), (0, 1, 0.1), (0, 2, 1.0))
    seen = list(exemplars(identity_model(), images.split(1), Channel("0", 0), count=1))
    assert [(count, best[0].index) for count, best in seen] == [(1, 0), (2, 0), (3, 2)]


def test_a_class_has_no_cell():
    images = spots((0, 3, 0.9), (0, 0, 0.4))
    (_, best) = list(exemplars(identity_model(), [images], Class(0), count=2))[-1]
    assert [(one.index, one.cell) for one in best] == [(1, None), (0, None)]


def test_a_channel_that_does_not_exist_is_refused():
    with pytest.raises(TargetError, match="channel 3"):
        next(exemplars(identity_model(), [spots((0, 0, 1.0))], Channel("0", 3)))
