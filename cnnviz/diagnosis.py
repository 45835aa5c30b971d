"""Why a map is blank, or means nothing: named, with what to do.

A black picture says "no pixel matters", and that is hardly ever the reason. `diagnose` looks at one pass over one image
and says what it finds: a ReLU behind the scores, a saturated probability, a silent neuron, a path that ends, a graph
that is cut, weights that are no numbers, input that is not what the network was trained on.

The surprise: a gradient that is exactly zero and a gradient that autograd cannot see are different things. Only the
first is an answer of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from cnnviz.attribution.gradient import leaf
from cnnviz.errors import ExplanationError
from cnnviz.model import Layer, Model
from cnnviz.tape import Step
from cnnviz.target import Channel, Class, Difference, Neuron, PerImage, Target, as_target
from cnnviz.trace import Trace

_RECTIFIERS = frozenset("relu relu6 clamp clamp_min threshold hardtanh".split())
_FLAT = 1e-3  # p (1 − p) below this: the probability's slopes are a thousandth of the logit's
_FAR = 4.0  # standard deviations between what batch norm was trained on and what it is given


@dataclass(frozen=True)
class Cause:
    """One reason for a map that is blank or means nothing: a key, what is the case, what to do."""

    name: str
    sentence: str
    remedy: str


def diagnose(model: Model, image: Tensor, target: Target | int) -> tuple[Cause, ...]:
    """The reasons found why maps of `target` on `image` (1, C, H, W) in [0, 1] are blank; empty when there is none.

    Raises `CnnvizError` for a target or an image that does not fit the model, as `explain` does.
    """
    model.check_images(image)
    if len(image) != 1:
        raise ExplanationError(f"diagnose looks at one image at a time, not {len(image)}; give images[:1]")
    wanted = as_target(target, 1)
    if isinstance(wanted, PerImage):
        wanted = wanted.targets[0]
    wanted.check(model)
    look = _Look(model, image, wanted)
    found = (check(look) for check in _CHECKS)
    return tuple(cause for cause in found if cause is not None)


class _Look:
    """One pass over one image with every layer kept, and what follows from it."""

    def __init__(self, model: Model, image: Tensor, target: Target) -> None:
        self.model, self.target = model, target
        with torch.inference_mode(False), torch.enable_grad():
            self.pixels = leaf(image.to(model.device, model.dtype))
            self.trace: Trace = model.trace(self.pixels, keep=[layer.name for layer in model.layers])
            self.value = target(self.trace)[0]

    @property
    def outputs(self) -> dict[str, Tensor]:
        return self.trace.outputs

    @cached_property
    def slopes(self) -> dict[str, Tensor | None]:
        """The target's gradient at every layer before it and, under "", at the pixels; None where it does not reach."""
        if not self.value.requires_grad:
            return {}
        attached = {name: output for name, output in self.outputs.items() if output.requires_grad}
        inputs = [*attached.values(), self.pixels]
        try:
            slopes = torch.autograd.grad(self.value, inputs, allow_unused=True)
        except RuntimeError:
            return {}
        return dict(zip([*attached, ""], slopes, strict=True))

    @cached_property
    def blank(self) -> bool:
        """Whether the gradient at the pixels exists and is zero everywhere."""
        slope = self.slopes.get("")
        return slope is not None and not bool(slope.any())

    @property
    def last_step(self) -> Step | None:
        """The operation that made the scores; unknown for a compiled network."""
        output = self.model.tape.output
        return None if output is None or output.step == 0 else self.model.tape.steps[output.step]

    def layer_before(self, step: Step) -> Layer | None:
        """The layer whose output the step reads."""
        if not step.refs:
            return None
        marks = [mark for mark in self.model.tape.marks if mark.at == step.refs[0]]
        return self.model.layer(marks[-1].layer) if marks else None


def _not_a_number(look: _Look) -> Cause | None:
    if bool(torch.isfinite(look.value)):
        return None
    broken = next((name for name, output in look.outputs.items() if not bool(torch.isfinite(output).all())), None)
    where = f"{broken} is the first layer whose output is not finite" if broken else "the scores are not finite"
    return Cause(
        "not a number",
        f"The target is not a finite number: {where}.",
        "Check the weights of that layer in the checkpoint, and the model's mean and std.",
    )


def _cut(look: _Look) -> Cause | None:
    is_refused = look.value.requires_grad and not look.slopes  # `explain` says why in autograd's words
    if is_refused or look.slopes.get("") is not None or _has_quantised(look.model):
        return None
    cut = next((name for name, output in look.outputs.items() if not output.requires_grad), None)
    where = f"{cut} is the first layer that is cut off" if cut else "it is cut off behind the last layer"
    return Cause(
        "cut graph",
        f"Autograd sees no way from the target to the image: {where}.",
        "Look there for detach(), .data, no_grad() or a comparison; or use occlusion, which needs no gradient.",
    )


def _quantised(look: _Look) -> Cause | None:
    if not _has_quantised(look.model):
        return None
    return Cause(
        "quantised",
        "The network is quantised: its weights are whole numbers, and no gradient passes through them.",
        "Open the network it was quantised from, or use occlusion, which needs no gradient.",
    )


def _compiled(look: _Look) -> Cause | None:
    if look.model.layers:
        return None
    return Cause(
        "compiled",
        "The network is compiled (TorchScript): its scores can be explained, its layers are not shown.",
        "Open the Python network with the same weights to explain a layer or a neuron.",
    )


