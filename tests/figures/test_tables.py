"""Tables of numbers as pictures."""

import io

import numpy as np
from PIL import Image

from cnnviz.figures.tables import tables_png


def size_of(tables: dict) -> tuple[int, int]:
    return Image.open(io.BytesIO(tables_png(tables, "By hand", facts="two tables"))).size


def test_a_sheet_is_as_tall_as_its_tallest_table_and_as_wide_as_all():
    small, tall = np.zeros((2, 9)), np.zeros((5, 2))
    one, both = size_of({"map": small}), size_of({"map": small, "image": tall})
    assert both[1] > one[1] and both[0] > one[0]


def test_cells_grow_with_the_longest_number():
    assert size_of({"map": np.full((1, 9), -12345.67)})[0] > size_of({"map": np.zeros((1, 9))})[0]
