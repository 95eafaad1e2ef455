"""Catalogues of measured distances: redshifts and distance moduli of objects on the sky."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from peculiar.catalogues.columns import find_columns, numbers
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift, galactic_directions
from peculiar.catalogues.sky import directions, refuse_outside_sky
from peculiar.catalogues.tables import read_table
from peculiar.catalogues.units import Quantity, angle, magnitude, speed
from peculiar.catalogues.units import redshift as no_unit
from peculiar.core import InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from astropy.table import Table

_QUANTITIES: dict[str, Quantity] = {
    "ra": angle,
    "dec": angle,
    "l": angle,
    "b": angle,
    "cz": speed,
    "z": no_unit,
    "mu": magnitude,
    "mu_error": magnitude,
}
NAMES = tuple(_QUANTITIES)
MODULUS_RANGE = (15.0, 50.0)
"""Distance moduli that are taken [mag]: 10 kpc to 100 Gpc; others are distances or relative moduli."""
LARGEST_ERROR = 2.0  # mag; more is no measurement, and often an error in another unit


@dataclass(frozen=True, eq=False)
class DistanceCatalogue:
    """Rows of a table of distances, in its order.

    Attributes
    ----------
    directions : (n, 3)
        Of length 1, in celestial axes.
    redshift : (n,)
        In the frame of the microwave background.
    modulus, modulus_error : (n,) [mag]
    used : (row,)
        Which rows of the table these are.
    """

    directions: Float[np.ndarray, "n 3"]
    redshift: Float[np.ndarray, " n"]
    modulus: Float[np.ndarray, " n"]
    modulus_error: Float[np.ndarray, " n"]
    used: Bool[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.redshift)

    def keep(self, rows: Bool[np.ndarray, " n"]) -> DistanceCatalogue:
        """Return the catalogue with some of its rows."""
        used = self.used.copy()
        used[used] = rows
        return DistanceCatalogue(
            self.directions[rows], self.redshift[rows], self.modulus[rows], self.modulus_error[rows], used
        )


def read_distances(
    path: str | Path | Table,
    *,
    frame: RedshiftFrame,
    cz_range: tuple[float, float] | None = None,
    columns: Mapping[str, str] | None = None,
) -> DistanceCatalogue:
    """Read a table of distances with their redshifts.

    Parameters
    ----------
    path : path or astropy Table
        Columns ``ra``, ``dec`` or ``l``, ``b`` [deg]; ``cz`` [km/s] or ``z``; ``mu``, ``mu_error`` [mag].
    frame : "heliocentric", "cmb" or "local-group"
        Rest frame of the redshifts, which are converted to that of the microwave background.
    cz_range : (2,) [km/s], optional
        Rows outside are left out, with a warning; always those with cz <= 0.
    columns : mapping, optional
        The names above to the file's own.

    Raises
    ------
    InputError
        If columns are missing or hold values that cannot be what their name says, or nothing is left.
    """
    from astropy.table import Table

    table = path if isinstance(path, Table) else read_table(path)
    unknown = set(columns or {}) - set(NAMES)
    if unknown:
        raise InputError(f"columns must map {', '.join(NAMES)}, got {', '.join(sorted(unknown))}")
    sight = _directions(table, columns)
    redshift = convert_redshift(_redshifts(table, columns), sight, source=frame)
    modulus, error = _columns(table, ("mu", "mu_error"), columns, what="distance moduli").T
    _refuse(error <= 0, error, "mu_error", "> 0 mag", "repair it or leave the row out")
    _refuse(
        error > LARGEST_ERROR,
        error,
        "mu_error",
        f"<= {LARGEST_ERROR:g} mag",
        "is it in percent, or no error?",
    )
    low, high = MODULUS_RANGE
    bad = (modulus < low) | (modulus > high)
    _refuse(bad, modulus, "mu", f"in [{low:g}, {high:g}] mag", "mu = 25 + 5 log10(luminosity distance / Mpc)")
    cz = SPEED_OF_LIGHT * redshift
    near, far = cz_range or (0.0, np.inf)
    if not 0 <= near < far:
        raise InputError(f"cz range must be two increasing numbers from 0 on in km/s, got {near:g}, {far:g}")
    kept = (cz > 0) & (cz >= near) & (cz <= far)
    if not kept.any():
        raise InputError(
            f"cz must lie in {near:g} to {far:g} km/s for some objects, got {cz.min():.5g} to {cz.max():.5g}"
        )
    if not kept.all():
        warnings.warn(
            f"{int((~kept).sum())} of {len(kept)} objects lie outside c z = {near:g} to {far:g} km/s in the frame of "
            "the microwave background, and are not used",
            stacklevel=2,
        )
    return DistanceCatalogue(sight[kept], redshift[kept], modulus[kept], error[kept], kept)


def _directions(table: Table, columns: Mapping[str, str] | None) -> Float[np.ndarray, "n 3"]:
    given, known = set(columns or {}), {name.lower() for name in table.colnames}
    galactic = bool(given & {"l", "b"}) or ({"l", "b"} <= known and not {"ra", "dec"} <= known)
    names = ("l", "b") if galactic and not given & {"ra", "dec"} else ("ra", "dec")
    longitude, latitude = _columns(table, names, columns, what="sky coordinates").T
    refuse_outside_sky(longitude, latitude, names=names)
    return (galactic_directions if names[0] == "l" else directions)(longitude, latitude)


def _redshifts(table: Table, columns: Mapping[str, str] | None) -> Float[np.ndarray, " n"]:
    """Return z from `z` or from `cz` / c, and refuse the one given as the other."""
    given, known = set(columns or {}), {name.lower() for name in table.colnames}
    name = "cz" if "cz" in given or ("cz" in known and "z" not in given) else "z"
    values = _columns(table, (name,), columns, what="redshifts")[:, 0]
    typical = float(np.median(np.abs(values)))
    wrong = {"z": typical > 20, "cz": typical < 100}[name]
    if wrong:
        rule, looks, other = ("a redshift", "km/s", "cz") if name == "z" else ("in km/s", "redshifts", "z")
        problem = (
            f"{name} must be {rule}, got a median of {typical:.5g}: these look like {looks}; call the column"
        )
        raise InputError(
            f"{problem} {other} (columns={{'{other}': NAME}})",
            command=f"{problem} {other} (--column {other}=NAME)",
        )
    return values / SPEED_OF_LIGHT if name == "cz" else values


def _columns(
    table: Table, wanted: tuple[str, ...], columns: Mapping[str, str] | None, *, what: str
) -> Float[np.ndarray, "n columns"]:
    names = find_columns(table, wanted, columns=columns)
    assert names is not None  # they are required
    return numbers(table, names, what=what, quantities=[_QUANTITIES[name] for name in wanted])


def _refuse(bad: np.ndarray, values: np.ndarray, name: str, rule: str, remedy: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{name} must be {rule}, got {int(bad.sum())} of {len(values)} rows that are not (first: row {row}, "
            f"{values[row]:.6g}): {remedy}"
        )
