"""What a trace keeps: the values, the names, the gradients, and nothing else changed.

The reference is a plain hook on the person's own network that copies every output the moment it appears, and a
function mode that does the same for operations written by hand; it shares no line with the library.
"""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cnnviz import Model
from cnnviz.errors import LayerError, NetworkError
from cnnviz.networks import NETWORKS, torchvision_module
from tests import nets

TORCHVISION = {
    "resnet18": 40, "vgg16": 32, "mobilenet_v2": 40, "mobilenet_v3_small": 40, "googlenet": 40, "densenet121": 40,
    "squeezenet1_1": 40, "efficientnet_b0": 40, "convnext_tiny": 40,
}  # fmt: skip
DIFFERENTIABLE = [name for name in nets.AWKWARD if name not in nets.WITHOUT_GRADIENT]


class Everything(TorchFunctionMode):
    """A clone of every tensor that any operation or module of one pass gave, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.modules: dict[str, list[Tensor]] = {}  # the outputs of each module, one for each time it ran

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        self.note(output)
        return output

    def note(self, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            with torch.no_grad(), torch._C.DisableTorchFunction():
                self.seen.append(output.detach().clone())

    def hook(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self.note(output)
        if isinstance(output, Tensor):
            self.modules.setdefault(name, []).append(self.seen[-1])


def reference(network: nn.Module, images: Tensor) -> tuple[Tensor, Everything]:
    """Scores and every intermediate value of an own copy of `network`."""
    own, everything = copy.deepcopy(network).eval(), Everything()
    for name, module in own.named_modules():
        module.register_forward_hook(partial(everything.hook, name))
    with torch.no_grad(), everything:
        scores = own(images)
    return scores, everything


def relative(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / b.norm().clamp_min(1e-30)).detach())


def is_among(value: Tensor, everything: Everything, start: int) -> int:
    """Where the reference made this value, searching on from `start`; fails when it never did."""
    for place in range(start, len(everything.seen)):
        other = everything.seen[place]
        if other.shape == value.shape and relative(value, other) <= 1e-6:
            return place
    raise AssertionError(f"no step of the reference gave this value of shape {tuple(value.shape)}")


def module_names(model: Model) -> dict[int, str]:
    """The dotted name of every module of the model's twin, by identity."""
    return {id(module): name for name, module in model._twin.network.named_modules()}


def check_every_layer(network: nn.Module, size: tuple[int, int, int]) -> None:
    model, images = Model(network, size), nets.images(2, size=size)
    names = [layer.name for layer in model.layers]
    with torch.no_grad():
        trace = model.trace(images, keep=names)
    scores, everything = reference(network, images)
    assert relative(trace.scores, scores) <= 1e-6
    assert trace.names == names and len(set(names)) == len(names)
    place, modules = 0, module_names(model)
    for layer in model.layers:  # in order: a layer's value must not come from an earlier or overwritten tensor
        value = trace.outputs[layer.name]
        assert tuple(value.shape[1:]) == layer.shape
        place = is_among(value, everything, place)
        if layer.module is not None:
            assert relative(value, everything.modules[modules[id(layer.module)]].pop(0)) <= 1e-6, layer.name


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_layer_of_a_torchvision_network_has_the_value_of_a_cloning_reference(name: str) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    network = torchvision_module("models").get_model(name, weights=None, **options)
    side = TORCHVISION[name]
    check_every_layer(nets.seeded(network), (3, side, side))


@pytest.mark.parametrize("name", [name for name in NETWORKS if "efficientnet" not in name])
def test_every_layer_of_a_network_built_by_name_has_the_value_of_a_cloning_reference(name: str) -> None:
    info = NETWORKS[name]
    check_every_layer(info.build(), info.input_size())


@pytest.mark.parametrize("name", nets.AWKWARD)
def test_every_layer_of_an_awkward_network_has_the_value_of_a_cloning_reference(name: str) -> None:
    check_every_layer(nets.build(name), nets.SIZE)


