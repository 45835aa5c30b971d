import io

import numpy as np
import pytest
from PIL import Image

from cnnviz.figures import pixels, scales, theme


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_zero_of_a_signed_map_is_paper_white_and_its_ends_are_blue_and_red():
    picture = opened(pixels.map_png(np.array([[-2.0, 0.0, 2.0]], np.float32)))
    assert [tuple(pixel) for pixel in picture[0]] == [theme.rgb("#0B3C6F"), theme.rgb("#F7F7F3"), theme.rgb("#6E0A1E")]


def test_a_signed_scale_is_symmetric_even_when_the_map_is_not():
    scale = scales.scale_for(np.array([[[-1.0, 4.0]]], np.float32))
    assert scale.of(0) == (-4.0, 4.0)


def test_activations_run_from_navy_at_zero_to_gold_at_the_highest_value():
    picture = opened(pixels.map_png(np.array([[0.0, 3.5]], np.float32)))
    assert [tuple(pixel) for pixel in picture[0]] == [theme.rgb("#00224E"), theme.rgb("#FEE838")]


def test_a_layer_that_can_be_negative_keeps_red_and_blue_on_a_picture_where_it_is_not():
    assert scales.scale_for(np.array([[[1.0, 2.0]]]), signed=True).palette == "diverging"


def test_not_a_number_is_drawn_in_its_own_colour_counted_and_does_not_spoil_the_limits():
    maps = np.array([[[np.nan, 1.0, np.inf]]], np.float32)
    scale = scales.scale_for(maps)
    assert scale.of(0) == (0.0, 1.0)
    assert scales.count_nan(maps) == 1
    picture = opened(pixels.map_png(maps[0], scale))
    assert tuple(picture[0, 0]) == theme.rgb(theme.NOT_A_NUMBER)
    assert tuple(picture[0, 2]) == theme.rgb("#FEE838")


@pytest.mark.parametrize(("signed", "index"), [(False, 0), (True, 125)])
def test_a_map_that_is_zero_everywhere_is_drawn_as_zero(signed, index):
    maps = np.zeros((2, 3, 3), np.float32)
    assert (scales.indices(maps, scales.scale_for(maps, signed=signed)) == index).all()


def test_a_scale_per_map_lets_every_map_reach_the_top():
    maps = np.array([[[1.0, 0.0]], [[8.0, 2.0]]], np.float32)
    index = scales.indices(maps, scales.scale_for(maps, per="map"))
    assert index[:, 0, 0].tolist() == [250, 250]
    assert index[1, 0, 1] == 63  # 2 of 8: a quarter of 250 is 62.5


def test_a_scale_per_network_needs_the_strongest_value_of_the_network():
    maps = np.ones((1, 1, 1), np.float32)
    assert scales.scale_for(maps, per="network", network=9.0).of(0) == (0.0, 9.0)
    with pytest.raises(ValueError, match="strongest value of its layers"):
        scales.scale_for(maps, per="network")


def test_a_mosaic_stands_its_maps_in_rows_with_paper_between_them():
    maps = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 2, 2), np.float32)
    picture = opened(pixels.mosaic_png(maps, columns=2, gap=1))
    assert picture.shape == (5, 5, 3)
    assert tuple(picture[0, 2]) == tuple(picture[4, 4]) == theme.rgb(theme.FRAMES["light"].paper)
    assert tuple(picture[3, 0]) == theme.rgb("#FEE838")


def test_a_dead_map_is_striped_and_a_map_that_is_merely_zero_is_not():
    maps = np.zeros((2, 8, 8), np.float32)
    picture = opened(pixels.mosaic_png(maps, gap=0, dead=np.array([True, False])))
    stripes = {tuple(pixel) for pixel in picture[:, :8].reshape(-1, 3)}
    assert stripes == {theme.rgb("#E1E4DB"), theme.rgb("#F8F8F4")}
    assert {tuple(pixel) for pixel in picture[:, 8:].reshape(-1, 3)} == {theme.rgb("#00224E")}


def test_a_cell_is_a_whole_square():
    picture = opened(pixels.map_png(np.array([[0.0, 1.0]], np.float32), cell=3))
    assert picture.shape == (3, 6, 3)
    assert (picture[:, :3] == theme.rgb("#00224E")).all() and (picture[:, 3:] == theme.rgb("#FEE838")).all()


def test_grey_is_never_inverted_and_rgb_keeps_its_colours():
    grey = opened(pixels.picture_png(np.array([[0.0, 1.0]])))
    assert grey[0, 0].tolist() == [0, 0, 0] and grey[0, 1].tolist() == [255, 255, 255]
    colour = np.array([1.0, 0.5, 0.0]).reshape(3, 1, 1)
    assert opened(pixels.picture_png(colour))[0, 0].tolist() == [255, 128, 0]


def test_a_picture_of_five_channels_is_refused_by_its_number():
    with pytest.raises(ValueError, match="1 or 3 channels, not 5"):
        pixels.picture_png(np.zeros((5, 4, 4)))


def test_shrinking_keeps_the_strongest_value_of_each_block_with_its_sign():
    maps = np.array([[[1.0, -3.0, 0.0], [2.0, 0.0, -1.0]]])
    assert pixels.shrink(maps, 2).tolist() == [[[-3.0, -1.0]]]


def test_shrinking_shows_not_a_number_rather_than_hiding_it():
    assert np.isnan(pixels.shrink(np.array([[[1.0, np.nan]]]), 2)).all()


def test_both_maps_grow_evenly_in_lightness_from_end_to_zero():
    weights = np.array([0.2126, 0.7152, 0.0722])
    cividis = theme.colours("cividis", 251).astype(float) @ weights
    assert (np.diff(cividis) > -1).all()
    diverging = theme.colours("diverging", 251).astype(float) @ weights
    assert diverging.argmax() == 125


def test_512_maps_and_64_large_ones_stay_within_their_payload():
    generator = np.random.default_rng(0)
    small = np.maximum(generator.normal(size=(512, 14, 14)), 0).astype(np.float32)
    assert len(pixels.mosaic_png(small)) <= 150_000
    rough = generator.normal(size=(64, 28, 28)).astype(np.float32)
    smooth = np.stack([np.asarray(Image.fromarray(m).resize((112, 112), Image.Resampling.BILINEAR)) for m in rough])
    assert len(pixels.mosaic_png(smooth)) <= 500_000
