"""The scatter picture: shapes that differ, places that are kept, marks that are seen."""

import numpy as np

from cnnviz.figures import theme
from cnnviz.figures.scatter import SHAPES, scatter

ONE = [("0", theme.CLASS_MARKS[0])]


def test_every_class_has_a_shape_of_its_own():
    names = [mark.shape for mark in theme.CLASS_MARKS]
    assert set(names) <= set(SHAPES)
    colour = theme.CLASS_MARKS[0].colour
    drawn = [scatter(np.zeros((1, 2)), np.zeros(1, int), [("", theme.ClassMark(colour, name))]) for name in names]
    assert len({picture.tobytes() for picture in drawn}) == len(names)


def test_up_is_up_and_right_is_right():
    picture = np.asarray(scatter(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 0]), ONE, size=(400, 230)))
    blue = np.argwhere((picture == theme.rgb(theme.CLASS_MARKS[0].colour)).all(2) & (np.arange(400) < 230)[None])
    low, high = blue[blue[:, 1] < 115], blue[blue[:, 1] > 115]
    assert low[:, 0].mean() > high[:, 0].mean()


def test_a_mistake_is_ringed_and_one_more_place_is_marked():
    points, group = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0, 0])
    plain = scatter(points, group, ONE).tobytes()
    assert scatter(points, group, ONE, ringed=np.array([True, False])).tobytes() != plain
    accent = np.array(theme.rgb(theme.FRAMES["light"].accent))
    marked = np.asarray(scatter(points, group, ONE, here=(0.5, 0.2))).astype(int)
    assert (np.abs(marked - accent).max(2) < 48).sum() > 20  # its edges are smoothed
