"""Rows of maps of different sizes and meanings stand in one picture, each cell whole."""

import io

import numpy as np
from PIL import Image

from cnnviz.figures import theme
from cnnviz.figures.scales import scale_for
from cnnviz.figures.strips import GAP, SLOT, strips_png, strips_with_names


def drawn(*rows: np.ndarray) -> np.ndarray:
    content = strips_png([(row, scale_for(row, signed=False)) for row in rows])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_cell_is_a_whole_square_of_its_colour() -> None:
    maps = np.zeros((1, 7, 7), np.float32)
    maps[0, 2, 3] = 1
    pixels = drawn(np.concatenate([maps, maps]))
    side = SLOT // 7
    brightest = np.array(theme.rgb(theme.STOPS["cividis"][-1]))
    cell = pixels[2 * side : 3 * side, 3 * side : 4 * side]
    assert (cell == brightest).all() and not (pixels[2 * side - 1, 3 * side] == brightest).all()


def test_rows_of_other_sizes_keep_their_columns() -> None:
    small, large = np.ones((4, 14, 14), np.float32), np.ones((4, 28, 28), np.float32)
    pixels = drawn(large, small)
    assert pixels.shape == (2 * SLOT + GAP, 4 * (SLOT + GAP) - GAP, 3)
    np.testing.assert_array_equal(pixels[:SLOT], pixels[-SLOT:])


def test_a_map_larger_than_its_place_is_thinned_to_fit() -> None:
    assert drawn(np.ones((3, 224, 224), np.float32)).shape == (SLOT, 3 * (SLOT + GAP) - GAP, 3)


def test_units_are_one_band_as_wide_as_the_picture() -> None:
    pixels = drawn(np.ones((8, 14, 14), np.float32), np.ones(100, np.float32))
    assert pixels.shape[1] == 8 * (SLOT + GAP) - GAP and pixels.shape[0] > SLOT + GAP


def test_names_stand_beside_their_rows_with_the_limits_of_their_scale() -> None:
    maps = [np.ones((3, 14, 14), np.float32), np.ones((3, 7, 7), np.float32), np.ones(40, np.float32)]
    rows = [(row, scale_for(row, signed=False)) for row in maps]
    plain = Image.open(io.BytesIO(strips_png(rows))).convert("RGB")
    named = strips_with_names(rows, ["conv1", "pool", "fc1"])
    assert named.height == plain.height and named.width > plain.width + 20
    np.testing.assert_array_equal(np.asarray(named)[:, -plain.width :], np.asarray(plain))
