"""HDF5 files of simulations as they are read again: attributes by one model, arrays of known shapes, finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped
from pydantic import Field, Json

from peculiar.core.errors import InputError
from peculiar.core.hdf5 import is_as_written
from peculiar.core.records import DAMAGED, Record, StoredCosmology, checked

Shapes = Mapping[str, tuple[int | str, ...]]
"""Name of an array -> its shape; a word stands for one length, the same wherever it stands."""


class Attributes(Record):
    """What boxes and pairs say of themselves."""

    seed: int = Field(ge=0)
    redshift: float = Field(gt=-1)
    box_size: float = Field(gt=0)
    cosmology: Json[StoredCosmology]


Kind = TypeVar("Kind", bound=Attributes)


def read_attributes(
    path: Path, kind: type[Kind], *, what: str, schema: int, shapes: Shapes, lengths: str
) -> Kind:
    """Return the attributes of a file, its arrays checked by their shapes.

    Parameters
    ----------
    path : Path
    kind : type
        The model of the attributes.
    what : str
        Name in messages.
    schema : int
        Of the format.
    shapes : mapping
        Arrays that must be there, of numbers.
    lengths : str
        The attribute that the same word in `shapes` stands for.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another schema, or an attribute or array is missing or wrong.
    """
    import h5py

    remedy = "make it again with `peculiar simulate`"
    if not path.is_file():
        raise InputError(f"{what} must be a file, got {path}: make one with `peculiar simulate`")
    try:
        with h5py.File(path) as file:
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
            arrays = {name: file[name] for name in shapes if name in file}
            found = {name: (array.shape, array.dtype.kind) for name, array in arrays.items()}
    except DAMAGED as error:
        raise InputError(f"{what} must be a whole HDF5 file, got {path} ({error}): {remedy}") from error
    if attributes.get("schema") != schema:
        raise InputError(
            f"{what} must have schema {schema}, got {attributes.get('schema')} in {path}: {remedy}"
        )
    missing = [name for name in shapes if name not in found]
    fields = kind.model_fields.items()
    missing += [name for name, field in fields if field.is_required() and name not in attributes]
    if missing:
        raise InputError(
            f"{what} must hold all its arrays, got {path} without {', '.join(missing)}: {remedy}"
        )
    checked_attributes = checked(kind, attributes, where=str(path), remedy=remedy)
    known: dict[int | str, int] = {lengths: getattr(checked_attributes, lengths)}
    for name, shape in shapes.items():
        have, letter = found[name]
        if len(have) == len(shape):
            for word, length in zip(shape, have, strict=True):
                known.setdefault(word, word if isinstance(word, int) else length)
        expected = tuple(known.get(word, word) for word in shape)
        if have != expected:
            raise InputError(
                f"{what} must have arrays of matching shapes, got {have} of {name!r} in {path}: {remedy}"
            )
        if letter not in "iuf":
            raise InputError(
                f"{what} must have arrays of numbers, got others of {name!r} in {path}: {remedy}"
            )
    return checked_attributes


def read_array(path: Path, name: str) -> Shaped[np.ndarray, "..."]:
    """Return an array of a file.

    Raises
    ------
    InputError
        If it cannot be read, is not what was written, or a number is NaN or infinite.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            values = np.asarray(file[name][()])
            same = is_as_written(file[name], values)
    except DAMAGED as error:
        raise InputError(f"{name} must be readable, got a damaged {path} ({error}): make it again") from error
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(f"{name} must be finite, got {bad} values that are not in {path}: make it again")
    if not same:
        raise InputError(
            f"{name} must be as it was written, got values of another checksum in {path}: make it again"
        )
    return values


def _plain(value: Any) -> Any:
    """Return an attribute as Python's own type."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
