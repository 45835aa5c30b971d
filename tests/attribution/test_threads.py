"""One Model, many threads: every answer is the single-threaded one, and the network stays byte for byte as it was."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.networks import NETWORKS, torchvision_module
from tests.attribution.nets import images, seeded

SIX = ("saliency", "smoothgrad", "guided_backprop", "deconvnet", "grad_cam", "guided_grad_cam")
FEW = {"smoothgrad": {"samples": 3}}


def fingerprint(network):
    """Weights, buffers, modes, flags, gradients and hooks, as one digest."""
    digest = hashlib.sha256()
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        digest.update(f"{name} {tensor.requires_grad} {tensor.grad is None} {tensor._version}".encode())
        digest.update(tensor.detach().numpy().tobytes())
    for name, module in network.named_modules():
        hooks = [len(getattr(module, kind)) for kind in vars(module) if kind.endswith("_hooks")]
        digest.update(f"{name} {module.training} {hooks}".encode())
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("build", "size", "rounds"),
    [
        (NETWORKS["two-conv"].build, NETWORKS["two-conv"].input_size(), 300),
        (lambda: torchvision_module("models").resnet18(weights=None, num_classes=10), (3, 64, 64), 10),
    ],
    ids=["notes network", "resnet18"],
)
def test_six_methods_from_six_threads_give_the_answers_of_one_thread(build, size, rounds):
    network = seeded(build()).train()  # the mode it came in must survive too
    model = cnnviz.Model(network, size, mean=0.4, std=0.3)
    x = images(1, size)
    before = fingerprint(network)
    alone = {name: cnnviz.explain(name, model, x, 1, **FEW.get(name, {})) for name in SIX}
    start = Barrier(len(SIX))

    def differing(name):
        start.wait()
        answers = (cnnviz.explain(name, model, x, 1, **FEW.get(name, {})) for _ in range(rounds))
        return sum(not np.array_equal(answer, alone[name]) for answer in answers)

    with ThreadPoolExecutor(len(SIX)) as threads:
        assert list(threads.map(differing, SIX)) == [0] * len(SIX)
    assert fingerprint(network) == before


def test_the_global_random_state_is_left_alone():
    network = seeded(NETWORKS["two-conv"].build())
    model = cnnviz.Model(network, NETWORKS["two-conv"].input_size())
    state = torch.get_rng_state()
    for name in SIX:
        cnnviz.explain(name, model, images(1, model.size), 1, **FEW.get(name, {}))
    assert torch.equal(torch.get_rng_state(), state)
