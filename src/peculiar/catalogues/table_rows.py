"""Rows of table files that travel to another table: some at a time, and a few that tell what their columns hold."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.catalogues.dry_run import telling_rows
from peculiar.catalogues.table_file import TableFile
from peculiar.catalogues.tables import read_head, read_pieces, read_table, reads_in_pieces
from peculiar.core import InputError
from peculiar.core.memory import require_memory

if TYPE_CHECKING:
    from astropy.table import Table

_COPIES = 8
"""Memory that a piece takes on its way, at most, over its bytes."""


class TableRows:
    """The rows of table files, one after the other: in memory is a piece at a time.

    Columns of several files are one where only capitals tell them apart; they have their names in the first file.

    Files of one piece are kept, and so are, whole, those with lists that differ in length and those whose columns
    change their kind from piece to piece, as text tables do where numbers end and words begin.

    Parameters
    ----------
    *paths : path
        As of `peculiar.catalogues.read_table`.
    columns : sequence of str, optional
        Those that travel, in their order and in any capitals; all where not given.

    Attributes
    ----------
    sample : astropy Table
        Rows with the ends, extremes, missing values and longest texts of all, and the kinds of all columns; see
        `peculiar.catalogues.dry_run.telling_rows`.
    whole : astropy Table, optional
        What is kept in memory.

    Raises
    ------
    InputError
        As `read_table`, or if a file does not have the columns.
    """

    def __init__(self, *paths: str | Path, columns: Sequence[str] | None = None) -> None:
        from astropy.table import Column

        self.paths = paths
        self._columns = self._needed = None
        if columns is not None:
            head = read_head(paths[0])
            self._columns = _found(columns, head)
            # Times and the like are made of several columns of the file.
            plain = all(isinstance(head[name], Column) for name in self._columns)
            self._needed = self._columns if plain else None
        self._names: dict[str, str] = {}
        self.whole: Table | None = None
        sample = None
        for number, piece in enumerate(self._pieces() if all(map(reads_in_pieces, paths)) else ()):
            self.whole = None if number else piece
            require_memory(
                _COPIES * sum(getattr(column, "nbytes", 0) for column in piece.itercols()),
                what="the catalogue",
                remedy="keep only the columns that are used, or free some",
            )
            sample = _united([piece] if sample is None else [sample, piece])
            if sample is None:
                break
            sample = sample[telling_rows(sample)]
        if sample is None:
            self.whole = _stacked([self._chosen(read_table(path)) for path in paths])
            sample = self.whole[telling_rows(self.whole)]
        self.sample: Table = sample

    def __iter__(self) -> Iterator[Table]:
        """Yield the rows, some at a time."""
        return self._pieces() if self.whole is None else iter([self.whole])

    def opened(self, likely: Collection[str] = ()) -> Table | TableFile:
        """Return what columns are read of: what is kept in memory, else the first file as a `TableFile`."""
        return TableFile(self.paths[0], likely) if self.whole is None else self.whole

    def _pieces(self) -> Iterator[Table]:
        for path in self.paths:
            pieces = read_pieces(path, self._needed)
            while True:
                with warnings.catch_warnings(action="ignore"):  # whoever read the catalogue was told
                    piece = next(pieces, None)
                if piece is None:
                    break
                yield self._chosen(piece)

    def _chosen(self, table: Table) -> Table:
        for name in table.colnames if len(self.paths) > 1 else ():
            own = self._names.setdefault(name.lower(), name)
            if own not in table.colnames:
                table.rename_column(name, own)
        return table if self._columns is None else table[self._columns]


def _found(names: Sequence[str], head: Table) -> list[str]:
    """Return the file's own names of columns, in whatever capitals they are given."""
    same = {name.lower(): name for name in head.colnames} | {name: name for name in head.colnames}
    missing = [name for name in names if name not in same and name.lower() not in same]
    if missing or not names:
        raise InputError(
            f"columns must be of the catalogue, got {', '.join(missing) or 'none'} with columns "
            f"{', '.join(head.colnames)}: correct the names"
        )
    return list(dict.fromkeys(same.get(name) or same[name.lower()] for name in names))


def _stacked(tables: list[Table]) -> Table:
    from astropy.table import vstack

    return tables[0] if len(tables) == 1 else vstack(tables, metadata_conflicts="silent")


def _united(tables: list[Table]) -> Table | None:
    """Return tables as one, None where a column is of different kinds or of objects."""
    first = tables[0].colnames
    if any(table.colnames != first for table in tables):
        return None
    for columns in zip(*(table.itercols() for table in tables), strict=True):
        kinds = {getattr(column, "dtype", np.dtype("V")).kind for column in columns}
        if "O" in kinds or len({column.shape[1:] for column in columns}) > 1:
            return None
        if len(kinds) > 1 and kinds != {"i", "f"}:
            return None
    return _stacked(tables)
