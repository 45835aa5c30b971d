"""Which pixels a cell of a feature map can see, exactly.

The box of a cell is followed backwards through every step of a `Tape`, tap by tap, so that strides, dilation, uneven
padding, ceiling pooling, adaptive bins and branches need no formula of their own, and padding never counts as a pixel.
A step that mixes all positions, or one that we do not know, sees the whole image: never less than the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.errors import LayerError
from cnnviz.tape import Step

_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Axis:
    """For every cell along one axis, the half-open range of pixels it sees; `size` and `stride` are those of a cell far
    from the border, None where they differ from cell to cell."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    size: int | None
    stride: int | None

    @classmethod
    def of_pixels(cls, length: int) -> Axis:
        """The image itself: every cell sees its own pixel."""
        return cls(np.arange(length), np.arange(length) + 1, 1, 1)


@dataclass(frozen=True)
class ReceptiveField:
    """What the cells of a layer see of an image of `image` (height, width) pixels.

    `size` and `stride` (height, width) are in pixels, unclipped, None where cells differ or see the whole image.
    """

    image: tuple[int, int]
    axes: tuple[Axis, Axis] | None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of a cell's field far from the border; the whole image for a layer without cells."""
        if self.axes is None:
            return self.image
        rows, columns = self.axes
        return None if rows.size is None or columns.size is None else (rows.size, columns.size)

    @property
    def stride(self) -> tuple[int, int] | None:
        """How far the field moves from one cell to the next, in pixels (down, right)."""
        if self.axes is None:
            return None
        rows, columns = self.axes
        return None if rows.stride is None or columns.stride is None else (rows.stride, columns.stride)

    @property
    def is_whole(self) -> bool:
        """Whether every cell sees the whole image."""
        return self.axes is None or all(
            bool((axis.low == 0).all() and (axis.high == length).all())
            for axis, length in zip(self.axes, self.image, strict=True)
        )

    def box(self, row: int = 0, column: int = 0) -> tuple[int, int, int, int]:
        """The pixels a cell sees as (top, left, bottom, right), half-open and clipped to the image.

        A cell that sees padding alone has an empty box. Raises `LayerError` when the layer has no such cell.
        """
        if self.axes is None:
            return (0, 0, *self.image)
        for axis, index, name in zip(self.axes, (row, column), ("row", "column"), strict=True):
            if not 0 <= index < len(axis.low):
                raise LayerError(f"{name} {index} does not exist: this layer has {len(axis.low)}")
        (top, bottom), (left, right) = (
            (0, 0) if axis.low[i] == _NOWHERE else (int(axis.low[i]), int(axis.high[i]))
            for axis, i in zip(self.axes, (row, column), strict=True)
        )
        return (top, left, bottom, right)


@dataclass(frozen=True)
class Field:
    """Where a tensor's rows and columns lie (`dims`) and what their cells see."""

    dims: tuple[int, int]
    rows: Axis
    columns: Axis

    @property
    def axes(self) -> tuple[Axis, Axis]:
        return self.rows, self.columns


_Rule = Callable[[Step, "list[Field | None]"], "Field | None"]


def fields(steps: list[Step]) -> dict[int, Field | None]:
    """The field of every step's output; None where a cell sees the whole image, or there are no cells."""
    height, width = (steps[0].shape or ())[2:4]
    found: dict[int, Field | None] = {0: Field((2, 3), Axis.of_pixels(height), Axis.of_pixels(width))}
    for step in steps[1:]:
        inputs = [found[ref.step] for ref in step.refs]
        field = _RULES.get(step.name, _whole)(step, inputs)
        found[step.index] = field if field is not None and _fits(field, step) else None
    return found


def _fits(field: Field, step: Step) -> bool:
    shapes = [step.shape] if step.shape is not None else list(step.parts)
    lengths = tuple(len(axis.low) for axis in field.axes)
    return all(
        shape is not None and len(shape) > max(field.dims) and tuple(shape[d] for d in field.dims) == lengths
        for shape in shapes
    )


