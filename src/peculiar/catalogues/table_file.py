"""Tables in files whose columns are read when they are asked for: a wide file costs the columns that are used."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.catalogues.tables import read_head, read_pieces
from peculiar.catalogues.units import described_as
from peculiar.core.memory import require_memory

if TYPE_CHECKING:
    from astropy.table import Column, Table

_COPIES = 4
"""Memory that reading and checking take at most, over the bytes of the columns."""


class TableFile:
    """A table in a file, read some rows at a time: in memory are the columns that were asked for.

    Has of an astropy Table what reading a catalogue needs: `colnames`, `meta`, its length and its columns by name.

    Parameters
    ----------
    path : path
        As of `peculiar.catalogues.read_table`.
    likely : collection of str
        Columns that will be asked for, in any case: those that there are, are read together with the first one.

    Raises
    ------
    InputError
        As `read_table`, for what is damaged when it is reached.
    """

    def __init__(self, path: str | Path, likely: Collection[str] = ()) -> None:
        self.path = path
        self._head = read_head(path)
        self.colnames: list[str] = self._head.colnames
        self.meta = self._head.meta
        wanted = {name.lower() for name in likely}
        self._likely = [name for name in self.colnames if name.lower() in wanted]
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        if not self._columns:
            self._load(self._likely or self.colnames[:1])
        return len(next(iter(self._columns.values())))

    def __getitem__(self, name: str) -> Column:
        if name not in self._columns:
            self._load([*(self._likely if not self._columns else ()), name])
        return self._columns[name]

    def _load(self, names: Collection[str]) -> None:
        names = list(dict.fromkeys(names))
        parts: dict[str, list[Column]] = {name: [] for name in names}
        taken = 0
        for piece in self._pieces(names):
            for name in names:
                parts[name].append(piece[name].copy())  # a view would keep the whole piece
                taken += getattr(piece[name], "nbytes", 0)
            require_memory(
                (_COPIES - 1) * taken,
                what="the catalogue",
                remedy=f"{taken / 1e9:.3g} GB of {', '.join(names)} in {str(self.path)!r} are read; keep only the rows "
                "that are used, or cut it into regions",
            )
        for name in names:
            self._columns[name] = _joined(parts.pop(name), self._head[name])

    def _pieces(self, names: Sequence[str]) -> Iterator[Table]:
        from astropy.table import Column

        # Times, and other columns of several arrays, are put together where all of them are there.
        single = all(isinstance(self._head[name], Column) for name in names)
        pieces = read_pieces(self.path, names if single else None)
        while True:
            with warnings.catch_warnings(action="ignore"):  # the head has told
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


def _joined(parts: list[Column], head: Column) -> Column:
    """Return the pieces of a column as one, of a kind that holds them all, described as the head."""
    from astropy.table import Column, MaskedColumn, Table, vstack

    if not isinstance(head, Column):
        return vstack([Table([part], names=["one"]) for part in parts])["one"]
    if any(isinstance(part, MaskedColumn) for part in parts):
        made = MaskedColumn(np.ma.concatenate([np.ma.asarray(part) for part in parts]))
    else:
        made = Column(np.concatenate([np.asarray(part) for part in parts]), copy=False)
    return described_as(made, head)
