"""The engine that computes only what changes, against the whole network for every window."""

import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnviz import Channel, Class, Difference, Model, Neuron, WholeLayer
from cnnviz.errors import CnnvizError
from cnnviz.occlusion import occlude, occlude_progressively
from cnnviz.occlusion.convolve import Scratch, winograd, winograd_weights
from cnnviz.occlusion.cost import Costs
from cnnviz.occlusion.delta import DeltaEngine, Watch
from cnnviz.occlusion.grid import Lattice, grid_of
from cnnviz.occlusion.loop import Experiment, FullLoop
from cnnviz.occlusion.program import compiled


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(network: nn.Module) -> nn.Module:
    """Random weights and batch norm statistics that keep every path alive, in float64."""
    generator = seeded()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return network.double()


class Functional(nn.Module):
    """Wraps `body(self, x)`: a forward written by hand over a few layers of its own."""

    def __init__(self, body, channels: int, **layers: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, x).mean((2, 3)))


def conv(inside: int, outside: int, kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, **options)


def gated(net: Functional, x: Tensor) -> Tensor:
    x = F.relu(net.a(x))
    return net.b(x * torch.sigmoid(net.gate(F.adaptive_avg_pool2d(x, 1))))


def shuffled(net: Functional, x: Tensor) -> Tensor:
    x = net.a(x)
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
    left, right = x.chunk(2, dim=1)
    return torch.cat([left, F.relu(right)], 1)


def normed_over_channels(net: Functional, x: Tensor) -> Tensor:
    x = net.a(x).permute(0, 2, 3, 1)
    return F.gelu(net.mix(F.layer_norm(x, (6,)))).permute(0, 3, 1, 2)


def channel_by_channel(net: Functional, x: Tensor) -> Tensor:
    parts = [x[:, i].unsqueeze(1) * (i + 1.5) + 0.1 for i in range(2)]
    return net.a(torch.cat(parts, 1))


def residual(net: Functional, x: Tensor) -> Tensor:
    x = F.relu(net.a(x), inplace=True)
    y = net.bn(net.b(x))
    y += net.c(x)
    return y.relu_()


AWKWARD = {
    "stride larger than the kernel": lambda: Functional(lambda n, x: n.a(x), 4, a=conv(2, 4, 1, stride=2)),
    "dilation and groups": lambda: Functional(
        lambda n, x: n.b(torch.relu(n.a(x))), 4, a=conv(2, 4, padding=2, dilation=2), b=conv(4, 4, groups=2, stride=2)
    ),
    "uneven kernels": lambda: Functional(
        lambda n, x: F.relu(n.a(x)), 4, a=nn.Conv2d(2, 4, (5, 2), stride=(1, 2), padding=(1, 0))
    ),
    "padding same": lambda: Functional(lambda n, x: F.relu(n.a(x)), 4, a=conv(2, 4, 4, padding="same")),
    "reflected padding": lambda: Functional(
        lambda n, x: F.relu(n.a(x)), 4, a=conv(2, 4, padding=1, padding_mode="reflect")
    ),
    "zero padding by hand": lambda: Functional(lambda n, x: F.relu(n.a(F.pad(x, (2, 0, 1, 3)))), 4, a=conv(2, 4)),
    "cropping by a negative padding": lambda: Functional(
        lambda n, x: F.relu(n.b(F.pad(n.a(x), (-1, -2, -2, 0)))), 4, a=conv(2, 4), b=conv(4, 4, padding=1)
    ),
    "pooling with a ceiling": lambda: Functional(
        lambda n, x: F.max_pool2d(n.a(x).relu(), 3, 2, ceil_mode=True), 4, a=conv(2, 4, padding=1)
    ),
    "overlapping padded pooling": lambda: Functional(
        lambda n, x: F.max_pool2d(n.a(x), 3, 1, 1), 4, a=conv(2, 4, stride=2)
    ),
    "average pooling that counts its padding": lambda: Functional(
        lambda n, x: F.avg_pool2d(F.relu(n.a(x)), 3, 2, 1), 4, a=conv(2, 4, padding=1)
    ),
    "average pooling that does not": lambda: Functional(
        lambda n, x: F.relu(n.b(F.avg_pool2d(n.a(x), 3, 2, 1, True, False))), 4, a=conv(2, 4), b=conv(4, 4)
    ),
    "adaptive pooling to a few cells": lambda: Functional(
        lambda n, x: F.relu(n.b(F.adaptive_avg_pool2d(n.a(x), (4, 3)))), 4, a=conv(2, 4), b=conv(4, 4, padding=1)
    ),
    "adaptive largest": lambda: Functional(lambda n, x: F.adaptive_max_pool2d(n.a(x), (4, 3)), 4, a=conv(2, 4)),
    "squeeze and excite": lambda: Functional(gated, 4, a=conv(2, 4), b=conv(4, 4), gate=conv(4, 4, 1)),
    "a product of two maps": lambda: Functional(
        lambda n, x: n.a(x) * torch.tanh(n.b(x)), 4, a=conv(2, 4, padding=1), b=conv(2, 4, padding=1)
    ),
    "shuffled channels": lambda: Functional(shuffled, 4, a=conv(2, 4)),
    "channels last with a layer norm": lambda: Functional(normed_over_channels, 6, a=conv(2, 6), mix=nn.Linear(6, 6)),
    "channels picked one by one": lambda: Functional(channel_by_channel, 4, a=conv(2, 4)),
    "residual, in place": lambda: Functional(
        residual, 4, a=conv(2, 4), b=conv(4, 4, padding=1, bias=False), c=conv(4, 4, 1), bn=nn.BatchNorm2d(4)
    ),
    "other activations": lambda: Functional(
        lambda n, x: F.hardswish(n.b(F.silu(n.p(F.relu6(5 * n.a(x)))))) - F.leaky_relu(n.c(x)),
        4,
        a=conv(2, 4, padding=1),
        b=conv(4, 4, padding=1),
        c=conv(2, 4, padding=1),
        p=nn.PReLU(4),
    ),
    "a clamp with both ends": lambda: Functional(
        lambda n, x: n.b(n.a(x).clamp(-0.2, 0.7)) / 3 - 1, 4, a=conv(2, 4), b=conv(4, 4, padding=1)
    ),
    "softmax over channels": lambda: Functional(
        lambda n, x: n.b(n.a(x).softmax(1)), 4, a=conv(2, 4), b=conv(4, 4, padding=1)
    ),
    "a step without a rule": lambda: Functional(
        lambda n, x: n.b(F.interpolate(F.group_norm(n.a(x), 2), scale_factor=2)), 4, a=conv(2, 4), b=conv(4, 4)
    ),
    "half of an image rolled": lambda: Functional(lambda n, x: n.a(torch.roll(x, 3, 2)), 4, a=conv(2, 4)),
}


@pytest.mark.parametrize("habit", AWKWARD)
def test_only_what_changes_is_enough(habit: str):
    model = Model(awake(AWKWARD[habit]()), (2, 17, 14), 0.4, 0.3)
    image = torch.rand(model.size, generator=seeded(1))
    for window, stride in (((5, 4), (2, 3)), (1, 1), ((17, 14), (1, 1))):
        full, delta = (occlude(model, image, 0, window, stride, "white", engine=name) for name in ("full", "delta"))
        assert delta.engine == "delta"
        assert np.abs(full.score - delta.score).max() <= 1e-11 * max(np.abs(full.drop).max(), 1e-3)


def chain() -> Model:
    """Strides that put windows out of step, a max pooling and vectors at the end."""
    network = nn.Sequential(
        conv(3, 6, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2), conv(6, 8, stride=2),
        nn.ReLU(), conv(8, 8, padding=1), nn.Dropout(), nn.Flatten(), nn.Linear(8 * 4 * 5, 12), nn.ReLU(),
        nn.Linear(12, 4),
    )  # fmt: skip
    return Model(awake(network), (3, 19, 23), 0.4, 0.3)


TARGETS = (
    Class(2), Class(1, "probability"), Difference(0, 3), Channel("0", 2, "sum"), Channel("3", 1),
    Channel("5", 3, "max"), Neuron("6", 4, 2, 3), WholeLayer("4"), Channel("9", 7), WholeLayer("10"), Channel("7", 2),
)  # fmt: skip


