"""A dry run of an output, before the work: a few rows of the real columns are written and read back."""

from __future__ import annotations

import csv
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from peculiar.catalogues.added import renamed, with_columns
from peculiar.catalogues.formats import WRITERS, save_table
from peculiar.catalogues.tables import FORMATS, read_table, table_format
from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Column, Table

_TIME_PRECISION = 1e-9  # s
_SHOWN = 5  # names in a message
_ATTRIBUTES = ("unit", "description")

Changes = dict[str, list[str]]
"""What changes without loss of a value, and in which columns."""


def require_held(table: Table, path: Path | str, *, added: Sequence[str] = ()) -> None:
    """Refuse a table that a file would not give back, and warn of what it gives back in another way.

    Values have to come back; NaN and missing numbers count as one, so do empty and missing texts. Wider types, dates as
    text, lost units, descriptions and metadata are named in one line, and so are columns that give way to an added one
    from which only capitals tell them.

    Parameters
    ----------
    table : astropy Table
    path : path
        The output, whose ending gives the format.
    added : sequence of str
        Columns that come to it, of `peculiar.catalogues.added.COLUMNS`.

    Raises
    ------
    InputError
        With the columns, what becomes of them, and the formats that hold them.
    """
    kind = table_format(path)
    sample = table[telling_rows(table)]
    whole = with_columns(sample, {name: np.zeros(len(sample)) for name in added})
    try:
        changes = _changes(whole, kind)
    except _Lost as lost:
        raise _refusal(sample, kind, lost) from None
    told = [f"{old} as {new}" for old, new in renamed(table, added).items() if old not in added]
    ours = {*added} | ({"comments"} - set(table.meta))
    for what, names in changes.items():
        if others := [name for name in names if name not in ours]:
            told.append(f"{what} ({_few(others)})")
    if told:
        warnings.warn(f"{path} has changes to the catalogue: {', '.join(told)}", stacklevel=2)


class _Lost(Exception):
    """What does not come back."""


def _refusal(sample: Table, kind: str, lost: _Lost) -> InputError:
    reasons = {}
    for name in sample.colnames:
        if reason := _loss(sample[[name]], kind):
            reasons[name] = _special(sample[name]) or reason
    others = [
        WRITERS[k].name for k in WRITERS if k != kind and reasons and not _loss(sample[list(reasons)], k)
    ]
    shown = _few([f"{name} ({reason})" for name, reason in reasons.items()]) or str(lost)
    remedy = f"write {' or '.join(others)}" if others else "leave them out"
    return InputError(f"columns must be of kinds that {WRITERS[kind].name} holds, got {shown}: {remedy}")


def _loss(table: Table, kind: str) -> str:
    try:
        _changes(table, kind)
    except _Lost as lost:
        return str(lost)
    return ""


def _special(column: Any) -> str:
    """What is not common about a column's kind, "" for real numbers and ASCII."""
    if not hasattr(column, "dtype"):
        return type(column).__name__
    if column.ndim > 1:
        return f"{' x '.join(map(str, column.shape[1:]))} values per row"
    if column.dtype.kind == "U":
        return "text beyond ASCII" if _beyond_ascii(column).any() else ""
    if column.dtype.kind == "O":
        return "objects" if any(np.ndim(value) == 0 for value in column) else "lists"
    return (
        "" if column.dtype.kind in "iubS" or column.dtype in (np.float32, np.float64) else str(column.dtype)
    )


