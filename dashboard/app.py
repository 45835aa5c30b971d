"""Every run of every page starts here: the menus, the choices at the left, then the page that was asked for.

The surprise: this file runs anew after each click, so it imports what is already imported and decides nothing itself.
"""

import sys
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:  # `streamlit run dashboard/app.py` puts only this file's folder there
    sys.path.insert(0, ROOT)

from dashboard import choices, frame, views  # noqa: E402
from dashboard.choices import Choice  # noqa: E402


def main() -> None:
    """Draw the page that was asked for, with what has been chosen."""
    frame.configure()
    chosen: list[Choice] = []

    def draw(view: views.View) -> None:
        frame.head(view)
        choices.say_what_was_wrong()
        view.draw(chosen[0])

    page = frame.navigation(draw)
    with st.sidebar:
        chosen.append(choices.choose())
    frame.describe(chosen[0].manifest())
    page.run()


main()
