"""How a rectifier passes its gradient back: plainly, or by a rule that makes a clearer picture.

A rule is installed on the ReLU *nodes of one call's autograd graph*, so it reaches every spelling (`nn.ReLU`, `F.relu`,
`x.relu()`, `clamp(min=0)`, ReLU6) and touches nothing that another thread could see.

The surprise: a node's name is not enough. A plain hardtanh from −1 to 1 and ReLU6 are the same node, and only the lower
bound that it saved tells which of them is a rectifier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

Node = Any  # torch.autograd.graph.Node, with the attributes that each kind of node saves
Rule = Callable[[Node, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rectifiers:
    """What a rule met on the way back: how many rectifiers of each kind, how many other activations it left alone."""

    guided: Mapping[str, int] = field(default_factory=dict)
    left_alone: Mapping[str, int] = field(default_factory=dict)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader of the map must know, one sentence each."""
        if not self.guided:
            found = (
                f"only {_listed(self.left_alone)}, which the rule leaves alone" if self.left_alone else "none at all"
            )
            return (f"No rectifier lies between the target and the image, {found}: this is the plain gradient.",)
        lines = [f"The rule was applied at {_listed(self.guided)}."]
        if self.left_alone:
            lines.append(f"No rule of the paper covers {_listed(self.left_alone)}: left alone.")
        return tuple(lines)


def plain(node: Node, passed: Tensor, arriving: Tensor) -> Tensor:
    """The gradient itself: what arrives passes where the rectifier was open."""
    return passed


def guided(node: Node, passed: Tensor, arriving: Tensor) -> Tensor:
    """Passes where the rectifier was open and what arrives is positive (Springenberg et al. 2014)."""
    return passed.clamp(min=0)


def deconvnet(node: Node, passed: Tensor, arriving: Tensor) -> Tensor:
    """Passes where what arrives is positive, whether or not the rectifier was open (Zeiler & Fergus 2013)."""
    return arriving.clamp(min=0)


def redirected(node: Node, passed: Tensor, arriving: Tensor) -> Tensor:
    """The gradient, but where a sample's is blocked entirely, what pushes the input back into the open range passes.

    For maximising a unit that does not fire yet (Olah et al. 2017).
    """
    blocked = (passed.flatten(1) == 0).all(1).view(-1, *[1] * (passed.dim() - 1))
    below, above = _outside(node)
    pushes = below * arriving.clamp(min=0) + above * arriving.clamp(max=0)
    return torch.where(blocked, pushes, passed)


RULES: Mapping[str, Rule] = MappingProxyType(
    {"plain": plain, "guided": guided, "deconvnet": deconvnet, "redirected": redirected}
)


def gradient(values: Tensor, inputs: Tensor, rule: Rule = plain) -> tuple[Tensor, Rectifiers]:
    """The gradient of the sum of `values` with respect to `inputs`, with `rule` at every rectifier in between.

    Consumes the graph of `values`. The plain rule looks at no node, so its counts are empty.
    """
    if rule is plain:
        return torch.autograd.grad(values.sum(), inputs)[0], Rectifiers()
    nodes = list(_graph(values.grad_fn))
    rectifiers = [node for node in nodes if _is_rectifier(node)]
    hooks = [node.register_hook(_hook(node, rule)) for node in rectifiers]
    try:
        (slopes,) = torch.autograd.grad(values.sum(), inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return slopes, count(nodes)


def count(nodes: list[Node]) -> Rectifiers:
    """The rectifiers and the other activations among the nodes of an autograd graph."""
    guided_kinds = Counter(_kind(node) for node in nodes if _is_rectifier(node))
    others = Counter(kind for node in nodes if not _is_rectifier(node) and (kind := _other_kind(node)))
    return Rectifiers(MappingProxyType(dict(guided_kinds)), MappingProxyType(dict(others)))


def _hook(node: Node, rule: Rule) -> Callable[[Any, Any], Any]:
    def pass_back(passed: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> Any:
        if passed[0] is None or arriving[0] is None:
            return None
        return (rule(node, passed[0], arriving[0]), *passed[1:])

    return pass_back


def _graph(root: Node | None) -> Iterator[Node]:
    seen: set[Node] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [earlier for earlier, _ in node.next_functions]


@dataclass(frozen=True)
class _Spelling:
    """One kind of node that is a rectifier when its lower bound is 0: where its bounds are, and what to call it."""

    name: str
    low: str | None = None
    high: str | None = None
    capped: str = ""


# A node of these kinds is a rectifier where the saved lower bound is 0. A threshold's fill value is not saved: its
# derivative is the same whatever is filled in.
_RECTIFIERS: Mapping[str, _Spelling] = MappingProxyType(
    {
        "ReluBackward0": _Spelling("ReLU"),
        "HardtanhBackward0": _Spelling("hardtanh", "_saved_min_val", "_saved_max_val", "ReLU6"),
        "ClampBackward1": _Spelling("clamp", "_saved_min", "_saved_max"),
        "ClampMinBackward0": _Spelling("clamp", "_saved_min"),
        "ThresholdBackward0": _Spelling("threshold", "_saved_threshold"),
        "ThresholdBackward1": _Spelling("threshold", "_saved_threshold"),
    }
)
# Activations for which the papers have no rule.
_OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "SiluBackward0": "SiLU", "GeluBackward0": "GELU", "LeakyReluBackward0": "LeakyReLU",
        "LeakyReluBackward1": "LeakyReLU", "EluBackward0": "ELU", "EluBackward1": "ELU", "CeluBackward0": "CELU",
        "PreluKernelBackward0": "PReLU", "SoftplusBackward0": "softplus", "HardswishBackward0": "hardswish",
        "HardsigmoidBackward0": "hardsigmoid", "MishBackward0": "Mish", "TanhBackward0": "tanh",
        "SigmoidBackward0": "sigmoid", "LogSigmoidBackward0": "log-sigmoid", "MaximumBackward0": "maximum",
        "RreluWithNoiseBackward0": "RReLU", "GluBackward0": "GLU", "HardshrinkBackward0": "hardshrink",
        "SoftshrinkBackward0": "softshrink", "ClampBackward0": "clamp",
    }
)  # fmt: skip

# Nodes that hide a whole piece of network, with whatever rectifiers are in it.
_OPAQUE = ("DifferentiableGraph", "CompiledFunction", "CheckpointFunction")


def _is_rectifier(node: Node) -> bool:
    spelling = _RECTIFIERS.get(node.name())
    return spelling is not None and (spelling.low is None or getattr(node, spelling.low) == 0)


def _kind(node: Node) -> str:
    spelling = _RECTIFIERS[node.name()]
    capped = spelling.capped and getattr(node, spelling.low or "") == 0 and getattr(node, spelling.high or "") == 6
    return spelling.capped if capped else spelling.name


def _other_kind(node: Node) -> str:
    """What to call an activation that no rule reaches; empty for a node that is no activation."""
    name: str = node.name()
    if any(part in name for part in _OPAQUE):
        return "compiled or checkpointed part"
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return f"function of its own ({name.removesuffix('Backward')})"
    return _kind(node) if name in _RECTIFIERS else _OTHERS.get(name, "")


def _outside(node: Node) -> tuple[Tensor, Tensor]:
    """Where the rectifier's input was below its open range, and where above it."""
    spelling = _RECTIFIERS[node.name()]
    value = node._saved_result if spelling.low is None else node._saved_self
    high = getattr(node, spelling.high) if spelling.high else None
    return value <= 0, value >= high if high is not None else torch.zeros_like(value, dtype=torch.bool)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
