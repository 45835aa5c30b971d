"""The page of convolution from the server's side: what an address may hold, and what the downloads say."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model
from cnnviz.convolution import Window, partial_maps
from dashboard import convolving
from dashboard.components.by_hand import Hand
from dashboard.components.edit_kernel import Edit
from dashboard.components.shapes import NOTES, SHARE, SIZE, settings
from dashboard.views import convolution as page
from tests import nets

on_network = importlib.import_module("dashboard.components.on_network")


def test_the_first_example_is_the_one_worked_out_on_paper():
    found = Hand().results()
    assert found["map"].tolist() == [[2, 5, 1], [2, 2, 3], [2, 3, 4]]
    assert found["pooled"].tolist() == [[5]]


def test_a_state_comes_back_from_its_text():
    hand = Hand(image=((1, -2.5), (0, 3)), kernel=((0.25,),), stride=2, padding=1, bias=-4, pool="global", at=0)
    assert Hand.read(hand.text) == hand


@pytest.mark.parametrize(
    "text",
    [
        "", "1_2~~1~~1_0_1_0_max", "1_2~3~~1~~1_0_1_0_max_0", "1e9~~1~~1_0_1_0_max_0", "1~~1~~9_0_1_0_max_0",
        "1~~1~~1_0_1_0_sum_0", "~".join(["1"] * 13) + "~~1~~1_0_1_0_max_0", "nan~~1~~1_0_1_0_max_0",
    ],
)  # fmt: skip
def test_a_text_that_is_no_state_is_refused(text: str):
    with pytest.raises(ValueError):
        Hand.read(text)


def test_what_does_not_fit_is_left_out_of_the_download():
    assert set(Hand(image=((1,),)).results()) == {"image", "kernel"}
    assert np.array_equal(Hand(pool="global").results()["pooled"], [[24 / 9]])


class Slices(nn.Module):
    """A convolution whose input is no layer's output, and which is overwritten right after."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.end = nn.LazyLinear(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x[:, :4] * 2
        y = functional.relu(self.conv(half), inplace=True)
        half.zero_()
        return self.end(y.flatten(1))


def opened(conv: nn.Conv2d) -> tuple[Model, torch.Tensor]:
    images = torch.rand(1, 6, 9, 8, generator=torch.Generator().manual_seed(0))
    network = Slices(conv)
    network(images.clone())
    return Model(nets.seeded(network), (6, 9, 8), name="slices"), images


