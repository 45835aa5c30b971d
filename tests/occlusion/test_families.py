"""The smallest member of every family of torchvision's classifiers, against the whole network in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import Model
from cnnviz.networks import torchvision_module
from cnnviz.occlusion import Sweep, occlude

# name -> (height, width); attention couples all positions
LOCAL = {
    "alexnet": (67, 71), "vgg11": (37, 45), "vgg11_bn": (37, 45), "resnet18": (53, 61), "squeezenet1_1": (53, 61),
    "densenet121": (37, 45), "googlenet": (53, 61), "inception_v3": (79, 83), "shufflenet_v2_x0_5": (53, 61),
    "mobilenet_v2": (53, 61), "mobilenet_v3_small": (53, 61), "mnasnet0_5": (53, 61), "efficientnet_b0": (53, 61),
    "regnet_x_400mf": (53, 61), "regnet_y_400mf": (53, 61), "convnext_tiny": (37, 45),
}  # fmt: skip
GLOBAL = {"vit_b_32": (64, 64), "swin_t": (64, 64)}
OPTIONS = {
    "googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}, "vit_b_32": {"image_size": 64},
}  # fmt: skip


def built(name: str, size: tuple[int, int]) -> Model:
    """The network with few classes and weights that keep signals about as large as they came."""
    build = getattr(torchvision_module("models"), name)
    place = "cpu" if name.startswith("regnet") else "meta"  # the default initialisation takes seconds; regnets compute
    with torch.device(place):
        network = build(weights=None, num_classes=5, **OPTIONS.get(name, {}))
    network = (network.to_empty(device="cpu") if place == "meta" else network).eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        for key, value in [*module._parameters.items(), *module._buffers.items()]:
            if value is not None:
                _filled(module, key, value.data, generator)
    return Model(network, (3, *size), 0.5, 0.25, name=name)


def _filled(module: nn.Module, key: str, value: torch.Tensor, generator: torch.Generator) -> None:
    if isinstance(module, nn.BatchNorm2d | nn.LayerNorm) and value.is_floating_point():
        value.fill_({"weight": 1.0, "running_var": 1.0}.get(key, 0.0))
        value.add_(torch.rand(value.shape, generator=generator), alpha=0.3)
    elif value.is_floating_point() and value.dim() > 1:
        value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
    elif value.is_floating_point():
        value.fill_(0.05)
    else:
        value.zero_()


def in_double(model: Model, image: torch.Tensor, sweep: Sweep) -> np.ndarray:
    """The same windows through the whole network in float64."""
    double = Model(copy.deepcopy(model.network).double(), model.size, model.mean, model.std)
    return occlude(double, image, 0, sweep.window, sweep.stride, sweep.fill, engine="full").score


def pictured(model: Model) -> torch.Tensor:
    return torch.rand(model.size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", LOCAL)
def test_the_changes_of_a_local_network_are_exact(name: str):
    height, width = LOCAL[name]
    model = built(name, (height, width))
    window, stride = (height // 3, width // 4), (height // 2 - height // 3 + 5, width // 4)
    image = pictured(model)
    sweep = occlude(model, image, 0, window, min(stride, window), "black", engine="delta")
    exact = in_double(model, image, sweep)
    assert np.abs(sweep.score - exact).max() <= 1e-4 * np.ptp(exact)


@pytest.mark.parametrize("name", GLOBAL)
def test_a_network_of_attention_goes_through_the_loop(name: str):
    model = built(name, GLOBAL[name])
    image = pictured(model)
    sweep = occlude(model, image, 0, 40, 24, "black")
    exact = in_double(model, image, sweep)
    assert sweep.engine == "full"
    assert np.abs(sweep.score - exact).max() <= 1e-4 * np.ptp(exact)
