"""Import torchvision, also where its compiled extension was built for another torch.

The surprise: the plain wheel of torchvision beside a CPU-only torch fails at `import torchvision`, because it registers
fake kernels for two operators that its extension, which could not be loaded, never declared. Declaring those two
schemas first cures it, but on a healthy installation the second declaration aborts the process: so the plain import is
always tried first. After the cure torchvision's networks, transforms and data sets work; its own image decoders and
`torchvision.ops.nms` do not, and nothing here uses them.
"""

import importlib
import sys
import threading
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_lock = threading.Lock()
_libraries: list[torch.library.Library] = []  # a declaration lives only as long as its Library object


def import_torchvision() -> ModuleType:
    """The torchvision package; safe to call from several threads, cheap after the first time."""
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if not _lacks_its_operators(error):
                raise
        _forget_the_half_import()
        _declare_operators()
        return importlib.import_module("torchvision")


def torchvision_module(name: str) -> ModuleType:
    """A module inside torchvision, such as `"datasets"` or `"models"`."""
    import_torchvision()
    return importlib.import_module(f"torchvision.{name}")


def _lacks_its_operators(error: RuntimeError) -> bool:
    text = str(error)
    return "operator torchvision::" in text and "does not exist" in text


def _forget_the_half_import() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
