"""A recorded pass rewritten for changes: which operation each step becomes, what is folded, what falls away.

Dropout, an added constant and a copy leave a change as it is; a batch norm is a factor and disappears into the
convolution before it; a ReLU before a max-pooling moves behind it, where there are four times fewer cells. A step
without a rule becomes the recorded function on whole maps, at that step alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from cnnviz.occlusion.convolve import Kernel
from cnnviz.occlusion.operations import (
    Add,
    AveragePool,
    CellWise,
    Concatenate,
    Convolve,
    Form,
    Linear,
    MaxPool,
    Multiply,
    Operation,
    Pad,
    Rearrange,
    Rectify,
    Scale,
    SpatialMean,
    WholeMaps,
)  # fmt: skip
from cnnviz.occlusion.plan import Taps
from cnnviz.occlusion.tile import Dims
from cnnviz.receptive_field import window_of
from cnnviz.tape import Ref, Step, Tape
from cnnviz.trace import writes_in_place


@dataclass(frozen=True)
class Program:
    """Operations in order. `derived` are clean values that no step of the tape made: (name, of which, function).

    `costs` are the plans made for it so far, by grid and number type: geometry alone, so they serve every image.
    """

    operations: tuple[Operation, ...]
    output: Ref
    forms: dict[Ref, Form]
    alias: dict[Ref, Ref]
    derived: dict[Ref, tuple[Ref, Callable[[Tensor], Tensor]]]
    costs: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def reads(self) -> frozenset[Ref]:
        """The clean values that some operation needs."""
        return frozenset(ref for operation in self.operations for ref in operation.reads) | {Ref(0)}

    def change_of(self, ref: Ref) -> Ref:
        """The value whose change this value's is."""
        while ref in self.alias:
            ref = self.alias[ref]
        return ref

    @property
    def mixes(self) -> bool:
        """Whether some step mixes everything in a way that is not known, as attention does: its cost is not either."""
        unknown = (o for o in self.operations if isinstance(o, WholeMaps) and not o.linear)
        return any(operation.form.dims is None for operation in unknown)

    @property
    def maps(self) -> tuple[Operation, ...]:
        """The operations until every value still in use is a vector."""
        last = self.last_use() | {self.output: len(self.operations)}
        for place in range(len(self.operations), 0, -1):
            alive = [o for o in self.operations[:place] if last.get(o.output, -1) >= place]
            if any(o.form.dims is not None for o in alive) or last.get(Ref(0), -1) >= place:
                return self.operations[: place + 1]
        return ()

    def last_use(self) -> dict[Ref, int]:
        """The place of the last operation that uses a value."""
        return {ref: place for place, operation in enumerate(self.operations) for ref in operation.sources}


def compiled(tape: Tape, watched: frozenset[Ref]) -> Program:
    """The program of a tape that keeps the values of `watched` as they are."""
    return _Compiler(tape, watched).program()


