import io

import numpy as np
from PIL import Image

from cnnviz.figures import pixels, scales, theme
from cnnviz.figures.sheet import LINE, MARGIN, Key, captioned, headed, labelled_mosaic


def test_a_picture_that_leaves_the_page_keeps_its_pixels_and_gains_a_title_and_a_bar():
    maps = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.full((4, 4), 0.5)]).astype(np.float32)
    scale = scales.scale_for(maps)
    mosaic = labelled_mosaic(maps, scale, [("0", "0.0"), ("1", "1.0"), ("2", "−0.5")], columns=2, cell=10)
    assert mosaic.getpixel((62, 0)) == theme.rgb("#FEE838")
    sheet = Image.open(
        io.BytesIO(captioned(mosaic, "relu, 3 channels", facts="4 × 4 cells", key=Key("activation", scale)))
    )
    board = np.asarray(sheet)
    assert sheet.height > mosaic.height + 4 * MARGIN
    navy = (board == theme.rgb("#00224E")).all(axis=2)
    assert navy.sum() >= 40 * 40 + 9  # one map, and the low end of the bar
    assert tuple(board[0, 0]) == theme.rgb(theme.FRAMES["light"].paper)


def test_a_wide_title_is_not_cut():
    png = pixels.map_png(np.ones((2, 2), np.float32))
    assert Image.open(io.BytesIO(captioned(png, "w" * 100))).width > 1000


def test_a_dead_map_is_striped_away_from_the_page_too():
    maps = np.zeros((2, 4, 4), np.float32)
    mosaic = labelled_mosaic(
        maps, scales.scale_for(maps), [("0", "dead"), ("1", "0")], cell=4, dead=np.array([True, False])
    )
    colours = {tuple(pixel) for pixel in np.asarray(mosaic)[:16, :16].reshape(-1, 3).tolist()}
    assert colours == {theme.rgb("#E1E4DB"), theme.rgb("#F8F8F4")}


def test_words_stand_over_columns_and_beside_rows_without_covering_the_picture():
    tile = Image.new("RGB", (60, 40), (200, 10, 10))
    board = headed(tile, above=[(0, "Integrated\ngradients")], beside=[(0, "class 4"), (20, "class 9")])
    pixels = np.asarray(board)
    assert (pixels[-40:, -60 : board.width] == (200, 10, 10)).all(2).mean() > 0.5
    assert (pixels == (200, 10, 10)).all(2).sum() == 60 * 40
    assert board.height == 40 + 2 * LINE and board.width > 60
    assert (pixels[: 2 * LINE] < 120).any() and (pixels[2 * LINE :, :40] < 120).any()
