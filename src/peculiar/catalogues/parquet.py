"""Parquet files, with their nulls, lists and dates as they are: integers with nulls stay integers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow
    from astropy.table import Column, Table

META = b"table_meta_yaml"
"""Where astropy keeps units, descriptions and metadata of a table in a Parquet file, as YAML."""

TIME_ZONE = "time_zone"
"""Metadata of a column of dates [UTC]: the zone in which the file shows them."""

_DOUBLE_DIGITS = 15  # of a decimal that a double holds
_NOT_OURS = (b"pandas", b"ARROW:schema", b"table::len::")


def from_arrow(stored: pyarrow.Table) -> Table:
    """Return an Arrow table: nulls are masked, lists of one length are arrays, categories are what they stand for."""
    from astropy.table import Table, meta, serialize

    table = Table({name: _from_arrow(stored[name]) for name in stored.column_names})
    own = stored.schema.metadata or {}
    table.meta.update(
        {key.decode(): text.decode() for key, text in own.items() if not key.startswith((META, *_NOT_OURS))}
    )
    for field in stored.schema:
        told = {key.decode().lower(): text.decode() for key, text in (field.metadata or {}).items()}
        if unit := told.get("unit") or told.get("units"):
            table[field.name].unit = unit
    if META in own:
        header = meta.get_header_from_yaml(own[META].decode().splitlines())
        table.meta.update(header.get("meta", {}))
        for described in header["datatype"]:
            for attribute in {"description", "format", "unit", "meta"} & set(described):
                if described["name"] in table.colnames:
                    setattr(table[described["name"]], attribute, described[attribute])
        whole = {
            name: parts
            for name, parts in table.meta.pop("__serialized_columns__", {}).items()
            if _names(parts) <= set(table.colnames)
        }
        if whole:
            table.meta["__serialized_columns__"] = whole
    return serialize._construct_mixins_from_columns(table)


def _names(parts: Any) -> set[str]:
    """Return the columns that astropy made of one, such as values and their mask."""
    if not isinstance(parts, dict):
        return set()
    own = {parts["name"]} if isinstance(parts.get("name"), str) else set()
    return own.union(*(_names(part) for part in parts.values()))


def append_parquet(pieces: Iterator[Table], path: Path, *, skip: int) -> None:
    """Write tables one after the other, but for the first `skip` rows of each, with what astropy's reader needs."""
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer = None
        for piece in pieces:
            stored = to_arrow(piece[skip:])
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, stored.schema))
            writer.write_table(stored)


def to_arrow(table: Table) -> pyarrow.Table:
    """Return a table as Arrow has it, with what astropy's own reader needs to know beside it."""
    import pyarrow
    from astropy.table import MaskedColumn, meta, serialize
    from astropy.utils.data_info import serialize_context_as

    with serialize_context_as("parquet"):
        plain = serialize.represent_mixins_as_columns(table, exclude_classes=(MaskedColumn,))
    arrays = {name: _to_arrow(plain[name]) for name in plain.colnames}
    own = {key: value for key, value in table.meta.items() if isinstance(key, str) and isinstance(value, str)}
    own |= {
        f"table::len::{name}": str(plain[name].dtype.itemsize // (4 if plain[name].dtype.kind == "U" else 1))
        for name in plain.colnames
        if plain[name].dtype.kind in "US"
    }
    own[META.decode()] = "\n".join(meta.get_yaml_from_table(plain))
    return pyarrow.table(arrays).replace_schema_metadata(own)


def _from_arrow(values: pyarrow.ChunkedArray | pyarrow.Array) -> Column:
    """Return a column of NumPy values; null becomes masked."""
    import pyarrow as pa
    from astropy.table import Column, MaskedColumn

    kind = values.type
    if pa.types.is_dictionary(kind):
        return _from_arrow(values.cast(kind.value_type))
    if pa.types.is_decimal(kind) and kind.precision <= _DOUBLE_DIGITS:
        return _from_arrow(values.cast(pa.float64()))
    if length := _one_length(values):
        return _from_arrow(values.cast(pa.list_(kind.value_type, length)))
    missing = np.asarray(values.is_null())
    if pa.types.is_fixed_size_list(kind):
        array, mask = _rows(values, missing)
    elif pa.types.is_null(kind):
        array, mask = np.zeros(len(values)), missing
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        zero = pa.scalar(0).cast(kind)
        array, mask = values.fill_null(zero).to_numpy(zero_copy_only=False), missing
    elif pa.types.is_floating(kind) or (pa.types.is_temporal(kind) and not pa.types.is_time(kind)):
        array, mask = values.to_numpy(zero_copy_only=False), missing
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        text = values.cast(pa.large_string()).fill_null("")
        array, mask = text.to_numpy(zero_copy_only=False).astype(np.str_), missing
    else:
        array, mask = _objects(values), missing
    column = MaskedColumn(array, mask=mask) if mask.any() else Column(array)
    if pa.types.is_timestamp(kind) and kind.tz:
        column.meta = {TIME_ZONE: kind.tz}
    return column


def _one_length(values: pyarrow.ChunkedArray | pyarrow.Array) -> int:
    """Return the length of lists of numbers that all have one, else 0."""
    import pyarrow as pa

    kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or values.null_count:
        return 0
    if not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return 0
    lengths = np.unique(_whole(values).value_lengths().to_numpy(zero_copy_only=False))
    return int(lengths[0]) if len(lengths) == 1 else 0


def _rows(values: pyarrow.ChunkedArray | pyarrow.Array, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lists of one length as an array of a row each, and its mask."""
    inner = np.ma.asarray(_from_arrow(_whole(values).flatten()))
    array = np.zeros((len(values), values.type.list_size, *inner.shape[1:]), dtype=inner.dtype)
    mask = np.broadcast_to(missing[(slice(None), *(None,) * (array.ndim - 1))], array.shape).copy()
    present = (int((~missing).sum()), *array.shape[1:])
    array[~missing] = inner.data.reshape(present)
    mask[~missing] = np.ma.getmaskarray(inner).reshape(present)
    return array, mask


def _objects(values: pyarrow.ChunkedArray | pyarrow.Array) -> np.ndarray:
    """Return lists of any length as arrays, everything else as Python's own objects, in an array of objects."""
    import pyarrow as pa

    if (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)) and not (
        _whole(values).flatten().null_count
    ):
        return values.to_numpy(zero_copy_only=False)
    array = np.empty(len(values), dtype=object)
    array[:] = values.to_pylist()
    return array


def _whole(values: pyarrow.ChunkedArray | pyarrow.Array) -> pyarrow.Array:
    return values.combine_chunks() if hasattr(values, "combine_chunks") else values


def _to_arrow(column: Column) -> pyarrow.Array:
    """Return a column as Arrow has it; masked values become null."""
    import pyarrow as pa

    values = np.ma.asarray(column)
    array, mask = values.data, np.ma.getmaskarray(values)
    if array.dtype.kind == "O":
        return pa.array([None if hidden else value for value, hidden in zip(array, mask, strict=True)])
    if array.dtype.kind == "S":
        array = np.strings.decode(array, "utf-8")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    kind = None
    if array.dtype.kind in "Mm":
        mask = mask | np.isnat(array)
    if array.dtype.kind == "M" and TIME_ZONE in (column.info.meta or {}):
        kind = pa.timestamp(np.datetime_data(array.dtype)[0], column.info.meta[TIME_ZONE])
    flat = pa.array(array.ravel(), mask=mask.ravel(), type=kind, from_pandas=False)
    sizes: tuple[Any, ...] = array.shape[1:]
    for size in reversed(sizes):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat
