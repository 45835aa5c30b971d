"""A target is one number for each image, a piece of a link, and a question that the network can answer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnviz import Channel, Class, Difference, Model, Neuron, Trace, WholeLayer, parse_target
from cnnviz.errors import CnnvizError, LayerError, TargetError
from cnnviz.target import PerImage, Target, as_target
from tests import nets


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(nets.build("Reused"), nets.SIZE)


def by_hand() -> Trace:
    trace = Trace()
    trace.scores = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    trace.outputs["conv2"] = torch.arange(16.0).view(2, 2, 2, 2)
    trace.outputs["fc"] = torch.tensor([[4.0, -3.0], [1.0, 2.0]])
    return trace


SOFTMAX = [0.0900306, 0.2447285, 0.6652410]  # of 1, 2, 3
BY_HAND = [
    (Class(2), [3.0, 0.0]),
    (Class(1, readout="probability"), [SOFTMAX[1], 1 / 3]),
    (Class(0, readout="log_probability"), [-2.4076059, -1.0986123]),
    (Difference(2, 0), [2.0, 0.0]),
    (Channel("conv2", 1), [5.5, 13.5]),
    (Channel("conv2", 1, reduce="sum"), [22.0, 54.0]),
    (Channel("conv2", 0, reduce="max"), [3.0, 11.0]),
    (Channel("fc", 1), [-3.0, 2.0]),
    (Neuron("conv2", 1, 0, 1), [5.0, 13.0]),
    (WholeLayer("fc"), [12.5, 2.5]),
]


@pytest.mark.parametrize(("target", "wanted"), BY_HAND, ids=lambda value: getattr(value, "text", ""))
def test_a_target_is_the_number_worked_out_by_hand(target: Target, wanted: list[float]) -> None:
    assert target(by_hand()).tolist() == pytest.approx(wanted, rel=1e-6)


def test_a_target_for_each_image_reads_its_own_row() -> None:
    targets = as_target([Class(2), Channel("conv2", 1)], 2)
    assert targets(by_hand()).tolist() == [3.0, 13.5]
    assert targets.layers == ("conv2",)
    assert as_target([2, 0], 2) == PerImage((Class(2), Class(0)))
    assert as_target(1, 5) == Class(1)


def test_a_list_of_targets_has_one_for_each_image() -> None:
    with pytest.raises(TargetError, match="3 targets for 2 images"):
        as_target([0, 1, 2], 2)


whole = st.integers(0, 999)
layers = st.from_regex(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", fullmatch=True)
targets = st.one_of(
    st.builds(Class, whole, st.sampled_from(["logit", "probability", "log_probability"])),
    st.builds(Difference, whole, whole),
    st.builds(Channel, layers, whole, st.sampled_from(["mean", "sum", "max"])),
    st.builds(Neuron, layers, whole, whole, whole),
    st.builds(WholeLayer, layers),
)


@given(targets)
def test_a_link_brings_back_the_same_target(target: Target) -> None:
    assert parse_target(target.text) == target


@pytest.mark.parametrize(
    "text",
    ["", "class", "class:x", "class:1:banana", "class:1:logit:2", "channel:conv2", "channel:conv2:1:median",
     "neuron:a:1:2", "layer", "layer:a:b", "difference:1", "pixel:1:2", "class:1;rm -rf"],
)  # fmt: skip
def test_a_text_that_is_no_target_is_refused_with_examples(text: str) -> None:
    with pytest.raises(TargetError, match="a target looks like class:3"):
        parse_target(text)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (Class(3), "class 3 does not exist: this network has 3 classes, 0 to 2"),
        (Class(-1), "class -1 does not exist"),
        (Class(0, readout="loss"), "“loss” is not a read-out; choose one of logit, probability, log_probability"),  # type: ignore[arg-type]
        (Difference(0, 7), "class 7 does not exist"),
        (Channel("conv", 4), "conv has no channel 4: it has 4, 0 to 3"),
        (Channel("conv", 0, reduce="median"), "“median” is not a reduction"),  # type: ignore[arg-type]
        (Neuron("conv", 0, 12, 0), "conv has no row 12: it has 12, 0 to 11"),
        (Neuron("conv", 0, 0, -1), "conv has no column -1"),
        (Neuron("head.fc", 0, 0, 0), r'head.fc has no rows and columns.*use Channel\("head.fc", 0\)'),
    ],
)
def test_a_target_that_the_network_does_not_have_is_refused(model: Model, target: Target, sentence: str) -> None:
    with pytest.raises(TargetError, match=sentence):
        target.check(model)


def test_a_target_in_a_layer_that_does_not_exist_is_refused(model: Model) -> None:
    for target in (Channel("conv9", 0), Neuron("conv9", 0, 0, 0), WholeLayer("conv9")):
        with pytest.raises(LayerError, match="conv9 is not a layer"):
            target.check(model)


@pytest.mark.parametrize(
    "target",
    [Class(1), Class(2, readout="probability"), Difference(0, 1), Channel("same_1", 3), Neuron("same", 1, 2, 3),
     WholeLayer("relu_1"), Channel("head.fc", 2)],
    ids=lambda target: target.text,
)  # fmt: skip
def test_every_target_can_be_asked_of_a_network_and_differentiated(model: Model, target: Target) -> None:
    target.check(model)
    images = nets.images(3).requires_grad_()
    values = target(model.trace(images, keep=target.layers))
    assert values.shape == (3,)
    (gradient,) = torch.autograd.grad(values.sum(), images)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_targets_are_cache_keys() -> None:
    assert len({Class(1), Class(1), Class(1, readout="probability"), Neuron("a", 1, 2, 3)}) == 3
    assert issubclass(TargetError, CnnvizError)
