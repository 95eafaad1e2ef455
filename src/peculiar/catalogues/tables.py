"""Table files: what the ending of a name means, one part of a file by name, and files read whole or in pieces."""

from __future__ import annotations

import gzip
import os.path
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from peculiar.catalogues import fits
from peculiar.catalogues.signatures import UNKNOWN, looks_like
from peculiar.core import InputError, memory

if TYPE_CHECKING:
    from astropy.table import Table

FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".fits.gz": "fits",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
    ".hdf": "hdf5",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".csv.gz": "ascii.csv",
}
"""File name endings that are read and written, and what astropy calls their formats."""

TEXT = (".csv", ".tsv", ".txt", ".dat", ".ascii", ".list", ".ahf_halos")
"""Endings of text tables, which are read with any delimiter; so are those with .gz behind."""

_READ = {
    **FORMATS,
    ".fit.gz": "fits",
    **{ending + gz: "ascii.csv" for ending in TEXT for gz in ("", ".gz")},
}
_COPIES = {"fits": 4, "hdf5": 4, "parquet": 6, "ascii.ecsv": 12, "ascii.csv": 6}
"""Memory that reading and checking took at most, over the bytes of the table's values or of its text."""
_REMEDY = "keep only the columns and rows that are used, or cut it into regions"
_BLOCK = 1 << 20
_IN_FOLDER = "**/*.parquet"
ROWS = 1 << 18
"""Of a piece: enough that the work on each does not count, few enough for the memory of any machine."""


def table_format(path: str | Path) -> str:
    """Return astropy's name of the format that a file name's ending means, of those that are written."""
    return _kind(path, FORMATS)


def table_files(path: str | Path) -> list[Path]:
    """Return the files that hold a table: itself, the file of a part (``survey.fits[GALAXIES]``), those of a folder."""
    file = split_part(path)[0]
    return sorted(file.glob(_IN_FOLDER)) if os.path.isdir(file) else [file]


def split_part(path: str | Path) -> tuple[Path, str | None]:
    """Return the file and the part of ``file[PART]``: an HDU of a FITS file, a group or table of an HDF5 file."""
    text = str(path)
    if not text.endswith("]") or "[" not in text or os.path.lexists(text):
        return Path(path), None
    name, _, part = text[:-1].rpartition("[")
    return Path(name), part


def read_table(path: str | Path) -> Table:
    """Read a table file as it stands: all columns, rows in their order.

    Parameters
    ----------
    path : path
        FITS, HDF5, Parquet (a file, or a folder of them), ECSV, or text with any delimiter, see `FORMATS` and `TEXT`.
        ``file[PART]`` names an HDU, by name or number, or a table or group of an HDF5 file. Plain HDF5 files, without
        a table but with datasets of one length (``x``, ``y``, ``z``, or ``position`` of shape (n, 3)), are read as
        well.

    Raises
    ------
    InputError
        If the file is missing, of an unknown kind, damaged, truncated, without rows, or too large for the memory.
    """
    file, kind, part = _known(path)
    with _whole_file(file, kind):
        table = _read(file, kind, part)
    if len(table) == 0:
        raise _no_rows(file)
    return table


def read_pieces(
    path: str | Path, columns: Sequence[str] | None = None, *, rows: int = ROWS
) -> Iterator[Table]:
    """Read a table file some rows at a time, in their order: what is in memory does not grow with the file.

    Parameters
    ----------
    path : path
        As of `read_table`.
    columns : sequence of str, optional
        The file's own names of those that are needed; all where not given. Others may come with them.
    rows : int
        Of a piece, at most.

    Raises
    ------
    InputError
        As `read_table`, when the piece is reached that is damaged.
    """
    from peculiar.catalogues import hdf5_tables, parquet_tables, text_tables

    file, kind, part = _known(path)
    if kind == "fits":
        with _whole_file(file, kind):
            hdu = _hdu(file, part)
        pieces = fits.pieces(file, hdu, columns, rows=rows)
    elif kind == "hdf5":
        pieces = hdf5_tables.pieces(file, part, columns, rows=rows)
    elif kind == "parquet":
        pieces = parquet_tables.pieces(table_files(file), columns, rows=rows)
    else:
        read = text_tables.pieces if kind == "ascii.csv" else text_tables.ecsv_pieces
        pieces = read(file, columns, rows=rows)
    found = False
    while True:
        with _whole_file(file, kind):
            piece = next(pieces, None)
        if piece is None:
            break
        if len(piece):
            found = True
            yield piece
    if not found:
        raise _no_rows(file)


def reads_in_pieces(path: str | Path) -> bool:
    """Whether `read_pieces` yields all of a table in pieces: not of lists in FITS, or of what names of folders tell."""
    file, kind, part = _known(path)
    if kind == "fits":
        with _whole_file(file, kind), warnings.catch_warnings(action="ignore"):
            return fits.is_regular(file, _hdu(file, part))
    return not any("=" in part for name in table_files(file) for part in name.relative_to(file).parts)


def read_head(path: str | Path) -> Table:
    """Read the names, units and metadata of a table file, and one row or none."""
    from peculiar.catalogues import parquet_tables

    file, kind, _ = _known(path)
    if kind != "parquet":
        return next(read_pieces(path, rows=1))
    with _whole_file(file, kind):
        return parquet_tables.head(table_files(file))


