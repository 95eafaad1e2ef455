"""Tables in FITS files, with what astropy's reader and writer lose: undefined logicals, small integers, times."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU
    from astropy.table import MaskedColumn, Table

_UNDEFINED = 0
"""The byte of a logical that is neither T nor F."""


def from_hdu(hdu: BinTableHDU) -> Table:
    """Return a table HDU as a table: its nulls masked, its NaN and empty texts as they are, its times as times."""
    from astropy.io.fits.card import Undefined
    from astropy.table import MaskedColumn, Table
    from astropy.time import Time

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


def write_fits(table: Table, path: Path) -> None:
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
        with fits.open(path, mode="update") as hdus:
            raw = hdus[1].data.view(np.ndarray)
            for name, mask in logicals.items():
                raw[name][mask] = _UNDEFINED


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
