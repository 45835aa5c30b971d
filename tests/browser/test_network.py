"""The Network page in a real browser: silhouette, table and detail are one choice, and large networks fold."""

import re

import pytest


@pytest.mark.parametrize("dark", [False, True])
def test_a_small_network_is_shown_whole_and_free_of_violations(open_page, dark):
    visit = open_page("/network", "model=mnist-two-conv", dark=dark)
    visit.see("mnist-two-conv, 10 layers")
    assert visit.page.locator("tr[data-place]").count() == 10
    assert visit.axe() == []


def test_a_layer_is_chosen_in_the_table_and_in_the_silhouette(open_page):
    visit = open_page("/network", "model=mnist-two-conv")
    visit.page.get_by_role("button", name="conv2", exact=True).click()
    visit.settle()
    assert "layer=conv2" in visit.query
    visit.see(re.compile(r"Conv2d\(32, 64"))
    visit.page.locator(".box").nth(0).locator(".body").click()
    visit.settle()
    assert "layer=conv1" in visit.query
    visit.see(re.compile(r"Conv2d\(1, 32"))


def test_arrow_keys_walk_down_the_table_and_enter_chooses(open_page):
    visit = open_page("/network", "model=mnist-two-conv&layer=conv1")
    visit.page.get_by_role("button", name="conv1", exact=True).focus()
    visit.press("ArrowDown", 3).press("Enter")
    assert "layer=conv2" in visit.query


def test_a_large_network_folds_into_blocks_with_pointer_and_keys(open_page):
    visit = open_page("/network", "model=efficientnet-lite0&layer=stem.conv")
    rows = visit.page.locator("tr[data-place]")
    folded = rows.count()
    block = visit.page.locator("[data-id='block-blocks.3']")
    assert block.get_attribute("aria-expanded") == "false"
    block.focus()
    visit.press("ArrowRight")
    assert block.get_attribute("aria-expanded") == "true" and rows.count() > folded
    visit.press("ArrowLeft")
    assert rows.count() == folded
    visit.click("Unfold all")
    assert rows.count() == 149
    visit.click("Fold all")
    assert rows.count() == folded
    assert visit.axe() == []


def test_a_layer_leads_to_its_filters_and_back_returns(open_page):
    visit = open_page("/network", "model=mnist-two-conv&layer=conv2")
    visit.click("Open its filters")
    visit.page.wait_for_url(re.compile("/filters"))
    visit.settle()
    visit.see("conv2, 64 filters × 32 inputs")
    visit.page.go_back()
    visit.page.wait_for_url(re.compile("/network"))
    visit.settle()
    visit.see("mnist-two-conv, 10 layers")


@pytest.mark.parametrize("model", ["mnist-two-conv", "efficientnet-lite0"])
def test_nothing_is_wider_than_the_page(open_page, model):
    visit = open_page("/network", f"model={model}", width=1024, height=768)
    inner = visit.page.locator("[data-testid=stMain]").evaluate("box => box.scrollWidth - box.clientWidth")
    table = visit.page.locator(".layers").bounding_box()
    assert inner <= 0 and table["x"] + table["width"] <= 1024
