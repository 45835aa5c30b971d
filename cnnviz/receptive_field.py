"""Which pixels a cell of a feature map can see, exactly.

The box of a cell is followed backwards through every step of a `Tape`, tap by tap, so that strides, dilation, uneven
padding, ceiling pooling, adaptive bins and branches need no formula of their own, and padding never counts as a pixel.
A step that mixes all positions, or one that we do not know, sees the whole image: never less than the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.errors import LayerError
from cnnviz.tape import Ref, Step

_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Even:
    """Windows of `size` pixels, one every `stride` pixels, the first at `start` (below 0 inside the padding)."""

    size: int
    stride: int
    start: int


@dataclass(frozen=True)
class Axis:
    """For every cell along one axis, the half-open range of pixels it sees, and the rule behind it: without borders
    cell i would see `size` pixels from `start` + i · `stride` on. `even` is None where no such rule holds."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    even: Even | None

    @classmethod
    def of_pixels(cls, length: int) -> Axis:
        """The image itself: every cell sees its own pixel."""
        return cls(np.arange(length), np.arange(length) + 1, Even(1, 1, 0))


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
        rows, columns = (axis.even for axis in self.axes)
        return None if rows is None or columns is None else (rows.size, columns.size)

    @property
    def stride(self) -> tuple[int, int] | None:
        """How far the field moves from one cell to the next, in pixels (down, right)."""
        if self.axes is None:
            return None
        rows, columns = (axis.even for axis in self.axes)
        return None if rows is None or columns is None else (rows.stride, columns.stride)

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
    """Where rows and columns lie in a tensor of `rank` dimensions (`dims`), and what their cells see."""

    dims: tuple[int, int]
    rows: Axis
    columns: Axis
    rank: int = 4

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
        shape is not None and len(shape) == field.rank and tuple(shape[d] for d in field.dims) == lengths
        for shape in shapes
    )


def _whole(step: Step, inputs: list[Field | None]) -> Field | None:
    return None


def _same(step: Step, inputs: list[Field | None]) -> Field | None:
    return inputs[0] if len(inputs) == 1 else _union(step, inputs)


def _union(step: Step, inputs: list[Field | None]) -> Field | None:
    known = [field for field in inputs if field is not None]
    if len(known) != len(inputs) or len({(field.dims, field.rank) for field in known}) != 1:
        return None
    rows = _join([field.rows for field in known])
    columns = _join([field.columns for field in known])
    return None if rows is None or columns is None else replace(known[0], rows=rows, columns=columns)


def _join(axes: list[Axis]) -> Axis | None:
    length = max(len(axis.low) for axis in axes)
    if any(len(axis.low) not in (1, length) for axis in axes):
        return None
    low = np.min([np.broadcast_to(axis.low, length) for axis in axes], axis=0)
    high = np.max([np.broadcast_to(axis.high, length) for axis in axes], axis=0)
    return Axis(low, high, _hull([axis.even for axis in axes]))


def _hull(windows: list[Even | None]) -> Even | None:
    known = [window for window in windows if window is not None]
    if len(known) < len(windows) or len({window.stride for window in known}) != 1:
        return None
    start, end = min(w.start for w in known), max(w.start + w.size for w in known)
    return Even(end - start, known[0].stride, start)


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
    return replace(field, rows=slid[0], columns=slid[1])


