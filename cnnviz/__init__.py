"""cnnviz opens a convolutional network like a book: layers, filters, feature maps, and what its answer rests on."""

from cnnviz.attribution import METHODS, Explanation, explain, explained
from cnnviz.checkpoint import MODELS, load, save
from cnnviz.embedding import Embedding, pca, tsne
from cnnviz.features import features
from cnnviz.filters import kernels
from cnnviz.maximise import maximise
from cnnviz.model import Layer, Model
from cnnviz.networks import NETWORKS
from cnnviz.occlusion import FILLS, Sweep, occlude, occlude_progressively
from cnnviz.receptive_field import ReceptiveField
from cnnviz.target import Channel, Class, Difference, Neuron, Sum, WholeLayer, parse_target
from cnnviz.trace import Trace
from cnnviz.training import train

__all__ = [
    "FILLS", "METHODS", "MODELS", "NETWORKS", "Channel", "Class", "Difference", "Embedding", "Explanation", "Layer",
    "Model", "Neuron", "ReceptiveField", "Sum", "Sweep", "Trace", "WholeLayer", "explain", "explained", "features",
    "kernels", "load", "maximise", "occlude", "occlude_progressively", "parse_target", "pca", "save", "train", "tsne",
]  # fmt: skip