def _whole(step: Step, inputs: list[Field | None]) -> Field | None:
    return None


def _same(step: Step, inputs: list[Field | None]) -> Field | None:
    return inputs[0] if len(inputs) == 1 else _union(step, inputs)


def _union(step: Step, inputs: list[Field | None]) -> Field | None:
    known = [field for field in inputs if field is not None]
    if len(known) != len(inputs) or len({field.dims for field in known}) != 1:
        return None
    rows = _join([field.rows for field in known])
    columns = _join([field.columns for field in known])
    return None if rows is None or columns is None else Field(known[0].dims, rows, columns)


def _join(axes: list[Axis]) -> Axis | None:
    length = max(len(axis.low) for axis in axes)
    if any(len(axis.low) not in (1, length) for axis in axes):
        return None
    low = np.min([np.broadcast_to(axis.low, length) for axis in axes], axis=0)
    high = np.max([np.broadcast_to(axis.high, length) for axis in axes], axis=0)
    sizes = [axis.size for axis in axes]
    strides = {axis.stride for axis in axes}
    regular = len(strides) == 1 and None not in sizes
    return Axis(low, high, max(s for s in sizes if s) if regular else None, strides.pop() if regular else None)


def _windows(step: Step, inputs: list[Field | None]) -> Field | None:
    """Convolution and pooling."""
    field = inputs[0] if len(inputs) == 1 else None
    if field is None or step.shape is None:
        return None
    kernel, stride, padding, dilation = window_of(step)
    slid = [
        _slide(axis, step.shape[dim], kernel[i], stride[i], padding[i], dilation[i])
        for i, (axis, dim) in enumerate(zip(field.axes, field.dims, strict=True))
    ]
    return Field(field.dims, slid[0], slid[1])


