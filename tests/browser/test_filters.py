"""The Filters page in a real browser: choosing a kernel, with pointer and keyboard, and everything that orders them."""

import re

import pytest


@pytest.mark.parametrize("dark", [False, True])
def test_every_kind_of_convolution_is_drawn_and_free_of_violations(open_page, dark):
    visit = open_page("/filters", dark=dark)
    visit.see(re.compile(r"conv1, all \d+ kernels"))
    assert visit.axe() == []
    visit.go("/filters", "model=efficientnet-lite0")
    visit.see("stem.conv, 32 filters × 3 inputs")
    assert visit.axe() == []


def test_a_kernel_of_a_matrix_is_chosen_with_the_pointer_and_is_a_link(open_page):
    visit = open_page("/filters", "model=mnist-two-conv&layer=conv2")
    visit.see("conv2, 64 filters × 32 inputs")
    face = visit.page.locator(".face").first
    box = face.bounding_box()
    face.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.1})
    visit.settle()
    title = visit.page.locator(".side h3").first.inner_text()
    chosen = re.fullmatch(r"Filter (\d+), input (\d+)", title)
    assert chosen and f"kernel={chosen[1]}%2C{chosen[2]}" in visit.query
    again = open_page("/filters", visit.query)
    again.see(title)


def test_arrow_keys_walk_over_the_matrix_and_enter_chooses(open_page):
    visit = open_page("/filters", "model=mnist-two-conv&layer=conv2&filter_order=number&kernel=0,0")
    visit.see("Filter 0, input 0")
    visit.page.locator(".face").first.focus()
    visit.press("ArrowRight", 3).press("ArrowDown", 2).press("Enter")
    visit.see("Filter 2, input 3")


def test_tiles_are_walked_with_the_arrows_too(open_page):
    visit = open_page("/filters", "model=mnist-one-conv&filter_order=number")
    visit.page.locator(".tile").first.focus()
    visit.press("ArrowRight", 2).press("Enter")
    visit.see("Filter 2")
    assert "kernel=2" in visit.query


def test_orders_and_scales_change_what_is_drawn(open_page):
    visit = open_page("/filters", "model=mnist-one-conv")

    def order():
        return [tile.get_attribute("data-id") for tile in visit.page.locator(".tile").all()]

    strongest = order()
    visit.click("number")
    assert order() == [f"tile-{i}" for i in range(8)] != strongest
    visit.click("mean activation")
    visit.see(re.compile("mean activation on this picture"))
    visit.click("kernel")
    visit.see("− largest")
    assert "filter_order=mean+activation" in visit.query and "kernel_scale=kernel" in visit.query
    visit.page.go_back()
    visit.settle()
    assert "kernel_scale=kernel" not in visit.query


def test_a_model_with_epochs_shows_how_far_its_kernels_came(open_page):
    visit = open_page("/filters", "model=mnist-one-conv")
    visit.click("change since the start")
    visit.see("conv1, how far its 8 filters came")
    visit.see("change of weight")


def test_colour_kernels_are_taken_apart(open_page):
    visit = open_page("/filters", "model=efficientnet-lite0")
    visit.click("blue")
    visit.see(re.compile(r"Filter \d+, blue"))
    visit.click("channel by channel")
    visit.see(re.compile(r"Filter \d+, input 2"))
    assert visit.page.locator(".face").count() >= 1


def test_a_wide_layer_is_turned_page_by_page(open_page):
    visit = open_page("/filters", "model=efficientnet-lite0&layer=head.conv")
    visit.see("filters 1–160 of 1,280, strongest first")
    visit.page.get_by_role("button", name="next filters").click()
    visit.settle()
    visit.see("filters 161–320 of 1,280, strongest first")
    assert "part=2" in visit.query


def test_a_filter_becomes_the_target_and_leads_to_its_map(open_page):
    visit = open_page("/filters", "model=mnist-two-conv&layer=conv2&kernel=5,3")
    visit.click("Make it the target")
    assert visit.widget("target").locator("input").input_value() == "conv2 channel 5"
    visit.click("Show its map")
    visit.page.wait_for_url(re.compile("/feature_maps"))
    visit.settle()
    visit.see(re.compile(r"Channel 5, cell"))
    assert "layer=relu_1" in visit.query


@pytest.mark.parametrize("width", [1024, 1440])
def test_nothing_is_wider_than_the_page(open_page, width):
    visit = open_page("/filters", "model=mnist-two-conv&layer=conv2", width=width, height=768)
    assert visit.page.locator("[data-testid=stMain]").evaluate("box => box.scrollWidth - box.clientWidth") <= 0
