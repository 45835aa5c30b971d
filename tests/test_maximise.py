"""Feature visualisation: what it reaches, what it leaves alone, and that it can be followed and repeated."""

import pytest
import torch
from torch import nn

from cnnviz.errors import CnnvizError, LayerError
from cnnviz.maximise import Prior, Settings, answers, maximise
from cnnviz.model import Model
from cnnviz.target import Channel, Class, Neuron, Sum, parse_target

QUICK = Settings(steps=24, rate=0.1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 4 * 4, 3))
    return Model(network, (1, 12, 12), 0.1, 0.3)


def last(frames):
    *_, result = frames
    return result


def test_every_channel_reaches_more_than_noise_does(model):
    targets = [Channel("0", k) for k in range(6)]
    result = last(maximise(model, targets, settings=QUICK))
    noise = torch.rand((64, 1, 12, 12), generator=torch.Generator().manual_seed(0))
    best = model.trace(noise, keep=("0",)).outputs["0"].mean((2, 3)).amax(0)
    assert result.images.shape == (6, 1, 12, 12)
    assert bool((result.reached > best).all())
    assert result.images.min() >= 0 and result.images.max() <= 1


def test_a_single_linear_cell_is_driven_to_the_sign_of_its_kernel(model):
    steps = Settings(steps=150, rate=0.3, transform=0, parametrisation="pixels")
    image = last(maximise(model, [Neuron("0", 2, 3, 3)], settings=steps)).images[0, 0]
    kernel = model.layer("0").module.weight[2, 0]
    patch = image[3:8, 3:8]
    assert bool(((patch > 0.5) == (kernel > 0))[kernel.abs() > 0.02].all())


def test_an_image_does_not_depend_on_how_many_others_are_beside_it(model):
    still = Settings(steps=12, transform=0, parametrisation="pixels")
    alone = last(maximise(model, [Class(1)], settings=still, start=torch.full((1, 12, 12), 0.4)))
    beside = last(maximise(model, [Class(1), Class(2)], settings=still, start=torch.full((1, 12, 12), 0.4)))
    assert torch.allclose(alone.images[0], beside.images[0], atol=1e-6)


def test_the_same_seed_gives_the_same_image_and_another_seed_another(model):
    first, again, other = (
        last(maximise(model, [Class(0)], settings=Settings(steps=8, seed=seed))).images for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_frames_come_from_the_first_step_on_and_can_be_left(model):
    frames = maximise(model, [Class(0)], steps=16, every=4)
    assert [next(frames).step for _ in range(3)] == [0, 4, 8]
    frames.close()


def test_a_picture_stops_at_its_layer_and_leaves_the_network_as_it_was(model):
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    last(maximise(model, [Channel("0", 0)], settings=QUICK))
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())
    assert all(p.grad is None for p in model.network.parameters())
    assert model.network.training


def test_a_negative_direction_lowers_the_answer(model):
    low = last(maximise(model, [Channel("0", 0)], settings=Settings(steps=24, rate=0.1, direction=-1)))
    high = last(maximise(model, [Channel("0", 0)], settings=QUICK))
    assert low.reached < answers(model, torch.full((1, 1, 12, 12), 0.5), Channel("0", 0)) < high.reached


def test_the_mix_of_two_units_is_the_sum_of_their_answers(model):
    images = torch.rand(3, 1, 12, 12)
    mix = Sum((Channel("0", 0), Channel("0", 1)))
    parts = answers(model, images, Channel("0", 0)) + answers(model, images, Channel("0", 1))
    assert torch.allclose(answers(model, images, mix), parts)
    assert parse_target(mix.text) == mix


def test_starting_from_an_image_begins_at_that_image(model):
    start = 0.1 + 0.8 * torch.rand((1, 12, 12), generator=torch.Generator().manual_seed(1))
    first = next(maximise(model, [Class(0)], start=start, settings=Settings(parametrisation="pixels")))
    assert float((first.images[0] - start).abs().mean()) < 0.01


def test_the_prior_of_grey_digits_is_grey_and_that_of_colours_knows_how_they_vary_together():
    generator = torch.Generator().manual_seed(0)
    grey = Prior.of(torch.rand((20, 1, 12, 12), generator=generator))
    assert grey.mean.shape == (1, 12, 12) and grey.colours.shape == (1, 1) and grey.spectrum.shape == (12, 7)
    together = torch.rand((20, 1, 12, 12), generator=generator).expand(-1, 3, -1, -1)
    colours = Prior.of(together).colours
    assert torch.allclose(colours, colours[0, 0].expand(3, 3), atol=1e-2)


def test_what_does_not_exist_is_named(model):
    with pytest.raises(LayerError, match="conv9 is not a layer"):
        next(maximise(model, [Channel("conv9", 0)]))
    with pytest.raises(CnnvizError, match="“splines” is not a parametrisation"):
        next(maximise(model, [Class(0)], settings=Settings(parametrisation="splines")))
