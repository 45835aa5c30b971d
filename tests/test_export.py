"""What is exported can be read back, and its Python makes the same map again."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz import METHODS, Class, Neuron, explained, export
from tests.attribution.nets import images, small

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "__import__('tests.attribution.nets', fromlist=['small']).small(mean=0.3, std=0.5)"
CASES = [
    ("saliency", Class(1), {}),
    ("smoothgrad", Class(1, "probability"), {"samples": 7, "seed": 3}),
    ("integrated_gradients", cnnviz.Difference(0, 2), {"steps": 12, "baseline": "blur"}),
    ("guided_grad_cam", [0, 2], {"layer": "conv1"}),
    ("guided_backprop", Neuron("conv2", 1, 2, 2), {}),
]


def model():
    return small(mean=0.3, std=0.5, name="small")


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """What every snippet prints, all run in one Python of their own that knows nothing of this one."""
    folder = tmp_path_factory.mktemp("export")
    for number, (method, target, options) in enumerate(CASES):
        answer = explained(method, model(), images(2), target, **options)
        with zipfile.ZipFile(
            io.BytesIO(export.bundle(answer, model(), images(2), source=SOURCE, stem=f"m{number}"))
        ) as z:
            z.extractall(folder)
    run = f"import runpy; [runpy.run_path(f'{folder}/m{{i}}.py') for i in range({len(CASES)})]"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [float(line.removeprefix("relative difference: ")) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_the_snippet_makes_the_map_again_to_1e_6(differences, number):
    assert len(differences) == len(CASES)
    assert differences[number] <= 1e-6


def test_the_snippet_refuses_another_model(tmp_path):
    answer = explained("saliency", model(), images(1), 1)
    text = export.snippet(answer, model(), source=SOURCE.replace("0.3", "0.4"))
    (tmp_path / "map.npz").write_bytes(export.npz(answer, images(1)))
    (tmp_path / "map.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "map.py")], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1 and "this is another model" in done.stderr


def test_the_numbers_keep_their_sign_and_their_image():
    answer = explained("saliency", model(), images(2), 1)
    saved = np.load(io.BytesIO(export.npz(answer, images(2))))
    assert np.array_equal(saved["values"], answer.values)
    assert np.array_equal(saved["images"], images(2).numpy())
    assert (saved["values"] < 0).any()


def test_the_manifest_says_what_the_numbers_are():
    answer = explained("guided_backprop", model(), images(1), 1)
    content = json.loads(export.manifest(answer, model(), images(1)))
    assert content["method"] == "guided_backprop" and content["target"] == "class:1"
    assert content["rectifiers"] == {"guided": {"ReLU": 2}, "left alone": {}}
    assert content["model"]["digest"] == model().digest and content["model"]["mean"] == [0.3]
    assert content["score"] == pytest.approx([float(model().scores(images(1))[0, 1])], abs=1e-6)
    assert content["remarks"] == list(answer.sentences)


@pytest.mark.parametrize("method", METHODS)
def test_every_map_can_be_drawn(method):
    answer = explained(method, model(), images(1), 1)
    picture = Image.open(io.BytesIO(export.png(answer)))
    assert picture.size == (224, 224)
    assert len(picture.convert("RGB").getcolors()) > 1


def test_a_shipped_model_is_opened_by_name():
    name = next(iter(cnnviz.MODELS))
    shipped = cnnviz.load(name)
    answer = explained("saliency", shipped, images(1, shipped.size), 1)
    assert f"model = cnnviz.load('{name}')" in export.snippet(answer, shipped)


def test_a_model_of_one_s_own_needs_its_source_and_says_so():
    answer = explained("saliency", model(), images(1), 1)
    with pytest.raises(cnnviz.errors.CnnvizError, match="give source="):
        export.snippet(answer, model())


def test_images_of_another_map_are_refused():
    answer = explained("saliency", model(), images(2), 1)
    with pytest.raises(cnnviz.errors.CnnvizError, match="are not those of maps"):
        export.npz(answer, images(1))
