"""Write catalogues, and tables with what was reconstructed at each of their objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from peculiar.catalogues.added import OBJECT_COLUMNS, object_columns, with_columns
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.formats import save_pieces, save_table
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.tables import table_format
from peculiar.core import Catalogue
from peculiar.core.output import atomic_output

if TYPE_CHECKING:
    from astropy.table import Table


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

    A column of the input that has the name of an added one (true velocities ``vx``, or ``VX``) is kept as ``vx_in``.

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
        If the ending is unknown, lengths differ, the disk is full, or the format cannot hold the table's columns; see
        `peculiar.catalogues.dry_run.require_held`, which can be called before the work.
    """
    added = object_columns(velocities, v_los, delta, positions_real)
    require_held(table, path, added=OBJECT_COLUMNS)
    result = with_columns(table, added)
    with atomic_output(path, overwrite=overwrite) as temporary:
        write_table(temporary, result, kind=table_format(path), provenance=provenance)
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
        box_size=catalogue.box.size if catalogue.box.is_cube else " ".join(map(repr, catalogue.box.sides)),
        redshift=catalogue.redshift,
        space=catalogue.space,
        los=catalogue.line_of_sight,
    )
    with atomic_output(path, overwrite=overwrite) as temporary:
        write_table(temporary, table, kind=kind, provenance=provenance)
    return Path(path)


def write_pieces(
    path: str | Path,
    pieces: Iterable[Table],
    *,
    sample: Table,
    kind: str,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as `write_table` does, some rows at a time; see `peculiar.catalogues.formats.save_pieces`."""
    _remember(sample, provenance)
    save_pieces(pieces, Path(path), kind=kind, sample=sample)


def write_rows(
    path: str | Path,
    rows: TableRows,
    columns: Mapping[str, Shaped[np.ndarray, " n"]],
    *,
    kind: str,
    provenance: Mapping[str, Any] | None = None,
    meanings: Mapping[str, str] | None = None,
) -> None:
    """Write the rows of table files with columns added as by `with_columns`, some at a time."""

    def pieces() -> Iterator[Table]:
        start = 0
        for piece in rows:
            chosen = slice(start, start + len(piece))
            own = {name: values[chosen] for name, values in columns.items()}
            yield with_columns(piece, own, meanings=meanings)
            start = chosen.stop

    of_sample = {name: np.resize(values, len(rows.sample)) for name, values in columns.items()}
    sample = with_columns(rows.sample, of_sample, meanings=meanings)
    write_pieces(path, pieces(), sample=sample, kind=kind, provenance=provenance)


def write_table(
    path: str | Path, table: Table, *, kind: str, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a table in a format of `table_format`, with its provenance in the comments; the table gets them too.

    See `peculiar.catalogues.formats.save_table` for what a format cannot hold.

    The path is written as it is: give the temporary one of `peculiar.core.output.atomic_output`.
    """
    _remember(table, provenance)
    save_table(table, Path(path), kind=kind)


def _remember(table: Table, provenance: Mapping[str, Any] | None) -> None:
    if provenance is not None:
        record = "peculiar " + json.dumps(provenance, sort_keys=True, default=str)
        table.meta["comments"] = [*table.meta.get("comments", []), record]
