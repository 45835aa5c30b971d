"""The size of a map after a convolution or a pooling, and the sentence to say when nothing is left of it.

Every builder works its flatten size out here instead of writing 7·7·64, so a changed kernel, stride or padding either
fits or is explained.
"""

from torch import nn

from cnnviz.errors import NetworkError

POOLINGS = ("max", "average")


def convolved(side: int, kernel: int, stride: int, padding: int, *, where: str) -> int:
    """⌊(W − F + 2P)/S⌋ + 1; raises NetworkError, naming the layer and the numbers, when that is below 1."""
    out = (side - kernel + 2 * padding) // stride + 1
    if out < 1:
        raise NetworkError(
            f"{where} does not fit: a {kernel}×{kernel} window on a side of {side} with padding {padding} and stride "
            f"{stride} gives ⌊({side} − {kernel} + 2·{padding})/{stride}⌋ + 1 = {out}, and at least 1 is needed; "
            f"choose a kernel of at most {side + 2 * padding} or more padding."
        )
    return out


def halved(side: int, *, where: str) -> int:
    """The side after 2×2 pooling with stride 2; an odd last row or column is dropped."""
    if side < 2:
        raise NetworkError(
            f"{where} does not fit: a 2×2 window on a side of {side} gives ⌊({side} − 2 + 2·0)/2⌋ + 1 = 0, and at "
            "least 1 is needed; choose a smaller kernel or stride, or more padding, before it."
        )
    return convolved(side, 2, 2, 0, where=where)


def pooling_layer(kind: str) -> nn.Module:
    """A 2×2 pooling with stride 2, `"max"` or `"average"`."""
    return nn.MaxPool2d(2, 2) if kind == "max" else nn.AvgPool2d(2, 2)
