"""The frame in a real browser: every page opens clean, and what was chosen is in the address, the history and the link.

`open_page` fails a test on any console error, error box or request to the outside, so a test says only what it adds.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image

from dashboard import views
from tests.browser.visit import Visit

Opening = Callable[..., Visit]
PAGES = [page.slug for page in views.pages()]
ANSWER = ".cnnviz-answer"


def address(slug: str) -> str:
    return "/" if slug == views.HOME else f"/{slug}"


def pick(visit: Visit, label: str, option: str) -> Visit:
    """Choose an option of one of the menus at the left; typing brings up one that a long list does not show yet."""
    menu = visit.page.get_by_test_id("stSidebar").get_by_role("combobox", name=label).first
    menu.click()
    menu.press_sequentially(option)
    visit.page.get_by_role("option", name=option, exact=True).click()
    return visit.settle()


def asked(visit: Visit) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(visit.query).items()}


def says(visit: Visit) -> str:
    """The network's answer at the sidebar's foot: "4"."""
    return visit.page.locator(f"{ANSWER} b").first.inner_text()


def draw_a_seven(visit: Visit) -> None:
    pad = visit.page.locator("canvas[data-id=pad]")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    left, top, side, mouse = box["x"], box["y"], box["width"], visit.page.mouse
    mouse.move(left + 0.3 * side, top + 0.15 * side)
    mouse.down()
    mouse.move(left + 0.7 * side, top + 0.15 * side, steps=6)
    mouse.move(left + 0.45 * side, top + 0.85 * side, steps=6)
    mouse.up()
    visit.settle()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("slug", PAGES)
def test_a_page_opens_without_trouble_and_without_barriers(open_page: Opening, slug: str, dark: bool) -> None:
    visit = open_page(address(slug), dark=dark)
    title = next(page.title for page in views.pages() if page.slug == slug)
    assert visit.page.get_by_role("heading", name=title, level=1).count() == 1
    assert visit.axe() == []


def test_the_narrow_page_has_no_sideways_scrolling(open_page: Opening) -> None:
    visit = open_page("/", width=1024, height=768)
    wide = visit.page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth - main.clientWidth")
    assert wide <= 0


def test_every_choice_is_in_the_address_and_the_address_gives_it_back(open_page: Opening) -> None:
    visit = open_page("/")
    assert visit.query == ""
    pick(visit, "Target", "Class 7")
    pick(visit, "Picture", "0, MNIST train 1")
    assert asked(visit) == {"target": "Class 7", "picture": "0, MNIST train 1"}
    other = open_page("/", visit.query)
    assert says(other) == says(visit) == "0"
    assert other.page.get_by_role("combobox", name="Target").input_value() == "Class 7"


def test_back_is_the_choice_before_and_forward_the_one_after(open_page: Opening) -> None:
    visit = open_page("/")
    pick(visit, "Picture", "0, MNIST train 1")
    pick(visit, "Picture", "8, MNIST train 17")
    assert says(visit) == "8"
    visit.page.go_back()
    assert says(visit.settle()) == "0"
    visit.page.go_back()
    assert says(visit.settle()) == "4" and visit.query == ""
    visit.page.go_forward()
    assert says(visit.settle()) == "0"


def test_a_choice_goes_along_to_another_page_and_back_is_one_step(open_page: Opening) -> None:
    visit = open_page("/", "picture=0,+MNIST+train+1")
    visit.page.get_by_role("navigation", name="Where to go next").get_by_role("link").first.click()
    visit.settle()
    assert not visit.page.url.startswith(f"{visit.url}/?") and says(visit) == "0"
    assert asked(visit)["picture"] == "0, MNIST train 1"
    visit.page.go_back()
    visit.settle()
    assert visit.page.url == f"{visit.url}/?picture=0,+MNIST+train+1"


def test_reset_brings_the_defaults_back(open_page: Opening) -> None:
    visit = open_page("/", "target=Class+3&picture=0,+MNIST+train+1&readout=Prob.")
    assert says(visit) == "0"
    visit.page.locator(".cnnviz-reset").click()
    visit.settle()
    assert visit.query == "" and says(visit) == "4"
    assert visit.page.get_by_role("combobox", name="Target").input_value() == "Predicted class, 4"


def test_the_target_menu_follows_the_prediction(open_page: Opening) -> None:
    visit = pick(open_page("/"), "Picture", "0, MNIST train 1")
    assert visit.page.get_by_role("combobox", name="Target").input_value() == "Predicted class, 0"


def test_a_wrong_address_is_answered_in_a_sentence(open_page: Opening) -> None:
    visit = open_page("/", "model=nonsense&target=Class+99")
    visit.see("“nonsense” is not a model here")
    visit.see("“Class 99” is not a target in")
    assert says(visit) == "4"


def test_a_digit_is_drawn_with_the_mouse_and_recognised(open_page: Opening) -> None:
    visit = pick(open_page("/"), "Image", "Draw a digit")
    draw_a_seven(visit)
    assert says(visit) == "7"
    assert re.fullmatch(r"drawing [0-9a-f]{8}", asked(visit)["mine"])
    assert visit.axe() == []
    visit.click("Undo", role="button")
    visit.page.reload()
    visit.settle().see("please give it again")


def test_a_digit_is_drawn_with_the_keyboard(open_page: Opening) -> None:
    visit = pick(open_page("/"), "Image", "Draw a digit")
    visit.page.locator("canvas[data-id=pad]").focus()
    for key, times in (("ArrowUp", 12), (" ", 1), ("ArrowDown", 24), (" ", 1)):
        visit.press(key, times)
    assert says(visit) == "1"


def test_a_photo_is_uploaded_and_what_is_no_photo_is_refused(open_page: Opening, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "words.png").write_text("not a picture")
    visit = pick(open_page("/"), "Image", "Upload a picture")
    chooser = visit.page.locator("input[type=file]")
    chooser.set_input_files(tmp_path / "grey.png")
    visit.settle().see("grey.png")
    assert asked(visit)["mine"].startswith("grey.png ")
    chooser.set_input_files(tmp_path / "words.png")
    visit.settle().see("words.png: ")
    assert asked(visit)["mine"].startswith("grey.png ")


def test_a_class_that_is_clicked_becomes_the_target(open_page: Opening) -> None:
    visit = open_page("/")
    visit.page.get_by_role("button", name="explain 9").click()
    assert asked(visit.settle()) == {"target": "Class 9"}


def test_a_map_that_is_clicked_opens_large(open_page: Opening) -> None:
    visit = open_page("/")
    visit.page.get_by_role("button", name=re.compile("^conv1, channel")).first.click()
    visit.settle()
    assert "/feature_maps" in visit.page.url and asked(visit)["cell"].count(",") == 2
    visit.page.get_by_role("heading", name="Feature maps", level=1).wait_for()


def test_four_against_nine_is_one_click(open_page: Opening) -> None:
    visit = open_page("/")
    visit.page.get_by_role("button", name=re.compile(r"^4 against \d$")).click()
    visit.settle()
    assert asked(visit)["target"] == "Class difference" and asked(visit)["of"] == "Class 4"
    assert visit.page.url.split("?")[0] != f"{visit.url}/"


def test_the_definition_and_the_python_unfold(open_page: Opening) -> None:
    visit = open_page("/")
    visit.page.get_by_role("button", name="What is this?").click()
    visit.see("Every convolutional layer turns its input into maps")
    visit.page.get_by_role("button", name="Python").click()
    visit.see(re.compile("model = cnnviz.load"))
    assert visit.axe() == []


def test_a_plate_is_saved_as_picture_and_as_arrays(open_page: Opening) -> None:
    visit = open_page("/")
    with visit.page.expect_download() as picture:
        visit.page.get_by_role("button", name="PNG of figure 1").click()
    assert Image.open(picture.value.path()).width > 400
    with visit.page.expect_download() as arrays:
        visit.page.get_by_role("button", name="npz of figure 1").click()
    content = Path(arrays.value.path()).read_bytes()
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("manifest.json"))
    assert manifest["image"] == "MNIST train 4438" and manifest["target"] == "class:4"
    assert len(manifest["model_digest"]) == 16 and "torch" in manifest["versions"]


def test_the_projector_hides_the_menus_and_escape_brings_them_back(open_page: Opening) -> None:
    visit = open_page("/", "present=1")
    assert visit.page.evaluate("getComputedStyle(document.documentElement).fontSize") == "22px"
    assert visit.page.get_by_text("Copy link").count() == 0
    visit.press("ArrowRight")
    assert visit.page.url != f"{visit.url}/?present=1" and asked(visit)["present"] == "1"
    visit.press("Escape")
    assert "present" not in asked(visit)
    visit.see("Copy link")


def test_pictures_are_as_small_after_the_projector_as_before(open_page: Opening) -> None:
    visit = open_page("/")
    tile = visit.page.get_by_role("button", name=re.compile("^conv1, channel")).first
    before = tile.bounding_box()
    visit.page.get_by_text("Present", exact=True).click()
    larger = tile.bounding_box() if visit.settle() else None
    visit.press("Escape")
    after = tile.bounding_box()
    assert before and larger and after and larger["width"] > before["width"] == after["width"]