def _slide(axis: Axis, length: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    taps = np.arange(length)[:, None] * stride - padding + np.arange(kernel)[None] * dilation
    inside = (taps >= 0) & (taps < len(axis.low))
    taps = taps.clip(0, len(axis.low) - 1)
    low = np.where(inside, axis.low[taps], _NOWHERE).min(1)
    high = np.where(inside, axis.high[taps], -1).max(1)
    even = axis.even
    if even is not None:
        reach = dilation * (kernel - 1) * even.stride
        even = Even(even.size + reach, even.stride * stride, even.start - padding * even.stride)
    return Axis(low, high, even)


_Pair = tuple[int, int]


def window_of(step: Step) -> tuple[_Pair, _Pair, _Pair, _Pair]:
    """Kernel, stride, padding (top, left) and dilation of a convolution or pooling step, each (rows, columns)."""
    return _convolution_window(step) if "conv" in step.name else _pooling_window(step)


def _convolution_window(step: Step) -> tuple[_Pair, _Pair, _Pair, _Pair]:
    read = _arguments(step)
    height, width = read(1, "weight", None).shape[2:]
    stride, dilation, padding = _pair(read(3, "stride", 1)), _pair(read(5, "dilation", 1)), read(4, "padding", 0)
    if padding == "same":  # where the total is odd, PyTorch puts the larger half below and to the right
        padding = (dilation[0] * (height - 1) // 2, dilation[1] * (width - 1) // 2)
    return (height, width), stride, (0, 0) if padding == "valid" else _pair(padding), dilation


def _pooling_window(step: Step) -> tuple[_Pair, _Pair, _Pair, _Pair]:
    read, later = _arguments(step), int(step.name == "lp_pool2d")  # whose power stands before the kernel's size
    kernel = _pair(read(1 + later, "kernel_size", None))
    stride = _pair(read(2 + later, "stride", None) or kernel)
    padding = _pair(0 if later else read(3, "padding", 0))
    return kernel, stride, padding, _pair(read(4, "dilation", 1) if step.name.startswith("max") else 1)


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
    rows, columns = (_bins(axis, step.shape[dim]) for axis, dim in zip(field.axes, field.dims, strict=True))
    return replace(field, rows=rows, columns=columns)


def _bins(axis: Axis, count: int) -> Axis:
    length = len(axis.low)
    if count == length:
        return axis
    edges = [(i * length // count, -((i + 1) * length // -count)) for i in range(count)]
    low = np.array([axis.low[a:b].min() for a, b in edges])
    high = np.array([axis.high[a:b].max() for a, b in edges])
    if length % count or axis.even is None:
        return Axis(low, high, None)
    width, even = length // count, axis.even
    return Axis(low, high, Even(even.size + (width - 1) * even.stride, even.stride * width, even.start))


_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0] if len(inputs) == 1 else None
    read = _arguments(step)
    widths, mode = tuple(read(1, "pad", ())), read(2, "mode", "constant")
    if field is None or field.dims != (2, 3) or len(widths) not in (2, 4):
        return None
    left, right, top, bottom = (*widths, 0, 0)[:4]
    rows, columns = _padded(field.rows, top, bottom, mode), _padded(field.columns, left, right, mode)
    return replace(field, rows=rows, columns=columns)


def _padded(axis: Axis, before: int, after: int, mode: str) -> Axis:
    keep = slice(max(0, -before), len(axis.low) - max(0, -after))
    widths = (max(0, before), max(0, after))
    if mode in _PAD_MODES:
        low, high = (np.pad(v[keep], widths, mode=_PAD_MODES[mode]) for v in (axis.low, axis.high))  # type: ignore[call-overload]
    else:
        low = np.pad(axis.low[keep], widths, constant_values=_NOWHERE)
        high = np.pad(axis.high[keep], widths, constant_values=-1)
    even = axis.even and replace(axis.even, start=axis.even.start - before * axis.even.stride)
    return Axis(low, high, even)


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
    return replace(field, dims=(rows, columns))


def _reshape(step: Step, inputs: list[Field | None]) -> Field | None:
    """Splitting or joining channels keeps rows and columns where they are: the last two."""
    field, shape = inputs[0] if len(inputs) == 1 else None, step.shape or ()
    if field is None or len(shape) < 4 or field.dims != (field.rank - 2, field.rank - 1):
        return None
    moved = Field((len(shape) - 2, len(shape) - 1), field.rows, field.columns, len(shape))
    return moved if shape[-2:] == (len(field.rows.low), len(field.columns.low)) else None


def _getitem(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0] if len(inputs) == 1 else None
    key = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    if field is None or not all(isinstance(k, int | slice) for k in key):
        return None
    dims, kept = [], 0
    axes = dict(zip(field.dims, field.axes, strict=True))
    for dim in range(field.rank):
        item = key[dim] if dim < len(key) else slice(None)
        if dim in axes:
            if isinstance(item, int):
                return None
            axes[dim] = _cut(axes[dim], item)
            dims.append(kept)
        kept += isinstance(item, slice)
    rows, columns = (axes[d] for d in field.dims)
    return Field((dims[0], dims[1]), rows, columns, kept) if field.dims[0] < field.dims[1] else None


def _cut(axis: Axis, part: slice) -> Axis:
    first, _, jump = part.indices(len(axis.low))
    even = axis.even and Even(axis.even.size, axis.even.stride * jump, axis.even.start + first * axis.even.stride)
    return Axis(axis.low[part], axis.high[part], even)


def _unsqueeze(step: Step, inputs: list[Field | None]) -> Field | None:
    field = inputs[0]
    if field is None:
        return None
    dim = _positive(_arguments(step)(1, "dim", 0), step)
    rows, columns = (d + (d >= dim) for d in field.dims)
    return Field((rows, columns), field.rows, field.columns, field.rank + 1)


def _batch_norm(step: Step, inputs: list[Field | None]) -> Field | None:
    """With stored statistics a cell stays alone; with those of the batch it sees everything."""
    return None if _arguments(step)(5, "training", False) else _same(step, inputs)


_ELEMENTWISE = (
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh "
    "softplus softsign clamp clamp_min clamp_max threshold dropout dropout2d feature_dropout alpha_dropout "
    "local_response_norm add sub rsub mul div truediv rtruediv neg abs exp log sqrt square pow maximum minimum where "
    "contiguous clone detach to float double half type_as identity stochastic_depth logsigmoid conj positive lerp "
    "addcmul addcdiv erf sin cos sign reciprocal rsqrt nan_to_num"
).split()
_RULES: dict[str, _Rule] = dict.fromkeys(_ELEMENTWISE, _same) | {
    "conv2d": _windows, "convolution": _windows, "max_pool2d": _windows, "avg_pool2d": _windows,
    "lp_pool2d": _windows, "max_pool2d_with_indices": _windows, "adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive, "pad": _pad, "constant_pad_nd": _pad, "cat": _cat, "softmax": _along(1),
    "log_softmax": _along(1), "chunk": _along(0), "split": _along(0), "layer_norm": _layer_norm, "linear": _linear,
    "permute": _permute, "transpose": _transpose, "view": _reshape, "reshape": _reshape, "getitem": _getitem,
    "unsqueeze": _unsqueeze, "batch_norm": _batch_norm,
}  # fmt: skip


def arithmetic(step: Step, steps: list[Step]) -> int:
    """Multiply-accumulate operations of one of `steps`, for one image."""
    if step.name not in _MACS:
        return 0
    shapes = [_shape_of(value, steps) for value in (*step.args, *step.kwargs.values())]
    return _MACS[step.name](step.shape or step.parts[0] or (), [shape for shape in shapes if shape is not None])


_Shape = tuple[int, ...]


def _shape_of(value: Any, steps: list[Step]) -> _Shape | None:
    if isinstance(value, Ref):
        return steps[value.step].shape if value.part is None else steps[value.step].parts[value.part]
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _weighted(output: _Shape, operands: list[_Shape]) -> int:
    return math.prod(output[1:]) * math.prod(operands[1][1:])


def _transposed(output: _Shape, operands: list[_Shape]) -> int:
    return math.prod(operands[0][1:]) * math.prod(operands[1][1:])


def _product(output: _Shape, operands: list[_Shape]) -> int:
    return math.prod(output[1:]) * operands[0][-1]


def _biased_product(output: _Shape, operands: list[_Shape]) -> int:
    return _product(output, operands[1:])


def _attention(output: _Shape, operands: list[_Shape]) -> int:
    query, key = operands[:2]
    return 2 * math.prod(query[1:]) * key[-2]


def _projected_attention(output: _Shape, operands: list[_Shape]) -> int:
    (length, _, width), (keys, _, _) = operands[0], operands[1]  # (positions, batch, width)
    return 2 * width * width * (length + keys) + 2 * length * keys * width


_MACS: dict[str, Callable[[_Shape, list[_Shape]], int]] = {
    "conv1d": _weighted, "conv2d": _weighted, "conv3d": _weighted, "convolution": _weighted, "linear": _weighted,
    "conv_transpose2d": _transposed, "matmul": _product, "mm": _product, "bmm": _product, "addmm": _biased_product,
    "scaled_dot_product_attention": _attention, "multi_head_attention_forward": _projected_attention,
}  # fmt: skip