def test_targets_of_every_kind_come_from_one_sweep():
    model = chain()
    image = torch.rand(model.size, generator=seeded(1))
    together = occlude(model, image, TARGETS, (6, 5), (3, 2), engine="delta")
    for target, sweep in zip(TARGETS, together, strict=True):
        alone = occlude(model, image, target, (6, 5), (3, 2), engine="full")
        assert sweep.clean_score == pytest.approx(alone.clean_score)
        assert np.abs(sweep.score - alone.score).max() <= 1e-10 * np.abs(alone.score).max(), target
        np.testing.assert_array_equal(sweep.label, alone.label)


def test_coarse_to_fine_ends_at_the_sweep_itself():
    model = chain()
    image = torch.rand(model.size, generator=seeded(1))
    sweeps = list(occlude_progressively(model, image, 1, 8, 2, engine="delta"))
    assert [s.stride for s in sweeps] == [(8, 8), (4, 4), (2, 2)]
    whole = occlude(model, image, 1, 8, 2, engine="full")
    for sweep in sweeps:
        rows, columns = (
            [list(a).index(box) for box in b] for a, b in ((whole.rows, sweep.rows), (whole.columns, sweep.columns))
        )
        np.testing.assert_allclose(sweep.score, whole.score[np.ix_(rows, columns)], rtol=1e-10)


def test_little_memory_means_small_blocks_and_the_same_answer():
    model = chain()
    image = torch.rand(model.size, generator=seeded(1))
    plenty, little = (occlude(model, image, 0, 4, 1, engine="delta", memory=size) for size in (1 << 30, 1 << 16))
    np.testing.assert_allclose(plenty.score, little.score, rtol=1e-10)


