"""Kernels as pictures: colours, scales and arrangement, with answers that fit in the test."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnviz.figures import kernels, scales
from cnnviz.figures.silhouette import box_size, silhouette_png


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_no_weight_is_middle_grey_and_the_largest_has_full_colour():
    values = np.zeros((1, 3, 1, 3))
    values[0, 0, 0] = (0, 2, -2)  # red: nothing, most for, most against
    assert kernels.composite(values, np.array(2.0))[0, 0].tolist() == [[128, 128, 128], [255, 128, 128], [0, 128, 128]]


def test_every_kernel_may_have_a_limit_of_its_own_and_zeros_stay_grey():
    values = np.zeros((2, 3, 1, 1))
    values[0] = 0.01
    assert kernels.composite(values, np.array([0.01, 0.0]))[:, 0, 0].tolist() == [[255] * 3, [128] * 3]


def test_not_a_number_and_values_beyond_the_limit_do_not_wrap_around():
    values = np.array([np.nan, 5.0, -5.0]).reshape(1, 3, 1, 1)
    assert kernels.composite(values, np.array(1.0)).ravel().tolist() == [128, 255, 0]


def test_kernel_scales_are_symmetric_and_per_kernel_where_asked():
    values = np.array([[1.0, -3.0], [0.5, 0.0]]).reshape(2, 2, 1, 1)
    layer, own = kernels.kernel_scale(values, "layer"), kernels.kernel_scale(values, "map")
    assert (layer.low, layer.high) == (-3, 3) and layer.signed
    assert np.asarray(own.high).tolist() == [1, 3, 0.5, 0]
    assert kernels.kernel_scale(values, "network", 9.0).of(0) == (-9, 9)


def test_the_strongest_inputs_keep_their_own_order():
    values = np.zeros((2, 4, 1, 1))
    values[:, :, 0, 0] = [[1, 0, 3, -2], [1, 0, 3, -2]]
    assert kernels.strongest_inputs(values, 2).tolist() == [2, 3]
    assert kernels.strongest_inputs(values, 9).tolist() == [0, 1, 2, 3]


def test_a_matrix_has_a_row_for_each_filter_and_a_column_for_each_input():
    values = np.zeros((2, 3, 1, 1))
    values[1, 2] = 1
    picture = opened(kernels.matrix_png(values, kernels.kernel_scale(values, "layer"), cell=2, gap=1))
    assert picture.shape == (2 * 2 + 1, 3 * 2 + 2, 3)
    red = scales.palette("diverging")[scales.LEVELS - 1]
    assert (picture[3:, 6:] == red).all() and not (picture[:2, :2] == red).all()


def test_colour_kernels_stand_in_rows():
    colours = np.zeros((3, 2, 2, 3), np.uint8)
    colours[2] = (255, 0, 0)
    picture = opened(kernels.composite_png(colours, columns=2, cell=1, gap=1))
    assert picture.shape == (5, 5, 3)
    assert picture[3:, :2].tolist() == [[[255, 0, 0]] * 2] * 2


@pytest.mark.parametrize(
    ("degrees", "name"),
    [(0, "vertical stripes"), (20, "vertical stripes"), (90, "horizontal stripes"), (179, "vertical stripes")],
)
def test_a_direction_across_stripes_is_called_by_the_stripes(degrees: float, name: str):
    assert kernels.nearest(degrees) == name


def test_diagonal_stripes_are_called_by_the_way_they_fall():
    """A wave that grows to the right and downwards (45 degrees) is constant along lines that fall to the left."""
    rows, columns = np.mgrid[:8, :8]
    wave = np.sin(rows + columns)
    assert wave[2, 5] == pytest.approx(wave[3, 4])  # one down, one to the left: the same
    assert (
        kernels.nearest(45) == "stripes falling to the left" and kernels.nearest(135) == "stripes falling to the right"
    )


def test_a_silhouette_is_as_high_as_its_maps_and_as_wide_as_its_channels():
    wide, high = box_size((64, 28, 28), 28, 28)
    assert high == pytest.approx(1)
    assert box_size((64, 7, 7), 7, 28)[1] < high and box_size((8, 28, 28), 28, 28)[0] < wide
    boxes = [("weights", (8, 28, 28), 28), ("activation", (8, 28, 28), 28), ("join", (10,), 0)]
    picture = opened(silhouette_png(boxes, [(-1, 2)], 28))
    assert picture.shape[1] > 3 * 6 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 3
    named = opened(silhouette_png(boxes, [(-1, 2)], 28, names=["conv1", "relu", "a_long_name_of_a_layer"]))
    assert named.shape[1] > picture.shape[1] + 60 and named.shape[0] > picture.shape[0]
