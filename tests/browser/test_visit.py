"""The visitor itself: it must see trouble when there is some, and wait when there is something to wait for."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.browser.visit import Visit
from tests.serving import Served, serving

PAGE = """
import time
import streamlit as st

speak = st.components.v2.component("speak", js=\"\"\"
export default ({data}) => { if (data === "console") console.error("said aloud"); else throw new Error("thrown") }
\"\"\")
st.title("A page")
match st.query_params.get("do"):
    case "fail":
        raise ValueError("only for the log")
    case "console" | "throw" as what:
        speak(key="speak", data=what)
    case "outside":
        st.markdown("![a picture](http://elsewhere.invalid/a.png)")
    case "missing":
        st.html('<img alt="nothing" src="/media/nothing.png">')
    case "unlabelled":
        st.html('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">')
    case "theirs":
        st.json({"a": "string"})
        st.file_uploader("A file")
        st.metric("A number", 3, chart_data=[1, 2, 3])
if st.button("Slow"):
    time.sleep(1.5)
    st.markdown("at last")
if value := st.slider("Value", 0, 10, 0):
    st.markdown(f"value is {value}")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page above in place of the dashboard."""
    folder = tmp_path_factory.mktemp("visit")
    (folder / "page.py").write_text(PAGE)
    with serving("--port", "0", folder=folder, pages=folder / "page.py") as served:
        yield served


@pytest.mark.parametrize(
    ("what", "noted"),
    [
        ("fail", "error box: "),
        ("console", "console: said aloud"),
        ("throw", "thrown"),
        ("outside", "elsewhere.invalid"),
        ("missing", "404"),
    ],
)
def test_trouble_is_written_down(open_page: Callable[..., Visit], what: str, noted: str) -> None:
    visit = open_page("/", f"do={what}")
    assert noted in "\n".join(visit.trouble())
    visit.allow(".")


def test_a_quiet_page_has_no_trouble_and_no_violations(open_page: Callable[..., Visit]) -> None:
    for dark in (False, True):
        visit = open_page("/", dark=dark)
        visit.see("A page")
        assert visit.trouble() == []
        assert visit.axe() == []


def test_a_picture_without_words_is_a_violation(open_page: Callable[..., Visit]) -> None:
    assert "image-alt" in "\n".join(open_page("/", "do=unlabelled").axe())


def test_what_streamlit_itself_does_is_passed_over(open_page: Callable[..., Visit]) -> None:
    assert open_page("/", "do=theirs").axe() == []


def test_settling_waits_for_a_slow_page(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/").click("Slow")
    assert visit.page.get_by_text("at last").count() == 1


def test_settling_waits_for_a_slider(open_page: Callable[..., Visit]) -> None:
    visit = open_page("/")
    visit.page.get_by_role("slider").focus()
    visit.press("ArrowRight", times=3)
    assert visit.page.get_by_text(re.compile("value is 3")).count() == 1
