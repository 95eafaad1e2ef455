"""Value types: boxes, fields, catalogues and cosmologies. No input or output."""

import os

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import PRESETS, Cosmology
from peculiar.core.errors import (
    InputError,
    InputWarning,
    OutOfRangeWarning,
    OutputExistsError,
    PeculiarError,
)
from peculiar.core.field import Field
from peculiar.core.forks import compute_alone
from peculiar.core.reconstructor import Reconstructor

__all__ = [
    "PRESETS",
    "Box",
    "Catalogue",
    "Cosmology",
    "Field",
    "InputError",
    "InputWarning",
    "OutOfRangeWarning",
    "OutputExistsError",
    "PeculiarError",
    "Reconstructor",
]

os.register_at_fork(after_in_child=compute_alone)
