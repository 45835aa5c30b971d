"""Maps of what in an image moved a number inside the network. One method, one file, found by looking in this folder.

Every method answers in the image's own pixels, in [0, 1]: the Model normalises inside. A gradient with respect to
normalised input, which most libraries give, is ours times the standard deviation of its channel.
"""

from importlib import import_module
from pkgutil import iter_modules

from cnnviz.attribution.explanation import Attribution, Explanation, Facts
from cnnviz.attribution.method import METHODS, Method, explain, explained, method
from cnnviz.attribution.options import Choice, LayerChoice, Option, Range, Switch

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

# the order of the public list, not of the folder; whatever else is in the folder follows
_FIRST = (
    "saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "guided_backprop", "deconvnet", "grad_cam",
    "guided_grad_cam", "occlusion",
)  # fmt: skip
for _name in [name for name in _FIRST if name in METHODS] + [name for name in METHODS if name not in _FIRST]:
    METHODS[_name] = METHODS.pop(_name)

__all__ = [
    "METHODS", "Attribution", "Choice", "Explanation", "Facts", "LayerChoice", "Method", "Option", "Range", "Switch",
    "explain", "explained", "method",
]  # fmt: skip
