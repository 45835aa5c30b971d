import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import dashboard.components
from cnnviz import Model
from cnnviz.figures import scales, theme
from dashboard.components import (
    Cell,
    Maps,
    binned,
    choose_strips,
    choose_units,
    field_of,
    pack,
    prediction_rows,
    strips_of,
)
from dashboard.components.ruled_picture import packed_picture

FOLDER = Path(dashboard.components.__file__).parent


def unpacked(blob: bytes) -> dict:
    """As kit.js reads it."""
    (length,) = struct.unpack_from("<I", blob)
    header = json.loads(blob[4 : 4 + length])
    for place in header.pop("_arrays"):
        assert place["at"] % 8 == 0
        header[place["name"]] = np.frombuffer(blob, place["dtype"], place["size"], place["at"]).tolist()
    return header


def maps_of(values, **more) -> Maps:
    values = np.asarray(values, np.float32)
    height, width = values.shape[1:] if values.ndim == 3 else (1, 1)
    fields = np.zeros((height, 2), np.int32), np.zeros((width, 2), np.int32)
    return Maps("conv", values, scales.scale_for(values), range(len(values)), *fields, **more)


@pytest.mark.parametrize("words", ["", "x", "ä" * 7, "x" * 91, "x" * 200])
def test_whatever_the_headers_length_the_arrays_arrive_as_they_left(words):
    floats, numbers = np.array([1.5, -2.0, np.nan], np.float32), np.array([[7, -8]], np.int32)
    got = unpacked(pack({"words": words}, floats=floats, numbers=numbers, png=b"abc"))
    assert got["words"] == words
    assert got["floats"][:2] == [1.5, -2.0] and np.isnan(got["floats"][2])
    assert got["numbers"] == [7, -8] and bytes(got["png"]) == b"abc"


def test_an_array_the_browser_cannot_read_is_refused():
    with pytest.raises(TypeError, match="float32, uint8 or int32, not float64"):
        pack({}, values=np.zeros(3))


def test_not_a_number_in_a_header_is_refused_because_json_has_none():
    with pytest.raises(ValueError, match="JSON"):
        pack({"value": float("nan")})


def test_the_pinned_cell_is_the_strongest_of_the_first_map_shown():
    values = np.zeros((2, 2, 3))
    values[0, 0, 0], values[1, 1, 2] = 9, 4
    maps = maps_of(values)
    assert maps.strongest() == Cell(0, 0, 0)
    assert Maps(**{**vars(maps), "order": [1, 0]}).strongest() == Cell(1, 1, 2)
    assert Maps(**{**vars(maps), "order": []}).strongest() is None


def test_a_click_on_a_shrunk_map_means_the_strongest_cell_under_it():
    values = np.zeros((1, 224, 224))
    values[0, 11, 21] = -3
    maps = maps_of(values)
    assert maps.shrunk_by == 2
    assert maps.snapped(Cell(0, 10, 20)) == Cell(0, 11, 21)


def test_units_are_cells_of_their_own_channel():
    maps = maps_of([0.0, 3.0, 1.0])
    assert maps.strongest() == Cell(1, 0, 0)
    assert maps.at(Cell(2, 0, 0)) == 1.0


def test_a_cell_sees_the_pixels_of_its_receptive_field():
    model = Model(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)), (1, 8, 8))
    rows, columns = field_of(model.layer("1"))
    assert rows[0].tolist() == [0, 3] and rows[5].tolist() == [5, 8] and columns.shape == (6, 2)
    rows, columns = field_of(model.layer("3"))
    assert rows.tolist() == columns.tolist() == [[0, 8]]


def test_ten_classes_stand_in_class_order_and_a_thousand_show_the_ten_most_probable():
    few = prediction_rows(np.array([0.0, 3.0, 1.0]), ["a", "b", "c"])
    assert [row["name"] for row in few] == ["a", "b", "c"]
    assert sum(row["probability"] for row in few) == pytest.approx(1)
    many = prediction_rows(np.arange(1000.0), [str(i) for i in range(1000)], always=[5])
    assert [row["index"] for row in many] == [*range(999, 989, -1), 5]