@pytest.mark.parametrize("name", nets.AWKWARD)
def test_a_layer_kept_alone_has_the_value_it_has_among_all(name: str) -> None:
    model, images = Model(nets.build(name), nets.SIZE), nets.images()
    together = model.trace(images, keep=[layer.name for layer in model.layers])
    for layer in model.layers:
        alone = model.trace(images, keep=(layer.name,))
        assert torch.equal(alone.outputs[layer.name], together.outputs[layer.name]), layer.name
        assert torch.equal(alone.scores, together.scores)
        assert alone.names == together.names


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_keeping_layers_changes_neither_scores_nor_gradient(name: str) -> None:
    network = nets.build(name)
    model, images = Model(network, nets.SIZE), nets.images().requires_grad_()
    own = images.detach().clone().requires_grad_()
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    (wanted,) = torch.autograd.grad(frozen(own * 1)[:, 1].sum(), own)
    for keep in [(), *((layer.name,) for layer in model.layers), tuple(layer.name for layer in model.layers)]:
        (gradient,) = torch.autograd.grad(model.trace(images, keep=keep).scores[:, 1].sum(), images)
        assert relative(gradient, wanted) <= 1e-6, keep


@pytest.mark.parametrize("name", sorted({*DIFFERENTIABLE} - {"IdentityThenInPlace"}))
def test_the_gradient_to_a_kept_layer_is_the_slope_of_the_score(name: str) -> None:
    """Grad-CAM needs ∂score/∂layer. Moving a layer a little along that gradient moves the score by its square: checked
    by pushing the layer's value through the network again in a hook, where the layer is a module. (Where a dropout that
    does nothing shares its tensor with the layer before, there is no such thing as moving one of the two alone.)"""
    network = nets.build(name).double()
    model, images = Model(network, nets.SIZE), nets.images().double().requires_grad_()
    names = module_names(model)
    uses: Counter[str] = Counter()
    for layer in model.layers:
        if layer.module is None:
            continue
        module = names[id(layer.module)]
        trace = model.trace(images, keep=(layer.name,))
        kept = trace.outputs[layer.name]
        (gradient,) = torch.autograd.grad(
            trace.scores[:, 1].sum(), kept, allow_unused=True, materialize_grads=True
        )  # a branch that failed reaches no score
        step = 1e-6 * gradient / gradient.norm().clamp_min(1e-12)
        up, down = (_score_with(network, module, uses[module], images.detach(), s * step) for s in (1, -1))
        uses[module] += 1
        assert float(up - down) / 2e-6 == pytest.approx(float(gradient.norm()), rel=1e-3, abs=1e-6), layer.name


