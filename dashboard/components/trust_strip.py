"""The trust strip: what the tests of a map say, as small curves and one sentence each, growing while it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnviz.figures.pixels import shrink
from cnnviz.figures.scales import Floats
from cnnviz.trust import Completeness, NoiseSensitivity, PixelRemoval, Randomisation
from dashboard.components.kit import define, mount, pack

SMALL = 56  # CSS pixels of a stage's map
_component = define("trust_strip")
Test = Randomisation | PixelRemoval | NoiseSensitivity | Completeness


def trust_strip(tests: Sequence[tuple[str, Test]], real: Sequence[Floats], *, unit: str, caveat: str, key: str) -> None:
    """Show tests with their titles, in their order.

    `real`: for each randomisation among them the map (H, W) that is tested. `unit`: what the curves of removal count.
    """
    maps: list[Floats] = []
    originals = iter(real)
    described = []
    for title, test in tests:
        if isinstance(test, Randomisation):
            maps += [next(originals), *(stage.map for stage in test.stages)]
        described.append({"title": title, "unit": unit, **_DESCRIBED[type(test)](test), "sentence": test.sentence})
    small = [_small(pixels) for pixels in maps]
    height, width = small[0].shape if small else (1, 1)
    header = {"tests": described, "caveat": caveat, "width": width, "height": height}
    mount(_component, pack(header, stages=np.stack(small) if small else np.zeros(0, np.float32)), key=key)


def _small(pixels: Floats) -> Floats:
    return shrink(np.abs(pixels), -(-max(pixels.shape) // SMALL)).astype(np.float32)


def _random(test: Randomisation) -> dict[str, Any]:
    stages = [{"layer": s.layer, "spearman": s.spearman, "ssim": s.ssim} for s in test.stages]
    return {"kind": "randomisation", "stages": stages, "total": test.total}


def _removal(test: PixelRemoval) -> dict[str, Any]:
    names = ("shares", "deletion", "random_deletion", "insertion", "random_insertion")
    return {"kind": "removal", "areas": test.areas} | {name: getattr(test, name).tolist() for name in names}


def _noise(test: NoiseSensitivity) -> dict[str, Any]:
    return {"kind": "noise", "changes": list(test.changes), "total": test.total}


def _completeness(test: Completeness) -> dict[str, Any]:
    return {"kind": "completeness", "steps": list(test.steps), "gaps": list(test.gaps)}


_DESCRIBED: dict[type, Callable[[Any], dict[str, Any]]] = {
    Randomisation: _random,
    PixelRemoval: _removal,
    NoiseSensitivity: _noise,
    Completeness: _completeness,
}
