"""Draw work while it grows: a part of the page that runs again by itself until the work is over.

The surprise: what is inside a fragment reruns alone, so a click there that changes the rest of the page must ask for it
(`page_again`). Work that is over is therefore drawn without a fragment.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.jobs.background import BACKGROUND, Work

EVERY = 0.5  # seconds
_AGAIN = "cnnviz:page-again"


def polled(work: Work, draw: Callable[[], None]) -> None:
    """Call `draw` now, and again twice a second while `work` goes on; at its end the whole page runs once more."""
    if work.over:
        draw()
        return

    @st.fragment(run_every=EVERY)
    def growing() -> None:
        now = BACKGROUND.look(work.key)
        if now is None or now.over or st.session_state.pop(_AGAIN, False):
            st.rerun()
        draw()

    growing()


def page_again() -> None:
    """Let a callback inside `polled` run the whole page; elsewhere that happens anyway."""
    st.session_state[_AGAIN] = True
