"""Read catalogues of halos or galaxies in a box from FITS, HDF5, Parquet, ECSV and CSV files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.columns import (
    find_columns,
    length_factor,
    numbers,
    refuse_duplicates,
    speed_factor,
    vector_column,
)
from peculiar.core import Box, Catalogue, InputError
from peculiar.core.catalogue import LineOfSight
from peculiar.core.field import Space

if TYPE_CHECKING:
    from astropy.table import Table

FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".fits.gz": "fits",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
    ".hdf": "hdf5",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".csv.gz": "ascii.csv",
}
"""File name endings that are read and written, and what astropy calls their formats."""

_FEW = 500  # objects: with fewer, how much of the box they span says little about units


def table_format(path: str | Path) -> str:
    """Return astropy's name of the format that a file name's ending means."""
    name = Path(path).name.lower()
    for ending, kind in FORMATS.items():
        if name.endswith(ending):
            return kind
    raise InputError(
        f"catalogue name must end in {', '.join(FORMATS)}, got {str(path)!r}: convert or rename it"
    )


def read_table(path: str | Path) -> Table:
    """Read a table file as it stands: all columns, rows in their order.

    Plain HDF5 files, without a table but with datasets of one length (``x``, ``y``, ``z``, or a single ``position``
    of shape (n, 3)), are read as well.

    Raises
    ------
    InputError
        If the file is missing, of an unknown kind, damaged, truncated or without rows.
    """
    from astropy.table import Table

    path = Path(path)
    kind = table_format(path)
    if not path.is_file():
        raise InputError(f"catalogue must be a file that exists, got {str(path)!r}: check the path")
    if path.stat().st_size == 0:
        raise InputError(f"catalogue must hold a table, got {str(path)!r} of 0 bytes: copy the file again")
    try:
        with warnings.catch_warnings():
            # astropy reads on after this one, and would deliver rows that are not there
            warnings.filterwarnings("error", message=".*truncated.*")
            table = _read_hdf5(path) if kind == "hdf5" else Table.read(path, format=kind)
    except (InputError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # readers raise OSError, ValueError, TypeError, KeyError, IndexError, ArrowInvalid ...
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"catalogue must be a whole {kind.removeprefix('ascii.').upper()} file, got {str(path)!r}, which cannot be "
            f"read ({type(error).__name__}: {reason}): it is truncated, damaged or of another format; copy it again"
        ) from error
    if len(table) == 0:
        raise InputError(
            f"catalogue must hold at least one object, got {str(path)!r} with no rows: check the selection"
        )
    return table


def read_catalogue(
    path: str | Path | Table,
    *,
    box: Box,
    line_of_sight: LineOfSight = "z",
    space: Space = "redshift",
    redshift: float = 0.59,
    columns: Mapping[str, str] | None = None,
    observer: tuple[float, float, float] | None = None,
) -> Catalogue:
    """Read a catalogue of objects in a box.

    Parameters
    ----------
    path : path or astropy Table
        FITS, HDF5, Parquet, ECSV or CSV with columns ``x``, ``y``, ``z`` [comoving Mpc/h] or one (n, 3) column
        ``position``, and optional ``vx``, ``vy``, ``vz`` (or ``velocity``) [peculiar km/s], ``mass`` [Msun/h, or
        anything that ranks] and ``weight``; or a table that was read already.
    box : Box
        The region, in the coordinates of the positions.
    line_of_sight : "x", "y", "z" or "radial"
        Axis of the redshift-space distortions; "radial" needs `observer`.
    space : "redshift" or "real"
        Whether the positions hold peculiar velocities.
    redshift : float
        Effective redshift; H and f are taken there.
    columns : mapping, optional
        The names above to the file's own, for those that differ: ``{"x": "X_GAL", "mass": "M200"}``.
    observer : (3,) [Mpc/h], optional
        Position of the observer, for a radial line of sight.

    Returns
    -------
    Catalogue
        One object per row, in the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, columns are missing, values are not finite, units are wrong, objects lie outside
        the box, or more than 1 % of the rows repeat.

    Examples
    --------
    >>> halos = read_catalogue("halos.h5", box=Box(300.0), redshift=0.59)  # doctest: +SKIP
    """
    from astropy.table import Table

    table = path if isinstance(path, Table) else read_table(path)
    if len(table) == 0:
        raise InputError(
            "catalogue must hold at least one object, got a table with no rows: check the selection"
        )
    unknown = set(columns or {}) - {"x", "y", "z", "vx", "vy", "vz", "mass", "weight"}
    if unknown:
        raise InputError(
            f"columns must map x, y, z, vx, vy, vz, mass, weight, got {', '.join(sorted(unknown))}"
        )
    if not -0.1 < redshift < 20:
        raise InputError(
            f"redshift must lie in (-0.1, 20), got {redshift}: give the effective redshift of the objects"
        )

    positions = _vectors(table, ("x", "y", "z"), columns, required=True)
    assert positions is not None
    refuse_wrong_units(positions, box)
    refuse_duplicates(positions)
    return Catalogue(
        positions=positions,
        box=box,
        redshift=float(redshift),
        line_of_sight=line_of_sight,
        space=space,
        velocities=_vectors(table, ("vx", "vy", "vz"), columns, required=False),
        masses=optional_numbers(table, "mass", columns),
        weights=optional_numbers(table, "weight", columns),
        observer=observer,
    )


def optional_numbers(
    table: Table, name: str, columns: Mapping[str, str] | None = None
) -> Float[np.ndarray, " n"] | None:
    """Return an optional column ("mass" or "weight"), or None where the table has none; never negative weights."""
    found = find_columns(table, (name,), columns=columns, required=False)
    if found is None:
        return None
    values = numbers(table, found, what=name)[:, 0]
    if name == "weight" and (values < 0).any():
        row = int((values < 0).argmax())
        raise InputError(
            f"weight must be >= 0, got {values[row]} at row {row}: remove the column or repair it"
        )
    return values


def refuse_wrong_units(positions: Float[np.ndarray, "n 3"], box: Box) -> None:
    """Refuse positions that cannot be in the box's units, or lie outside it.

    Raises
    ------
    InputError
        If the positions reach far beyond the box, fill only a speck of it, or some lie outside.
    """
    span = float((positions.max(axis=0) - positions.min(axis=0)).max())
    reach = float(np.abs(positions - np.asarray(box.origin)).max())
    extent = f"positions from {_show(positions.min(axis=0))} to {_show(positions.max(axis=0))}"
    if reach > 20 * box.size and span > 5 * box.size:
        guess = (
            f"kpc/h (divide by 1000: {reach / 1000:.4g})" if 100 < reach / box.size < 3000 else "other units"
        )
        raise InputError(
            f"positions must be in comoving Mpc/h in a box of {box.size:g} Mpc/h, got {extent}, "
            f"{reach / box.size:.3g} times as far: they look like {guess}"
        )
    if len(positions) >= 20 and span < 0.02 * box.size:
        raise InputError(
            f"positions must fill a box of {box.size:g} Mpc/h, got {extent}, {span / box.size:.2g} of its side: are "
            "they in Gpc/h, or in units of the box (multiply by the side)?"
        )
    outside = ~box.contains(positions)
    if outside.any():
        row = int(outside.argmax())
        remedy = f"check the units and the box size; the positions span {span / box.size:.3g} of the box"
        if box.periodic and span < 1.2 * box.size and outside.mean() < 0.1:
            remedy = (
                f"a periodic box takes them back with x % {box.size:g}, or check the box's size and origin"
            )
        raise InputError(
            f"positions must lie in the box of {box.size:g} Mpc/h with corner {_show(np.asarray(box.origin))}, got "
            f"{int(outside.sum())} of {len(positions)} objects outside (first: row {row} at {_show(positions[row])}): "
            f"{remedy}"
        )
    if box.periodic and len(positions) >= _FEW and span < 0.9 * box.size:
        warnings.warn(
            f"{len(positions)} objects span {span:.4g} Mpc/h of a periodic box of {box.size:g} Mpc/h: is the box "
            "right, and in Mpc/h? The empty part counts as a void",
            stacklevel=3,
        )


def _vectors(
    table: Table, wanted: tuple[str, str, str], columns: Mapping[str, str] | None, *, required: bool
) -> Float[np.ndarray, "n 3"] | None:
    """Return positions [Mpc/h] or velocities [km/s] from three columns or from one of shape (n, 3)."""
    single = (
        None if set(wanted) & (set(columns or {}) | set(table.colnames)) else vector_column(table, wanted)
    )
    names = [single] if single else find_columns(table, wanted, columns=columns, required=required)
    if names is None:
        return None
    is_position = wanted[0] == "x"
    values = numbers(table, names, what="positions" if is_position else "velocities")
    factor = length_factor if is_position else speed_factor
    return values * np.array([factor(table[name].unit) for name in names])


def _read_hdf5(path: Path) -> Table:
    """Read the one table of an HDF5 file, or its plain datasets of one length."""
    import h5py
    from astropy.table import Table

    with h5py.File(path, "r") as file:
        tables: list[str] = []
        arrays: list[str] = []

        def visit(name: str, node: object) -> None:
            if (
                isinstance(node, h5py.Dataset)
                and not name.endswith("__table_column_meta__")
                and node.ndim > 0
            ):
                (tables if node.dtype.fields else arrays).append(name)

        file.visititems(visit)
        if len(tables) > 1:
            raise InputError(
                f"catalogue must be an HDF5 file with one table, got {', '.join(tables)}: keep one of them"
            )
        if not tables:
            return _plain_datasets(file, arrays, path)
    return Table.read(path, format="hdf5", path=tables[0], character_as_bytes=False)


def _plain_datasets(file: object, names: list[str], path: Path) -> Table:
    """Return the datasets beside the positions as a table; those of other lengths are no columns."""
    from astropy.table import Table

    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, leaf = name.rpartition("/")
        folders.setdefault(folder, []).append(leaf)
    wanted = {"x", "position", "positions", "pos", "ra"}
    matches = [f for f, leaves in folders.items() if wanted & {leaf.lower() for leaf in leaves}] or list(
        folders
    )
    if len(matches) != 1:
        raise InputError(
            "catalogue must be an HDF5 file with one group of columns, got "
            f"{', '.join(m or '/' for m in matches) or 'none'} in {str(path)!r}: keep the datasets x, y, z (or "
            "position) in one group"
        )
    prefix = f"{matches[0]}/" if matches[0] else ""
    columns = {leaf: file[prefix + leaf] for leaf in folders[matches[0]]}  # type: ignore[index]
    anchor = next((leaf for leaf in columns if leaf.lower() in wanted), next(iter(columns)))
    length = len(columns[anchor])
    return Table({leaf: data[()] for leaf, data in columns.items() if len(data) == length})


def _show(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.5g}" for value in values) + ")"
