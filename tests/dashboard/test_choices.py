"""What the address can ask for, what one gets, and what is said when it cannot be had.

Each test runs the sidebar by itself, as AppTest, with the address it names.
"""

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import cnnviz
from cnnviz import checkpoint
from dashboard import choices, gallery

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FIRST = next(iter(checkpoint.MODELS))


def sidebar() -> None:
    """Draw the choices and write down what was chosen."""
    import streamlit as st

    from dashboard import choices

    chosen = choices.choose()
    choices.say_what_was_wrong()
    st.session_state["chosen"] = chosen


@pytest.fixture
def at_address() -> Callable[..., AppTest]:
    """The sidebar as it is under an address: `at_address(target="Class 3")`."""

    def opened(**parameters: str) -> AppTest:
        app = AppTest.from_function(sidebar, default_timeout=60)
        for name, value in parameters.items():
            app.query_params[name] = value
        return said_nothing_else(app.run())

    return opened


def said_nothing_else(app: AppTest) -> AppTest:
    assert [problem.value for problem in app.exception] == []
    return app


def chosen(app: AppTest) -> choices.Choice:
    return app.session_state["chosen"]  # type: ignore[no-any-return]


def notices(app: AppTest) -> list[str]:
    return list(app.session_state[choices.NOTICES]["said"])


def test_the_first_visit_needs_no_choice(at_address: Callable[..., AppTest]) -> None:
    app = at_address()
    choice = chosen(app)
    assert choice.model.name == FIRST
    assert choice.image.shape == (1, *choice.model.size)
    assert choice.target == cnnviz.Class(choice.predicted)
    assert choice.picture.title == "MNIST train 4438" and choice.class_name(choice.true_label or 0) == "4"
    assert notices(app) == [] and not app.query_params


@pytest.mark.parametrize("name", ["mnist-two-conv", "mnist-one-conv"])
def test_the_first_picture_is_one_that_leaves_the_network_undecided(
    at_address: Callable[..., AppTest], name: str
) -> None:
    choice = chosen(at_address(model=name))
    assert 0.5 < choice.probabilities[choice.predicted] < 0.9 and choice.probabilities[choice.runner_up] > 0.1
    assert {choice.class_name(choice.predicted), choice.class_name(choice.runner_up)} == {"4", "9"}


def test_scores_are_those_of_the_model_on_the_image(at_address: Callable[..., AppTest]) -> None:
    choice = chosen(at_address(picture="8, MNIST train 17"))
    expected = choice.model.scores(choice.image)[0]
    np.testing.assert_array_equal(choice.scores, expected.numpy())
    np.testing.assert_allclose(choice.probabilities, expected.softmax(0).numpy(), rtol=1e-5)
    assert choice.predicted == int(expected.argmax())


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ({"target": "Class 3"}, cnnviz.Class(3)),
        ({"target": "True class"}, cnnviz.Class(4)),
        ({"target": "Class 3", "readout": "Prob."}, cnnviz.Class(3, "probability")),
        ({"target": "Class 3", "readout": "Log p"}, cnnviz.Class(3, "log_probability")),
        ({"target": "Class difference", "of": "Class 4", "against": "Class 9"}, cnnviz.Difference(4, 9)),
        ({"target": "conv2 channel 5"}, cnnviz.Channel("conv2", 5)),
        ({"target": "conv2 channel 5 cell (3, 4)"}, cnnviz.Neuron("conv2", 5, 3, 4)),
        ({"target": "all of conv2"}, cnnviz.WholeLayer("conv2")),
    ],
)
def test_a_target_is_read_from_the_address(
    at_address: Callable[..., AppTest], address: dict[str, str], target: object
) -> None:
    app = at_address(model="mnist-two-conv", **address)
    assert chosen(app).target == target
    assert notices(app) == []


@pytest.mark.parametrize(
    "target", [cnnviz.Channel("conv2", 5), cnnviz.Neuron("conv2", 5, 3, 4), cnnviz.WholeLayer("conv2")]
)
def test_what_a_unit_is_called_in_a_link_leads_back_to_it(at_address: Callable[..., AppTest], target: object) -> None:
    assert chosen(at_address(model="mnist-two-conv", target=choices.label_of(target))).target == target


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"model": "nonsense"}, "“nonsense” is not a model here; showing"),
        ({"model": "torchvision:nonsense"}, "“torchvision:nonsense” is not a model here"),
        ({"image": "Nowhere"}, "“Nowhere” is not a place pictures come from; showing Gallery"),
        ({"picture": "Mona Lisa"}, "“Mona Lisa” is not a picture of the gallery"),
        ({"target": "Class 99"}, "“Class 99” is not a target in"),
        ({"target": "conv9 channel 1"}, "“conv9 channel 1” is not a target in"),
        ({"image": "Draw a digit", "mine": "drawing 0123abcd"}, "please give it again"),
        ({"image": "MNIST, 5,000 bundled digits", "class": "seven"}, "“seven” is not a class of"),
        ({"image": "MNIST, 5,000 bundled digits", "class": "7", "number": "500"}, "pictures 0 to 499, not “500”"),
    ],
)
def test_an_address_that_asks_for_what_is_not_there_is_answered_in_a_sentence(
    at_address: Callable[..., AppTest], address: dict[str, str], words: str
) -> None:
    app = at_address(**address)
    assert len(notices(app)) == 1 and words in notices(app)[0]
    assert chosen(app).image.shape == (1, *chosen(app).model.size)


