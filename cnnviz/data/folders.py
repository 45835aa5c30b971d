"""Any folder of class folders as a data set: `folder/cat/1.png`, `folder/dog/2.jpg`, or such under train and test."""

from pathlib import Path

import numpy as np

from cnnviz.data.dataset import DataSet
from cnnviz.errors import DataError, PictureError
from cnnviz.picture import read_8bit

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
MOST_PICTURES = 200_000


def open_folder(folder: str | Path, *, name: str | None = None, split: str = "all", licence: str = "") -> DataSet:
    """The pictures in a folder of class folders; `split` names a subfolder, "all" takes the folder itself.

    Classes are the folder names in alphabetical order. Pictures of one size become one array. Raises DataError when
    there are no class folders, no pictures, or a file that is not a picture.
    """
    root = Path(folder).expanduser()
    base = root if split == "all" else root / split
    classes, files = _listing(base)
    images = [_read(path) for path, _ in files]
    return DataSet(
        name=name or root.name,
        title=name or root.name,
        split=split,
        images=_stacked(images),
        labels=np.array([label for _, label in files], dtype=np.int64),
        classes=classes,
        index=np.arange(len(files)),
        source=f"{root.name} picture",
        licence=licence or "as the folder's owner says",
        titles=tuple(str(path.relative_to(base)) for path, _ in files),
    )


def _listing(base: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    if not base.is_dir():
        raise DataError(f"{base} is not a folder; give a folder that holds one folder of pictures per class.")
    folders = sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [(path, label) for label, folder in enumerate(folders) for path in _pictures(folder)]
    if not files:
        raise DataError(f"{base} holds no pictures in class folders; expected such as {base}/cat/1.png.")
    if len(files) > MOST_PICTURES:
        raise DataError(f"{base} holds {len(files)} pictures; at most {MOST_PICTURES} are read.")
    return tuple(folder.name for folder in folders), files


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)


def _read(path: Path) -> np.ndarray:
    try:
        return read_8bit(path)
    except PictureError as error:
        raise DataError(f"{path}: {error}") from error


def _stacked(images: list[np.ndarray]) -> np.ndarray | tuple[np.ndarray, ...]:
    return np.stack(images) if len({image.shape for image in images}) == 1 else tuple(images)