class _Compiler:
    """Walks the tape once; `alias` follows values whose change is another value's."""

    def __init__(self, tape: Tape, watched: frozenset[Ref]) -> None:
        assert tape.output is not None and tape.steps[0].shape is not None
        self._tape, self._kept = tape, watched | {tape.output}
        self.uses = Counter(ref for step in tape.steps for ref in step.refs)
        self.forms: dict[Ref, Form] = {Ref(0): Form(tape.steps[0].shape, (2, 3))}
        self.alias: dict[Ref, Ref] = {}
        self.made: dict[Ref, Operation] = {}
        self.derived: dict[Ref, tuple[Ref, Callable[[Tensor], Tensor]]] = {}

    def program(self) -> Program:
        for step in self._tape.steps[1:]:
            for output in _outputs(step):
                made = self._made(step, output)
                if isinstance(made, Ref):
                    self.alias[output] = made
                    self.forms[output] = self.forms[made]
                else:
                    self.made[output] = made
                    self.forms[output] = made.form
        output = self.change_of(self._tape.output or Ref(0))
        wanted = {output} | {self.change_of(ref) for ref in self._kept}
        operations = _owned(_ordered(_reachable(list(self.made.values()), wanted)), wanted)
        return Program(tuple(operations), output, self.forms, self.alias, self.derived)

    def change_of(self, ref: Ref) -> Ref:
        """The value whose change this value's is."""
        while ref in self.alias:
            ref = self.alias[ref]
        return ref

    def shape(self, step: Step, output: Ref) -> tuple[int, ...]:
        shape = step.shape if output.part is None else step.parts[output.part]
        assert shape is not None
        return shape

    def source(self, step: Step) -> tuple[Ref, Form]:
        """The only computed input of a step."""
        (ref,) = dict.fromkeys(step.refs)
        return ref, self.forms[ref]

    def only_here(self, ref: Ref) -> bool:
        """Whether a value is used once and nobody else asks for it."""
        return self.uses[ref] == 1 and ref not in self._kept and ref not in self.alias

    def _made(self, step: Step, output: Ref) -> Operation | Ref:
        rule = _RULES.get(step.name)
        made = rule(self, step, output) if rule is not None else None
        return made if made is not None else self.whole(step, output)

    def whole(self, step: Step, output: Ref) -> Operation:
        refs = tuple(dict.fromkeys(step.refs))
        shape = self.shape(step, output)
        # a step that does not know about batches may have put something else in the first place
        batched = step.name in _ONE_BY_ONE and shape[0] == 1
        maps = any(self.forms[ref].dims is not None for ref in refs)
        dims = (2, 3) if maps and len(shape) == 4 and shape[0] == 1 else None
        return WholeMaps(
            step.index, tuple(map(self.change_of, refs)), output, tuple(self.forms[ref] for ref in refs),
            Form(shape, dims), refs,
            _recorded(step, refs, output), step.name in _LINEAR and len(refs) == 1, batched,
        )  # fmt: skip


def _outputs(step: Step) -> list[Ref]:
    if step.shape is not None:
        return [Ref(step.index)]
    return [Ref(step.index, part) for part, shape in enumerate(step.parts) if shape is not None]


def _ordered(operations: list[Operation]) -> list[Operation]:
    """In the order of the tape; a derived value comes just before the step that it was derived for."""
    return sorted(operations, key=lambda o: (o.index, o.output.part is not None and o.output.part >= 0))


def _reachable(operations: list[Operation], wanted: set[Ref]) -> list[Operation]:
    needed = set(wanted)
    for operation in reversed(_ordered(operations)):
        if operation.output in needed:
            needed.update(operation.sources)
    return [operation for operation in operations if operation.output in needed]


def _owned(operations: list[Operation], wanted: set[Ref]) -> list[Operation]:
    """Mark the operations that may write into their first source's memory, because nothing else will look there."""
    uses = Counter(source for operation in operations for source in operation.sources)
    fresh = {operation.output for operation in operations if operation.fresh}
    lenders = {source for operation in operations if not operation.fresh for source in operation.sources}
    free = {ref for ref in fresh if uses[ref] == 1 and ref not in lenders}
    return [replace(o, overwrites=bool(o.sources) and o.sources[0] in free) for o in operations]


def _recorded(step: Step, refs: tuple[Ref, ...], output: Ref) -> Callable[[list[Tensor]], Tensor]:
    """The recorded call with other tensors in the place of what it read."""

    def call(tensors: list[Tensor]) -> Tensor:
        result = replay(step, dict(zip(refs, tensors, strict=True)))
        return result if output.part is None else result[output.part]  # type: ignore[no-any-return]

    return call


_RESHAPING = frozenset({"view", "reshape"})


