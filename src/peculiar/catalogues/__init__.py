"""Catalogues: files read and written, the sky, masks and selection. Units are converted here and nowhere else."""

from peculiar.catalogues.read import read_catalogue, read_table
from peculiar.catalogues.selection import (
    RadialSelection,
    completeness,
    radial_selection,
    read_sky_catalogue,
    sky_positions,
)
from peculiar.catalogues.sky import SkyMask, directions, read_mask, survey_box, to_cartesian, to_sky
from peculiar.catalogues.write import write_catalogue, write_objects

__all__ = [
    "RadialSelection",
    "SkyMask",
    "completeness",
    "directions",
    "radial_selection",
    "read_catalogue",
    "read_mask",
    "read_sky_catalogue",
    "read_table",
    "sky_positions",
    "survey_box",
    "to_cartesian",
    "to_sky",
    "write_catalogue",
    "write_objects",
]
