"""What fields say of the objects that they were made from: velocities and places, averaged along the sight lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Catalogue, Cosmology, Field

DISPERSION = 250.0
"""Velocities of objects about the reconstructed flow [km/s]: their own motions and the flow's errors. Of 100 to 300
the best for real-space positions in validation boxes, with and without satellites together."""
OFFSETS = np.arange(-1000.0, 1001.0, DISPERSION / 2)
"""Line-of-sight velocities at which an object's place is tried [km/s]."""


@dataclass(frozen=True, eq=False)
class ObjectValues:
    """What was reconstructed at each object; NaN where it lies outside the fields.

    Attributes
    ----------
    velocities : (n, 3) [km/s]
    v_los : (n,) [km/s]
        Along the line of sight, positive away from the observer.
    delta : (n,)
        Overdensity.
    positions_real : (n, 3) [Mpc/h]
    v_los_error : (n,) [km/s], optional
        Of `v_los`, where the fields have a velocity error.
    """

    velocities: Float[np.ndarray, "n 3"]
    v_los: Float[np.ndarray, " n"]
    delta: Float[np.ndarray, " n"]
    positions_real: Float[np.ndarray, "n 3"]
    v_los_error: Float[np.ndarray, " n"] | None = None

    @property
    def outside(self) -> int:
        """Objects outside the fields."""
        return int(np.isnan(self.delta).sum())


def at_objects(
    catalogue: Catalogue,
    fields: Mapping[str, Field],
    *,
    cosmology: Cosmology,
    positions: Float[np.ndarray, "n 3"] | None = None,
) -> ObjectValues:
    """Estimate the fields at each object's real-space position.

    Several places r along the line of sight can have sent an object to its redshift-space position s, most of all near
    clusters, so the fields are averaged over them with the probability of each,
    (1 + delta(r)) exp(-(s - r - v_los(r) / (a H))^2 / 2 sigma^2), eq. 1 of Xiao et al. 2024 with sigma the
    `DISPERSION` of objects about the flow. The real-space position is the mean of r. (To invert eq. 1 by iteration
    picks one of the places: on simulated halos its velocities along the line of sight err by a tenth more.) Objects in
    real space stay where they are.

    Parameters
    ----------
    catalogue : Catalogue
        Gives the geometry and the space of the positions.
    fields : mapping
        "density" and "velocity"; with "velocity_error" the objects have one too.
    cosmology : Cosmology
        Gives a H.
    positions : (n, 3) [Mpc/h], optional
        Of other objects than the catalogue's own, in the same space; they may lie outside the box.
    """
    velocity = fields["velocity"]
    box = velocity.box
    points = catalogue.positions if positions is None else np.asarray(positions, dtype=np.float64)
    inside = box.contains(points)
    observed = points[inside]
    together = stacked(velocity, fields["density"], fields.get("velocity_error"))
    values = np.full((len(points), 4 + len(together.names)), np.nan)
    if len(observed):
        sight = catalogue.sight_lines(observed)
        if catalogue.space == "redshift":
            factor = cosmology.redshift_space_factor(catalogue.redshift)
            means, offset = _mean_along_sight(together, observed, sight, factor=factor)
        else:
            means, offset = together.at(observed), np.zeros(len(observed))
        real = observed + offset[:, None] * sight
        if box.periodic:
            real = np.asarray(box.origin) + (real - np.asarray(box.origin)) % box.size
        along = (means[:, :3] * sight).sum(axis=1)
        values[inside] = np.column_stack([means[:, :3], along, means[:, 3], real, means[:, 4:]])
    error = values[:, 8] if "velocity_error" in fields else None
    return ObjectValues(values[:, :3], values[:, 3], values[:, 4], values[:, 5:8], error)


def stacked(velocity: Field, density: Field, velocity_error: Field | None) -> Field:
    """Return one field of the channels vx, vy, vz, density and, where there is one, velocity_error: read at once."""
    parts = [velocity, density] if velocity_error is None else [velocity, density, velocity_error]
    names = ("vx", "vy", "vz", "density", "velocity_error")[: len(parts) + 2]
    return Field(torch.cat([part.data for part in parts]), velocity.box, names=names)


def _mean_along_sight(
    field: Field, observed: Float[np.ndarray, "n 3"], sight: Float[np.ndarray, "n 3"], *, factor: float
) -> tuple[Float[np.ndarray, "n channel"], Float[np.ndarray, " n"]]:
    """Return the mean over each object's possible places of velocity, density and so on, and of its offset [Mpc/h]."""
    total, offset = np.zeros(len(observed)), np.zeros(len(observed))
    means = np.zeros((len(observed), len(field.names)))
    for shift in OFFSETS * factor:  # one place of every object at a time: all at once would not fit in memory
        values = field.at(observed + shift * sight)
        there = np.isfinite(values[:, 0])  # a box that is not periodic ends
        values = np.where(there[:, None], values, 0.0)
        residual = (shift / factor + (values[:, :3] * sight).sum(axis=1)) / DISPERSION
        weight = there * np.maximum(1 + values[:, 3], 0.01) * np.exp(-(residual**2) / 2)
        total += weight
        means += weight[:, None] * values
        offset += weight * shift
    return means / total[:, None], offset / total
