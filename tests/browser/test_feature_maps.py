"""The page of feature maps, with a shipped model and a real picture."""

from collections.abc import Callable

import numpy as np

import cnnviz
from dashboard import gallery
from tests.browser.visit import Visit

MODEL = "mnist-one-conv"


def first_digit_through(layer: str):
    model = cnnviz.load(MODEL)
    image = model.prepare(gallery.from_gallery(gallery.names_for(model.size)[0]).pixels)
    return model.trace(image, keep=(layer,)).outputs[layer][0].detach().numpy()


def test_the_cell_that_is_pinned_is_the_strongest_of_the_layer(open_page: Callable[..., Visit]) -> None:
    maps = first_digit_through("relu")
    channel, row, column = (int(i) for i in np.unravel_index(maps.argmax(), maps.shape))
    visit = open_page("/feature_maps", f"model={MODEL}&layer=relu")
    visit.see(f"Channel {channel}, cell ({row}, {column})")
    assert visit.page.locator(".facts td").first.inner_text() == f"{maps.max():.2f}"
    visit.see("relu, all 8 channels")


def test_a_cell_becomes_the_target_of_every_page(open_page: Callable[..., Visit]) -> None:
    maps = first_digit_through("relu")
    channel, row, column = (int(i) for i in np.unravel_index(maps.argmax(), maps.shape))
    visit = open_page("/feature_maps", f"model={MODEL}&layer=relu").click("Make it the target")
    wanted = f"relu channel {channel} cell ({row}, {column})"
    assert visit.widget("target").locator("input").input_value() == wanted
    assert f"target=relu+channel+{channel}+cell" in visit.query
    visit.go("/", visit.query)
    assert visit.widget("target").locator("input").input_value() == wanted


def test_before_and_after_the_activation_are_one_step_apart_and_back_returns(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/feature_maps", f"model={MODEL}&layer=relu")
    visit.click("before ReLU").see("conv1, all 8 channels")
    assert "layer=conv1" in visit.query
    visit.see("value before ReLU, no unit")
    visit.page.go_back()
    visit.settle().see("relu, all 8 channels")


def test_a_link_says_layer_order_scale_and_cell(open_page: Callable[..., Visit]) -> None:
    query = f"model={MODEL}&layer=pool&order=channel&scale=map&cell=2,3,4"
    visit = open_page("/feature_maps", query)
    visit.see("Channel 2, cell (3, 4)")
    visit.see("a scale for each map")
    assert visit.page.locator(".map b").all_inner_texts() == [str(channel) for channel in range(8)]


def test_what_a_link_asks_in_vain_is_passed_over(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/feature_maps", f"model={MODEL}&layer=conv9&cell=900,1,1")
    visit.see("relu, all 8 channels")
    assert visit.page.locator(".map.on").count() == 1


def test_the_most_different_channels_of_two_pictures_come_first(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/feature_maps", f"model={MODEL}&layer=relu&order=difference")
    visit.see("mean difference")
    under = [float(text) for text in visit.page.locator(".map i").all_inner_texts()]
    assert len(under) == 8 and under == sorted(under, reverse=True)


def test_every_layer_opens_in_both_themes_without_a_violation(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/feature_maps", f"model={MODEL}", dark=True)
    for layer in cnnviz.load(MODEL).layers:
        visit.page.locator(f'[data-id="stop-{layer.name}"]').click()
        visit.settle().see(f"{layer.name}, all")
    assert visit.axe() == []
    assert open_page("/feature_maps", f"model={MODEL}&layer=conv1").axe() == []
