"""Four threads at work on one Model each get what they would get alone, bit for bit."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from cnnviz import Channel, Class, Model, Neuron, WholeLayer
from cnnviz.errors import LayerError, NetworkError
from cnnviz.target import Target
from tests import nets

Job = Callable[[Model], Any]


def saliency(target: Target, seed: int) -> Job:
    def job(model: Model) -> Tensor:
        images = nets.images(2, seed).requires_grad_()
        trace = model.trace(images, keep=target.layers)
        return torch.autograd.grad(target(trace).sum(), images)[0]

    return job


def kept(names: tuple[str, ...], seed: int, until_kept: bool) -> Job:
    def job(model: Model) -> list[Any]:
        trace = model.trace(nets.images(2, seed), keep=names, until_kept=until_kept)
        return [trace.names, *(trace.outputs[name] for name in names)]

    return job


def to_a_layer(name: str, seed: int) -> Job:
    def job(model: Model) -> list[Tensor]:
        trace = model.trace(nets.images(2, seed).requires_grad_(), keep=(name,))
        return [trace.outputs[name].detach(), torch.autograd.grad(trace.scores[:, 0].sum(), trace.outputs[name])[0]]

    return job


def refused(model: Model) -> str:
    with pytest.raises((LayerError, NetworkError)) as problem:
        model.trace(nets.images(), keep=("nowhere",))
    return str(problem.value)


def jobs_for(model: Model) -> list[Job]:
    names = [layer.name for layer in model.layers]
    maps = [layer.name for layer in model.layers if layer.spatial]
    return [
        lambda m: m.scores(nets.images(3)),
        refused,
        *(saliency(target, seed) for seed, target in enumerate(
            [Class(0), Class(2), Channel(maps[0], 1), Neuron(maps[-1], 0, 1, 1), WholeLayer(maps[-1])]
        )),
        *(kept((name,), seed, until_kept=bool(seed % 2)) for seed, name in enumerate(names)),
        kept(tuple(names), 7, until_kept=False),
        *(to_a_layer(name, seed) for seed, name in enumerate(names)),
    ]  # fmt: skip


def assert_equal(given: Any, wanted: Any) -> None:
    if isinstance(wanted, Tensor):
        assert torch.equal(given, wanted)
    elif isinstance(wanted, list):
        for one, other in zip(given, wanted, strict=True):
            assert_equal(one, other)
    else:
        assert given == wanted


@pytest.mark.parametrize("name", ["Reused", "InPlaceResidual", "InPlaceIgnored", "IdentityThenInPlace", "EveryRelu"])
def test_four_threads_on_one_model_each_get_what_they_get_alone(name: str) -> None:
    model = Model(nets.build(name), nets.SIZE)
    jobs = jobs_for(model)
    alone = [job(model) for job in jobs]
    order = list(range(len(jobs))) * 8
    random.Random(0).shuffle(order)
    start = threading.Barrier(4)

    def work(thread: int) -> None:
        start.wait()
        for index in order[thread::4]:
            assert_equal(jobs[index](model), alone[index])

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, thread) for thread in range(4)]:
            future.result()


def test_opening_networks_meanwhile_disturbs_nobody() -> None:
    model = Model(nets.build("InPlaceResidual"), nets.SIZE)
    jobs = jobs_for(model)
    alone = [job(model) for job in jobs]
    digests = {name: Model(nets.build(name), nets.SIZE).digest for name in ("Reused", "Branches", "TrainingMode")}
    over = threading.Event()

    def opening() -> int:
        opened = 0
        while not over.is_set():
            for name, digest in digests.items():
                assert Model(nets.build(name), nets.SIZE).digest == digest
                opened += 1
        return opened

    def looking() -> None:
        for _ in range(6):
            for job, wanted in zip(jobs, alone, strict=True):
                assert_equal(job(model), wanted)

    with ThreadPoolExecutor(4) as pool:
        opener = pool.submit(opening)
        try:
            for future in [pool.submit(looking) for _ in range(3)]:
                future.result()
        finally:
            over.set()
        assert opener.result() > 0


def test_the_person_s_own_use_of_the_network_is_never_traced() -> None:
    network = nets.build("Reused").eval()
    model, images = Model(network, nets.SIZE), nets.images()
    wanted = network(images).detach()
    with ThreadPoolExecutor(2) as pool:
        traces = pool.map(lambda _: model.trace(images, keep=("relu",)), range(40))
        own = pool.map(lambda _: network(images).detach(), range(40))
        assert all(torch.equal(scores, wanted) for scores in own)
        assert all(
            trace.names == ["conv", "same", "relu", "same_1", "relu_1", "head.mean", "head.fc"] for trace in traces
        )
