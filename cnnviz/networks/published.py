"""torchvision's classifiers by name: `torchvision:resnet18`, or `torchvision:vgg16@DEFAULT` with published weights.

Without "@" the weights are random. With it they come through torchvision's own download, into its own cache, with the
preprocessing and class names that torchvision gives with them. Offline and not in the cache, the sentence says which
file to put where. Names come from torchvision's own list of classifiers; nothing else is ever built.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnviz.errors import CheckpointError, NetworkError
from cnnviz.networks.info import Size
from cnnviz.networks.torchvision_import import torchvision_module

PREFIX = "torchvision:"


@dataclass(frozen=True)
class Published:
    """A torchvision network and how it wants to be fed; `weights` is the tag after "@", None for random weights."""

    name: str
    network: nn.Module
    size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str
    classes: tuple[str, ...] | None
    weights: str | None


@lru_cache(maxsize=1)
def torchvision_names() -> tuple[str, ...]:
    """All classifiers torchvision can build, quantised ones left out, in alphabetical order."""
    models = torchvision_module("models")
    return tuple(sorted(models.list_models(module=models)))


def weight_tags(architecture: str) -> tuple[str, ...]:
    """The published weights of a classifier, such as ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT")."""
    return tuple(_classifying(torchvision_module("models").get_model_weights(_known(architecture))))


def torchvision_network(name: str, *, classes: int | None = None) -> Published:
    """A classifier by its full name `torchvision:ARCHITECTURE[@WEIGHTS]`, in evaluation mode.

    `classes` builds it with another number of outputs, with random weights only. Raises NetworkError for a name that
    torchvision does not have, CheckpointError when published weights are not here and cannot be fetched.
    """
    architecture, _, tag = name.removeprefix(PREFIX).partition("@")
    models = torchvision_module("models")
    known = models.get_model_weights(_known(architecture))
    chosen = _chosen_weights(known, architecture, tag) if tag else None
    network = models.get_model(architecture, **_options(architecture, classes))
    if chosen is not None:
        network.load_state_dict(_fetched(chosen, architecture))
    preprocessing = chosen or known.DEFAULT
    return Published(
        name=name,
        network=network.eval(),
        weights=chosen.name if chosen is not None else None,
        classes=tuple(chosen.meta["categories"]) if chosen is not None else None,
        **_feeding(preprocessing.transforms()),
    )


def _known(architecture: str) -> str:
    if architecture in torchvision_names():
        return architecture
    close = [name for name in torchvision_names() if name[:3] == architecture[:3]] or list(torchvision_names()[:6])
    raise NetworkError(
        f"torchvision has no classifier {architecture!r}; there are {len(torchvision_names())}, such as "
        f"{', '.join(close[:6])}."
    )


def _chosen_weights(known: Any, architecture: str, tag: str) -> Any:
    tags = _classifying(known)
    if tag not in tags:
        raise NetworkError(f"{architecture} has no weights {tag!r}; it has {', '.join(tags)}.")
    return tags[tag]


def _classifying(known: Any) -> dict[str, Any]:
    """Weights by tag, without those that lack a classifier (VGG-16's features-only weights hold NaN there)."""
    return {tag: weights for tag, weights in known.__members__.items() if weights.meta.get("categories")}


def _options(architecture: str, classes: int | None) -> dict[str, Any]:
    """Quiet, cheap construction: no warning about GoogLeNet's first weights, no heads that only training uses."""
    options: dict[str, Any] = {"weights": None}
    if architecture in ("googlenet", "inception_v3"):
        options |= (
            {"init_weights": False, "aux_logits": False} if architecture == "googlenet" else {"init_weights": False}
        )
    return options if classes is None else options | {"num_classes": classes}


def _fetched(weights: Any, architecture: str) -> dict[str, Tensor]:
    file = weights.url.rsplit("/", 1)[-1]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong digest a RuntimeError
        raise CheckpointError(
            f"The published weights of {architecture} could not be fetched ({_reason(error)}); "
            f"on a machine without a network, put {file} from {weights.url} into {folder}."
        ) from error
    return {key: value for key, value in state.items() if not (architecture == "googlenet" and key.startswith("aux"))}


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)).splitlines()[0][:80]


def _feeding(preset: Any) -> dict[str, Any]:
    """torchvision's ImageClassification preset in this project's words."""
    side, crop = preset.resize_size[0], preset.crop_size[0]
    resample = "bicubic" if "bicubic" in str(preset.interpolation).lower() else "bilinear"
    return {
        "size": (3, crop, crop),
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "resize": f"crop {side} {resample}",
    }
