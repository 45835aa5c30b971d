"""Fixtures of the browser tests.

    def test_the_filters_of_a_layer_are_a_link(open_page):
        visit = open_page("/filters", "layer=conv2", dark=True)
        visit.see("conv2")
        assert visit.axe() == []

`open_page` gives a fresh visitor each time it is called (no cookies, no state), on the dashboard that `server` serves.
At the test's end every visit must have been free of trouble (see `tests/browser/visit.py`); a failed test leaves its
screenshots in test-results/.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import chromium
from tests.browser.visit import Visit
from tests.serving import ROOT, Served

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Remember whether the test failed, so that `open_page` can leave a picture of it."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium for the whole session; without one, every test that asks for it fails with the reason."""
    try:
        path = chromium.find()
    except FileNotFoundError as reason:
        pytest.fail(str(reason), pytrace=False)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=chromium.flags())
        yield started
        started.close()


@pytest.fixture
def open_page(request: pytest.FixtureRequest, browser: Browser, server: Served) -> Iterator[Callable[..., Visit]]:
    """Open `path` with `query` as a new visitor: `open_page("/filters", "layer=conv2", width=1024, dark=True)`."""
    visits: list[Visit] = []

    def opening(path: str = "/", query: str = "", *, width: int = 1440, height: int = 900, **how: Any) -> Visit:
        scheme = "dark" if how.pop("dark", False) else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **how)
        visits.append(Visit(context.new_page(), server.url))
        return visits[-1].go(path, query)

    yield opening
    if request.node.stash.get(FAILED, True):
        _take_pictures(request.node.name, visits)
    trouble = [line for visit in visits for line in visit.trouble()]
    for visit in visits:
        visit.page.context.close()
    assert trouble == []


def _take_pictures(name: str, visits: list[Visit]) -> None:
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    stem = re.sub(r"[^\w-]+", "_", name)
    for number, visit in enumerate(visits):
        visit.page.screenshot(path=folder / f"{stem}-{number}.png")
