"""Cells of windows in the picture: where they stand, and where a class's name goes."""

import io

import numpy as np
from PIL import Image

from cnnviz.figures import occlusion


def test_a_name_is_written_deepest_inside_its_region():
    mask = np.zeros((7, 9), bool)
    mask[1:6, 2:7] = True
    mask[0, 0] = True
    assert occlusion.heart(mask) == (3, 4)


def test_cells_reach_halfway_to_the_next_window_and_never_overlap():
    assert occlusion.edges([(0, 4), (4, 8), (8, 10)], 10) == [(0, 4), (4, 8), (8, 10)]
    found = occlusion.edges([(0, 4), (1, 5), (2, 6)], 6)
    assert found == [(2, 3), (3, 4), (4, 5)]


def test_the_border_that_no_centre_reaches_stays_pale():
    colours = np.full((3, 3, 3), 9, np.uint8)
    board = occlusion.cells(colours, [(0, 4), (1, 5), (2, 6)], [(0, 4), (1, 5), (2, 6)], (6, 6))
    assert (board[2:5, 2:5] == 9).all()
    assert (board[0] != 9).all() and (board[:, 5] != 9).all()


def test_pictures_side_by_side_are_enlarged_by_whole_numbers():
    pictures = [np.zeros((28, 28, 3), np.uint8), np.full((28, 28, 3), 255, np.uint8)]
    image = Image.open(io.BytesIO(occlusion.side_by_side(pictures, least=100, gap=8)))
    assert image.size == (2 * 112 + 8, 112)
    assert image.getpixel((0, 0)) == (0, 0, 0) and image.getpixel((231, 111)) == (255, 255, 255)
