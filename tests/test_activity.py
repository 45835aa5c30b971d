import torch
from torch import nn

from cnnviz import Model
from cnnviz.activity import highest


def network_with_a_channel_that_never_answers() -> Model:
    conv = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1, 1))
        conv.bias.zero_()
    return Model(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), (1, 2, 2))


def test_the_highest_value_is_taken_over_images_batches_and_positions():
    images = torch.zeros(3, 1, 2, 2)
    images[2, 0, 1, 0] = 0.75
    model = network_with_a_channel_that_never_answers()
    assert highest(model, images, ["1"], batch=2)["1"].tolist() == [1.5, 0.0]


def test_a_layer_of_units_is_taken_over_images_only():
    model = network_with_a_channel_that_never_answers()
    images = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = model.scores(images).amax(0)
    assert torch.equal(torch.from_numpy(highest(model, images, ["3"])["3"]), expected)
