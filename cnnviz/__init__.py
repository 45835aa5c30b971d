"""cnnviz opens a convolutional network like a book: layers, filters, feature maps, and what its answer rests on."""

from cnnviz.attribution import METHODS, Explanation, explain, explained
from cnnviz.filters import kernels
from cnnviz.model import Layer, Model
from cnnviz.occlusion import FILLS, Sweep, occlude, occlude_progressively
from cnnviz.receptive_field import ReceptiveField
from cnnviz.target import Channel, Class, Difference, Neuron, WholeLayer, parse_target
from cnnviz.trace import Trace

__all__ = [
    "FILLS", "METHODS", "Channel", "Class", "Difference", "Explanation", "Layer", "Model", "Neuron", "ReceptiveField",
    "Sweep", "Trace", "WholeLayer", "explain", "explained", "kernels", "occlude", "occlude_progressively",
    "parse_target",
]  # fmt: skip
