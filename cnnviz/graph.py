"""Which layer reads which: the branches, sums and concatenations of a network, and how its layers fall into blocks.

The surprise: only the tape of the dry run is read, not names or modules, so a shortcut that is written as `x + y`
in a `forward` is found as well as one that is a module.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from cnnviz.model import Layer, Model

INPUT = "input"
MOST_BLOCKS = 30


@dataclass(frozen=True)
class Block:
    """Layers that run one after the other under one name (`layer1.0`); a layer of its own is a block of one."""

    name: str
    layers: tuple[Layer, ...]


def sources(model: Model) -> dict[str, tuple[str, ...]]:
    """For each layer the layers whose outputs it reads, in the order they ran; `INPUT` for the image itself."""
    marks, steps = model.tape.marks, model.tape.steps
    owners: dict[int, str] = {0: INPUT}
    found: dict[str, tuple[str, ...]] = {}
    order = {INPUT: -1} | {mark.layer: place for place, mark in enumerate(marks)}
    for mark in marks:
        here = mark.at.step
        first = [here] if here in owners else [ref.step for ref in steps[here].refs]
        found[mark.layer] = tuple(sorted(_owners(first, owners, model), key=order.__getitem__))
        owners[here] = mark.layer
    return found


def _owners(first: list[int], owners: dict[int, str], model: Model) -> set[str]:
    """The layers that are met first on the way back from some steps."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = list(first)
    while waiting:
        step = waiting.pop()
        if step in seen:
            continue
        seen.add(step)
        if step in owners:
            found.add(owners[step])
        else:
            waiting += [ref.step for ref in model.tape.steps[step].refs]
    return found


def shortcuts(model: Model) -> list[tuple[str, str]]:
    """Pairs (from, to) of layers where the second reads the first across other layers: the arcs of a diagram."""
    place = {INPUT: -1} | {layer.name: i for i, layer in enumerate(model.layers)}
    return [
        (source, name) for name, reads in sources(model).items() for source in reads if place[name] - place[source] > 1
    ]


def blocks(model: Model) -> list[Block]:
    """The layers in runs under one name, as fine as gives at most `MOST_BLOCKS` of them."""
    deepest = max((layer.name.count(".") for layer in model.layers), default=0)
    finest = _runs(model, 1)
    for depth in range(2, deepest + 1):
        runs = _runs(model, depth)
        if len(runs) > MOST_BLOCKS:
            break
        finest = runs
    return finest


def _runs(model: Model, depth: int) -> list[Block]:
    def name(layer: Layer) -> str:
        parts = layer.name.split(".")
        return ".".join(parts[:depth]) if len(parts) > depth else layer.name

    return [Block(key, tuple(layers)) for key, layers in groupby(model.layers, name)]
