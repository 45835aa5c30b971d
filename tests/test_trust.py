"""Trust in a map, on networks where the right answer is known beforehand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import cnnviz
from cnnviz import Channel, Class, Model, explain, trust
from tests.attribution.nets import SPELLINGS, Skip, Small, images, seeded, small
from tests.attribution.test_threads import fingerprint


def last(parts):
    return list(parts)[-1]


def test_randomisation_goes_from_the_top_down_and_says_how_far_it_is():
    parts = list(trust.randomisation("saliency", small(), images(1), 1))
    assert [part.done for part in parts] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [stage.layer for stage in parts[-1].stages] == ["fc", "conv2", "conv1"]
    assert [len(part.stages) for part in parts] == [1, 2, 3]
    grouped = last(trust.randomisation("saliency", small(), images(1), 1, stages=2))
    assert [stage.layer for stage in grouped.stages] == ["conv2", "conv1"]


def test_randomisation_leaves_the_shared_network_alone():
    network = seeded(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)))
    model = Model(network, (1, 8, 8))
    before, scores = fingerprint(network), model.scores(images(1))
    list(trust.randomisation("saliency", model, images(1), 1))
    assert fingerprint(network) == before
    assert torch.equal(model.scores(images(1)), scores)


def test_randomisation_depends_on_its_seed_alone():
    def run(seed):
        return last(trust.randomisation("saliency", small(), images(1), 1, seed=seed)).stages

    first = run(3)
    torch.manual_seed(1)
    assert run(3) == first
    assert run(4) != first


class Edges(nn.Module):
    """Its pixel gradient ends at fixed weights, so its map hardly depends on what was learned."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 2)

    def forward(self, x):
        return self.fc(x.square().flatten(1).sum(1, keepdim=True))


def test_a_map_that_ignores_the_weights_is_exposed():
    found = last(trust.randomisation("saliency", Model(seeded(Edges()), (1, 12, 12)), images(1, (1, 12, 12)), 0))
    assert found.stages[0].spearman == pytest.approx(1)
    assert found.stages[0].ssim == pytest.approx(1, abs=1e-5)
    assert "more than what the network learned" in found.sentence


def test_a_map_that_is_the_weights_loses_all_likeness():
    model = Model(seeded(nn.Sequential(nn.Flatten(), nn.Linear(400, 2))), (1, 20, 20))
    found = last(trust.randomisation("saliency", model, images(1, (1, 20, 20)), 0))
    assert abs(found.stages[0].spearman) < 0.2
    assert "as it should" in found.sentence


def test_only_layers_before_the_target_are_made_random():
    found = last(trust.randomisation("saliency", small(), images(1), Channel("conv1", 0)))
    assert [stage.layer for stage in found.stages] == ["conv1"]


def test_networks_whose_layers_are_operations_can_be_made_random():
    exported = torch.export.export(seeded(Skip()), (images(2),), dynamic_shapes=({0: torch.export.Dim("n")},)).module()
    found = last(trust.randomisation("saliency", Model(exported, (1, 8, 8)), images(1), 0))
    assert [stage.layer for stage in found.stages] == ["linear", "conv2d"]
    assert found.stages[-1].spearman < 0.9


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_cannot_be_made_random_and_says_why():
    model = Model(torch.jit.script(seeded(Small(SPELLINGS["nn.ReLU"]()))), (1, 8, 8))
    with pytest.raises(cnnviz.errors.CnnvizError, match="does not show its layers"):
        list(trust.randomisation("saliency", model, images(1), 0))


def test_correlations_by_hand():
    rising, falling = np.arange(64.0).reshape(8, 8), -np.arange(64.0).reshape(8, 8)
    assert trust.rank_correlation(rising, rising**3) == pytest.approx(1)
    assert trust.rank_correlation(rising, falling) == pytest.approx(-1)
    assert trust.rank_correlation(rising, np.ones((8, 8))) == 0
    assert trust.structural(rising, 5 * rising) == pytest.approx(1)
    assert trust.structural(rising, np.zeros((8, 8))) == 0


