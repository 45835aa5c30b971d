"""Published networks: EfficientNet-Lite0 from its package, torchvision's classifiers by name."""

import urllib.error

import numpy as np
import pytest
import torch

from cnnviz.errors import CheckpointError, NetworkError
from cnnviz.networks import efficientnet_lite0, torchvision_module
from cnnviz.networks.published import torchvision_names, torchvision_network, weight_tags


def test_efficientnet_takes_every_published_weight_and_nothing_is_left_over() -> None:
    network = efficientnet_lite0.EfficientNetLite0()
    result = network.load_state_dict(efficientnet_lite0.published_weights(), strict=True)
    assert not result.missing_keys and not result.unexpected_keys


def test_the_class_names_of_imagenet_are_torchvisions_own() -> None:
    expected = torchvision_module("models._meta")._IMAGENET_CATEGORIES
    assert efficientnet_lite0.imagenet_classes() == tuple(expected)


def test_a_weights_file_other_than_the_published_one_is_refused(tmp_path, monkeypatch) -> None:
    other = tmp_path / "efficientnet-lite0-57934424.pth"
    torch.save({}, other)
    monkeypatch.setattr(efficientnet_lite0, "_weights_path", lambda: other)
    with pytest.raises(CheckpointError, match="is not the published file"):
        efficientnet_lite0.published_weights()


def test_every_classifier_that_torchvision_lists_is_named_and_nothing_else() -> None:
    names = torchvision_names()
    assert {"resnet18", "vgg16", "mobilenet_v2", "convnext_tiny"} <= set(names)
    assert not any("quantized" in name or "rcnn" in name for name in names)


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "torchvision:googlenet"])
def test_a_torchvision_network_comes_in_eval_mode_with_its_own_preprocessing(name: str) -> None:
    found = torchvision_network(name)
    assert not found.network.training and found.size == (3, 224, 224) and found.resize == "crop 256 bilinear"
    np.testing.assert_allclose(found.mean, (0.485, 0.456, 0.406))
    assert found.weights is None and found.classes is None
    with torch.no_grad():
        assert found.network(torch.rand(1, 3, 224, 224)).shape == (1, 1000)


def test_a_name_that_torchvision_lacks_is_answered_with_close_ones() -> None:
    with pytest.raises(NetworkError, match=r"no classifier .resnet19.; there are .* resnet18"):
        torchvision_network("torchvision:resnet19")
    with pytest.raises(NetworkError, match=r"no weights .LATEST.; it has IMAGENET1K_V1, DEFAULT"):
        torchvision_network("torchvision:resnet18@LATEST")


def test_weights_without_a_classifier_are_not_offered() -> None:
    assert "IMAGENET1K_FEATURES" not in weight_tags("vgg16")


def test_offline_the_sentence_names_the_file_and_where_to_put_it(tmp_path, monkeypatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(CheckpointError, match=rf"put resnet18-\w+\.pth from https://\S+ into {tmp_path}") as caught:
        torchvision_network("torchvision:resnet18@DEFAULT")
    assert "Name or service not known" in str(caught.value)


def test_published_weights_already_in_the_cache_are_used_with_their_class_names(tmp_path, monkeypatch) -> None:
    models = torchvision_module("models")
    weights = models.SqueezeNet1_1_Weights.DEFAULT
    state = models.squeezenet1_1(weights=None).state_dict()
    file = tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    file.parent.mkdir()
    torch.save(state, file)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    found = torchvision_network("torchvision:squeezenet1_1@DEFAULT")
    assert found.weights == "IMAGENET1K_V1" and found.classes is not None and len(found.classes) == 1000
    for name, tensor in found.network.state_dict().items():
        assert torch.equal(tensor, state[name])
