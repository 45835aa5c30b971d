"""One cell of a real feature map as the ledger it is: input channel by input channel, products, sum, bias, check.

The inputs and kernels travel once, as bytes; every sum is worked out in the browser and held against PyTorch's own.
The surprise: layers of more than `EXACT` numbers travel as float16, and the page says so, because their rounding then
shows in the check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.components.kit import Handler, define, mount, pack
from dashboard.components.map_grid import field_of
from dashboard.components.ruled_picture import packed_picture

_component = define("on_network", "channel_inputs")
EXACT = 1_000_000  # numbers: 4 MB
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Taken:
    """One output channel of a layer on one picture.

    `inputs` (C, H, W): the input channels it reads, the first of them number `first` of the layer's; they carry their
    border already where it is not zeros (`border` names it), and then `padding` is (0, 0). `kernel` (C, kh, kw).
    `padding` is (top, left). `output` (h, w) is PyTorch's. `after`: the same cells further on, by layer.
    """

    inputs: Floats
    first: int
    kernel: Floats
    bias: float | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    border: str
    output: Floats
    after: dict[str, Floats]


def on_network(
    part: Taken,
    layer: Any,
    image: NDArray[np.floating[Any]],
    *,
    words: Mapping[str, Any],
    cell: tuple[int, int],
    rows: int,
    key: str,
    on_channel: Handler,
    on_cell: Handler,
) -> int:
    """Show `part` of a `cnnviz.Layer`, beginning with the output `cell`; gives the size of what was sent, in bytes.

    `image` (C, H, W) in [0, 1] is the picture that the receptive field is drawn on. `rows`: how many input channels
    have a row of their own. `words`: `channel`, `channels`, `input` (what the input maps are). `on_channel(int)` asks
    for another output channel, `on_cell([row, column])` reports the cell that was clicked.
    """
    picture, arrays = packed_picture(image)
    seen = dict(zip(("seenRows", "seenColumns"), field_of(layer), strict=True))
    header, arrays = packed_part(part, arrays)
    header |= {**words, "layer": layer.name, "picture": picture, "cell": list(cell), "rows": rows}
    data = pack(header, **arrays, **seen)
    mount(_component, data, key=key, channel=on_channel, cell=on_cell)
    return len(data)


def packed_part(part: Taken, arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One output channel for `pack`: what describes it, and `arrays` with its own added."""
    halved = part.inputs.size > EXACT
    header = {
        "first": part.first, "inputShape": list(part.inputs.shape), "kernelShape": list(part.kernel.shape),
        "outputShape": list(part.output.shape), "bias": part.bias, "stride": part.stride, "padding": part.padding,
        "dilation": part.dilation, "groups": part.groups, "halved": halved, "signed": bool((part.inputs < 0).any()),
        "top": float(np.abs(part.inputs).max(initial=0)), "after": list(part.after),
    }  # fmt: skip
    inputs = np.frombuffer(part.inputs.astype(np.float16).tobytes(), np.uint8) if halved else part.inputs
    further = {f"after{place}": maps for place, maps in enumerate(part.after.values())}
    return header, {"inputs": inputs, "kernel": part.kernel, "output": part.output, **further, **arrays}