def replay(step: Step, values: dict[Ref, Tensor]) -> Any:
    """Run a recorded step again on other values. What it would overwrite is a copy; a batch may be larger."""
    args, kwargs = _with(step.args, values), _with(step.kwargs, values)
    if step.name in _RESHAPING and step.shape is not None and step.shape[0] == 1:
        return args[0].reshape(len(args[0]), *step.shape[1:])
    in_place = step.name == "setitem" or writes_in_place(step.function, step.args, step.kwargs)
    if in_place and isinstance(args[0], Tensor):
        args = (args[0].clone(), *args[1:])
    result = step.function(*args, **kwargs)
    return args[0] if step.name == "setitem" else result


def _with(value: Any, values: dict[Ref, Tensor]) -> Any:
    if isinstance(value, Ref):
        return values[value]
    if type(value) in (tuple, list):
        return type(value)(_with(item, values) for item in value)
    if type(value) is dict:
        return {key: _with(item, values) for key, item in value.items()}
    return value


# Steps that treat every image of a batch by itself.
_ONE_BY_ONE = frozenset(
    "adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d max_pool2d lp_pool2d conv2d conv_transpose2d interpolate "
    "flatten view reshape pad pixel_shuffle relu relu6 silu sigmoid hardsigmoid hardswish gelu tanh softmax "
    "log_softmax mul add sub div layer_norm group_norm instance_norm local_response_norm batch_norm linear".split()
)
_LINEAR = frozenset("adaptive_avg_pool2d flatten view reshape pixel_shuffle channel_shuffle squeeze permute".split())


# ---- rules: from a step to an operation, to the value whose change it shares, or None for whole maps

_Made = Operation | Ref | None
_Rule = Callable[[_Compiler, Step, Ref], _Made]


def _argument(step: Step, position: int, name: str, default: Any = None) -> Any:
    if name in step.kwargs:
        return step.kwargs[name]
    return step.args[position] if position < len(step.args) else default


