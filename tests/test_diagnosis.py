"""Blank maps, each made by the smallest network that has the fault, and the cause that is named."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import cnnviz
from cnnviz import Channel, Class, Model, Neuron, explained
from cnnviz.diagnosis import diagnose
from tests.attribution.nets import SPELLINGS, Small, images, seeded, small


class Tail(nn.Module):
    """The small network with something behind its scores."""

    def __init__(self, tail, bias=0.0):
        super().__init__()
        self.net = Small(F.relu)
        self.tail = tail
        self.bias = bias

    def forward(self, x):
        return self.tail(self.net(x) + self.bias)


def names(model, target, x=None):
    return [cause.name for cause in diagnose(model, images(1) if x is None else x, target)]


def ended(tail, bias=0.0):
    return Model(seeded(Tail(tail, bias)), (1, 8, 8))


def test_a_healthy_map_has_no_diagnosis():
    for target in (0, Class(1, "log_probability"), Neuron("conv2", 0, 1, 1), Channel("conv1", 2)):
        assert names(small(), target) == []


def test_a_relu_on_the_scores_is_named_with_the_value_before_it():
    sequential = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3), nn.ReLU())
    network = seeded(sequential)
    with torch.no_grad():
        network[2].bias[1] = -50
    model = Model(network, (1, 8, 8))
    assert explained("saliency", model, images(1), 1).blank.all()
    (cause,) = diagnose(model, images(1), 1)
    before = float(model.trace(images(1), keep=("2",)).outputs["2"][0, 1])
    assert cause.name == "ReLU on scores"
    assert f"stands at \N{MINUS SIGN}{-before:.3g} before it" in cause.sentence and before < 0
    assert 'Channel("2", 1)' in cause.remedy
    assert not explained("saliency", model, images(1), Channel("2", 1)).blank.any()


def test_a_saturated_probability_is_named_whoever_asks_for_it():
    confident = ended(lambda scores: scores, torch.tensor([40.0, 0, 0]))
    assert names(confident, Class(0, "probability")) == ["saturated probability"]
    assert names(confident, Class(0)) == []
    assert "saturated probability" in names(ended(lambda s: s.softmax(1), torch.tensor([40.0, 0, 0])), 0)


def test_one_class_has_no_probability_to_explain():
    network = seeded(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1)))
    model = Model(network, (1, 8, 8))
    assert explained("saliency", model, images(1), Class(0, "probability")).blank.all()
    assert names(model, Class(0, "probability")) == ["one class"]
    assert names(model, 0) == []


def test_a_silent_neuron_is_told_from_a_dead_path():
    network = seeded(Small(F.relu))
    with torch.no_grad():
        network.conv1.bias.fill_(-100)
    model = Model(network, (1, 8, 8))
    assert explained("saliency", model, images(1), 0).blank.all()
    assert names(model, Neuron("relu", 0, 2, 2)) == ["silent neuron"]
    (cause,) = diagnose(model, images(1), 0)
    assert cause.name == "dead path"
    assert "every value of relu is 0" in cause.sentence


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: (x > 0).float(), torch.round])
def test_a_cut_graph_is_named_with_the_layer_behind_the_cut(cut):
    class Cut(Small):
        def forward(self, x):
            return self.fc(self.activation(self.conv2(F.max_pool2d(cut(self.conv1(x)), 2))).flatten(1))

    causes = diagnose(Model(seeded(Cut(F.relu)), (1, 8, 8)), images(1), 0)
    if cut is torch.round:  # autograd gives rounding a gradient of 0: an end, not a cut
        assert [cause.name for cause in causes] == ["dead path"]
    else:
        assert [cause.name for cause in causes] == ["cut graph"]
        assert "max_pool2d" in causes[0].sentence


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_network_is_named_and_still_gives_scores():
    engine = "qnnpack" if "qnnpack" in torch.backends.quantized.supported_engines else None
    if engine is None and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this PyTorch was built without a quantised engine")
    network = seeded(Small(F.relu))
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    model = Model(quantised, (1, 8, 8))
    assert model.scores(images(1)).shape == (1, 3)
    assert names(model, 0) == ["quantised"]
    with pytest.raises(cnnviz.errors.CnnvizError):
        explained("saliency", model, images(1), 0)


def test_a_compiled_network_is_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Model(torch.jit.script(seeded(Small(SPELLINGS["nn.ReLU"]()))), (1, 8, 8))
    assert names(model, 0) == ["compiled"]


def test_pixels_that_are_not_in_0_to_1_are_named():
    (cause,) = diagnose(small(), images(1) * 255, 0)
    assert cause.name == "pixel range" and "divide by 255" in cause.remedy
    (cause,) = diagnose(small(), images(1) * 2 - 1, 0)
    assert cause.name == "pixel range" and "normalised already" in cause.remedy


def test_a_constant_image_is_named():
    assert "constant image" in names(small(), 0, torch.full((1, 1, 8, 8), 0.5))


def test_preprocessing_far_from_that_of_training_is_named():
    network = seeded(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)))
    right = Model(network, (1, 8, 8), mean=0.5, std=0.3)
    network.train()
    with torch.no_grad():
        for _ in range(60):
            network(right.normalised(images(20)))
    network.eval()
    assert names(right, 0) == []
    (cause,) = diagnose(Model(network, (1, 8, 8), mean=0.5, std=0.001), images(1) * 0.2, 0)
    assert cause.name == "preprocessing"
    assert "(0.001,)" in cause.remedy


def test_weights_that_are_not_numbers_are_named_with_their_layer():
    network = seeded(Small(F.relu))
    model = Model(network, (1, 8, 8))
    with torch.no_grad():
        network.conv2.weight[0] = float("nan")
    causes = diagnose(model, images(1), 0)
    assert causes[0].name == "not a number"
    assert "conv2 is the first layer" in causes[0].sentence


def test_one_image_at_a_time():
    with pytest.raises(cnnviz.errors.CnnvizError, match="one image"):
        diagnose(small(), images(2), 0)
