"""The Occlusion page from the server's side: its experiment, its first patch, and the sentences under its panels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from cnnviz import Channel, Class, Model
from dashboard import sweeping
from dashboard.components.patch import class_rows
from dashboard.jobs.background import BACKGROUND
from dashboard.views import occlusion as page
from tests.dashboard.opening import opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Bright(nn.Module):
    """Class 1 is the mean brightness of the left half, class 0 always 0; one feature map, the picture itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 1, 1, bias=False)
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.conv1.weight.fill_(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.conv1(x))
        return torch.stack([maps.mean((1, 2, 3)) * 0, 40 * maps[:, :, :, :4].mean((1, 2, 3)) - 10], 1)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(Bright(), (1, 8, 8), name="bright")


def experiment(model: Model, image: torch.Tensor, **changes: object) -> sweeping.Experiment:
    asked = {"target": Class(1), "unit": Channel("relu", 0, "sum"), "window": 2, "stride": 1, "fill": "black"}
    return sweeping.Experiment(model, image, **{**asked, "precision": "exact", **changes})


def shown(model: Model, image: torch.Tensor, **changes: object) -> page.Shown:
    asked = experiment(model, image, **changes)
    work = sweeping.sweep(asked)
    assert work.wait(30) and work.state == "done", work.problem
    scores = model.scores(image)[0].numpy()
    choice = SimpleNamespace(
        model=model, image=image, scores=scores, target=asked.target, target_class=1, predicted=int(scores.argmax()),
        class_name=lambda index: model.classes[index], picture=SimpleNamespace(title="a square"),
    )  # fmt: skip
    return page.Shown(choice, asked, work)


def test_the_page_opens_with_defaults_that_fit_the_picture():
    app = opened("occlusion", model="mnist-two-conv")
    assert app.number_input(key="window_28").value == 4
    assert app.selectbox(key="stride_4").value == 1
    assert app.session_state["cnnviz:figures"] == ["Hand-held", "Sweep"]


def test_every_fill_opens():
    for fill in ("black", "grey", "white", "blur", "noise"):
        assert opened("occlusion", model="mnist-one-conv", fill=fill).segmented_control(key="fill").value == fill


@pytest.mark.parametrize(
    "target", ["Class difference", "Class 7", "relu channel 3 cell (4, 5)", "relu channel 3", "all of pool"]
)
def test_every_kind_of_target_is_named_in_words_and_by_hand(target):
    app = opened("occlusion", model="mnist-one-conv", target=target)
    choice = app.session_state["chosen"]
    name = page._target_name(choice)
    assert name == {"Class difference": "4 − 9", "Class 7": "7"}.get(target, target)
    assert name in page.caption(page.Shown(choice, *_swept(choice)))


def _swept(choice):
    asked = sweeping.Experiment(
        choice.model, choice.image, choice.target, Channel("relu", 0, "sum"), 7, 7, "mean", "exact"
    )
    work = sweeping.sweep(asked)
    assert work.wait(30) and work.state == "done", work.problem
    return asked, work


def test_nonsense_in_the_address_is_the_first_patch():
    for text in ("nonsense", "0,0,99,99", "5,5,5,9", "../../etc"):
        opened("occlusion", model="mnist-one-conv", patch=text)


def test_a_sweep_finds_what_the_answer_rests_on_and_says_so(model):
    found = shown(model, torch.ones(1, 1, 8, 8))
    words = page.caption(found)
    assert found.heatmap[:, :3].min() > 0 and np.allclose(found.heatmap[:, 6:], 0)
    assert "costs 1 most" in words and "columns 0–1" in words
    assert "No patch of this size changes the answer" in words


def test_a_patch_that_changes_nothing_is_said_to_change_nothing(model):
    assert page.caption(shown(model, torch.zeros(1, 1, 8, 8))).startswith("**Nothing to see:**")


def test_the_map_of_panel_c_is_its_total_under_each_patch(model):
    found = shown(model, torch.ones(1, 1, 8, 8))
    assert found.total.clean_score == pytest.approx(64)
    assert np.allclose(found.total.score, 60)


def test_each_first_patch_stands_where_the_largest_drop_is(model):
    app = AppTest.from_function(lambda: None)
    app.run()
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 4:6, 1:3] = 1
    found = shown(model, image)
    row, column = np.unravel_index(int(found.sweep.drop.argmax()), found.sweep.drop.shape)
    assert found.sweep.box(int(row), int(column)) == (4, 1, 6, 3)


def test_a_cancelled_sweep_stops_and_says_so(model):
    asked = experiment(model, torch.rand(1, 1, 8, 8))
    work = BACKGROUND.start(asked.key, lambda: sweeping._steps(asked, asked.key))
    work.cancel()
    assert work.wait(30) and work.state in {"cancelled", "done"}


def test_the_covered_picture_is_the_fill_inside_and_the_picture_outside(model):
    image = torch.rand(1, 1, 8, 8)
    masked = sweeping.covered(model, image, np.full((1, 8, 8), 0.5, np.float32), (2, 3, 5, 7))
    assert bool((masked[0, 0, 2:5, 3:7] == 0.5).all())
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[2:5, 3:7] = False
    assert torch.equal(masked[0, 0][outside], image[0, 0][outside])


def test_many_classes_give_ten_rows_with_those_that_must_be_there():
    whole, hidden = np.zeros(50), np.zeros(50)
    whole[3], hidden[40] = 1, 1
    rows = class_rows([str(i) for i in range(50)], whole, hidden, (7, 3))
    shown = [row["index"] for row in rows]
    assert len(shown) == 10 and {3, 7, 40} <= set(shown) and shown == sorted(shown)


def test_the_downloaded_picture_and_arrays_hold_the_experiment(model):
    found = shown(model, torch.ones(1, 1, 8, 8))
    assert page._png(found).startswith(b"\x89PNG")
    arrays = page._arrays(found.sweep, found.total)
    assert arrays["heatmap"].shape == (8, 8) and arrays["scores"].shape == (7, 7, 2)


def test_the_python_of_a_plate_makes_the_same_heatmap(model):
    import cnnviz

    found = shown(model, torch.rand(1, 1, 8, 8))
    known = {"cnnviz": cnnviz, "model": model, "image": found.choice.image}
    exec(page._python(found.asked), known)
    assert np.allclose(known["heatmap"], found.heatmap, atol=1e-5)
