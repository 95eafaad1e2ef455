"""Columns of a table: found by name, and let through one gate: one finite number per row, in the package's units."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from peculiar.catalogues.units import Quantity, magnitude, rank
from peculiar.core import InputError, InputWarning

if TYPE_CHECKING:
    from astropy.table import Table

    from peculiar.catalogues.table_file import TableFile

DUPLICATES_ALLOWED = 0.01
"""Largest fraction of rows that may repeat an earlier position exactly."""

_ALIASES = {
    "ra": ("right_ascension", "alpha", "raj2000", "ra_deg", "lon"),
    "dec": ("declination", "delta", "dej2000", "decj2000", "dec_deg", "lat"),
    "z": ("redshift", "z_obs", "zobs", "z_spec", "zspec", "z_cmb", "zcmb", "cz"),
    "mass": ("m200", "m200b", "m200c", "mvir", "m_vir", "luminosity"),
    "magnitude": ("mag", "m", "r", "rmag", "r_mag", "mag_r", "petromag_r", "modelmag_r", "k_tmag", "ktmag"),
    "weight": ("weights", "wc", "weight_systot"),
    "nz": ("nx", "nbar", "n_z"),
}
_VECTORS = {
    "position": ("position", "positions", "pos", "coordinates", "coords", "xyz"),
    "velocity": ("velocity", "velocities", "vel"),
}


def find_columns(
    table: Table | TableFile,
    wanted: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    required: bool = True,
) -> list[str] | None:
    """Return the table's names of the wanted columns, which may be written in any case.

    Parameters
    ----------
    table : astropy Table or TableFile
    wanted : sequence of str
        The package's names, for example ``("x", "y", "z")``.
    columns : mapping, optional
        The package's name to the file's name, for those that differ.
    required : bool
        Whether missing columns are an error; else None is returned when all are missing.

    Raises
    ------
    InputError
        If some are missing, or only capitals tell which of several is meant; close names that the table has are
        suggested.
    """
    names = {name: (columns or {}).get(name, name) for name in wanted}
    found = {name: _any_case(own, table.colnames) for name, own in names.items()}
    missing = [name for name in wanted if found[name] is None]
    if not missing:
        return [str(own) for own in found.values()]
    if not required and len(missing) == len(wanted) and not any(name in (columns or {}) for name in wanted):
        return None
    close = {name: _closest(names[name], name, table.colnames) for name in missing}
    likely = {name: own for name, own in close.items() if own}
    problem = (
        f"catalogue must have columns {', '.join(names.values())}, got {', '.join(table.colnames) or 'none'} "
        f"(missing: {', '.join(names[name] for name in missing)})"
    )
    lower = {name.lower() for name in table.colnames}
    if "x" in wanted and {"ra", "dec"} <= lower:
        python, command = "read_sky_catalogue", "--sky"
        problem += ": this looks like a survey on the sky, which is read with"
        raise InputError(f"{problem} {python}", command=f"{problem} {command}")
    if "ra" in wanted and {"x", "y", "z"} <= lower:
        problem += ": this looks like a catalogue in a box, which is read with"
        raise InputError(f"{problem} read_catalogue", command=f"{problem} `peculiar reconstruct --box`")
    if "ra" in wanted and ({"l", "b"} <= lower or {"glon", "glat"} <= lower):
        raise InputError(f"{problem}: galactic coordinates must be turned into ra, dec (ICRS)")
    raise InputError(
        f"{problem}: rename them, or give columns={likely or '{...}'}",
        command=f"{problem}: rename them, or give "
        + " ".join(f"--column {name}={own or 'COLUMN'}" for name, own in close.items()),
    )


def find_vector(table: Table | TableFile, name: str, columns: Mapping[str, str] | None = None) -> str | None:
    """Return the table's (n, 3) column of positions or velocities, if there is one.

    Parameters
    ----------
    table : astropy Table or TableFile
    name : "position" or "velocity"
    columns : mapping, optional
        The package's names to the file's own.
    """
    if name in (columns or {}):
        found = find_columns(table, (name,), columns=columns)
        return found[0] if found else None
    for alias in _VECTORS[name]:
        own = _any_case(alias, table.colnames)
        if own is not None and np.shape(table[own])[1:] == (3,):
            return own
    return None


def numbers(
    table: Table | TableFile, names: Sequence[str], *, what: str, quantities: Sequence[Quantity]
) -> Float[np.ndarray, "n columns"]:
    """Return columns of one number per row as one float64 array in the package's units; masked entries count as NaN.

    Parameters
    ----------
    table : astropy Table or TableFile
    names : sequence of str
        The table's own.
    what : str
        What they are together, for messages.
    quantities : sequence of Quantity
        What each is, which gives the unit; see `peculiar.catalogues.units`.

    Raises
    ------
    InputError
        If a column holds no numbers, several in a row, another kind of unit, or any row is NaN or infinite.
    """
    values = [_gate(table, name, quantity) for name, quantity in zip(names, quantities, strict=True)]
    for name, array in zip(names, values, strict=True):
        if array.shape[1] != 1:
            problem = f"column {name} must hold one number per row, got {array.shape[1]} of them"
            own = "position" if array.shape[1] == 3 else None
            raise InputError(
                problem
                + (f": positions in one column are given as columns={{'{own}': '{name}'}}" if own else ""),
                command=problem
                + (f": positions in one column are given as --column {own}={name}" if own else ""),
            )
    return _finite(np.concatenate(values, axis=1), names, what)


def vectors(
    table: Table | TableFile, name: str, *, what: str, quantity: Quantity
) -> Float[np.ndarray, "n 3"]:
    """Return a column of three numbers per row, as `numbers` does."""
    values = _gate(table, name, quantity)
    if values.shape[1] != 3:
        raise InputError(f"column {name} must hold three numbers per row, got {values.shape[1]}")
    return _finite(values, [name], what)


def optional_numbers(
    table: Table | TableFile, name: str, columns: Mapping[str, str] | None = None
) -> Float[np.ndarray, " n"] | None:
    """Return an optional column, "mass", "weight" or "magnitude", or None where the table has none.

    A likely column of another name is not taken, but named in a warning. Weights are never negative.
    """
    found = find_columns(table, (name,), columns=columns, required=False)
    if found is None:
        likely = _closest(name, name, table.colnames, spelling=False)
        if likely is not None and name != "magnitude":
            problem = f"column {likely} is not used as {name}: if it is one, give"
            warnings.warn(
                InputWarning(
                    f"{problem} columns={{{name!r}: {likely!r}}}",
                    command=f"{problem} --column {name}={likely}",
                ),
                stacklevel=3,
            )
        return None
    quantity = magnitude if name == "magnitude" else rank
    values = numbers(table, found, what=name, quantities=[quantity])[:, 0]
    if name == "weight" and (values < 0).any():
        row = int((values < 0).argmax())
        raise InputError(
            f"weight must be >= 0, got {values[row]} at row {row}: remove the column or repair it"
        )
    if name == "mass" and (below := values < 0).any():
        rule = f"{found[0]} ranks objects, the largest first, and is below 0 in"
        if below.all():
            told = f"all rows ({values.min():.4g} to {values.max():.4g}): of magnitudes change the sign"
        else:
            first = int(below.argmax())
            told = (
                f"{int(below.sum())} of {len(values)} rows (first: row {first}, {values[first]:.4g}), which come "
                "last: remove them if that stands for no mass"
            )
        warnings.warn(f"{rule} {told}", stacklevel=3)
    return values


def refuse_duplicates(positions: Float[np.ndarray, "n 3"], *, what: str = "positions") -> None:
    """Refuse rows that repeat in bulk, and warn of fewer.

    Raises
    ------
    InputError
        If more than 1 % of the rows repeat an earlier one exactly.
    """
    first = positions[:, 0]
    order = np.argsort(first)
    alike = np.diff(first[order]) == 0
    alike = positions[order[np.append(alike, False) | np.append(False, alike)]]
    repeats = int((np.diff(alike[np.lexsort(alike.T)], axis=0) == 0).all(axis=1).sum())
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


def _gate(table: Table | TableFile, name: str, quantity: Quantity) -> Float[np.ndarray, "n width"]:
    """Return a column's numbers in the package's unit, one or several per row, masked ones as NaN."""
    column = table[name]
    dtype = getattr(column, "dtype", None)
    if dtype is None or dtype.kind not in "iufb":
        raise InputError(f"column {name} must hold numbers, got {_no_numbers(column, name)}")
    if column.ndim > 2:
        raise InputError(f"column {name} must hold one number per row, got shape {column.shape}")
    values: Any = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    return np.asarray(values.reshape(len(values), -1) * quantity(getattr(column, "unit", None), name))


def _no_numbers(column: Any, name: str) -> str:
    """Say what a column holds in place of numbers, and the remedy."""
    values = np.ma.getdata(column)
    first = _as_text(values[0]) if len(values) else ""
    if values.ndim > 1 or not isinstance(first, str):
        kind = getattr(column, "dtype", type(column).__name__)
        shown = " ".join(repr(column[0]).split())
        return f"{kind} (first: {shown}): give another column, or numbers in its place"
    row = _first_no_number(values)
    if row is None:
        return (
            f"text that reads as numbers (first: {first!r}): write it as numbers, as "
            f"table[{name!r}] = table[{name!r}].astype(float) of an astropy Table does"
        )
    return (
        f"text, of which {_as_text(values[row])!r} in row {row} is the first that is no number: repair or remove such "
        "rows and write the column as numbers, or give another column"
    )


def _first_no_number(values: Shaped[np.ndarray, " n"]) -> int | None:
    """Return the first row that is no number, None where all are, by halves."""
    if _are_numbers(values):
        return None
    first, end = 0, len(values)  # all before `first` are numbers, not all before `end`
    while end - first > 1:
        middle = (first + end) // 2
        first, end = (middle, end) if _are_numbers(values[first:middle]) else (first, middle)
    return first


def _are_numbers(values: Shaped[np.ndarray, " n"]) -> bool:
    try:
        values.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _as_text(value: Any) -> Any:
    """Return text as str, whatever a file calls it, and all else as it is."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if isinstance(value, str) else value


