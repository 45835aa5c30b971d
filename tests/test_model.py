"""A Model reads a network and changes nothing in it."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnviz import Channel, Class, Model, kernels
from cnnviz.errors import CnnvizError, LayerError, NetworkError
from tests import nets


def state(network: nn.Module) -> dict[str, Any]:
    """Everything about a network that looking at it must not change, byte for byte."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {
        "values": {name: (t.data_ptr(), t.detach().clone()) for name, t in tensors.items()},
        "wants": {name: p.requires_grad for name, p in network.named_parameters()},
        "grad": {name: None if p.grad is None else p.grad.clone() for name, p in network.named_parameters()},
        "modes": {name: m.training for name, m in network.named_modules()},
        "hooks": {
            name: [(kind, len(found)) for kind, found in vars(m).items() if kind.endswith("_hooks")]
            for name, m in network.named_modules()
        },
        "attributes": {name: sorted(vars(m)) for name, m in network.named_modules()},
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, (place, value) in before["values"].items():
        assert after["values"][name][0] == place and torch.equal(after["values"][name][1], value), name
    for name, gradient in before["grad"].items():
        other = after["grad"][name]
        assert (gradient is None) == (other is None) and (gradient is None or torch.equal(gradient, other)), name
    for aspect in ("wants", "modes", "hooks", "attributes"):
        assert before[aspect] == after[aspect]


def look_at_everything(network: nn.Module) -> None:
    model = Model(network, nets.SIZE, mean=0.4, std=0.3)
    images, bright = nets.images().requires_grad_(), torch.ones(1, *nets.SIZE)
    model.scores(images.detach()), model.scores(bright)
    names = [layer.name for layer in model.layers]
    trace = model.trace(images, keep=names)
    model.trace(bright, keep=names[:1], until_kept=True)
    if type(network).__name__ not in nets.WITHOUT_GRADIENT:
        for target in (Class(1), Channel(names[0], 2)):
            torch.autograd.grad(target(trace).sum(), images, retain_graph=True)
    _ = model.digest, model.parameters, repr(model), model.twin()(bright)
    for layer in model.layers:
        if isinstance(layer.module, nn.Conv2d):
            kernels(model, layer.name)
    with pytest.raises(LayerError):
        model.trace(images, keep=("no such layer",))


@pytest.mark.parametrize("name", nets.AWKWARD)
@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_no_weight_buffer_mode_hook_or_gradient(name: str, training: bool) -> None:
    network = nets.build(name).train(training)
    network.head.requires_grad_(False) if hasattr(network, "head") else None
    next(network.parameters()).grad = torch.ones_like(next(network.parameters()))
    network.register_forward_hook(lambda module, inputs, output: None)
    before = state(network)
    look_at_everything(network)
    assert_same(before, state(network))


def test_looking_leaves_the_random_state_alone() -> None:
    network = nets.build("TrainingMode")
    before = torch.get_rng_state()
    look_at_everything(network)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_and_batch_norm_in_training_mode_are_looked_at_in_evaluation_mode() -> None:
    network = nets.build("TrainingMode").train()
    model, images = Model(network, nets.SIZE), nets.images()
    assert model.mode == "train" and Model(copy.deepcopy(network).eval(), nets.SIZE).mode == "eval"
    assert torch.equal(model.scores(images), model.scores(images))
    assert torch.equal(model.scores(images), copy.deepcopy(network).eval()(images).detach())


def test_a_buffer_that_only_some_inputs_write_to_stays_the_person_s_own() -> None:
    network = nets.build("Counting")
    model = Model(network, nets.SIZE)
    model.scores(torch.ones(1, *nets.SIZE))
    assert int(network.passes) == int(network.bright) == 0


def test_training_the_network_changes_what_its_model_sees_and_the_digest() -> None:
    network = nets.build("TrainingMode")
    model, images = Model(network, nets.SIZE), nets.images()
    scores, digest = model.scores(images), model.digest
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    network.train()(images).square().sum().backward()
    optimiser.step()
    assert not torch.equal(model.scores(images), scores) and model.digest != digest
    network.eval()
    assert torch.equal(model.scores(images), network(images).detach())  # the running statistics moved as well


