"""Run a network once and keep what happened at its layers.

The network is shared by every thread of the program, so nothing about one call may live in it. Hooks are placed once,
by `instrument`, on a private twin; each asks a context variable for the call's own `Trace` and does nothing when there
is none. Operations called by hand in a `forward` (`F.relu`, `torch.flatten`, `x + y`) are seen by the same `Trace`,
which is also a thread-local function mode.

The surprise: PyTorch overwrites. A kept output followed by an in-place ReLU would show the ReLU's output, so what is
kept stays behind and a clone travels on; where the operation itself is in place, it runs on a clone and the result is
copied back, which keeps both the kept values and the gradient through them intact. An output that shares memory with
what went in (a view, a dropout that does nothing) is kept as a clone; should the network later overwrite that memory,
the pass runs once more with the sharing left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.overrides import TorchFunctionMode

_active: ContextVar[Trace | None] = ContextVar("cnnviz_trace", default=None)

# Operations that a reader of a `forward` would call a layer when they are written there by hand.
STEPS = frozenset(
    "relu relu6 leaky_relu prelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus "
    "clamp clamp_min threshold softmax log_softmax logsigmoid max_pool2d avg_pool2d adaptive_avg_pool2d "
    "adaptive_max_pool2d lp_pool2d interpolate pixel_shuffle pad dropout dropout2d feature_dropout batch_norm "
    "layer_norm group_norm instance_norm local_response_norm conv1d conv2d conv3d convolution conv_transpose2d linear "
    "matmul addmm flatten add mul cat mean scaled_dot_product_attention".split()
)
# Steps that are layers only between two tensors: `x + 3` and `x * 0.5` are arithmetic, not an addition of branches.
_BRANCHES = frozenset({"add", "mul"})
# Reshaping is a layer only where it flattens maps into vectors.
_RESHAPES = frozenset({"view", "reshape", "squeeze"})
_ALIASES = {"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "concat": "cat", "concatenate": "cat"}


class _ReachedLast(BaseException):  # not an Exception: a network that catches those must not catch this one
    """The last layer that was asked for has run; the rest of the pass is not needed."""


class Trace(TorchFunctionMode):
    """What one forward pass did: its scores, the layers it went through, and the outputs that it was asked to keep.

    `names` lists the layers in the order they ran. A module's output carries the module's dotted name, an operation
    called by hand its own name inside the owning module (`relu`, `layer1.0.add`); later uses of a name get `_1`, `_2`.
    `outputs` holds the layers of `keep`, attached to autograd and out of reach of later in-place operations.
    `scores` is the network's output, (N, K); it is missing after `until_kept`, which stops the pass once everything
    in `keep` has been seen.
    """

    scores: Tensor

    def __init__(self, keep: Collection[str] = (), *, until_kept: bool = False) -> None:
        super().__init__()
        self.keep = frozenset(keep)
        self._until_kept = until_kept
        self._leaves_sharing = False
        self._token: Token[Trace | None] | None = None
        self._start()

    def _start(self) -> None:
        """Forget what a pass has seen."""
        self.names: list[str] = []
        self.outputs: dict[str, Tensor] = {}
        self._missing = set(self.keep) if self._until_kept and self.keep else None
        self._inside: list[_Frame] = []
        self._uses: Counter[str] = Counter()
        self._taken: set[str] = set()
        self._last: Tensor | None = None
        # what an in-place operation made: id of its tensor: the tensor, its version then, and the clone that was kept
        self._in_place: dict[int, tuple[Tensor, int, Tensor]] = {}
        self._separated: list[tuple[Tensor, int]] = []  # outputs that shared memory until they were kept, and version

    def run(self, network: nn.Module, images: Tensor) -> Trace:
        """Trace one pass of an instrumented network over `images` (N, C, H, W), as the network wants them."""
        try:
            with self:
                self.scores = network(images)
        except _ReachedLast:
            pass
        if any(output._version != version for output, version in self._separated):
            self._leaves_sharing = True
            self._start()
            return self.run(network, images)
        self._in_place.clear()
        self._separated.clear()
        self._last = None
        return self

    def __enter__(self) -> Trace:
        self._token = _active.set(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _active.reset(self._token)
        super().__exit__(kind, value, traceback)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._overwrites_kept(function, args, kwargs):
            output = self._run_in_place(function, args, kwargs)
        else:
            output = function(*args, **kwargs)
        self.saw(function, args, kwargs, output)
        if not isinstance(output, Tensor) or not self._inside or self._inside[-1].is_leaf:
            return output
        step = step_name(function)
        if not _is_layer(step, args, kwargs, output):
            return output
        name = "flatten" if step in _RESHAPES else step
        return self._record(f"{self._inside[-1].name}.{name}".lstrip("."), output, inputs=(args, kwargs))

    def saw(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Called for every tensor operation of the pass; a `Tape` writes it down."""

    def named(self, name: str, output: Tensor, module: nn.Module | None, inputs: Any) -> None:
        """Called for every layer once its name is known; a `Tape` writes it down."""

    def _overwrites_kept(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if not (self.keep and self._inside and isinstance(_first(args, kwargs), Tensor)):
            return False
        frame = self._inside[-1]
        name = frame.name if frame.is_leaf else f"{frame.name}.{step_name(function)}".lstrip(".")
        return self._numbered(name) in self.keep and writes_in_place(function, args, kwargs)

    def _run_in_place(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an in-place operation beside its tensor, then copy: what is kept is never written to again."""
        target = _first(args, kwargs)
        if target.is_inference() or (target.is_leaf and target.requires_grad):
            return function(*args, **kwargs)  # no gradient to look after; or PyTorch refuses this in its own words
        beside = target.clone()
        args, kwargs = ((beside, *args[1:]), kwargs) if args else (args, kwargs | {"input": beside})
        result = function(*args, **kwargs)
        if result is not beside:
            return result
        target.copy_(beside)
        self._in_place[id(target)] = (target, target._version, beside)
        return target

    def _record(self, name: str, output: Tensor, module: nn.Module | None = None, *, inputs: Any) -> Tensor:
        numbered = self._numbered(name)
        self._uses[name] += 1
        self._taken.add(numbered)
        self.names.append(numbered)
        self.named(numbered, output, module, inputs)
        self._last = self._keep(numbered, output, inputs) if numbered in self.keep else output
        return self._last

    def _numbered(self, name: str) -> str:
        uses = self._uses[name]
        numbered = f"{name}_{uses}" if uses else name
        while numbered in self._taken:  # a module may be called what a second use of another would be called
            uses += 1
            numbered = f"{name}_{uses}"
        return numbered

    def _keep(self, name: str, output: Tensor, inputs: Any) -> Tensor:
        target, version, beside = self._in_place.get(id(output), (None, 0, output))
        if target is output and output._version == version:
            self.outputs[name] = beside
            travels = output
        elif not output.requires_grad:
            self.outputs[name] = output.clone()
            travels = output
        elif not _shares_memory(output, inputs):
            self.outputs[name] = output
            travels = output.clone()
        elif self._leaves_sharing:
            self.outputs[name] = output.clone()
            with _unsafe_preserve_version_counter(output):  # the numbers stay what they were
                travels = output.copy_(self.outputs[name])
        else:
            self._separated.append((output, output._version))
            self.outputs[name] = output.clone()
            travels = self.outputs[name].clone()
        if self._missing is not None:
            self._missing.discard(name)
            if not self._missing:
                raise _ReachedLast
        return travels

    def _enter_module(self, frame: _Frame) -> None:
        self._inside.append(frame)

    def _leave_module(self, frame: _Frame, module: nn.Module, inputs: Any, output: Any) -> Any:
        while self._inside.pop() is not frame:
            pass  # a module inside failed, and the network went on without it
        # a container is a layer only where it does a step of its own after its last inner layer
        if not frame.name or not isinstance(output, Tensor) or (not frame.is_leaf and output is self._last):
            return None
        return self._record(frame.name, output, module, inputs=inputs)


class _Frame:
    """A module that is running: its dotted name, and whether it is a layer by itself."""

    __slots__ = ("is_leaf", "name")

    def __init__(self, name: str, is_leaf: bool) -> None:
        self.name = name
        self.is_leaf = is_leaf


def step_name(function: Callable[..., Any]) -> str:
    """The plain name of a tensor operation: `relu` for `F.relu`, `torch.relu`, `Tensor.relu_`, `aten.relu.default`."""
    name: str = getattr(function, "__name__", "").split(".")[0].strip("_")
    return _ALIASES.get(name, name)


def writes_in_place(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this call overwrites its first argument: `relu_`, `+=`, `F.relu(x, inplace=True)`."""
    name: str = getattr(function, "__name__", "").split(".")[0]
    if name.startswith("__"):
        return name.startswith("__i") and name not in {"__invert__", "__index__", "__int__"}
    return (
        (name.endswith("_") and step_name(function) in STEPS)
        or kwargs.get("inplace") is True
        or _inplace_by_position(name, args)
    )


# where `inplace` stands when it is given by position: F.relu(x, True), F.hardtanh(x, 0, 6, True)
_INPLACE_POSITION = {
    "relu": 1, "relu6": 1, "silu": 1, "mish": 1, "hardswish": 1, "hardsigmoid": 1, "selu": 1, "elu": 2, "celu": 2,
    "leaky_relu": 2, "threshold": 3, "hardtanh": 3, "dropout": 3, "dropout2d": 3,
}  # fmt: skip


def _inplace_by_position(name: str, args: tuple[Any, ...]) -> bool:
    position = _INPLACE_POSITION.get(name, len(args))
    return len(args) > position and args[position] is True


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The tensor that an operation works on: its first argument, which may be named `input`."""
    return args[0] if args else kwargs.get("input")


def _shares_memory(output: Tensor, inputs: Any) -> bool:
    return output._is_view() or any(_memory(tensor) == _memory(output) for tensor in tensors_in(inputs))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def _is_layer(step: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> bool:
    if step not in STEPS and step not in _RESHAPES:
        return False
    first = _first(args, kwargs)
    before = first.dim() if isinstance(first, Tensor) else 0
    if step in _BRANCHES:
        other = args[1] if len(args) > 1 else kwargs.get("other")
        return isinstance(other, Tensor) and other.dim() == before > 1
    if step in _RESHAPES:
        return output.dim() == 2 < before
    return step != "mean" or 1 < output.dim() < before == 4


def _enter(frame: _Frame, module: nn.Module, inputs: Any) -> None:
    trace = _active.get()
    if trace is not None:
        trace._enter_module(frame)


def _leave(frame: _Frame, module: nn.Module, inputs: Any, output: Any) -> Any:
    trace = _active.get()
    return None if trace is None else trace._leave_module(frame, module, inputs, output)


def instrument(network: nn.Module) -> nn.Module:
    """Place the hooks, once, on a network that nobody else holds; returns the same network."""
    for name, module in network.named_modules(remove_duplicate=True):
        if "parametrizations" in name.split("."):
            continue  # how a weight is computed is no layer
        frame = _Frame(name, bool(name) and is_leaf(module))
        module.register_forward_pre_hook(partial(_enter, frame))
        module.register_forward_hook(partial(_leave, frame))
    return network


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no layers inside; a reparametrised weight (weight norm, spectral norm) is none."""
    return all(name == "parametrizations" for name, _ in module.named_children())
