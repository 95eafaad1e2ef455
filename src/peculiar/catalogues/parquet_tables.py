"""Parquet files, and folders of them, as tables: nulls are masked, categories and decimals become plain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peculiar.catalogues.parquet import from_arrow

if TYPE_CHECKING:
    from astropy.table import Table

_MASK = ".mask"
"""Ending of the column in which astropy keeps which values of another are masked."""
_BUFFER = 1 << 16  # bytes of a column that are read at once
_MOST = 1 << 24  # bytes of a piece
_TEXT_BYTES = 64  # of a text, or of anything else without a fixed width, in memory


def read(path: Path, *, check: Callable[[float], None]) -> Table:
    """Read a Parquet file, or all files of a folder in the order of their names.

    Parameters
    ----------
    path : path
    check : callable
        Gets the bytes that the values take in memory, before they are read, and refuses too many.
    """
    import pyarrow.dataset as pads
    import pyarrow.parquet as pq

    dataset = pads.dataset(path, format="parquet", partitioning="hive")
    check(dataset.count_rows() * sum(_width(field.type) for field in dataset.schema))
    return from_arrow(pq.read_table(path, partitioning="hive" if path.is_dir() else None))


def head(files: list[Path]) -> Table:
    """Return the columns of Parquet files without a row: a page of each of many columns is much."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(files[0], pre_buffer=False) as file:
        return from_arrow(file.schema_arrow.empty_table())


def pieces(files: list[Path], columns: Sequence[str] | None = None, *, rows: int) -> Iterator[Table]:
    """Yield some rows of Parquet files after the other; names of folders are no columns here."""
    import pyarrow
    import pyarrow.parquet as pq

    for path in files:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            names = file.schema_arrow.names
            own = None if columns is None else [name for name in names if name.removesuffix(_MASK) in columns]
            width = sum(_width(field.type) for field in file.schema_arrow if own is None or field.name in own)
            count = max(1, min(rows, int(_MOST / max(width, 1))))
            for batch in file.iter_batches(count, columns=own, use_threads=False):
                yield from_arrow(pyarrow.Table.from_batches([batch]))


def _width(kind: Any) -> float:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _width(kind.value_type)
    if types.is_fixed_size_list(kind):
        return float(kind.list_size) * _width(kind.value_type)
    try:
        return float(kind.bit_width) / 8
    except ValueError:
        return _TEXT_BYTES