def test_the_digest_is_that_of_weights_preprocessing_and_structure() -> None:
    network = nets.build("InPlaceIgnored")
    digest = Model(network, nets.SIZE).digest
    assert digest == Model(copy.deepcopy(network), nets.SIZE).digest
    assert digest == Model(network.to(memory_format=torch.channels_last), nets.SIZE).digest
    assert digest != Model(network, nets.SIZE, mean=0.5).digest
    assert digest != Model(network, (3, 12, 12)).digest
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.conv.bias[2] += 1e-6
    assert digest != Model(changed, nets.SIZE).digest


def test_two_networks_with_the_same_weights_and_another_forward_differ_in_digest() -> None:
    class Leaky(nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.conv, self.head, self.slope = nn.Conv2d(3, 4, 3), nets._Head(), slope

        def forward(self, x: Tensor) -> Tensor:
            return self.head(nn.functional.leaky_relu(self.conv(x), self.slope))

    assert Model(nets.seeded(Leaky(0.1)), nets.SIZE).digest != Model(nets.seeded(Leaky(0.2)), nets.SIZE).digest


def test_the_digest_is_the_same_in_another_process() -> None:
    code = "from tests import nets; from cnnviz import Model; print(Model(nets.build('Reused'), nets.SIZE).digest)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == Model(nets.build("Reused"), nets.SIZE).digest


def test_the_model_normalises_with_its_own_mean_and_std() -> None:
    network = nets.build("Reused").eval()
    model, images = Model(network, nets.SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)), nets.images()
    by_hand = (images - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    assert torch.allclose(model.scores(images), network(by_hand).detach(), rtol=1e-6, atol=0)


def test_a_float64_network_computes_in_float64() -> None:
    network = nets.build("Reused").double().eval()
    model, images = Model(network, nets.SIZE), nets.images()
    assert model.scores(images).dtype == torch.float64
    assert torch.equal(model.scores(images), network(images.double()).detach())


def test_a_channels_last_network_gives_the_same_layers() -> None:
    network = nets.build("InPlaceResidual")
    images, names = nets.images(), ["conv", "second", "add"]
    usual = Model(copy.deepcopy(network), nets.SIZE).trace(images, keep=names).outputs
    other = Model(network.to(memory_format=torch.channels_last), nets.SIZE).trace(images, keep=names).outputs
    for name in names:
        assert float((usual[name] - other[name]).norm() / usual[name].norm()) < 1e-6


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_a_wrapped_network_shows_what_is_inside(wrap: Any) -> None:
    network = nets.build("Reused").eval()
    model, images = Model(wrap(network), nets.SIZE), nets.images()
    assert model.layers[0].name == "conv"
    assert torch.equal(model.scores(images), network(images).detach())


def test_a_compiled_part_of_a_network_shows_what_is_inside() -> None:
    network = nets.build("ContainerStep").eval()
    plain = Model(copy.deepcopy(network), nets.SIZE)
    network.gate = torch.compile(network.gate)
    model = Model(network, nets.SIZE)
    assert [layer.name for layer in model.layers] == [layer.name for layer in plain.layers]
    assert torch.equal(model.scores(nets.images()), plain.scores(nets.images()))


def test_one_class_is_enough() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 3, 1))
    model = Model(network, (1, 8, 5), classes=["cat"])
    assert model.classes == ("cat",) and model.scores(torch.rand(2, 1, 8, 5)).shape == (2, 1)


def test_a_picture_that_is_not_square_keeps_its_sides_apart() -> None:
    model = Model(nets.build("Reused"), (3, 7, 13))
    assert model.layer("conv").shape == (4, 7, 13)
    assert model.layer("conv").receptive_field.box(6, 12) == (5, 11, 7, 13)


