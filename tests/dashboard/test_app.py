"""Every page opens with every shipped model: no exception, and no sentence of defeat.

The app is run as AppTest runs it, without a browser; what a picture looks like is the components' own tests' business.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import checkpoint
from dashboard import frame, views

APP = Path(__file__).resolve().parents[2] / "dashboard" / "app.py"
PAGES = [page.slug for page in views.pages()]
SECONDS = 120


@cache
def page_hashes() -> dict[str, str]:
    """Streamlit's own name for each page, by address: AppTest has no way to open a page that is a function."""
    app = AppTest.from_file(str(APP), default_timeout=SECONDS).run()
    return {str(info.get("url_pathname") or views.HOME): name for name, info in app._registered_pages.items()}


def opened(slug: str, **address: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=SECONDS)
    app._page_hash = page_hashes()[slug]
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


@pytest.mark.parametrize("model", list(checkpoint.MODELS))
@pytest.mark.parametrize("slug", PAGES)
def test_a_page_opens_with_a_model(slug: str, model: str) -> None:
    app = opened(slug, model=model)
    assert [problem.value for problem in app.exception] == []
    assert [problem.value for problem in app.error] == []
    assert app.selectbox(key="model").value == model


@pytest.mark.parametrize("slug", PAGES)
def test_a_page_opens_on_a_photo_in_a_network_for_digits(slug: str) -> None:
    app = opened(slug, picture="Coffee cup")
    assert [problem.value for problem in app.exception] == []


@pytest.mark.parametrize("slug", PAGES)
def test_a_page_keeps_what_was_chosen(slug: str) -> None:
    app = opened(slug, target="Class 3")
    app.selectbox(key="picture").set_value("5, MNIST train 0").run()
    assert [problem.value for problem in app.exception] == []
    assert app.selectbox(key="target").value == "Class 3"


def test_every_page_has_a_lede_and_a_place_of_its_own() -> None:
    places = [(page.section, page.order) for page in views.pages()]
    assert len(set(places)) == len(places)
    assert all(page.lede.endswith(".") for page in views.pages())
    assert views.pages()[0].home


def test_a_section_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="Start, Learn, See, Explain, Debug"):
        views.view("Title", section="Elsewhere")


def test_a_link_names_a_page_and_what_changes_there() -> None:
    assert frame.href("overview") == "./"
    assert frame.href("overview", target="Class 4") == "./?target=Class+4"
    assert frame.href("", present="") == "?present="


def test_a_caption_shows_text_as_text_and_sets_bold() -> None:
    assert frame.bold("**a** <b> & c") == "<b>a</b> &lt;b&gt; &amp; c"


def test_an_array_download_carries_its_manifest(tmp_path: Path) -> None:
    file = tmp_path / "maps.npz"
    file.write_bytes(frame.npz_bytes({"maps": np.arange(6.0).reshape(2, 3)}, {"method": "saliency", "path": tmp_path}))
    with np.load(file) as content:
        np.testing.assert_array_equal(content["maps"], np.arange(6.0).reshape(2, 3))
        assert b'"method": "saliency"' in content["manifest.json"]
