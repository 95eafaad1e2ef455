"""Fields along the lines of sight of objects, and what an observed redshift says about an object's place there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core.cosmology import SPEED_OF_LIGHT, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.readout import readout

MAX_SPEED = 1000.0
"""Largest radial velocity of a smoothed field that is allowed for [km/s]."""
LOWEST_DENSITY = 0.01
"""Least 1 + delta: a network's or filter's density may fall below that of a void."""
_POINTS_AT_ONCE = 1_000_000  # bounds the temporaries of interpolation to some 300 MB


@dataclass(frozen=True, eq=False)
class Places:
    """Places at which n objects may be, m each.

    Attributes
    ----------
    points : (n, m, 3) [Mpc/h]
    needed : (n, m) [km/s]
        Velocity along the line of sight that an object there must have to be seen where it is.
    log_volume : (n, m)
        Log of the volume about a place, but for a constant of the object; -inf behind the observer.
    """

    points: Float[np.ndarray, "n m 3"]
    needed: Float[np.ndarray, "n m"]
    log_volume: Float[np.ndarray, "n m"]


class Sight(Protocol):
    """Objects seen along lines of sight, and the map from these to places."""

    @property
    def directions(self) -> Float[np.ndarray, "n 3"]:
        """Away from the observer, (n, 3), of length 1, in the box's axes."""
        ...

    def places(self, rows: slice, velocities: Float[np.ndarray, " m"]) -> Places:
        """Return places of some objects: those to first order of objects with minus these velocities [km/s]."""
        ...


@dataclass(frozen=True, eq=False)
class BoxSight:
    """Objects in a box of one redshift, moved along their lines of sight by eq. 1 of Xiao et al. 2024.

    Parameters
    ----------
    observed : (n, 3) [Mpc/h]
        In redshift space.
    directions : (n, 3)
    distance : (n,) [Mpc/h]
        From the observer; infinite for a plane-parallel line of sight.
    factor : float [Mpc/h per km/s]
        1 / (a H).
    """

    observed: Float[np.ndarray, "n 3"]
    directions: Float[np.ndarray, "n 3"]
    distance: Float[np.ndarray, " n"]
    factor: float

    def places(self, rows: slice, velocities: Float[np.ndarray, " m"]) -> Places:
        """Return places at offsets from where the objects are seen."""
        offset = self.factor * velocities
        points = self.observed[rows, None] + offset[:, None] * self.directions[rows, None]
        with np.errstate(divide="ignore"):
            log_volume = 2 * np.log(np.maximum(1 + offset / self.distance[rows, None], 0.0))
        return Places(points, np.broadcast_to(-velocities, log_volume.shape), log_volume)


@dataclass(frozen=True, eq=False)
class SkySight:
    """Objects on the sky with redshifts.

    Parameters
    ----------
    observer : (3,) [Mpc/h]
        In the box's coordinates; may lie outside it.
    directions : (n, 3)
    redshift : (n,)
        In the frame of the microwave background.
    cosmology : Cosmology
        Gives distances.
    """

    observer: tuple[float, float, float]
    directions: Float[np.ndarray, "n 3"]
    redshift: Float[np.ndarray, " n"]
    cosmology: Cosmology

    def places(self, rows: slice, velocities: Float[np.ndarray, " m"]) -> Places:
        """Return places about the distances of the redshifts."""
        redshift = np.asarray(self.redshift)[rows]
        distances = _distances(redshift, velocities, cosmology=self.cosmology)
        points = np.asarray(self.observer) + distances[..., None] * self.directions[rows, None]
        needed = velocity_needed(redshift, distances, cosmology=self.cosmology)
        return Places(points, needed, _log_volume(distances))


def places_of(sight: Sight, velocities: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Return where objects of given velocities along the line of sight [km/s] are, to be seen where they are [Mpc/h].

    Interpolated between places 100 km/s apart, up to 4000 km/s away.
    """
    offsets = np.linspace(-4000.0, 4000.0, 81)
    found = np.empty((len(velocities), 3))
    at_once = max(1, _POINTS_AT_ONCE // len(offsets))
    for start in range(0, len(velocities), at_once):
        rows = slice(start, start + at_once)
        places = sight.places(rows, offsets)
        wanted = velocities[rows, None]
        after = (
            (places.needed > wanted).sum(axis=1).clip(1, len(offsets) - 1)[:, None]
        )  # needed falls outwards
        last, following = (np.take_along_axis(places.needed, after - back, axis=1) for back in (1, 0))
        share = ((wanted - last) / (following - last)).clip(0, 1)[..., None]
        last, following = (
            np.take_along_axis(places.points, (after - back)[..., None], axis=1) for back in (1, 0)
        )
        found[rows] = (last + share * (following - last))[:, 0]
    return found


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

    def among(self, rows: Bool[np.ndarray, " n"]) -> SightLines:
        """Return those of some of the objects."""
        return SightLines(self.distances[rows], self.velocity[rows], self.density[rows], self.needed[rows])

    def log_prior(self, bias: float = 1.0) -> Float[np.ndarray, "n m"]:
        """Log of how many objects stand at each place; see `log_prior`."""
        return log_prior(self.distances, self.density, bias=bias)


def log_prior(
    distances: Float[np.ndarray, "n m"], density: Float[np.ndarray, "n m"], *, bias: float = 1.0
) -> Float[np.ndarray, "n m"]:
    """Log of how many objects stand at places: 2 ln r + bias ln(1 + delta); -inf behind the observer."""
    return _log_volume(distances) + bias * np.log(np.maximum(1 + density, LOWEST_DENSITY))


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
    return _distances(redshift, speeds(reach=reach, step=step, cell_size=cell_size), cosmology=cosmology)


def speeds(*, reach: float, step: float, cell_size: float) -> Float[np.ndarray, " m"]:
    """Return velocities [km/s] from -reach to reach, as close as `step` and half a cell [Mpc/h] ask; 0 is amid them."""
    if not 0 < step <= reach:
        raise InputError(f"step must lie in (0, reach = {reach} km/s], got {step}")
    count = math.ceil(reach / min(step, 50 * cell_size))  # half a cell is 50 km/s per Mpc/h at z = 0
    return np.linspace(-reach, reach, 2 * count + 1)


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
    values = readout(field.data, points.reshape(-1, 3), field.box).numpy(force=True).astype(np.float64)
    return values.reshape(*distances.shape, -1)


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


def _distances(
    redshift: Float[np.ndarray, " n"], velocities: Float[np.ndarray, " m"], *, cosmology: Cosmology
) -> Float[np.ndarray, "n m"]:
    z = np.asarray(redshift, dtype=np.float64)
    per_velocity = (1 + z) / (100 * cosmology.efunc(z))  # Mpc/h per km/s
    return np.asarray(cosmology.comoving_distance(z)[:, None] + per_velocity[:, None] * velocities)


def _log_volume(distances: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    with np.errstate(divide="ignore"):
        return 2 * np.log(np.maximum(distances, 0.0))
