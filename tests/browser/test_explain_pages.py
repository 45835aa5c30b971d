"""Saliency and Guided backprop in a real browser: every control of ours is used, and its effect is seen."""

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs

import numpy as np
import pytest

from tests.browser.visit import Visit

Open = Callable[..., Visit]


def parameters(visit: Visit) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(visit.query).items()}


def wait_for(visit: Visit, **expected: str | None) -> None:
    """Wait until the address says so; None: until it is silent about it."""
    visit.page.wait_for_function(
        """expected => { const query = new URLSearchParams(location.search);
        return Object.entries(expected).every(([name, value]) => query.get(name) === value); }""",
        arg=expected,
        timeout=20_000,
    )
    visit.settle()


def large(visit: Visit) -> str:
    """The title of the large map."""
    return visit.page.locator(".right .title h3").inner_text()


def pixels(visit: Visit, selector: str) -> str:
    return visit.page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


@pytest.fixture
def saliency(open_page: Open) -> Visit:
    visit = open_page("/saliency")
    visit.page.locator("button.tile canvas").first.wait_for()
    return visit


def test_a_map_that_is_clicked_becomes_the_large_one_and_part_of_the_link(saliency: Visit) -> None:
    tile = saliency.page.locator("button.tile[data-id^='map-guided_backprop']").nth(1)
    tile.click()
    wait_for(saliency, method="guided_backprop")
    assert "Guided backprop" in large(saliency)
    assert parameters(saliency)["row"].startswith("class:")
    again = Visit(saliency.page, saliency.url).go("/saliency", saliency.query)
    assert "Guided backprop" in large(again)


def test_back_is_the_map_before(saliency: Visit) -> None:
    saliency.page.locator("button.tile[data-id^='map-smoothgrad']").first.click()
    wait_for(saliency, method="smoothgrad")
    saliency.page.go_back()
    wait_for(saliency, method=None)
    assert large(saliency).startswith("Saliency")


def test_the_numbers_can_be_taken_away_with_their_manifest(saliency: Visit) -> None:
    with saliency.page.expect_download() as download:
        saliency.page.get_by_role("button", name="npz").first.click()
    with np.load(download.value.path()) as arrays:
        manifest = json.loads(arrays["manifest.json"])
        target = f"class_{manifest['target'].split(':')[1]}"
        assert arrays[f"saliency__{target}"].shape == (1, 28, 28)
    assert manifest["method"] == "saliency"
    assert manifest["model_digest"]


def test_arrows_walk_over_the_sheet_and_enter_chooses(saliency: Visit) -> None:
    saliency.page.locator("button.tile.on").focus()
    saliency.press("ArrowRight").press("Enter")
    wait_for(saliency, method="input_x_gradient")
    assert "Input" in large(saliency)


def test_signed_or_magnitude_scale_overlay_and_outline_change_the_picture(saliency: Visit) -> None:
    before = pixels(saliency, ".stage canvas")
    saliency.click("magnitude")
    wait_for(saliency, show="magnitude")
    assert pixels(saliency, ".stage canvas") != before
    saliency.click("each method")
    wait_for(saliency, limits="method")
    saliency.see(re.compile("One scale for each method"))
    slider = saliency.page.get_by_label("Map over picture")
    slider.focus()
    mixed = pixels(saliency, ".stage canvas")
    saliency.press("Home")
    wait_for(saliency, overlay="0")
    assert pixels(saliency, ".stage canvas") != mixed
    saliency.page.get_by_label("Outline").click()
    wait_for(saliency, outline="0")
    assert saliency.page.locator(".contour").count() == 0


def test_the_probe_says_the_pixel_under_the_pointer_and_moves_with_arrows(saliency: Visit) -> None:
    readout = saliency.page.locator(".readout")
    assert "strongest pixel" in readout.inner_text()
    box = saliency.page.locator(".stage canvas").bounding_box()
    assert box
    cell = box["width"] / 28
    saliency.page.mouse.move(box["x"] + 9.5 * cell, box["y"] + 12.5 * cell)
    assert "row 12, column 9" in readout.inner_text()
    saliency.page.locator(".stage").focus()
    saliency.page.keyboard.press("ArrowDown")
    assert "row 13, column 9" in readout.inner_text()
    assert re.search(r"rank\s+[\d,]+ of 784", readout.inner_text())


