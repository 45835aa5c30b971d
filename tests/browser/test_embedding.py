"""The Embedding page in a real browser: points answer to the pointer and the keyboard, and stay where one looked."""

import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit

Open = Callable[..., Visit]
SMALL = "model=digits-8x8-net&pictures=500"


@pytest.fixture
def embedding(open_page: Open) -> Visit:
    visit = open_page("/embedding", SMALL)
    visit.see("Your picture")
    return visit


def select_all_with_a_lasso(visit: Visit) -> None:
    page, box = visit.page, visit.page.locator(".stage").bounding_box()
    left, top, right, bottom = box["x"] + 3, box["y"] + 3, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    page.keyboard.down("Shift")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")


def inked(visit: Visit) -> int:
    """How many pixels of the cloud are drawn."""
    return visit.page.locator(".stage > canvas").evaluate(
        """canvas => {
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
          copy.drawImage(canvas, 0, 0);
          const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 128;
          return count;
        }"""
    )


def test_the_cloud_is_drawn_and_a_class_can_be_hidden(embedding: Visit) -> None:
    whole = inked(embedding)
    assert whole > 2000
    classes = embedding.page.locator(".groups button")
    classes.first.click()
    assert classes.first.get_attribute("aria-pressed") == "false"
    embedding.page.wait_for_timeout(200)
    assert 0 < inked(embedding) < whole


def test_arrow_keys_find_a_point_and_enter_chooses_it(embedding: Visit) -> None:
    page = embedding.page
    page.locator(".stage").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".tip").is_visible()
    said = page.locator(".tip b").inner_text()
    page.keyboard.press("Enter")
    assert page.locator(".who h3").first.inner_text() == "The chosen point"
    assert page.locator(".who .top b").first.inner_text() == said
    assert page.locator(".who .near button").count() == 8


def test_pointing_at_a_point_shows_its_picture(embedding: Visit) -> None:
    page = embedding.page
    page.locator(".stage").focus()
    page.keyboard.press("ArrowLeft")
    ring = page.locator(".ring.hover").bounding_box()
    page.mouse.move(2, 2)
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    assert page.locator(".tip canvas").is_visible()
    assert "it says" in page.locator(".tip").inner_text()


def test_a_lasso_gives_the_pictures_their_classes_and_their_mean(embedding: Visit) -> None:
    select_all_with_a_lasso(embedding)
    picked = embedding.page.locator(".picked")
    assert picked.locator("h3").inner_text().startswith("500 selected")
    counts = [int(text) for text in picked.locator(".share span:nth-child(3n)").all_inner_texts()]
    assert sum(counts) == 500
    assert picked.locator(".many button").count() == 120
    assert "mean of 500 pictures" in picked.locator("canvas[role=img]").get_attribute("aria-label")
    picked.get_by_role("button", name="Clear").click()
    assert not picked.is_visible()


def test_zoom_outlives_another_colouring_and_the_table_follows(embedding: Visit) -> None:
    page = embedding.page
    page.locator(".stage").focus()
    embedding.press("+", times=3)
    page.wait_for_timeout(200)
    near = page.locator(".here").nth(1).get_attribute("d")
    embedding.widget("colour").locator("[role=combobox], input").first.click()
    embedding.click("correctness")
    page.locator(".groups").get_by_text("right").wait_for()
    assert page.locator(".here").nth(1).get_attribute("d") == near
    page.locator(".twin summary").click()
    assert page.locator(".twin tbody th").all_inner_texts() == ["right", "mistake"]


def test_tsne_forms_in_place_and_ends_with_its_divergence(open_page: Open) -> None:
    visit = open_page("/embedding", f"{SMALL}&method=t-SNE")
    visit.see(re.compile("means nothing"))
    visit.page.locator(".readings .facts").get_by_text("KL(P").wait_for(timeout=60_000)
    visit.see("Your picture")


def test_a_point_opens_on_every_page(embedding: Visit) -> None:
    page = embedding.page
    page.locator(".stage").focus()
    embedding.press("ArrowUp").press("Enter")
    number = page.locator(".who .top p").nth(1).inner_text().rpartition(" ")[2]
    page.get_by_role("link", name="Open on every page").click()
    page.wait_for_function("() => new URLSearchParams(location.search).has('number')")
    embedding.settle()
    assert number in page.locator(".cnnviz-image").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_on_the_page_is_out_of_reach(open_page: Open, dark: bool) -> None:
    visit = open_page("/embedding", SMALL, dark=dark)
    visit.see("Your picture")
    visit.page.get_by_role("button", name="Select mistakes").click()
    visit.page.locator(".twin summary").click()
    assert visit.axe() == []
