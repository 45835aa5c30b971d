"""Choices that are made inside a picture and still belong to the link: which map is large, how strong an overlay is.

A widget of Streamlit binds itself to the address; a component cannot, so what it reports is written here. A default is
never written. The surprise: values from an address are a stranger's, so each name has a check, and what fails it is the
default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st


@dataclass(frozen=True)
class Place:
    """One choice in the address: its default, and how its text is read (ValueError: not a value)."""

    default: Any
    read: Callable[[str], Any] = str


def one_of(*values: str) -> Callable[[str], str]:
    """Read one of a few words."""

    def read(text: str) -> str:
        return values[values.index(text)]

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Read a whole number from `low` to `high`."""

    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


def yes_no(text: str) -> bool:
    """Read 1 or 0."""
    return {"1": True, "0": False}[text]


def chosen(places: Mapping[str, Place]) -> dict[str, Any]:
    """What the address says, the defaults where it says nothing (or nothing sensible)."""
    return {name: _read(name, place) for name, place in places.items()}


def choose(places: Mapping[str, Place], changes: Mapping[str, Any]) -> None:
    """Write changes into the address; call this in a callback. Names without a place are refused (KeyError)."""
    for name, value in changes.items():
        if value == places[name].default:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = str(int(value)) if isinstance(value, bool) else str(value)


def _read(name: str, place: Place) -> Any:
    text = st.query_params.get(name)
    if text is None:
        return place.default
    try:
        return place.read(text)
    except (ValueError, KeyError):
        return place.default
