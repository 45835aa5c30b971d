"""One browser tab on the dashboard, and everything that went wrong in it.

A `Visit` writes down, from its first request on, the console's errors, requests that failed or left this machine, and
error boxes on the page; `trouble()` tells them and the `open_page` fixture fails the test on any. Wait with `settle()`,
never with a sleep: it returns when the connection stands, the script has finished, and every picture is painted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, Request

READY = "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
BUSY = "[data-testid=stSkeleton], [data-testid=stAppSkeleton], [data-testid=stSpinner]"
BOXES = "[data-testid=stException], [data-testid=stAlertContentError]"

# Under a page's own address Streamlit's script first asks /page/_stcore/... and gets a 404, then asks the right place.
HARMLESS = (re.compile(r"Failed to load resource.*404.*/_stcore/(health|host-config)"),)

# axe's findings in Streamlit's own widgets: (rule, the widget it is found in) -> why it is not ours to mend.
STREAMLITS_OWN = {
    ("svg-img-alt", "[data-testid=stMetric]"): "the sparkline of st.metric(chart_data=) has no text alternative",
    ("color-contrast", "[data-testid=stJson]"): "the colour of strings in st.json is too pale in the light theme",
    ("presentation-role-conflict", "[data-testid=stFileUploader]"): "the drop zone of st.file_uploader has two roles",
}
AXE_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

_STEADY = """([ready, busy]) => {
  const painted = [...document.images].every(image => image.complete);
  const quiet = painted && document.querySelector(ready) && !document.querySelector(busy);
  if (!quiet) { window.cnnvizQuietSince = undefined; return false; }
  window.cnnvizQuietSince ??= performance.now();
  return performance.now() - window.cnnvizQuietSince > 300;   // a slider waits 200 ms before it tells the server
}"""


@dataclass
class Visit:
    """A tab. `page` is Playwright's; the rest is what a test of this dashboard says most often."""

    page: Page
    url: str
    notes: list[str] = field(default_factory=list)
    allowed: list[re.Pattern[str]] = field(default_factory=lambda: list(HARMLESS))

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.notes.append(f"uncaught in the page: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._outside)

    def go(self, path: str = "/", query: str = "") -> "Visit":
        """Open an address of the dashboard and settle."""
        self.page.goto(f"{self.url}{path}" + (f"?{query}" if query else ""), timeout=60_000)
        return self.settle()

    def settle(self, seconds: float = 60) -> "Visit":
        """Wait until the page has been quiet for 0.3 s: connected, script finished, no skeleton, pictures loaded."""
        self.page.evaluate("window.cnnvizQuietSince = undefined")
        self.page.wait_for_function(_STEADY, arg=[READY, BUSY], timeout=seconds * 1000, polling=50)
        return self

    def click(self, text: str, role: Any = None) -> "Visit":
        """Click what has this visible text (or this role and name) and settle."""
        found = self.page.get_by_role(role, name=text) if role else self.page.get_by_text(text, exact=True)
        found.locator("visible=true").first.click()
        return self.settle()

    def press(self, key: str, times: int = 1) -> "Visit":
        """Press a key on what has the focus, and settle."""
        for _ in range(times):
            self.page.keyboard.press(key)
        return self.settle()

    def widget(self, key: str) -> Locator:
        """The widget that was made with this `key=`."""
        return self.page.locator(f".st-key-{key}")

    def see(self, text: str | re.Pattern[str]) -> Locator:
        """Wait for visible text, and return where it stands."""
        found = self.page.get_by_text(text).locator("visible=true").first
        found.wait_for()
        return found

    @property
    def query(self) -> str:
        """What stands behind the ? of the address now."""
        return urlsplit(self.page.url).query

    def allow(self, pattern: str) -> "Visit":
        """Trouble that this test means to cause."""
        self.allowed.append(re.compile(pattern))
        return self

    def trouble(self) -> list[str]:
        """Everything that went wrong so far, except what was allowed."""
        boxes = [f"error box: {text}" for text in self.page.locator(BOXES).all_inner_texts()]
        return [note for note in self.notes + boxes if not any(pattern.search(note) for pattern in self.allowed)]

    def axe(self) -> list[str]:
        """Accessibility violations of the page as it stands (WCAG 2.2 AA, best practice), less Streamlit's own."""
        options = {"runOnly": {"type": "tag", "values": list(AXE_RULES)}}
        violations = Axe().run(self.page, options=options).response["violations"]
        return [line for violation in violations for line in self._not_streamlits(violation)]

    def _not_streamlits(self, violation: dict[str, Any]) -> Iterator[str]:
        rule, what = violation["id"], f"{violation['id']} ({violation['impact']}): {violation['help']}"
        for node in violation["nodes"]:
            if not any(rule == theirs and self._within(node, widget) for theirs, widget in STREAMLITS_OWN):
                yield f"{what}: {node['target']} {node['html'][:200]}"

    def _within(self, node: dict[str, Any], widget: str) -> bool:
        target = node["target"][0]
        if not isinstance(target, str):  # inside a shadow root: a component, so ours
            return False
        return bool(self.page.evaluate("([t, w]) => !!document.querySelector(t)?.closest(w)", [target, widget]))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.notes.append(f"console: {message.text} {message.location.get('url', '')}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page itself gave up on it, as when one leaves a page
            self.notes.append(f"failed request: {request.url} {request.failure}")

    def _outside(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != urlsplit(self.url).netloc:
            self.notes.append(f"request to the outside: {request.url}")