def test_less_arithmetic_is_done_and_said():
    network = awake(
        nn.Sequential(conv(1, 4, padding=1), nn.ReLU(), conv(4, 4, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    sweep = occlude(Model(network, (1, 64, 64)), torch.rand(1, 64, 64), 0, 8, 8, engine="delta")
    assert sweep.saving > 20
    assert occlude(Model(network, (1, 64, 64)), torch.rand(1, 64, 64), 0, 8, 8, engine="full").saving == 1


class Branching(nn.Module):
    """Does something else when the image is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(1, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (x if x.mean() > 0 else -x).sum((2, 3))


def test_a_network_that_branches_on_a_value_goes_through_the_loop():
    model = Model(Branching(), (1, 12, 12))
    assert occlude(model, torch.rand(1, 12, 12), 0).engine == "full"
    with pytest.raises(CnnvizError, match="branches on values"):
        occlude(model, torch.rand(1, 12, 12), 0, engine="delta")


class Random(nn.Module):
    """Never answers the same twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(1, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.conv(x), 0.5).sum((2, 3))


def test_a_network_that_replays_differently_goes_through_the_loop():
    assert occlude(Model(Random(), (1, 12, 12)), torch.rand(1, 12, 12), 0).engine == "full"


def test_fast_is_close_and_says_how_close():
    network = nn.Sequential(
        conv(3, 16, padding=1), nn.ReLU(), conv(16, 16, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip
    model = Model(awake(network).float(), (3, 32, 32))
    image = torch.rand(model.size, generator=seeded(1))
    grid, targets = grid_of((32, 32), 8, 2), (Class(0), Channel("2", 3))
    lattice = Lattice(*grid.starts)
    experiment = Experiment(model, image, torch.zeros_like(image), targets, grid.window, 1 << 30)
    full = torch.cat([part.answers.values for part in FullLoop(experiment).run(lattice)])
    watch = Watch(1, targets[1], next(mark.at for mark in model.tape.marks if mark.layer == "2"))
    costs = Costs.of(compiled(model.tape, frozenset({watch.ref})), grid, torch.bfloat16)
    engine = DeltaEngine(experiment, costs, (watch,))
    fast = torch.empty_like(full)
    for part in engine.run(lattice):
        fast[part.cells] = part.answers.values
    spread = full.amax(0) - full.amin(0)
    assert bool(((fast - full).abs().amax(0) <= 3e-2 * spread).all())
    stated = engine.deviations(lattice, fast.view(len(lattice.tops), len(lattice.lefts), 2))
    assert all(0 < deviation <= 3e-2 for deviation in stated)


def test_what_is_quick_anyway_is_exact_even_when_fast_is_asked():
    sweep = occlude(chain(), torch.rand(3, 19, 23), 0, 6, 3, precision="fast")
    assert (sweep.precision, sweep.deviation) == ("exact", 0)


def test_winograd_is_a_convolution():
    x = torch.randn(2, 5, 9, 11, dtype=torch.float64, generator=seeded())
    weight = torch.randn(7, 5, 3, 3, dtype=torch.float64, generator=seeded(1))
    for top, bottom, left, right in ((1, 1, 1, 1), (0, 2, -1, 3), (-2, 0, 2, -3)):
        ours = winograd(x, winograd_weights(weight), ((top, bottom), (left, right)), Scratch())
        theirs = F.conv2d(F.pad(x, (left, right, top, bottom)), weight)
        assert (ours - theirs).norm() <= 1e-13 * theirs.norm()


def test_wide_kernels_in_single_precision_are_exact_enough():
    network = nn.Sequential(
        conv(3, 128, padding=1),
        nn.ReLU(),
        conv(128, 128, padding=1),
        nn.ReLU(),
        conv(128, 4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    double = Model(awake(network), (3, 24, 21))
    image = torch.rand(double.size, generator=seeded(1))
    exact = occlude(double, image, 0, 7, 5, engine="full").score
    single = occlude(Model(network.float(), (3, 24, 21)), image, 0, 7, 5, engine="delta").score
    assert np.abs(exact - single).max() <= 1e-4 * np.ptp(exact)


def test_the_shared_model_is_left_as_it_was():
    model = chain()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    scores = model.scores(torch.rand((2, *model.size), generator=seeded(2)))
    occlude(model, torch.rand(model.size), TARGETS, 6, 3, engine="delta")
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert torch.equal(scores, model.scores(torch.rand((2, *model.size), generator=seeded(2))))


def test_changed_weights_are_seen():
    network = nn.Sequential(conv(1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 8 * 8, 2)).double()
    model, image = Model(network, (1, 10, 10)), torch.rand(1, 10, 10)
    occlude(model, image, 0, 3, 1, engine="delta")
    with torch.no_grad():
        network[0].weight.mul_(2)
    full, delta = (occlude(model, image, 0, 3, 1, engine=name) for name in ("full", "delta"))
    np.testing.assert_allclose(full.score, delta.score, rtol=1e-9)


def test_four_threads_compute_undisturbed_while_a_second_model_is_opened_and_swept():
    others = [chain() for _ in range(4)]
    images = torch.rand((1, 3, 19, 23), generator=seeded(3))
    expected = [model.scores(images) for model in others]
    wrong, stop = [], threading.Event()

    def compute(model: Model, answer: Tensor) -> None:
        while not stop.is_set():
            if not torch.equal(model.scores(images), answer) or model.trace(images, keep=("5",)).outputs["5"].min() < 0:
                wrong.append(model)

    threads = [threading.Thread(target=compute, args=pair) for pair in zip(others, expected, strict=True)]
    for thread in threads:
        thread.start()
    try:
        quiet = [occlude(chain(), images[0], 1, 6, 3, engine="delta").score for _ in range(3)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    for score in quiet:
        np.testing.assert_allclose(score, occlude(chain(), images[0], 1, 6, 3, engine="full").score, rtol=1e-10)


def test_a_convolution_does_not_overwrite_the_last_one():
    scratch, weights = Scratch(), winograd_weights(torch.randn(3, 2, 3, 3, generator=seeded()))
    around = ((1, 1), (1, 1))
    for count in (1, 2):  # one tile of 4×4 needs no rearranging, so that a view would do
        first = winograd(torch.randn(count, 2, 4, 4, generator=seeded(1)), weights, around, scratch)
        before = first.clone()
        winograd(torch.randn(count, 2, 4, 4, generator=seeded(2)), weights, around, scratch)
        assert torch.equal(first, before)
