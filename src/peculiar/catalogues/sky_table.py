"""Tables of a survey: the redshift and place of every row."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.columns import find_columns, numbers
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift, refuse_no_redshift
from peculiar.catalogues.sky import refuse_outside_sky, sky_directions, to_cartesian
from peculiar.catalogues.survey import COLUMNS
from peculiar.catalogues.units import angle, redshift
from peculiar.core import Cosmology, InputError

if TYPE_CHECKING:
    from astropy.table import Table

    from peculiar.catalogues.table_file import TableFile

_MANY = 100  # rows, from which on their angles tell of another unit


def sky_coordinates(
    table: Table | TableFile, columns: Mapping[str, str] | None = None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return ra, dec [deg] and the redshift of every row, each (n,).

    Raises
    ------
    InputError
        If columns are missing, hold no numbers, are in units of something else, or angles lie outside the sky.
    """
    ra, dec, z = _coordinates(table, columns)
    _warn_of_other_units(len(ra), ra, dec)
    return ra, dec, z


def columns_used(columns: Mapping[str, str] | None = None) -> set[str]:
    """Return the names that `sky_coordinates` looks for."""
    return {(columns or {}).get(name, name) for name in ("ra", "dec", "z")}


def sky_places(
    table: Table | TableFile,
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
    reader = SkyReader(cosmology, columns=columns, frame=frame)
    found = reader.read(table)
    reader.check()
    return found


class SkyReader:
    """Reads a survey's table in one or several pieces, and then checks what only all of them tell.

    Parameters
    ----------
    cosmology, columns, frame
        As of `sky_places`.
    """

    def __init__(
        self, cosmology: Cosmology, *, columns: Mapping[str, str] | None = None, frame: RedshiftFrame = "cmb"
    ) -> None:
        unknown = set(columns or {}) - set(COLUMNS)
        if unknown:
            raise InputError(f"columns must map {', '.join(COLUMNS)}, got {', '.join(sorted(unknown))}")
        self.cosmology, self.columns, self.frame = cosmology, columns, frame
        self.rows = self.near = 0
        self.ends: list[np.ndarray] = []
        """Least and largest ra and dec of each piece."""

    def read(self, table: Table | TableFile) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        """Return redshifts and positions of a piece, as `sky_places` does."""
        ra, dec, z = _coordinates(table, self.columns)
        refuse_no_redshift(z)
        if self.frame != "cmb":
            z = convert_redshift(z, sky_directions(ra, dec), source=self.frame)
        near = z < 0
        self.rows += len(z)
        self.near += int(near.sum())
        self.ends.append(np.array([[ra.min(), ra.max()], [dec.min(), dec.max()]]))
        positions = to_cartesian(ra, dec, redshift=np.where(near, 0.0, z), cosmology=self.cosmology)
        positions[near] = np.nan
        return z, positions

    def check(self) -> None:
        """Warn of angles in other units; refuse redshifts most of which are negative."""
        ra, dec = np.concatenate(self.ends, axis=1)
        _warn_of_other_units(self.rows, ra, dec)
        if self.near > self.rows / 2:
            raise InputError(
                f"z must be a redshift, got {self.near} of {self.rows} rows below 0 in the frame of the CMB: is it "
                "another column's?"
            )


def _coordinates(
    table: Table | TableFile, columns: Mapping[str, str] | None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    names = find_columns(table, ("ra", "dec", "z"), columns=columns)
    assert names is not None  # they are required
    ra, dec, z = numbers(table, names, what="sky coordinates", quantities=[angle, angle, redshift]).T
    refuse_outside_sky(ra, dec)
    return ra, dec, z


def _warn_of_other_units(rows: int, ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> None:
    """Warn of angles that fill the range of another unit; a declared one was converted. Their ends are enough."""
    if rows < _MANY:
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
