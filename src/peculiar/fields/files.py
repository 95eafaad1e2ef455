"""Fields in files: zarr that opens with `xarray.open_zarr`, and HDF5."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
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
    import xarray

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


def to_dataset(fields: Mapping[str, Field], attributes: Mapping[str, Any]) -> xarray.Dataset:
    """Put fields of one box together as an xarray dataset with named, dimensioned and documented variables.

    Parameters
    ----------
    fields : mapping
        Scalars become (x, y, z), vectors (component, x, y, z).
    attributes : mapping
        Further attributes of the dataset; mappings become JSON.

    Raises
    ------
    InputError
        If a value is not finite, boxes differ, or a field of several channels is no vector.
    """
    import xarray

    box = next(iter(fields.values())).box
    variables: dict[str, Any] = {}
    for name, field in fields.items():
        if field.box != box:
            raise InputError(f"fields must share one box, got {field.box} for {name!r} and {box}")
        _require_finite(name, field.data, "nothing is written")
        attrs = {
            "units": field.unit or "1",
            "long_name": LONG_NAMES.get(name, name),
            "space": field.space,
            "kind": field.kind,
        }
        if field.definition:
            attrs["definition"] = field.definition
        values = field.numpy()
        if field.kind == "vector":
            variables[name] = _variable(("component", *AXES), values, attrs)
        elif len(values) == 1:
            variables[name] = _variable(AXES, values[0], attrs)
        else:
            raise InputError(f"fields must be vectors or have one channel, got {len(values)} for {name!r}")
    coordinates: dict[str, Any] = {
        axis: _variable(
            (axis,),
            box.coordinates(index),
            {"units": "Mpc/h", "long_name": f"comoving {axis} of the cell centre"},
        )
        for index, axis in enumerate(AXES)
    }
    if any(field.kind == "vector" for field in fields.values()):
        coordinates["component"] = _variable(
            ("component",), np.array(AXES), {"long_name": "component of a vector"}
        )
    own = {
        "title": "Reconstructed fields of matter in real space",
        "box_size": box.size if box.is_cube else list(box.sides),
        "box_origin": list(box.origin),
        "box_units": "Mpc/h",
        "periodic": int(box.periodic),
    }
    plain = {
        key: json.dumps(value) if isinstance(value, Mapping) else value for key, value in attributes.items()
    }
    return xarray.Dataset(variables, coords=coordinates, attrs=own | plain)


def _variable(dims: tuple[str, ...], values: np.ndarray, attrs: Mapping[str, str]) -> xarray.Variable:
    """Return a variable of a plain array; without `fastpath` xarray imports dask, which takes 0.5 s."""
    import xarray

    return xarray.Variable(dims, values, attrs, fastpath=True)


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
        save_dataset(to_dataset(fields, {"package": "peculiar", **(attributes or {})}), temporary)


def save_each(path: Path, fields: Iterable[tuple[str, Field]], attributes: Mapping[str, Any]) -> None:
    """Write fields as a zarr directory where nothing is yet, one after the other: one at a time is in memory."""
    for name, field in fields:
        save_dataset(to_dataset({name: field}, attributes), path)


def save_dataset(dataset: xarray.Dataset, path: Path) -> None:
    """Write a dataset in the format that the path's suffix means: HDF5 where nothing is yet, zarr beside what is."""
    if path.suffix in HDF5:
        _save_hdf5(dataset, path)
        return
    # Format 2: consolidated metadata and text coordinates are not yet part of zarr's format 3, and readers warn.
    encoding = {
        name: {
            "chunks": tuple(
                size if dim == "component" else min(size, CHUNK) for dim, size in variable.sizes.items()
            )
        }
        for name, variable in dataset.data_vars.items()
    }
    dataset.to_zarr(path, mode="a", zarr_format=2, consolidated=True, encoding=encoding)


def _save_hdf5(dataset: xarray.Dataset, path: Path) -> None:
    """Write HDF5 with dimension scales, as netCDF 4 has them: h5py and xarray find the axes by name."""
    import h5py

    with new_hdf5(path) as file:
        file.attrs.update(dataset.attrs)
        for name, variable in {**dataset.coords, **dataset.data_vars}.items():
            values = variable.values
            text = values.dtype.kind == "U"
            data = values.astype(object) if text else values
            described = {**variable.attrs, "dimensions": list(map(str, variable.dims))}
            dtype = h5py.string_dtype() if text else None
            written = add_array(file, str(name), data, dtype=dtype, **described)
            if name in dataset.dims:
                written.make_scale(str(name))
                continue
            for axis, dimension in zip(written.dims, variable.dims, strict=True):
                axis.label = str(dimension)
                axis.attach_scale(file[str(dimension)])


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

    def dataset(self) -> xarray.Dataset:
        """Return all of them as a dataset whose values are read when they are asked for."""
        return _load(self._path, data=False)


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


def _load(path: Path | str, *, data: bool = True) -> xarray.Dataset:
    import xarray

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
    bad = int((~torch.isfinite(values)).sum())
    if bad:
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
