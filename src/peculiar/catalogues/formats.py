"""Tables in files of every format, each as near to what it was as the format allows."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.catalogues.fits import cards, write_fits
from peculiar.catalogues.parquet import write_parquet
from peculiar.core.hdf5 import new_hdf5

if TYPE_CHECKING:
    from astropy.table import Table

NAMES = {
    "fits": "FITS",
    "hdf5": "HDF5",
    "parquet": "Parquet",
    "ascii.ecsv": "ECSV",
    "ascii.csv": "CSV",
}
"""What people call the formats of `table_format`."""


def save_table(table: Table, path: Path, *, kind: str) -> None:
    """Write a table in a format of `table_format`; it is not changed.

    Dates become ISO 8601 text, except in Parquet. Metadata, units and descriptions that the format cannot hold
    are left out: `peculiar.catalogues.dry_run.require_held` tells before.
    """
    held = table.copy(copy_data=False)
    if kind != "parquet":
        for name in held.colnames:
            if getattr(held[name], "dtype", np.dtype(float)).kind == "M":
                held[name] = _iso_text(held[name])
    held.meta = _META[kind](held.meta)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is lost was told
        _WRITERS[kind](held, path)


def _iso_text(column: Any) -> Any:
    """Return dates as text; what is no date is masked."""
    from astropy.table import MaskedColumn

    values = np.ma.asarray(column)
    missing = np.ma.getmaskarray(values) | np.isnat(values.data)
    text = np.where(missing, "", np.datetime_as_string(values.data))
    return MaskedColumn(text, mask=missing, description=column.info.description)


def _write_hdf5(table: Table, path: Path) -> None:
    import h5py
    from astropy.table import Column

    for name in table.colnames:
        column = table[name]
        if getattr(column, "dtype", np.dtype(float)).kind != "O":
            continue
        rows = [np.asarray(row) for row in column]
        kinds = {row.dtype for row in rows}
        if {row.ndim for row in rows} != {1} or {kind.kind for kind in kinds} - set("iufb"):
            raise ValueError(f"{name} holds no lists of numbers")
        lists = np.empty(len(rows), dtype=h5py.vlen_dtype(np.result_type(*kinds)))
        lists[:] = rows
        table[name] = Column(lists, unit=column.unit, description=column.description)
    with new_hdf5(path) as file:
        table.write(file, format="hdf5", path="objects", serialize_meta=True)


def _write_ecsv(table: Table, path: Path) -> None:
    _keep_times(table)
    table.write(path, format="ascii.ecsv")


def _write_csv(table: Table, path: Path) -> None:
    _keep_times(table)
    for name in table.colnames:
        table[name].info.format = None  # a format for display would round
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8") as file:
        table.write(file, format="ascii.csv", strip_whitespace=False)


def _keep_times(table: Table) -> None:
    """Let times be written to the nanosecond."""
    from astropy.time import Time

    for name in table.colnames:
        if isinstance(table[name], Time):
            table[name] = table[name].replicate()
            table[name].precision = 9


def _yaml(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a table's metadata that YAML can hold."""
    from astropy.io.misc import yaml

    held = {}
    for key, value in meta.items():
        try:
            yaml.dump({key: value})
        except yaml.yaml.YAMLError:
            continue
        held[key] = value
    return held


_META: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "fits": cards,
    "hdf5": _yaml,
    "parquet": _yaml,
    "ascii.ecsv": _yaml,
    "ascii.csv": dict,
}
_WRITERS: dict[str, Callable[[Table, Path], None]] = {
    "fits": write_fits,
    "hdf5": _write_hdf5,
    "parquet": write_parquet,
    "ascii.ecsv": _write_ecsv,
    "ascii.csv": _write_csv,
}