def test_the_strongest_pixels_are_a_mask_that_can_be_taken_away(saliency: Visit) -> None:
    saliency.click("strongest pixels")
    wait_for(saliency, **{"as": "mask"})
    slider = saliency.page.get_by_label("Keep the top")
    slider.focus()
    saliency.press("ArrowRight", times=5)
    wait_for(saliency, keep="15")
    with saliency.page.expect_download() as download:
        saliency.page.get_by_role("button", name="Mask PNG").click()
    assert download.value.suggested_filename.endswith("top15.png")
    white = saliency.page.evaluate(
        """async blob => { const image = new Image(); image.src = blob; await image.decode();
        const canvas = document.createElement("canvas"); canvas.width = image.width; canvas.height = image.height;
        const drawing = canvas.getContext("2d"); drawing.drawImage(image, 0, 0);
        const data = drawing.getImageData(0, 0, image.width, image.height).data; let count = 0;
        for (let i = 0; i < data.length; i += 4) count += data[i] === 255; return count; }""",
        _as_url(download.value.path().read_bytes()),
    )
    assert white == round(0.15 * 784)


def _as_url(content: bytes) -> str:
    import base64

    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_the_tests_of_a_map_run_when_asked_and_say_a_sentence_each(saliency: Visit) -> None:
    assert saliency.page.get_by_text("How far to trust it").count() == 0
    saliency.page.get_by_text("Test the large map").click()
    saliency.see("all tests done")
    for words in ("rank correlation with the real one", "random ones", "Noise of at most"):
        saliency.see(re.compile(words))
    assert parameters(saliency)["test"] == "true"


def test_a_neuron_is_picked_with_one_click_and_its_field_is_shown(open_page: Open) -> None:
    visit = open_page("/guided_backprop")
    visit.page.locator("button.map canvas").first.click(position={"x": 20, "y": 30})
    visit.see(re.compile(r"channel \d+, cell \(\d+, \d+\)$"))
    assert "cell" in parameters(visit)["target"]
    visit.see("receptive field").click()
    wait_for(visit, crop="1")
    visit.click("as a picture")
    wait_for(visit, show="colour")
    visit.click("The predicted class")
    visit.see(re.compile(r"^Class \S+$"))


def test_strongest_in_this_picture_is_a_neuron_above_zero(open_page: Open) -> None:
    visit = open_page("/guided_backprop")
    visit.click("Strongest in this picture")
    visit.see(re.compile(r"cell \(\d+, \d+\)$"))
    value = visit.page.locator(".panel .facts td").first.inner_text()
    assert float(value) > 0
    visit.see("Where it fires most")


def test_random_weights_are_one_click_away(open_page: Open) -> None:
    visit = open_page("/guided_backprop")
    visit.page.get_by_text("Make the weights random").click()
    visit.see("The same with random weights")
    visit.see(re.compile("With all weights random down to"))


def test_the_worked_example_gives_the_answers_known_by_hand_and_follows_what_is_typed(open_page: Open) -> None:
    visit = open_page("/guided_backprop")
    for answer in ("(−2, −3)", "(1, 1)", "(1, 0)"):
        visit.see(f"✓ {answer} as worked out by hand")
    second = visit.page.get_by_label("pixel 2", exact=True)
    second.fill("3")
    second.press("Enter")
    visit.page.get_by_role("button", name="Back to the first numbers").wait_for()
    # f = (2, 3, 5): every unit is open, so the gradient is all of W transposed times v
    assert visit.page.locator(".rule .answer").first.inner_text().split()[-2:] == ["−2", "−2"]
    visit.page.get_by_role("button", name="Back to the first numbers").click()
    visit.see("✓ (−2, −3) as worked out by hand")


@pytest.mark.parametrize(("path", "dark"), [("/saliency", False), ("/saliency", True), ("/guided_backprop", True)])
def test_nobody_is_shut_out(open_page: Open, path: str, dark: bool) -> None:
    visit = open_page(path, "test=true&random=true", dark=dark)
    visit.see(re.compile("all tests done|The same with random weights"))
    visit.settle()
    assert visit.axe() == []


def test_the_menus_of_methods_and_options_shut_nobody_out(saliency: Visit) -> None:
    saliency.click("Options")
    saliency.see("Samples")
    assert saliency.axe() == []


def test_a_method_is_added_to_the_sheet_and_to_the_link(saliency: Visit) -> None:
    saliency.click("Methods")
    saliency.page.get_by_role("button", name="DeconvNet").last.click()
    saliency.page.locator("button.tile[data-id^='map-deconvnet'] canvas").first.wait_for()
    assert "DeconvNet" in parse_qs(saliency.query)["methods"]
