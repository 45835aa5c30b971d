"""How a component is made: its own CSS and JavaScript behind the shared kit, and bytes for its data.

A component is three files of one name: `.py` (what Python says), `.js` (what the browser does) and, where needed,
`.css`. They run in the page itself, in a shadow root, without a build step. The surprise: everything a component shows
arrives as one block of bytes (JSON header, then arrays), because bytes are the one kind of data that Streamlit passes
on as it is; numbers in JSON cost ten times as much, and a table format needs its library in the page.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnnviz.figures import scales, theme

Handler = Callable[[Any], None]
_HERE = Path(__file__).parent
_ALIGN = 8


def define(name: str, *shared: str) -> Callable[..., Any]:
    """Register the component `name` from its files; call this once, when its module is imported.

    `shared` names scripts that some components need and the kit does not hold ("contour").
    """
    own_css = _HERE / f"{name}.css"
    css = _theme_css() + _read("kit.css") + (_read(own_css.name) if own_css.exists() else "")
    script = f"const THEME = {_theme_json()};\n" + "".join(_read(f"{each}.js") for each in ("kit", *shared, name))
    return st.components.v2.component(f"cnnviz.{name}", html='<div class="kit"></div>', css=css, js=script)


def mount(component: Callable[..., Any], data: bytes, *, key: str, **events: Handler | None) -> dict[str, Any]:
    """Show a component; gives what was just clicked, by event name (None where nothing was).

    A handler of an event is called with its value before the page runs again, so it may change any widget's state.
    """
    callbacks = {f"on_{event}_change": _callback(key, event, handler) for event, handler in events.items()}
    result = component(key=key, data=data, **callbacks)
    return {event: result.get(event) for event in events}


def pack(header: Mapping[str, Any], **arrays: NDArray[Any] | bytes) -> bytes:
    """A header and arrays (float32, uint8 or int32; bytes are uint8) as the kit's `unpack` reads them."""
    flat = {name: _flat(array) for name, array in arrays.items()}
    places, at = [], 0
    for name, array in flat.items():
        places.append({"name": name, "dtype": array.dtype.name, "size": int(array.size), "at": at})
        at = _aligned(at + array.nbytes)
    start, text = _header(header, places)
    blob = bytearray(start + at)
    struct.pack_into("<I", blob, 0, len(text))
    blob[4 : 4 + len(text)] = text
    for place, array in zip(places, flat.values(), strict=True):
        blob[start + place["at"] : start + place["at"] + array.nbytes] = array.tobytes()
    return bytes(blob)


def _header(header: Mapping[str, Any], places: list[dict[str, Any]]) -> tuple[int, bytes]:
    """Where the arrays start, and the JSON text in which their places count from the start of the block."""
    start = 0
    while True:  # the places' digits decide the header's length, which decides the places: two rounds settle it
        moved = [{**place, "at": place["at"] + start} for place in places]
        text = json.dumps({**header, "_arrays": moved}, separators=(",", ":"), allow_nan=False).encode()
        if _aligned(4 + len(text)) <= start:
            return start, text
        start = _aligned(4 + len(text))


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _flat(array: NDArray[Any] | bytes) -> NDArray[Any]:
    if isinstance(array, bytes):
        return np.frombuffer(array, np.uint8)
    if array.dtype not in (np.float32, np.uint8, np.int32):
        raise TypeError(f"a component takes float32, uint8 or int32, not {array.dtype}")
    return np.ascontiguousarray(array).reshape(-1)


def _callback(key: str, event: str, handler: Handler | None) -> Callable[[], None]:
    def answer() -> None:
        value = st.session_state[key].get(event)
        if handler is not None and value is not None:
            handler(value)

    return answer


@cache
def _read(name: str) -> str:
    """A file of this folder without its comments and indentation: it is sent with every new picture."""
    text = re.sub(r"/\*.*?\*/", "", (_HERE / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line) + "\n"


def _theme_json() -> str:
    return json.dumps({"stops": theme.STOPS, "levels": scales.LEVELS, "nan": theme.NOT_A_NUMBER})


def _theme_css() -> str:
    """The colours that Streamlit has no variable for, by theme, and the colour bars."""
    ramps = "".join(f"--{name}:linear-gradient(90deg,{','.join(stops)});" for name, stops in theme.STOPS.items())
    fixed = f".kit{{{ramps}--nan:{theme.NOT_A_NUMBER};--halo:{theme.HALO};--mark:{theme.MARK}}}"
    roles = ("edge", "press", "ink_3", "on_accent", "warn", "raises", "lowers")
    by_mode = ""
    for mode, frame in theme.FRAMES.items():
        names = "".join(f"--{role.replace('_', '-')}:{getattr(frame, role)};" for role in roles)
        by_mode += f".kit[data-mode={mode}]{{{names}}}"
    return fixed + by_mode
