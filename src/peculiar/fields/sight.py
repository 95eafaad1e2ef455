"""Fields along the lines of sight of objects, and what an observed redshift says about an object's place there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core.cosmology import SPEED_OF_LIGHT, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field

MAX_SPEED = 1000.0
"""Largest radial velocity of a smoothed field that is allowed for [km/s]."""
LOWEST_DENSITY = 0.01
"""Least 1 + delta: a network's or filter's density may fall below that of a void."""
_POINTS_AT_ONCE = 1_000_000  # bounds the temporaries of interpolation to some 300 MB


@dataclass(frozen=True, eq=False)
class SightLines:
    """Places along the lines of sight of n objects, m each, and the field there.

    Attributes
    ----------
    distances : (n, m) [comoving Mpc/h]
        From the observer, evenly spaced about the distance of the observed redshift.
    velocity : (n, m) [km/s]
        Radial velocity of the field, positive away from the observer.
    density : (n, m)
        Overdensity.
    needed : (n, m) [km/s]
        Radial velocity that an object there must have to show its redshift.
    """

    distances: Float[np.ndarray, "n m"]
    velocity: Float[np.ndarray, "n m"]
    density: Float[np.ndarray, "n m"]
    needed: Float[np.ndarray, "n m"]

    def log_prior(self, bias: float = 1.0) -> Float[np.ndarray, "n m"]:
        """Log of how many objects stand at each place; see `log_prior`."""
        return log_prior(self.distances, self.density, bias=bias)


def log_prior(
    distances: Float[np.ndarray, "n m"], density: Float[np.ndarray, "n m"], *, bias: float = 1.0
) -> Float[np.ndarray, "n m"]:
    """Log of how many objects stand at places: 2 ln r + bias ln(1 + delta); -inf behind the observer."""
    with np.errstate(divide="ignore"):
        volume = 2 * np.log(np.maximum(distances, 0.0))
    return volume + bias * np.log(np.maximum(1 + density, LOWEST_DENSITY))


def sight_lines(
    velocity: Field,
    density: Field,
    *,
    observer: tuple[float, float, float],
    directions: Float[np.ndarray, "n 3"],
    redshift: Float[np.ndarray, " n"],
    cosmology: Cosmology,
    reach: float,
    step: float,
) -> SightLines:
    """Read fields along lines of sight, about the places that redshifts would have without peculiar velocities.

    Parameters
    ----------
    velocity, density : Field
        In real space, on one box.
    observer : (3,) [Mpc/h]
        In the box's coordinates; may lie outside it.
    directions : (n, 3)
        From the observer, of length 1, in the box's axes.
    redshift : (n,)
    cosmology : Cosmology
        Gives distances and H.
    reach, step : float [km/s]
        How far to either side of the observed redshift, and the most that neighbouring places may differ; never more
        than half a cell.

    Returns
    -------
    SightLines
        Places beyond the faces of a box that is not periodic have the values of the faces.
    """
    velocity.require_same_box(density)
    together = Field(
        torch.cat([velocity.data, density.data]), velocity.box, names=("vx", "vy", "vz", "density")
    )
    distances = places(
        redshift, cosmology=cosmology, reach=reach, step=step, cell_size=velocity.box.cell_size
    )
    radial, delta = np.empty(distances.shape), np.empty(distances.shape)
    at_once = max(1, _POINTS_AT_ONCE // distances.shape[1])
    for start in range(0, len(distances), at_once):
        rows = slice(start, start + at_once)
        values = read_along(together, observer, directions[rows], distances[rows])
        radial[rows] = np.einsum("nmc,nc->nm", values[..., :3], directions[rows])
        delta[rows] = values[..., 3]
    needed = velocity_needed(redshift, distances, cosmology=cosmology)
    return SightLines(distances, radial, delta, needed)


def places(
    redshift: Float[np.ndarray, " n"], *, cosmology: Cosmology, reach: float, step: float, cell_size: float
) -> Float[np.ndarray, "n m"]:
    """Return distances [Mpc/h] about those of redshifts: `reach`, `step` as in `sight_lines`, `cell_size` in Mpc/h."""
    if not 0 < step <= reach:
        raise InputError(f"step must lie in (0, reach = {reach} km/s], got {step}")
    z = np.asarray(redshift, dtype=np.float64)
    count = math.ceil(reach / min(step, 50 * cell_size))  # half a cell is 50 km/s per Mpc/h at z = 0
    offsets = np.linspace(-reach, reach, 2 * count + 1)
    per_velocity = (1 + z) / (100 * cosmology.efunc(z))  # Mpc/h per km/s
    return np.asarray(cosmology.comoving_distance(z)[:, None] + per_velocity[:, None] * offsets)


def velocity_needed(
    redshift: Float[np.ndarray, " n"], distances: Float[np.ndarray, "n m"], *, cosmology: Cosmology
) -> Float[np.ndarray, "n m"]:
    """Radial velocity [km/s] of objects that show a redshift from given distances.

    1 + z = (1 + z_cosmological) (1 + v / c), so v = c (z - z_cosmological) / (1 + z_cosmological).
    """
    expansion = 1 + cosmology.redshift_at(np.maximum(distances, 0.0))
    return SPEED_OF_LIGHT * ((1 + np.asarray(redshift))[:, None] / expansion - 1)


def read_along(
    field: Field,
    observer: tuple[float, float, float],
    directions: Float[np.ndarray, "n 3"],
    distances: Float[np.ndarray, "n m"],
) -> Float[np.ndarray, "n m channel"]:
    """Interpolate a field at distances [Mpc/h] from an observer; places outside take the value at the nearest face."""
    points = np.asarray(observer) + np.maximum(distances, 0.0)[..., None] * directions[:, None, :]
    if not field.box.periodic:
        low = np.asarray(field.box.origin)
        points = np.clip(points, low, low + field.box.size)
    return field.at(points.reshape(-1, 3)).reshape(*distances.shape, -1)


def in_box(
    field: Field,
    observer: tuple[float, float, float],
    directions: Float[np.ndarray, "n 3"],
    distances: Float[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """Whether places at distances [Mpc/h] from an observer lie in a field's box."""
    return field.box.contains(np.asarray(observer) + distances[:, None] * directions)


def distance_modulus(
    distances: Float[np.ndarray, "..."], redshift: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Distance modulus [mag] for H0 = 100 km/s/Mpc: 25 + 5 log10(r (1 + z)), z the observed redshift.

    The luminosity distance of a moving source has the observed redshift in its factor 1 + z (Hui & Greene 2006, to
    first order, the Sun's own motion apart).

    Examples
    --------
    >>> float(distance_modulus(np.array(100.0), np.array(0.0)))
    35.0
    """
    with np.errstate(divide="ignore"):
        return 25 + 5 * np.log10(np.maximum(distances, 0.0) * (1 + np.asarray(redshift)))
