"""The visual kit: what Streamlit has no widget for, as small components of plain HTML, CSS and JavaScript.

Each is a Python function that shows something and gives what was clicked; hovering never runs the page.
"""

from dashboard.components.histogram import binned, histogram
from dashboard.components.kit import define, mount, pack
from dashboard.components.layer_stepper import layer_stepper, stepper
from dashboard.components.legend import legend
from dashboard.components.map_grid import Cell, Maps, field_of, map_grid
from dashboard.components.overview import (
    Block,
    Strip,
    choose_strips,
    choose_units,
    overview,
    prediction_of,
    strips_of,
    units_strip,
)
from dashboard.components.prediction_bars import prediction_bars, prediction_change, prediction_rows
from dashboard.components.ruled_picture import ruled_picture

__all__ = [
    "Block",
    "Cell",
    "Maps",
    "Strip",
    "binned",
    "choose_strips",
    "choose_units",
    "define",
    "field_of",
    "histogram",
    "layer_stepper",
    "legend",
    "map_grid",
    "mount",
    "overview",
    "pack",
    "prediction_bars",
    "prediction_change",
    "prediction_of",
    "prediction_rows",
    "ruled_picture",
    "stepper",
    "strips_of",
    "units_strip",
]
