"""Catalogues: files read and written, the sky, masks and selection. Units are converted here and nowhere else."""

from peculiar.catalogues.footprint import Footprint, read_footprint
from peculiar.catalogues.groups import Groups, find_groups
from peculiar.catalogues.read import read_catalogue
from peculiar.catalogues.sample import SurveySample, read_survey
from peculiar.catalogues.selection import RadialSelection, completeness, radial_selection
from peculiar.catalogues.sky import SkyMask, directions, read_mask, survey_box, to_cartesian, to_sky
from peculiar.catalogues.survey import Survey, load_survey
from peculiar.catalogues.survey_catalogue import (
    SurveyCatalogue,
    read_sky_catalogue,
    sky_positions,
    to_catalogue,
)
from peculiar.catalogues.tables import read_table
from peculiar.catalogues.write import write_catalogue, write_objects, write_table

__all__ = [
    "Footprint",
    "Groups",
    "RadialSelection",
    "SkyMask",
    "Survey",
    "SurveyCatalogue",
    "SurveySample",
    "completeness",
    "directions",
    "find_groups",
    "load_survey",
    "radial_selection",
    "read_catalogue",
    "read_footprint",
    "read_mask",
    "read_sky_catalogue",
    "read_survey",
    "read_table",
    "sky_positions",
    "survey_box",
    "to_cartesian",
    "to_catalogue",
    "to_sky",
    "write_catalogue",
    "write_objects",
    "write_table",
]
