"""The Occlusion page in a real browser: the patch follows the hand, the bars follow the patch."""

from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from tests.browser.visit import Visit

Open = Callable[..., Visit]


@pytest.fixture
def occlusion(open_page: Open) -> Visit:
    visit = open_page("/occlusion", "model=mnist-two-conv")
    visit.page.locator(".panels .panel").nth(3).wait_for()
    return visit


def rows_of_patch(visit: Visit) -> str:
    return visit.page.locator(".hand .facts td").first.inner_text()


def patch_in_link(visit: Visit) -> tuple[int, ...]:
    """The patch of the address (top, left, bottom, right), once there is one."""
    visit.page.wait_for_function("() => new URLSearchParams(location.search).has('patch')")
    visit.settle()
    return tuple(map(int, parse_qs(visit.query)["patch"][0].split(",")))


def test_arrow_keys_move_the_patch_and_the_link_holds_it(occlusion: Visit) -> None:
    patch = occlusion.page.locator("button.held")
    patch.focus()
    before = rows_of_patch(occlusion)
    patch.press("ArrowRight")
    patch_in_link(occlusion)
    assert rows_of_patch(occlusion) != before
    again = Visit(occlusion.page, occlusion.url).go("/occlusion", occlusion.query)
    assert rows_of_patch(again) == rows_of_patch(occlusion)


def test_dragging_moves_the_patch_and_the_bars_follow(occlusion: Visit) -> None:
    page = occlusion.page
    box = page.locator("button.held").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 45, box["y"] + box["height"] / 2 + 36, steps=6)
    page.mouse.up()
    page.wait_for_timeout(300)
    top, left, bottom, right = patch_in_link(occlusion)
    assert (bottom - top, right - left) == (4, 4)
    assert rows_of_patch(occlusion) == f"rows {top}–{bottom - 1}, columns {left}–{right - 1}"


def test_the_handle_resizes_the_patch(occlusion: Visit) -> None:
    patch = occlusion.page.locator("button.held")
    patch.focus()
    patch.press("Shift+ArrowDown")
    top, _, bottom, _ = patch_in_link(occlusion)
    assert bottom - top == 5


def test_pointing_at_a_cell_shows_the_masked_picture_and_a_click_puts_the_patch_there(occlusion: Visit) -> None:
    canvas = occlusion.page.locator(".panel canvas").first
    canvas.hover(position={"x": 84, "y": 84})
    assert "patch over rows" in occlusion.page.locator(".peek .note").inner_text()
    canvas.click(position={"x": 84, "y": 84})
    assert f"rows {patch_in_link(occlusion)[0]}–" in rows_of_patch(occlusion)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_on_the_page_is_out_of_reach(open_page: Open, dark: bool) -> None:
    visit = open_page("/occlusion", "model=mnist-one-conv", dark=dark)
    visit.page.locator(".panels .panel").nth(3).wait_for()
    assert visit.axe() == []


def test_a_large_network_shows_a_coarse_picture_and_offers_a_sharper_one(open_page: Open) -> None:
    visit = open_page("/occlusion", "model=efficientnet-lite0")
    visit.page.locator(".panels .panel").nth(3).wait_for(timeout=90_000)
    visit.see("49 positions")
    visit.page.get_by_role("button", name="Sharpen").wait_for(timeout=90_000)
