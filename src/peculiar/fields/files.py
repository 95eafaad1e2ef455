"""Fields in files: zarr that opens with `xarray.open_zarr`, and HDF5."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field as Setting
from pydantic import Json

from peculiar.core import Box, Field, InputError
from peculiar.core.hdf5 import add_array, new_hdf5
from peculiar.core.output import atomic_output
from peculiar.core.records import DAMAGED, Record, StoredCosmology, StoredSides, checked

if TYPE_CHECKING:
    import h5py
    import xarray
    import zarr

AXES = ("x", "y", "z")
HDF5 = (".h5", ".hdf5")
CHUNK = 128  # cells along a side: 8 MB of float32
LONG_NAMES = {
    "density": "overdensity of matter, rho / mean rho - 1",
    "density_least_squares": "overdensity of matter of least mean-square error, its power too low",
    "velocity": "peculiar velocity of matter",
    "velocity_error": "standard error of one component of the velocity, small-scale motions apart",
    "local_error": "standard error of one component of the velocity, but for the flow of unseen matter",
    "known_fraction": "share of the velocity's variance that the survey knows, in linear theory",
    "completeness": "fraction of the survey's full density that was observed, in redshift space",
    "momentum": "momentum of matter, (1 + density) * velocity",
}

UNITS = {
    "density": "",
    "velocity": "km/s",
    "velocity_error": "km/s",
    "local_error": "km/s",
    "known_fraction": "",
    "momentum": "km/s",
}
"""Of what is read."""
REMEDY = "give a whole output of reconstruct"


class _Provenance(Record):
    settings: dict[str, Any]


class FieldAttributes(Record):
    """What a zarr directory of fields says of itself."""

    box_size: StoredSides
    box_units: str
    box_origin: tuple[float, float, float]
    periodic: bool
    observer: tuple[float, float, float] | None = None
    cosmology: Json[StoredCosmology] | None = None
    redshift: float | None = Setting(None, gt=-1)
    line_of_sight: Literal["x", "y", "z", "radial"] | None = None
    catalogue_space: Literal["real", "redshift"] | None = None
    model: str = ""
    weights_sha256: str = ""
    outside_range: str = ""
    provenance: Json[_Provenance] | None = None


class ReconstructionAttributes(FieldAttributes):
    """What a reconstruction says of itself."""

    model: str
    cosmology: Json[StoredCosmology]
    redshift: float = Setting(gt=-1)
    number_density: float = Setting(ge=0)
    objects: int = Setting(ge=0)
    provenance: Json[_Provenance]


class _Variable(Record):
    units: str
    space: Literal["real", "redshift"]
    kind: Literal["scalar", "vector"]
    definition: str = ""


def save_fields(path: Path, fields: Iterable[tuple[str, Field]], attributes: Mapping[str, Any]) -> None:
    """Write fields of one box where nothing is yet, one after the other: one at a time is in memory.

    Scalars become arrays (x, y, z), vectors (component, x, y, z), with the axes as arrays of their own.

    Parameters
    ----------
    path : path
        HDF5 where it ends so, else a zarr directory.
    fields : iterable of (str, Field)
    attributes : mapping
        Of the whole; mappings become JSON.

    Raises
    ------
    InputError
        If a value is not finite, boxes differ, or a field of several channels is no vector.
    """
    hdf5, box = path.suffix in HDF5, None
    add = _add_to_hdf5 if hdf5 else _add_to_zarr
    with new_hdf5(path) if hdf5 else _new_zarr(path) as file:
        for name, field in fields:
            if box is None:
                box = field.box
                file.attrs.update(_of_box(box) | _plain(attributes))
                for index, axis in enumerate(AXES):
                    where = {"units": "Mpc/h", "long_name": f"comoving {axis} of the cell centre"}
                    add(file, axis, (axis,), box.coordinates(index), where)
            if field.box != box:
                raise InputError(f"fields must share one box, got {field.box} for {name!r} and {box}")
            _require_finite(name, field.data, "nothing is written")
            values: np.ndarray = field.numpy()
            dims: tuple[str, ...] = AXES
            if field.kind == "vector":
                dims = ("component", *AXES)
                if "component" not in file:
                    what = {"long_name": "component of a vector"}
                    add(file, "component", ("component",), np.array(AXES), what)
            elif len(values) == 1:
                values = values[0]
            else:
                raise InputError(
                    f"fields must be vectors or have one channel, got {len(values)} for {name!r}"
                )
            add(file, name, dims, values, _described(name, field))
            del field, values  # before the next is made


def _of_box(box: Box) -> dict[str, Any]:
    return {
        "title": "Reconstructed fields of matter in real space",
        "box_size": box.size if box.is_cube else list(box.sides),
        "box_origin": list(box.origin),
        "box_units": "Mpc/h",
        "periodic": int(box.periodic),
    }


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: json.dumps(value) if isinstance(value, Mapping) else value for key, value in attributes.items()
    }


def _described(name: str, field: Field) -> dict[str, str]:
    found = {
        "units": field.unit or "1",
        "long_name": LONG_NAMES.get(name, name),
        "space": field.space,
        "kind": field.kind,
    }
    return found | ({"definition": field.definition} if field.definition else {})


def write_fields(
    path: Path | str,
    fields: Mapping[str, Field],
    *,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write fields as a zarr directory, or as HDF5 where the path ends in .h5 or .hdf5.

    Parameters
    ----------
    path : path
        The output; it is there whole or not at all.
    fields : mapping of str to Field
        On one box.
    attributes : mapping, optional
        Attributes of the whole, such as provenance.
    overwrite : bool
        Replace an output that is there.

    Raises
    ------
    OutputExistsError
        If it is there and was not to be overwritten.
    InputError
        If the disk is full or the place cannot be written to.
    """
    if Path(path).suffix not in HDF5 and Path(path).is_file():
        raise InputError(
            f"fields must go into a directory or HDF5, got the file {path}, which stays: name it fields.zarr"
        )
    with atomic_output(path, overwrite=overwrite) as temporary:
        save_fields(temporary, fields.items(), {"package": "peculiar", **(attributes or {})})


