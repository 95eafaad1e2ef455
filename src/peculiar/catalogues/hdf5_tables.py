"""HDF5 files as tables: the one table in them, or their plain datasets of one length."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.catalogues.units import described_as
from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Column, Table

_TABLE = ""  # a name that no column has
_MOST = 1 << 24  # bytes of a piece
_WANTED = {"x", "position", "positions", "pos", "coordinates", "ra"}
"""Datasets that tell which group holds the catalogue, in any case."""
_FILTERS = {
    305: "lzo",
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32026: "blosc2",
}
META = "__table_column_meta__"
"""What astropy adds to the name of a table, for what is beside it."""
_TEXT_BYTES = 64  # of a text of variable length in memory


def read(path: Path, part: str | None, *, check: Callable[[float], None]) -> Table:
    """Read a table of an HDF5 file.

    Parameters
    ----------
    path : path
    part : str, optional
        The path in the file of a table, a dataset or a group of datasets; needed where there are several.
    check : callable
        Gets the bytes that the values take in memory, before they are read, and refuses too many.

    Raises
    ------
    InputError
        If there is no such part, several may be meant, or nothing in it can be decompressed.
    """
    with _opened(path) as file:
        found = _columns(file, path, part)
        check(sum(_bytes(dataset) for dataset in found.values()))
        return _rows(found, slice(None))


def pieces(
    path: Path, part: str | None, columns: Sequence[str] | None = None, *, rows: int
) -> Iterator[Table]:
    """Yield some rows of a table of an HDF5 file after the other; see `read`."""
    with _opened(path) as file:
        found = _columns(file, path, part)
        if columns is not None and _TABLE not in found:
            found = {name: dataset for name, dataset in found.items() if name in columns}
        length = min((len(dataset) for dataset in found.values()), default=0)
        width = sum(_bytes(dataset) for dataset in found.values()) / max(length, 1)
        count = max(1, min(rows, int(_MOST / max(width, 1))))
        for first in range(0, length, count):
            yield _rows(found, slice(first, first + count))


def _opened(path: Path) -> Any:
    import h5py

    with suppress(ImportError):  # its filters are then known to h5py
        importlib.import_module("hdf5plugin")
    return h5py.File(path, "r")


def _columns(file: Any, path: Path, part: str | None) -> dict[str, Any]:
    """Return the datasets of columns by name, or the one dataset that is a table under the name `_TABLE`."""
    import h5py

    top = _part(file, path, part)
    found = {"": top} if isinstance(top, h5py.Dataset) else _datasets(top)
    tables = [name for name, dataset in found.items() if dataset.dtype.fields]
    if len(tables) > 1:
        raise InputError(
            f"catalogue must be an HDF5 file with one table, got {', '.join(tables)}: name one of them, "
            f"{path.name}[{tables[0]}]"
        )
    if not tables:
        return _plain_datasets(found, path)
    dataset = found[tables[0]]
    _readable({dataset.name: dataset}, path)
    return {_TABLE: dataset}


def _rows(found: dict[str, Any], rows: slice) -> Table:
    """Return rows of what `_columns` found as a table."""
    from astropy.table import Table

    if _TABLE in found:
        return _table_rows(found[_TABLE], rows)
    table = Table({leaf: _values(dataset, rows) for leaf, dataset in found.items()})
    for leaf, dataset in found.items():
        unit = _unit(dataset)
        table[leaf].unit = None if isinstance(unit, list) else _text(unit) or None
    return table


def _table_rows(dataset: Any, rows: slice) -> Table:
    """Return rows of a table, with what astropy wrote beside it."""
    import h5py
    from astropy.table import Table, meta, serialize

    table = Table(np.asarray(dataset[rows]), copy=False)
    beside = f"{dataset.name}.{META}"
    own = dataset.file[beside][()] if beside in dataset.file else dataset.attrs.get(META)
    if own is None:
        table.meta.update(dataset.attrs)
    else:
        header = meta.get_header_from_yaml(line.decode("utf-8") for line in own)
        table.meta = header.get("meta", table.meta)
        for described in header["datatype"]:
            for attribute in {"description", "format", "unit", "meta"} & set(described):
                setattr(table[described["name"]], attribute, described[attribute])
        table = serialize._construct_mixins_from_columns(table)
    for name in table.colnames:
        kind = getattr(table[name], "dtype", np.dtype(float))
        if kind.kind == "S" or h5py.check_string_dtype(kind):
            table[name] = _decoded(table[name])
    names, units = dataset.dtype.names, np.atleast_1d(_unit(dataset))
    if len(units) == len(names):  # one attribute for all columns
        for name, unit in zip(names, units, strict=True):
            table[name].unit = table[name].unit or _text(unit) or None
    return table


def _decoded(column: Column) -> Column:
    """Return a column of bytes as text, or as it is if it is none."""
    from astropy.table import MaskedColumn

    try:
        text = np.strings.decode(np.asarray(column).astype(np.bytes_), "utf-8")
    except UnicodeDecodeError:
        return column
    made = described_as(column.__class__(text, copy=False), column)
    if isinstance(column, MaskedColumn):
        made.mask = column.mask
    return made


def _part(file: Any, path: Path, part: str | None) -> Any:
    if part is None:
        return file
    if part not in file:
        raise InputError(
            f"{part!r} must be a path in {str(path)!r}, got {', '.join(file) or 'nothing'} at its top: see h5ls -r"
        )
    return file[part]


def _datasets(top: Any) -> dict[str, Any]:
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and not name.endswith(META) and node.ndim > 0:
            found[name] = node

    top.visititems(visit)
    return found


def _plain_datasets(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the datasets beside the positions; those of other lengths are no columns."""
    folders: dict[str, dict[str, Any]] = {}
    for name, dataset in found.items():
        folder, _, leaf = name.rpartition("/")
        folders.setdefault(folder, {})[leaf or dataset.name.rpartition("/")[2]] = dataset
    matches = [f for f, leaves in folders.items() if _WANTED & {leaf.lower() for leaf in leaves}] or list(
        folders
    )
    if len(matches) != 1:
        choice = f": name one of them, {path.name}[{matches[0] or '/'}]" if matches else ""
        raise InputError(
            "catalogue must be an HDF5 file with one group of columns, got "
            f"{', '.join(m or '/' for m in matches) or 'none'} in {str(path)!r}{choice}"
        )
    columns = folders[matches[0]]
    anchor = next((leaf for leaf in columns if leaf.lower() in _WANTED), next(iter(columns)))
    length = len(columns[anchor])
    return _readable({leaf: data for leaf, data in columns.items() if len(data) == length}, path)


