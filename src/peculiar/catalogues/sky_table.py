"""Tables of a survey: the redshift and place of every row, and the random points of one or several files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.columns import find_columns, numbers
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift, refuse_no_redshift
from peculiar.catalogues.sky import SkyMask, refuse_outside_sky, sky_directions, to_cartesian
from peculiar.catalogues.survey import COLUMNS, Survey
from peculiar.catalogues.tables import read_table
from peculiar.catalogues.units import angle, redshift
from peculiar.catalogues.weights import Weights, weigh_randoms
from peculiar.core import Cosmology, InputError

if TYPE_CHECKING:
    from astropy.table import Table

_MANY = 100  # rows, from which on their angles tell of another unit


@dataclass(frozen=True, eq=False)
class Randoms:
    """Random points of a survey: positions (m, 3) [Mpc/h] and optional weights (m,)."""

    positions: Float[np.ndarray, "m 3"]
    weights: Float[np.ndarray, " m"] | None = None

    def within(self, mask: SkyMask, limits: tuple[float, float]) -> Randoms:
        """Return the points in a mask and between two distances [Mpc/h]."""
        distance = np.linalg.norm(self.positions, axis=1)
        kept = (mask.at(self.positions) > 0) & (distance >= limits[0]) & (distance <= limits[1])
        if not kept.any():
            raise InputError(
                f"randoms must lie in the survey, got none of {len(kept)} in the mask from {limits[0]:.5g} to "
                f"{limits[1]:.5g} Mpc/h: are they another survey's?"
            )
        return Randoms(self.positions[kept], None if self.weights is None else self.weights[kept])


def sky_coordinates(
    table: Table, columns: Mapping[str, str] | None = None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return ra, dec [deg] and the redshift of every row, each (n,).

    Raises
    ------
    InputError
        If columns are missing, hold no numbers, are in units of something else, or angles lie outside the sky.
    """
    names = find_columns(table, ("ra", "dec", "z"), columns=columns)
    assert names is not None  # they are required
    ra, dec, z = numbers(table, names, what="sky coordinates", quantities=[angle, angle, redshift]).T
    refuse_outside_sky(ra, dec)
    _warn_of_other_units(ra, dec)
    return ra, dec, z


def sky_places(
    table: Table,
    *,
    cosmology: Cosmology,
    columns: Mapping[str, str] | None = None,
    frame: RedshiftFrame = "cmb",
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Return the redshift in the frame of the CMB and the comoving position [Mpc/h] of every row of a survey's table.

    Objects of negative redshift have no distance: their position is NaN.

    Raises
    ------
    InputError
        If columns are missing, coordinates out of range, redshifts look like km/s, or more than half of them are
        negative.
    """
    unknown = set(columns or {}) - set(COLUMNS)
    if unknown:
        raise InputError(f"columns must map {', '.join(COLUMNS)}, got {', '.join(sorted(unknown))}")
    ra, dec, z = sky_coordinates(table, columns)
    refuse_no_redshift(z)
    if frame != "cmb":
        z = convert_redshift(z, sky_directions(ra, dec), source=frame)
    near = z < 0
    if near.mean() > 0.5:
        raise InputError(
            f"z must be a redshift, got {int(near.sum())} of {len(z)} rows below 0 in the frame of the CMB: is it "
            "another column's?"
        )
    positions = to_cartesian(ra, dec, redshift=np.where(near, 0.0, z), cosmology=cosmology)
    positions[near] = np.nan
    return z, positions


def read_randoms(survey: Survey, *, objects: Weights, cosmology: Cosmology) -> Randoms:
    """Read a survey's files of random points as one.

    They have the columns and the frame of the galaxies, where they have them, and weights of their own; see
    `weigh_randoms`.

    Raises
    ------
    InputError
        If a file cannot be read, or some of the files have weights and others none.
    """
    parts = [_read_points(path, survey, objects=objects, cosmology=cosmology) for path in survey.randoms]
    weighted = [part.weights is not None for part in parts]
    if len(set(weighted)) > 1:
        without = ", ".join(str(path) for path, has in zip(survey.randoms, weighted, strict=True) if not has)
        raise InputError(f"all files of randoms must have weights or none, got none in {without}")
    return Randoms(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.weights for part in parts if part.weights is not None]) if weighted[0] else None,
    )


def _read_points(path: Path, survey: Survey, *, objects: Weights, cosmology: Cosmology) -> Randoms:
    table = read_table(path)
    lower = {name.lower() for name in table.colnames}
    own = {name: column for name, column in survey.columns.items() if column.lower() in lower}
    try:
        _, positions = sky_places(table, cosmology=cosmology, columns=own, frame=survey.frame or "cmb")
        weights = weigh_randoms(
            table, survey.random_weights, objects, given=survey.weights is not None, columns=own
        )
    except InputError as error:
        raise error.within(f"randoms {path}") from error
    known = np.isfinite(positions[:, 0])
    return Randoms(positions[known], None if weights is None else weights[known])


def _warn_of_other_units(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> None:
    """Warn of angles that fill the range of another unit; a declared one was converted."""
    if len(ra) < _MANY:
        return
    reach, height = float(ra.max() - ra.min()), float(np.ptp(dec))
    unit = None
    if 5 < reach <= 2 * np.pi + 1e-6 and ra.max() <= 2 * np.pi + 1e-6 and 1 < height <= np.pi + 1e-6:
        unit = "radians" if np.abs(dec).max() <= np.pi / 2 + 1e-6 else None
    elif 20 < reach <= 24 and ra.max() <= 24 and height > 60:
        unit = "hours"
    if unit is not None:
        warnings.warn(
            f"ra from {ra.min():.4g} to {ra.max():.4g} with dec from {dec.min():.4g} to {dec.max():.4g} is taken as "
            f"degrees: are these {unit}? Declare the column's unit, or convert it",
            stacklevel=4,
        )
