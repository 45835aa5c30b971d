"""Guided backprop and DeconvNet against an independent reference, on networks people use."""

import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.networks import NETWORKS, torchvision_module
from tests.attribution.nets import SPELLINGS, Skip, Small, images, relative_error, seeded
from tests.attribution.reference import reference_map

RULES = {"guided_backprop": "guided", "deconvnet": "deconvnet"}


def _torchvision(name, **options):
    def build():
        network = getattr(torchvision_module("models"), name)(weights=None, num_classes=10, **options)
        if name.startswith("vgg"):  # the same steps with a hundred million weights less
            network.classifier[0], network.classifier[3] = nn.Linear(25088, 32), nn.Linear(32, 32)
            network.classifier[6] = nn.Linear(32, 10)
        return network

    return build


_AUXILIARY = {"aux_logits": False, "init_weights": False}
CASES = {
    **{name: (NETWORKS[name].build, NETWORKS[name].input_size()) for name in NETWORKS},
    "efficientnet-lite0": (NETWORKS["efficientnet-lite0"].build, (3, 64, 64)),
    "resnet18": (_torchvision("resnet18"), (3, 64, 64)),
    "vgg16": (_torchvision("vgg16"), (3, 32, 32)),
    "vgg11_bn": (_torchvision("vgg11_bn"), (3, 32, 32)),
    "mobilenet_v2": (_torchvision("mobilenet_v2"), (3, 48, 48)),
    "mobilenet_v3_small": (_torchvision("mobilenet_v3_small"), (3, 48, 48)),
    "googlenet": (_torchvision("googlenet", **_AUXILIARY), (3, 48, 48)),
    "inception_v3": (_torchvision("inception_v3", **_AUXILIARY), (3, 75, 75)),
    "densenet121": (_torchvision("densenet121"), (3, 48, 48)),
    "squeezenet1_1": (_torchvision("squeezenet1_1"), (3, 48, 48)),
    "relu(h) + h": (Skip, (1, 8, 8)),
    "nn.ReLU()(h) + h": (lambda: Skip(nn.ReLU()), (1, 8, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_guided_and_deconvnet_equal_an_independent_reference(name):
    build, size = CASES[name]
    network = seeded(build())
    model = cnnviz.Model(network, size, mean=0.4, std=0.3)
    x = images(1, size)
    index = int(model.scores(x).argmax())  # a network that ends in a ReLU answers 0 for the others
    plain = cnnviz.explain("saliency", model, x, index)
    for method, rule in RULES.items():
        reference = reference_map(network, model.normalised(x), index, rule) / 0.3
        values = cnnviz.explain(method, model, x, index)
        assert relative_error(values, reference) <= 1e-6
        assert relative_error(values, plain) > 0.01  # not the plain gradient under another name


def _exported(network, example):
    return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n")},)).module()


WRITTEN = {
    "scripted": lambda network, example: torch.jit.script(network),
    "scripted and used before": lambda network, example: _used(torch.jit.script(network), example),
    "traced": torch.jit.trace,
    "exported": _exported,
}


def _used(network, example):
    for _ in range(3):  # TorchScript's optimiser folds its rectifiers away after the first pass with a gradient
        x = example.clone().requires_grad_()
        torch.autograd.grad(network(x).sum(), x)
    return network


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("build", [lambda: Small(SPELLINGS["nn.ReLU"]()), Skip], ids=["plain", "skip"])
def test_compiled_and_exported_networks_are_guided_like_the_network_they_came_from(way, build):
    network = seeded(build())
    compiled = cnnviz.Model(WRITTEN[way](network, images(3)), (1, 8, 8), mean=0.4, std=0.3)
    model = cnnviz.Model(network, (1, 8, 8), mean=0.4, std=0.3)
    x = images(2, seed=3)
    assert relative_error(compiled.scores(x), model.scores(x)) <= 1e-6
    for method in ("saliency", *RULES):
        expected = cnnviz.explained(method, model, x, 1)
        for _ in range(3):
            answer = cnnviz.explained(method, compiled, x, 1)
            assert relative_error(answer.values, expected.values) <= 1e-6
            assert answer.sentences == expected.sentences


def test_a_compiled_network_shares_its_weights_and_says_what_it_cannot_show():
    network = torch.jit.script(seeded(Small(SPELLINGS["nn.ReLU"]())))
    model = cnnviz.Model(network, (1, 8, 8))
    before = model.scores(images(1))
    with torch.no_grad():
        network.fc.bias.add_(1)
    assert torch.allclose(model.scores(images(1)), before + 1)
    with pytest.raises(cnnviz.errors.CnnvizError, match="does not show its layers"):
        cnnviz.explain("saliency", model, images(1), cnnviz.Channel("conv1", 0))
    with pytest.raises(cnnviz.errors.CnnvizError, match="does not show its layers"):
        cnnviz.explain("grad_cam", model, images(1), 0)


def test_an_exported_program_shows_its_layers():
    model = cnnviz.Model(_exported(seeded(Skip()), images(3)), (1, 8, 8))
    assert [layer.name for layer in model.layers] == ["conv2d", "relu", "add", "relu_1", "flatten", "linear"]
    neuron = cnnviz.Neuron("conv2d", 2, 4, 4)
    slopes = cnnviz.explain("saliency", model, images(1), neuron)[0, 0]
    assert relative_error(slopes[3:6, 3:6], model.network.conv.weight[2, 0].detach()) <= 1e-6
