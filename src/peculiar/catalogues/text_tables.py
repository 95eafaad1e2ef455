"""Text tables: any delimiter, comments, headers in a comment (NumPy, Rockstar, consistent-trees, AHF)."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Table

_DELIMITERS = (",", ";", "|", "\t", " ")  # the blank stands for any run of blanks and tabs
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
    from astropy.table import Table

    text = _decoded(path)
    names, delimiter, start = _header(text, path)
    body = text[start:].rstrip() + "\n"
    if delimiter == " ":
        body = body.replace("\t", " ")
    # astropy's fast reader knows ASCII alone
    kind = "ascii.fast_no_header" if body.isascii() else "ascii.no_header"
    table = (
        Table.read(body, format=kind, names=names, delimiter=delimiter, comment="#", guess=False)
        if body.strip()
        else Table(names=names)
    )
    if "hosthalo" in {name.lower() for name in names}:
        for name in names:
            table[name].unit = _AHF_UNITS.get(name.lower())
    return table


def _decoded(path: Path) -> str:
    """Return the text without its byte-order mark."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


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
