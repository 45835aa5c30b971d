"""Every method by its definition: small enough to work out by hand, or against another library."""

from importlib import import_module

import numpy as np
import pytest
import torch
from captum import attr as captum
from torch import nn
from torch.nn import functional as F

import cnnviz
from cnnviz import METHODS, Channel, Class, Difference, Model, Neuron, Sum, WholeLayer, explain, explained
from cnnviz.attribution.explanation import LITTLE_CHANGE
from tests.attribution.nets import SPELLINGS, Small, images, relative_error, seeded, small

GRADIENTS = ("saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "guided_backprop", "deconvnet")
TARGETS = (
    Class(1),
    Class(1, "probability"),
    Class(1, "log_probability"),
    Difference(0, 2),
    Channel("conv2", 3),
    Channel("conv2", 3, "sum"),
    Channel("conv2", 3, "max"),
    Channel("fc", 2),
    Neuron("conv1", 2, 3, 4),
    WholeLayer("max_pool2d"),
    Sum((Class(0), Channel("conv2", 3))),
)


class Linear(nn.Module):
    """Scores that are one weighted sum of the pixels each."""

    def __init__(self, size=(2, 4, 4), classes=3, factor=1.0):
        super().__init__()
        count = size[0] * size[1] * size[2]
        self.weight = nn.Parameter(torch.arange(classes * count).float().reshape(classes, count).sin())
        self.factor = factor

    def forward(self, x):
        return F.linear(x.flatten(1), self.weight) * self.factor


class Quadratic(nn.Module):
    def forward(self, x):
        squares = x.square().flatten(1).sum(1, keepdim=True)
        return torch.cat([squares, -squares], 1)


def linear(**options):
    return Model(Linear(**options), (2, 4, 4))


def weights_of(model, index):
    return model.network.weight[index].detach().reshape(1, *model.size)


# by hand ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["saliency", "smoothgrad", "guided_backprop", "deconvnet"])
def test_the_map_of_a_linear_network_is_its_weights(method):
    model = linear()
    assert relative_error(explain(method, model, images(1, (2, 4, 4)), 1), weights_of(model, 1)) <= 1e-6


def test_contributions_in_a_linear_network_are_weight_times_pixel():
    model, x = linear(), images(1, (2, 4, 4))
    assert relative_error(explain("input_x_gradient", model, x, 1), weights_of(model, 1) * x) <= 1e-6
    assert relative_error(explain("integrated_gradients", model, x, 1), weights_of(model, 1) * x) <= 1e-6
    white = explain("integrated_gradients", model, x, 1, baseline="white")
    assert relative_error(white, weights_of(model, 1) * (x - 1)) <= 1e-6


def test_the_slope_of_a_sum_of_squares_is_twice_the_pixel():
    x = images(2, (1, 3, 3))
    assert relative_error(explain("saliency", Model(Quadratic(), (1, 3, 3)), x, 0), 2 * x) <= 1e-6


def test_the_gradient_is_with_respect_to_pixels_and_not_to_normalised_input():
    x = images(1, (2, 4, 4))
    plain, scaled = linear(), Model(Linear(), (2, 4, 4), mean=(0.1, 0.2), std=(0.5, 0.25))
    std = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    assert relative_error(explain("saliency", scaled, x, 1), weights_of(plain, 1) / std) <= 1e-6


@pytest.mark.parametrize("method", GRADIENTS)
def test_scores_times_three_are_maps_times_three(method):
    x = images(1, (2, 4, 4))
    assert relative_error(explain(method, linear(factor=3.0), x, 1), 3 * explain(method, linear(), x, 1)) <= 1e-6


def test_smoothgrad_averages_signed_slopes_of_the_noise_it_states():
    model, x = Model(Quadratic(), (1, 64, 64)), images(1, (1, 64, 64))
    noise = explain("smoothgrad", model, x, 0, samples=2, level=0.2)[0] / 2 - x[0].numpy()  # mean of two draws
    assert noise.std() * 2**0.5 == pytest.approx(0.2 * float(x.max() - x.min()), rel=0.05)
    assert abs(noise.mean()) < 0.01


def test_smoothgrad_depends_on_its_seed_alone():
    model, x = small(), images(2)
    first = explain("smoothgrad", model, x, 1, samples=5, seed=1)
    torch.manual_seed(5)
    torch.rand(3)
    assert np.array_equal(first, explain("smoothgrad", model, x, 1, samples=5, seed=1))
    assert relative_error(explain("smoothgrad", model, x, 1, samples=5, seed=2), first) > 0.001
    assert relative_error(explain("smoothgrad", model, x[1:], 1, samples=5, seed=1), first[1:]) <= 1e-5


def test_integrated_gradients_add_up_to_the_change_of_the_score():
    model, x = small(mean=0.3, std=0.5), images(3)
    for baseline in ("black", "white", "grey", "mean", "blur"):
        answer = explained("integrated_gradients", model, x, Difference(0, 1), steps=256, baseline=baseline)
        assert answer.facts.gap.shape == (3,)
        assert answer.facts.gap.max() < 0.05
    change = model.scores(x) - model.scores(torch.zeros_like(x))
    answer = explained("integrated_gradients", model, x, Difference(0, 1), steps=64)
    gap = abs(answer.values.sum((1, 2, 3)) - (change[:, 0] - change[:, 1]).numpy())
    assert np.allclose(gap / abs(change[:, 0] - change[:, 1]).numpy(), answer.facts.gap, atol=1e-4)
    assert any("add up to the difference" in sentence for sentence in answer.sentences)


def test_a_large_gap_over_a_change_near_nothing_is_said_to_be_just_that():
    class Rivals(nn.Module):
        """One score: what the left pixel gives the right one takes away, by another curve."""

        def forward(self, x):
            return (torch.tanh(3 * x[..., 0]) - torch.tanh(5 * x[..., 1])).flatten(1)

    model = Model(Rivals(), (1, 1, 2))
    both, left = torch.tensor([[[[1.0, 1.0]]], [[[1.0, 0.0]]]]).split(1)
    told = [explained("integrated_gradients", model, x, 0, steps=4).facts for x in (both, left)]
    assert told[0].gap > 1 and LITTLE_CHANGE in told[0].notes
    assert LITTLE_CHANGE not in told[1].notes


def test_the_mean_baseline_is_the_colour_that_normalisation_makes_zero():
    model = Model(Linear(), (2, 4, 4), mean=(0.25, 0.75), std=(0.5, 0.5))
    mean = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)
    x = images(1, (2, 4, 4))
    expected = weights_of(model, 0) / 0.5 * (x - mean)
    assert relative_error(explain("integrated_gradients", model, x, 0, baseline="mean"), expected) <= 1e-6


