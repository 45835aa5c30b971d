"""From a click to the painted answer, in Chromium, against the real server: `python benchmarks/latency.py`.

Measured inside the page: from the browser's own event (the capture phase of pointerdown or keydown) to the frame after
the one in which the answer stands there: the server has finished the script, pictures are decoded, no skeleton is left,
and it has been so for three frames. Each action is first done twice unmeasured, because a page's scripts are fetched
when they are first needed.
The surprise: a hidden wait of Streamlit's own is in here too, where a widget waits for more keys before it answers.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dashboard import views
from tests.browser import chromium
from tests.browser.visit import BUSY, READY, Visit
from tests.serving import serving

TARGET = 150  # milliseconds, median
COLD_TARGET = 8.0  # seconds from the command to the first view painted
# Tells when the server says that a script has finished (field 6 of its messages): the mark on the page comes and goes
# between two frames when an answer is quick.
LISTEN = """
window.cnnvizRuns = 0;
const finished = bytes => {
  let at = 0;
  const varint = () => { let value = 0, shift = 0, byte;
    do { byte = bytes[at++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte > 127);
    return value; };
  while (at < bytes.length) {
    const tag = varint(), kind = tag % 8;
    if (Math.floor(tag / 8) === 6) return true;
    if (kind === 0) varint(); else if (kind === 2) { const size = varint(); at += size; } else at += kind === 1 ? 8 : 4;
  }
  return false;
};
window.WebSocket = class extends WebSocket {
  constructor(...all) {
    super(...all);
    this.addEventListener("message", event => {
      if (event.data instanceof ArrayBuffer && finished(new Uint8Array(event.data))) window.cnnvizRuns++;
    });
  }
};
"""
CLOCK = """([event, ready, busy]) => {
  window.cnnvizTime = new Promise(resolve => addEventListener(event, () => {
    const start = performance.now(), before = window.cnnvizRuns;
    let steady = 0;
    const look = () => {
      const painted = [...document.images].every(image => image.complete) && !document.querySelector(busy);
      steady = painted && window.cnnvizRuns > before && document.querySelector(ready) ? steady + 1 : 0;
      if (steady < 3 && performance.now() - start < 20000) requestAnimationFrame(look);
      else resolve(performance.now() - start);
    };
    requestAnimationFrame(look);
  }, {capture: true, once: true}));
}"""


@dataclass(frozen=True)
class Action:
    """Something a person does again and again on one page: `do(page, turn)` causes `event` once."""

    name: str
    path: str
    event: str
    do: Callable[[Page, int], None]


def readout(page: Page, turn: int) -> None:
    """Switch between logit and probability."""
    page.get_by_role("radio", name=("Prob.", "Logit")[turn % 2]).click()


def number(page: Page, turn: int) -> None:
    """Take the next picture of the class."""
    page.get_by_test_id("stNumberInputField").press("ArrowUp")


def layer(page: Page, turn: int) -> None:
    """Step to the next layer, and back at the end."""
    page.get_by_role("button", name=("next: layer", "previous: layer")[turn % 2]).click()


MNIST = "image=MNIST%2C+5%2C000+bundled+digits"
ACTIONS = (
    Action("Overview: read-out", "/", "pointerdown", readout),
    Action("Overview: next picture", f"/?{MNIST}", "keydown", number),
    Action("Feature maps: another layer", "/feature_maps", "pointerdown", layer),
    Action("Feature maps: next picture", f"/feature_maps?{MNIST}", "keydown", number),
    Action("Filters: read-out", "/filters", "pointerdown", readout),
    Action("Saliency: read-out", "/saliency", "pointerdown", readout),
)


def main() -> int:
    """Print one line for the start, one for each action, one for each page."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--url", help="a running dashboard (default: start one)")
    words.add_argument("--turns", type=int, default=11, help="how often each action is measured (default: %(default)s)")
    options = words.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.flags())
        began = time.perf_counter()
        with dashboard(options.url) as url:
            visit = Visit(browser.new_page(viewport={"width": 1440, "height": 900}), url)
            visit.page.set_default_timeout(15_000)
            visit.page.add_init_script(LISTEN)
            visit.go()
            if not options.url:
                print(f"{'from the command to the first view':44} {time.perf_counter() - began:7.1f} s", flush=True)
            for action in ACTIONS:
                tell(action.name, list(repeat(visit, action, options.turns)))
            for view in views.pages():
                tell(f"open {view.title}", list(turn_to(visit, view, options.turns)))
        browser.close()
    return 0


def repeat(visit: Visit, action: Action, turns: int) -> Iterator[float]:
    """Milliseconds of each turn but the first two, which only warm the page."""
    visit.go(action.path)
    for turn in range(turns + 2):
        taken = timed(visit, action.event, lambda turn=turn: action.do(visit.page, turn))
        if turn > 1:
            yield taken


def turn_to(visit: Visit, view: views.View, turns: int) -> Iterator[float]:
    """Milliseconds from the click in the menu to the page, coming from another page each time."""
    other = next(page for page in views.pages() if page.slug != view.slug)
    visit.go("/")
    for turn in range(turns + 1):
        choose(visit, other)
        taken = choose(visit, view)
        if turn:
            yield taken


def choose(visit: Visit, view: views.View) -> float:
    """Open a page by the menus; milliseconds from the click on its name (not from the one that unfolds the menu)."""
    name = re.compile(rf"{re.escape(view.title)}\s*$")
    if view.home:
        return timed(visit, "pointerdown", visit.page.get_by_test_id("stTopNavLink").filter(has_text=name).click)
    link = visit.page.get_by_test_id("stTopNavDropdownLink").filter(has_text=name)
    section = visit.page.get_by_test_id("stTopNavSection").filter(has_text=view.section)
    for _ in range(6):  # a click while the menu still folds away from before folds it for good
        visit.page.wait_for_timeout(400)
        if link.is_visible():
            break
        visit.page.mouse.move(700, 500)
        section.click()
    return timed(visit, "pointerdown", link.click)


def timed(visit: Visit, event: str, do: Callable[[], None]) -> float:
    """Milliseconds from the event that `do` causes to the painted answer; then the page is left to settle."""
    visit.page.evaluate(CLOCK, [event, READY, BUSY])
    do()
    taken = float(visit.page.evaluate("window.cnnvizTime"))
    visit.settle()
    return taken


def tell(name: str, times: list[float]) -> None:
    """One line of the table: median and slowest."""
    middle = statistics.median(times)
    verdict = "" if middle <= TARGET else f"   over {TARGET}"
    print(f"{name:44} {middle:7.0f} ms   slowest {max(times):5.0f} ms{verdict}", flush=True)


@contextmanager
def dashboard(url: str | None) -> Iterator[str]:
    """The address of a dashboard: the one given, or one started for the block."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder, serving("--port", "0", folder=Path(folder)) as served:
        yield served.url


if __name__ == "__main__":
    sys.exit(main())
