"""The pages. One file in this folder, with one function under `@view`, is one page: it appears in the menus by itself.

    @view("Filters", section="See", order=20, lede="The kernels, as they were learned.")
    def filters(choice: Choice) -> None:
        ...

The file's name is the page's address (`/filters`). The surprise: nothing lists the pages; `pages` looks into the folder
once for the life of the process, so a new file needs a new start.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboard.choices import Choice

SECTIONS = ("Start", "Learn", "See", "Explain", "Debug")
HOME = "overview"


@dataclass(frozen=True)
class View:
    """A page: its words, its place in the menus, and the function that draws it for a `Choice`."""

    title: str
    section: str
    order: int
    lede: str
    icon: str
    slug: str
    draw: Callable[[Choice], None]

    @property
    def home(self) -> bool:
        """Whether the app opens on this page."""
        return self.slug == HOME

    @property
    def href(self) -> str:
        """The page's address, relative to any other page."""
        return "./" if self.home else self.slug


_FOUND: dict[str, View] = {}


def view(
    title: str, *, section: str, order: int = 50, lede: str = "", icon: str = ""
) -> Callable[[Callable[[Choice], None]], Callable[[Choice], None]]:
    """Make a function `draw(choice)` the page `title` of a section (one of `SECTIONS`); lower orders come first.

    `lede` is the sentence beside the title; `icon` is a Material name such as ":material/grid_view:" for the menus.
    Raises `ValueError` for a section that does not exist.
    """
    if section not in SECTIONS:
        raise ValueError(f"{section} is not a section of the dashboard; its sections are {', '.join(SECTIONS)}")

    def register(draw: Callable[[Choice], None]) -> Callable[[Choice], None]:
        slug = draw.__module__.rpartition(".")[2]
        _FOUND[slug] = View(title, section, order, lede, icon, slug, draw)
        return draw

    return register


@cache
def pages() -> tuple[View, ...]:
    """Every page, in the order of the menus."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted(_FOUND.values(), key=lambda page: (SECTIONS.index(page.section), page.order, page.title)))


def page(slug: str) -> View | None:
    """The page at an address, or None when there is no such page."""
    return next((page for page in pages() if page.slug == slug), None)
