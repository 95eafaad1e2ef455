"""Text tables: any delimiter, comments, headers in one (NumPy, Rockstar, consistent-trees, AHF); and ECSV in pieces."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Table

_DELIMITERS = (",", ";", "|", "\t", " ")  # the blank stands for any run of blanks and tabs
_HEAD = 4096  # lines, of which the header is a part
_MOST = 1 << 22  # characters of a piece
_NUMBERED = re.compile(r"\(\d+\)$")  # AHF and consistent-trees number their columns: Mvir(4)
_AHF_UNITS = {
    "xc": "kpc / h",
    "yc": "kpc / h",
    "zc": "kpc / h",
    "vxc": "km / s",
    "vyc": "km / s",
    "vzc": "km / s",
}
"""What AHF's documentation states of the columns whose names it alone has."""


def read(path: Path) -> Table:
    """Read a text table whose columns are named in its first line, or in a comment above its values.

    Raises
    ------
    InputError
        If no line names the columns.
    """
    with _opened(path) as file:
        text = file.read()
    names, delimiter, start = _header(text, path)
    return _table(text[start:], names, delimiter)


def pieces(path: Path, columns: Sequence[str] | None = None, *, rows: int) -> Iterator[Table]:
    """Yield some rows of a text table after the other; see `read`."""
    with _opened(path) as file:
        lines = list(islice(file, _HEAD))
        text, rows = "".join(lines), _count(lines, rows)
        names, delimiter, start = _header(text, path)
        text = text[start:] + "".join(islice(file, max(0, rows - _HEAD)))
        while text:
            yield _table(text, names, delimiter, columns)
            text = "".join(islice(file, rows))


def ecsv_pieces(path: Path, columns: Sequence[str] | None = None, *, rows: int) -> Iterator[Table]:
    """Yield some rows of an ECSV file after the other; all columns are read, with any choice of them."""
    from astropy.table import Table

    with _opened(path) as file:
        head = ""
        for line in file:
            head += line
            if not line.startswith("#"):  # the names of the columns end the header
                break
        lines = list(islice(file, min(rows, _HEAD)))
        rows = _count(lines, rows)
        lines += islice(file, rows - len(lines))
        while lines:
            yield Table.read(head + "".join(lines), format="ascii.ecsv")
            lines = list(islice(file, rows))


def _count(lines: list[str], rows: int) -> int:
    """Return how many such lines a piece has, at most `rows`."""
    return min(rows, max(_HEAD, _MOST * len(lines) // max(sum(map(len, lines)), 1)))


def _opened(path: Path) -> IO[str]:
    """Open a text file, unpacked and without its byte-order mark."""
    packed = path.suffix.lower() == ".gz"
    with gzip.open(path) if packed else path.open("rb") as raw:
        wide = raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if wide else "utf-8-sig"
    return gzip.open(path, "rt", encoding=encoding) if packed else path.open(encoding=encoding)


def _table(body: str, names: list[str], delimiter: str, columns: Sequence[str] | None = None) -> Table:
    from astropy.table import Table

    body = body.rstrip() + "\n"
    if delimiter == " ":
        body = body.replace("\t", " ")
    # astropy's fast reader knows ASCII alone
    kind = "ascii.fast_no_header" if body.isascii() else "ascii.no_header"
    table = (
        Table.read(
            body,
            format=kind,
            names=names,
            delimiter=delimiter,
            comment="#",
            guess=False,
            include_names=None if columns is None else [name for name in names if name in columns],
        )
        if body.strip()
        else Table(names=names)
    )
    if "hosthalo" in {name.lower() for name in names}:
        for name in table.colnames:
            table[name].unit = _AHF_UNITS.get(name.lower())
    return table


def _header(text: str, path: Path) -> tuple[list[str], str, int]:
    """Return the names of the columns, the delimiter, and where the values begin."""
    lines = io.StringIO(text)
    comments: list[str] = []
    shown: list[str] = []
    start = 0
    while len(shown) < 2 and (line := lines.readline()):
        if line.startswith("#"):
            comments.append(line.lstrip("#").strip())
        elif line.strip():
            shown.append(line.rstrip("\n"))
            if len(shown) == 1:
                start = lines.tell()
    if not shown:
        raise InputError(f"catalogue must hold at least one object, got {str(path)!r} with no rows")
    first, second = shown[0], shown[-1]
    for delimiter in " " if first.endswith("\t") else _DELIMITERS:  # AHF ends its lines with a tab
        fields = _fields(first, delimiter)
        if len(fields) == len(_fields(second, delimiter)) and (len(fields) > 1 or delimiter == " "):
            break
    if not any(map(_is_number, fields)):
        return _unique(fields, path), delimiter, start
    for comment in reversed(comments):
        for own in (delimiter, *_DELIMITERS):
            names = _fields(comment, own)
            if len(names) == len(fields) and not any(map(_is_number, names)):
                return _unique([_NUMBERED.sub("", name) for name in names], path), delimiter, 0
    raise InputError(
        f"a text table must name its columns in its first line, or in a comment (#) above, got {first[:80]!r} in "
        f"{str(path)!r}: add a line of {len(fields)} names"
    )


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        line = " ".join(line.split())
    fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [field.strip() for field in fields]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return field.lower() not in ("nan", "inf", "infinity")


def _unique(names: list[str], path: Path) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names):
        raise InputError(
            f"columns of a text table must have names of their own, got "
            f"{', '.join(map(repr, twice)) or 'an empty one'} in {str(path)!r}: correct its header"
        )
    return names
