"""The Guided backprop page from the server's side: any neuron, its receptive field, its strongest pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import Class, Model, Neuron
from cnnviz.trust import NoiseSensitivity, Randomisation, Stage
from dashboard import explaining, trusting
from dashboard.components import exemplar_strip as strips
from dashboard.components import neuron_picker as pickers
from dashboard.components import trust_strip as trusts
from dashboard.views import guided_backprop as page
from tests.dashboard.opening import opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def small_model() -> Model:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)]
    return Model(nn.Sequential(*layers), (1, 8, 8), 0.5, 0.5, name="small")


def test_the_page_opens_on_the_predicted_class():
    app = opened("guided_backprop")
    assert isinstance(app.session_state["chosen"].target, Class)
    assert "By hand" in app.session_state["cnnviz:figures"]


def test_a_neuron_in_the_address_is_the_figure_s_title_and_its_field_is_exact():
    first = next(
        layer.name for layer in opened("guided_backprop").session_state["chosen"].model.layers if layer.kind == "ReLU"
    )
    app = opened("guided_backprop", target=f"{first} channel 1 cell (3, 4)")
    choice = app.session_state["chosen"]
    assert choice.target == Neuron(first, 1, 3, 4)
    assert app.session_state["cnnviz:figures"][0] == f"{first}, channel 1, cell (3, 4)"
    assert page._box(choice) == choice.model.layer(first).receptive_field.box(3, 4)


def test_strongest_avoids_a_ceiling_that_passes_nothing_back():
    values = np.array([[[6.0, 1.0], [6.0, 5.5]], [[2.0, 0.0], [0.0, 0.0]]])
    assert page.strongest_cell(values) == (0, 1, 1)
    assert page.strongest_cell(np.array([[[1.0, 7.0]], [[3.0, 2.0]]])) == (0, 0, 1)
    assert page.strongest_cell(np.zeros((1, 2, 2))) == (0, 0, 0)


def test_the_chosen_channel_is_shown_even_when_it_is_weak():
    values = np.arange(40, dtype=np.float32)[::-1].reshape(40, 1, 1).copy()
    shown = pickers.Maps("relu", values, None, (39, 0, 0)).shown()
    assert len(shown) == pickers.MOST_MAPS
    assert shown[0] == 0
    assert shown[-1] == 39


def test_a_field_cut_by_the_border_is_set_where_it_lies():
    picture = np.arange(16, dtype=np.float32).reshape(1, 4, 4) / 15
    corner = strips.Item(picture, (0, 0, 2, 2), picture, 1.0, "corner")
    pixels, inside, result = strips._cut(corner, 3, 3)
    assert inside.tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert result[1:, 1:].tolist() == picture[0, :2, :2].tolist()
    assert pixels[0, 2, 2] == round(255 * 5 / 15)


def test_a_large_cut_is_shrunk_by_a_whole_number():
    picture = np.zeros((3, 224, 224), np.float32)
    result = np.zeros((3, 224, 224), np.float32)
    result[1, 5, 7] = -2.0
    cut = strips._cut(strips.Item(picture, (0, 0, 224, 224), result, 1.0, "photo"), 224, 224)
    small = strips._smaller(cut, 2)
    assert small[0].shape == (3, 112, 112)
    assert small[2][2, 3] == -2.0


def test_the_trial_of_a_map_asks_only_what_applies():
    model, image = small_model(), torch.rand(1, 1, 8, 8)
    answer = explaining.answer("guided_backprop", model, image, Class(0), {})
    tested = trusting.Tested("guided_backprop", model, image, Class(0), {}, answer)
    work = trusting.trial(tested)
    assert work.wait(60)
    assert list(work.part) == ["randomisation", "removal", "noise"]
    names = set(trusting.arrays_of(work.part))
    assert {"randomisation_spearman", "removal_deletion", "noise_changes"} <= names


def test_a_strip_has_the_map_itself_before_its_stages():
    stage = Stage("fc", 0.5, 0.25, np.ones((4, 4)))
    tests = [("Gradient", Randomisation((stage,), 2)), ("Noise", NoiseSensitivity(0.02, (0.1,), (0.9,), 8))]
    described = [trusts._DESCRIBED[type(test)](test) for _, test in tests]
    assert described[0] == {
        "kind": "randomisation",
        "stages": [{"layer": "fc", "spearman": 0.5, "ssim": 0.25}],
        "total": 2,
    }
    assert described[1] == {"kind": "noise", "changes": [0.1], "total": 8}


def test_the_strongest_pictures_of_a_unit_with_a_ceiling_are_found_before_it():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(2 * 36, 3)]
    capped = SimpleNamespace(model=Model(nn.Sequential(*layers), (1, 8, 8)), target=Neuron("1", 1, 2, 3))
    assert page._open_ended(capped) == Neuron("0", 1, 2, 3)
    plain = SimpleNamespace(model=small_model(), target=Neuron("1", 1, 2, 3))
    assert page._open_ended(plain) == plain.target
