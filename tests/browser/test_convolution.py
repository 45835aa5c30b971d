"""The page of convolution, in a browser: every number on it is worked out there."""

import importlib
import re
from collections.abc import Callable

import numpy as np
import pytest

import cnnviz
from cnnviz.convolution import Window
from dashboard import gallery
from tests.browser.visit import Visit

by_hand = importlib.import_module("dashboard.components.by_hand")
RESULT = [["2", "5", "1"], ["2", "2", "3"], ["2", "3", "4"]]


def table(visit: Visit, name: str) -> list[list[str]]:
    """The numbers of a computed table, row by row."""
    return visit.page.evaluate(
        """name => {
          const roots = [...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean);
          const cells = roots.flatMap(r => [...r.querySelectorAll(`[data-id^="${name}-"]`)]);
          const rows = [];
          for (const cell of cells) {
            const [, r, c] = cell.dataset.id.split("-").map(Number);
            (rows[r] ??= [])[c] = cell.textContent || cell.value;
          }
          return rows;
        }""",
        name,
    )


def test_the_first_example_gives_what_was_worked_out_on_paper(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    assert table(visit, "map") == RESULT == table(visit, "relu")
    assert table(visit, "pooled") == [["5"]]
    visit.see("Hatched cells are ignored: ⌊3 / 2⌋ = 1.")
    assert visit.page.locator(".drop").count() == 5


def test_stepping_never_asks_the_server_and_ends_in_the_address(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    visit.page.locator('[data-id="map-0-0"]').click()
    visit.see("Position 1 of 9, row 0, column 0")
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("ArrowDown")
    visit.see("Position 5 of 9, row 1, column 1")
    assert "hand=" not in visit.query
    visit.page.wait_for_function("location.search.includes('max_4')")
    visit.settle()
    visit.go("/convolution", visit.query).see("Position 5 of 9, row 1, column 1")


def test_a_number_that_is_typed_changes_the_sum_at_once(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    visit.page.locator('[data-id="kernel-0-0"]').fill("-1")
    visit.see("3 · (−1) + 1 · 0 + 1 · 0 + 0 · 1 =")
    assert table(visit, "map")[1][2] == "−3"
    assert table(visit, "relu")[1][2] == "0"


def test_what_stride_leaves_over_is_hatched_and_a_misfit_is_explained(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    visit.page.locator('[data-id="set-stride"]').fill("3")
    assert table(visit, "map") == [["2"]]
    assert visit.page.locator(".drop[data-id^=image]").count() == 12
    visit.page.locator('[data-id="set-kernel"]').fill("5")
    visit.see("a window that spans 5 does not fit into 4 + 2 · 0 = 4 cells")


def test_twelve_by_twelve_gives_ten_by_ten(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", width=1024, height=768)
    visit.page.locator('[data-id="set-image"]').fill("12")
    visit.page.locator('[data-id="set-kernel"]').fill("3")
    numbers = table(visit, "map")
    assert (len(numbers), len(numbers[0])) == (10, 10)
    visit.page.locator('[data-id="set-pool"]').select_option("global")
    assert len(table(visit, "pooled")) == 1


def test_play_runs_to_the_last_position_and_stops(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    visit.click("Play").see("Position 9 of 9")
    visit.see("Play")


def test_the_next_number_can_be_predicted(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    visit.page.locator('[data-id="predict"]').check()
    assert table(visit, "map")[1][2] == "?"
    visit.page.locator('[data-id="guess"]').fill("7")
    visit.page.keyboard.press("Enter")
    visit.see("Not 7")
    visit.page.locator('[data-id="guess"]').fill("3")
    visit.page.keyboard.press("Enter")
    assert table(visit, "map")[1][2] == "3"


def test_the_lesson_is_walked_with_the_keyboard_and_every_step_is_a_link(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution")
    visit.page.locator('[data-id="lesson"]').check()
    visit.see("A picture is a table of numbers")
    visit.page.locator('[data-id="lesson-next"]').focus()
    for _ in range(by_hand.STEPS - 1):
        visit.page.keyboard.press("Enter")
    visit.see("A picture of 12 × 12 under a kernel of 3 × 3 gives 10 × 10")
    assert len(table(visit, "map")) == 10
    visit.page.wait_for_function("location.search.includes('lesson=11')")
    visit.settle().go("/convolution", visit.query).see("11 of 11")
    assert visit.axe() == []


def test_a_broken_link_opens_the_first_example(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "hand=1_2~~3~~1_1_1_1_max_zero&part=nothing&at=x&channel=-1")
    assert table(visit, "map") == RESULT


# On this network


def first_picture_through(name: str, layer: str) -> np.ndarray:
    model = cnnviz.load(name)
    image = model.prepare(gallery.from_gallery(gallery.names_for(model.size)[0]).pixels)
    return model.trace(image, keep=(layer,)).outputs[layer][0].detach().numpy()


def largest_difference(visit: Visit) -> float:
    """Our map against PyTorch's, as the page found it, relative to the largest value of the map."""
    found = visit.page.locator(".kit[data-worst]")
    found.wait_for(state="attached")
    return float(found.get_attribute("data-worst"))


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("mnist-two-conv", "conv1"), ("mnist-two-conv", "conv2"), ("mnist-one-conv", "conv1"),
        ("digits-8x8-net", "conv1"), ("digits-on-photos-simple-cnn", "conv1"), ("efficientnet-lite0", "stem.conv"),
        ("efficientnet-lite0", "blocks.1.depthwise.conv"), ("efficientnet-lite0", "head.conv"),
    ],
)  # fmt: skip
def test_every_cell_of_the_map_is_what_pytorch_computed(
    open_page: Callable[..., Visit], model: str, layer: str
) -> None:
    visit = open_page("/convolution", f"part=network&model={model}&layer={layer}")
    assert largest_difference(visit) <= 1e-5
    visit.see(re.compile(r"✓ our sum .* PyTorch"))


def test_the_ledger_begins_at_the_strongest_cell_of_the_picture(open_page: Callable[..., Visit]) -> None:
    maps = first_picture_through("mnist-two-conv", "conv2")
    channel, row, column = (int(i) for i in np.unravel_index(maps.argmax(), maps.shape))
    visit = open_page("/convolution", "part=network&layer=conv2")
    visit.see(f"conv2, channel {channel}, cell ({row}, {column})")
    value = f"{maps.max():.4f}"
    visit.see(f"our sum {value} = PyTorch {value}")


def test_the_rows_are_sorted_and_add_up_to_the_sum(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=network&layer=conv2&channel=3&at=7,6")
    texts = [text.replace("−", "-") for text in visit.page.locator(".ledger tbody .total").all_inner_texts()]
    sums = [float(text) for text in texts]
    largest = [abs(value) for value in sums[:8]]
    assert largest == sorted(largest, reverse=True)
    assert abs(sum(sums) - first_picture_through("mnist-two-conv", "conv2")[3, 7, 6]) < 0.006


def test_the_ledger_follows_the_pointer_within_the_browser(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=network&layer=conv2&channel=3&at=7,6")
    box = visit.page.locator('[data-id="output-map"]').bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] * 2.5 / 14, box["y"] + box["height"] * 4.5 / 14)
    visit.see("conv2, channel 3, cell (4, 2)")
    visit.page.mouse.move(5, 5)
    visit.see("conv2, channel 3, cell (7, 6)")
    assert visit.query.endswith("at=7,6")


def test_a_cell_is_chosen_with_the_arrow_keys_and_stands_in_the_link(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=network&layer=conv2&channel=3&at=7,6")
    visit.page.locator('[data-id="output-map"]').focus()
    visit.press("ArrowDown").press("ArrowLeft").see("conv2, channel 3, cell (8, 5)")
    visit.page.wait_for_function("decodeURIComponent(location.search).includes('at=8,5')")
    visit.settle().see("conv2, channel 3, cell (8, 5)")
    visit.click("next output channel", role="button").see("conv2, channel 4, cell (8, 5)")


def test_on_this_network_has_no_violation_in_either_theme(open_page: Callable[..., Visit]) -> None:
    for dark in (False, True):
        visit = open_page("/convolution", "part=network", dark=dark)
        largest_difference(visit)
        assert visit.axe() == []


# Shapes and sharing


def test_the_size_of_the_result_and_what_is_left_over_are_told(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=shapes")
    visit.see("28 becomes 28.")
    visit.see("This is “same”: P = D(F − 1) / 2 = 2 keeps the size.")
    visit.page.locator('[data-id="size-s"]').fill("2")
    visit.page.locator('[data-id="size-p"]').fill("0")
    visit.see("28 becomes 12.")
    visit.see("The last 1 cell (hatched) is never covered")
    assert visit.page.locator(".lost").count() == 1
    visit.page.wait_for_function("location.search.includes('size=28_5_2_0_1_0')")
    visit.settle()


def test_the_layer_that_does_not_fit_is_named_with_its_sizes(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=shapes&model=mnist-two-conv")
    visit.see("1 × 28 × 28 becomes 64 × 7 × 7.")
    visit.page.locator('[data-id="chain-w"]').fill("3")
    visit.page.locator('[data-id="chain-2-p"]').fill("0")
    visit.see("conv2 does not fit:")
    visit.see("a window that spans 5 does not fit into 1 + 2 · 0 = 1 cells")
    visit.see("not reached")


def test_the_puzzle_has_the_answers_of_the_reference(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=shapes")
    visit.click("Show all")
    yes = visit.page.locator(".grid .yes").evaluate_all("buttons => buttons.map(b => b.dataset.id)")
    wanted = {
        (f, p, ceil)
        for f in range(1, 6)
        for p in range(f // 2 + 1)
        for ceil in (False, True)
        if Window(f, 2, p, ceil=ceil).positions(5) == 3
    }
    assert {tuple(map(int, name.split("-")[1:])) for name in yes} == wanted
    assert {(1, 0, False), (3, 1, False), (2, 0, True)} <= wanted


def test_a_kernel_needs_25_weights_where_a_dense_unit_needs_10000(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=shapes")
    visit.see("25 against 10,000")
    visit.go("/convolution", "part=shapes&share=100_2_3_5").see("(5, 3, 2, 2)")


def test_shapes_have_no_violation_in_either_theme(open_page: Callable[..., Visit]) -> None:
    for dark in (False, True):
        visit = open_page("/convolution", "part=shapes", dark=dark, width=1024, height=768)
        visit.click("Show all")
        assert visit.axe() == []


# Edit the kernel


def test_a_zero_kernel_leaves_the_bias_and_changes_the_prediction(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=edit&model=mnist-one-conv&layer=conv1&channel=0")
    visit.see("the kernel above is as it was learned, so both answers are the same")
    visit.page.locator('[data-id="preset-zero"]').click()
    visit.page.wait_for_function("location.search.includes('edit=0~0_0')")
    visit.settle().see(re.compile("the answer, which (stays|changes)"))
    assert {weight for row in table(visit, "weight") for weight in row} == {"0"}


def test_a_weight_is_typed_undone_and_done_again(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/convolution", "part=edit&model=mnist-one-conv&layer=conv1&channel=0")
    learned = table(visit, "weight")
    first = visit.page.locator('[data-id="weight-0-0"]')
    first.fill("-1.5")
    first.press("Enter")
    assert table(visit, "weight")[0][0] == "−1.50"
    visit.page.wait_for_function("location.search.includes('edit=0~-1.5')")
    visit.settle().click("Undo")
    assert table(visit, "weight") == learned
    visit.page.wait_for_function("!location.search.includes('edit=')")
    visit.settle().click("Redo")
    assert table(visit, "weight")[0][0] == "−1.50"
    visit.page.wait_for_function("location.search.includes('edit=0~-1.5')")
    visit.settle().go("/convolution", visit.query)
    assert table(visit, "weight")[0][0] == "−1.50"


def test_editing_has_no_violation_in_either_theme(open_page: Callable[..., Visit]) -> None:
    for dark in (False, True):
        visit = open_page("/convolution", "part=edit&layer=conv2", dark=dark)
        visit.page.locator('[data-id="preset-blur"]').click()
        visit.page.wait_for_function("location.search.includes('edit=')")
        assert visit.settle().axe() == []
