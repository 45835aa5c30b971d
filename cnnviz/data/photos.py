"""Real photos that come inside scikit-image and scikit-learn, each with its photographer and its terms.

They are read with Pillow from the packages' folders: importing scikit-image for a picture would cost half a second.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from cnnviz.data.dataset import DataSet
from cnnviz.errors import DataError


@dataclass(frozen=True)
class Photo:
    """A photo in an installed package."""

    title: str
    package: str
    path: str
    credit: str


_IMAGES = "skimage"
_LEARN = "sklearn"
PHOTOS = (
    Photo("Chelsea the cat", _IMAGES, "data/chelsea.png", "Stéfan van der Walt, CC0"),
    Photo("Coffee cup", _IMAGES, "data/coffee.png", "Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0"),
    Photo("Astronaut Eileen Collins", _IMAGES, "data/astronaut.png", "NASA, public domain"),
    Photo("Falcon 9 launch", _IMAGES, "data/rocket.jpg", "SpaceX, public domain"),
    Photo(
        "Motorcycle",
        _IMAGES,
        "data/motorcycle_left.png",
        "Scharstein et al. 2014, Middlebury stereo data sets; no licence stated",
    ),
    Photo("Chinese temple", _LEARN, "datasets/images/china.jpg", "danielbuechele, CC BY 2.0"),
    Photo("Flower", _LEARN, "datasets/images/flower.jpg", "vultilion, CC BY 2.0"),
    Photo("Cameraman", _IMAGES, "data/camera.png", "Lav Varshney, CC0"),
    Photo("Greek coins", _IMAGES, "data/coins.png", "Brooklyn Museum, no known copyright restrictions"),
    Photo("Moon", _IMAGES, "data/moon.png", "NASA, public domain"),
    Photo("Brick wall", _IMAGES, "data/brick.png", "CC0Textures, CC0"),
    Photo("Grass", _IMAGES, "data/grass.png", "CC0Textures, CC0"),
    Photo("Gravel", _IMAGES, "data/gravel.png", "CC0Textures, CC0"),
    Photo("Retina", _IMAGES, "data/retina.jpg", "Mikael Häggström 2014, CC0"),
    Photo("Hubble deep field", _IMAGES, "data/hubble_deep_field.jpg", "NASA, public domain"),
)


def photos(split: str) -> DataSet:
    """The photos at their own sizes; there are no classes."""
    return DataSet(
        name="photos",
        title="Photos",
        split=split,
        images=tuple(read_photo(photo) for photo in PHOTOS),
        labels=None,
        classes=(),
        index=np.arange(len(PHOTOS)),
        source="bundled photo",
        licence="Photos in scikit-image and scikit-learn, each under its own terms",
        titles=tuple(photo.title for photo in PHOTOS),
        credits=tuple(photo.credit for photo in PHOTOS),
    )


@lru_cache(maxsize=len(PHOTOS))
def read_photo(photo: Photo) -> np.ndarray:
    """One photo, (H, W) or (H, W, 3) uint8, read-only."""
    package = importlib.util.find_spec(photo.package)
    if package is None or package.origin is None:
        raise DataError(f"The photo {photo.title!r} is in {photo.package}, which is not installed.")
    path = Path(package.origin).parent / photo.path
    if not path.exists():
        raise DataError(f"This version of {photo.package} does not hold {path.name}.")
    with Image.open(path) as image:
        pixels = np.array(image.convert("L" if image.mode in ("L", "I;16", "1") else "RGB"))
    pixels.setflags(write=False)
    return pixels
