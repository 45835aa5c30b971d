"""The visual kit in a real browser: its numbers and colours equal Python's, and what is under the pointer is said."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser

from cnnviz.figures import numbers, scales
from dashboard.components.kit import _read, _theme_json
from tests.browser.visit import Visit
from tests.serving import Served, serving

PAGE = """
import numpy as np
import streamlit as st
from types import SimpleNamespace
from cnnviz.figures import scales
from dashboard import components as c

which = st.query_params.get("show", "grid")
picture = np.linspace(0, 1, 28 * 28).reshape(1, 28, 28)
st.title("A page")
st.header("A plate")
if which in ("grid", "large", "missing", "units", "empty", "all"):
    shape = {"large": (60, 28, 28), "units": (40,)}.get(which, (9, 4, 6))
    values = np.zeros(shape, np.float32)
    values[3, ...] = 1
    if which == "units":
        values[7] = 2.5
    else:
        values[3, 1, 2] = 4.25
        values[5, 2, 0] = 3.125
    if which == "missing":
        values[0, 0, :2] = np.nan
    height, width = (*values.shape, 1, 1)[1:3]
    rows = np.stack([np.arange(height), np.arange(height) + 4], 1).astype(np.int32)
    columns = np.stack([np.arange(width), np.arange(width) + 3], 1).astype(np.int32)
    order = np.argsort(-np.nan_to_num(values).reshape(len(values), -1).max(1), kind="stable")
    order = order[:0] if which == "empty" else order
    dead = np.zeros(len(values), bool)
    dead[8] = True
    maps = c.Maps("relu", values, scales.scale_for(values), order, rows, columns, words="value after ReLU",
                  other=values - 1, other_words="before ReLU", dead=None if which == "units" else dead)
    say = lambda name: lambda *told: st.session_state.update({name: f"{name}: {told}"})
    c.map_grid(maps, picture, key="grid", legend="activation, no unit", caption="**Look for** one cell.",
               chosen=st.session_state.get("cell"), histogram=c.binned(values),
               actions=[{"name": "target", "text": "Make it the target", "filled": True}],
               on_choose=lambda cell: st.session_state.update(cell=cell, chose=f"chose {tuple(cell)}"),
               on_action=lambda name, cell: st.session_state.update(acted=f"{name} {tuple(cell)}"))
    st.text(st.session_state.get("chose", "nothing chosen"))
    st.text(st.session_state.get("acted", "nothing done"))
if which in ("stepper", "all"):
    layers = [SimpleNamespace(name=f"layer{i}", shape=(i + 1, 2, 2)) for i in range(40)]
    now = st.session_state.get("layer", "layer20")
    c.layer_stepper(layers, now, key="stepper", on_choose=lambda name: st.session_state.update(layer=name))
    st.text(f"at {now}")
if which in ("overview", "all"):
    maps = np.random.default_rng(0).random((8, 14, 14)).astype(np.float32)
    strips = [c.Strip("conv1", (16, 14, 14), maps - 0.5, scales.scale_for(maps - 0.5)),
              c.Strip("relu", (16, 14, 14), maps, scales.scale_for(maps))]
    c.overview(picture, [c.Block(range(3, 11), strips)], key="overview",
               units=c.Strip("fc1", (64,), maps.reshape(-1)[:64], scales.scale_for(maps)),
               prediction=c.prediction_of(np.arange(10.0), [str(i) for i in range(10)], chosen=9,
                                          aside_title="How close was it?", aside="Odds of e^{1} = 2.7 to 1.",
                                          actions=[{"name": "explain", "text": "Explain 9", "filled": True}]),
               caption="**Read downward.**",
               on_map=lambda layer, channel: st.session_state.update(said=f"map {layer} {channel}"),
               on_class=lambda index: st.session_state.update(said=f"class {index}"),
               on_action=lambda name: st.session_state.update(said=f"action {name}"))
    st.text(st.session_state.get("said", "nothing said"))
