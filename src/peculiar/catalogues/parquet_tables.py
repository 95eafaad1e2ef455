"""Parquet files, and folders of them, as tables: nulls are masked, categories and decimals become plain."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

_ASTROPY = b"table_meta_yaml"  # where astropy keeps units, comments and columns that are more than arrays
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
    from astropy.table import Table

    dataset = pads.dataset(path, format="parquet", partitioning="hive")
    check(dataset.count_rows() * sum(_width(field.type) for field in dataset.schema))
    if path.is_file() and _ASTROPY in (dataset.schema.metadata or {}):
        return Table.read(path, format="parquet")
    arrow = pq.read_table(path)
    table = Table()
    left: list[str] = []
    for field in arrow.schema:
        column = _column(arrow[field.name])
        if column is None:
            left.append(f"{field.name} ({field.type})")
            continue
        table[field.name] = column
        own = {key.decode().lower(): value.decode() for key, value in (field.metadata or {}).items()}
        table[field.name].unit = own.get("unit") or own.get("units")
    if left:
        warnings.warn(f"columns that are no numbers or text are not read: {', '.join(left)}", stacklevel=5)
    return table


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


def _column(values: Any) -> Any:
    """Return a column with nulls masked; None for what is no array of numbers or text."""
    import pyarrow as pa
    import pyarrow.types as types
    from astropy.table import Column, MaskedColumn

    if types.is_dictionary(values.type):
        values = pa.chunked_array(
            [chunk.dictionary_decode() for chunk in values.chunks], type=values.type.value_type
        )
    kind = values.type
    if types.is_decimal(kind):
        values = values.cast("float64")
    empty = values.is_null().to_numpy()
    if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
        return _rows(values)
    if types.is_null(kind):
        return MaskedColumn(np.full(len(values), np.nan), mask=True)
    if types.is_string(kind) or types.is_large_string(kind):
        data = np.asarray(values.fill_null("").to_pylist(), dtype=str)
    elif types.is_boolean(kind):
        data = values.fill_null(False).to_numpy()
    elif types.is_temporal(kind):
        data = values.to_numpy()
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        data = values.fill_null(0).to_numpy()
    else:
        return None
    return MaskedColumn(data, mask=empty) if empty.any() else Column(data)


def _rows(values: Any) -> Any:
    """Return lists of one length as a column of several numbers per row; None for other lists."""
    import pyarrow.types as types
    from astropy.table import Column

    lists = values.combine_chunks()
    flat = lists.flatten()
    plain = types.is_integer(flat.type) or types.is_floating(flat.type)
    lengths = np.unique(lists.value_lengths().to_numpy(zero_copy_only=False)) if len(lists) else np.array([])
    if not plain or lists.null_count or flat.null_count or len(lengths) != 1:
        return None
    return Column(flat.to_numpy().reshape(len(lists), int(lengths[0])))
