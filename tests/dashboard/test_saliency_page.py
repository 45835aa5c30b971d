"""The Saliency page from the server's side: it opens, its choices reach the maps, and nothing is silently wrong."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from cnnviz import Class, Difference, Model, Neuron
from cnnviz.attribution import METHODS, Facts
from cnnviz.figures import numbers
from cnnviz.figures import saliency as figures
from cnnviz.rules import Rectifiers
from dashboard import address, explaining
from dashboard.components import contact_sheet as sheets
from dashboard.views import saliency as page
from tests.dashboard.opening import opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def small_model(*, last: nn.Module | None = None) -> Model:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)]
    network = nn.Sequential(*layers, *([last] if last else []))
    return Model(network, (3, 6, 6), 0.5, 0.5, name="small")


def test_the_page_opens_with_six_methods_and_three_answers():
    app = opened("saliency")
    sheet = next(iter(app.session_state["cnnviz:figures"]))
    assert sheet == "Contact sheet"
    assert set(app.pills(key="methods").value) == {METHODS[name].title for name in page.FIRST}


def test_options_of_a_method_come_from_its_annotations_and_the_address():
    app = opened("saliency", smoothgrad__samples="4")
    assert app.slider(key="smoothgrad.samples").value == 4
    drawn = {widget.key for kind in (app.slider, app.selectbox, app.toggle) for widget in kind}
    for name in page.FIRST:
        assert {f"{name}.{option.name}" for option in METHODS[name].options} <= drawn


def test_nonsense_in_the_address_is_the_default():
    places = {"keep": address.Place(10, address.whole(1, 100)), "show": address.Place("a", address.one_of("a", "b"))}

    def run() -> None:
        import streamlit as st

        from dashboard import address

        st.session_state["read"] = address.chosen(st.session_state["places"])

    app = AppTest.from_function(run)
    app.session_state["places"] = places
    app.query_params["keep"], app.query_params["show"] = "900", "c"
    assert app.run().session_state["read"] == {"keep": 10, "show": "a"}


def test_a_default_leaves_the_address():
    places = {"keep": address.Place(10, address.whole(1, 100)), "outline": address.Place(True, address.yes_no)}

    def run() -> None:
        import streamlit as st

        from dashboard import address

        address.choose(st.session_state["places"], {"keep": 10, "outline": False})

    app = AppTest.from_function(run)
    app.session_state["places"] = places
    app.query_params["keep"] = "20"
    app.run()
    assert dict(app.query_params) == {"outline": "0"}


def test_a_map_is_the_largest_channel_with_its_sign():
    values = np.array([[[1.0, -2.0]], [[-3.0, 0.5]], [[2.0, 1.0]]])  # (3, 1, 2)
    assert figures.leading(values).tolist() == [[-3.0, -2.0]]
    assert np.abs(figures.leading(values)).tolist() == np.abs(values).max(axis=0).tolist()


def test_the_strongest_pixels_are_as_many_as_asked_ties_in_reading_order():
    pixels = np.array([[1.0, -4.0], [2.0, 2.0]])
    assert figures.strongest_pixels(pixels, 0.5).tolist() == [[False, True], [True, False]]
    assert figures.strongest_pixels(pixels, 0.0).sum() == 1


def test_a_caption_s_numbers_are_the_map_s():
    found = figures.summary(np.array([[0.0, 3.0], [-1.0, 0.0]]))
    assert (found["peak"], found["row"], found["column"]) == (3.0, 0, 1)
    assert (found["half"], found["negative"]) == (0.25, 0.25)


def test_the_sheet_s_steps_are_within_one_32767th_of_the_map():
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    tile = sheets.Tile("saliency", "class:1", values)
    steps = sheets._steps(figures.leading(values)).reshape(5, 7) * np.abs(values).max() / 32767
    assert np.abs(steps - figures.leading(values)).max() <= np.abs(values).max() / 32767
    assert sheets._entry(tile, figures.leading(values), 0)["peak"] == pytest.approx(np.abs(values).max())


def test_facts_are_said_in_few_words():
    assert explaining.short_fact(Facts(rectifiers=Rectifiers({"ReLU": 9}, {}))) == "rule at 9 ReLUs"
    assert "no ReLU" in explaining.short_fact(Facts(rectifiers=Rectifiers({}, {"SiLU": 4})))
    assert explaining.short_fact(Facts(gap=np.array([0.003]))) == f"completeness gap {numbers.percent(0.003)}"


def test_a_sheet_fills_and_is_the_methods_own_numbers():
    model, image = small_model(), torch.rand(1, 3, 6, 6)
    targets = [Class(1), Difference(1, 2)]
    work = explaining.sheet(model, image, ["saliency", "guided_backprop"], targets, {})
    assert work.wait(30)
    found = work.part.answers
    assert set(found) == {(m, t.text) for m in ("saliency", "guided_backprop") for t in targets}
    again = METHODS["saliency"].compute(model, image, Class(1)).values[0].numpy()
    assert np.array_equal(found["saliency", "class:1"].values, again)


def test_a_blank_map_says_why():
    model, image = small_model(last=nn.ReLU()), torch.rand(1, 3, 6, 6)
    dead = int(model.scores(image)[0].argmin())
    assert float(model.scores(image)[0, dead]) == 0
    assert "ends in a ReLU" in explaining.why_blank(model, image, Class(dead))[0]


def test_a_target_that_cannot_be_explained_is_a_sentence_not_an_error():
    model, image = small_model(), torch.rand(1, 3, 6, 6)
    answer = explaining.answer("saliency", model, image, Neuron("0", 99, 0, 0), {})
    assert answer.values is None
    assert "channel 99" in answer.problem


def test_rows_are_each_target_once_with_the_true_class_when_it_is_another():
    scores = np.array([1.0, 3.0, 2.0], np.float32)
    choice = SimpleNamespace(target=Class(1), target_class=1, predicted=1, runner_up=2, true_label=0, scores=scores)
    assert page._comparisons(choice) == {Class(2): "Runner-up", Class(0): "True class", Difference(1, 2): "Difference"}
    choice.true_label = 2
    assert list(page._comparisons(choice)) == [Class(2), Difference(1, 2)]


def test_the_lines_of_python_give_the_map_that_is_shown():
    model, image = small_model(), torch.rand(1, 3, 6, 6)
    code = page._python("smoothgrad", Class(2), {"samples": 3, "seed": 1})
    room = {"cnnviz": __import__("cnnviz"), "model": model, "image": image}
    exec(code, room)
    shown = explaining.answer("smoothgrad", model, image, Class(2), {"samples": 3, "seed": 1}).values
    assert np.linalg.norm(room["values"] - shown) <= 1e-6 * np.linalg.norm(shown)


def test_a_tile_that_is_zero_everywhere_carries_its_reason_and_others_their_doubts():
    zero, full = np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), np.float32)
    sheet = SimpleNamespace(work=SimpleNamespace(over=True), causes={"class:1": ("The network ends in a ReLU.",)})
    sheet.answer = lambda method, target: explaining.Answer(zero if target == "class:1" else full, "", (), "", 0.0)
    assert page._tile(None, sheet, "saliency", Class(1)).blank == "The network ends in a ReLU."
    assert page._tile(None, sheet, "saliency", Class(2)).blank == ""
    sheet.causes = {}
    assert page._tile(None, sheet, "grad_cam", Class(1)).blank == page.NOTHING_RAISES
    sheet.causes = {"class:2": ("It is saturated.",)}
    assert "It is saturated." in page._tile(None, sheet, "saliency", Class(2)).sentences[-1]