def _slide(axis: Axis, length: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    taps = np.arange(length)[:, None] * stride - padding + np.arange(kernel)[None] * dilation
    inside = (taps >= 0) & (taps < len(axis.low))
    taps = taps.clip(0, len(axis.low) - 1)
    low = np.where(inside, axis.low[taps], _NOWHERE).min(1)
    high = np.where(inside, axis.high[taps], -1).max(1)
    if axis.size is None or axis.stride is None:
        return Axis(low, high, None, None)
    return Axis(low, high, axis.size + dilation * (kernel - 1) * axis.stride, axis.stride * stride)


def window_of(step: Step) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride, padding (top, left) and dilation of a convolution or pooling step, each (rows, columns)."""
    read = _arguments(step)
    if "conv" in step.name:
        kernel = tuple(read(1, "weight", None).shape[2:])
        stride, padding, dilation = (_pair(read(i, n, d)) for i, n, d in _CONVOLUTION)
        if isinstance(padding[0], str):
            padding = tuple(d * (k - 1) // 2 if padding[0] == "same" else 0 for d, k in zip(dilation, kernel, strict=True))
        return kernel, stride, padding, dilation  # type: ignore[return-value]
    offset = 1 if step.name == "lp_pool2d" else 0
    kernel = _pair(read(1 + offset, "kernel_size", None))
    stride = _pair(read(2 + offset, "stride", None) or kernel)
    padding = _pair(0 if offset else read(3, "padding", 0))
    dilation = _pair(read(4, "dilation", 1) if step.name.startswith("max") else 1)
    return kernel, stride, padding, dilation  # type: ignore[return-value]


_CONVOLUTION = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))


def _arguments(step: Step) -> Callable[[int, str, Any], Any]:
    def read(position: int, name: str, default: Any) -> Any:
        if name in step.kwargs:
            return step.kwargs[name]
        return step.args[position] if position < len(step.args) else default

    return read


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, tuple | list):
        return (value[0], value[-1])
    return (value, value)


def _adaptive(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0] if len(inputs) == 1 else None
    if field is None or step.shape is None:
        return None
    return Field(field.dims, *(_bins(axis, step.shape[dim]) for axis, dim in zip(field.axes, field.dims, strict=True)))


def _bins(axis: Axis, count: int) -> Axis:
    length = len(axis.low)
    if count == length:
        return axis
    edges = [(i * length // count, math.ceil((i + 1) * length / count)) for i in range(count)]
    low = np.array([axis.low[a:b].min() for a, b in edges])
    high = np.array([axis.high[a:b].max() for a, b in edges])
    width = length // count
    if length % count or axis.size is None or axis.stride is None:
        return Axis(low, high, None, None)
    return Axis(low, high, axis.size + (width - 1) * axis.stride, axis.stride * width)


_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0] if len(inputs) == 1 else None
    read = _arguments(step)
    widths, mode = tuple(read(1, "pad", ())), read(2, "mode", "constant")
    if field is None or field.dims != (2, 3) or len(widths) not in (2, 4):
        return None
    left, right, top, bottom = (*widths, 0, 0)[:4]
    return Field(field.dims, _padded(field.rows, top, bottom, mode), _padded(field.columns, left, right, mode))


def _padded(axis: Axis, before: int, after: int, mode: str) -> Axis:
    keep = slice(max(0, -before), len(axis.low) - max(0, -after))
    widths = (max(0, before), max(0, after))
    if mode in _PAD_MODES:
        low, high = (np.pad(v[keep], widths, mode=_PAD_MODES[mode]) for v in (axis.low, axis.high))  # type: ignore[call-overload]
    else:
        low = np.pad(axis.low[keep], widths, constant_values=_NOWHERE)
        high = np.pad(axis.high[keep], widths, constant_values=-1)
    return Axis(low, high, axis.size, axis.stride)


def _cat(step: Step, inputs: list[Field | None]) -> Field | None:
    dim = _arguments(step)(1, "dim", 0)
    field = _union(step, inputs)
    return None if field is None or _positive(dim, step) in field.dims else field


def _along(default: int) -> _Rule:
    """Steps that mix one dimension: fine where it is not a spatial one."""

    def rule(step: Step, inputs: list[Field | None]) -> Field | None:
        field = inputs[0] if len(inputs) == 1 else None
        if field is None:
            return None
        dim = _arguments(step)(2 if step.name in {"chunk", "split"} else 1, "dim", default)
        return None if not isinstance(dim, int) or _positive(dim, step) in field.dims else field

    return rule


def _positive(dim: int, step: Step) -> int:
    shape = step.shape or step.parts[0] or ()
    return dim % len(shape)


def _layer_norm(step: Step, inputs: list[Field | None]) -> Field | None:
    field, shape = inputs[0], step.shape or ()
    normalised = len(tuple(_arguments(step)(1, "normalized_shape", shape)))
    return None if field is None or max(field.dims) >= len(shape) - normalised else field


def _linear(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0] if len(inputs) == 1 else None
    return None if field is None or len(step.shape or ()) - 1 in field.dims else field


def _permute(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0]
    order = step.args[1] if len(step.args) == 2 and isinstance(step.args[1], tuple | list) else step.args[1:]
    order = tuple(order) or tuple(step.kwargs.get("dims", ()))
    return None if field is None else _moved(field, [d % len(order) for d in order])


def _transpose(step: Step, inputs: list[Field | None]) -> Field | None:
    field, shape = inputs[0], step.shape or ()
    if field is None or len(step.args) < 3:
        return None
    order = list(range(len(shape)))
    a, b = step.args[1] % len(shape), step.args[2] % len(shape)
    order[a], order[b] = order[b], order[a]
    return _moved(field, order)


def _moved(field: Field, order: list[int]) -> Field:
    rows, columns = (order.index(dim) for dim in field.dims)
    return Field((rows, columns), field.rows, field.columns)


def _reshape(step: Step, inputs: list[Field | None]) -> Field | None:
    """Splitting or joining channels keeps rows and columns where they are: the last two."""
    field, shape = inputs[0] if len(inputs) == 1 else None, step.shape or ()
    if field is None or len(shape) < 4 or field.dims[1] - field.dims[0] != 1:
        return None
    sizes = (len(field.rows.low), len(field.columns.low))
    return Field((len(shape) - 2, len(shape) - 1), field.rows, field.columns) if shape[-2:] == sizes else None


def _getitem(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0] if len(inputs) == 1 else None
    key = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    if field is None or not all(isinstance(k, int | slice) for k in key):
        return None
    dims, kept = [], 0
    axes = dict(zip(field.dims, field.axes, strict=True))
    for dim in range(max(len(key), max(field.dims) + 1)):
        item = key[dim] if dim < len(key) else slice(None)
        if dim in axes:
            if isinstance(item, int):
                return None
            axes[dim] = _cut(axes[dim], item)
            dims.append(kept)
        kept += isinstance(item, slice)
    rows, columns = (axes[d] for d in field.dims)
    return Field((dims[0], dims[1]), rows, columns) if field.dims[0] < field.dims[1] else None


def _cut(axis: Axis, part: slice) -> Axis:
    stride = None if axis.stride is None else axis.stride * (part.step or 1)
    return Axis(axis.low[part], axis.high[part], axis.size, stride)


def _unsqueeze(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0]
    if field is None:
        return None
    dim = _positive(_arguments(step)(1, "dim", 0), step)
    rows, columns = (d + (d >= dim) for d in field.dims)
    return Field((rows, columns), field.rows, field.columns)


_ELEMENTWISE = (
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus "
    "softsign clamp clamp_min clamp_max threshold dropout dropout2d feature_dropout alpha_dropout batch_norm "
    "native_batch_norm local_response_norm add sub rsub mul div truediv rtruediv neg abs exp log sqrt square pow maximum "
    "minimum where contiguous clone detach to float double half type_as identity stochastic_depth logsigmoid "
    "native_batch_norm_legit_no_training conj positive lerp addcmul addcdiv erf sin cos sign reciprocal rsqrt nan_to_num"
).split()
_RULES: dict[str, _Rule] = {name: _same for name in _ELEMENTWISE} | {
    "conv2d": _windows, "convolution": _windows, "max_pool2d": _windows, "avg_pool2d": _windows, "lp_pool2d": _windows,
    "max_pool2d_with_indices": _windows, "adaptive_avg_pool2d": _adaptive, "adaptive_max_pool2d": _adaptive,
    "pad": _pad, "constant_pad_nd": _pad, "cat": _cat, "softmax": _along(1), "log_softmax": _along(1), "chunk": _along(0),
    "split": _along(0), "layer_norm": _layer_norm, "linear": _linear, "permute": _permute, "transpose": _transpose,
    "view": _reshape, "reshape": _reshape, "getitem": _getitem, "unsqueeze": _unsqueeze,
}  # fmt: skip


def arithmetic(step: Step) -> int:
    """Multiply-accumulate operations of one step for one image."""
    if step.shape is None:
        return 0
    cells = math.prod(step.shape[1:])
    if step.name in {"conv2d", "convolution", "conv1d", "conv3d", "linear", "addmm"}:
        weight = next((a for a in (*step.args, *step.kwargs.values()) if isinstance(a, Tensor) and a.dim() > 1), None)
        return 0 if weight is None else cells * (weight.numel() // weight.shape[_out_axis(step)])
    if step.name in {"conv_transpose2d", "matmul", "bmm", "scaled_dot_product_attention"}:
        return _product(step, cells)
    return 0


def _out_axis(step: Step) -> int:
    return 1 if step.name == "addmm" else 0


def _product(step: Step, cells: int) -> int:
    weight = next((a for a in step.args if isinstance(a, Tensor)), None)
    if step.name == "conv_transpose2d" and weight is not None:
        return cells * weight.shape[0] * math.prod(weight.shape[2:]) // math.prod(_pair(_arguments(step)(3, "stride", 1)))
    return cells * weight.shape[-2] if weight is not None and weight.dim() > 1 else 0