class Sum(nn.Module):
    """Two scores: the weighted sum of the pixels, and its opposite."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x):
        total = (x * self.weights).flatten(1).sum(1, keepdim=True)
        return torch.cat([total, -total], 1)


def test_deletion_and_insertion_of_a_sum_by_hand():
    weights = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    model, x = Model(Sum(weights), (1, 2, 2)), torch.ones(1, 1, 2, 2)
    values = weights[None, None].numpy()
    found = last(trust.pixel_removal(values, model, x, cnnviz.Difference(0, 1), steps=4, fill="black"))
    assert found.deletion.tolist() == [20, 12, 6, 2, 0]
    assert found.insertion.tolist() == [0, 8, 14, 18, 20]
    assert found.areas["deletion"] == pytest.approx((10 + 12 + 6 + 2) / 4)
    assert found.done == 1
    found = last(trust.pixel_removal(values, model, x, Class(0), steps=4, fill="black"))
    logits = torch.tensor([10.0, 6, 3, 1, 0])
    assert np.allclose(found.deletion, torch.sigmoid(2 * logits))  # the probability, whatever the target's read-out


def test_a_map_of_what_matters_beats_a_random_order_and_its_opposite_does_not():
    weights = torch.linspace(0, 1, 100).view(10, 10) ** 3
    model, x = Model(Sum(weights / weights.sum() * 3), (1, 10, 10)), torch.ones(1, 1, 10, 10)
    good = weights[None, None].numpy()
    found = last(trust.pixel_removal(good, model, x, 0, fill="black"))
    assert found.areas["deletion"] < found.areas["random_deletion"]
    assert found.areas["insertion"] > found.areas["random_insertion"]
    assert "matter more than random ones" in found.sentence
    assert (
        "no more to the network than random" in last(trust.pixel_removal(1 - good, model, x, 0, fill="black")).sentence
    )


def test_contributions_can_be_ranked_by_their_signed_sum():
    weights = torch.tensor([[-4.0, 3.0], [2.0, 1.0]])
    model, x = Model(Sum(weights), (1, 2, 2)), torch.ones(1, 1, 2, 2)
    values = weights[None, None].numpy()
    difference = cnnviz.Difference(0, 1)
    found = last(trust.pixel_removal(values, model, x, difference, steps=4, fill="black", rank="value"))
    assert found.deletion.tolist() == [4, -2, -6, -8, 0]


@pytest.mark.parametrize("fill", ["mean", "blur", "black"])
def test_the_random_order_depends_on_its_seed_alone(fill):
    model, x = small(), images(1)
    values = explain("saliency", model, x, 1)
    first, again, other = (last(trust.pixel_removal(values, model, x, 1, seed=s, fill=fill)) for s in (1, 1, 2))
    assert np.array_equal(first.random_deletion, again.random_deletion)
    assert not np.array_equal(first.random_deletion, other.random_deletion)
    assert np.array_equal(first.deletion, other.deletion)
    assert first.deletion[0] == pytest.approx(first.insertion[-1], abs=1e-6)


def test_completeness_gets_better_with_steps_and_says_so():
    parts = list(trust.completeness(small(), images(1), cnnviz.Difference(0, 1), steps=(4, 32, 256)))
    assert [part.done for part in parts] == pytest.approx([1 / 3, 2 / 3, 1])
    assert parts[-1].gaps[2] < parts[-1].gaps[0]
    assert "256 steps" in parts[-1].sentence


def test_noise_sensitivity_of_a_linear_network_is_zero():
    model = Model(Sum(torch.rand(6, 6, generator=torch.Generator().manual_seed(0))), (1, 6, 6))
    found = last(trust.noise_sensitivity("saliency", model, images(1, (1, 6, 6)), 0, samples=3))
    assert max(found.changes) == 0 and found.correlations == pytest.approx((1, 1, 1))
    assert "stable" in found.sentence


def test_noise_sensitivity_by_hand():
    class Square(nn.Module):
        def forward(self, x):
            return F.pad(x.square().flatten(1).sum(1, keepdim=True), (0, 1))

    x = torch.full((1, 1, 4, 4), 0.5)
    found = last(trust.noise_sensitivity("saliency", Model(Square(), (1, 4, 4)), x, 0, samples=2, radius=0.1, seed=5))
    noise = 0.1 * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(5)) - 1)
    assert found.changes[0] == pytest.approx(float(noise.norm() / x.norm()), rel=1e-5)


def test_a_generator_that_is_closed_stops():
    parts = trust.noise_sensitivity("saliency", small(), images(1), 0, samples=1000)
    assert next(parts).done == 0.001
    parts.close()
    assert list(parts) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, x: trust.randomisation("saliency", m, x, 0),
        lambda m, x: trust.completeness(m, x, 0),
        lambda m, x: trust.noise_sensitivity("saliency", m, x, 0),
        lambda m, x: trust.pixel_removal(np.zeros((1, 1, 8, 8)), m, x, 0),
    ],
)
def test_one_image_at_a_time(ask):
    with pytest.raises(cnnviz.errors.CnnvizError, match="one image at a time"):
        next(ask(small(), images(2)))


def test_a_map_of_another_size_is_refused():
    with pytest.raises(cnnviz.errors.CnnvizError, match="does not belong"):
        next(trust.pixel_removal(np.zeros((1, 1, 7, 8)), small(), images(1), 0))
