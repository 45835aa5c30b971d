"""The Network page from the server's side: its words and boxes fit the network."""

import pytest

from cnnviz import Model
from cnnviz.networks import torchvision_module
from dashboard.views import network as page
from tests import nets
from tests.dashboard.opening import opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("model", "title"),
    [("mnist-two-conv", "mnist-two-conv, 10 layers"), ("efficientnet-lite0", "efficientnet-lite0, 149 layers")],
)
def test_the_page_opens_with_every_layer_counted(model: str, title: str):
    assert opened("network", model=model).session_state["cnnviz:figures"] == [title]


@pytest.mark.parametrize("name", nets.AWKWARD)
def test_every_layer_of_an_awkward_network_has_a_family_and_a_detail(name: str):
    model = Model(nets.build(name), nets.SIZE)
    rows = [page._row(layer) for layer in model.layers]
    assert {row.family for row in rows} <= {"weights", "norm", "activation", "pooling", "join"}
    for layer in model.layers:
        detail = page._detail(model, layer)
        assert dict(detail.facts)["output"] and detail.box_words
    assert "**Look for**" in page._caption(model)


def test_families_are_told_by_what_a_layer_does():
    model = Model(torchvision_module("models").resnet18(weights=None), (3, 32, 32))
    family = {layer.name: page._family(layer) for layer in model.layers}
    assert (family["conv1"], family["bn1"], family["relu"]) == ("weights", "norm", "activation")
    assert (family["maxpool"], family["layer1.0.add"], family["fc"]) == ("pooling", "join", "weights")


def test_the_caption_says_where_parameters_and_work_are():
    model = Model(nets.build("Reused"), nets.SIZE)
    # conv: 112 parameters, 12·10·4·27 products; same: 148 and twice 12·10·4·36; fc: 15 and 12
    assert "same holds 53.8" in page._caption(model) and "of the 275 parameters" in page._caption(model)


def test_arcs_are_shortcuts_in_places_of_the_table():
    model = Model(nets.build("InPlaceResidual"), nets.SIZE)
    assert page._arcs(model) == [(1, 3)]
    assert "The arc is a shortcut" in page._caption(model)


def test_what_a_cell_sees_is_said_for_every_case():
    model = Model(nets.build("InPlaceResidual"), nets.SIZE)
    assert page._sees(model.layer("conv")) == "3 × 3"
    assert page._sees(model.layer("head.fc")) == "everything"
    assert "rows 5–7, columns 4–6" in page._detail(model, model.layer("conv")).box_words
