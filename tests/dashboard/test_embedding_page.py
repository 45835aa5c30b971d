"""The Embedding page from the server's side: its vectors, its picture, and the sentences under it."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnviz import Model, data
from cnnviz.data import DataSet
from cnnviz.figures import theme
from dashboard import placing
from dashboard.components.point_cloud import fitted, sheet_of
from dashboard.jobs.background import BACKGROUND
from dashboard.placing import Asked, Crowd, Method
from dashboard.views import embedding as page
from tests.dashboard.opening import opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Corner(nn.Module):
    """Two classes by the brightness of the first pixel; its last Linear reads two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[-8.0, 0.0], [8.0, 0.0]]))
            self.fc.bias.copy_(torch.tensor([4.0, -4.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1)[:, :2])


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(Corner(), (1, 4, 4), name="corner")


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    """Forty pictures of two classes; picture 0 is dark and labelled bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = generator.integers(0, 60, (40, 4, 4), dtype=np.uint8)
    images[:, 0, 0] += (180 * labels).astype(np.uint8)
    labels[0] = 1
    whole = DataSet("corners", "Corners", "all", images, labels, ("0", "1"), np.arange(40), "corner", "made here")
    return Crowd(whole, np.arange(40), 0)


def shown(model: Model, crowd: Crowd, method: Method | None = None, layer: str = placing.FINAL) -> page.Shown:
    asked = Asked(model, crowd, layer)
    work = placing.gather(asked)
    assert work.wait(30) and work.state == "done", work.problem
    method = method or Method("PCA")
    placed = placing.place(asked, work.part, method)
    assert placed.wait(60) and placed.state == "done", placed.problem
    image = model.prepare(crowd.whole[1])
    scores = model.scores(image)[0].softmax(0).numpy()
    choice = SimpleNamespace(
        model=model, name=model.name, image=image, probabilities=scores, predicted=int(scores.argmax()), true_label=1,
        class_name=lambda index: model.classes[index], picture=SimpleNamespace(title="corner 1"),
    )  # fmt: skip
    return page.Shown(choice, asked, work.part, method, placed, "label")


@pytest.mark.parametrize("name", ["mnist-one-conv", "digits-8x8-net"])
def test_the_page_opens_with_the_pca_of_final_features(name):
    app = opened("embedding", model=name, pictures="500")
    assert app.segmented_control(key="method").value == "PCA"
    assert app.selectbox(key="vectors").value == "final features"


def test_every_kind_of_vectors_opens():
    for layer in (placing.PIXELS, "conv1"):
        assert (
            opened("embedding", model="mnist-one-conv", pictures="500", vectors=layer).selectbox(key="vectors").value
            == layer
        )


def test_a_link_to_tsne_opens_it_with_its_options():
    app = opened(
        "embedding", model="digits-8x8-net", method="t-SNE", pictures="500", perplexity="7", schedule="full", seed="3"
    )
    assert app.number_input(key="perplexity").value == 7
    assert app.segmented_control(key="schedule").value == "full"
    assert app.number_input(key="seed").value == 3


def test_the_crowd_is_stratified_and_the_same_for_the_same_seed():
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), (1, 28, 28))
    first, again, other = (placing.crowd_for(model, 500, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.positions, again.positions)
    assert not np.array_equal(first.positions, other.positions)
    assert np.bincount(first.labels).tolist() == [50] * 10
    assert len(set(first.positions.tolist())) == 500


def test_the_vectors_are_what_the_last_linear_reads(model, crowd):
    found = shown(model, crowd)
    pixels = model.prepare([crowd.whole[i] for i in range(40)]).flatten(1).numpy()
    assert np.allclose(found.gathered.vectors, pixels[:, :2])
    assert np.allclose(shown(model, crowd, layer=placing.PIXELS).gathered.vectors, pixels)
    assert "input of fc" in found.vector_words


def test_neighbours_are_the_nearest_others(model, crowd):
    found = shown(model, crowd).gathered
    distances = np.linalg.norm(found.vectors[:, None] - found.vectors[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.array_equal(found.near[:, 0], distances.argmin(1))
    assert np.allclose(found.distances[:, 0], distances.min(1), atol=1e-3)


def test_a_mistake_is_counted_and_named_in_the_caption(model, crowd):
    found = shown(model, crowd)
    assert np.flatnonzero(found.wrong).tolist() == [0]
    here = page._here(found, found.placed)
    words = page.caption(found, found.placed, here)
    assert "1 mistake;" in words and "100.0" in words
    assert "All 8 neighbours of **your picture** are of class 1." in words


def test_a_picture_of_the_set_lies_on_its_own_point(model, crowd):
    found = shown(model, crowd)
    here = page._here(found, found.placed)
    assert np.allclose(here.point, found.placed.embedding.points[1], atol=1e-4)
    assert here.near[0][0] == 1 and here.near[0][1] < 1e-3


def test_placing_a_picture_moves_no_other(model, crowd):
    found = shown(model, crowd, Method("t-SNE", 5))
    before = np.array(found.placed.embedding.points)
    page._here(found, found.placed)
    assert np.array_equal(before, found.placed.embedding.points)


def test_tsne_says_what_its_distances_do_not_mean_and_gives_its_divergence(model, crowd):
    found = shown(model, crowd, Method("t-SNE", 5))
    said = page.readings(found, found.placed, None)
    assert "means nothing" in said.banner and said.scree is None
    assert any(name.startswith("KL") for name, _ in said.facts)


def test_a_perplexity_that_the_points_cannot_have_is_lowered_aloud(model, crowd):
    found = shown(model, crowd, Method("t-SNE", 90))
    assert "perplexity 90 is too high for 40 points" in page.readings(found, found.placed, None).status


def test_a_stopped_tsne_stays_stopped_until_it_is_asked_for_again(model, crowd):
    asked = Asked(model, Crowd(crowd.whole, np.arange(1500) % 40, 0), placing.PIXELS)
    work = placing.gather(asked)
    assert work.wait(30)
    method = Method("t-SNE", 4, "full", 9)
    first = placing.place(asked, work.part, method)
    first.cancel()
    assert first.wait(30) and first.state == "cancelled"
    assert placing.place(asked, work.part, method) is first
    second = placing.place(asked, work.part, method, again=True)
    second.cancel()
    assert second is not first and second.wait(30)


def test_gathering_that_was_stopped_waits_to_be_asked_again(model, crowd):
    asked = Asked(model, Crowd(crowd.whole, np.arange(40_000) % 40, 5), placing.FINAL)
    work = BACKGROUND.start(asked.key, lambda: placing._gather(asked))
    work.cancel()
    assert work.wait(30) and work.state == "cancelled"
    assert placing.gather(asked) is work
    second = placing.gather(asked, again=True)
    second.cancel()
    assert second is not work and second.wait(60)


def test_vectors_that_are_not_numbers_fail_with_a_sentence(crowd):
    broken = Corner()
    with torch.no_grad():
        broken.fc.weight.fill_(float("nan"))
    asked = Asked(Model(broken, (1, 4, 4), name="broken"), crowd, "fc")
    work = placing.gather(asked)
    assert work.wait(30)
    placed = placing.place(asked, work.part, Method("PCA"))
    assert placed.wait(30) and placed.state == "failed"
    assert "40 of 40 vectors hold NaN" in placed.problem


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("method", [Method("PCA"), Method("t-SNE")])
def test_a_handful_of_pictures_is_still_a_picture(model, crowd, count, method):
    found = shown(model, Crowd(crowd.whole, np.arange(count), 0), method)
    assert found.placed.embedding.points.shape == (count, 2)
    assert page.readings(found, found.placed, page._here(found, found.placed)).caption


def test_more_classes_than_colours_are_grey_but_for_the_most_frequent():
    classes = tuple(f"class {i}" for i in range(100))
    values = np.concatenate([np.arange(100), np.full(20, 42)])
    colouring = page._by_class("prediction", "It says", values, classes)
    assert colouring.marks[0] == ("class 42", theme.CLASS_MARKS[0])
    assert colouring.marks[-1] == ("91 others", theme.ANY_CLASS)
    assert (colouring.group == 0).sum() == 21


def test_the_sheet_holds_every_picture_exactly():
    digits = data.open("digits-8x8")
    sheet, tile = sheet_of([digits[i] for i in range(300)])
    board = np.asarray(Image.open(io.BytesIO(sheet)))
    columns = board.shape[1] // tile[0]
    row, column = divmod(299, columns)
    assert tile == (8, 8)
    assert np.array_equal(board[8 * row : 8 * row + 8, 8 * column : 8 * column + 8], digits[299])


def test_points_are_fitted_without_changing_their_shape():
    points = np.array([[0, 0], [4, 2], [2, 1]], np.float32)
    centred, turn = fitted(points)
    assert np.allclose(centred, [[-1, -0.5], [1, 0.5], [0, 0]])
    assert np.allclose(turn(np.array([[6, 1]])), [[2, 0]])


def test_the_downloads_hold_the_points_and_a_picture(model, crowd):
    found = shown(model, crowd)
    arrays = page._arrays(found)
    assert arrays["points"].shape == (40, 2) and arrays["explained_variance"].sum() == pytest.approx(1)
    assert page._png(found).startswith(b"\x89PNG")


@pytest.mark.parametrize("method", [Method("PCA"), Method("t-SNE", 10)])
def test_the_python_of_the_plate_makes_the_same_points(method):
    import cnnviz

    model = cnnviz.load("digits-8x8-net")
    found = shown(model, placing.crowd_for(model, 60, 0), method)
    known = {"model": model, "image": found.choice.image}
    exec(page._python(found), known)
    assert np.allclose(known["picture"].points, found.placed.embedding.points, atol=1e-4)


def test_work_is_shared_by_all_who_ask_for_the_same(model, crowd):
    assert placing.gather(Asked(model, crowd, placing.FINAL)) is placing.gather(Asked(model, crowd, placing.FINAL))
    assert BACKGROUND.look(Asked(model, crowd, placing.FINAL).key) is not None