def test_layers_say_what_they_are() -> None:
    model = Model(nets.build("InPlaceResidual"), nets.SIZE)
    table = [(layer.name, layer.kind, layer.shape, layer.parameters, layer.signed) for layer in model.layers]
    assert table == [
        ("conv", "Conv2d", (4, 12, 10), 3 * 4 * 9 + 4, True),
        ("relu", "ReLU", (4, 12, 10), 0, False),
        ("second", "Conv2d", (4, 12, 10), 4 * 4 * 9 + 4, True),
        ("add", "add", (4, 12, 10), 0, True),
        ("relu_1", "ReLU", (4, 12, 10), 0, False),
        ("head.mean", "mean", (4,), 0, False),
        ("head.fc", "Linear", (3,), 4 * 3 + 3, True),
    ]


def test_a_block_s_own_step_is_a_layer_under_the_block_s_name() -> None:
    names = [layer.name for layer in Model(nets.build("ContainerStep"), nets.SIZE).layers]
    assert names == ["conv", "gate.conv", "gate.mul", "head.mean", "head.fc"]


def test_a_reparametrised_convolution_is_one_layer_with_its_true_kernel() -> None:
    network = nets.build("Reparametrised")
    model = Model(network, nets.SIZE)
    assert [layer.name for layer in model.layers] == ["conv", "relu", "head.mean", "head.fc"]
    assert torch.equal(torch.from_numpy(kernels(model, "conv")), network.conv.weight.detach())
    assert model.layer("conv").parameters == sum(p.numel() for p in network.conv.parameters())


@pytest.mark.parametrize("name", nets.AWKWARD)
def test_the_layers_own_all_parameters_that_ran_and_none_twice(name: str) -> None:
    model = Model(nets.build(name), nets.SIZE)
    idle = {"Branching": 4 * 4 + 4}.get(name, 0)
    assert sum(layer.parameters for layer in model.layers) + idle == model.parameters


SIGNS = {
    "relu minus": (lambda x: torch.relu(x) * -1, True),
    "relu plus bias": (lambda x: torch.relu(x) + torch.tensor([-1.0, 0, 1, 2]).view(1, 4, 1, 1), True),
    "relu6 as hardtanh": (lambda x: nn.functional.hardtanh(x, 0.0, 6.0), False),
    "hardtanh": (lambda x: nn.functional.hardtanh(x), True),
    "clamp": (lambda x: x.clamp(min=0), False),
    "clamp below": (lambda x: x.clamp(-1, 1), True),
    "sum of relus": (lambda x: torch.relu(x) + torch.relu(-x), False),
    "sum with a convolution": (lambda x: torch.relu(x) + x, True),
    "pooled relu": (lambda x: nn.functional.avg_pool2d(torch.relu(x), 2), False),
    "relu padded below": (lambda x: nn.functional.pad(torch.relu(x), (1, 1), value=-1.0), True),
    "silu": (nn.functional.silu, True),
    "sigmoid": (torch.sigmoid, False),
}


@pytest.mark.parametrize("case", SIGNS)
def test_a_layer_is_signed_where_it_can_fall_below_zero(case: str) -> None:
    function, signed = SIGNS[case]

    class Net(nets._OneConv):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.dropout(function(self.conv(x)), 0.5, False))

    model = Model(nets.seeded(Net()), nets.SIZE)
    assert next(layer for layer in model.layers if layer.kind == "dropout").signed == signed


def test_arithmetic_is_counted_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 2)),  # 8 maps of 6 × 5, each cell 3·3·5 products
        nn.Conv2d(8, 8, 3, padding=1, groups=4),  # each cell 2·9
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2),  # each of the 8·6·5 inputs reaches 2·2·2 outputs
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 12 * 10, 3),
    )
    macs = [layer.macs for layer in Model(network, nets.SIZE).layers]
    assert macs == [8 * 6 * 5 * 45, 8 * 6 * 5 * 18, 8 * 6 * 5 * 8, 0, 0, 480 * 3]


