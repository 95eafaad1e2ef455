"""Write catalogues, and tables with what was reconstructed at each of their objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from peculiar.catalogues.tables import table_format
from peculiar.core import Catalogue, InputError
from peculiar.core.output import atomic_output

if TYPE_CHECKING:
    from astropy.table import Table

ADDED = {
    "vx": ("km / s", "peculiar velocity along x"),
    "vy": ("km / s", "peculiar velocity along y"),
    "vz": ("km / s", "peculiar velocity along z"),
    "v_los": ("km / s", "peculiar velocity along the line of sight, positive away from the observer"),
    "delta": ("", "matter overdensity"),
    "x_real": ("Mpc / h", "comoving position in real space"),
    "y_real": ("Mpc / h", "comoving position in real space"),
    "z_real": ("Mpc / h", "comoving position in real space"),
}
"""Columns that `write_objects` adds: unit and meaning. The h of Mpc / h is the Hubble parameter."""


def write_objects(
    path: str | Path,
    table: Table,
    *,
    velocities: Float[np.ndarray, "n 3"],
    v_los: Float[np.ndarray, " n"],
    delta: Float[np.ndarray, " n"],
    positions_real: Float[np.ndarray, "n 3"],
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a table's rows and columns with reconstructed velocities, overdensities and positions beside them.

    A column of the input that has the name of an added one (true velocities ``vx``, for example) is kept as ``vx_in``.

    Parameters
    ----------
    path : path
        The ending gives the format: FITS, HDF5, Parquet, ECSV or CSV.
    table : astropy Table
        The input, as `read_table` gave it; it is not changed.
    velocities : (n, 3) [peculiar km/s]
    v_los : (n,) [km/s]
        Positive away from the observer.
    delta : (n,)
        Overdensity.
    positions_real : (n, 3) [comoving Mpc/h]
        NaN, in all four, where an object lies outside the fields.
    provenance : mapping, optional
        Written as JSON into the comments of the table; a CSV file has no place for it.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    Path
        The file, which is there whole or not at all.

    Raises
    ------
    OutputExistsError
        If the file exists and was not to be overwritten.
    InputError
        If the ending is unknown, lengths differ, the disk is full, or the format cannot hold the table's columns.
    """
    kind = table_format(path)
    values = np.column_stack([velocities, v_los, delta, positions_real])
    if values.shape != (len(table), len(ADDED)):
        raise InputError(f"values must have one row per object ({len(table)}), got {values.shape[0]}")
    added = {name: (column, *ADDED[name]) for name, column in zip(ADDED, values.T, strict=True)}
    result = with_columns(table, added)
    refuse_unwritable(result, kind)
    with atomic_output(path, overwrite=overwrite) as temporary:
        write_table(temporary, result, kind=kind, provenance=provenance)
    return Path(path)


def write_catalogue(
    path: str | Path,
    catalogue: Catalogue,
    *,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a catalogue as a table that `read_catalogue` takes.

    Columns ``x``, ``y``, ``z`` [comoving Mpc/h] and, of what the catalogue holds, ``vx``, ``vy``, ``vz`` [peculiar
    km/s], ``mass`` [Msun/h] and ``weight``. The box, redshift, space and line of sight (``los``) go into the
    table's metadata.

    Parameters
    ----------
    path : path
        The ending gives the format: FITS, HDF5, Parquet, ECSV or CSV.
    catalogue : Catalogue
    provenance : mapping, optional
        Written as JSON into the comments of the table; a CSV file has no place for it.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    Path
        The file, which is there whole or not at all.

    Raises
    ------
    OutputExistsError
        If the file exists and was not to be overwritten.
    InputError
        If the ending is unknown or the disk is full.
    """
    from astropy.table import Table

    kind = table_format(path)
    columns: dict[str, np.ndarray] = dict(zip("xyz", catalogue.positions.T, strict=True))
    units = dict.fromkeys("xyz", "Mpc / h")
    if catalogue.velocities is not None:
        columns |= dict(zip(("vx", "vy", "vz"), catalogue.velocities.T, strict=True))
        units |= dict.fromkeys(("vx", "vy", "vz"), "km / s")
    if catalogue.masses is not None:
        columns["mass"] = catalogue.masses
        units["mass"] = "Msun / h"
    if catalogue.weights is not None:
        columns["weight"] = catalogue.weights
    table = Table(columns, units=units)
    # Keys of up to eight characters: FITS has no longer ones.
    table.meta.update(
        box_size=catalogue.box.size,
        redshift=catalogue.redshift,
        space=catalogue.space,
        los=catalogue.line_of_sight,
    )
    with atomic_output(path, overwrite=overwrite) as temporary:
        write_table(temporary, table, kind=kind, provenance=provenance)
    return Path(path)


def write_table(
    path: str | Path, table: Table, *, kind: str, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a table in a format of `table_format`, with its provenance in the comments; the table gets them too.

    The path is written as it is: give the temporary one of `peculiar.core.output.atomic_output`.
    """
    if provenance is not None:
        record = "peculiar " + json.dumps(provenance, sort_keys=True, default=str)
        table.meta["comments"] = [*table.meta.get("comments", []), record]
    options = {"path": "objects", "serialize_meta": True} if kind == "hdf5" else {}
    table.write(path, format=kind, **options)


def refuse_unwritable(table: Table, kind: str) -> None:
    """Refuse columns that a format cannot hold.

    Raises
    ------
    InputError
        If a column has several values per row and the format is CSV or Parquet, or holds Python objects.
    """
    wide = [name for name in table.colnames if table[name].ndim > 1]
    if wide and kind in ("ascii.csv", "parquet"):
        raise InputError(
            f"objects must have one value per column in this format, got {', '.join(wide)}: write FITS or HDF5"
        )
    objects = [name for name in table.colnames if table[name].dtype.kind == "O"]
    if objects and kind in ("fits", "hdf5", "parquet"):
        raise InputError(
            f"objects must be numbers or text in this format, got {', '.join(objects)}: write ECSV or CSV"
        )


def with_columns(table: Table, columns: Mapping[str, tuple[Shaped[np.ndarray, " n"], str, str]]) -> Table:
    """Return a copy of the table with columns added, each with values, unit and meaning.

    A column of the table that has the name of an added one is kept as ``NAME_in``.
    """
    import astropy.units as u
    from astropy.table import Column

    result = table.copy()
    for name in columns:
        if name not in result.colnames:
            continue
        kept = f"{name}_in"
        while kept in result.colnames:
            kept += "_in"
        result.rename_column(name, kept)
    for name, (values, unit, meaning) in columns.items():
        result[name] = Column(values, unit=u.Unit(unit) if unit else None, description=meaning)
    return result
