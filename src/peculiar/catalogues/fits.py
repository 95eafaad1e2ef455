"""Tables in FITS files, with what astropy's reader and writer lose: undefined logicals, small integers, times."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU, Header
    from astropy.table import MaskedColumn, Table

_UNDEFINED = 0
"""The byte of a logical that is neither T nor F."""
_BLOCK = 2880  # bytes, of which FITS files are made
_MOST = 1 << 24  # bytes of a piece


def tables(path: Path) -> dict[int, str]:
    """Return the numbers and names of the HDUs that are tables."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return {i: hdu.name or str(i) for i, hdu in enumerate(hdus) if hasattr(hdu, "columns")}


def read(path: Path, number: int) -> Table:
    """Return an HDU of a file as a table."""
    from astropy.io import fits

    with fits.open(path, memmap=False, character_as_bytes=True) as hdus:
        return from_hdu(hdus[number])


def is_regular(path: Path, number: int) -> bool:
    """Whether an HDU is binary and every row as long as the others."""
    from astropy.io import fits

    with fits.open(path, lazy_load_hdus=True) as hdus:
        binary = isinstance(hdus[number], fits.BinTableHDU)
        return binary and not any(set("PQ") & set(column.format) for column in hdus[number].columns)


def pieces(path: Path, number: int, columns: Sequence[str] | None = None, *, rows: int) -> Iterator[Table]:
    """Yield some rows of an HDU after the other, without the columns of lists that differ in length.

    The bytes are read, not mapped: what is mapped counts as memory of the process.
    """
    from astropy.io import fits

    with fits.open(path, lazy_load_hdus=True) as hdus:
        hdu = hdus[number]
        whole, header, start = None, hdu.header.copy(), hdu.fileinfo()["datLoc"]
        if isinstance(hdu, fits.TableHDU):  # numbers as text
            whole = from_hdu(hdu)
        names, kind = list(hdu.columns.names), hdu.columns.dtype.newbyteorder(">")
        single = [column.name for column in hdu.columns if not set("PQ") & set(column.format)]
    if whole is not None:
        yield from (whole[first : first + rows] for first in range(0, len(whole), rows))
        return
    chosen = [name for name in single if columns is None or name in columns]
    packed = np.dtype([(name, kind[name]) for name in chosen])
    count = max(1, min(rows, _MOST // max(kind.itemsize, 1)))
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        file.seek(start)
        for first in range(0, header["NAXIS2"], count):
            wanted = min(count, header["NAXIS2"] - first) * kind.itemsize
            block = file.read(wanted)
            if len(block) < wanted:
                raise OSError(
                    f"{header['NAXIS2']} rows are stated, {first + len(block) // kind.itemsize} there"
                )
            raw = np.frombuffer(block, kind)
            values = np.empty(len(raw), packed)
            for name in chosen:
                values[name] = raw[name]
            own = _header_of(header, [names.index(name) + 1 for name in chosen], len(raw), packed.itemsize)
            if len(chosen) < len(names):
                own.remove("COMMENT", ignore_missing=True, remove_all=True)  # astropy's are of all columns
            data = values.tobytes()
            yield from_hdu(
                fits.BinTableHDU.fromstring(
                    own.tostring().encode("ascii") + data + bytes(-len(data) % _BLOCK),
                    character_as_bytes=True,
                )
            )


def _header_of(header: Header, numbers: list[int], rows: int, width: int) -> Header:
    """Return the header of a table of some columns, by their numbers from 1 on, with the cards of the whole."""
    from astropy.io import fits
    from astropy.io.fits.column import KEYWORD_NAMES
    from astropy.io.fits.connect import REMOVE_KEYWORDS, is_column_keyword

    made = fits.Header(
        [("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", width), ("NAXIS2", rows)]
        + [("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(numbers))]
    )
    for new, old in enumerate(numbers, start=1):
        made.update(
            {f"{key}{new}": header[f"{key}{old}"] for key in KEYWORD_NAMES if f"{key}{old}" in header}
        )
    made.extend(
        card
        for card in header.cards
        if card.keyword not in REMOVE_KEYWORDS and not is_column_keyword(card.keyword)
    )
    return made


def from_hdu(hdu: BinTableHDU) -> Table:
    """Return a table HDU as a table: its nulls masked, its NaN and empty texts as they are, its times as times."""
    from astropy.io.fits.card import Undefined
    from astropy.table import MaskedColumn, Table
    from astropy.time import Time

    if not hdu.data.flags.writeable:
        hdu.data = hdu.data.copy()
    raw = np.asarray(hdu.data.view(np.ndarray))
    undefined: dict[str, np.ndarray] = {}
    for column in hdu.columns:
        if column.format.lstrip("0123456789").startswith("L") and (raw[column.name] == _UNDEFINED).any():
            undefined[column.name] = raw[column.name] == _UNDEFINED
            raw[column.name][undefined[column.name]] = ord("F")
    timed = any(column.coord_type or column.time_ref_pos for column in hdu.columns)
    table = Table.read(hdu, format="fits", mask_invalid=False, astropy_native=timed)
    for name, mask in undefined.items():
        table[name] = MaskedColumn(table[name], mask=mask)
    for column in hdu.columns:
        if column.format.endswith("B") and column.bzero == -128 and column.bscale in ("", None, 1):
            table[column.name] = table[column.name].astype(np.int8)
    for key, value in table.meta.items():
        if isinstance(value, Undefined):
            table.meta[key] = None
        elif isinstance(value, Time):
            table.meta[key] = hdu.header[key]
    return table


def write_fits(table: Table, path: Path | io.BytesIO) -> None:
    """Write a table as FITS.

    Masked integers get a null that no value has, masked logicals are undefined, and integers of one byte with a sign,
    which FITS does not have, get two.
    """
    from astropy.io import fits
    from astropy.table import MaskedColumn

    logicals = {}
    for name in table.colnames:
        kind = getattr(table[name], "dtype", np.dtype(float))
        if kind == np.int8:
            table[name] = table[name].astype(np.int16)
        if isinstance(table[name], MaskedColumn) and kind.kind in "iu":
            table[name].fill_value = _unused(table[name])
        if isinstance(table[name], MaskedColumn) and kind.kind == "b":
            logicals[name] = np.array(table[name].mask)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Keyword name .* HIERARCH card")
        table.write(path, format="fits")
    if any(mask.any() for mask in logicals.values()):
        if isinstance(path, io.BytesIO):
            path.seek(0)
        hdus = fits.open(path, mode="update")
        raw = hdus[1].data.view(np.ndarray)
        for name, mask in logicals.items():
            raw[name][mask] = _UNDEFINED
        hdus.close(closed=isinstance(path, Path))


def append_fits(pieces: Iterator[Table], path: Path, *, skip: int) -> None:
    """Write rows as `write_fits` does, a piece at a time, but for the first `skip` of each; see `save_pieces`."""
    from astropy.io import fits

    count, head = 0, fits.Header()
    with path.open("w+b") as file:
        for piece in pieces:
            part = io.BytesIO()
            write_fits(piece, part)
            with fits.open(io.BytesIO(part.getbuffer()), lazy_load_hdus=True) as hdus:
                header, place = hdus[1].header.copy(), hdus[1].fileinfo()
            header["NAXIS2"] = 0
            if not count:
                head, begins = header, place["hdrLoc"]
                file.write(part.getbuffer()[: place["datLoc"]])
            elif header != head:  # numbers of two bytes or more that take all values, and are missing
                raise InputError(
                    "missing integers must have a number that no other has in FITS, got all in use: write Parquet"
                )
            row = header["NAXIS1"]
            file.write(part.getbuffer()[place["datLoc"] + skip * row : place["datLoc"] + len(piece) * row])
            count += len(piece) - skip
        file.write(bytes(-file.tell() % _BLOCK))
        head["NAXIS2"] = count
        file.seek(begins)
        file.write(head.tostring().encode("ascii"))


def cards(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a table's metadata that a FITS header can hold."""
    held: dict[str, Any] = {}
    for key, value in meta.items():
        if isinstance(value, list):
            card = "comment" if key == "comments" else key
            if kept := [item for item in value if _is_card(card, item)]:
                held[key] = kept
        elif _is_card(key, value):
            held[key] = value
    return held


def _is_card(key: str, value: Any) -> bool:
    from astropy.io import fits
    from astropy.io.fits.connect import REMOVE_KEYWORDS, is_column_keyword

    if is_column_keyword(str(key).upper()) or str(key).upper() in REMOVE_KEYWORDS:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.Header()
        try:
            header.append((key, value))
            header.tostring()
        except (ValueError, TypeError, fits.VerifyError):
            return False
    return True


def _unused(column: MaskedColumn) -> int:
    """Return an integer for null that the column does not have, in the range of its type."""
    kind, present = np.iinfo(column.dtype), column.compressed()
    for null in (kind.min, kind.max):
        if null not in present:
            return int(null)
    return int(np.setdiff1d(np.arange(kind.min, kind.min + len(present) + 1), present)[0])