def _finite(values: Float[np.ndarray, "n k"], names: Sequence[str], what: str) -> Float[np.ndarray, "n k"]:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{what} ({', '.join(names)}) must be finite, got {int(bad.sum())} of {len(bad)} rows that are NaN, "
            f"infinite or empty (first: row {row}, {values[row]}): remove or repair them"
        )
    return values


def _any_case(name: str, colnames: Sequence[str]) -> str | None:
    """Return the column of a name: exactly as it is written, or in other capitals if only one is."""
    if name in colnames:
        return name
    same = [column for column in colnames if column.lower() == name.lower()]
    if len(same) > 1:
        raise InputError(
            f"column {name} must be one column, got {', '.join(same)}, which differ in capitals: say which is meant",
            command=f"column {name} must be one column, got {', '.join(same)}, which differ in capitals: give --column "
            f"{name.lower()}={same[0]}",
        )
    return same[0] if same else None


def _closest(name: str, canonical: str, colnames: Sequence[str], *, spelling: bool = True) -> str | None:
    """Return the table's column most likely meant: a known alias, or a close spelling."""
    lower = {column.lower(): column for column in colnames}
    axis = canonical[-1]
    guesses = list(_ALIASES.get(canonical, ()))
    if len(canonical) <= 2:
        guesses += [f"pos_{axis}", f"{axis}pos", f"{axis}_pos", f"{axis}_coord", f"{canonical}c"]
    for guess in guesses:
        if guess in lower and lower[guess] != name:
            return lower[guess]
    spelling &= len(name) > 2  # of x, y and z every short name is close
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6) if spelling else []
    return lower[close[0]] if close else None
