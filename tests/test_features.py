"""Final feature vectors against what the deciding layer is really given."""

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz.errors import LayerError
from cnnviz.features import features, final_features_are
from cnnviz.model import Model


class TwoHeads(nn.Module):
    """Owns an auxiliary Linear, declared last, that never runs."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.fc1 = nn.Linear(4, 6)
        self.fc2 = nn.Linear(6, 3)
        self.auxiliary = nn.Linear(4, 3)

    def forward(self, x):
        hidden = torch.relu(self.conv1(x)).mean((2, 3))
        return self.fc2(torch.relu(self.fc1(hidden)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model(TwoHeads(), (1, 8, 8))


def test_the_final_vector_is_what_the_last_linear_that_runs_is_given(model):
    images = torch.rand(5, 1, 8, 8)
    vectors = features(model, images)
    net = model.network
    expected = torch.relu(net.fc1(torch.relu(net.conv1(images)).mean((2, 3)))).detach().numpy()
    assert np.linalg.norm(vectors - expected) / np.linalg.norm(expected) < 1e-6
    assert final_features_are(model) == "the input of fc2"


def test_a_network_without_linear_gives_the_pooled_input_of_its_last_convolution():
    torch.manual_seed(0)
    model = Model(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 6), nn.Flatten()), (1, 8, 8))
    images = torch.rand(3, 1, 8, 8)
    expected = model.trace(images, keep=("1",)).outputs["1"].mean((2, 3)).numpy()
    assert np.array_equal(features(model, images), expected)
    assert final_features_are(model) == "the input of 2, averaged over positions"


def test_batches_do_not_change_the_vectors(model):
    images = torch.rand(7, 1, 8, 8)
    assert np.allclose(features(model, images, batch=2), features(model, images), atol=1e-6)


def test_a_layer_is_pooled_as_asked_and_pixels_are_pixels(model):
    images = torch.rand(2, 1, 8, 8)
    assert features(model, images, "conv1").shape == (2, 4)
    assert features(model, images, "conv1", pooling="flatten").shape == (2, 4 * 36)
    assert np.array_equal(features(model, images, "pixels"), images.flatten(1).numpy())
    with pytest.raises(LayerError, match="conv9 is not a layer"):
        features(model, images, "conv9")
    with pytest.raises(LayerError, match="“median” is not a pooling"):
        features(model, images, "conv1", pooling="median")
