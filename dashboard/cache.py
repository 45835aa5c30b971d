"""Everything that is kept between clicks: opened models, and what was computed from them.

Results live in one store that is bounded by its size in memory and keyed by our own digests of weights, image, target
and options. The surprise: Streamlit's own hashing is not used for arrays, because it looks at a sample of the larger
ones, and a changed pixel then gave the old result. Any viewer can have Streamlit's caches cleared, so everything here
can be computed again.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from torch import Tensor

import cnnviz
from cnnviz import Model, checkpoint

Result = TypeVar("Result")
MODELS = 6
BYTES = 512 << 20


class Store:
    """Results by key, the least recently used going first when they outgrow `limit` bytes; safe between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._busy: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, compute: Callable[[], Result]) -> Result:
        """The result kept under `key`; computed now, once however many viewers ask for it, when there is none."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]  # type: ignore[no-any-return]
            turn = self._busy.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._kept:
                    return self._kept[key][0]  # type: ignore[no-any-return]
            try:
                result = compute()
                self._keep(key, result)
            finally:
                with self._lock:
                    self._busy.pop(key, None)
        return result

    def _keep(self, key: str, result: Any) -> None:
        _freeze(result)
        size = _bytes(result)
        with self._lock:
            self._kept[key] = (result, size)
            self._size += size
            while self._size > self._limit and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1][1]


@st.cache_resource(show_spinner=False)
def _store() -> Store:
    return Store(BYTES)


@st.cache_resource(max_entries=MODELS, show_spinner="Opening the model")
def model(name: str, epoch: int | None = None) -> Model:
    """The model of that name, as it was after `epoch` (None: at the end). Raises `CnnvizError`."""
    return checkpoint.load(name, epoch=epoch)


def digest(*parts: object) -> str:
    """16 hexadecimal digits of arrays, tensors, bytes and words; equal only when all of them are equal."""
    mixed = hashlib.sha256()
    for part in parts:
        array = part.detach().cpu().numpy() if isinstance(part, Tensor) else part
        if isinstance(array, np.ndarray):
            mixed.update(f"|{array.shape}{array.dtype}|".encode())
            mixed.update(np.ascontiguousarray(array).data)
        else:
            mixed.update(b"|" + (array if isinstance(array, bytes) else repr(array).encode()))
    return mixed.hexdigest()[:16]


def result(compute: Callable[[], Result], *parts: object) -> Result:
    """`compute()`, kept under the digest of `parts`: name them so that equal parts mean an equal result.

    Arrays in the result become read-only, because viewers share them.
    """
    return _store().get(digest(*parts), compute)


def scores(model: Model, image: Tensor) -> NDArray[np.float32]:
    """The logits (K,) of one image (1, C, H, W)."""
    return result(lambda: _numbers(model.scores(image)[0]), "scores", model.digest, image)


def outputs(model: Model, image: Tensor, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """What these layers give for one image: name → (C, H, W) or (C,); one pass for those not known yet."""

    def one_pass() -> dict[str, NDArray[np.float32]]:
        trace = model.trace(image, keep=tuple(layers))
        return {name: _numbers(trace.outputs[name][0]) for name in layers}

    return result(one_pass, "outputs", model.digest, image, tuple(layers))


def explanation(
    method: str, model: Model, image: Tensor, target: Any, options: Mapping[str, Any] | None = None
) -> NDArray[np.float32]:
    """The map of one method for one image: (C or 1, H, W), signed as the method says."""
    chosen = sorted((options or {}).items())
    return result(
        lambda: np.asarray(cnnviz.explain(method, model, image, target, **dict(chosen))[0]),
        "explanation",
        model.digest,
        image,
        target.text,
        method,
        chosen,
    )


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().float().numpy().copy()


def _freeze(result: Any) -> None:
    for part in _parts(result):
        if isinstance(part, np.ndarray):
            part.setflags(write=False)


def _bytes(result: Any) -> int:
    return 1024 + sum(len(part) if isinstance(part, bytes | str) else part.nbytes for part in _parts(result))


def _parts(result: Any) -> Iterator[Any]:
    """Everything in a result that takes room: arrays, tensors, bytes and text, inside whatever holds them."""
    if isinstance(result, np.ndarray | Tensor | bytes | str):
        yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from _parts(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from _parts(value)
    elif is_dataclass(result):
        yield from _parts(vars(result))