def _score_with(network: nn.Module, module: str, wanted: int, images: Tensor, change: Tensor) -> Tensor:
    """The score of class 1 when the output of a module, the `wanted`-th time it runs, is changed a little."""
    own, uses = copy.deepcopy(network).eval(), 0

    def hook(_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        nonlocal uses
        uses += 1
        return output + change if uses - 1 == wanted else output

    own.get_submodule(module).register_forward_hook(hook)
    with torch.no_grad():
        return own(images)[:, 1].sum()


def test_a_later_in_place_relu_does_not_reach_a_kept_layer() -> None:
    network = nets.seeded(nets.AWKWARD["InPlaceModule"]())
    model, images = Model(network, nets.SIZE), nets.images()
    assert torch.equal(model.trace(images, keep=("conv",)).outputs["conv"], network.conv(images))
    assert float(network.conv(images).detach().min()) < 0  # so that the ReLU would have shown


def test_a_kept_view_is_out_of_reach_even_where_pytorch_tracks_no_views() -> None:
    model, images = Model(nets.build("ViewThenInPlace"), nets.SIZE), nets.images()
    with torch.inference_mode():
        flat = model.trace(images, keep=("flatten", "conv")).outputs
    assert torch.equal(flat["flatten"], flat["conv"].flatten(1))
    assert float(flat["flatten"].min()) < 0


def test_every_spelling_of_relu_is_a_layer() -> None:
    model = Model(nets.build("EveryRelu"), nets.SIZE)
    kinds = [layer.kind for layer in model.layers if not layer.name.startswith(("conv", "head"))]
    assert kinds == ["relu", "relu", "relu", "clamp", "relu6", "threshold", "hardtanh", "relu"]
    assert [layer.name for layer in model.layers][1:4] == ["relu", "relu_1", "relu_2"]


def test_a_module_used_again_gets_a_number_that_no_other_layer_has() -> None:
    assert [layer.name for layer in Model(nets.build("Reused"), nets.SIZE).layers][:5] == [
        "conv", "same", "relu", "same_1", "relu_1",
    ]  # fmt: skip
    names = [layer.name for layer in Model(nets.build("NamedLikeAReuse"), nets.SIZE).layers]
    assert names == ["conv", "relu", "relu_1", "relu_1_1", "head.mean", "head.fc"]


def test_until_kept_stops_after_the_last_layer_asked_for() -> None:
    model, images = Model(nets.build("Reused"), nets.SIZE), nets.images()
    short = model.trace(images, keep=("same", "conv"), until_kept=True)
    assert short.names == ["conv", "same"]
    assert not hasattr(short, "scores")
    whole = model.trace(images, keep=("same",))
    assert torch.equal(short.outputs["same"], whole.outputs["same"])


def test_a_network_that_catches_exceptions_does_not_catch_the_early_stop() -> None:
    model = Model(nets.build("Catching"), nets.SIZE)
    trace = model.trace(nets.images(), keep=("first",), until_kept=True)
    assert trace.names == ["conv", "first"]


def test_without_a_layer_to_keep_until_kept_runs_the_whole_pass() -> None:
    model = Model(nets.build("Reused"), nets.SIZE)
    assert model.trace(nets.images(), until_kept=True).scores.shape == (2, nets.CLASSES)


def test_a_branch_on_a_value_is_followed_and_noticed() -> None:
    model = Model(nets.build("Branching"), nets.SIZE)
    assert model.tape.reads_values
    assert "bright" in model.trace(torch.ones(1, *nets.SIZE)).names
    assert "bright" not in model.trace(torch.zeros(1, *nets.SIZE)).names
    assert not Model(nets.build("Reused"), nets.SIZE).tape.reads_values


def test_a_layer_that_another_branch_skips_is_named() -> None:
    class Bright(nets.AWKWARD["Branching"]):  # type: ignore[name-defined,misc]
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(1 - x + 0.3)

    model = Model(nets.seeded(Bright()), nets.SIZE)
    assert model.layer("bright")
    with pytest.raises(LayerError, match="bright did not run for these images: the network takes another branch"):
        model.trace(torch.ones(1, *nets.SIZE), keep=("bright",))


def test_a_network_that_fails_later_leaves_no_trace_behind() -> None:
    model = Model(nets.build("Reused"), nets.SIZE)
    with pytest.raises(NetworkError, match="wants images of N × 3 × 12 × 10, not 2 × 3 × 5 × 5"):
        model.trace(torch.rand(2, 3, 5, 5), keep=("conv",))
    assert model.trace(nets.images(), keep=("conv",)).names[0] == "conv"


def test_what_pytorch_hides_counts_as_seeing_the_whole_image() -> None:
    model = Model(nets.build("Scripted"), nets.SIZE)
    assert [layer.name for layer in model.layers] == ["conv", "relu", "head.mean", "head.fc"]
    assert model.layer("conv").receptive_field.size == (3, 3)
    assert model.layer("relu").receptive_field.is_whole
    assert "unseen" in [step.name for step in model.tape.steps]


def test_a_shared_output_that_is_overwritten_later_still_gives_the_network_s_own_scores() -> None:
    network = nets.build("IdentityThenInPlace")
    model, images = Model(network, nets.SIZE), nets.images().requires_grad_()
    trace = model.trace(images, keep=("drop",))
    network.eval().requires_grad_(False)
    assert relative(trace.scores, network(images.detach())) <= 1e-6
    assert torch.equal(trace.outputs["drop"], network.conv(images))
