"""Occlusion experiments: what the network says when a part of the image is covered."""

from cnnviz.occlusion.experiment import occlude, occlude_progressively
from cnnviz.occlusion.fills import FILLS, Fill
from cnnviz.occlusion.sweep import Sweep

__all__ = ["FILLS", "Fill", "Sweep", "occlude", "occlude_progressively"]
