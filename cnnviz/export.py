"""A map to keep: the picture, the signed numbers, what they are, and the lines of Python that make them again.

`bundle` puts all four into one zip. The surprise: a picture cannot be computed with. The PNG shows one value for each
pixel on a scale of its own; the .npz holds every channel with its sign, and the image that it belongs to.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from importlib import metadata

import numpy as np
import torch
from torch import Tensor

from cnnviz.attribution import METHODS, Explanation
from cnnviz.errors import ExplanationError
from cnnviz.model import Model

_SHORTEST_SIDE = 224  # a picture of 28 × 28 values is drawn with squares, not with dots
_SNIPPET = '''\
"""{title} of {target} on {model}: made again, and compared with the values beside this file."""

from pathlib import Path

import numpy as np
import torch

import cnnviz

saved = np.load(Path(__file__).with_name("{stem}.npz"))
model = {source}
if model.digest != "{digest}":
    raise SystemExit(f"this is another model: its digest is {{model.digest}}, not {digest}")
images = torch.from_numpy(saved["images"])  # (N, C, H, W), pixels in [0, 1]
target = {target_code}
values = cnnviz.explain("{method}", model, images, target{options})
difference = np.linalg.norm(values - saved["values"]) / (np.linalg.norm(saved["values"]) or 1)
print(f"relative difference: {{difference:.1e}}")
'''


def npz(explanation: Explanation, images: Tensor) -> bytes:
    """The signed values and their images (N, C, H, W), as a compressed .npz: `values`, `images`."""
    file = io.BytesIO()
    np.savez_compressed(file, values=explanation.values, images=_checked(explanation, images).numpy())
    return file.getvalue()


def png(explanation: Explanation, row: int = 0) -> bytes:
    """One map as a picture: of each pixel's channels the strongest, on the map's own scale, without blur."""
    from cnnviz.figures.pixels import map_png  # drawing is needed here only
    from cnnviz.figures.saliency import leading
    from cnnviz.figures.scales import scale_for

    pixels = leading(explanation.values[row])
    scale = scale_for(pixels[None], signed=explanation.signed)
    return map_png(pixels, scale, cell=max(1, _SHORTEST_SIDE // min(pixels.shape)))


def manifest(explanation: Explanation, model: Model, images: Tensor) -> str:
    """What the numbers are, as JSON: method, target, options, model, facts, versions, and a digest of the images."""
    facts, pixels = explanation.facts, _checked(explanation, images).numpy()
    found = facts.rectifiers
    content = {
        "method": explanation.method,
        "title": explanation.title,
        "paper": METHODS[explanation.method].paper,
        "target": explanation.target,
        "options": dict(explanation.options),
        "signed": explanation.signed,
        "values": {"shape": explanation.values.shape, "type": str(explanation.values.dtype), "pixels": "in [0, 1]"},
        "score": None if facts.score is None else [float(score) for score in facts.score],
        "rectifiers": None if found is None else {"guided": dict(found.guided), "left alone": dict(found.left_alone)},
        "completeness gap": None if facts.gap is None else [float(gap) for gap in facts.gap],
        "layer": facts.layer,
        "remarks": list(explanation.sentences),
        "model": {
            "name": model.name,
            "digest": model.digest,
            "size": model.size,
            "mean": model.mean,
            "std": model.std,
            "resize": model.resize,
        },
        "images": {"shape": pixels.shape, "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()},
        "versions": _versions(),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def snippet(explanation: Explanation, model: Model, *, source: str | None = None, stem: str = "map") -> str:
    """Python that makes the map again and compares it with `stem`.npz in its own folder.

    `source` is the Python expression that opens the model; models that `cnnviz.load` knows by name need none. Raises
    `ExplanationError` for another model without one.
    """
    return _SNIPPET.format(
        title=explanation.title,
        target=explanation.target,
        model=model.name.replace("\\", "/").replace('"', "'"),
        stem=stem,
        source=source or _source(model),
        digest=model.digest,
        target_code=_target_code(explanation.target),
        method=explanation.method,
        options="".join(f", {name}={value!r}" for name, value in explanation.options.items()),
    )


def bundle(
    explanation: Explanation, model: Model, images: Tensor, *, source: str | None = None, stem: str = "map"
) -> bytes:
    """A zip of the pictures, the numbers, the manifest and the Python: stem.png (or stem-0.png …), .npz, .json, .py."""
    count = len(explanation.values)
    files: dict[str, bytes | str] = {
        **{f"{stem}-{row}.png" if count > 1 else f"{stem}.png": png(explanation, row) for row in range(count)},
        f"{stem}.npz": npz(explanation, images),
        f"{stem}.json": manifest(explanation, model, images),
        f"{stem}.py": snippet(explanation, model, source=source, stem=stem),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _source(model: Model) -> str:
    from cnnviz.checkpoint import MODELS  # listing the shipped models reads their files

    if model.name in MODELS or model.name.startswith("torchvision:"):
        return f"cnnviz.load({model.name!r})"
    raise ExplanationError(
        f"{model.name} is not a model that cnnviz.load knows by name; give source=, the Python that opens it, "
        'such as cnnviz.load("weights.safetensors")'
    )


def _target_code(text: str) -> str:
    several = [f'cnnviz.parse_target("{one}")' for one in text.split("|")]
    return several[0] if len(several) == 1 else f"[{', '.join(several)}]"


def _checked(explanation: Explanation, images: Tensor) -> Tensor:
    shape, wanted = tuple(images.shape), explanation.values.shape
    if len(shape) != 4 or (shape[0], *shape[2:]) != (wanted[0], *wanted[2:]):
        raise ExplanationError(
            f"images of {shape} are not those of maps of {wanted}; give the ones that were explained"
        )
    return images.detach().cpu()


def _versions() -> dict[str, str]:
    try:
        own = metadata.version("cnnviz")
    except metadata.PackageNotFoundError:
        own = "run from its folder"
    return {"cnnviz": own, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
