"""What every page has around its pictures: menus, head, plates with their downloads, captions, and ways to other pages.

    with frame.plate("One image through the network", "epoch 6, MNIST train 718", about=ABOUT, png=..., npz=...):
        ...pictures...
    frame.caption("Look for", "two dark places in **a**.")

The surprise: nothing is computed for a download until its button is pressed; pass functions, not bytes.
"""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from cnnviz.figures import theme
from dashboard import views
from dashboard.components.masthead import journey, masthead
from dashboard.components.plate_head import plate_head
from dashboard.views import View

HERE = Path(__file__).parent
STATIC = HERE / "static"
PROJECTOR = "<style>html{font-size:22px}</style>"
MANIFEST = "cnnviz:manifest"  # session state: what the choices of this run are called in a download
FIGURES = "cnnviz:figures"  # session state: the titles of this page's plates, in order


@dataclass(frozen=True)
class About:
    """What "What is this?" says: a definition, a formula (`S_c`, `x^2`, `x_{ij}` are set), caveats, the paper."""

    what: str
    formula: str = ""
    caveats: tuple[str, ...] = ()
    paper: str = ""


def configure() -> None:
    """The first call of every run: title, icon, sidebar, logo, and the two places where we overrule Streamlit."""
    st.set_page_config(
        page_title="cnnviz",
        page_icon=str(STATIC / "favicon.png"),
        layout="wide",
        initial_sidebar_state="collapsed" if presenting() else 272,
    )
    mode: theme.Mode = "dark" if st.context.theme.type == "dark" else "light"
    st.logo(str(STATIC / f"logo-{mode}.svg"), size="large")
    st.html(f"<style>{_css(mode)}</style>" + (PROJECTOR if presenting() else ""))


def presenting() -> bool:
    """Whether the address asks for the projector mode (`?present=1`)."""
    return st.query_params.get("present") == "1"


def navigation(draw: Callable[[View], None]) -> Any:
    """The menus at the top; returns the page that was asked for, to be run. `draw` is called with its view."""
    menus: dict[str, list[Any]] = {}
    for view in views.pages():
        page = st.Page(
            partial(draw, view), title=view.title, icon=view.icon or None, url_path=view.slug, default=view.home
        )
        menus.setdefault("" if view.home else view.section, []).append(page)
    return st.navigation(menus, position="hidden" if presenting() else "top")


def head(view: View) -> None:
    """Running head, title and lede, Copy link and Present. Begins the numbering of the plates."""
    st.session_state[FIGURES] = []
    st.set_page_config(page_title="cnnviz" if view.home else f"{view.title} · cnnviz")
    pages = views.pages()
    place = pages.index(view)
    masthead(
        {
            "section": view.section,
            "pages": [
                {"title": page.title, "href": page.href, "current": page is view}
                for page in pages
                if page.section == view.section
            ],
            "title": view.title,
            "lede": view.lede,
            "present": presenting(),
            "previous": pages[place - 1].href if place else None,
            "next": pages[place + 1].href if place + 1 < len(pages) else None,
        }
    )


def describe(manifest: Mapping[str, Any]) -> None:
    """Say, once in every run, what has been chosen: downloads carry it; its `python` lines come before a plate's."""
    st.session_state[MANIFEST] = manifest


@contextmanager
def plate(
    title: str,
    facts: str = "",
    *,
    about: About | None = None,
    png: Callable[[], bytes] | None = None,
    npz: Callable[[], Mapping[str, Any]] | None = None,
    python: str = "",
    **manifest: Any,
) -> Iterator[None]:
    """A figure: heavy rule, "Fig. n", title, quiet facts, its downloads; the pictures are drawn inside the `with`.

    `png()` gives the bytes of the picture; `npz()` the arrays behind it by name, saved with a manifest of everything
    that was chosen plus the keywords left over (`method="saliency", options={...}`); `python` are the lines that make
    the arrays again, after those that open model, image and target, which are put before them.
    """
    number = _number(title)
    files = {
        name: partial(make, title, content, manifest)
        for name, make, content in (("PNG", _png_file, png), ("npz", _npz_file, npz))
        if content
    }
    data = {
        "number": number,
        "title": title,
        "facts": facts,
        "about": asdict(about) if about else None,
        "python": "\n".join((*st.session_state.get(MANIFEST, {}).get("python", ()), python)) if python else "",
        "present": presenting(),
    }
    with st.container(key=f"plate-{number}"):
        plate_head(f"plate-head-{number}", data, files)
        yield


@contextmanager
def labelled(text: str) -> Iterator[None]:
    """A control with its name beside it on one line: give the control the same label, collapsed."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
        st.html(f'<span class="cnnviz-label">{html.escape(text)}</span>', width="content")
        yield


def caption(lead: str, text: str) -> None:
    """A caption in serif: `lead` in bold ("Look for", "Read downward."), then the finding; `**word**` is bold."""
    st.html(f'<p class="cnnviz-caption"><b>{html.escape(lead)}</b> {bold(text)}</p>')


def bold(text: str) -> str:
    """`text` as safe HTML in which `**word**` is bold."""
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text, quote=False))


def href(slug: str = "", **parameters: object) -> str:
    """The address of a page with choices of ours: `href("saliency", target="Class 4")`; "" is the page one is on.

    In a component or `st.html`, `<a href="..." data-go="...">` goes there at once, carrying every other choice along.
    An empty value takes a parameter away.
    """
    page = views.page(slug)
    query = urlencode({name: str(value) for name, value in parameters.items()})
    return (page.href if page else "") + (f"?{query}" if query else "")


def go(slug: str = "", **parameters: object) -> None:
    """Go to a page with choices of ours, from Python (after a click that a component reported), and end this run."""
    journey(href(slug, **parameters))
    st.stop()


def _number(title: str) -> int:
    # a fragment that runs again meets the titles of the whole page, and finds its own
    titles: list[str] = st.session_state.setdefault(FIGURES, [])
    if title not in titles:
        titles.append(title)
    return titles.index(title) + 1


def _png_file(title: str, content: Callable[[], bytes], _: Mapping[str, Any]) -> tuple[str, str, bytes]:
    return f"{_stem(title)}.png", "image/png", content()


def _npz_file(
    title: str, content: Callable[[], Mapping[str, Any]], manifest: Mapping[str, Any]
) -> tuple[str, str, bytes]:
    known = {name: value for name, value in st.session_state.get(MANIFEST, {}).items() if name != "python"}
    return f"{_stem(title)}.npz", "application/zip", npz_bytes(content(), {"figure": title} | known | manifest)


def npz_bytes(arrays: Mapping[str, Any], manifest: Mapping[str, Any]) -> bytes:
    """Arrays as one .npz with a `manifest.json` inside; `numpy.load` opens it, and reads the manifest as bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(array) for name, array in arrays.items()})
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False, default=str))
    return buffer.getvalue()


def _stem(title: str) -> str:
    return "cnnviz-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


@cache
def _css(mode: theme.Mode) -> str:
    colours = "".join(
        f"--cnnviz-{role.replace('_', '-')}:{colour};" for role, colour in asdict(theme.FRAMES[mode]).items()
    )
    return f":root{{{colours}}}" + (HERE / "frame.css").read_text(encoding="utf-8")