def _same(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref = step.args[0] if step.args and isinstance(step.args[0], Ref) else None
    return compiler.change_of(ref) if ref is not None and compiler.forms[ref].shape == step.shape else None


def _dropout(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    training = _argument(step, 2, "training", step.name != "feature_dropout")
    return None if training else _same(compiler, step, output)


def _convolution(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    weight = _argument(step, 1, "weight")
    ref, form = compiler.source(step)
    if not isinstance(weight, Tensor) or form.dims != (2, 3):
        return None
    kernel, stride, padding, dilation = window_of(step)
    groups = _argument(step, 6, "groups", 1)
    taps = tuple(map(Taps, kernel, stride, padding, dilation))
    shape = compiler.shape(step, output)
    return Convolve(
        step.index, (compiler.change_of(ref),), output, (form,), Form(shape, (2, 3)), (taps[0], taps[1]),
        Kernel(weight.detach(), stride, dilation, groups),
    )  # fmt: skip


def _batch_norm(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    if _argument(step, 5, "training", False):
        return None
    mean, variance = (_argument(step, i, n) for i, n in ((1, "running_mean"), (2, "running_var")))
    weight, eps = _argument(step, 3, "weight"), _argument(step, 7, "eps", 1e-5)
    if not isinstance(variance, Tensor) or not isinstance(mean, Tensor):
        return None
    factor = torch.rsqrt(variance.double() + eps) * (1 if weight is None else weight.detach().double())
    return _scaled(compiler, step, output, factor)


def _scaled(compiler: _Compiler, step: Step, output: Ref, factor: Tensor) -> _Made:
    """One factor for each channel (axis 1): into the convolution before it, where nobody else reads that."""
    ref, form = compiler.source(step)
    before = compiler.made.get(compiler.change_of(ref))
    if isinstance(before, Convolve) and compiler.only_here(ref) and before.output == ref:
        kernel = before.kernel
        weight = (kernel.weight.double() * factor.view(-1, 1, 1, 1)).to(kernel.weight.dtype)
        del compiler.made[ref]
        return replace(before, index=step.index, output=output, kernel=replace(kernel, weight=weight, _forms={}))
    shaped = factor.to(next(_tensors(step), factor).dtype).view(1, -1, *[1] * (len(form.shape) - 2))
    return Scale(step.index, (compiler.change_of(ref),), output, (form,), form, shaped)


def _tensors(step: Step) -> Iterator[Tensor]:
    return (a for a in (*step.args, *step.kwargs.values()) if isinstance(a, Tensor) and a.is_floating_point())


def _rectifier(low: float, high: float | None) -> _Rule:
    def rule(compiler: _Compiler, step: Step, output: Ref) -> _Made:
        ref, form = compiler.source(step)
        return Rectify(step.index, (compiler.change_of(ref),), output, (form,), form, ref, low, high)

    return rule


def _clamp(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    names = ("min_val", "max_val") if step.name == "hardtanh" else ("min", "max")
    defaults = (-1.0, 1.0) if step.name == "hardtanh" else (None, None)
    low, high = (_argument(step, i, n, d) for i, n, d in zip((1, 2), names, defaults, strict=True))
    if not isinstance(low, int | float) or not isinstance(high, int | float | None):
        return _cellwise(compiler, step, output)
    return _rectifier(float(low), None if high is None else float(high))(compiler, step, output)


def _cellwise(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    if len(set(step.refs)) != 1 or step.shape is None:
        return None
    ref, form = compiler.source(step)
    if form.shape != step.shape or not _constants_fit(step, form):
        return None
    function = _recorded(step, (ref,), output)
    return CellWise(step.index, (compiler.change_of(ref),), output, (form,), form, ref, lambda x: function([x]))


def _constants_fit(step: Step, form: Form) -> bool:
    """Whether no constant of the step has rows and columns of its own."""
    return all(_fits(constant, form) for constant in _tensors(step))


def _fits(constant: Tensor, form: Form) -> bool:
    shape = (1,) * (len(form.shape) - constant.dim()) + tuple(constant.shape)
    return form.dims is None or constant.dim() < 2 or all(shape[d] == 1 for d in form.dims)


def _along(position: int, default: Any) -> _Rule:
    """A function along one axis is one of a cell where that axis is not a spatial one."""

    def rule(compiler: _Compiler, step: Step, output: Ref) -> _Made:
        form = compiler.source(step)[1]
        dim = _argument(step, position, "dim", default)
        if not isinstance(dim, int) or dim % len(form.shape) in (0, *(form.dims or ())):
            return None
        return _cellwise(compiler, step, output)

    return rule


def _layer_norm(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    form = compiler.source(step)[1]
    first = len(form.shape) - len(_argument(step, 1, "normalized_shape"))
    return None if first <= max(form.dims or (0,)) else _cellwise(compiler, step, output)


def _max_pool(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref, form = compiler.source(step)
    if form.dims != (2, 3) or step.shape is None:
        return None
    kernel, stride, padding, dilation = window_of(step)
    taps = tuple(map(Taps, kernel, stride, padding, dilation))
    made = MaxPool(
        step.index,
        (compiler.change_of(ref),),
        output,
        (form,),
        Form(step.shape, (2, 3)),
        (taps[0], taps[1]),
        ref,
        output,
    )
    before = compiler.made.get(compiler.change_of(ref))
    if isinstance(before, Rectify) and before.output == ref and compiler.only_here(ref):
        return _pooled_first(compiler, step, before, made)
    return made


def _pooled_first(compiler: _Compiler, step: Step, rectify: Rectify, pool: MaxPool) -> Operation:
    """The largest rectified value is the rectified largest value."""
    middle, raw = Ref(step.index, -1), rectify.clean_source
    function = _recorded(step, (rectify.output,), pool.output)
    compiler.derived[middle] = (raw, lambda x: function([x]))
    del compiler.made[rectify.output]
    compiler.forms[middle] = pool.form
    compiler.made[middle] = replace(pool, sources=rectify.sources, output=middle, clean_source=raw, clean_output=middle)
    return replace(
        rectify, index=step.index, sources=(middle,), output=pool.output, forms=(pool.form,), form=pool.form,
        clean_source=middle,
    )  # fmt: skip


def _avg_pool(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref, form = compiler.source(step)
    if form.dims != (2, 3) or step.shape is None:
        return None
    kernel, stride, padding, _ = window_of(step)
    taps = tuple(map(Taps, kernel, stride, padding))
    made = Form(step.shape, (2, 3))
    divisor = _divisor(step, taps, form.size, made.size)
    return AveragePool(step.index, (compiler.change_of(ref),), output, (form,), made, (taps[0], taps[1]), divisor)


def _divisor(
    step: Step, taps: tuple[Taps, ...], before: tuple[int, int], after: tuple[int, int]
) -> tuple[Tensor, Tensor] | float:
    """How many cells each mean was taken over: one number, or one for each row times one for each column."""
    fixed = _argument(step, 6, "divisor_override")
    if fixed is not None:
        return float(fixed)
    counts_padding = _argument(step, 5, "count_include_pad", True)
    if counts_padding and not _argument(step, 4, "ceil_mode", False):
        return float(taps[0].kernel * taps[1].kernel)
    rows, columns = (_counted(t, b, a, counts_padding) for t, b, a in zip(taps, before, after, strict=True))
    return rows, columns


def _counted(taps: Taps, before: int, after: int, with_padding: bool) -> Tensor:
    around = taps.padding if with_padding else 0
    first = torch.arange(after) * taps.stride - taps.padding
    last = first + taps.kernel
    return (last.clamp(max=before + around) - first.clamp(min=-around)).double()


def _adaptive_avg(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref, form = compiler.source(step)
    if form.dims != (2, 3) or step.shape is None:
        return None
    if step.shape == form.shape:
        return compiler.change_of(ref)
    if step.shape[2:] != (1, 1):
        return None
    return SpatialMean(step.index, (compiler.change_of(ref),), output, (form,), Form(step.shape, (2, 3)))


def _mean(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref, form = compiler.source(step)
    dims = _argument(step, 1, "dim")
    chosen = {d % len(form.shape) for d in ((dims,) if isinstance(dims, int) else dims or ())}
    if form.dims is None or step.shape is None or chosen != set(form.dims):
        return None
    kept = len(step.shape) == len(form.shape)
    return SpatialMean(
        step.index, (compiler.change_of(ref),), output, (form,), Form(step.shape, form.dims if kept else None)
    )


def _add(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    return _sum(compiler, step, output, 1)


def _subtract(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    return _sum(compiler, step, output, -1)


def _sum(compiler: _Compiler, step: Step, output: Ref, sign: int) -> _Made:
    first, second = step.args[0], _argument(step, 1, "other")
    if _argument(step, 2, "alpha", 1) != 1 or step.shape is None:
        return None
    if isinstance(first, Ref) and isinstance(second, Ref):
        return _sum_of_two(compiler, step, output, sign)
    ref, form = compiler.source(step)
    if form.shape != step.shape:
        return None
    if isinstance(first, Ref) or sign == 1:
        return compiler.change_of(ref)  # a constant does not change
    return Scale(step.index, (compiler.change_of(ref),), output, (form,), form, -1.0)


def _sum_of_two(compiler: _Compiler, step: Step, output: Ref, sign: int) -> _Made:
    refs = [step.args[0], _argument(step, 1, "other")]
    forms = [compiler.forms[ref] for ref in refs]
    if forms[0] != forms[1] or forms[0].shape != step.shape:
        return None
    if sign == 1:
        refs.sort(
            key=lambda ref: -compiler.change_of(ref).step
        )  # the younger one reaches further, and may be overwritten
    sources = tuple(map(compiler.change_of, refs))
    return Add(step.index, sources, output, tuple(forms), forms[0], sign)


def _multiply(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    first, second = step.args[0], _argument(step, 1, "other")
    if isinstance(first, Ref) and isinstance(second, Ref):
        forms = (compiler.forms[first], compiler.forms[second])
        if forms[0] != forms[1] or forms[0].shape != step.shape:
            return None
        sources = (compiler.change_of(first), compiler.change_of(second))
        return Multiply(step.index, sources, output, forms, forms[0], (first, second))
    ref, form = compiler.source(step)
    factor = second if isinstance(first, Ref) else first
    if form.shape != step.shape or (isinstance(factor, Tensor) and not _fits_all(factor, form)):
        return None
    return Scale(step.index, (compiler.change_of(ref),), output, (form,), form, factor)


def _fits_all(factor: Tensor, form: Form) -> bool:
    shape = (1,) * (len(form.shape) - factor.dim()) + tuple(factor.shape)
    return form.dims is None or all(shape[d] == 1 for d in form.dims)


def _divide(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    divisor = _argument(step, 1, "other")
    ref, form = compiler.source(step) if len(set(step.refs)) == 1 else (Ref(0), compiler.forms[Ref(0)])
    if isinstance(divisor, Ref) or not isinstance(step.args[0], Ref) or form.shape != step.shape:
        return None
    if step.kwargs.get("rounding_mode") or (isinstance(divisor, Tensor) and not _fits_all(divisor, form)):
        return None
    return Scale(step.index, (compiler.change_of(ref),), output, (form,), form, 1 / divisor)


def _negate(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref, form = compiler.source(step)
    return Scale(step.index, (compiler.change_of(ref),), output, (form,), form, -1.0)


def _concatenate(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    refs, shape = step.args[0], compiler.shape(step, output)
    dim = _argument(step, 1, "dim", 0)
    if not all(isinstance(ref, Ref) for ref in refs) or not isinstance(dim, int):
        return None
    forms = tuple(compiler.forms[ref] for ref in refs)
    places = {form.dims for form in forms}
    dim %= len(shape)
    if len(places) != 1 or len({form.size for form in forms}) != 1 or dim in (0, *(forms[0].dims or ())):
        return None
    sources = tuple(map(compiler.change_of, refs))
    return Concatenate(step.index, sources, output, forms, Form(shape, forms[0].dims), dim)


def _linear(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    weight = _argument(step, 1, "weight")
    ref, form = compiler.source(step)
    if not isinstance(weight, Tensor) or form.shape[0] != 1 or len(form.shape) - 1 in (form.dims or ()):
        return None
    shape = compiler.shape(step, output)
    return Linear(step.index, (compiler.change_of(ref),), output, (form,), Form(shape, form.dims), weight.detach())


def _rearranged(compiler: _Compiler, step: Step, output: Ref, dims: Dims | None) -> _Made:
    """The recorded call on tiles: it must not name a size, and must leave the images where they are."""
    if dims is None:
        return None
    ref, form = compiler.source(step)
    function = _recorded(step, (ref,), output)
    shape = compiler.shape(step, output)
    made = Form(shape, dims)
    if shape[0] != 1 or made.size != form.size:
        return None
    return Rearrange(step.index, (compiler.change_of(ref),), output, (form,), made, lambda x: function([x]))


def _moved(form: Form, order: list[int]) -> Dims | None:
    if form.dims is None or order[0] != 0:
        return None
    return (order.index(form.dims[0]), order.index(form.dims[1]))


def _permute(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    form = compiler.source(step)[1]
    given = step.args[1] if len(step.args) == 2 and isinstance(step.args[1], tuple | list) else step.args[1:]
    given = tuple(given) or tuple(step.kwargs.get("dims", ()))
    return _rearranged(compiler, step, output, _moved(form, [d % len(form.shape) for d in given]))


def _transpose(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    form = compiler.source(step)[1]
    order = list(range(len(form.shape)))
    a, b = (_argument(step, i, f"dim{i - 1}") % len(order) for i in (1, 2))
    order[a], order[b] = order[b], order[a]
    return _rearranged(compiler, step, output, _moved(form, order))


def _unsqueeze(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    form, shape = compiler.source(step)[1], compiler.shape(step, output)
    dim = _argument(step, 1, "dim") % len(shape)
    if form.dims is None or dim == 0:
        return None
    rows, columns = (d + (d >= dim) for d in form.dims)
    return _rearranged(compiler, step, output, (rows, columns))


def _pieces(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    """Chunks or splits along channels."""
    form = compiler.source(step)[1]
    dim = _argument(step, 2, "dim", 0) % len(form.shape)
    return None if dim in (0, *(form.dims or ())) else _rearranged(compiler, step, output, form.dims)


def _pick(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    """`x[:, 3]`, `x[:, :8]`: whole rows and columns of some channels."""
    form = compiler.source(step)[1]
    key = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    if form.dims is None or not all(isinstance(k, int | slice) for k in key):
        return None
    untouched = (0, *form.dims)
    if any(key[d] != slice(None) for d in untouched if d < len(key)):
        return None
    gone = [d for d, k in enumerate(key) if isinstance(k, int)]
    rows, columns = (d - sum(g < d for g in gone) for d in form.dims)
    return _rearranged(compiler, step, output, (rows, columns))


def _regroup(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    """Channels split into groups or joined again, while rows and columns stay the last two axes."""
    ref, form = compiler.source(step)
    shape = compiler.shape(step, output)
    if form.shape == shape:
        return compiler.change_of(ref)
    last = (len(form.shape) - 2, len(form.shape) - 1)
    if form.dims != last or len(shape) < 4 or shape[0] != 1 or shape[-2:] != form.size:
        return None
    groups = shape[1:-2]

    def regrouped(x: Tensor) -> Tensor:
        cells = x.movedim((-2, -1), (1, 2)).reshape(len(x), x.shape[-2], x.shape[-1], *groups)
        return cells.movedim((1, 2), (-2, -1))

    made = Form(shape, (len(shape) - 2, len(shape) - 1))
    return Rearrange(step.index, (compiler.change_of(ref),), output, (form,), made, regrouped)


def _pad(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    ref, form = compiler.source(step)
    widths, mode = tuple(_argument(step, 1, "pad", ())), _argument(step, 2, "mode", "constant")
    if mode != "constant" or form.dims != (2, 3) or len(widths) not in (2, 4):
        return None
    left, _, top, _ = (*widths, 0, 0)[:4]
    made = Form(compiler.shape(step, output), (2, 3))
    return Pad(step.index, (compiler.change_of(ref),), output, (form,), made, (top, left))


def _depth(compiler: _Compiler, step: Step, output: Ref) -> _Made:
    return None if _argument(step, 3, "training", True) else _same(compiler, step, output)


_CELLWISE = (
    "leaky_relu prelu elu selu celu gelu silu mish hardswish hardsigmoid sigmoid tanh softplus softsign threshold "
    "logsigmoid abs exp log sqrt square pow erf sin cos reciprocal rsqrt clamp_max"
).split()
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_CELLWISE, _cellwise),
    **dict.fromkeys("contiguous clone detach identity".split(), _same),
    **dict.fromkeys("dropout dropout2d feature_dropout alpha_dropout".split(), _dropout),
    **dict.fromkeys("view reshape".split(), _regroup),
    "stochastic_depth": _depth, "conv2d": _convolution, "batch_norm": _batch_norm, "relu": _rectifier(0.0, None),
    "relu6": _rectifier(0.0, 6.0), "clamp": _clamp, "clamp_min": _clamp, "hardtanh": _clamp, "softmax": _along(1, None),
    "log_softmax": _along(1, None), "layer_norm": _layer_norm, "max_pool2d": _max_pool, "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_avg, "mean": _mean, "add": _add, "sub": _subtract, "mul": _multiply,
    "div": _divide, "truediv": _divide, "neg": _negate, "cat": _concatenate, "linear": _linear, "permute": _permute,
    "transpose": _transpose, "unsqueeze": _unsqueeze, "chunk": _pieces, "split": _pieces, "getitem": _pick,
    "flatten": _regroup, "pad": _pad,
}  # fmt: skip

__all__ = ["Program", "compiled", "replay"]
