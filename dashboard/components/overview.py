"""One picture through the whole network: input, strips of maps layer by layer, prediction.

Under each other stand the *same channels in the same columns*, so that the eye can follow one map through convolution,
ReLU and pooling; the change from red-blue to navy-gold is what ReLU does. The surprise: of a large network only some
layers are shown (`choose_strips` says which), because sixty strips are not an overview.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import numbers, pixels, scales
from dashboard.components.kit import Handler, define, mount, pack
from dashboard.components.prediction_bars import prediction_rows
from dashboard.components.ruled_picture import packed_picture

ACROSS = 8
MOST_STRIPS = 8
LARGEST_TILE = 64
_UNCHANGED = ("dropout", "flatten", "identity", "view", "reshape", "squeeze", "pad", "zeropad")
_component = define("overview")


@dataclass(frozen=True)
class Strip:
    """One layer: the maps (n, H, W) of the channels shown, or all values (C,) of a layer of units."""

    layer: str
    shape: tuple[int, ...]
    values: NDArray[np.float32]
    scale: scales.Scale
    hint: str = ""


@dataclass(frozen=True)
class Block:
    """Strips that show the same channels in the same columns."""

    channels: Sequence[int]
    strips: Sequence[Strip]


def choose_strips(layers: Sequence[Any], most: int = MOST_STRIPS) -> list[list[Any]]:
    """Which layers an overview shows, in blocks that share their channels; `layers` are those of a `cnnviz.Model`.

    Each convolution begins a block with what follows it. When that is more than `most` strips, it is the first block
    and then, of each further map size, the last layer.
    """
    spatial = [layer for layer in layers if layer.spatial and not _same_as_before(layer) and layer.shape[1] > 1]
    blocks: list[list[Any]] = []
    for layer in spatial:
        if not blocks or "conv" in layer.kind.lower() or layer.shape[0] != blocks[-1][-1].shape[0]:
            blocks.append([])
        blocks[-1].append(layer)
    if sum(map(len, blocks)) <= most:
        return blocks
    first = blocks[0][:3]
    last_of_size = {layer.shape[1:]: layer for layer in spatial if layer.shape[1:] != first[-1].shape[1:]}
    return [first, *([layer] for layer in list(last_of_size.values())[: most - len(first)])]


def choose_units(layers: Sequence[Any]) -> Any | None:
    """The layer of units that an overview shows: the last one before the scores, or None."""
    units = [layer for layer in layers[:-1] if len(layer.shape) == 1 and not _same_as_before(layer)]
    return units[-1] if units else None


def strips_of(
    chosen: Sequence[Sequence[Any]], outputs: Mapping[str, NDArray[np.float32]], hints: Mapping[str, str] | None = None
) -> list[Block]:
    """Blocks from the layers of `choose_strips` and their outputs (C, H, W) by name.

    The channels are those whose highest value in the block's last layer is highest. `hints`: words on hover, by layer.
    """
    return [_block(block, outputs, hints or {}) for block in chosen]


def units_strip(layer: Any, values: NDArray[np.float32]) -> Strip:
    """The strip of a layer of units (C,)."""
    return Strip(layer.name, layer.shape, values, scales.scale_for(values, signed=layer.signed))


def overview(
    image: NDArray[np.floating[Any]],
    blocks: Sequence[Block],
    *,
    key: str,
    units: Strip | None = None,
    prediction: Mapping[str, Any],
    caption: str = "",
    words: str = "of each block, the channels that reach the highest value",
    on_map: Callable[[str, int], None] | None = None,
    on_class: Handler | None = None,
    on_action: Handler | None = None,
) -> dict[str, Any]:
    """Input, layers and prediction as one plate that rearranges itself where the page is narrow.

    `image` (C, H, W) in [0, 1]; `blocks` from `strips_of`; `prediction` from `prediction_of`. A map is a button:
    `on_map(layer, channel)`; a class name: `on_class(index)`; a button under the bars: `on_action(name)`.
    """
    picture, arrays = packed_picture(image, 168, whole=False)
    every = [*chain.from_iterable(block.strips for block in blocks), *([units] if units else [])]
    indices = {f"strip{i}": _index(strip) for i, strip in enumerate(every)}
    header = {
        "picture": {**picture, "channels": len(image)},
        "blocks": [{"channels": [int(c) for c in block.channels], "strips": [_described(s) for s in block.strips]}
                   for block in blocks],
        "units": _described(units) if units else None,
        "prediction": dict(prediction), "caption": caption, "words": words,
    }  # fmt: skip

    def open_map(value: dict[str, Any]) -> None:
        if on_map:
            on_map(str(value["layer"]), int(value["channel"]))

    data = pack(header, **arrays, **indices)
    return mount(_component, data, key=key, map=open_map, class_=on_class, action=on_action)


def prediction_of(
    logits: NDArray[np.floating[Any]],
    names: Sequence[str],
    *,
    chosen: int | None = None,
    aside_title: str = "",
    aside: str = "",
    actions: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """What `overview` shows at the right: bars of logits (K,), a remark (`**bold**`, `^{raised}`), buttons."""
    rows = prediction_rows(logits, names, always=[] if chosen is None else [chosen])
    return {
        "rows": rows, "chosen": chosen, "classes": len(logits), "actions": list(actions),
        "asideTitle": aside_title, "aside": aside,
    }  # fmt: skip


def _same_as_before(layer: Any) -> bool:
    return layer.kind.lower().startswith(_UNCHANGED)


def _block(block: Sequence[Any], outputs: Mapping[str, NDArray[np.float32]], hints: Mapping[str, str]) -> Block:
    last = np.nan_to_num(outputs[block[-1].name], nan=-np.inf, posinf=np.inf)
    tops = last.reshape(len(last), -1).max(axis=1)
    channels = np.argsort(-tops, kind="stable")[:ACROSS]
    strips = [
        Strip(layer.name, layer.shape, outputs[layer.name][channels],
              scales.scale_for(outputs[layer.name], signed=layer.signed), hints.get(layer.name, ""))
        for layer in block
    ]  # fmt: skip
    return Block(channels.tolist(), strips)


def _by(strip: Strip) -> int:
    return 1 if strip.values.ndim == 1 else -(-max(strip.values.shape[1:]) // LARGEST_TILE)


def _index(strip: Strip) -> NDArray[np.uint8]:
    return scales.indices(pixels.shrink(strip.values, _by(strip)), strip.scale)


def _described(strip: Strip) -> dict[str, Any]:
    low, high = strip.scale.of(0)
    if strip.values.ndim == 1:
        above = int((strip.values > 0).sum())
        about = {"words": f"{strip.shape[0]:,} units, {above:,} > 0", "count": int(strip.values.size)}
    else:
        tops = np.nan_to_num(strip.values.reshape(len(strip.values), -1).max(axis=1))
        sides = [-(-side // _by(strip)) for side in strip.values.shape[1:]]
        about = {"words": numbers.shape(strip.shape), "sides": sides, "tops": [float(top) for top in tops]}
    return {"name": strip.layer, "palette": strip.scale.palette, "low": low, "high": high, "hint": strip.hint, **about}
