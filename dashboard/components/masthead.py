"""The head of every page: the section's pages, the title with its lede, Copy link and Present.

Its script also gives the browser its Back button: Streamlit *replaces* the address when a bound widget changes, so a
choice would leave no trace in the history. The surprise: it lives in the page, not in an iframe, and its listeners are
placed once and serve every link marked `data-go`, in whatever component that link is.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent

_masthead = st.components.v2.component(
    "cnnviz_masthead",
    html="<header></header>",
    css=(HERE / "masthead.css").read_text(encoding="utf-8"),
    js=(HERE / "masthead.js").read_text(encoding="utf-8"),
)
_journey = st.components.v2.component(
    "cnnviz_journey",
    html="<i></i>",
    js="""export default function ({ data }) {
  if (window.cnnviz.arrived === data.nonce) return;
  window.cnnviz.arrived = data.nonce;
  window.cnnviz.go(data.href);
}""",
)


def masthead(data: dict[str, Any]) -> None:
    """Draw the head: section, pages (title, href, current), title, lede, present, previous and next (href or None)."""
    _masthead(key="masthead", data=data)


def journey(href: str) -> None:
    """Make the browser go to `href` (as a link marked `data-go` would), without loading the page anew."""
    _journey(key="journey", data={"href": href, "nonce": uuid.uuid4().hex}, width=1, height=1)
