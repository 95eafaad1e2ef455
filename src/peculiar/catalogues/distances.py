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
from peculiar.catalogues.distance_tables import Known, known_table
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift, galactic_directions
from peculiar.catalogues.sky import directions, refuse_outside_sky
from peculiar.catalogues.tables import read_table
from peculiar.catalogues.units import Quantity, angle, magnitude, rank, speed
from peculiar.catalogues.units import redshift as no_unit
from peculiar.core import Cosmology, InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.fields.sight import distance_modulus

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
    "motion_error": magnitude,
    "eta": rank,
    "eta_error": rank,
    "used": rank,
}
NAMES = tuple(_QUANTITIES)
_MODULI, _RATIOS = ("mu", "mu_error", "motion_error"), ("eta", "eta_error")
_IN_PLACE_OF = {
    "z": ("cz",),
    "cz": ("z",),
    "mu": _RATIOS,
    "mu_error": (*_RATIOS, "motion_error"),
    "eta": _MODULI,
    "eta_error": _MODULI,
    **dict.fromkeys(("l", "b"), ("ra", "dec")),
    **dict.fromkeys(("ra", "dec"), ("l", "b")),
}
LOG_DISTANCE_COSMOLOGY = Cosmology(Omega_m=0.31)
"""Of the distances of redshifts in log-distance ratios; 0.3 or 0.32 change moduli at z = 0.1 by 0.002 mag."""
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
    frame: RedshiftFrame | None = None,
    cz_range: tuple[float, float] | None = None,
    columns: Mapping[str, str] | None = None,
) -> DistanceCatalogue:
    """Read a table of distances with their redshifts.

    Parameters
    ----------
    path : path or astropy Table
        Columns ``ra``, ``dec`` or ``l``, ``b`` [deg]; ``cz`` [km/s] or ``z``; ``mu``, ``mu_error`` [mag], or the
        log-distance ratio ``eta`` = log10(distance of the redshift / distance) and ``eta_error``. ``motion_error``
        [mag] is what mu_error holds of peculiar velocities, and is taken out; rows that are not ``used`` are left out.
        Tables of `peculiar.catalogues.distance_tables.TABLES` are known by their own names.
    frame : "heliocentric", "cmb" or "local-group", optional
        Rest frame of the redshifts, which are converted to that of the microwave background; known tables tell it.
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
    columns, frame = _with_known(table, dict(columns or {}), frame)
    chosen = _chosen(table, columns)
    table = table[chosen]
    sight = _directions(table, columns)
    redshift = convert_redshift(_redshifts(table, columns), sight, source=frame)
    modulus, error = _moduli(table, columns, redshift)
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
    used = chosen.copy()
    used[chosen] = kept
    return DistanceCatalogue(sight[kept], redshift[kept], modulus[kept], error[kept], used)


def _with_known(
    table: Table, columns: dict[str, str], frame: RedshiftFrame | None
) -> tuple[dict[str, str], RedshiftFrame]:
    """Return the columns and the frame, where they are not given those that a known kind of table has."""
    corrected = [name for name in (columns.get("z"), columns.get("cz")) if name and name.lower() == "zhd"]
    if corrected:
        raise InputError(
            f"z must hold the peculiar velocities that are tested, got column {corrected[0]}, from which they were "
            "taken out: give zCMB or zHEL"
        )
    names = {name.lower() for name in table.colnames}
    known = None if any(set(pair) <= names for pair in (_MODULI[:2], _RATIOS)) else known_table(table)
    theirs = {} if known is None else _unless_given(known, columns)
    if known is None or not {"z", "cz"} & set(theirs):
        if frame is None:
            rule = (
                "frame must say in which rest frame the redshifts are, got none for a table of no known kind"
            )
            raise InputError(
                f"{rule}: give heliocentric, cmb or local-group",
                command=f"{rule}: give --frame heliocentric, cmb or local-group",
            )
        return theirs | columns, frame
    if frame not in (None, known.kind.frame):
        name = theirs.get("z") or theirs.get("cz")
        problem = f"frame must be {known.kind.frame} for column {name} of {known.kind.name}, got {frame}"
        raise InputError(
            f"{problem}: leave it out, or name another column of redshifts",
            command=f"{problem}: leave it out, or give --column z=NAME",
        )
    return theirs | columns, known.kind.frame


def _unless_given(known: Known, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a known table without those in whose place others are given."""
    replaced = set(columns).union(*(_IN_PLACE_OF.get(name, ()) for name in columns))
    return {name: own for name, own in known.columns.items() if name not in replaced}


def _chosen(table: Table, columns: Mapping[str, str]) -> Bool[np.ndarray, " row"]:
    """Return the rows that the table itself says are to be used."""
    names = find_columns(table, ("used",), columns=columns, required=False) if "used" in columns else None
    if names is None:
        return np.ones(len(table), dtype=bool)
    chosen = np.asarray(numbers(table, names, what="used rows", quantities=[rank])[:, 0] != 0)
    if not chosen.any():
        raise InputError(
            f"{names[0]} must be true for some rows, got none of {len(table)}: leave the column out"
        )
    if not chosen.all():
        warnings.warn(
            f"{int((~chosen).sum())} of {len(chosen)} rows are not {names[0]}, and are not used", stacklevel=3
        )
    return chosen


def _moduli(
    table: Table, columns: Mapping[str, str], redshift: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return distance moduli and errors [mag], of columns of these or of log-distance ratios."""
    plain = {name.lower() for name in table.colnames}
    if "mu" not in columns and ("eta" in columns or ("eta" in plain and "mu" not in plain)):
        eta, error = _columns(table, ("eta", "eta_error"), columns, what="log-distance ratios").T
        distance = LOG_DISTANCE_COSMOLOGY.comoving_distance(np.maximum(redshift, 0.0))
        return distance_modulus(distance * 10**-eta, redshift), 5 * error
    modulus, error = _columns(table, ("mu", "mu_error"), columns, what="distance moduli").T
    if "motion_error" in columns:
        motion = _columns(table, ("motion_error",), columns, what="errors")[:, 0]
        _refuse(motion >= error, motion, "motion_error", "< mu_error", "is it part of mu_error? Leave it out")
        error = np.sqrt(error**2 - motion**2)
    return modulus, error


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
