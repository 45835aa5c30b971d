"""The colours of every picture and page: paper, ink, one spot colour, and the maps that stand for data.

A hex colour appears here and in `.streamlit/config.toml` and nowhere else. The surprise: frame colours come in a light
and a dark version, data colours do not. A value has one colour on screen, in a PNG and in print.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["light", "dark"]
PaletteName = Literal["cividis", "diverging", "grey"]


@dataclass(frozen=True)
class Frame:
    """The colours that change with the theme, by role."""

    paper: str  # the page, the inside of fields
    well: str  # sidebar, code, the uncovered border of a picture
    press: str  # the link of the page you are on, the stripes of a dead map
    rule: str  # hairlines that only separate
    edge: str  # outlines that must be seen: ticks, colour bars, bars that are not the target
    ink: str  # text, heavy rules, axes
    ink_2: str  # units and secondary text
    ink_3: str  # values that are not there yet
    accent: str  # what has been chosen and what can be pressed, and nothing else
    on_accent: str
    wash: str  # accent as a background
    warn: str  # a caveat, always together with the word
    raises: str  # signed bars on the page
    lowers: str


FRAMES: dict[Mode, Frame] = {
    "light": Frame(
        paper="#F8F8F4", well="#EFF0EA", press="#E1E4DB", rule="#D3D6CB", edge="#7D878B", ink="#0E161B",
        ink_2="#465157", ink_3="#5E696E", accent="#0B6660", on_accent="#FFFFFF", wash="#DCEAE5", warn="#7A4B00",
        raises="#B2182B", lowers="#2166AC",
    ),
    "dark": Frame(
        paper="#11181D", well="#182228", press="#25323A", rule="#2D3A42", edge="#66757C", ink="#E9EBE5",
        ink_2="#BAC3C3", ink_3="#94A1A5", accent="#66C9B9", on_accent="#08211D", wash="#173732", warn="#E7B75F",
        raises="#E0705A", lowers="#5B9FD0",
    ),
}  # fmt: skip

# Stops at equal distances. Cividis: 33 of its 256 colours, so that straight lines between them stay within 5 / 255.
STOPS: dict[PaletteName, tuple[str, ...]] = {
    "cividis": (
        "#00224E", "#00285B", "#002E6A", "#053371", "#1A386F", "#273E6E", "#32436D", "#3B496C",
        "#434E6C", "#4B546C", "#535A6D", "#5A5F6E", "#61656F", "#686A71", "#6F7073", "#767676",
        "#7D7C78", "#848279", "#8C8878", "#938E78", "#9B9476", "#A39A74", "#ABA072", "#B4A76F",
        "#BCAE6C", "#C4B468", "#CDBB63", "#D5C25E", "#DEC958", "#E7D150", "#F0D846", "#F9E03A",
        "#FEE838",
    ),
    "diverging": (
        "#0B3C6F", "#2166AC", "#4393C3", "#92C5DE", "#D1E5F0", "#F7F7F3",
        "#FDDBC7", "#F4A582", "#D6604D", "#B2182B", "#6E0A1E",
    ),
    "grey": ("#000000", "#FFFFFF"),
}  # fmt: skip

NOT_A_NUMBER = "#D01C8B"  # in neither map, so a NaN cannot be taken for a value
HALO = "#10171B"  # under the white of every mark on a picture
MARK = "#FFFFFF"


@dataclass(frozen=True)
class ClassMark:
    """How one class is drawn on every page: colour and shape, so that colour is never the only difference."""

    colour: str
    shape: str  # a plotly marker symbol


# Okabe and Ito's colours without black (black and white change places between the themes), and three more.
CLASS_MARKS = (
    ClassMark("#0072B2", "circle"),
    ClassMark("#E69F00", "square"),
    ClassMark("#009E73", "triangle-up"),
    ClassMark("#CC79A7", "diamond"),
    ClassMark("#56B4E9", "cross"),
    ClassMark("#D55E00", "x"),
    ClassMark("#F0E442", "triangle-down"),
    ClassMark("#7A5230", "pentagon"),
    ClassMark("#8A9296", "hexagon"),
    ClassMark("#4B3F8F", "star"),
)
ANY_CLASS = ClassMark("#8A9296", "circle")


def class_mark(index: int, *, of: int, chosen: tuple[int, ...] = ()) -> ClassMark:
    """The colour and shape of class `index` out of `of`.

    Up to ten classes have one each. With more than ten all are grey, and only the `chosen` ones take a colour, by
    their place in `chosen`.
    """
    if of <= len(CLASS_MARKS):
        return CLASS_MARKS[index]
    if index in chosen:
        return CLASS_MARKS[chosen.index(index) % len(CLASS_MARKS)]
    return ANY_CLASS


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of "#RRGGBB"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@cache
def colours(name: PaletteName, count: int) -> NDArray[np.uint8]:
    """`count` colours of a map from its lowest to its highest value: (count, 3), straight lines between the stops."""
    stops = np.array([rgb(stop) for stop in STOPS[name]], dtype=np.float64)
    places = np.linspace(0, len(stops) - 1, count)
    channels = [np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    table = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    table.setflags(write=False)
    return table


def plotly_scale(name: PaletteName) -> list[tuple[float, str]]:
    """A colour map as plotly wants it: pairs of position (0 to 1) and colour."""
    stops = STOPS[name]
    return [(index / (len(stops) - 1), stop) for index, stop in enumerate(stops)]
