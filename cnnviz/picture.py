"""Read any picture a person may hand in, safely, and bring it to the size a network wants.

A picture is float32 (C, H, W) in [0, 1] with 1 or 3 channels. Files are hostile until shown otherwise: size and pixel
count are checked before anything is decoded, and only sound formats are tried (a 10 kB file can hold 81 million pixels,
and Pillow opens it without a word). The surprise: transparency is laid over white unless told otherwise, so a white
drawing on a transparent ground needs `background="black"`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnviz.errors import PictureError

MOST_BYTES = 20_000_000
MOST_PIXELS = 12_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
RULES = ("fit", "crop", "stretch")

Picture = NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_GROUNDS = {"white": 255, "black": 0}
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def read(source: Any, *, background: str = "white") -> Picture:
    """A picture from bytes, a path, an open file, a PIL image, an array or a tensor, as float32 (C, H, W) in [0, 1].

    Grey pictures have 1 channel, all others 3. An animation gives its first frame; EXIF rotation is applied; CMYK and
    palettes become RGB; 16 bits keep their depth; transparency is laid over `background`, "white" or "black". Arrays
    are uint8, uint16, bool, or float in [0, 1], and (H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W). Raises PictureError.
    """
    if hasattr(source, "detach"):  # a tensor; torch is not needed to know that
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray):
        return _from_array(source, background)
    image = source if isinstance(source, Image.Image) else _opened(_content(source))
    return _from_image(_upright(image), background)


def read_8bit(source: Any) -> NDArray[np.uint8]:
    """A picture as data sets keep it: uint8 (H, W) when grey, else (H, W, 3); raises PictureError."""
    pixels = np.round(read(source) * 255).astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def fit(picture: Picture, size: tuple[int, int, int], rule: str = "fit") -> Picture:
    """The picture with the channels, height and width of `size`, float32 in [0, 1].

    Rules: "fit" keeps the whole picture and its proportions and fills the rest black; "crop" scales the shortest side
    to the wanted one and cuts out the centre; "crop 256" scales the shortest side to 256 first, as ImageNet networks
    are fed; "stretch" ignores proportions. "bilinear" (the default) or "bicubic" may follow: "crop 256 bicubic".
    Shrinking is always antialiased. Raises PictureError.
    """
    channels, height, width = size
    kind, side, resample = _parsed(rule)
    picture = to_channels(picture, channels)
    if picture.shape[1:] == (height, width) and side is None:
        return picture
    return np.clip(_PLACERS[kind](picture, (height, width), side, resample), 0, 1)


def to_channels(picture: Picture, channels: int) -> Picture:
    """Grey to colour by repeating, colour to grey by ITU-R 601 luma; raises PictureError for other channel counts."""
    if picture.shape[0] == channels:
        return picture
    if picture.shape[0] == 1 and channels == 3:
        return np.repeat(picture, 3, axis=0)
    if picture.shape[0] == 3 and channels == 1:
        return np.tensordot(_LUMA, picture, axes=1)[None].astype(np.float32)
    raise PictureError(
        f"The network wants {channels} channels and the picture has {picture.shape[0]}; "
        "pictures have 1 (grey) or 3 (colour)."
    )


def check_rule(rule: str) -> None:
    """Raises PictureError when a resize rule does not exist."""
    _parsed(rule)


# Reading


def _content(source: Any) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        return _file_content(Path(source))
    content = source.read(MOST_BYTES + 1) if hasattr(source, "read") else source
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise PictureError(
            f"A {type(source).__name__} is not a picture; give bytes, a path, a PIL image, an array or a tensor."
        )
    _check_bytes(len(content))
    return bytes(content)


def _file_content(path: Path) -> bytes:
    try:
        _check_bytes(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _check_bytes(count: int) -> None:
    if count > MOST_BYTES:
        raise PictureError(f"The file has {count / 1e6:.0f} MB; pictures may have up to {MOST_BYTES / 1e6:.0f} MB.")
    if count == 0:
        raise PictureError("The file is empty; give a PNG, JPEG, WEBP, BMP or GIF picture.")


def _opened(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_pixels(*image.size)
        image.load()
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"The picture has far more than {MOST_PIXELS / 1e6:.0f} million pixels; make it smaller."
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError("The file is not a PNG, JPEG, WEBP, BMP or GIF picture.") from error
    except PictureError:
        raise
    except Exception as error:  # decoders raise many kinds for damaged files
        raise PictureError(f"The picture is damaged or cut off ({_short(error)}); save or copy it again.") from error
    return image


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:80].rstrip(".")


def _check_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"The picture is {width}×{height}; it needs at least one pixel.")
    if width * height > MOST_PIXELS:
        raise PictureError(
            f"The picture is {width}×{height}, {width * height / 1e6:.0f} million pixels; "
            f"up to {MOST_PIXELS / 1e6:.0f} million are read, so make it smaller."
        )


def _upright(image: Image.Image) -> Image.Image:
    _check_pixels(*image.size)
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF says nothing about the pixels
        return image


def _from_image(image: Image.Image, background: str) -> Picture:
    if image.mode in _DEEP_MODES:
        return _scaled(np.asarray(image).astype(np.float32), 65535)[None]
    if image.mode == "F":
        return _from_array(np.asarray(image), background)
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La")
        image = _laid_over(image.convert("RGBA"), background).convert("L" if grey else "RGB")
    return _channels_first(np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")))


def _laid_over(image: Image.Image, background: str) -> Image.Image:
    ground = _ground(background)
    return Image.alpha_composite(Image.new("RGBA", image.size, (ground, ground, ground, 255)), image)


def _ground(background: str) -> int:
    if background not in _GROUNDS:
        raise PictureError(f"Transparency can be laid over white or black, not {background!r}.")
    return _GROUNDS[background]


def _channels_first(pixels: NDArray[Any]) -> Picture:
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return _scaled(np.ascontiguousarray(planes).astype(np.float32), 255)


def _scaled(values: NDArray[Any], most: int) -> Picture:
    return np.clip(values / np.float32(most), 0, 1).astype(np.float32)


_DEPTHS: dict[str, int] = {"uint8": 255, "uint16": 65535, "bool": 1}


def _from_array(pixels: NDArray[Any], background: str) -> Picture:
    planes = _planes(pixels)
    _check_pixels(planes.shape[2], planes.shape[1])
    values = _in_unit_range(planes)
    if len(values) == 4:
        opacity = values[3:]
        values = values[:3] * opacity + (1 - opacity) * (_ground(background) / 255)
    return np.ascontiguousarray(values, dtype=np.float32)


def _planes(pixels: NDArray[Any]) -> NDArray[Any]:
    """(C, H, W) from the layouts that can be told apart."""
    if pixels.ndim == 2:
        return pixels[None]
    if pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4):
        return pixels.transpose(2, 0, 1)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        return pixels
    raise PictureError(
        f"An array of shape {tuple(pixels.shape)} is not one picture; "
        "give (height, width), (height, width, 1, 3 or 4) or (1 or 3, height, width)."
    )


def _in_unit_range(planes: NDArray[Any]) -> Picture:
    if planes.dtype.name in _DEPTHS:
        return _scaled(planes.astype(np.float32), _DEPTHS[planes.dtype.name])
    if not np.issubdtype(planes.dtype, np.floating):
        raise PictureError(f"Pixels of type {planes.dtype} have no known range; give uint8, or float from 0 to 1.")
    if not planes.size or not np.isfinite(planes).all() or planes.min() < 0 or planes.max() > 1:
        raise PictureError("Pixels given as float must be finite and from 0 to 1; divide 0 … 255 by 255.")
    return planes.astype(np.float32)


# Resizing

_Box = tuple[float, float, float, float]
_Placer = Callable[[Picture, tuple[int, int], int | None, Image.Resampling], Picture]


def _parsed(rule: str) -> tuple[str, int | None, Image.Resampling]:
    words = rule.split()
    kind = words[0] if words and words[0] in RULES else None
    numbers = [int(word) for word in words[1:] if word.isdecimal()]
    filters = [_FILTERS[word] for word in words[1:] if word in _FILTERS]
    known = 1 + len(numbers) + len(filters) == len(words) and len(numbers) <= (kind == "crop") and len(filters) <= 1
    if kind is None or not known or any(not 1 <= number <= 4096 for number in numbers):
        raise PictureError(
            f'{rule!r} is not a resize rule; there are "fit", "crop", "crop 256" and "stretch", '
            'each with "bilinear" or "bicubic" after it if wanted.'
        )
    return kind, numbers[0] if numbers else None, filters[0] if filters else Image.Resampling.BILINEAR


def _resized(picture: Picture, size: tuple[int, int], resample: Image.Resampling, box: _Box | None = None) -> Picture:
    """Each channel by Pillow, in float; `box` is the (left, top, right, bottom) part of the source to use."""
    height, width = size
    planes = [Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), resample, box) for plane in picture]
    return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])


def _stretched(picture: Picture, size: tuple[int, int], side: int | None, resample: Image.Resampling) -> Picture:
    return _resized(picture, size, resample)


def _fitted(picture: Picture, size: tuple[int, int], side: int | None, resample: Image.Resampling) -> Picture:
    _, high, wide = picture.shape
    scale = min(size[0] / high, size[1] / wide)
    inner = (max(1, round(high * scale)), max(1, round(wide * scale)))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    ground = np.zeros((picture.shape[0], *size), dtype=np.float32)
    ground[:, top : top + inner[0], left : left + inner[1]] = _resized(picture, inner, resample)
    return ground


def _cropped(picture: Picture, size: tuple[int, int], side: int | None, resample: Image.Resampling) -> Picture:
    """Scaling and centre crop in one step: of a very long picture, only the part that stays is ever scaled."""
    _, high, wide = picture.shape
    shortest = max(size) if side is None else max(side, *size)
    scaled = (max(shortest, shortest * high // wide), max(shortest, shortest * wide // high))
    top, left = (round((scaled[axis] - size[axis]) / 2) for axis in (0, 1))
    down, across = high / scaled[0], wide / scaled[1]
    box = (left * across, top * down, min(wide, (left + size[1]) * across), min(high, (top + size[0]) * down))
    return _resized(picture, size, resample, box)


_PLACERS: dict[str, _Placer] = {"fit": _fitted, "crop": _cropped, "stretch": _stretched}