class Pooled(nn.Module):
    """Global average pooling and one linear layer: the network that class activation maps were made for."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        return self.fc(F.relu(self.conv2(F.relu(self.conv1(x)))).mean((2, 3)))


def test_grad_cam_on_a_pooled_network_is_the_class_activation_map_over_the_number_of_cells():
    network = seeded(Pooled())
    model, x = Model(network, (1, 8, 8)), images(2)
    maps = model.trace(x, keep=("relu_1",)).outputs["relu_1"]
    activation = torch.einsum("k,nkij->nij", network.fc.weight[2].detach(), maps)[:, None].relu() / 16
    expected = F.interpolate(activation, (8, 8), mode="bilinear", align_corners=False)
    assert relative_error(explain("grad_cam", model, x, 2, layer="relu_1"), expected) <= 1e-6


def test_grad_cam_takes_the_last_convolution_before_the_target_with_its_relu():
    model, x = small(), images(1)
    assert explained("grad_cam", model, x, 1).facts.layer == "relu_1"
    assert explained("grad_cam", model, x, Channel("conv2", 0)).facts.layer == "relu"
    assert explain("grad_cam", model, x, 1).shape == (1, 1, 8, 8)
    assert (explain("grad_cam", model, x, 1) >= 0).all()


def test_guided_grad_cam_is_the_product():
    model, x = small(), images(2)
    product = explain("guided_backprop", model, x, 1) * explain("grad_cam", model, x, 1)
    assert relative_error(explain("guided_grad_cam", model, x, 1), product) <= 1e-6


# for every method ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_the_shape_of_their_images_and_a_sign_only_where_declared(method):
    model, x = small(), images(3)
    answer = explained(method, model, x, 1)
    assert answer.values.shape == (3, 1, 8, 8)
    assert np.isfinite(answer.values).all() and answer.values.any()
    assert answer.signed == METHODS[method].signed
    assert answer.signed or (answer.values >= 0).all()
    assert METHODS[method].paper and METHODS[method].summary.endswith(".")


@pytest.mark.parametrize("method", METHODS)
def test_permuting_a_batch_permutes_its_maps(method):
    model, x = small(), images(4)
    order = [2, 0, 3, 1]
    assert relative_error(explain(method, model, x[order], 1), explain(method, model, x, 1)[order]) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_list_of_targets_has_one_for_each_image(method):
    model, x = small(), images(3)
    aims = [Class(0), Neuron("conv2", 1, 2, 2), 2]
    together = explain(method, model, x, aims)
    if METHODS[method].options and any(option.name == "layer" for option in METHODS[method].options):
        aims = [0, 2, 1]  # the default layer depends on the target
        together = explain(method, model, x, aims)
    for row, aim in enumerate(aims):
        alone = explain(method, model, x[row : row + 1], aim)
        assert relative_error(together[row : row + 1], alone) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_large_batches_are_cut_and_joined(method, monkeypatch):
    model, x = small(), images(7)
    whole = explained(method, model, x, 1)
    monkeypatch.setattr(import_module("cnnviz.attribution.method"), "_PIXELS_AT_ONCE", 4 * 64)
    parts = explained(method, model, x, 1)
    assert relative_error(parts.values, whole.values) <= 1e-5
    assert whole.facts.score is None or np.allclose(parts.facts.score, whole.facts.score, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.text)
def test_saliency_is_the_slope_that_finite_differences_find(target):
    model = Model(seeded(Small(SPELLINGS["F.relu"]()).double()), (1, 8, 8), mean=0.2, std=0.4)
    x = images(1, dtype=torch.float64)
    slopes = explain("saliency", model, x, target)
    assert slopes.dtype == np.float64
    cells = np.unravel_index(np.argsort(abs(slopes), axis=None)[-5:], slopes.shape)
    for cell in zip(*cells, strict=True):
        step = torch.zeros_like(x)
        step[cell] = 1e-6
        up, down = (target(model.trace(x + s * step, keep=target.layers)) for s in (1, -1))
        assert slopes[cell] == pytest.approx(float((up - down) / 2e-6), rel=1e-4)


def test_a_neuron_is_moved_only_by_pixels_it_sees():
    model = small()
    box = model.layer("conv2").receptive_field.box(1, 2)
    inside = np.zeros((8, 8), bool)
    inside[box[0] : box[2], box[1] : box[3]] = True
    for method in ("saliency", "guided_backprop", "deconvnet"):
        values = explain(method, model, images(1), Neuron("conv2", 2, 1, 2))[0, 0]
        assert values[inside].any() and not values[~inside].any()


# second opinions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "peer"),
    [("saliency", captum.Saliency), ("guided_backprop", captum.GuidedBackprop), ("deconvnet", captum.Deconvolution)],
)
def test_captum_agrees_on_a_network_of_relu_modules(method, peer):
    network = seeded(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(),
                                   nn.Linear(80, 3)))  # fmt: skip
    model, x = Model(network, (1, 8, 8), mean=0.3, std=0.25), images(2)
    options = {"abs": False} if method == "saliency" else {}
    theirs = peer(model.twin()).attribute(model.normalised(x).requires_grad_(), target=1, **options) / 0.25
    assert relative_error(explain(method, model, x, 1), theirs.detach()) <= 1e-6


def test_captum_agrees_on_integrated_gradients():
    model, x = small(), images(2)
    theirs = captum.IntegratedGradients(model.twin()).attribute(x, target=1, n_steps=32, method="riemann_middle")
    assert relative_error(explain("integrated_gradients", model, x, 1, steps=32), theirs.detach()) <= 1e-5


def test_captum_agrees_on_grad_cam():
    model, x = small(), images(2)
    twin = model.twin()
    theirs = captum.LayerGradCam(twin, twin.conv2).attribute(x, target=1, relu_attributions=True)
    theirs = F.interpolate(theirs, (8, 8), mode="bilinear", align_corners=False)
    assert relative_error(explain("grad_cam", model, x, 1, layer="conv2"), theirs.detach()) <= 1e-6


# what people get wrong ----------------------------------------------------------------------------------------------

WRONG = {
    "no such method": (lambda m, x: explain("magic", m, x, 0), "not a method; the methods are saliency"),
    "no such option": (lambda m, x: explain("saliency", m, x, 0, samples=3), "no option samples; it has none"),
    "option out of range": (lambda m, x: explain("smoothgrad", m, x, 0, samples=0), "from 2 to 256"),
    "no such baseline": (lambda m, x: explain("integrated_gradients", m, x, 0, baseline="red"), "one of black"),
    "no such class": (lambda m, x: explain("saliency", m, x, 3), "class 3 does not exist"),
    "no such layer": (lambda m, x: explain("saliency", m, x, Channel("conv9", 0)), "conv9 is not a layer"),
    "no such cell": (lambda m, x: explain("saliency", m, x, Neuron("conv1", 0, 8, 0)), "no row 8"),
    "too few targets": (lambda m, x: explain("saliency", m, x, [0]), "1 targets for 2 images"),
    "no images": (lambda m, x: explain("saliency", m, x[:0], 0), "a batch of 0 images"),
    "wrong size": (lambda m, x: explain("saliency", m, x[..., 1:], 0), "1 × 8 × 8"),
    "not a number": (lambda m, x: explain("saliency", m, x / 0, 0), "not finite"),
    "a vector layer": (lambda m, x: explain("grad_cam", m, x, 0, layer="fc"), "no rows and columns"),
    "a layer after the target": (
        lambda m, x: explain("grad_cam", m, x, Channel("conv1", 0), layer="conv2"),
        "does not depend on layer conv2",
    ),
    "no layer before": (lambda m, x: explain("grad_cam", m, x, Channel("conv1", 0)), "none before the target"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_answered_with_one_sentence(what):
    call, words = WRONG[what]
    with pytest.raises(cnnviz.errors.CnnvizError, match=words) as problem:
        call(small(), images(2))
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_not_numbers_are_reported_by_every_method(method):
    network = seeded(Small(SPELLINGS["F.relu"]()))
    model = Model(network, (1, 8, 8))
    with torch.no_grad():
        network.conv2.weight[0] = float("nan")
    with pytest.raises(cnnviz.errors.CnnvizError, match="not a finite number"):
        explain(method, model, images(1), 0)


def test_a_constant_image_has_a_smoothgrad_that_is_the_plain_gradient_and_says_so():
    model, x = small(), torch.full((1, 1, 8, 8), 0.5)
    answer = explained("smoothgrad", model, x, 0, samples=3)
    assert relative_error(answer.values, explain("saliency", model, x, 0)) <= 1e-6
    assert "constant" in answer.sentences[0]


class Broken(Small):
    def __init__(self, break_it):
        super().__init__(F.relu)
        self.break_it = break_it

    def forward(self, x):
        return super().forward(self.break_it(x))


@pytest.mark.parametrize("break_it", [lambda x: x.detach(), lambda x: (x > 0.5).float(), lambda x: x.data * 2])
def test_a_graph_that_is_cut_is_reported(break_it):
    with pytest.raises(cnnviz.errors.CnnvizError, match="as far as autograd can see"):
        explain("guided_backprop", Model(seeded(Broken(break_it)), (1, 8, 8)), images(1), 0)


def test_a_network_that_autograd_refuses_is_reported():
    def overwrite(x):
        y = torch.sigmoid(x)
        return y + y.mul_(2)

    with pytest.raises(cnnviz.errors.CnnvizError, match="cannot be differentiated"):
        explain("saliency", Model(seeded(Broken(overwrite)), (1, 8, 8)), images(1), 0)


def test_maps_can_be_made_where_gradients_are_switched_off():
    model, x = small(), images(1)
    expected = explain("guided_backprop", model, x, 0)
    with torch.no_grad():
        assert np.array_equal(explain("guided_backprop", model, x, 0), expected)
    with torch.inference_mode():
        assert np.array_equal(explain("guided_backprop", model, images(1), 0), expected)


def test_the_images_are_left_as_they_came():
    x = images(1)
    explain("saliency", small(), x, 0)
    assert not x.requires_grad and x.grad is None and torch.equal(x, images(1))


def test_where_a_method_contributes_its_values_say_what_a_linear_network_would_lose():
    model, x = linear(), images(1, (2, 4, 4))
    found = {name for name, method in METHODS.items() if method.contributes}
    assert found == {"input_x_gradient", "integrated_gradients", "occlusion"}
    for name in ("input_x_gradient", "integrated_gradients"):
        assert explain(name, model, x, 1).sum() == pytest.approx(float(model.scores(x)[0, 1]), rel=1e-5)
