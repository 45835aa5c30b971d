"""Any picture a person may hand in is shown rightly or refused in one sentence."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnviz import picture
from cnnviz.errors import PictureError
from cnnviz.networks import torchvision_module


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than anybody should decode."""
    small = encoded(Image.new("1", (8, 8)))
    header = b"IHDR" + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def test_a_grey_picture_has_one_channel_and_a_colour_picture_three() -> None:
    grey = picture.read(encoded(Image.new("L", (3, 2), 255)))
    colour = picture.read(encoded(Image.new("RGB", (3, 2), (255, 0, 51))))
    assert grey.shape == (1, 2, 3) and grey.dtype == np.float32 and grey.max() == 1
    np.testing.assert_allclose(colour[:, 0, 0], [1, 0, 0.2], atol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_common_formats_give_the_same_picture(kind: str) -> None:
    plain = Image.new("RGB", (16, 8), (200, 100, 50))
    read = picture.read(encoded(plain, kind))
    np.testing.assert_allclose(read[:, 4, 8] * 255, [200, 100, 50], atol=4)


def test_bytes_path_pil_array_and_tensor_give_the_same_pixels(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    expected = pixels.transpose(2, 0, 1) / np.float32(255)
    tensor = torch.tensor(expected)
    for source in (encoded(image), tmp_path / "a.png", str(tmp_path / "a.png"), image, pixels, expected, tensor):
        np.testing.assert_allclose(picture.read(source), expected, atol=1e-6)


def test_sixteen_bits_keep_their_depth() -> None:
    deep = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    read = picture.read(encoded(Image.fromarray(deep)))
    np.testing.assert_allclose(read[0], deep / 65535, atol=1e-7)
    np.testing.assert_allclose(picture.read(deep)[0], deep / 65535, atol=1e-7)


def test_transparency_is_laid_over_white_unless_black_is_asked_for() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert picture.read(encoded(clear)).min() == 1
    assert picture.read(encoded(clear), background="black").max() == 0
    np.testing.assert_allclose(picture.read(encoded(half))[:, 0, 0], [1, 0.498, 0.498], atol=0.005)
    with pytest.raises(PictureError, match="white or black, not 'pink'"):
        picture.read(encoded(clear), background="pink")


def test_a_grey_picture_with_transparency_stays_grey() -> None:
    assert picture.read(encoded(Image.new("LA", (2, 2), (0, 255)))).shape == (1, 2, 2)


def test_a_palette_picture_shows_its_colours_and_its_transparent_entry() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    np.testing.assert_allclose(picture.read(encoded(image))[:, 0, 1], [0, 0, 1])
    np.testing.assert_allclose(picture.read(encoded(image, transparency=1))[:, 0, 1], [1, 1, 1])


def test_cmyk_becomes_rgb() -> None:
    read = picture.read(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert read.shape == (3, 8, 8)
    np.testing.assert_allclose(read[:, 4, 4], [1, 0, 0], atol=0.05)


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (8, 4), "black")
    image.paste("white", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    read = picture.read(encoded(image, "JPEG", exif=exif, quality=95))
    assert read.shape == (3, 8, 4)
    assert read[:, 0].mean() > 0.9 and read[:, -1].mean() < 0.1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    np.testing.assert_allclose(picture.read(moving)[:, 4, 4], [1, 0, 0], atol=0.02)


def test_one_pixel_is_a_picture_and_can_be_enlarged() -> None:
    read = picture.read(encoded(Image.new("L", (1, 1), 128)))
    assert read.shape == (1, 1, 1)
    for rule in ("fit", "crop", "crop 32", "stretch"):
        np.testing.assert_allclose(picture.fit(read, (3, 28, 28), rule), 128 / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x00" * 100, "not a PNG, JPEG, WEBP, BMP or GIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG, JPEG, WEBP, BMP or GIF"),
        (encoded(Image.effect_noise((64, 64), 90))[:1500], "damaged or cut off"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:600], "damaged or cut off"),
        (encoded(Image.new("L", (8, 8)), "TIFF"), "not a PNG, JPEG, WEBP, BMP or GIF"),
        (png_that_claims(20_000, 20_000), "million"),
        (png_that_claims(9_000, 9_000), "9000×9000, 81 million pixels"),
        (b"\x89PNG" + b"\x00" * (picture.MOST_BYTES + 1), "up to 20 MB"),
        (3.5, "A float is not a picture"),
        (np.zeros((2, 2, 2, 2)), "is not one picture"),
        (np.full((4, 4), 2.0), "from 0 to 1"),
        (np.full((4, 4), np.nan), "from 0 to 1"),
        (np.zeros((4, 4), np.int64), "type int64"),
        (np.zeros((0, 4), np.uint8), "at least one pixel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_a_sound_picture_is_refused_in_one_sentence(content: Any, says: str) -> None:
    with pytest.raises(PictureError, match=says) as caught:
        picture.read(content)
    assert "\n" not in str(caught.value)


def test_the_pixel_limit_holds_for_pictures_that_are_already_decoded() -> None:
    with pytest.raises(PictureError, match="million pixels"):
        picture.read(Image.new("1", (4000, 4000)))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(PictureError, match=r"nowhere\.png cannot be read"):
        picture.read("nowhere.png")


def test_colour_becomes_grey_by_luma_and_grey_becomes_colour_by_repeating() -> None:
    red = np.zeros((3, 2, 2), np.float32)
    red[0] = 1
    np.testing.assert_allclose(picture.to_channels(red, 1), np.full((1, 2, 2), 0.299), atol=1e-6)
    np.testing.assert_array_equal(picture.to_channels(red[:1], 3), np.ones((3, 2, 2)))
    with pytest.raises(PictureError, match="wants 4 channels"):
        picture.to_channels(red, 4)


def test_a_picture_of_the_right_size_passes_unchanged() -> None:
    pixels = np.random.default_rng(0).random((1, 28, 28), dtype=np.float32)
    for rule in picture.RULES:
        np.testing.assert_array_equal(picture.fit(pixels, (1, 28, 28), rule), pixels)


def test_fit_keeps_the_whole_picture_and_crop_only_its_centre() -> None:
    wide = np.zeros((1, 10, 30), np.float32)
    wide[:, :, 10:20] = 1
    np.testing.assert_allclose(picture.fit(wide, (1, 10, 10), "crop"), 1)
    fitted = picture.fit(wide, (1, 30, 30), "fit")
    assert fitted.sum() == pytest.approx(wide.sum()) and fitted[0, 10:20].sum() == pytest.approx(wide.sum())
    assert picture.fit(wide, (1, 10, 10), "stretch").mean() == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (256, 256), (40, 500)])
def test_crop_agrees_with_torchvision_to_the_rounding_of_a_byte(shape: tuple[int, int]) -> None:
    transforms = torchvision_module("transforms")
    smooth = np.cumsum(np.random.default_rng(1).normal(0, 4, (*shape, 3)), axis=1)
    pixels = np.clip(smooth + 128, 40, 215).astype(np.uint8)
    theirs = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    expected = theirs(Image.fromarray(pixels)).numpy()
    ours = picture.fit(picture.read(pixels), (3, 224, 224), "crop 256 bilinear")
    assert np.abs(ours - expected).max() <= 1.6 / 255


def test_an_endless_strip_is_cropped_before_it_is_scaled() -> None:
    strip = np.zeros((1, 1, 2_000_000), np.float32)  # scaled whole, its long side would have 512 million pixels
    assert picture.fit(strip, (1, 224, 224), "crop 256").shape == (1, 224, 224)


@pytest.mark.parametrize("rule", ["", "shrink", "crop 0", "crop 256 256", "fit 256", "crop nearest", "crop 99999"])
def test_an_unknown_resize_rule_is_refused(rule: str) -> None:
    with pytest.raises(PictureError, match="is not a resize rule"):
        picture.check_rule(rule)


def test_a_picture_for_a_data_set_is_bytes_with_channels_last() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(picture.read_8bit(pixels), pixels)
    np.testing.assert_array_equal(picture.read_8bit(pixels[..., 0]), pixels[..., 0])
