"""How one number of a feature map comes about: by hand, and in the network that is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from dashboard import frame
from dashboard.address import Place, choose, chosen
from dashboard.choices import Choice
from dashboard.components import stepper
from dashboard.components.by_hand import Hand, by_hand
from dashboard.views import view

ABOUT_HAND = frame.About(
    "The kernel is laid over the image; each weight is multiplied by the number under it, and the products are added. "
    "That sum is one cell of the feature map. Then the window moves on by the stride. ReLU makes negative cells 0; "
    "pooling keeps the largest (or the mean) of each block of 2 × 2.",
    "Y_{ij} = b + Σ_{u} Σ_{v} K_{uv} · X_{i·S + u·D − P, j·S + v·D − P}",
    (
        "Deep learning calls this convolution although the kernel is not flipped; mathematics calls it "
        "cross-correlation. The weights are learned, so that nothing is lost by it.",
        "Where a division leaves a rest, the last rows and columns are never covered: they are hatched.",
    ),
    "Goodfellow, Bengio and Courville, Deep Learning, 2016, chapter 9",
)


@dataclass(frozen=True)
class Part:
    """One part of the lesson: what the row of parts calls it, and what draws it."""

    title: str
    draw: Callable[[Choice], None]


@view(
    "Convolution",
    section="Learn",
    order=10,
    lede="A small window slides over the picture; at each stop it multiplies, adds and writes one number.",
    icon=":material/grid_on:",
)
def convolution(choice: Choice) -> None:
    """The row of parts, and the part that is chosen."""
    name = chosen(PLACES)["part"]
    stops = [
        {"name": key, "letter": letter, "text": part.title}
        for letter, (key, part) in zip("abcde", PARTS.items(), strict=False)
    ]
    stepper(stops, name, key="parts", label="Part", on_choose=lambda part: choose(PLACES, {"part": part}))
    PARTS[name].draw(choice)


# a: by hand


def _by_hand(choice: Choice) -> None:
    _hand_plate()


@st.fragment
def _hand_plate() -> None:
    hand = chosen(PLACES)["hand"]
    with frame.plate(
        "By hand",
        "one window, its products, one sum; type in any cell",
        about=ABOUT_HAND,
        npz=hand.results,
        python=_hand_python(hand),
        state=hand.text,
    ):
        by_hand(hand, key="by-hand", on_change=_keep_hand)


def _keep_hand(text: str) -> None:
    choose(PLACES, {"hand": Hand.read(text)})


def _hand_python(hand: Hand) -> str:
    size = f"{len(hand.kernel)}, {hand.stride}, {hand.padding}, {hand.dilation}"
    return (
        "import numpy as np\n"
        "from cnnviz.convolution import Window, convolve, pool, relu\n"
        f"image = np.array({[list(row) for row in hand.image]})\n"
        f"kernel = np.array({[list(row) for row in hand.kernel]})\n"
        f"window = Window({size})\n"
        f"maps = convolve(image[None], kernel[None, None], np.array([{hand.bias}]), rows=window, columns=window)\n"
        + (
            "pooled = relu(maps).mean((1, 2))"
            if hand.pool == "global"
            else f'pooled = pool(relu(maps), "{hand.pool}", rows=Window(2, stride=2))'
        )
    )


PARTS = {"hand": Part("By hand", _by_hand)}


def _part(text: str) -> str:
    if text not in PARTS:
        raise ValueError(text)
    return text


PLACES = {"part": Place("hand", _part), "hand": Place(Hand(), Hand.read)}
