"""The line that opens a plate: Fig. n, title, facts; What is this?, PNG, npz, Python.

Definition and code unfold in the browser. A file is computed only when it is asked for: the button sends its name, the
next run sends the bytes, the browser saves them.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent

_plate_head = st.components.v2.component(
    "cnnviz_plate_head",
    html="<header></header>",
    css=(HERE / "plate_head.css").read_text(encoding="utf-8"),
    js=(HERE / "plate_head.js").read_text(encoding="utf-8"),
)


def plate_head(key: str, data: dict[str, Any], files: dict[str, Callable[[], tuple[str, str, bytes]]]) -> None:
    """Draw the line; `files` maps a button ("PNG", "npz") to what computes its file name, media type and bytes."""
    asked = f"{key}:asked"
    wanted = st.session_state.pop(asked, None)
    file = _file(*files[wanted]()) if wanted in files else None

    def remember() -> None:
        st.session_state[asked] = st.session_state[key].wanted

    _plate_head(key=key, data=data | {"files": list(files), "file": file}, on_wanted_change=remember)


def _file(name: str, media: str, content: bytes) -> dict[str, str]:
    return {
        "name": name,
        "media": media,
        "content": base64.b64encode(content).decode("ascii"),
        "nonce": uuid.uuid4().hex,
    }
