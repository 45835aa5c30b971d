"""t-SNE that can be watched: every few iterations the points so far, on the CPU or a GPU.

van der Maaten & Hinton 2008, "Visualizing data using t-SNE", with the interpolated repulsion of Linderman et al. 2019
(arXiv:1712.09005): charges are spread on a grid, the grid is convolved with the kernel by FFT, and the field is read
back at the points, so that a step costs about n instead of n².

The surprise: each step is many small tensor operations, which collapse when another process holds a core. Run it in a
process of its own with few threads when it shares a machine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_NODES = 3  # interpolation nodes in each grid interval, along each dimension
_EXACT_BELOW = {2: 1500, 3: 6000}  # up to here all pairs are cheaper than the grid, by dimensions


@dataclass(frozen=True)
class Schedule:
    """How long, and how hard, the points are pulled: `early` iterations with `exaggeration`, then `late` without."""

    early: int = 250
    late: int = 250
    exaggeration: float = 12.0

    @property
    def total(self) -> int:
        """All iterations."""
        return self.early + self.late


QUICK = Schedule(early=100, late=150)


@dataclass(frozen=True)
class Affinities:
    """Who should be near whom: a symmetric sparse matrix P over pairs (row, column) with values that sum to 1."""

    offsets: Tensor
    rows: Tensor
    columns: Tensor
    values: Tensor

    @property
    def points(self) -> int:
        """How many points."""
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Frame:
    """The points (n, dimensions) after some iterations, and the length of the last gradient."""

    iteration: int
    points: Tensor
    gradient: float


def neighbours(vectors: Tensor, count: int, *, among: Tensor | None = None, chunk: int = 2048) -> tuple[Tensor, Tensor]:
    """Squared distances and indices (n, count) of the nearest others, exact, by matrix products.

    With `among`, the nearest of those vectors; without, the nearest other vectors of the same set.
    """
    others = vectors if among is None else among
    squares = others.square().sum(1)
    distances, indices = [], []
    for start in range(0, len(vectors), chunk):
        part = vectors[start : start + chunk]
        table = torch.addmm(squares.expand(len(part), -1), part, others.T, alpha=-2)
        if among is None:
            here = torch.arange(len(part), device=part.device)
            table[here, here + start] = math.inf
        nearest, index = table.topk(count, 1, largest=False)
        distances.append(nearest + part.square().sum(1, keepdim=True))
        indices.append(index)
    return torch.cat(distances).clamp_(min=0), torch.cat(indices)


def conditional(distances: Tensor, perplexity: float, *, steps: int = 50) -> Tensor:
    """P(neighbour | point), (n, k), from squared distances: Gaussians as wide as the perplexity asks for."""
    offset = distances - distances[:, :1]
    wanted = math.log(min(perplexity, distances.shape[1]))
    precision = 1 / offset.mean(1, keepdim=True).clamp(min=1e-12)
    low, high = torch.zeros_like(precision), torch.full_like(precision, math.inf)
    for _ in range(steps):
        weights = torch.exp(-offset * precision)
        total = weights.sum(1, keepdim=True)
        entropy = total.log() + precision * (offset * weights).sum(1, keepdim=True) / total
        too_wide = entropy > wanted
        low, high = torch.where(too_wide, precision, low), torch.where(too_wide, high, precision)
        precision = torch.where(high.isinf(), precision * 2, (low + high) / 2)
    weights = torch.exp(-offset * precision)
    return weights / weights.sum(1, keepdim=True)


def affinities(vectors: Tensor, perplexity: float) -> Affinities:
    """The symmetric P of a set of vectors (n, d), from its 3 × perplexity nearest neighbours."""
    n = len(vectors)
    distances, index = neighbours(vectors, min(n - 1, max(1, int(3 * perplexity))))
    values = conditional(distances, perplexity).flatten()
    rows = torch.arange(n, device=vectors.device).repeat_interleave(index.shape[1])
    columns = index.flatten()
    pairs = torch.stack([torch.cat([rows, columns]), torch.cat([columns, rows])])
    matrix = torch.sparse_coo_tensor(
        pairs, torch.cat([values, values]) / (2 * n), (n, n), check_invariants=False
    ).coalesce()
    rows, columns = matrix.indices()
    offsets = torch.zeros(n + 1, dtype=torch.long, device=vectors.device)
    offsets[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    return Affinities(offsets, rows, columns, matrix.values())


def attraction(points: Tensor, pairs: Affinities) -> Tensor:
    """Σ_j p_ij q_ij (y_i − y_j) with q = 1 / (1 + |y_i − y_j|²), (n, dimensions)."""
    difference = points.index_select(0, pairs.rows) - points.index_select(0, pairs.columns)
    weight = pairs.values / (1 + difference.square().sum(1))
    pull = weight[:, None] * difference
    return torch.segment_reduce(pull, "sum", offsets=pairs.offsets, axis=0, unsafe=True)


def repulsion(points: Tensor, *, most_intervals: int) -> tuple[Tensor, Tensor]:
    """Σ_j q_ij² (y_i − y_j) / Z, (n, dimensions), and Z = Σ_{i≠j} q_ij."""
    if len(points) <= _EXACT_BELOW.get(points.shape[1], 0):
        return _repulsion_of_all_pairs(points)
    return _repulsion_on_a_grid(points, most_intervals)


def _repulsion_of_all_pairs(points: Tensor) -> tuple[Tensor, Tensor]:
    squares = points.square().sum(1)
    kernel = torch.addmm(squares[:, None] + squares, points, points.T, alpha=-2).clamp_(min=0).add_(1).reciprocal_()
    normaliser = kernel.sum() - len(points)
    kernel.square_()
    return (points * kernel.sum(1, keepdim=True) - kernel @ points) / normaliser, normaliser


def _repulsion_on_a_grid(points: Tensor, most_intervals: int) -> tuple[Tensor, Tensor]:
    dimensions = points.shape[1]
    low = points.amin(0)
    span = float((points.amax(0) - low).max()) + 1e-6
    intervals = _fast_length(2 * _NODES * min(most_intervals, max(20, math.ceil(span)))) // 2 // _NODES
    side = intervals * _NODES
    cell, weight = _spread((points - low) / (span / intervals), intervals)
    charges = torch.cat([torch.ones_like(points[:, :1]), points], 1)
    grid = torch.zeros(side**dimensions, 1 + dimensions, device=points.device)
    grid.index_add_(0, cell.flatten(), (weight[:, :, None] * charges[:, None]).view(-1, 1 + dimensions))
    field = _convolved(grid, side, dimensions, span / side)
    at_points = (field[cell] * weight[:, :, None]).sum(1)
    normaliser = at_points[:, 0].sum() - len(points)
    return (points * at_points[:, 1:2] - at_points[:, 2:]) / normaliser, normaliser


def _spread(place: Tensor, intervals: int) -> tuple[Tensor, Tensor]:
    """The grid nodes around each point, (n, nodes ^ dimensions), and their Lagrange weights."""
    interval = place.long().clamp_(max=intervals - 1)
    within = place - interval
    nodes = [(2 * node + 1) / (2 * _NODES) for node in range(_NODES)]
    basis = torch.stack([_lagrange(within, nodes, node) for node in range(_NODES)], 2)  # n, dimensions, nodes
    first = interval * _NODES
    cell = torch.zeros(len(place), 1, dtype=torch.long, device=place.device)
    weight = torch.ones(len(place), 1, device=place.device)
    steps = torch.arange(_NODES, device=place.device)
    for axis in range(place.shape[1]):
        cell = (cell[:, :, None] * intervals * _NODES + (first[:, axis, None] + steps)[:, None]).flatten(1)
        weight = (weight[:, :, None] * basis[:, axis][:, None]).flatten(1)
    return cell, weight


def _lagrange(at: Tensor, nodes: list[float], node: int) -> Tensor:
    value = torch.ones_like(at)
    for other, place in enumerate(nodes):
        if other != node:
            value = value * ((at - place) / (nodes[node] - place))
    return value


def _convolved(grid: Tensor, side: int, dimensions: int, spacing: float) -> Tensor:
    """The charges on the grid under 1/(1+d²) (the first) and 1/(1+d²)² (all): (side ^ dimensions, 2 + dimensions)."""
    double = (2 * side,) * dimensions
    step = torch.arange(side, device=grid.device)
    around = torch.cat([step, torch.tensor([0], device=grid.device), step[1:].flip(0)]) * spacing
    square = torch.zeros(double, device=grid.device)
    for axis in range(dimensions):
        square = square + (around**2).view([-1 if a == axis else 1 for a in range(dimensions)])
    kernel = 1 / (1 + square)
    axes = tuple(range(-dimensions, 0))
    once, twice = (torch.fft.rfftn(k, dim=axes) for k in (kernel, kernel.square()))
    spectra = torch.fft.rfftn(grid.T.reshape(-1, *(side,) * dimensions), s=double, dim=axes)
    field = torch.fft.irfftn(torch.cat([spectra[:1] * once, spectra * twice]), s=double, dim=axes)
    inside = field[(slice(None), *(slice(side),) * dimensions)]
    nodes: Tensor = inside.reshape(2 + dimensions, -1).T.contiguous()
    return nodes


def _fast_length(least: int) -> int:
    """The next even length whose prime factors are 2, 3 and 5 and which holds whole intervals."""
    for length in itertools.count(least):
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and length % (2 * _NODES) == 0:
            return length
    raise AssertionError("unreachable")


def optimise(start: Tensor, pairs: Affinities, schedule: Schedule, *, every: int = 10) -> Iterator[Frame]:
    """Move points (n, dimensions) from `start` to lower KL(P‖Q); yields every `every` iterations and the last one.

    Gradient descent with momentum 0.5 then 0.8, gains as in Jacobs 1988 and learning rate max(n / 12, 50).
    """
    points = start.clone()
    velocity, gains = torch.zeros_like(points), torch.ones_like(points)
    rate = max(len(points) / 12, 50.0)
    most_intervals = 1000 if points.shape[1] == 2 else 24
    for iteration in range(1, schedule.total + 1):
        early = iteration <= schedule.early
        push, _ = repulsion(points, most_intervals=most_intervals)
        gradient = 4 * (attraction(points, pairs) * (schedule.exaggeration if early else 1) - push)
        gains = torch.where(gradient * velocity < 0, gains + 0.2, gains * 0.8).clamp_(min=0.01)
        velocity = (0.5 if early else 0.8) * velocity - rate * gains * gradient
        points = points + velocity
        points = points - points.mean(0)
        if iteration % every == 0 or iteration == schedule.total:
            yield Frame(iteration, points, float(gradient.norm()))


def divergence(points: Tensor, pairs: Affinities) -> float:
    """KL(P‖Q) in nats over the pairs that P knows."""
    difference = points[pairs.rows] - points[pairs.columns]
    _, normaliser = repulsion(points, most_intervals=1000 if points.shape[1] == 2 else 24)
    q = 1 / (1 + difference.square().sum(1)) / normaliser
    return float((pairs.values * torch.log(pairs.values.clamp(min=1e-12) / q)).sum())


def place(
    vectors: Tensor, fixed_vectors: Tensor, fixed_points: Tensor, perplexity: float, *, iterations: int = 200
) -> Tensor:
    """New vectors (m, d) placed among fixed points (n, dimensions) that do not move: (m, dimensions).

    Each starts at the weighted mean of its nearest neighbours' points and descends its own part of KL(P‖Q).
    """
    distances, index = neighbours(vectors, min(len(fixed_vectors), int(3 * perplexity) or 1), among=fixed_vectors)
    weights = conditional(distances, perplexity)
    near = fixed_points[index]  # m, k, dimensions
    points = (weights[:, :, None] * near).sum(1)
    velocity = torch.zeros_like(points)
    for _ in range(iterations):
        to_near = points[:, None] - near
        pull = (weights / (1 + to_near.square().sum(2)))[:, :, None] * to_near
        to_all = points[:, None] - fixed_points[None]
        kernel = 1 / (1 + to_all.square().sum(2))
        push = (kernel.square()[:, :, None] * to_all).sum(1) / kernel.sum(1, keepdim=True)
        velocity = 0.6 * velocity - 0.25 * (pull.sum(1) - push)
        points = points + velocity
    return points