def test_the_words_under_a_histogram_tell_what_its_bars_cannot_show():
    spread = binned(np.array([0.0, 0.0, 2.0, np.nan, np.inf], np.float32))
    assert (spread["low"], spread["high"], sum(spread["counts"])) == (0.0, 2.0, 3)
    assert "minimum 0, maximum 2.00" in spread["words"]
    assert "**1 not a number**" in spread["words"] and "**1 infinite**" in spread["words"]
    assert "none of them a finite number" in binned(np.array([np.nan]))["words"]


def test_a_small_network_shows_every_layer_with_the_same_channels_in_the_same_columns():
    layers = [
        nn.Conv2d(1, 3, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 12, 3),
        nn.ReLU(),
        nn.Dropout(),
        nn.Flatten(),
    ]
    model = Model(nn.Sequential(*layers, nn.Linear(12 * 11 * 11, 5), nn.ReLU(), nn.Linear(5, 2)), (1, 28, 28))
    chosen = choose_strips(model.layers)
    assert [[layer.name for layer in block] for block in chosen] == [["0", "1", "2"], ["3", "4"]]
    assert choose_units(model.layers).name == "8"
    image = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    names = [layer.name for block in chosen for layer in block]
    outputs = {name: output[0].detach().numpy() for name, output in model.trace(image, keep=names).outputs.items()}
    second = strips_of(chosen, outputs)[1]
    strongest = np.argsort(-outputs["4"].max(axis=(1, 2)), kind="stable")[:8]  # silent channels are equal
    assert list(second.channels) == strongest.tolist()
    assert np.array_equal(second.strips[0].values, outputs["3"][strongest])


def test_a_deep_network_shows_its_first_block_and_the_last_layer_of_each_size():
    layers: list[nn.Module] = []
    for stage in range(4):
        for _ in range(3):
            layers += [nn.Conv2d(1 if not layers else 4, 4, 3, padding=1), nn.ReLU()]
        if stage < 3:
            layers.append(nn.MaxPool2d(2))
    model = Model(nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 2)), (1, 32, 32))
    chosen = choose_strips(model.layers)
    assert [layer.name for layer in chosen[0]] == ["0", "1"]
    assert [block[0].shape[1] for block in chosen[1:]] == [16, 8, 4]
    assert [block[0].name for block in chosen[1:]] == ["12", "19", "26"]


def test_a_picture_larger_than_its_place_is_shrunk_and_says_by_how_much():
    image = np.zeros((3, 300, 200))
    image[:, ::2] = 1
    picture, arrays = packed_picture(image, 150)
    assert picture == {"height": 150, "width": 100, "by": 2}
    assert np.asarray(Image.open(io.BytesIO(arrays["png"])))[10, 10].tolist() == [128, 128, 128]


def test_no_component_writes_a_colour_of_its_own():
    for path in [*FOLDER.glob("*.css"), *FOLDER.glob("*.js"), *FOLDER.glob("*.py")]:
        colours = re.findall(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b(?!\w)", path.read_text())
        assert colours == [], path.name


def test_text_keeps_a_contrast_of_four_and_a_half_on_paper_well_and_wash():
    for frame in theme.FRAMES.values():
        for ground in (frame.paper, frame.well):
            for text in (frame.ink, frame.ink_2, frame.ink_3, frame.accent, frame.warn):
                assert contrast(text, ground) >= 4.5, (text, ground)
        assert contrast(frame.accent, frame.wash) >= 4.5
        assert contrast(frame.on_accent, frame.accent) >= 4.5
        assert contrast(frame.edge, frame.paper) >= 3


def contrast(one: str, other: str) -> float:
    """WCAG 2."""

    def luminance(colour: str) -> float:
        shares = np.array(theme.rgb(colour)) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
