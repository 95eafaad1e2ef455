"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

UNKNOWN = "nothing that is known"
_BYTES = 1024
_PACKED = b"\x1f\x8b"
_BEGINNINGS = {
    b"SIMPLE  =": ("FITS", ".fits"),
    b"\x89HDF": ("HDF5", ".h5"),
    b"PAR1": ("Parquet", ".parquet"),
    b"# %ECSV": ("ECSV", ".ecsv"),
    _PACKED: ("gzip", ".gz"),
}


def looks_like(path: Path) -> tuple[str, str]:
    """Return the name of a format and its ending: `UNKNOWN` and web pages have no ending, unreadable files neither."""
    try:
        with path.open("rb") as file:
            head = file.read(_BYTES)
        if path.suffix.lower() == ".gz":
            if not head.startswith(_PACKED):
                name, ending = _format_of(head)
                return (f"{name} that is not packed", ending) if ending else (name, ending)
            with gzip.open(path) as unpacked:
                head = unpacked.read(_BYTES)
    except (OSError, EOFError, zlib.error):
        return "", ""
    return _format_of(head)


def _format_of(head: bytes) -> tuple[str, str]:
    for beginning, format_ in _BEGINNINGS.items():
        if head.startswith(beginning):
            return format_
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page", ""
    text = head.decode("utf-8", errors="ignore")
    if len(text.encode()) > len(head) - 4 and all(sign.isprintable() or sign.isspace() for sign in text):
        return "text", ".csv"
    return UNKNOWN, ""
