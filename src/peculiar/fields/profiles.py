"""Fields along the lines of sight of objects, at the same velocities for all: what a learned reading sees."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.field import Field
from peculiar.core.readout import readout
from peculiar.fields.sight import LOWEST_DENSITY, Sight

OFFSETS = np.linspace(-1600.0, 1600.0, 33)
"""Places that objects of minus these velocities would have been moved from, to first order [km/s]."""
_OBJECTS_AT_ONCE = 20_000  # bounds the temporaries to some 60 MB


def profiles(velocity: Field, density: Field, sight: Sight) -> Float[np.ndarray, "n m 2"]:
    """Return the velocity along the sight line [km/s] and ln(1 + delta) at `OFFSETS` from where objects are seen.

    Parameters
    ----------
    velocity, density : Field
        In real space, on one box. Places beyond the faces of one that is not periodic have the values of the faces.
    sight : Sight
        Of n objects.
    """
    box = velocity.box
    together = torch.cat([velocity.data, density.data])
    found = np.empty((len(sight.directions), len(OFFSETS), 2), dtype=np.float32)
    for start in range(0, len(found), _OBJECTS_AT_ONCE):
        rows = slice(start, start + _OBJECTS_AT_ONCE)
        points = sight.places(rows, OFFSETS).points
        values = readout(together, points.reshape(-1, 3), box).numpy(force=True).reshape(*points.shape[:2], 4)
        found[rows, :, 0] = np.einsum("nmc,nc->nm", values[..., :3], sight.directions[rows])
        found[rows, :, 1] = np.log(np.maximum(1 + values[..., 3], LOWEST_DENSITY))
    return found
