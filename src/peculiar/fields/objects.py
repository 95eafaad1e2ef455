"""What fields say of objects: velocities and places, averaged over the places along the sight lines."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from peculiar.core import Box, Catalogue, Cosmology, Field, InputWarning
from peculiar.core.catalogue import SELECTION_FLOOR, Geometry
from peculiar.core.readout import readout
from peculiar.fields.profiles import profiles
from peculiar.fields.sight import (
    LOWEST_DENSITY,
    MAX_SPEED,
    BoxSight,
    Sight,
    SkySight,
    places_of,
    speeds,
)

ERROR, LOCAL_ERROR = "velocity_error", "local_error"
"""Fields of the standard error of a velocity component, and of that part of it that unseen matter has no share in."""
TOLD = (ERROR, "known_fraction")
"""Fields that not every reconstruction has, and what is told of objects by them."""
DISPERSION = 200.0
"""Velocities of objects about the reconstructed flow at the mean density [km/s]: their own motions and its errors.

They grow as the root of the density, since members of groups and clusters move most. Of 150 to 350 and powers of 0 to
1/2 the best for real-space positions in validation boxes with and without satellites together, and within 0.01 of the
best for the correlation of velocities.
"""
DENSITIES = (0.25, 12.0)
"""1 + delta within which they grow: 100 to 690 km/s."""
_POINTS_AT_ONCE = 200_000  # bounds the temporaries to some 30 MB


ReadArrays = tuple[
    Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]
]
"""Velocities of objects' hosts along the sight lines, what their errors are beside those of the fields, the objects'
own velocities and their errors [km/s]."""
Reader = Callable[[Float[np.ndarray, "n place 2"], Float[np.ndarray, "n 2"]], ReadArrays]
"""From `profiles`, the error of the fields and the size of cells; see `peculiar.models.reader`."""


@dataclass(frozen=True, eq=False)
class ObjectValues:
    """What was reconstructed at each object; NaN where it lies outside the fields.

    Attributes
    ----------
    velocities : (n, 3) [km/s]
    v_los : (n,) [km/s]
        Along the line of sight, positive away from the observer.
    v_los_scatter : (n,) [km/s]
        Its error beside that of the fields: its standard deviation over the object's possible places, or what a
        reader knows of its own errors (all of them, where the fields tell none).
    v_los_own : (n,) [km/s]
        With what the redshift itself says of the object's own motion.
    v_los_own_error : (n,) [km/s]
        All of its standard error.
    delta : (n,)
        Overdensity.
    positions_real : (n, 3) [Mpc/h]
    solutions : (n,) int
        Places on the line of sight whose velocity puts the object exactly where it is seen: 1, or 3 and more where the
        flow converges. 1 for places in real space, 0 outside.
    v_los_error : (n,) [km/s], optional
        Of `v_los`, where the fields have a velocity error.
    v_los_local_error : (n,) [km/s], optional
        That part of it that unseen matter has no share in, where the fields tell it apart.
    known_fraction : (n,), optional
        Share of the velocity's variance that the survey knows, where the fields have it.
    unseen : (n,) bool, optional
        Whether an object of a survey lies, as it is seen, where the survey saw nothing (`unseen_places`).
    """

    velocities: Float[np.ndarray, "n 3"]
    v_los: Float[np.ndarray, " n"]
    v_los_scatter: Float[np.ndarray, " n"]
    v_los_own: Float[np.ndarray, " n"]
    v_los_own_error: Float[np.ndarray, " n"]
    delta: Float[np.ndarray, " n"]
    positions_real: Float[np.ndarray, "n 3"]
    solutions: Int[np.ndarray, " n"]
    v_los_error: Float[np.ndarray, " n"] | None = None
    v_los_local_error: Float[np.ndarray, " n"] | None = None
    known_fraction: Float[np.ndarray, " n"] | None = None
    unseen: Bool[np.ndarray, " n"] | None = None

    @property
    def outside(self) -> int:
        """Objects outside the fields."""
        return int(np.isnan(self.delta).sum())

    def among(self, inside: Bool[np.ndarray, " all"]) -> ObjectValues:
        """Return the values as those of the objects `inside` among all; the others have none."""

        def spread(values: np.ndarray) -> np.ndarray:
            empty = np.nan if values.dtype.kind == "f" else 0
            result = np.full((len(inside), *values.shape[1:]), empty, dtype=values.dtype)
            result[inside] = values
            return result

        return replace(self, **{name: spread(values) for name, values in self._arrays().items()})

    def without(self, rows: Bool[np.ndarray, " n"]) -> ObjectValues:
        """Return the values without those of some objects."""
        kept = ~rows
        some = {name: values[kept] for name, values in self._arrays().items()}
        return replace(replace(self, **some).among(kept), unseen=self.unseen)

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: values for name, values in found.items() if values is not None}


def at_objects(
    catalogue: Catalogue,
    fields: Mapping[str, Field],
    *,
    cosmology: Cosmology,
    positions: Float[np.ndarray, "n 3"] | None = None,
    reader: Reader | None = None,
) -> ObjectValues:
    """Estimate the fields at each object's real-space position; see `mean_along_sight`.

    Objects of a survey (a radial line of sight and a completeness) are seen at the distances of their redshifts,
    those of a box where eq. 1 of Xiao et al. 2024 puts them, at the catalogue's redshift. Objects in real space stay
    where they are.

    Parameters
    ----------
    catalogue : Catalogue
        Gives the geometry and the space of the positions.
    fields : mapping
        "density" and "velocity"; with "velocity_error" and "known_fraction" the objects have them too.
    cosmology : Cosmology
        Gives H, and the distances of a survey's redshifts.
    positions : (n, 3) [Mpc/h], optional
        Of other objects than the catalogue's own, in the same space; they may lie outside the box, which takes them
        back where it is periodic, with a warning (`taken_back`).
    reader : callable, optional
        See `mean_along_sight`; where not given, that of a `peculiar.Reconstruction`.
    """
    points = catalogue.positions if positions is None else positions
    reader = reader or getattr(fields, "reader", None)
    return seen_in(catalogue.geometry, fields, points, cosmology=cosmology, reader=reader)


def seen_in(
    geometry: Geometry,
    fields: Mapping[str, Field],
    positions: Float[np.ndarray, "n 3"],
    *,
    cosmology: Cosmology,
    reader: Reader | None = None,
) -> ObjectValues:
    """Estimate the fields at objects that a geometry tells how they are seen; see `at_objects`."""
    box = fields["velocity"].box
    points = taken_back(positions, box)
    inside = box.contains(points)
    observed = points[inside]
    found = _seen_inside(geometry, fields, observed, cosmology=cosmology, reader=reader)
    if geometry.completeness is not None:
        found = replace(found, unseen=unseen_places(geometry.completeness, observed))
    return found.among(inside)


def taken_back(positions: Float[np.ndarray, "n 3"], box: Box) -> Float[np.ndarray, "n 3"]:
    """Return positions [Mpc/h] that a periodic box takes back, with a warning that tells how many lay outside."""
    points = box.settled(np.asarray(positions, dtype=np.float64))
    outside = np.isfinite(points).all(axis=1) & ~box.contains(points)
    if box.periodic and outside.any():
        row = int(outside.argmax())
        first, corner = (", ".join(f"{x:.5g}" for x in place) for place in (points[row], box.origin))
        warnings.warn(
            f"{int(outside.sum())} of {len(points)} positions lie outside the periodic box of {box.extent} with corner "
            f"({corner}) and were taken back into it (first: row {row} at ({first})): check their units and origin, or "
            "give box.wrap(positions)",
            InputWarning,
            stacklevel=3,
        )
    return box.wrap(points)


def _seen_inside(
    geometry: Geometry,
    fields: Mapping[str, Field],
    observed: Float[np.ndarray, "n 3"],
    *,
    cosmology: Cosmology,
    reader: Reader | None,
) -> ObjectValues:
    if geometry.space == "real":
        return at_places(fields, observed, geometry.sight_lines(observed))
    return mean_along_sight(fields, sight_of(geometry, observed, cosmology=cosmology), reader=reader)


def sight_of(geometry: Geometry, observed: Float[np.ndarray, "n 3"], *, cosmology: Cosmology) -> Sight:
    """Return the sight lines of objects in redshift space that a geometry tells how they are seen; see `at_objects`."""
    directions = geometry.sight_lines(observed)
    distance = np.full(len(observed), np.inf)
    if geometry.line_of_sight == "radial":
        distance = np.linalg.norm(observed - np.asarray(geometry.observer), axis=1)
    if geometry.survey and geometry.observer is not None:
        return SkySight(geometry.observer, directions, cosmology.redshift_at(distance), cosmology)
    factor = cosmology.redshift_space_factor(geometry.redshift)
    return BoxSight(observed, directions, distance, factor)


def at_places(
    fields: Mapping[str, Field],
    positions: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    *,
    sigma: float = DISPERSION,
) -> ObjectValues:
    """Read fields at objects in real space, which lie in the box; `directions` as in `Sight`.

    Their own velocities are those of the fields, with the error `sigma` [km/s] of motions about them.
    """
    together = _stacked(fields)
    values = together.at(positions)
    along = (values[:, :3] * directions).sum(axis=1)
    found = _object_values(together.names, values, along, np.zeros(len(positions)), positions)
    return replace(found, v_los_own_error=np.hypot(found.v_los_own_error, sigma))


def mean_along_sight(
    fields: Mapping[str, Field], sight: Sight, *, sigma: float = DISPERSION, reader: Reader | None = None
) -> ObjectValues:
    """Average fields over the places that could have sent each object to where it is seen.

    Several places r along a line of sight can have, most of all near clusters. Each counts with the number of objects
    there times the Gaussian of the redshift's error and of motions that the field does not have,
    r^2 (1 + delta(r)) exp(-(v_needed(r) - v(r))^2 / 2 s(r)^2) / s(r): v is the field's velocity along the line of
    sight, v_needed that of an object at r which is seen where it is, and r^2 stands where lines of sight diverge.
    s = sigma (1 + delta(r))^(1/2), with 1 + delta within 0.25 and 12: members of groups and clusters move most. The
    real-space position is the mean of r, and an object's own velocity that of v_needed, without r^2 and with the
    values of the faces beyond these: what a survey selects and ends at is no motion. (To invert the map picks one of
    the places: on simulated halos its velocities err by a tenth more.) Places outside a box that is not periodic do
    not count.

    Parameters
    ----------
    fields : mapping
        "density" and "velocity", of one box, and "velocity_error" and "known_fraction" where there are any.
    sight : Sight
        The objects, and the map from their lines of sight to places.
    sigma : float [km/s]
        Width of the Gaussian at the mean density.
    reader : callable, optional
        Takes the place of the mean's velocities along the lines of sight, of their errors, and of the positions.
    """
    together = _stacked(fields)
    box = together.box
    velocities = speeds(reach=MAX_SPEED + 4 * sigma, step=sigma / 2, cell_size=box.cell_size)
    at_once = max(1, _POINTS_AT_ONCE // len(velocities))
    n = len(sight.directions)
    values, positions = np.empty((n, len(together.names))), np.empty((n, 3))
    along, own, solutions = np.empty((2, n)), np.empty((2, n)), np.empty(n, dtype=np.int64)
    for start in range(0, n, at_once):
        rows = slice(start, start + at_once)
        places = sight.places(rows, velocities)
        points = places.points.reshape(-1, 3)
        there = readout(together.data, points, box).numpy(force=True).astype(np.float64)
        there = there.reshape(*places.needed.shape, -1)
        radial = np.einsum("nmc,nc->nm", there[..., :3], sight.directions[rows])
        missing = places.needed - radial
        possible = np.isfinite(places.log_volume)
        # Log, and from its peak: with a small sigma no place of the mesh may be within several sigma.
        density = np.maximum(1 + there[..., 3], LOWEST_DENSITY)
        growth = density.clip(*DENSITIES)
        log_weight = np.log(density / np.sqrt(growth)) - missing**2 / (2 * sigma**2 * growth)
        log_weight[~possible] = -np.inf
        own[:, rows] = _mean_and_scatter(np.where(possible, places.needed, 0.0), _normalised(log_weight))
        if not box.periodic:
            inside = box.contains(points).reshape(possible.shape)
            inside[:, len(velocities) // 2] = True  # where it is seen; rounding may put it past a face
            log_weight[~inside] = -np.inf
        weight = _normalised(log_weight + np.where(possible, places.log_volume, 0.0))
        values[rows] = np.einsum("nm,nmc->nc", weight, there)
        along[:, rows] = _mean_and_scatter(radial, weight)
        seen = places.points[
            :, len(velocities) // 2
        ]  # from where, the coordinates across the sight stay to the digit
        positions[rows] = seen + np.einsum("nm,nmc->nc", weight, places.points - seen[:, None])
        crossings = ((missing[:, 1:] > 0) != (missing[:, :-1] > 0)) & possible[:, 1:]
        solutions[rows] = crossings.sum(axis=1)
    found = _object_values(together.names, values, along[0], along[1], box.wrap(positions))
    own_error = np.hypot(own[1], found.v_los_own_error)
    found = replace(found, v_los_own=own[0], v_los_own_error=own_error, solutions=solutions)
    return found if reader is None else _read(found, fields, sight, reader)


def _normalised(log_weight: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _mean_and_scatter(
    values: Float[np.ndarray, "n m"], weight: Float[np.ndarray, "n m"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    mean = (weight * values).sum(axis=1)
    return mean, np.sqrt((weight * (values - mean[:, None]) ** 2).sum(axis=1))


def _read(mean: ObjectValues, fields: Mapping[str, Field], sight: Sight, reader: Reader) -> ObjectValues:
    """Return values whose velocities along the lines of sight are those that a reader finds, and places by these."""
    box = fields["velocity"].box
    error = error_to_read(mean, box)
    told = np.column_stack([error, np.full(len(error), box.cell_size)])
    along, scatter, own, own_error = reader(profiles(fields["velocity"], fields["density"], sight), told)
    known = np.nan_to_num(error)
    if mean.v_los_error is None:
        scatter = np.hypot(scatter, known)
    else:
        own_error = np.sqrt(own_error**2 + np.maximum(mean.v_los_error**2 - known**2, 0))
    velocities = mean.velocities + (along - mean.v_los)[:, None] * sight.directions
    places = box.wrap(places_of(sight, own))
    return replace(
        mean,
        velocities=velocities,
        v_los=along,
        v_los_scatter=scatter,
        v_los_own=own,
        v_los_own_error=own_error,
        positions_real=np.where(box.contains(places)[:, None], places, mean.positions_real),
    )


def error_to_read(mean: ObjectValues, box: Box) -> Float[np.ndarray, " n"]:
    """Return the error of the fields that a reader is told, of which unseen matter has no part [km/s]; NaN for none.

    Flows of unseen matter move a whole survey and its objects alike, so nothing along a line of sight tells of them.
    """
    error = mean.v_los_local_error
    if error is None and box.periodic:
        error = mean.v_los_error
    return np.full(len(mean.v_los), np.nan) if error is None else error


def error_read(read: ObjectValues, box: Box) -> Float[np.ndarray, " n"]:
    """Return all of the error of `v_los` that a reader knows of: that of unseen matter is not, where it is told one."""
    if read.v_los_error is None:
        return read.v_los_scatter
    return np.hypot(read.v_los_scatter, np.nan_to_num(error_to_read(read, box)))


def unseen_places(completeness: Field, positions: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Return where a survey saw nothing: of the eight cells about a place none is above `SELECTION_FLOOR`."""
    seen = completeness.replace(data=(completeness.data > SELECTION_FLOOR).float())
    return np.asarray(seen.at(positions)[:, 0] == 0)


def _stacked(fields: Mapping[str, Field]) -> Field:
    """Return one field of the channels vx, vy, vz, density and what is told of them: read at once."""
    names = [name for name in ("velocity", "density", *TOLD, LOCAL_ERROR) if name in fields]
    data = torch.cat([fields[name].data for name in names])
    return Field(data, fields["velocity"].box, names=("vx", "vy", "vz", *names[1:]))


def _object_values(
    names: Sequence[str],
    values: Float[np.ndarray, "n channel"],
    along: Float[np.ndarray, " n"],
    scatter: Float[np.ndarray, " n"],
    positions: Float[np.ndarray, "n 3"],
) -> ObjectValues:
    """Return values of objects whose own velocity is that of the fields, at one place each."""
    told = dict(zip(names, values.T, strict=True))
    error = told.get("velocity_error")
    return ObjectValues(
        values[:, :3],
        along,
        scatter,
        along,
        np.zeros(len(along)) if error is None else error,
        told["density"],
        positions,
        np.ones(len(along), dtype=np.int64),
        v_los_error=error,
        v_los_local_error=told.get(LOCAL_ERROR),
        known_fraction=told.get("known_fraction"),
    )