@contextmanager
def _new_zarr(path: Path) -> Iterator[zarr.Group]:
    """Open a new zarr directory as xarray finds it, which would take longer to import than fields to write."""
    import zarr

    # Format 2: consolidated metadata and text coordinates are not yet part of zarr's format 3, and readers warn.
    yield zarr.open_group(path, mode="a", zarr_format=2)
    zarr.consolidate_metadata(path, zarr_format=2)


def _add_to_zarr(
    file: zarr.Group, name: str, dims: tuple[str, ...], values: np.ndarray, attributes: Mapping[str, str]
) -> None:
    chunks = tuple(
        size if dim == "component" else min(size, CHUNK) for dim, size in zip(dims, values.shape, strict=True)
    )
    made = file.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        fill_value=np.nan if values.dtype.kind == "f" else None,  # a chunk that is missing is told
        attributes={**attributes, "_ARRAY_DIMENSIONS": list(dims)},
    )
    # One chunk at a time: zarr holds several copies of each that it writes.
    for low in product(*(range(0, size, step) for size, step in zip(values.shape, chunks, strict=True))):
        there = tuple(slice(start, start + step) for start, step in zip(low, chunks, strict=True))
        made[there] = values[there]


def _add_to_hdf5(
    file: h5py.File, name: str, dims: tuple[str, ...], values: np.ndarray, attributes: Mapping[str, str]
) -> None:
    """Add an array with dimension scales, as netCDF 4 has them: h5py and xarray find the axes by name."""
    import h5py

    text = values.dtype.kind == "U"
    data = values.astype(object) if text else values
    dtype = h5py.string_dtype() if text else None
    written = add_array(file, name, data, dtype=dtype, **{**attributes, "dimensions": list(dims)})
    if dims == (name,):
        written.make_scale(name)
        return
    for axis, dimension in zip(written.dims, dims, strict=True):
        axis.label = dimension
        axis.attach_scale(file[dimension])


def read_fields(path: Path | str) -> dict[str, Field]:
    """Read the fields of a zarr directory that `write_fields` wrote.

    Raises
    ------
    InputError
        If it is missing or was not written by `write_fields`, a length or a value has another unit, or a value is not
        finite, as where a chunk is missing.
    """
    dataset = _load(path)
    box = _box_of(dataset, path)
    return {str(name): _read_field(variable, box, path) for name, variable in dataset.data_vars.items()}


