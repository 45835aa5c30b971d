"""TorchScript networks, run so that the autograd graph still shows what they do.

The surprise: after its first pass with a gradient, TorchScript's optimiser folds rectifiers into one opaque node, and
keeps doing so for every copy that shares the compiled code, so that guided backprop would silently become the plain
gradient. Code loaded anew that never runs optimised keeps every node.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn


class Compiled(nn.Module):
    """A private copy of a TorchScript network over the same weights: frozen, in evaluation mode, never optimised."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        file = io.BytesIO()
        torch.jit.save(network, file)
        file.seek(0)
        self.compiled: Any = torch.jit.load(file)  # type: ignore[no-untyped-call]
        for copy, original in zip(self.compiled.parameters(), network.parameters(), strict=True):
            copy.requires_grad_(False)
            copy.data = original.data
        self.eval()

    def forward(self, images: Tensor) -> Any:
        # a flag of this thread, not of the network
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return self.compiled(images)
