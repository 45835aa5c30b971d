"""Which cells of each map a window can change: geometry alone, one axis at a time, no tensors.

A window changes a rectangle of the image, that rectangle a rectangle of the next map, and so on. Windows are taken in
blocks, `count` of them `step` pixels apart along each axis, and one `Span` says for all of them which cells change.

The surprise: rows and columns never need to know of each other, so a plan is two short lists, and trying another way
of cutting the work into blocks costs microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """Along one axis, window i of `count` changes the cells [start + i·step, start + i·step + length).

    It may overhang the map, where nothing ever changes. With a step of 0 all windows share one range, which is clipped.
    """

    start: int
    length: int
    step: int
    count: int

    @property
    def end(self) -> int:
        """One past the last cell of the last window."""
        return self.start + (self.count - 1) * self.step + self.length

    @property
    def shared(self) -> bool:
        """Whether all windows use the same range."""
        return self.step == 0

    def overhang(self, size: int) -> int:
        """By how many cells the windows reach beyond a map of `size` cells, on the worse side."""
        return max(0, -self.start, self.end - size)

    def clipped(self, size: int) -> Span:
        """One range for all windows: what any of them changes, inside the map, and at least one cell."""
        return _inside(self.start, self.end - 1, size, self.count)

    def within(self, other: Span) -> bool:
        """Whether for every window this range lies inside the other's."""
        same_pace = self.step == other.step
        return same_pace and other.start <= self.start and self.start + self.length <= other.start + other.length


def whole(size: int, count: int) -> Span:
    """All cells of a map, for every window."""
    return Span(0, size, 0, count)


def _inside(first: int, last: int, size: int, count: int) -> Span:
    first = min(max(first, 0), size - 1)
    last = max(min(last, size - 1), first)
    return Span(first, last - first + 1, 0, count)


def union(spans: list[Span]) -> Span:
    """The smallest span that holds all of them; they have the same step."""
    start = min(span.start for span in spans)
    stop = max(span.start + span.length for span in spans)
    return Span(start, stop - start, spans[0].step, spans[0].count)


@dataclass(frozen=True)
class Taps:
    """A sliding kernel along one axis."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """From the first cell that a kernel reads to the last."""
        return self.dilation * (self.kernel - 1)

    def outputs(self, span: Span, size: int) -> Span:
        """The outputs, of a map of `size`, that read any cell of `span`."""
        first = -((self.reach - span.start - self.padding) // self.stride)
        last = (span.start + span.length - 1 + self.padding) // self.stride
        if span.shared:
            return _inside(first, last, size, span.count)
        return Span(first, max(1, last - first + 1), span.step // self.stride, span.count)

    def inputs(self, span: Span) -> Span:
        """The cells that the outputs of `span` read."""
        start = span.start * self.stride - self.padding
        return Span(start, (span.length - 1) * self.stride + self.reach + 1, span.step * self.stride, span.count)


# Sharing one range costs arithmetic where windows are far apart, and saves it at the border, where a tile is clipped.
_WORTH_SHARING = 1.07


def before_sliding(span: Span, size: int, stride: int) -> Span:
    """The span as a sliding kernel can take it: shared where the kernel's stride would put windows out of step."""
    if span.shared:
        return span
    clipped = span.clipped(size)
    if span.step % stride or clipped.length <= _WORTH_SHARING * span.length:
        return clipped
    return span


@dataclass(frozen=True)
class Run:
    """Windows `step` apart along one axis: their places in the list that was asked for, and the first one's start."""

    places: tuple[int, ...]
    start: int
    step: int

    def span(self, window: int) -> Span:
        """The pixels that these windows change."""
        return Span(self.start, window, self.step if len(self.places) > 1 else 0, len(self.places))


def runs(starts: tuple[int, ...], step: int, most: int) -> list[Run]:
    """Cut a list of starts into runs of at most `most` windows that are `step` apart, of about equal size."""
    chains: dict[int, list[list[int]]] = {}
    for place, start in enumerate(starts):
        phase = chains.setdefault(start % step, [])
        if phase and starts[phase[-1][-1]] + step == start:
            phase[-1].append(place)
        else:
            phase.append([place])
    return [run for phase in chains.values() for chain in phase for run in _evenly(chain, starts, step, most)]


def _evenly(chain: list[int], starts: tuple[int, ...], step: int, most: int) -> list[Run]:
    parts = -(-len(chain) // most)
    edges = [len(chain) * i // parts for i in range(parts + 1)]
    return [Run(tuple(chain[a:b]), starts[chain[a]], step) for a, b in pairwise(edges)]
