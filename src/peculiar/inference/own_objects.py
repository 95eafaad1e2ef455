"""What a reconstruction says of the objects that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from peculiar.core import Catalogue, Cosmology, Field
from peculiar.fields.objects import ObjectValues, at_objects
from peculiar.linear.multitracer import MultiTracerWiener

OBJECTS, OBJECTS_ERROR = "object_velocity", "object_velocity_error"
"""Fields of networks that have learned the velocities of halos that objects live in, where they are moved back to."""


def at_own_objects(
    catalogue: Catalogue, fields: Mapping[str, Field], *, cosmology: Cosmology
) -> ObjectValues:
    """Return `at_objects`, with the velocities of the halos that the objects live in where a network tells them.

    Parameters
    ----------
    catalogue : Catalogue
        That the fields were made from.
    fields : mapping
    cosmology : Cosmology
    """
    seen = at_objects(catalogue, fields, cosmology=cosmology)
    if OBJECTS not in fields:
        return seen
    cells = max(fields[OBJECTS].box.shape)
    places = MultiTracerWiener().moved(catalogue, cells=cells, cosmology=cosmology).positions
    velocities, error = (np.asarray(fields[name].at(places)) for name in (OBJECTS, OBJECTS_ERROR))
    told = np.isfinite(velocities).all(axis=1)  # of those that were moved out of a box with faces nothing is
    along = (velocities * catalogue.sight_lines()).sum(axis=1)
    assert seen.v_los_error is not None
    return replace(
        seen,
        velocities=np.where(told[:, None], velocities, seen.velocities),
        v_los=np.where(told, along, seen.v_los),
        v_los_error=np.where(told, error[:, 0], seen.v_los_error),
        v_los_scatter=np.where(told, 0.0, seen.v_los_scatter),
    )