class StoredFields(Mapping[str, Field]):
    """The fields of a zarr directory, each of which is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        dataset = _load(path, data=False)
        self._names = [str(name) for name in dataset.data_vars]
        self._box = _box_of(dataset, path)

    def __getitem__(self, name: str) -> Field:
        if name not in self._names:
            raise KeyError(name)
        return _read_field(_load(self._path, data=False)[name], self._box, self._path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _box_of(dataset: xarray.Dataset, path: Path | str) -> Box:
    attributes = checked(FieldAttributes, dataset.attrs, where=str(path), remedy=REMEDY)
    x, y, z = (dataset.sizes.get(axis, 0) for axis in AXES)
    try:
        box = Box(attributes.box_size, (x, y, z))
    except InputError as error:
        raise InputError(
            f"fields must have one mesh of x, y and z, got {dict(dataset.sizes)} in {path} ({error}): {REMEDY}"
        ) from None
    _require_unit("lengths", attributes.box_units, "Mpc/h", path)
    return replace(box, origin=attributes.box_origin, periodic=attributes.periodic)


def read_attributes(path: Path | str, kind: type[FieldAttributes]) -> dict[str, Any]:
    """Return what a zarr directory of fields says of itself, once it is found to be of a kind.

    Raises
    ------
    InputError
        If it is no zarr directory, or an attribute is missing or wrong.
    """
    found = dict(_load(path, data=False).attrs)
    checked(kind, found, where=str(path), remedy=REMEDY)
    return found


def refuse_hdf5(path: Path | str) -> None:
    """Refuse fields in HDF5, which other programs read: here they are read from zarr."""
    if Path(path).suffix in HDF5 and Path(path).is_file():
        raise InputError(
            f"fields must be a zarr directory to be read, got the HDF5 file {path}: give the zarr of the same run "
            "(--out of reconstruct)"
        )


def _load(path: Path | str, *, data: bool = True) -> xarray.Dataset:
    import xarray

    refuse_hdf5(path)
    try:
        with xarray.open_dataset(path, engine="zarr", chunks=None, cache=False) as dataset:
            if data:
                _require_whole_chunks(Path(path))
            return dataset.load() if data else dataset
    except DAMAGED as error:
        raise InputError(
            f"fields must be a zarr directory, got {path} ({' '.join(str(error).split())[:200]}): {REMEDY}"
        ) from None


def _require_whole_chunks(path: Path) -> None:
    """Refuse chunks that were cut short: blosc reads on beyond their end, into whatever is there."""
    for header in path.glob("*/.zarray"):
        if (json.loads(header.read_bytes()).get("compressor") or {}).get("id") != "blosc":
            continue
        for chunk in header.parent.glob("[0-9]*"):
            with chunk.open("rb") as file:
                start = file.read(16)
            # The last of the four numbers that a blosc chunk begins with: its length in bytes.
            if len(start) < 16 or int.from_bytes(start[12:], "little") != chunk.stat().st_size:
                raise ValueError(f"chunk {chunk.name} of {header.parent.name} is damaged")


def _require_unit(name: str, unit: str, wanted: str, path: Path | str) -> None:
    if unit != wanted:
        raise InputError(f"{name} must be in {wanted or '1'}, got {unit or '1'!r} in {path}: convert them")


def _require_finite(name: str, values: torch.Tensor, remedy: str) -> None:
    # The sum tells as much as a mask, which would take a quarter of the field's memory.
    # In the values' own precision: another would take a copy. A sum that overflows is looked at again.
    if not bool(torch.isfinite(values.sum())) and (bad := int((~torch.isfinite(values)).sum())):
        raise InputError(f"field {name!r} must be finite, got {bad} values that are not: {remedy}")


def _read_field(variable: xarray.DataArray, box: Box, path: Path | str) -> Field:
    name = str(variable.name)
    attributes = checked(_Variable, variable.attrs, where=f"field {name!r}", remedy=REMEDY)
    unit = attributes.units.removeprefix("1")
    _require_unit(name, unit, UNITS.get(name, unit), path)
    values = torch.from_numpy(np.ascontiguousarray(variable.values, dtype=np.float32))
    _require_finite(name, values, f"a chunk of {path} is missing or damaged, write it again")
    vector = attributes.kind == "vector"
    return Field(
        data=values if vector else values[None],
        box=box,
        names=AXES if vector else (name,),
        unit=unit,
        space=attributes.space,
        kind=attributes.kind,
        definition=attributes.definition,
    )