def _known(path: str | Path) -> tuple[Path, str, str | None]:
    """Return the file, its format and the part of it; refuse what is no table file."""
    path, part = split_part(path)
    folder = os.path.isdir(path)
    if folder and not any(path.glob(_IN_FOLDER)):
        raise InputError(
            f"catalogue must be a file that exists, or a folder of .parquet files, got {str(path)!r}"
        )
    kind = "parquet" if folder else _kind(path, _READ)
    if part is not None and kind not in ("fits", "hdf5"):
        raise InputError(f"a part of a file must be an HDU or an HDF5 path, got [{part}] of {str(path)!r}")
    if not (folder or os.path.isfile(path)):
        raise InputError(f"catalogue must be a file that exists, got {str(path)!r}: check the path")
    if path.stat().st_size == 0:
        raise InputError(f"catalogue must hold a table, got {str(path)!r} of 0 bytes: copy the file again")
    return path, kind, part


@contextmanager
def _whole_file(path: Path, kind: str) -> Iterator[None]:
    """Turn what readers raise for files that are damaged into one error."""
    try:
        with warnings.catch_warnings():
            # astropy reads on after this one, and would deliver rows that are not there
            warnings.filterwarnings("error", message=".*truncated.*")
            yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"catalogue must fit in memory, got {str(path)!r}: {_REMEDY}") from None
    except PermissionError as error:
        raise InputError(f"catalogue must be readable, got {str(path)!r} ({error.strerror})") from None
    except (
        Exception
    ) as error:  # readers raise OSError, ValueError, TypeError, KeyError, IndexError, ArrowInvalid ...
        if isinstance(error, OSError | ValueError | TypeError) and (other := _of_another_format(path, kind)):
            raise InputError(other) from None
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"catalogue must be a whole {kind.removeprefix('ascii.').upper()} file, got {str(path)!r}, which cannot be "
            f"read ({type(error).__name__}: {reason}): it is truncated, damaged or of another format; copy it again"
        ) from error


def _of_another_format(path: Path, kind: str) -> str:
    """Return what to say of a file that is not what its name says, "" where it begins as such files do."""
    name = {"parquet": "Parquet"}.get(kind, kind.removeprefix("ascii.").upper())
    looks, ending = looks_like(path)
    told = f"catalogue must be {name}, as its name says, got {str(path)!r}, which looks like {looks}"
    if ending and looks != name and (kind, looks) != ("ascii.csv", "text"):
        return f"{told}: rename it to end in {ending}"
    if looks and not ending and (kind == "fits" or looks != UNKNOWN):
        return f"{told}: download it again, or rename it to what it is"
    return ""


def _no_rows(path: Path) -> InputError:
    return InputError(
        f"catalogue must hold at least one object, got {str(path)!r} with no rows: check the selection"
    )


def _kind(path: str | Path, formats: dict[str, str]) -> str:
    name = Path(path).name.lower()
    for ending, kind in formats.items():
        if name.endswith(ending):
            return kind
    raise InputError(
        f"a table's name must end in {', '.join(formats)}, got {str(path)!r}: convert or rename it"
    )


def _read(path: Path, kind: str, part: str | None) -> Table:
    from astropy.table import Table

    if kind in ("hdf5", "parquet"):
        from peculiar.catalogues import hdf5_tables, parquet_tables

        if kind == "hdf5":
            return hdf5_tables.read(path, part, check=lambda size: _require(path, kind, size))
        return parquet_tables.read(path, check=lambda size: _require(path, kind, size))
    _require(path, kind, _inflated(path, kind) if path.suffix.lower() == ".gz" else path.stat().st_size)
    if kind == "fits":
        return fits.read(path, _hdu(path, part))
    if kind == "ascii.csv":
        from peculiar.catalogues import text_tables

        return text_tables.read(path)
    return Table.read(path, format=kind)


def _require(path: Path, kind: str, size: float) -> None:
    memory.require_memory(
        _COPIES[kind] * size,
        what="the catalogue",
        remedy=f"{str(path)!r} holds {size / 1e9:.3g} GB; {_REMEDY}",
    )


def _inflated(path: Path, kind: str) -> int:
    """Return the bytes that a .gz file unpacks to, or a number too large for the memory as soon as it is one."""
    most = memory.free_memory() / _COPIES[kind]
    size = 0
    with gzip.open(path) as file:
        while size <= most and (block := file.read(_BLOCK)):
            size += len(block)
    return size


def _hdu(path: Path, part: str | None) -> int:
    """Return the number of the first table of a FITS file, or of the HDU of a name or number."""
    tables = fits.tables(path)
    if not tables:
        raise InputError(f"catalogue must be a FITS file with a table, got none in {str(path)!r}")
    chosen = next(iter(tables))
    if part is not None:
        same = [i for i, name in tables.items() if part.lower() == name.lower() or part == str(i)]
        if not same:
            raise InputError(
                f"HDU must be a table of {str(path)!r}, got [{part}] with tables "
                f"{', '.join(f'{name} ({i})' for i, name in tables.items())}"
            )
        chosen = same[0]
    elif len(tables) > 1:
        others = ", ".join(name for i, name in tables.items() if i != chosen)
        warnings.warn(
            f"{path.name} holds several tables: {tables[chosen]} is read, {others} not, as {path.name}[NAME] is",
            stacklevel=5,
        )
    return chosen