def test_arithmetic_of_matrix_products_and_attention_is_counted() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.weight = nn.Parameter(torch.randn(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).transpose(1, 2)  # (N, 6, 4)
            tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
            return (tokens @ tokens.transpose(1, 2) @ tokens).mean(1) @ self.weight

    model = Model(Attention(), (4, 2, 3))
    projections, products = 4 * 6 * 4 * 4, 2 * 6 * 6 * 4
    assert sum(layer.macs for layer in model.layers) == projections + products + 6 * 4 * 6 + 6 * 6 * 4 + 4 * 3


REFUSED = {
    "TwoInputs": r"TwoInputs takes 2 inputs \(x, mask\).*wrap it in a module",
    "TwoOutputs": "the network gives a tuple of 2; cnnviz needs one tensor of scores",
    "FailsHalfWay": r"fails on an image of 3 × 12 × 10 \(.*\); the last layer that ran was flatten",
    "Squeezing": r"the network gives a tensor of 3; cnnviz needs one tensor of scores \(images × classes\)",
    "Locked": "Locked cannot be copied .* keep locks and files out of the network",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(NetworkError, match=REFUSED[name]) as problem:
        Model(getattr(nets, name)(), nets.SIZE)
    assert "\n" not in str(problem.value)


def test_a_network_that_fails_at_once_says_that_no_layer_had_run() -> None:
    with pytest.raises(NetworkError, match="no layer had run"):
        Model(nn.Sequential(nn.Conv2d(1, 2, 3)), nets.SIZE)


def test_a_lazy_network_that_never_ran_says_what_to_do() -> None:
    with pytest.raises(NetworkError, match="run lazy layers once before"):
        Model(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2)), nets.SIZE)


WRONG = {
    "three numbers": ({"size": (3, 12)}, "size must be"),
    "above nothing": ({"size": (3, 0, 10)}, "size must be"),
    "mean for each channel": ({"size": nets.SIZE, "mean": (0.5, 0.5)}, "mean has 2 numbers for 3 channels"),
    "std of nothing": ({"size": nets.SIZE, "std": 0.0}, "std is .* above 0"),
    "infinite mean": ({"size": nets.SIZE, "mean": float("nan")}, "mean is .* finite"),
    "too few names": ({"size": nets.SIZE, "classes": ["a"]}, "1 class names for a network with 3 scores"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_preprocessing_is_refused(case: str) -> None:
    arguments, sentence = WRONG[case]
    with pytest.raises(CnnvizError, match=sentence):
        Model(nets.build("Reused"), **arguments)


def test_images_of_another_kind_are_refused() -> None:
    model = Model(nets.build("Reused"), nets.SIZE)
    for wrong in (torch.rand(3, 12, 10), torch.rand(1, 1, 12, 10), [1, 2], torch.rand(0, *nets.SIZE)):
        with pytest.raises(NetworkError):
            model.scores(wrong)  # type: ignore[arg-type]


def test_an_unknown_layer_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(LayerError, match="conv9 is not a layer of this network; its layers are conv, same, relu"):
        Model(nets.build("Reused"), nets.SIZE).layer("conv9")


def test_a_scripted_network_gives_scores_and_says_that_its_layers_are_hidden() -> None:
    network = nets.build("InPlaceModule").eval()
    scripted = torch.jit.trace(network, nets.images())
    model = Model(scripted, nets.SIZE)
    assert torch.allclose(model.scores(nets.images()), network(nets.images()).detach(), rtol=1e-6)
    assert model.layers == ()
    with pytest.raises(LayerError, match="does not show its layers"):
        model.layer("conv")


def test_a_fresh_twin_shares_the_weights_and_has_no_hooks() -> None:
    network = nets.build("TrainingMode")
    twin = Model(network, nets.SIZE).twin()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in twin.modules())
    assert twin.conv.weight.data_ptr() == network.conv.weight.data_ptr()
    assert not any(parameter.requires_grad for parameter in twin.parameters())