if which in ("pictures", "all"):
    overlay = np.linspace(-1, 1, 28 * 28).reshape(28, 28).astype(np.float32)
    c.ruled_picture(picture, key="picture", alt="a ramp from dark to light", side=196, overlay=overlay,
                    legend="gradient, no unit", brackets=[(8, 8, 14, 14)], title="Input",
                    caption="**Look for** a ramp.")
    c.prediction_bars(np.array([1.0, 3.0]), ["cat", "dog"], key="bars", chosen=1)
    c.prediction_change(np.array([4.0, 1.0, 2.9]), np.array([0.0, 5.0, 1.0]), ["cat", "dog", "fox"], key="change",
                        chosen=0)
    c.legend("weight; **red raises**", scales.scale_for(overlay[None]), key="legend", nan=2)
    c.histogram(overlay, key="histogram", title="Weights")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page above in place of the dashboard."""
    folder = tmp_path_factory.mktemp("components")
    (folder / "page.py").write_text(PAGE)
    with serving("--port", "0", folder=folder, pages=folder / "page.py") as served:
        yield served


def point(visit: Visit, tile: int, row: int, column: int, cells: tuple[int, int], *, click: bool = False) -> None:
    """Move the pointer to the middle of a cell of a map of `cells` (rows, columns), and click it if asked to."""
    box = visit.page.locator(".map canvas").nth(tile).bounding_box()
    assert box
    x = box["x"] + (column + 0.5) * box["width"] / cells[1]
    y = box["y"] + (row + 0.5) * box["height"] / cells[0]
    (visit.page.mouse.click if click else visit.page.mouse.move)(x, y)


def readout(visit: Visit) -> dict[str, str]:
    rows = visit.page.locator(".facts tr")
    told = {row.locator("th").inner_text(): row.locator("td").inner_text() for row in rows.all()}
    return {"title": visit.page.locator(".readout h3").first.inner_text(), **told}


def test_numbers_and_colours_of_the_browser_are_those_of_python(browser: Browser) -> None:
    page = browser.new_page()
    kit = f"const THEME = {_theme_json()};\n{_read('kit.js')}"
    run = lambda js, value: page.evaluate(f"(value) => {{ {kit}\nreturn ({js})(value); }}", value)  # noqa: E731
    samples = [0.0, -0.001, 6.3577, -13.04, 1234.6, 0.004216, 123456.0, -3.1e-7, 9.999, 0.0996]
    assert run("v => v.map(x => fixed(x, 2))", samples) == [numbers.fixed(value, 2) for value in samples]
    assert run("v => v.map(x => short(x))", samples) == [numbers.short(value) for value in samples]
    shares = [0.0, 0.0004, 0.0005, 0.7443, 1.0]
    assert run("v => v.map(percent)", shares) == [numbers.percent(share, unit=False) for share in shares]
    for name in ("cividis", "diverging", "grey"):
        drawn = np.array(run("name => [...table(name, 'light').slice(0, LEVELS + 1)]", name), np.uint32)
        python = scales.palette(name)[: scales.LEVELS + 1].astype(int)
        red_green_blue = np.stack([drawn & 255, drawn >> 8 & 255, drawn >> 16 & 255], 1).astype(int)
        assert np.abs(red_green_blue - python).max() <= 1  # halves are rounded to even in NumPy
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    index = scales.indices(values, scales.Scale(-2.0, 2.0, "diverging")).astype(int)
    assert np.abs(np.array(run("v => [...levels(v, -2, 2)]", values.tolist())) - index).max() <= 1
    page.close()


def test_the_pointer_reads_the_exact_value_and_what_the_cell_sees(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/")
    assert readout(visit)["title"] == "Channel 3, cell (1, 2)"
    point(visit, 1, 2, 0, (4, 6))
    assert readout(visit) == {
        "title": "Channel 5, cell (2, 0)",
        "value after ReLU": "3.13",
        "before ReLU": "2.13",
        "receptive field": "4 × 3 pixels",
        "rows, columns": "2–5, 0–2",
        "cells above 0 in this map": "1 of 24",
    }
    visit.page.mouse.move(5, 5)
    assert readout(visit)["title"] == "Channel 3, cell (1, 2)"
    visit.see("nothing chosen")


def test_a_click_pins_a_cell_and_the_button_makes_it_the_target(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/")
    point(visit, 1, 2, 0, (4, 6), click=True)
    visit.settle().see("chose (5, 2, 0)")
    visit.page.mouse.move(5, 5)
    assert readout(visit)["title"] == "Channel 5, cell (2, 0)"
    visit.click("Make it the target").see("target (5, 2, 0)")


def test_arrows_walk_over_the_maps_enter_chooses_and_shift_moves_the_cell(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/")
    visit.page.locator(".map.on").focus()
    visit.press("ArrowRight").press("Enter").see("chose (5, 2, 0)")
    visit.press("Shift+ArrowDown").see("chose (5, 3, 0)")
    visit.press("Shift+ArrowDown").press("Shift+ArrowRight").see("chose (5, 3, 1)")


def test_a_large_layer_says_about_and_the_chosen_cell_exactly(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=large")
    visit.page.locator(".map.on").wait_for()
    assert readout(visit)["value after ReLU"] == "4.25"
    point(visit, 1, 2, 0, (28, 28))
    assert readout(visit)["value after ReLU"] == "about 3.1"
    point(visit, 1, 2, 0, (28, 28), click=True)
    visit.settle().see("chose (5, 2, 0)")
    assert readout(visit)["value after ReLU"] == "3.13"


def test_a_unit_has_a_number_and_sees_the_whole_picture(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=units")
    assert readout(visit)["title"] == "Unit 7"
    point(visit, 0, 1, 5, (2, 32))
    assert readout(visit)["title"] == "Unit 37"
    point(visit, 0, 1, 20, (2, 32), click=True)  # behind the last unit there is nothing to choose
    visit.settle().see("nothing chosen")


def test_not_a_number_and_dead_are_seen_and_said(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=missing")
    visit.see("2 not a number")
    assert visit.page.get_by_role("button", name="channel 8, highest value dead").count() == 1
    assert "**" not in visit.page.locator(".spread").inner_text()


def test_where_no_map_is_left_a_sentence_says_so(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=empty")
    visit.see("No map is left to show: every channel is 0 on this picture.")
    assert visit.page.locator(".go").count() == 0


def test_cells_are_whole_pixels_at_both_widths(open_page: Callable[..., Visit]) -> None:
    for width in (1440, 1024):
        visit = open_page("/", width=width)
        box = visit.page.locator(".map canvas").first.bounding_box()
        assert box and box["width"] % 6 == 0 and box["height"] % 4 == 0 and box["width"] / 6 == box["height"] / 4
        main = visit.page.locator("[data-testid=stMain]")
        body = main.evaluate("main => main.scrollWidth - main.clientWidth")
        assert body <= 0


def test_the_stepper_steps_by_arrow_keys_and_shows_where_it_is(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=stepper")
    current = visit.page.locator(".st.on")
    assert visit.page.evaluate(
        "(e) => { const a = e.getBoundingClientRect(), b = e.parentElement.getBoundingClientRect();"
        " return a.left >= b.left && a.right <= b.right + 1; }",
        current.element_handle(),
    )
    current.focus()
    visit.press("ArrowRight").see("at layer21")
    visit.press("ArrowRight").see("at layer22")
    visit.page.get_by_role("button", name="previous: layer").click()
    visit.settle().see("at layer21")


def test_an_overviews_maps_classes_and_buttons_answer(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=overview")
    visit.page.get_by_role("button", name="relu, channel 4,").click()
    visit.settle().see("map relu 4")
    visit.page.get_by_role("button", name="explain 8").click()
    visit.settle().see("class 8")
    visit.click("Explain 9").see("action explain")


def test_an_overlay_reads_its_value_under_the_pointer(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=pictures")
    box = visit.page.locator(".ruled canvas").bounding_box()
    assert box and box["width"] == 196
    visit.page.mouse.move(box["x"] + 3, box["y"] + 3)
    visit.see("row 0, column 0: −1.00")


def test_a_change_is_told_with_its_sign_in_points(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/", "show=pictures")
    told = visit.page.locator(".cmp").inner_text().split()
    assert told[told.index("cat") :][:4] == ["cat", "72.3", "0.7", "−71.7"]
    assert told[told.index("dog") :][:4] == ["dog", "3.6", "97.6", "+94.0"]


@pytest.mark.parametrize("dark", [False, True])
def test_every_component_is_accessible_in_both_themes(open_page: Callable[..., Visit], dark: bool) -> None:
    visit = open_page("/", "show=all", dark=dark)
    assert visit.page.locator(".kit").count() == 8
    assert visit.axe() == []
