"""Columns of a table: found by name, turned into numbers in the package's units, checked."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Table

DUPLICATES_ALLOWED = 0.01
"""Largest fraction of rows that may repeat an earlier position exactly."""

_ALIASES = {
    "ra": ("right_ascension", "alpha", "raj2000", "ra_deg", "lon"),
    "dec": ("declination", "delta", "dej2000", "decj2000", "dec_deg", "lat"),
    "z": ("redshift", "z_obs", "zobs", "z_spec", "zspec", "z_cmb", "zcmb", "cz"),
    "mass": ("m", "m200", "m200b", "m200c", "mvir", "m_vir", "halo_mass", "luminosity"),
    "magnitude": ("mag", "m", "r", "rmag", "r_mag", "mag_r", "petromag_r", "modelmag_r", "k_tmag", "ktmag"),
    "weight": ("w", "weights", "wc", "weight_systot"),
}
_VECTORS = {
    ("x", "y", "z"): ("position", "positions", "pos"),
    ("vx", "vy", "vz"): ("velocity", "velocities", "vel"),
}


def find_columns(
    table: Table, wanted: Sequence[str], *, columns: Mapping[str, str] | None = None, required: bool = True
) -> list[str] | None:
    """Return the table's names of the wanted columns.

    Parameters
    ----------
    table : astropy Table
    wanted : sequence of str
        The package's names, for example ``("x", "y", "z")``.
    columns : mapping, optional
        The package's name to the file's name, for those that differ.
    required : bool
        Whether missing columns are an error; else None is returned when all are missing.

    Raises
    ------
    InputError
        If some are missing; close names that the table has are suggested.
    """
    names = {name: (columns or {}).get(name, name) for name in wanted}
    missing = [name for name in wanted if names[name] not in table.colnames]
    if not missing:
        return list(names.values())
    if not required and len(missing) == len(wanted) and not any(name in (columns or {}) for name in wanted):
        return None
    found = {name: _closest(names[name], name, table.colnames) for name in missing}
    advice = ", ".join(f"{name!r}: {close!r}" for name, close in found.items() if close)
    lower = {name.lower() for name in table.colnames}
    remedy = (
        f"rename them, or give columns={{{advice}}}"
        if advice
        else "rename the columns, or give columns={...}"
    )
    if "x" in wanted and {"ra", "dec"} <= lower:
        remedy = "this looks like a survey on the sky, which is read with --sky (read_sky_catalogue)"
    elif "ra" in wanted and {"x", "y", "z"} <= lower:
        remedy = "this looks like a catalogue in a box, which is read with --box (read_catalogue)"
    raise InputError(
        f"catalogue must have columns {', '.join(names.values())}, got {', '.join(table.colnames) or 'none'} "
        f"(missing: {', '.join(names[name] for name in missing)}): {remedy}"
    )


def vector_column(table: Table, wanted: tuple[str, str, str]) -> str | None:
    """Return the name of a single (n, 3) column that holds the three wanted ones, if there is one."""
    lower = {name.lower(): name for name in table.colnames}
    for alias in _VECTORS.get(wanted, ()):
        name = lower.get(alias)
        if name is not None and table[name].ndim == 2 and table[name].shape[1] == 3:
            return name
    return None


def numbers(table: Table, names: Sequence[str], *, what: str) -> Float[np.ndarray, "n columns"]:
    """Return columns as one float64 array; masked entries count as NaN.

    Raises
    ------
    InputError
        If a column holds no numbers, or any row is NaN or infinite.
    """
    arrays = []
    for name in names:
        column = np.ma.asarray(table[name])
        if column.dtype.kind not in "iufb":
            raise InputError(
                f"column {name} must hold numbers, got {column.dtype} (first: {table[name][0]!r})"
            )
        arrays.append(np.ma.filled(column.astype(np.float64), np.nan))
    values = np.stack(arrays, axis=1) if arrays[0].ndim == 1 else arrays[0]
    bad = np.asarray(~np.isfinite(values).all(axis=1))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{what} ({', '.join(names)}) must be finite, got {int(bad.sum())} of {len(bad)} rows that are NaN, "
            f"infinite or empty (first: row {row}, {values[row]}): remove or repair them"
        )
    return values


def length_factor(unit: Any) -> float:
    """Return what turns a column's declared unit into comoving Mpc/h; 1 where none is declared.

    ``h`` in a unit of length is the Hubble parameter, although astropy reads an hour.

    Raises
    ------
    InputError
        If the unit is a length without h, or no length.
    """
    import astropy.cosmology.units as cu
    import astropy.units as u

    if unit is None or str(unit) == "":
        return 1.0
    if isinstance(unit, u.UnrecognizedUnit):
        plain = str(unit).replace(" ", "").replace("^", "").lower()
        known = {
            "h-1mpc": 1.0,
            "h-1.mpc": 1.0,
            "mpc/h": 1.0,
            "mpch-1": 1.0,
            "h-1kpc": 1e-3,
            "kpc/h": 1e-3,
            "cmpc/h": 1.0,
        }
        if plain in known:
            return known[plain]
    for hubble in (u.hour, cu.littleh):
        try:
            return float((u.Unit(unit) * hubble).to(u.Mpc))
        except (u.UnitConversionError, ValueError, TypeError):
            continue
    raise InputError(
        f"positions must be in comoving Mpc/h, got unit {str(unit)!r}: convert them (1 Mpc = h Mpc/h), or remove the "
        "unit if it is wrong"
    )


def speed_factor(unit: Any) -> float:
    """Return what turns a column's declared unit into km/s; 1 where none is declared."""
    import astropy.units as u

    if unit is None or str(unit) == "":
        return 1.0
    try:
        return float(u.Unit(unit).to(u.km / u.s))
    except (u.UnitConversionError, ValueError, TypeError):
        raise InputError(
            f"velocities must be peculiar velocities in km/s, got unit {str(unit)!r}: convert them"
        ) from None


def refuse_duplicates(positions: Float[np.ndarray, "n 3"], *, what: str = "positions") -> None:
    """Refuse rows that repeat in bulk, and warn of fewer.

    Raises
    ------
    InputError
        If more than 1 % of the rows repeat an earlier one exactly.
    """
    order = np.lexsort(positions.T)
    repeats = int((np.diff(positions[order], axis=0) == 0).all(axis=1).sum())
    if repeats > DUPLICATES_ALLOWED * len(positions):
        raise InputError(
            f"{what} must be of different objects, got {repeats} of {len(positions)} rows that repeat another exactly "
            f"(at most {DUPLICATES_ALLOWED:.0%} may): was a file joined to itself? Remove the copies"
        )
    if repeats:
        warnings.warn(
            f"{repeats} of {len(positions)} rows repeat the {what} of another exactly; they are kept as objects",
            stacklevel=3,
        )


def _closest(name: str, canonical: str, colnames: Sequence[str]) -> str | None:
    """Return the table's column most likely meant: another case, a known alias, or a close spelling."""
    lower = {column.lower(): column for column in colnames}
    axis = canonical[-1]
    guesses = (
        name.lower(),
        *_ALIASES.get(canonical, ()),
        f"pos_{axis}",
        f"{axis}pos",
        f"{axis}_pos",
        f"{axis}_coord",
    )
    for guess in guesses:
        if guess in lower and lower[guess] != name:
            return lower[guess]
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)
    return lower[close[0]] if close else None
