"""Folding batch norms into convolutions: the same gradients, found out by trying, and never on the shared network."""

import torch
from torch import nn
from torch.nn import functional as F

from cnnviz import Channel, Model, explain
from cnnviz.attribution import gradient
from cnnviz.attribution.folded import folded
from tests.attribution.nets import images, relative_error, seeded, small
from tests.attribution.test_threads import fingerprint


class Block(nn.Module):
    """Convolution, norm, ReLU, and a shortcut whose norm must not be folded into a convolution that others read."""

    def __init__(self, shared=False):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(256, 3)
        self.shared = shared

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        y = self.conv2(x)
        y = self.norm2(y) + (y if self.shared else x)
        return self.fc(F.relu(y).flatten(1))


def test_folded_gradients_are_the_gradients_to_the_last_bits_of_float64(monkeypatch):
    model = Model(seeded(Block().double()), (1, 8, 8), mean=0.4, std=0.3)
    network = folded(model)
    assert isinstance(network.norm1, nn.Identity) and isinstance(network.norm2, nn.Identity)
    x = images(2, dtype=torch.float64)
    for method in ("smoothgrad", "integrated_gradients"):
        with_folding = explain(method, model, x, 1)
        with monkeypatch.context() as patch:
            patch.setattr(gradient, "folded", lambda model: None)
            assert relative_error(with_folding, explain(method, model, x, 1)) <= 1e-12


def test_a_convolution_that_others_read_keeps_its_batch_norm():
    network = folded(Model(seeded(Block(shared=True)), (1, 8, 8)))
    assert isinstance(network.norm1, nn.Identity)
    assert isinstance(network.norm2, nn.BatchNorm2d)


def test_networks_without_batch_norm_are_not_copied():
    assert folded(small()) is None


def test_a_network_that_reads_its_norm_s_weights_is_left_as_it_is():
    class Reads(Block):
        def forward(self, x):
            return super().forward(x) * self.norm1.weight.mean()

    assert folded(Model(seeded(Reads()), (1, 8, 8))) is None


def test_training_on_makes_a_new_copy_and_the_shared_network_is_untouched():
    network = seeded(Block())
    model = Model(network, (1, 8, 8))
    before = fingerprint(network)
    first = folded(model)
    assert folded(model) is first
    assert fingerprint(network) == before
    with torch.no_grad():
        network.conv1.weight.mul_(2)
    assert folded(model) is not first
    x = images(1)
    assert relative_error(folded(model)(x), model.scores(x)) <= 1e-5


def test_a_target_in_a_middle_layer_uses_the_network_itself():
    model = Model(seeded(Block()), (1, 8, 8))
    assert explain("smoothgrad", model, images(1), Channel("norm1", 2), samples=3).any()
