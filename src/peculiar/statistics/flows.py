"""Bulk flows: mean velocities of spheres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.smooth import tophat
from peculiar.statistics.checks import require_finite, require_vector


@dataclass(frozen=True, eq=False)
class BulkFlow:
    """Mean velocities of spheres.

    Attributes
    ----------
    radius : (radius,) [Mpc/h]
    centres : (centre, 3) [Mpc/h]
    flow : (radius, centre, 3) [unit]
        Volume-weighted mean of the field in each sphere.
    rms : (radius,) [unit]
        Root mean square of |flow| over spheres about every cell whose sphere lies in the box.
    unit : str
    """

    radius: Float[np.ndarray, " radius"]
    centres: Float[np.ndarray, "centre 3"]
    flow: Float[np.ndarray, "radius centre 3"]
    rms: Float[np.ndarray, " radius"]
    unit: str

    @property
    def speed(self) -> Float[np.ndarray, "radius centre"]:
        """Length of the flow [unit]."""
        return np.asarray(np.linalg.norm(self.flow, axis=-1))


def bulk_flow(
    velocity: Field, radius: float | Sequence[float], *, centres: Float[np.ndarray, "centre 3"] | None = None
) -> BulkFlow:
    """Average a velocity field over spheres.

    Parameters
    ----------
    velocity : Field
        A vector.
    radius : float or sequence of float
        [Mpc/h]; up to half the box.
    centres : (centre, 3) [Mpc/h], optional
        Default: the middle of the box. Spheres reach through the faces of a periodic box and must lie within any
        other.

    Returns
    -------
    BulkFlow

    Raises
    ------
    InputError
        If the field is no vector or not finite, a radius is out of range, or a sphere leaves the box.
    """
    require_vector(velocity, "velocity")
    require_finite(velocity, "velocity")
    box = velocity.box
    radii = np.atleast_1d(np.asarray(radius, dtype=np.float64))
    if radii.ndim != 1 or not ((radii > 0) & (radii <= box.side / 2)).all():
        raise InputError(f"radius must lie in (0, {box.side / 2:.6g}] Mpc/h, half the box, got {radius}")
    middle = np.asarray(box.origin) + box.side / 2
    points = middle[None] if centres is None else np.asarray(centres, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"centres must have shape (centre, 3), got {points.shape}")
    room = box.side / 2 - np.abs(points - middle).max()
    if not box.periodic and room < radii.max() * (1 - 1e-9):
        raise InputError(
            f"spheres must lie within a box that is not periodic, got a radius of {radii.max()} Mpc/h with "
            f"{room:.4g} Mpc/h to the nearest face: take smaller spheres or other centres"
        )
    flows, rms = [], []
    for value in radii:
        averaged = tophat(velocity, float(value))
        flows.append(averaged.at(points))
        edge = 0 if box.periodic else min(int(np.ceil(value / box.cell_size - 0.5)), (box.mesh - 1) // 2)
        inner = averaged.data[:, edge : box.mesh - edge, edge : box.mesh - edge, edge : box.mesh - edge]
        rms.append(math.sqrt(3 * float(inner.square().mean())))
    return BulkFlow(radii, points, np.stack(flows), np.asarray(rms), velocity.unit)
