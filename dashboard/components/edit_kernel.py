"""One kernel to be changed: preset or cell by cell, with its map at once and a way back.

The map is worked out in the browser, the prediction by the server from a private copy of the network. The surprise: an
edit is one short text, and only the newest stands in the address; the history of undo lives in the browser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.components.kit import Handler, define, mount, pack
from dashboard.components.on_network import Taken, packed_part

_component = define("edit_kernel", "channel_inputs")
LARGEST, MOST = 1000.0, 225


@dataclass(frozen=True)
class Edit:
    """New weights for one kernel: of the input channel `channel` (counted in what the filter reads), or of all."""

    channel: int | None
    values: tuple[float, ...]

    def __str__(self) -> str:
        scope = "a" if self.channel is None else str(self.channel)
        return f"{scope}~{'_'.join(f'{value:g}' for value in self.values)}"

    @classmethod
    def read(cls, text: str) -> Edit:
        """The edit that `text` stands for. Raises `ValueError`."""
        scope, words = text.split("~")
        values = tuple(float(word) for word in words.split("_"))
        if len(values) > MOST or not all(math.isfinite(value) and abs(value) <= LARGEST for value in values):
            raise ValueError(f"at most {MOST} numbers from −{LARGEST:g} to {LARGEST:g} are wanted")
        channel = None if scope == "a" else int(scope)
        if channel is not None and channel < 0:
            raise ValueError(f"{scope} is not an input channel")
        return cls(channel, values)

    def fits(self, kernel: NDArray[Any]) -> bool:
        """Whether a filter (C, kh, kw) has such a kernel."""
        return len(self.values) == kernel[0].size and (self.channel or 0) < len(kernel)

    def applied(self, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of the filter (C, kh, kw) with the edit made."""
        changed = kernel.copy()
        new = np.array(self.values, np.float32).reshape(kernel.shape[1:])
        changed[slice(None) if self.channel is None else self.channel] = new
        return changed


def edit_kernel(
    part: Taken, *, words: Mapping[str, Any], edit: Edit | None, key: str, on_channel: Handler, on_edit: Handler
) -> None:
    """Show the kernels of `part` to be edited, with the learned and the edited map.

    `words`: `layer`, `channel`, `channels`. `on_edit(text)` reports an edit ("" is none) once the hand rests,
    `on_channel(int)` asks for another output channel.
    """
    header, arrays = packed_part(part, {})
    data = pack({**header, **words, "edit": "" if edit is None else str(edit)}, **arrays)
    mount(_component, data, key=key, channel=on_channel, edit=on_edit)