def test_a_model_that_cannot_be_opened_is_named_and_another_one_shown(at_address: Callable[..., AppTest]) -> None:
    app = at_address(model="torchvision:resnet18@NEVER")
    for _ in range(2):
        assert len(notices(app)) == 1 and "resnet18 has no weights 'NEVER'" in notices(app)[0]
        assert chosen(app).model.name == FIRST
        app.run()
    app.selectbox(key="model").set_value(FIRST).run()
    assert notices(app) == []


def test_a_sentence_stays_until_the_next_choice(at_address: Callable[..., AppTest]) -> None:
    app = at_address(target="Class 99")
    assert len(notices(app.run())) == 1
    app.selectbox(key="target").set_value("Class 3").run()
    assert notices(app) == [] and chosen(app).target == cnnviz.Class(3)


def test_a_picture_of_a_data_set_is_chosen_by_class_and_number(at_address: Callable[..., AppTest]) -> None:
    choice = chosen(at_address(image="MNIST, 5,000 bundled digits", **{"class": "7"}, number="12"))
    assert choice.picture.label == "7" and choice.true_label == 7


def test_a_picture_nobody_chose_makes_room_for_one_that_fits(at_address: Callable[..., AppTest]) -> None:
    app = at_address()
    app.selectbox(key="model").set_value("efficientnet-lite0").run()
    assert chosen(app).picture.title == gallery.FIRST_PHOTO and chosen(app).image.shape == (1, 3, 224, 224)
    app.selectbox(key="model").set_value(FIRST).run()
    assert chosen(app).picture.title == "MNIST train 4438"


def test_a_picture_that_was_chosen_stays_with_another_model(at_address: Callable[..., AppTest]) -> None:
    app = at_address(picture="5, MNIST train 0")
    app.selectbox(key="model").set_value("efficientnet-lite0").run()
    assert chosen(app).picture.title == "MNIST train 0"


def test_the_target_menu_names_the_class_predicted_now(at_address: Callable[..., AppTest]) -> None:
    app = at_address()
    app.selectbox(key="picture").set_value("0, MNIST train 1").run()
    best = chosen(app).class_name(chosen(app).predicted)
    assert f"Predicted class, {best}" in app.selectbox(key="target").options


@pytest.mark.parametrize("name", [name for name, info in checkpoint.MODELS.items() if info.epochs])
def test_an_epoch_shows_the_weights_of_then(at_address: Callable[..., AppTest], name: str) -> None:
    last, start = chosen(at_address(model=name)), chosen(at_address(model=name, epoch="0"))
    assert start.epoch == 0 and last.epoch == max(*checkpoint.MODELS[name].epochs, last.epoch or 0)
    assert start.model.digest != last.model.digest
    assert "epoch=0" in "\n".join(start.python()) and "epoch" not in "\n".join(last.python())


def test_the_lines_of_python_open_the_same_model_image_and_target(at_address: Callable[..., AppTest]) -> None:
    choice = chosen(at_address(picture="5, MNIST train 0", target="Class 3", readout="Prob."))
    names: dict[str, object] = {}
    exec("\n".join(choice.python()), names)
    assert names["target"] == choice.target
    np.testing.assert_array_equal(np.asarray(names["image"]), choice.image.numpy())
    assert names["model"].digest == choice.model.digest  # type: ignore[attr-defined]


def test_two_classes_of_one_name_are_two_entries() -> None:
    names = (*(f"class {i}" for i in range(28)), "crane", "crane")
    assert len(set(choices.class_labels(names))) == 30
    assert choices.class_labels(tuple("0123456789"))[4] == "Class 4"


def test_a_drawing_is_centred_and_scaled_as_mnists_digits_are() -> None:
    corner = gallery.drawing([[[0.05, 0.05], [0.05, 0.25]]]).pixels
    middle = gallery.drawing([[[0.5, 0.3], [0.5, 0.7]]]).pixels
    for pixels in (corner, middle):
        rows = np.flatnonzero(pixels.any(axis=1))
        assert pixels.shape == (28, 28) and rows.max() - rows.min() + 1 == 20
        mass = pixels / pixels.sum()
        assert abs(float((mass.sum(0) * np.arange(28)).sum()) - 13.5) <= 0.75
        assert abs(float((mass.sum(1) * np.arange(28)).sum()) - 13.5) <= 0.75


def test_a_single_dot_is_a_drawing_too() -> None:
    assert gallery.drawing([[[0.0, 0.0]]]).pixels.max() > 200


def test_equal_drawings_have_one_digest_and_others_another() -> None:
    first, again = (gallery.drawing([[[0.2, 0.2], [0.8, 0.8]]]) for _ in range(2))
    assert first.digest == again.digest != gallery.drawing([[[0.2, 0.2], [0.8, 0.7]]]).digest


def test_every_picture_of_the_gallery_is_what_its_name_says() -> None:
    for name, shown in gallery.gallery().items():
        picture = gallery.from_gallery(name)
        if shown.source == "MNIST train":
            assert name == f"{picture.label}, {picture.title}"
        elif shown.data == "photos":
            assert name == picture.title and picture.credit
