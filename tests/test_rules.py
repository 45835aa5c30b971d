"""Rules at the rectifiers of an autograd graph: by hand, and which nodes count as rectifiers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnviz import Model, explain, explained, rules
from tests.attribution.nets import SPELLINGS, Skip, images, relative_error, seeded, small

WEIGHTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("rule", "expected"), [("plain", (-2.0, -3.0)), ("deconvnet", (1.0, 1.0)), ("guided", (1.0, 0.0))]
)
def test_the_toy_network_gives_the_numbers_worked_out_by_hand(spelling, rule, expected):
    x = torch.tensor([[2.0, -1.0]], requires_grad=True)
    y = (SPELLINGS[spelling]()(x @ WEIGHTS.T) * torch.tensor([1.0, 1.0, -3.0])).sum(1)
    slopes, _ = rules.gradient(y, x, rules.RULES[rule])
    assert slopes.tolist() == [list(expected)]


@pytest.mark.parametrize(
    ("function", "name", "is_rectifier"),
    [
        (F.relu, "ReluBackward0", True),
        (F.relu6, "HardtanhBackward0", True),
        (F.hardtanh, "HardtanhBackward0", False),
        (lambda x: x.clamp(min=0), "ClampBackward1", True),
        (lambda x: x.clamp(-1, 1), "ClampBackward1", False),
        (lambda x: x.clamp(max=0), "ClampBackward1", False),
        (lambda x: x.clamp_min(0), "ClampMinBackward0", True),
        (lambda x: x.clamp_min(-1), "ClampMinBackward0", False),
        (lambda x: F.threshold(x, 0, 0), "ThresholdBackward0", True),
        (lambda x: F.threshold(x, 0, 0, inplace=True), "ThresholdBackward1", True),
        (lambda x: F.threshold(x, 1, 0), "ThresholdBackward0", False),
        (lambda x: torch.maximum(x, torch.zeros(())), "MaximumBackward0", False),
        (F.silu, "SiluBackward0", False),
        (F.gelu, "GeluBackward0", False),
        (F.leaky_relu, "LeakyReluBackward0", False),
        (F.elu, "EluBackward0", False),
        (F.hardswish, "HardswishBackward0", False),
        (F.softplus, "SoftplusBackward0", False),
        (F.mish, "MishBackward0", False),
        (lambda x: F.prelu(x, torch.tensor(0.2)), "PreluKernelBackward0", False),
    ],
)
def test_these_node_names_and_bounds_decide_what_is_guided(function, name, is_rectifier):
    node = function(torch.randn(3, requires_grad=True) * 1).grad_fn
    found = rules.count([node])
    assert node.name() == name
    assert (sum(found.guided.values()), sum(found.left_alone.values())) == (is_rectifier, not is_rectifier)


def test_relu6_is_named_and_gated_on_both_sides():
    x = torch.tensor([[-1.0, 3.0, 7.0]], requires_grad=True)
    slopes, found = rules.gradient(F.relu6(x).sum(1), x, rules.guided)
    assert slopes.tolist() == [[0, 1, 0]]
    assert found.guided == {"ReLU6": 1}


def test_an_input_that_goes_round_the_rectifier_keeps_its_plain_gradient():
    x = torch.tensor([[2.0, 2.0]], requires_grad=True)
    y = ((F.relu(x) + x) * torch.tensor([1.0, -1.0])).sum(1)
    slopes, _ = rules.gradient(y, x, rules.guided)
    assert slopes.tolist() == [[2.0, -1.0]]  # clipping the sum of both ways would give (2, 0)


def test_redirected_lets_a_blocked_sample_through_where_it_helps_and_leaves_the_others():
    x = torch.tensor([[-1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    y = (F.relu(x) * torch.tensor([1.0, -1.0])).sum(1)
    slopes, _ = rules.gradient(y, x, rules.redirected)
    assert slopes.tolist() == [[1, 0], [0, -1]]


def test_redirected_pushes_a_saturated_relu6_down():
    x = torch.tensor([[7.0, 8.0]], requires_grad=True)
    slopes, _ = rules.gradient((F.relu6(x) * torch.tensor([1.0, -2.0])).sum(1), x, rules.redirected)
    assert slopes.tolist() == [[0, -2]]


def test_without_rectifiers_the_sentence_says_plain_gradient():
    x = torch.randn(1, 3, requires_grad=True)
    _, found = rules.gradient(F.silu(x).sum(1), x, rules.guided)
    assert found.left_alone == {"SiLU": 1}
    assert len(found.sentences) == 1
    assert "plain gradient" in found.sentences[0] and "1 SiLU" in found.sentences[0]


def test_an_activation_that_is_a_function_of_its_own_is_reported():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, arriving):
            return arriving

    x = torch.randn(1, 3, requires_grad=True)
    _, found = rules.gradient(F.relu(Own.apply(x)).sum(1), x, rules.guided)
    assert found.guided == {"ReLU": 1}
    assert found.left_alone == {"function of its own (Own)": 1}


def test_with_only_positive_weights_and_open_rectifiers_all_rules_agree():
    network = seeded(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2)))
    for parameter in network.parameters():
        parameter.data.abs_()
    x = images(1).requires_grad_()
    results = [rules.gradient(network(x)[:, 0], x, rule)[0] for rule in rules.RULES.values()]
    assert all(torch.equal(result, results[0]) for result in results)


def test_hooks_are_gone_when_the_gradient_fails():
    x = torch.randn(1, 3, requires_grad=True)
    y = F.relu(x)
    with pytest.raises(RuntimeError):
        rules.gradient(y.sum(1), torch.randn(1, requires_grad=True), rules.guided)
    z = torch.autograd.grad((y * torch.tensor([1.0, -1.0, -1.0])).sum(), x)[0]
    assert torch.equal(z, (x > 0) * torch.tensor([1.0, -1.0, -1.0]))


def test_every_spelling_gives_the_same_maps():
    x = images()
    for method in ("guided_backprop", "deconvnet"):
        reference = small("nn.ReLU")
        for spelling in SPELLINGS:
            assert relative_error(explain(method, small(spelling), x, 1), explain(method, reference, x, 1)) == 0


def test_skip_networks_are_guided_at_every_rectifier():
    answer = explained("guided_backprop", Model(seeded(Skip()), (1, 8, 8)), images(), 0)
    assert answer.facts.rectifiers.guided == {"ReLU": 2}
