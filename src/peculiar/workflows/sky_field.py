"""A reconstructed field with its observer and cosmology, as objects on the sky need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from peculiar.catalogues.added import object_columns
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.catalogues.sky import sky_directions
from peculiar.core import Cosmology, Field, InputError
from peculiar.core.catalogue import SELECTION_FLOOR
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.fields.objects import DISPERSION, ObjectValues, at_places, mean_along_sight
from peculiar.fields.sight import SkySight, in_box

Observer = tuple[float, float, float]
NO_VELOCITY = {
    "z < 0": "have a redshift below 0",
    "outside": "lie outside the field",
    "unseen": "lie where the survey saw nothing",
}
"""Why an object has no velocity, and how that is said of several."""
SIGMA_RANGE = (20.0, 2000.0)
"""Scatter that is taken [km/s]: less is finer than any mesh, more is no redshift."""
OWN_COLUMNS = ("v_los_scatter", "z_cosmological", "solutions", "missing")


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryResult(ObjectValues):
    """What the field says about each object: `ObjectValues`, and what follows; NaN where there is a `missing` reason.

    Velocities are those of matter about the object, in celestial axes and the frame of the microwave background.

    Attributes
    ----------
    z_cosmological : (n,)
        Redshift without the peculiar velocity: (1 + z_cmb) / (1 + v_los / c) - 1, z itself for places in real space.
    missing : (n,) text
        Why there is no velocity, a key of `peculiar.workflows.sky_field.NO_VELOCITY`; "" where there is one.
    """

    z_cosmological: Float[np.ndarray, " n"]
    missing: Shaped[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.v_los)

    def columns(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """Return what a table gets: columns of `peculiar.catalogues.added.COLUMNS`."""
        own = (self.v_los_scatter, self.z_cosmological, self.solutions, self.missing)
        columns = object_columns(self.velocities, self.v_los, self.delta, self.positions_real)
        columns |= zip(OWN_COLUMNS, own, strict=True)
        return columns if self.v_los_error is None else columns | {"v_los_error": self.v_los_error}

    def records(self) -> list[dict[str, float | int | str | None]]:
        """Return one mapping per object, as JSON holds it: None where there is no value."""
        return [
            {
                name: None
                if isinstance(value := values[row].item(), float) and not np.isfinite(value)
                else value
                for name, values in self.columns().items()
            }
            for row in range(len(self))
        ]


@dataclass(frozen=True, eq=False)
class SkyField:
    """Velocity and density about an observer, and the velocity's error where it is known.

    Parameters
    ----------
    velocity : Field
        A vector [km/s], in real space.
    density : Field
        Overdensity, on the same box.
    observer : (3,) [Mpc/h]
        In the box's coordinates, whose axes are celestial: x to ra 0, z to the north pole.
    cosmology : Cosmology
        Gives distances.
    velocity_error : Field, optional
        Of one component of the velocity [km/s], on the same box.
    completeness : Field, optional
        Of a survey, in redshift space, on the same box: without objects the field is an extrapolation.

    Raises
    ------
    InputError
        If the fields are of other kinds, in redshift space, or on different boxes.
    """

    velocity: Field
    density: Field
    observer: Observer
    cosmology: Cosmology
    velocity_error: Field | None = None
    completeness: Field | None = None

    def __post_init__(self) -> None:
        for name, field, kind in (
            ("velocity", self.velocity, "vector"),
            ("density", self.density, "scalar"),
            ("velocity_error", self.velocity_error, "scalar"),
        ):
            if field is None:
                continue
            if field.kind != kind or field.space != "real":
                raise InputError(
                    f"{name} must be a {kind} in real space, got a {field.kind} in {field.space} space: "
                    "give an output of reconstruct"
                )
            self.velocity.require_same_box(field)
        if self.velocity.unit != "km/s":
            raise InputError(f"velocity must be in km/s, got unit {self.velocity.unit!r}: convert it")
        if self.completeness is not None:
            self.velocity.require_same_box(self.completeness)

    @property
    def fields(self) -> dict[str, Field]:
        """The fields that say something of an object, by name."""
        found = {"velocity": self.velocity, "density": self.density}
        return found if self.velocity_error is None else found | {"velocity_error": self.velocity_error}

    def missing(
        self, directions: Float[np.ndarray, "n 3"], redshift: Float[np.ndarray, " n"]
    ) -> Shaped[np.ndarray, " n"]:
        """Return why objects have no velocity, as the keys of `NO_VELOCITY`, (n,) text; "" where they have one.

        Where a survey saw nothing is told by its completeness at the observed redshift: of the eight cells about the
        place none is above 0.3.

        Parameters
        ----------
        directions : (n, 3)
            Of length 1, in celestial axes.
        redshift : (n,)
            In the frame of the microwave background.
        """
        distance = np.asarray(self.cosmology.comoving_distance(np.maximum(redshift, 0.0)))
        inside = in_box(self.velocity, self.observer, directions, distance)
        reasons = np.where(redshift < 0, "z < 0", np.where(inside, "", "outside"))
        there = np.flatnonzero(reasons == "")
        if self.completeness is not None and len(there):
            seen = self.completeness.replace(data=(self.completeness.data > SELECTION_FLOOR).float())
            places = np.asarray(self.observer) + distance[there, None] * directions[there]
            reasons[there[seen.at(places)[:, 0] == 0]] = "unseen"
        return reasons

    def at(
        self,
        *,
        ra: ArrayLike,
        dec: ArrayLike,
        z: ArrayLike,
        frame: RedshiftFrame = "cmb",
        space: Literal["redshift", "real"] = "redshift",
        sigma: float = DISPERSION,
    ) -> QueryResult:
        """Return velocity and density at places on the sky; see `peculiar.workflows.query.query`."""
        ra, dec, z = _together(ra, dec, z)
        if space not in ("redshift", "real"):
            raise InputError(f"space must be 'redshift' or 'real', got {space!r}")
        if not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]:
            raise InputError(f"sigma must lie in [{SIGMA_RANGE[0]:g}, {SIGMA_RANGE[1]:g}] km/s, got {sigma}")
        sight = sky_directions(ra, dec)
        redshift = convert_redshift(z, sight, source=frame)
        missing = self.missing(sight, redshift)
        inside = missing == ""
        if space == "real":
            distance = self.cosmology.comoving_distance(redshift[inside])
            places = np.asarray(self.observer) + distance[:, None] * sight[inside]
            found = at_places(self.fields, places, sight[inside]).among(inside)
            cosmological = np.where(inside, redshift, np.nan)
        else:
            along = SkySight(self.observer, sight[inside], redshift[inside], self.cosmology)
            found = mean_along_sight(self.fields, along, sigma=sigma).among(inside)
            cosmological = (1 + redshift) / (1 + found.v_los / SPEED_OF_LIGHT) - 1
        return QueryResult(**vars(found), z_cosmological=cosmological, missing=missing)


def explain(reasons: Shaped[np.ndarray, " n"]) -> list[str]:
    """Return a line for each reason that objects have no velocity, with their number."""
    return [
        f"{count} of {len(reasons)} objects {meaning}"
        for reason, meaning in NO_VELOCITY.items()
        if (count := int((reasons == reason).sum()))
    ]


def _together(*columns: ArrayLike) -> list[Float[np.ndarray, " n"]]:
    arrays = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in columns]
    try:
        arrays = [np.array(values) for values in np.broadcast_arrays(*arrays)]
    except ValueError:
        raise InputError(
            f"ra, dec and z must be of one length, got {', '.join(str(a.size) for a in arrays)}"
        ) from None
    if arrays[0].ndim != 1:
        raise InputError(f"ra, dec and z must be numbers or one-dimensional, got shape {arrays[0].shape}")
    return arrays