def _relu_on_scores(look: _Look) -> Cause | None:
    step, index = look.last_step, _class_of(look.target)
    if step is None or step.name not in _RECTIFIERS or index is None or look.trace.scores[0, index] > 0:
        return None
    before = look.layer_before(step)
    stands = f" and stands at {_number(look.outputs[before.name][0, index])} before it" if before else ""
    instead = f'explain Channel("{before.name}", {index}) instead' if before else "take it away"
    return Cause(
        "ReLU on scores",
        f"The network ends in a ReLU: class {index} has score 0{stands}, so its gradient is exactly 0.",
        f"Take the last ReLU away and train again, or {instead}.",
    )


def _number(value: Tensor) -> str:
    return f"{float(value.detach()):.3g}".replace("-", "\N{MINUS SIGN}")


def _one_class(look: _Look) -> Cause | None:
    if len(look.model.classes) > 1 or getattr(look.target, "readout", "logit") == "logit":
        return None
    return Cause(
        "one class",
        "The network has one class, and the probability of the only class is always 1: nothing can change it.",
        "Explain the logit.",
    )


def _saturated(look: _Look) -> Cause | None:
    index = _class_of(look.target)
    if index is None or len(look.model.classes) == 1:
        return None
    step = look.last_step
    ends = step is not None and step.name == "softmax"
    if not ends and getattr(look.target, "readout", "logit") != "probability":
        return None
    scores = look.trace.scores[0].detach()
    chance = float(scores[index] if ends else scores.softmax(0)[index])
    if chance * (1 - chance) > _FLAT:
        return None
    instead = "Take the last softmax off, so that the network gives logits" if ends else "Explain the logit"
    return Cause(
        "saturated probability",
        f"The probability of class {index} is {chance:.6f}, where softmax is flat: slopes shrink by p (1 − p), here "
        f"{chance * (1 - chance):.1e}.",
        f"{instead}, or the log-probability when the probability is small.",
    )


def _silent(look: _Look) -> Cause | None:
    target = look.target
    if not isinstance(target, Neuron | Channel) or not look.blank or float(look.value.detach()) != 0:
        return None
    what = "neuron" if isinstance(target, Neuron) else "channel"
    return Cause(
        "silent neuron",
        f"The {what} does not fire on this image: its value in {target.layer} is 0, behind a rectifier.",
        "Choose the strongest cell of this image, another image, or the layer before the rectifier.",
    )


def _dead_path(look: _Look) -> Cause | None:
    if not look.blank or _silent(look) or _relu_on_scores(look) or _one_class(look):
        return None
    ends = [name for name, slope in look.slopes.items() if name and slope is not None and not bool(slope.any())]
    if not ends:
        return None
    last = ends[-1]
    dead = [name for name, output in look.outputs.items() if not bool(output.any())]
    why = f"; every value of {dead[0]} is 0 on this image" if dead else ""
    return Cause(
        "dead path",
        f"The gradient ends on its way back: behind {last} nothing arrives{why}.",
        "Try other images; if it is so on all of them, the layer is dead: train again with a lower learning rate.",
    )


def _far_from_training(look: _Look) -> Cause | None:
    """Compare what the first batch norm is given with the running statistics that training left in it."""
    found = next((pair for pair in _norms(look) if pair is not None), None)
    if found is None:
        return None
    name, distance = found
    if distance < _FAR:
        return None
    return Cause(
        "preprocessing",
        f"The input of batch norm {name} lies {distance:.0f} standard deviations from what it was trained on.",
        f"Check the model's mean {look.model.mean} and std {look.model.std} against those of its training.",
    )


def _out_of_range(look: _Look) -> Cause | None:
    low, high = float(look.pixels.detach().amin()), float(look.pixels.detach().amax())
    if low >= 0 and high <= 1:
        return None
    guess = "they look like 0 to 255: divide by 255" if high > 2 else "they look normalised already: undo that"
    return Cause(
        "pixel range",
        f"The pixels run from {low:.3g} to {high:.3g}, but images are in [0, 1] and the model normalises them.",
        f"Give pixels in [0, 1]; {guess}.",
    )


def _constant_image(look: _Look) -> Cause | None:
    pixels = look.pixels.detach()
    if float(pixels.amax() - pixels.amin()) > 0:
        return None
    return Cause(
        "constant image",
        "The image is one constant value: there is nothing in it for a map to point at.",
        "Check how the picture was read, and give one with something on it.",
    )


_CHECKS: Sequence[Callable[[_Look], Cause | None]] = (
    _not_a_number,
    _quantised,
    _compiled,
    _cut,
    _out_of_range,
    _constant_image,
    _far_from_training,
    _relu_on_scores,
    _one_class,
    _saturated,
    _silent,
    _dead_path,
)


def _class_of(target: Target) -> int | None:
    """The class that a target is about: the one that may be zero behind a ReLU."""
    if isinstance(target, Difference):
        return target.first
    return target.index if isinstance(target, Class) else None


def _has_quantised(model: Model) -> bool:
    return any("quantized" in type(module).__module__ for module in model.network.modules())


def _norms(look: _Look) -> list[tuple[str, float] | None]:
    marks = {mark.layer: mark for mark in look.model.tape.marks}
    return [_distance(look, layer, marks[layer.name].at.step) for layer in look.model.layers if layer.name in marks]


def _distance(look: _Look, layer: Layer, step: int) -> tuple[str, float] | None:
    """How many running standard deviations a batch norm's input lies from its running mean: the channels' median."""
    norm = layer.module
    before = look.layer_before(look.model.tape.steps[step])
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None or before is None:
        return None
    given = look.outputs[before.name][0].detach().flatten(1).mean(1)
    return layer.name, float(((given - norm.running_mean).abs() / (norm.running_var + norm.eps).sqrt()).median())