def _beyond_ascii(text: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    codes = np.ascontiguousarray(text).view(np.uint32 if text.dtype.kind == "U" else np.uint8)
    return np.asarray(codes.reshape(len(text), -1).max(axis=1, initial=0) > 127)


def _changes(table: Table, kind: str) -> Changes:
    """Write a table and read it back; return what changes, or raise _Lost."""
    ending = next(ending for ending, name in FORMATS.items() if name == kind)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(place) / f"rows{ending}"
        try:
            save_table(table, path, kind=kind)
            if kind != "ascii.csv":
                return _compared(table, read_table(path))
        except (_Lost, MemoryError):
            raise
        except OSError as error:
            raise InputError(
                f"a dry run of the output needs a temporary directory, got '{error}': set TMPDIR to one"
            ) from None
        except (
            Exception
        ) as error:  # ValueError, TypeError, VerifyError, ArrowInvalid, InputError of the reader ...
            raise _Lost(" ".join(str(error.__cause__ or error).split())[:80]) from error
        with path.open(encoding="utf-8", newline="") as file:
            return _compared_texts(table, list(csv.reader(file)))


def telling_rows(table: Table) -> Int[np.ndarray, " rows"]:
    """Return rows that show what columns hold: ends, extremes, missing values, kinds and length of text, of objects.

    Of integers of one byte they have every value, so that another can stand for missing ones.
    """
    rows = {0, len(table) - 1}
    for column in table.itercols():
        values = _plain(column) if hasattr(column, "dtype") else None
        signs = [np.asarray(getattr(column, "mask", False))]
        if values is None:
            pass
        elif values.dtype.kind == "O":
            kinds = {(type(value), getattr(value, "dtype", None)): row for row, value in enumerate(values)}
            rows.update(kinds.values())
        elif values.dtype.kind in "US":
            text = values.data
            signs += [_beyond_ascii(text), np.strings.lstrip(text) != text, np.strings.rstrip(text) != text]
            encoded = np.strings.encode(text, "utf-8") if text.dtype.kind == "U" else text
            rows.add(int(np.strings.str_len(encoded).argmax()) * len(table) // text.size)
        elif values.dtype.kind in "iu" and values.dtype.itemsize == 1:
            rows.update((np.unique(values.data, return_index=True)[1] * len(table) // values.size).tolist())
        elif values.dtype.kind in "iuf" and values.size:
            width = values.size // len(table)
            rows |= {int(values.argmin()) // width, int(values.argmax()) // width}
        if values is not None and values.dtype.kind in "fcMm":
            signs.append(values.data != values.data)  # NaN or no date
        for sign in signs:
            if sign.any():
                rows.add(int(sign.reshape(len(table), -1).any(axis=1).argmax()))
    return np.array(sorted(rows))


def _plain(column: Column) -> np.ma.MaskedArray:
    """Return a column as a masked array: as text, a Column compares without its blanks."""
    return np.ma.MaskedArray(np.asarray(column), mask=getattr(column, "mask", False))


def _compared(before: Table, after: Table) -> Changes:
    from astropy.table import MaskedColumn, serialize
    from astropy.time import Time

    plain = (MaskedColumn, Time)
    before, after = (serialize.represent_mixins_as_columns(t, exclude_classes=plain) for t in (before, after))
    changes: Changes = {}
    for name in before.colnames:
        if name not in after.colnames:
            raise _Lost(f"{name} is left out")
        if change := _compared_columns(before[name], after[name]):
            changes.setdefault(change, []).append(name)
        for what in _ATTRIBUTES:
            old, new = (getattr(t[name].info, what) for t in (before, after))
            if old and old != new:
                changes.setdefault(f"no {what}s", []).append(name)
    if gone := _gone(before.meta, after.meta):
        changes["no metadata"] = gone
    return changes


def _compared_columns(before: Column, after: Column) -> str:
    """Return what changes in a column, "" for nothing, or raise _Lost."""
    from astropy.time import Time

    if isinstance(before, Time):
        if not isinstance(after, Time):
            raise _Lost("times lose their scale")
        if np.abs((before - after).sec).max() > _TIME_PRECISION:
            raise _Lost("times are rounded")
        return ""
    old, new = _plain(before), _plain(after)
    if old.dtype.kind in "MUS":
        return _compared_text(old, new)
    if old.shape != new.shape or old.dtype.kind != new.dtype.kind:
        raise _Lost(f"{old.dtype} becomes {new.dtype}" + (f" {new.shape[1:]}" if new.ndim > 1 else ""))
    if old.dtype.kind == "O":
        if not all(_same_object(a, b) for a, b in zip(old.tolist(), new.tolist(), strict=True)):
            raise _Lost("objects change")
        return ""
    if old.dtype.kind in "fc":
        equal = np.array_equal(old.filled(np.nan), new.filled(np.nan), equal_nan=True)
    elif (np.ma.getmaskarray(old) != np.ma.getmaskarray(new)).any():
        raise _Lost("missing values get values")
    else:
        equal = np.array_equal(old.compressed(), new.compressed())
    if not equal:
        raise _Lost("values change")
    return "" if old.dtype.itemsize == new.dtype.itemsize else f"{old.dtype} as {new.dtype.newbyteorder('=')}"


def _compared_text(old: np.ma.MaskedArray, new: np.ma.MaskedArray) -> str:
    """Compare text or dates with what came back."""
    if old.dtype.kind == new.dtype.kind == "M":
        missing = [np.ma.getmaskarray(dates) | np.isnat(dates.data) for dates in (old, new)]
        if (missing[0] != missing[1]).any() or (old != new)[~missing[0]].any():
            raise _Lost("dates change")
        return ""
    if new.dtype.kind not in "US":
        raise _Lost(f"text becomes {new.dtype}")
    change = "dates as text" if old.dtype.kind == "M" else ""
    first, second = _as_text(old), _as_text(new)
    if np.array_equal(first, second):
        return change
    if not np.array_equal(np.strings.strip(first), np.strings.strip(second)):
        raise _Lost("text changes")
    return "text without blanks at its ends"


def _as_text(values: np.ma.MaskedArray) -> Shaped[np.ndarray, " n"]:
    if values.dtype.kind == "M":
        missing = np.ma.getmaskarray(values) | np.isnat(values.data)
        return np.where(missing, "", np.datetime_as_string(values.data))
    text = values.filled("" if values.dtype.kind == "U" else b"")
    return np.strings.decode(text, "latin-1") if text.dtype.kind == "S" else text


def _same_object(old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is new
    old, new = np.asarray(old), np.asarray(new)
    return old.dtype == new.dtype and np.array_equal(old, new, equal_nan=old.dtype.kind in "fc")


def _compared_texts(table: Table, lines: list[list[str]]) -> Changes:
    """Compare a table with the lines of a CSV file: each value has to be there as its own text."""
    from astropy.time import Time

    if lines[0] != table.colnames:
        raise _Lost("several columns for one")
    for name, found in zip(table.colnames, zip(*lines[1:], strict=True), strict=True):
        if isinstance(table[name], Time):
            continue
        values = _plain(table[name])
        texts = np.array(found)[~np.ma.getmaskarray(values)]
        own = values.compressed()
        if own.dtype.kind in "iufc":
            exact = np.array_equal(texts.astype(own.dtype), own, equal_nan=own.dtype.kind in "fc")
        else:
            exact = texts.tolist() == [
                *map(str, _as_text(np.ma.asarray(own)) if own.dtype.kind in "MUS" else own)
            ]
        if not exact:
            raise _Lost("its text is not exact")
    columns = table.columns.values()
    changes = {f"no {what}s": [c.info.name for c in columns if getattr(c.info, what)] for what in _ATTRIBUTES}
    changes["times as text"] = [c.info.name for c in columns if isinstance(c, Time)]
    changes["no metadata"] = _gone(table.meta, {})
    return {what: names for what, names in changes.items() if names}


def _gone(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the keys of metadata that did not come back; FITS writes them in capitals."""
    kept = {str(key).upper() for key in after}
    return [str(key) for key in before if str(key).upper() not in kept and not str(key).startswith("__")]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
