"""Which layer reads which, and how layers fall into blocks: known by hand for small networks."""

from __future__ import annotations

from cnnviz import Model
from cnnviz.graph import blocks, shortcuts, sources
from cnnviz.networks import torchvision_module
from tests import nets


def opened(name: str) -> Model:
    return Model(nets.build(name), nets.SIZE)


def test_layers_one_after_the_other_read_the_one_before() -> None:
    assert sources(opened("Reused")) == {
        "conv": ("input",), "same": ("conv",), "relu": ("same",), "same_1": ("relu",), "relu_1": ("same_1",),
        "head.mean": ("relu_1",), "head.fc": ("head.mean",),
    }  # fmt: skip


def test_a_sum_reads_both_its_branches_and_makes_a_shortcut() -> None:
    model = opened("InPlaceResidual")
    assert sources(model)["add"] == ("relu", "second")
    assert shortcuts(model) == [("relu", "add")]


def test_a_branch_from_the_image_is_a_shortcut_from_the_input() -> None:
    model = opened("Branches")
    assert sources(model)["right"] == ("input",) and sources(model)["cat"] == ("left", "right")
    assert ("input", "right") in shortcuts(model) and ("cat", "mul") not in shortcuts(model)


def test_a_layer_that_hands_on_its_input_reads_the_layer_before() -> None:
    assert sources(opened("IdentityThenInPlace"))["drop"] == ("conv",)


def test_a_residual_network_has_a_shortcut_into_every_sum() -> None:
    model = Model(torchvision_module("models").resnet18(weights=None), (3, 32, 32))
    into = [to for _, to in shortcuts(model)]
    assert all(f"layer{i}.{j}.add" in into for i in range(1, 5) for j in range(2))


def test_blocks_hold_every_layer_once_and_in_order() -> None:
    model = Model(torchvision_module("models").resnet18(weights=None), (3, 32, 32))
    found = blocks(model)
    assert [layer for block in found for layer in block.layers] == list(model.layers)
    assert [block.name for block in found][:6] == ["conv1", "bn1", "relu", "maxpool", "layer1.0", "layer1.1"]
    assert len(found) <= 30


def test_a_layer_of_its_own_is_a_block_of_one() -> None:
    assert [len(block.layers) for block in blocks(opened("Reused"))] == [1, 1, 1, 1, 1, 2]
