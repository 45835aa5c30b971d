"""Which value gets which colour: limits for a map, a layer or a network, and the step from numbers to palette indices.

A map that can be negative is signed: blue, paper, red around a zero in the middle. Any other map runs from 0 to its
highest value. The surprise: 251 of the 256 palette entries are values; the rest say "not a number", "dead" and "no
picture here", so that none of these can be mistaken for a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnviz.figures import theme

Per = Literal["map", "layer", "network"]
Floats = NDArray[np.floating[Any]]

LEVELS = 251  # odd, so that zero has a colour of its own in the middle of a signed map
NAN_INDEX, STRIPE_INDEX, GROUND_INDEX, EMPTY_INDEX, INK_INDEX = range(LEVELS, 256)


@dataclass(frozen=True)
class Scale:
    """The limits of a colour map. `low` and `high` are numbers, or one number for each map: (C,)."""

    low: float | Floats
    high: float | Floats
    palette: theme.PaletteName = "cividis"

    @property
    def signed(self) -> bool:
        return self.palette == "diverging"

    def of(self, index: int) -> tuple[float, float]:
        """The limits of map number `index`."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return float(low if low.ndim == 0 else low[index]), float(high if high.ndim == 0 else high[index])


GREY = Scale(0.0, 1.0, "grey")


def strongest(maps: Floats, *, signed: bool, per: Per = "layer") -> Floats:
    """The value at the end of the colour bar: the largest magnitude when `signed`, otherwise the highest value.

    maps (C, H, W) or any shape. A number as a 0-d array, or with `per="map"` one for each map (C,). Values that are
    not finite do not count. At least 0.
    """
    finite = np.isfinite(maps)
    values = maps if finite.all() else np.where(finite, maps, 0)
    axes = tuple(range(1, values.ndim)) if per == "map" else None
    if not signed:
        return np.asarray(values.max(axis=axes, initial=0.0))
    # max(|min|, |max|) without an array of magnitudes: a third of the time on large layers
    return np.asarray(np.maximum(values.max(axis=axes, initial=0.0), -values.min(axis=axes, initial=0.0)))


def scale_for(maps: Floats, *, signed: bool | None = None, per: Per = "layer", network: float | None = None) -> Scale:
    """The scale of some maps (C, H, W).

    `signed` says whether negative values are possible; None asks the maps themselves. `per="map"` gives each map its
    own limits, `"layer"` shares them, `"network"` uses `network`, the strongest value of all layers shown together.
    """
    if signed is None:
        signed = bool(np.nanmin(maps, initial=0.0) < 0)
    if per == "network":
        if network is None:
            raise ValueError(
                'a scale per network needs network=, the strongest value of its layers; or use per="layer"'
            )
        top: Any = np.asarray(network, dtype=np.float64)
    else:
        top = strongest(maps, signed=signed, per=per).astype(np.float64)
    top = top if top.ndim else float(top)
    return Scale(-top if signed else 0.0 * top, top, "diverging" if signed else "cividis")


def indices(maps: Floats, scale: Scale) -> NDArray[np.uint8]:
    """The palette index of every value: same shape, 0 to LEVELS - 1, `NAN_INDEX` where it is not a number.

    Values beyond the limits, infinities included, take the end colours. A scale of width zero puts its one value at
    the zero of the map.
    """
    low, high = (_beside(limit, maps) for limit in (scale.low, scale.high))
    width = high - low
    factor = np.divide(LEVELS - 1, width, out=np.zeros_like(width), where=width > 0)
    rest = (LEVELS - 1) // 2 if scale.signed else 0
    offset = np.where(width > 0, -low * factor, rest) + np.float32(0.5)
    with np.errstate(over="ignore", invalid="ignore"):
        level = maps * factor
        level += offset
        np.clip(level, 0, LEVELS - 1, out=level)
        index: NDArray[np.uint8] = level.astype(np.uint8)  # truncation after + 0.5 rounds
    missing = np.isnan(maps)
    if missing.any():
        index[missing] = NAN_INDEX
    return index


def count_nan(maps: Floats) -> int:
    """How many values are not a number."""
    return int(np.isnan(maps).sum())


def _beside(limit: float | Floats, maps: Floats) -> Floats:
    """A limit shaped so that it broadcasts against the maps: (C, 1, 1) when there is one for each."""
    values = np.asarray(limit, dtype=np.float32)
    return values.reshape(values.shape + (1,) * (maps.ndim - values.ndim)) if values.ndim else values


def palette(name: theme.PaletteName, mode: theme.Mode = "light") -> NDArray[np.uint8]:
    """The 256 colours of a picture (256, 3): LEVELS values, then NaN, stripe and ground of a dead map, paper, ink."""
    frame = theme.FRAMES[mode]
    extra = (theme.NOT_A_NUMBER, frame.press, frame.paper, frame.paper, frame.ink)
    return np.concatenate([theme.colours(name, LEVELS), np.array([theme.rgb(colour) for colour in extra], np.uint8)])
