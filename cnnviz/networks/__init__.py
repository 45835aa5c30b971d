"""Networks that can be built by name: the five notes', a small VGG, EfficientNet-Lite0, torchvision's classifiers."""

from types import MappingProxyType

from cnnviz.errors import NetworkError
from cnnviz.networks import cnn, efficientnet_lite0, net, one_conv, simple_cnn, small_vgg, two_conv
from cnnviz.networks.info import Argument, Choice, NetworkInfo, Preset, Share, Size, Whole
from cnnviz.networks.torchvision_import import import_torchvision, torchvision_module

_MODULES = (simple_cnn, cnn, one_conv, two_conv, net, small_vgg, efficientnet_lite0)

NETWORKS: MappingProxyType[str, NetworkInfo] = MappingProxyType({module.INFO.name: module.INFO for module in _MODULES})


def network_info(name: str) -> NetworkInfo:
    """The entry of `NETWORKS`; raises NetworkError with the list of names."""
    if name not in NETWORKS:
        raise NetworkError(f"{name!r} is not a network; there are {', '.join(NETWORKS)}.")
    return NETWORKS[name]


__all__ = [
    "NETWORKS",
    "Argument",
    "Choice",
    "NetworkInfo",
    "Preset",
    "Share",
    "Size",
    "Whole",
    "import_torchvision",
    "network_info",
    "torchvision_module",
]