@pytest.mark.parametrize(
    "how",
    [
        {}, {"groups": 2}, {"groups": 4}, {"stride": (2, 1), "padding": (1, 2)}, {"dilation": 2, "padding": "same"},
        {"padding": 1, "padding_mode": "reflect"}, {"bias": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_channel_reads_gives_what_the_channel_says(how: dict):
    model, images = opened(nn.Conv2d(4, 8, 3, **how))
    part = convolving.taken(model, images, model.layer("conv"), 5)
    windows = [Window(3, s, p, d) for s, p, d in zip(part.stride, part.padding, part.dilation, strict=True)]
    ours = partial_maps(part.inputs, part.kernel[None], rows=windows[0], columns=windows[1]).sum(1)[0]
    theirs = part.output - (part.bias or 0)
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(part.output).max()
    assert part.first == 5 // (8 // part.groups) * (4 // part.groups)
    assert np.array_equal(part.after["relu"], part.output.clip(0))


def test_a_layer_of_64_channels_of_56_by_56_travels_in_less_than_1_15_megabytes(monkeypatch: pytest.MonkeyPatch):
    network = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Model(nets.seeded(network), (64, 56, 56), name="wide")
    images = torch.rand(1, 64, 56, 56, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(on_network, "mount", lambda *_, **__: None)
    layer = model.layer("0")
    size = on_network.on_network(
        convolving.taken(model, images, layer, 7), layer, images[0, :3].numpy(),
        words={"channel": 7, "channels": 128, "input": "input"}, cell=(0, 0), rows=8, key="k",
        on_channel=print, on_cell=print,
    )  # fmt: skip
    assert 64 * 56 * 56 * 4 < size <= 1_150_000


@pytest.mark.parametrize(("kind", "text"), [("size", SIZE), ("chain", NOTES), ("share", SHARE)])
def test_the_first_settings_of_a_figure_may_stand_in_an_address(kind: str, text: str):
    assert settings(kind)(text) == text
    with pytest.raises(ValueError, match="is not a"):
        settings(kind)(text + "_x")


def test_a_plain_network_is_told_as_the_chain_it_is():
    layers = nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(), nn.LazyLinear(2)
    network = nn.Sequential(*layers)
    network(torch.rand(1, 3, 16, 16))
    assert convolving.chain_of(Model(network, (3, 16, 16))) == "3_16~c_3_2_1_1_0_4~p_3_2_0_1_1_0"


def test_a_network_that_is_no_chain_of_square_windows_is_not_told_as_one():
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert convolving.chain_of(Model(network, (3, 16, 16))) == ""


@pytest.mark.parametrize("edit", [Edit(None, (0, -1.5, 2e-7)), Edit(12, (3,))])
def test_an_edit_comes_back_from_its_text(edit: Edit):
    assert Edit.read(str(edit)) == edit


@pytest.mark.parametrize("text", ["", "a", "a~", "b~1", "-1~1", "a~nan", "a~1e9", "a~" + "_".join(["1"] * 300)])
def test_a_text_that_is_no_edit_is_refused(text: str):
    with pytest.raises(ValueError):
        Edit.read(text)


def test_an_edit_of_one_channel_leaves_the_others_alone():
    kernel = np.ones((3, 2, 2), np.float32)
    changed = Edit(1, (1, 2, 3, 4)).applied(kernel)
    assert changed.tolist() == [[[1, 1], [1, 1]], [[1, 2], [3, 4]], [[1, 1], [1, 1]]]
    assert (kernel == 1).all()
    assert not Edit(3, (1, 2, 3, 4)).fits(kernel) and not Edit(None, (1,)).fits(kernel)


def test_an_edited_kernel_changes_the_answer_of_a_copy_and_never_the_shared_network():
    model, images = opened(nn.Conv2d(4, 8, 3))
    layer, digest, before = model.layer("conv"), model.digest, model.scores(images)
    zero = np.zeros((4, 3, 3), np.float32)
    after = convolving.scores_with(model, images, layer, 5, zero)
    twin = model.twin()
    with torch.no_grad():
        twin.conv.weight = nn.Parameter(twin.conv.weight.clone())
        twin.conv.weight[5] = 0
        wanted = twin(model.normalised(images))[0].numpy()
    assert np.allclose(after, wanted, rtol=1e-6) and not np.allclose(after, before[0].numpy())
    assert model.digest == digest and torch.equal(model.scores(images), before)


def test_the_learned_kernel_gives_the_learned_answer():
    model, images = opened(nn.Conv2d(4, 8, 3))
    kernel = convolving.taken(model, images, model.layer("conv"), 2).kernel
    same = convolving.scores_with(model, images, model.layer("conv"), 2, kernel)
    assert np.array_equal(same, model.scores(images)[0].numpy())


@pytest.mark.parametrize("how", [{}, {"groups": 2, "stride": 2, "padding": 1}], ids=str)
def test_the_picture_of_an_edit_holds_the_map_that_the_edited_network_gives(how: dict):
    model, images = opened(nn.Conv2d(4, 8, 3, **how))
    part = convolving.taken(model, images, model.layer("conv"), 5)
    kernel = Edit(0, tuple(range(9))).applied(part.kernel)
    maps = page._both_maps(part, kernel)
    wanted = functional.conv2d(
        torch.tensor(part.inputs)[None], torch.tensor(kernel)[None], torch.tensor([part.bias]),
        part.stride, part.padding,
    )  # fmt: skip
    assert np.allclose(maps["this kernel"], wanted[0, 0].numpy(), atol=1e-4)
    assert page.tables_png(page._named(Hand()), "By hand", facts=page._hand_facts(Hand())).startswith(b"\x89PNG")
    choice = SimpleNamespace(facts=lambda: "facts")
    assert page._maps_png("title", choice, maps).startswith(b"\x89PNG")
