"""The written-out convolution against note 2's numbers and against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz import convolution as conv
from cnnviz.convolution import ShapeError, Window

IMAGE = np.array([[[1, 2, 0, 1], [0, 1, 3, 1], [2, 2, 1, 0], [1, 0, 1, 3]]], float)
KERNEL = np.array([[[[1, 0], [0, 1]]]], float)


def relative(a, b):
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12)


def test_the_worked_example_of_the_lesson():
    maps = conv.convolve(IMAGE, KERNEL)
    assert maps.tolist() == [[[2, 5, 1], [2, 2, 3], [2, 3, 4]]]
    assert conv.relu(maps).tolist() == maps.tolist()
    assert conv.pool(maps, "max", rows=Window(2, 2)).tolist() == [[[5]]]
    assert Window(2, 2).ignored(3) == 1


def test_the_sizes_the_lessons_speak_of():
    assert Window(5, 1, 2).positions(28) == 28
    assert Window(2, 2).positions(28) == 14
    assert Window(3).positions(12) == 10
    assert conv.same_padding(5) == 2
    assert conv.shared_weights(1, 1, Window(5)) == 25
    assert conv.dense_weights(1, 1, 100, 100) == 10_000
    assert conv.shared_weights(5, 3, Window(2)) == 60


def test_which_settings_turn_5_into_3_at_stride_2():
    found = {(w.size, w.padding, w.ceil) for w in conv.settings_giving(5, 3, stride=2)}
    assert {(1, 0, False), (3, 1, False), (2, 0, True)} <= found
    assert Window(2, 2).positions(5) == 2


def test_a_window_that_does_not_fit_shows_the_sum():
    with pytest.raises(ShapeError, match=r"⌊\(3 − 5 \+ 2 · 0\) / 1⌋ \+ 1"):
        Window(5).positions(3)
    with pytest.raises(ShapeError, match="conv2: a window that spans 5"):
        list(conv.chain(8, [("conv1", Window(5)), ("conv2", Window(5))]))
    with pytest.raises(ShapeError, match="half a cell"):
        conv.same_padding(4)


def test_the_ledger_adds_up_to_the_cell_largest_first():
    rng = np.random.default_rng(0)
    image, kernels = rng.normal(size=(4, 7, 7)), rng.normal(size=(2, 4, 3, 3))
    window = Window(3, 2, 1)
    entries = conv.ledger(image, kernels[1], (2, 1), rows=window, columns=window)
    cell = conv.convolve(image, kernels, rows=window, columns=window)[1, 2, 1]
    assert relative(np.array(sum(e.total for e in entries)), np.array(cell)) < 1e-12
    assert [abs(e.total) for e in entries] == sorted((abs(e.total) for e in entries), reverse=True)


def test_channels_that_do_not_fit_are_counted_out():
    with pytest.raises(
        ShapeError, match="the image has 3 channels, but each kernel reads 2 in each of 2 groups, 4 in all"
    ):
        conv.convolve(np.zeros((3, 5, 5)), np.zeros((2, 2, 3, 3)), groups=2)


windows = st.builds(Window, st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(windows, windows, st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(3, 9), st.integers(3, 9))
def test_every_shape_equals_torch(rows, columns, groups, inputs, outputs, height, width):
    assume(rows.span <= height + 2 * rows.padding and columns.span <= width + 2 * columns.padding)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(inputs * groups, height, width))
    kernels = rng.normal(size=(outputs * groups, inputs, rows.size, columns.size))
    bias = rng.normal(size=outputs * groups)
    ours = conv.convolve(image, kernels, bias, rows=rows, columns=columns, groups=groups)
    theirs = F.conv2d(
        torch.tensor(image)[None],
        torch.tensor(kernels),
        torch.tensor(bias),
        (rows.stride, columns.stride),
        (rows.padding, columns.padding),
        (rows.dilation, columns.dilation),
        groups,
    )[0].numpy()
    assert ours.shape == theirs.shape
    assert relative(ours, theirs) < 1e-12


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(4, 9), st.sampled_from(["max", "average"]))
def test_pooling_equals_torch(size, stride, ceil, length, kind):
    window = Window(size, stride, size // 2, ceil=ceil)
    assume(window.span <= length)
    maps = np.random.default_rng(0).normal(size=(2, length, length))
    theirs = {"max": F.max_pool2d, "average": F.avg_pool2d}[kind]
    if kind == "average" and ceil:
        window = Window(size, stride, size // 2)
    expected = theirs(torch.tensor(maps), size, stride, size // 2, ceil_mode=window.ceil).numpy()
    assert relative(conv.pool(maps, kind, rows=window), expected) < 1e-12
