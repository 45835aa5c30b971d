"""The worked example: gradient, deconvnet and guided backprop on a network of two pixels and three units.

It is computed in the browser from numbers that can be edited. The surprise: nothing comes from Python; the example
begins with numbers whose answers are known by hand, and says so when they come out.
"""

from __future__ import annotations

from dashboard.components.kit import define, mount, pack

_component = define("toy_backprop")


def toy_backprop(*, key: str) -> None:
    """Show the example."""
    mount(_component, pack({}), key=key)