def _readable(columns: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the columns that can be decompressed; name the filter of the others."""
    filters = {name: _missing_filter(dataset) for name, dataset in columns.items()}
    without = {name: missing for name, missing in filters.items() if missing}
    remedy = "install hdf5plugin, or write the file again with gzip (h5repack -f GZIP=4)"
    if without and len(without) == len(columns):
        raise InputError(
            f"{str(path)!r} must be compressed with filters that are installed, got "
            f"{', '.join(sorted(set(map(str, without.values()))))}: {remedy}"
        )
    if without:
        named = ", ".join(f"{name} ({missing})" for name, missing in without.items())
        warnings.warn(f"datasets whose filter is not installed are not read: {named}; {remedy}", stacklevel=7)
    return {name: dataset for name, dataset in columns.items() if name not in without}


def _missing_filter(dataset: Any) -> str | None:
    import h5py

    settings = dataset.id.get_create_plist()
    for i in range(settings.get_nfilters()):
        code = settings.get_filter(i)[0]
        if not h5py.h5z.filter_avail(code):
            return f"the filter {_FILTERS.get(code, 'unknown')} ({code})"
    return None


def _bytes(dataset: Any) -> float:
    width = dataset.dtype.itemsize + (_TEXT_BYTES if dataset.dtype.hasobject else 0)
    return float(np.prod(dataset.shape, dtype=np.float64) * width)


def _values(dataset: Any, rows: slice) -> np.ndarray:
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[rows], dtype=str)
    return np.asarray(dataset[rows])


def _unit(dataset: Any) -> Any:
    """Return what the attribute `unit` or `units` says: a text, a list of several, or an empty text."""
    for name, value in dataset.attrs.items():
        if name.lower() in ("unit", "units"):
            values = [_text(entry) for entry in np.atleast_1d(value)]
            return values if len(values) > 1 else values[0]
    return ""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
