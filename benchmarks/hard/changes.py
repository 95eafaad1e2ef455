"""What is done to right inputs: tables, bytes of files, JSON and HDF5; each change with what must come of it."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, Table, vstack
from sandbox import Expected

TEXTLESS = ("fits", "h5", "parquet")  # formats that keep a column's type
SHAPED = ("fits", "h5", "ecsv")  # formats that keep a column's shape
MASKED = ("fits", "ecsv", "csv", "parquet")


@dataclass(frozen=True)
class TableChange:
    """A change of a table, and the formats that can hold it; `own` are columns of a user that hold NaN."""

    name: str
    apply: Callable[[Table], Table | None]
    expected: Expected = "refused"
    formats: tuple[str, ...] = ("fits", "h5", "parquet", "ecsv", "csv")
    own: tuple[str, ...] = ()


def column_changes(column: str, *, needed: bool = True) -> Iterator[TableChange]:
    """Changes of one column of numbers; `needed` says whether the command reads it and nothing may be missing."""
    bad: Expected = "refused" if needed else "either"

    def cell(value: float) -> Callable[[Table], None]:
        def apply(table: Table) -> None:
            table[column][7] = value

        return apply

    def to(convert: Callable[[np.ndarray], Any]) -> Callable[[Table], None]:
        def apply(table: Table) -> None:
            table[column] = convert(np.asarray(table[column]))

        return apply

    def masked(rows: slice) -> Callable[[Table], None]:
        def apply(table: Table) -> None:
            found = MaskedColumn(table[column])
            found.mask[rows] = True
            table[column] = found

        return apply

    def unit(text: str) -> Callable[[Table], None]:
        def apply(table: Table) -> None:
            table[column].unit = text

        return apply

    yield TableChange(f"{column} nan", cell(np.nan), bad)
    yield TableChange(f"{column} inf", cell(np.inf), bad)
    yield TableChange(f"{column} -inf", cell(-np.inf), bad)
    yield TableChange(f"{column} 1e300", cell(1e300), bad)
    yield TableChange(f"{column} all nan", to(lambda x: x * np.nan), bad)
    yield TableChange(f"{column} zero", to(lambda x: 0 * x), "either")
    yield TableChange(f"{column} negated", to(lambda x: -x), "either")
    yield TableChange(f"{column} masked row", masked(slice(3, 4)), bad, MASKED)
    yield TableChange(f"{column} masked", masked(slice(None)), bad, MASKED)
    yield TableChange(f"{column} words", to(lambda x: np.array(["far"] * len(x))), bad)
    yield TableChange(f"{column} one word", to(lambda x: np.array(["n/a", *map(str, x[1:])])), bad)
    yield TableChange(f"{column} boolean", to(lambda x: x > x.mean()), "either")
    yield TableChange(f"{column} complex", to(lambda x: x + 1j), bad, ("fits", "h5", "ecsv"))
    yield TableChange(f"{column} column of columns", to(lambda x: x[:, None]), "either", SHAPED)
    yield TableChange(f"{column} two columns", to(lambda x: np.stack([x, x], axis=1)), bad, SHAPED)
    yield TableChange(f"{column} missing", lambda table: table.remove_column(column), bad)
    yield TableChange(f"{column} float32", to(lambda x: x.astype(np.float32)), "right", TEXTLESS)
    yield TableChange(f"{column} big-endian", to(lambda x: x.astype(">f8")), "right", ("fits", "h5"))
    yield TableChange(f"{column} unit s", unit("s"), bad, ("fits", "ecsv"))
    yield TableChange(f"{column} unit furlong", unit("furlong"), "either", ("fits", "ecsv"))


def table_changes(column: str, *, few: bool = False) -> Iterator[TableChange]:
    """Changes of a whole table; `few` says whether a command takes a few rows."""

    def add(name: str, make: Callable[[int], Any]) -> Callable[[Table], None]:
        def apply(table: Table) -> None:
            table[name] = make(len(table))

        return apply

    yield TableChange("as it is", lambda table: None, "right")
    yield TableChange("no rows", lambda table: table[:0])
    yield TableChange("one row", lambda table: table[:1], "either" if few else "refused")
    yield TableChange("two rows", lambda table: table[:2], "either" if few else "refused")
    yield TableChange("no columns", lambda table: Table({"id": np.arange(len(table))}))
    yield TableChange("twice", lambda table: vstack([table, table]), "either" if few else "refused")
    yield TableChange(
        "rows shuffled", lambda table: table[np.random.default_rng(0).permutation(len(table))], "right"
    )
    yield TableChange("columns reversed", lambda table: table[table.colnames[::-1]], "right")
    yield TableChange(
        "capitals",
        lambda table: table.rename_columns(table.colnames, [n.upper() for n in table.colnames]),
        "either",
    )
    yield TableChange(
        "text beside", add("name", lambda n: np.array([f"object {i}" for i in range(n)])), "right"
    )
    yield TableChange("NaN beside", add("extra", lambda n: np.full(n, np.nan)), "right", own=("extra",))
    yield TableChange("long whole numbers beside", add("ID", lambda n: 2**60 + np.arange(n)), "right")
    yield TableChange("booleans beside", add("flag", lambda n: np.arange(n) % 2 == 0), "right")
    yield TableChange(
        "unsigned beside", add("bits", lambda n: (np.arange(n) % 250).astype(np.uint8)), "right", TEXTLESS
    )
    yield TableChange("vectors beside", add("spectrum", lambda n: np.ones((n, 3))), "right", SHAPED)
    yield TableChange(
        "masks beside",
        add("gap", lambda n: MaskedColumn(np.arange(n), mask=np.arange(n) % 3 == 0)),
        "right",
        MASKED,
    )
    yield TableChange(
        "Greek beside", add("δ", lambda n: np.ones(n)), "either", ("ecsv", "csv", "parquet", "h5")
    )
    yield TableChange(
        "Greek text beside",
        add("name", lambda n: np.array(["α Cen"] * n)),
        "either",
        ("ecsv", "csv", "parquet"),
    )
    yield TableChange("first row lowest", lambda table: table[np.argsort(table[column])], "right")
    yield TableChange(
        "all in one place", lambda table: table[np.zeros(len(table), int)], "either" if few else "refused"
    )


@dataclass(frozen=True)
class FileChange:
    """A change of a file, whatever it holds."""

    name: str
    apply: Callable[[Path], None]
    expected: Expected = "refused"


def _bytes(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: _write_bytes(path, edit(path.read_bytes()))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _replace(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)

    return apply


def _flipped(seed: int, count: int) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        changed = bytearray(content)
        for place in np.random.default_rng(seed).integers(0, len(content), count):
            changed[int(place)] ^= 1 << seed % 8
        return bytes(changed)

    return edit


def _no_longer_there(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


FILE_CHANGES = (
    FileChange("missing", _no_longer_there),
    FileChange("empty", _bytes(lambda content: b"")),
    FileChange("one byte", _bytes(lambda content: content[:1])),
    FileChange("first tenth", _bytes(lambda content: content[: len(content) // 10])),
    FileChange("first half", _bytes(lambda content: content[: len(content) // 2]), "either"),
    FileChange("without its end", _bytes(lambda content: content[: -max(len(content) // 20, 9)]), "either"),
    FileChange("zeros", _bytes(lambda content: bytes(len(content)))),
    FileChange("noise", _bytes(lambda content: np.random.default_rng(1).bytes(len(content)))),
    FileChange("text", _bytes(lambda content: b"Lorem ipsum dolor sit amet\n" * 40)),
    FileChange(
        "a web page", _bytes(lambda content: b"<!DOCTYPE html><html><body>404, not found</body></html>\n")
    ),
    FileChange("begins with noise", _bytes(lambda content: bytes(range(128, 160)) + content)),
    FileChange("ends with noise", _bytes(lambda content: content + bytes(range(128, 160))), "either"),
    FileChange("bit 1 flipped", _bytes(_flipped(1, 1)), "either"),
    FileChange("bits 2 flipped", _bytes(_flipped(2, 20)), "either"),
    FileChange("bits 3 flipped", _bytes(_flipped(3, 20)), "either"),
    FileChange("bits 4 flipped", _bytes(_flipped(4, 300)), "either"),
    FileChange("a directory", _replace(lambda path: path.mkdir())),
    FileChange("a link to itself", _replace(lambda path: path.symlink_to(path.name))),
    FileChange("a link to nothing", _replace(lambda path: path.symlink_to("nowhere"))),
    FileChange("a pipe", _replace(os.mkfifo)),
    FileChange("a device", _replace(lambda path: path.symlink_to("/dev/zero"))),
    FileChange("the null device", _replace(lambda path: path.symlink_to(os.devnull))),
)

MISSING = object()
VALUES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "a word": "nonsense",
    "a list": ["nonsense"],
    "a table": {"nonsense": 1},
    "nan": float("nan"),
    "inf": float("inf"),
    "-1e9": -1e9,
    "0": 0,
}
NUMBER_VALUES = ("missing", "null", "a word", "a list", "nan", "inf", "-1e9", "0")
OTHER_VALUES = ("missing", "null", "a word", "a table", "-1e9")


def json_value(key: str, value: str) -> Callable[[Path], None]:
    """Return what puts one of `VALUES` at a dotted key of a JSON file; numbers in the key are places in lists."""
    parts: list[Any] = [int(part) if part.isdecimal() else part for part in key.split(".")]

    def apply(path: Path) -> None:
        document = json.loads(path.read_text())
        place = document
        for part in parts[:-1]:
            place = place[part]
        if VALUES[value] is MISSING:
            del place[parts[-1]]
        else:
            place[parts[-1]] = copy.deepcopy(VALUES[value])
        path.write_text(json.dumps(document))

    return apply


JSON_TEXTS = {
    "empty": "",
    "a list": "[]",
    "null": "null",
    "a number": "17",
    "an empty table": "{}",
    "cut": None,
    "not JSON": "settings = 3",
    "nested without end": "[" * 100000,
    "bytes": "\udcff\udcfe",
    "a huge number": '{"settings": 1' + "0" * 5000 + "}",
}


def write_text(path: Path, text: str | None) -> None:
    """Write a text of `JSON_TEXTS`; None is the first half of what is there."""
    if text is None:
        text = path.read_text()[: path.stat().st_size // 2]
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


ATTRIBUTE_VALUES: dict[str, Any] = {
    "missing": MISSING,
    "a word": "nonsense",
    "nan": np.nan,
    "-7": -7,
    "numbers": [1.0, 2.0],
}
DATASET_EDITS: dict[str, Callable[[np.ndarray], Any]] = {
    "missing": lambda x: None,
    "nan": lambda x: np.where(np.arange(x.size).reshape(x.shape) == x.size // 2, np.nan, x.astype(float)),
    "huge": lambda x: np.where(np.arange(x.size).reshape(x.shape) == x.size // 2, 1e30, x.astype(float)),
    "shorter": lambda x: x[:-1],
    "empty": lambda x: x[:0],
    "one axis more": lambda x: x[None],
    "words": lambda x: np.full(x.shape, b"nonsense"),
    "a number": lambda x: 3.0,
    "negated": lambda x: -x.astype(float) - 1,
}


def hdf5_attribute(name: str, value: str) -> Callable[[Path], None]:
    """Return what gives an attribute of an HDF5 file one of `ATTRIBUTE_VALUES`."""

    def apply(path: Path) -> None:
        import h5py

        with h5py.File(path, "r+") as file:
            del file.attrs[name]
            if ATTRIBUTE_VALUES[value] is not MISSING:
                file.attrs[name] = ATTRIBUTE_VALUES[value]

    return apply


def hdf5_dataset(name: str, edit: str) -> Callable[[Path], None]:
    """Return what makes one of `DATASET_EDITS` in a dataset of an HDF5 file."""

    def apply(path: Path) -> None:
        import h5py

        with h5py.File(path, "r+") as file:
            values, attrs = file[name][()], dict(file[name].attrs)
            del file[name]
            new = DATASET_EDITS[edit](values)
            if new is not None:
                file.create_dataset(name, data=new).attrs.update(attrs)

    return apply
