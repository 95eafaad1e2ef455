"""Tables in files of every format, each as near to what it was as the format allows."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from peculiar.catalogues.fits import append_fits, cards, write_fits
from peculiar.catalogues.hdf5_tables import META
from peculiar.catalogues.parquet import append_parquet
from peculiar.core.hdf5 import new_hdf5

if TYPE_CHECKING:
    from astropy.table import Table

_OBJECTS = "objects"


def save_table(table: Table, path: Path, *, kind: str) -> None:
    """Write a table in a format of `table_format`; it is not changed.

    Dates become ISO 8601 text, except in Parquet. Metadata, units and descriptions that the format cannot hold
    are left out: `peculiar.catalogues.dry_run.require_held` tells before.
    """
    held = _held(table, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is lost was told
        chosen = WRITERS[kind]
        if chosen.write is not None:
            chosen.write(held, path)
        else:
            chosen.append(iter([held]), path, skip=0)


def _held(table: Table, kind: str) -> Table:
    held = table.copy(copy_data=False)
    if kind != "parquet":
        for name in held.colnames:
            if getattr(held[name], "dtype", np.dtype(float)).kind == "M":
                held[name] = _iso_text(held[name])
    held.meta = WRITERS[kind].meta(held.meta)
    return held


def save_pieces(pieces: Iterable[Table], path: Path, *, kind: str, sample: Table) -> None:
    """Write a table as `save_table` does, some rows at a time: all formats of `table_format` take them.

    Parameters
    ----------
    pieces : iterable of astropy Table
        With the same columns; their metadata are not written.
    path : path
    kind : str
    sample : astropy Table
        Rows that show what the columns of all pieces hold, as of `peculiar.catalogues.table_rows.TableRows`, with the
        metadata.
    """
    from astropy.table import vstack

    def held() -> Iterator[Table]:
        for piece in chain([first, second], left):
            behind = vstack(
                [sample, piece], metadata_conflicts="silent"
            )  # so all agree about text, nulls and kinds
            behind.meta = sample.meta
            yield _held(behind, kind)

    left = iter(pieces)
    first, second = next(left, sample[:0]), next(left, None)
    if second is None:
        first.meta = sample.meta
        save_table(first, path, kind=kind)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is lost was told
        WRITERS[kind].append(held(), path, skip=len(sample))


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
        table.write(file, format="hdf5", path=_OBJECTS, serialize_meta=True)


def _append_hdf5(pieces: Iterator[Table], path: Path, *, skip: int) -> None:
    import h5py

    with new_hdf5(path) as file:
        for piece in pieces:
            with h5py.File("piece", "w", driver="core", backing_store=False) as part:
                piece.write(part, format="hdf5", path=_OBJECTS, serialize_meta=True)
                rows = part[_OBJECTS][skip:]
                if _OBJECTS in file:
                    file[_OBJECTS].resize(len(file[_OBJECTS]) + len(rows), axis=0)
                    file[_OBJECTS][-len(rows) :] = rows
                    continue
                part.copy(part[f"{_OBJECTS}.{META}"], file)
                file.create_dataset(_OBJECTS, data=rows, maxshape=(None,), chunks=True)


def _append_text(pieces: Iterator[Table], path: Path, *, skip: int, kind: str) -> None:
    with _opened(path) as file:
        for number, piece in enumerate(pieces):
            if not (number or skip):  # as it is, with no copy of its text
                _print(piece, file, kind)
                continue
            head, text = io.StringIO(), io.StringIO()
            _print(piece[:0], head, kind)
            _print(piece[skip:], text, kind)
            file.write(text.getvalue()[len(head.getvalue()) if number else 0 :])


def _opened(path: Path) -> IO[str]:
    return (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8")


def _print(table: Table, file: IO[str], kind: str) -> None:
    _keep_times(table)
    if kind == "ascii.ecsv":
        table.write(file, format=kind)
        return
    for name in table.colnames:
        table[name].info.format = None  # a format for display would round
    table.write(file, format=kind, strip_whitespace=False)


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


@dataclass(frozen=True)
class Writer:
    """How tables go into files of a format.

    Parameters
    ----------
    name : str
        What people call it.
    meta : callable
        Returns the part of a table's metadata that it can hold.
    append : callable
        Writes tables one after the other, each without the first `skip` rows.
    write : callable, optional
        Writes a whole table, where that differs from the only piece of one.
    """

    name: str
    meta: Callable[[Mapping[str, Any]], dict[str, Any]]
    append: Callable[..., None]
    write: Callable[[Table, Path], None] | None = None


WRITERS = {
    "fits": Writer("FITS", cards, append_fits, write_fits),
    "hdf5": Writer("HDF5", _yaml, _append_hdf5, _write_hdf5),
    "parquet": Writer("Parquet", _yaml, append_parquet),
    "ascii.ecsv": Writer("ECSV", _yaml, partial(_append_text, kind="ascii.ecsv")),
    "ascii.csv": Writer("CSV", dict, partial(_append_text, kind="ascii.csv")),
}
"""By the names of `table_format`."""
