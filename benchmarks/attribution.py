"""Explanations beside their peers: `python benchmarks/attribution.py [--cpu]`. Prints Markdown.

First time: saliency and guided backprop against a raw forward and backward pass, SmoothGrad against captum at its best
batch size, a sheet of maps. The variants take turns in one process; the least of each is compared, because the rest is
what else the machine did. Then truth: guided backprop and DeconvNet of captum and of cnnviz, against a reference that
swaps every rectifier for a function of its own.
The surprise: on a machine that others use, wall time measures them. `--cpu` takes the processor time of one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from statistics import median

import captum
import torch
from captum.attr import Deconvolution, GuidedBackprop, NoiseTunnel, Saliency
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cnnviz
from cnnviz.networks import NETWORKS, torchvision_module
from tests.attribution.nets import images, relative_error, seeded
from tests.attribution.reference import reference_map
from tests.attribution.test_reference import CASES

MEAN, STD = 0.45, 0.25
BATCHES = (1, 4, 16)  # captum's, of which the fastest counts
SHEET = ("saliency", "input_x_gradient", "guided_backprop", "deconvnet", "grad_cam", "guided_grad_cam")
Clock = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="processor time of one thread, for a busy machine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=50, help="of SmoothGrad")
    parser.add_argument("--skip", choices=("time", "truth"), action="append", default=[])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    clock = time.process_time if given.cpu else time.perf_counter
    if given.cpu:
        torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, captum {captum.__version__}, {torch.get_num_threads()} threads, {clock.__name__}\n"
    )
    if "time" not in given.skip:
        for name in ("resnet18", "vgg16"):
            model = _published(name)
            _table(f"{name}, one image", _single(model), clock, given.rounds)
            _table(
                f"{name}, SmoothGrad of {given.samples}",
                _smooth(model, given.samples),
                clock,
                max(1, given.rounds // 2),
            )
        _table("a sheet of 6 methods × 3 classes, two-conv", _sheet(), clock, given.rounds)
    if "truth" not in given.skip:
        _truth()


def _published(name: str) -> cnnviz.Model:
    network = getattr(torchvision_module("models"), name)(weights=None).eval()
    return cnnviz.Model(network, (3, 224, 224), MEAN, STD, name=name)


def _single(model: cnnviz.Model) -> Mapping[str, Callable[[], object]]:
    x, network = images(1, model.size), deepcopy(model.network).requires_grad_(False)
    return {
        "raw forward + backward": lambda: _raw(network, x),
        "cnnviz saliency": lambda: cnnviz.explain("saliency", model, x, 3),
        "cnnviz guided backprop": lambda: cnnviz.explain("guided_backprop", model, x, 3),
    }


def _raw(network: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(network((x - MEAN) / STD)[:, 3].sum(), x)[0]


def _smooth(model: cnnviz.Model, samples: int) -> Mapping[str, Callable[[], object]]:
    x = images(1, model.size)
    tunnel = NoiseTunnel(Saliency(lambda batch: model.network((batch - MEAN) / STD)))

    def peer(batch: int) -> Callable[[], object]:
        return lambda: tunnel.attribute(
            x, nt_type="smoothgrad", nt_samples=samples, nt_samples_batch_size=batch, stdevs=0.15, target=3, abs=False
        )

    peers = {f"captum, batches of {batch}": peer(batch) for batch in BATCHES if batch <= samples}
    return {**peers, "cnnviz": lambda: cnnviz.explain("smoothgrad", model, x, 3, samples=samples)}


def _sheet() -> Mapping[str, Callable[[], object]]:
    info = NETWORKS["two-conv"]
    model = cnnviz.Model(seeded(info.build()), info.input_size())
    x = images(1, model.size)
    return {"cnnviz": lambda: [cnnviz.explain(method, model, x, index) for method in SHEET for index in range(3)]}


def _table(title: str, variants: Mapping[str, Callable[[], object]], clock: Clock, rounds: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, run in variants.items():
            start = clock()
            run()
            if turn:  # the first turn warms up
                taken[name].append(clock() - start)
    peers = [min(times) for name, times in taken.items() if not name.startswith("cnnviz")]
    print(f"| {title} | least, ms | median, ms | least / best peer's least |\n|---|---|---|---|")
    for name, times in taken.items():
        ratio = f"{min(times) / min(peers):.2f}" if peers else "-"
        print(f"| {name} | {1000 * min(times):.1f} | {1000 * median(times):.1f} | {ratio} |", flush=True)
    print()


def _truth() -> None:
    print("| relative error to the reference | captum guided | cnnviz guided | captum deconvnet | cnnviz deconvnet |")
    print("|---|---|---|---|---|")
    for name, (build, size) in CASES.items():
        network = seeded(build())
        model = cnnviz.Model(network, size, MEAN, STD)
        x = images(1, size)
        index = int(model.scores(x).argmax())
        cells = []
        for method, peer in (("guided_backprop", GuidedBackprop), ("deconvnet", Deconvolution)):
            reference = reference_map(network, model.normalised(x), index, method.split("_")[0]) / STD
            cells += [_peer_error(peer, model, (x, index), reference)]
            cells += [f"{relative_error(cnnviz.explain(method, model, x, index), reference):.1e}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _peer_error(peer: type, model: cnnviz.Model, asked: tuple[Tensor, int], reference: Tensor) -> str:
    """Captum's error; it hooks modules, so it gets a network of its own."""
    x, index = asked
    pixels = model.normalised(x).requires_grad_()
    try:
        theirs = peer(deepcopy(model.twin())).attribute(pixels, target=index).detach() / STD
    except Exception as problem:
        return f"fails: {type(problem).__name__}"
    plain = torch.autograd.grad(model.twin()(pixels)[:, index].sum(), pixels)[0] / STD
    is_plain = relative_error(theirs, plain) < 1e-6 < relative_error(theirs, reference)
    return f"{relative_error(theirs, reference):.1e}" + (" (the plain gradient)" if is_plain else "")


if __name__ == "__main__":
    main()
