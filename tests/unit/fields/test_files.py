import json
import weakref

import h5py
import numpy as np
import pytest
import torch
import xarray

from peculiar.core import Box, Field, InputError, OutputExistsError
from peculiar.fields.files import StoredFields, read_fields, save_fields, write_fields


@pytest.fixture
def fields():
    box = Box(20.0, 8, origin=(1.0, 2.0, 3.0), periodic=False)
    generator = torch.Generator().manual_seed(0)
    velocity = torch.randn(3, 8, 8, 8, generator=generator)
    names = ("x", "y", "z")
    return {
        "density": Field(torch.randn(1, 8, 8, 8, generator=generator), box, names=("density",)),
        "velocity": Field(velocity, box, names=names, unit="km/s", kind="vector", definition="mass weighted"),
    }


def test_zarr_opens_with_xarray(fields, tmp_path):
    write_fields(tmp_path / "f.zarr", fields, attributes={"provenance": {"seed": 1}})
    with xarray.open_zarr(tmp_path / "f.zarr") as dataset:
        assert dataset.density.dims == ("x", "y", "z")
        assert dataset.velocity.dims == ("component", "x", "y", "z")
        assert list(dataset.component.values) == ["x", "y", "z"]
        np.testing.assert_allclose(dataset.y, 2.0 + 2.5 * (np.arange(8) + 0.5))
        assert dataset.velocity.attrs["units"] == "km/s"
        assert dataset.x.attrs["units"] == "Mpc/h"
        assert dataset.attrs["provenance"] == '{"seed": 1}'
        assert dataset.density.dtype == np.float32
        np.testing.assert_array_equal(dataset.velocity.sel(component="y"), fields["velocity"].numpy()[1])


def test_fields_come_back(fields, tmp_path):
    write_fields(tmp_path / "f.zarr", fields)
    back = read_fields(tmp_path / "f.zarr")
    for name, field in fields.items():
        assert torch.equal(back[name].data, field.data)
        for attribute in ("box", "unit", "kind", "space", "definition"):
            assert getattr(back[name], attribute) == getattr(field, attribute)


@pytest.mark.parametrize("name", ["f.zarr", "f.h5"])
def test_one_field_after_the_other_is_in_memory(fields, tmp_path, name):
    held = []

    def one_by_one():
        for item in fields.items():
            assert not [reference for reference in held if reference() is not None]
            copy = item[1].replace(data=item[1].data.clone())
            held.append(weakref.ref(copy.data))
            yield item[0], copy
            del copy

    save_fields(tmp_path / name, one_by_one(), {"provenance": {"seed": 1}})
    assert len(held) == 2


def test_zarr_is_what_xarray_writes(fields, tmp_path):
    write_fields(tmp_path / "f.zarr", fields)
    with xarray.open_zarr(tmp_path / "f.zarr") as dataset:
        dataset.to_zarr(tmp_path / "again.zarr", zarr_format=2, consolidated=True)
    for header in (tmp_path / "f.zarr").rglob(".z*"):
        other = tmp_path / "again.zarr" / header.relative_to(tmp_path / "f.zarr")
        assert json.loads(header.read_text()) == json.loads(other.read_text())


def test_stored_fields_are_read_when_they_are_asked_for(fields, tmp_path, monkeypatch):
    write_fields(tmp_path / "f.zarr", fields)
    stored = StoredFields(tmp_path / "f.zarr")
    assert sorted(stored) == sorted(fields)
    assert len(stored) == 2
    with pytest.raises(KeyError):
        stored["momentum"]
    for name, field in fields.items():
        assert torch.equal(stored[name].data, field.data)
        assert (stored[name].box, stored[name].unit, stored[name].kind) == (field.box, field.unit, field.kind)
    save_fields(tmp_path / "f.h5", stored.items(), {})
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["velocity"][:], fields["velocity"].numpy())


def test_hdf5(fields, tmp_path):
    write_fields(tmp_path / "f.h5", fields, attributes={"provenance": {"seed": 1}})
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["velocity"][:], fields["velocity"].numpy())
        assert list(file["velocity"].attrs["dimensions"]) == ["component", "x", "y", "z"]
        assert file["component"][:].tolist() == [b"x", b"y", b"z"]
        assert file.attrs["provenance"] == '{"seed": 1}'
        assert file.attrs["box_size"] == 20.0
        axes = file["velocity"].dims
        assert [axis.label for axis in axes] == ["component", "x", "y", "z"]
        assert [axis[0].name for axis in axes] == ["/component", "/x", "/y", "/z"]
        np.testing.assert_allclose(axes[2]["y"], 2.0 + 2.5 * (np.arange(8) + 0.5))
        assert axes[2][0].attrs["units"] == "Mpc/h"
        assert [axis[0].is_scale for axis in file["density"].dims] == [True] * 3


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_hdf5_opens_with_xarray(fields, tmp_path, engine):
    pytest.importorskip("h5netcdf" if engine == "h5netcdf" else "netCDF4")
    write_fields(tmp_path / "f.h5", fields)
    with xarray.open_dataset(tmp_path / "f.h5", engine=engine) as dataset:
        write_fields(tmp_path / "f.zarr", fields)
        expected = xarray.open_dataset(tmp_path / "f.zarr", engine="zarr")
        assert dataset.velocity.dims == ("component", "x", "y", "z")
        assert list(dataset.component.values) == ["x", "y", "z"]
        assert dataset.y.attrs["units"] == "Mpc/h"
        assert dataset.velocity.attrs["units"] == "km/s"
        for name in expected.variables:
            np.testing.assert_array_equal(dataset[name], expected[name])


def test_existing_output(fields, tmp_path):
    write_fields(tmp_path / "f.zarr", fields)
    with pytest.raises(OutputExistsError, match="force=True"):
        write_fields(tmp_path / "f.zarr", fields)
    write_fields(tmp_path / "f.zarr", {"density": fields["density"]}, overwrite=True)
    assert set(read_fields(tmp_path / "f.zarr")) == {"density"}
    assert [path.name for path in tmp_path.iterdir()] == ["f.zarr"]


def test_misfits(fields, tmp_path):
    other = fields["density"].replace(box=Box(30.0, 8))
    with pytest.raises(InputError, match="share one box"):
        write_fields(tmp_path / "f.zarr", fields | {"other": other})
    with pytest.raises(InputError, match="zarr directory"):
        read_fields(tmp_path / "none.zarr")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_written(fields, tmp_path, value):
    fields["velocity"].data[1, 2, 3, 4] = value
    with pytest.raises(InputError, match="field 'velocity' must be finite, got 1 values that are not"):
        write_fields(tmp_path / "f.zarr", fields)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_replaced_by_a_directory(fields, tmp_path):
    (tmp_path / "galaxies.fits").write_text("a catalogue")
    with pytest.raises(
        InputError, match="must go into a directory or HDF5, got the file .*galaxies.fits, which stays"
    ):
        write_fields(tmp_path / "galaxies.fits", fields, overwrite=True)
    assert (tmp_path / "galaxies.fits").read_text() == "a catalogue"
    assert [path.name for path in tmp_path.iterdir()] == ["galaxies.fits"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_chunk_that_was_cut_short_is_refused(fields, tmp_path, share):
    """Its decoder reads on beyond the end, and may find the right bytes there."""
    write_fields(tmp_path / "f.zarr", fields)
    chunk = tmp_path / "f.zarr" / "density" / "0.0.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"chunk 0.0.0 of density is damaged"):
        read_fields(tmp_path / "f.zarr")


def test_a_missing_chunk_is_not_outside_the_field(fields, tmp_path):
    write_fields(tmp_path / "f.zarr", fields)
    (tmp_path / "f.zarr" / "density" / "0.0.0").unlink()
    with pytest.raises(
        InputError, match=r"field 'density' must be finite, got 512 values .* chunk of .* missing"
    ):
        read_fields(tmp_path / "f.zarr")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.velocity.attrs.update(units="m/s"), r"velocity must be in km/s, got 'm/s'"),
        (lambda data: data.density.attrs.update(units="Msun/Mpc3"), r"density must be in 1, got 'Msun/Mpc3'"),
        (lambda data: data.attrs.update(box_units="Mpc"), r"lengths must be in Mpc/h, got 'Mpc'"),
    ],
)
def test_other_units_are_refused(fields, tmp_path, edit, message):
    write_fields(tmp_path / "whole.zarr", fields)
    with xarray.open_dataset(tmp_path / "whole.zarr", engine="zarr") as dataset:
        edit(dataset)
        dataset.to_zarr(tmp_path / "f.zarr", zarr_format=2, consolidated=True)
    with pytest.raises(InputError, match=message):
        read_fields(tmp_path / "f.zarr")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("box_size", "far", "box_size must be valid in .*f.zarr: .*, got 'far'"),
        ("box_size", None, "box_size must be valid"),
        ("box_origin", [0.0, 1.0], "box_origin.2 must be valid in .*f.zarr: Field required"),
        ("periodic", {"a": 1}, "periodic must be valid"),
        ("cosmology", "far", "cosmology must be valid in .*f.zarr: Invalid JSON"),
        ("observer", [0.0, 0.0, "here"], "observer.2 must be valid"),
        ("redshift", -2.0, "redshift must be valid in .*f.zarr: Input should be greater than -1"),
    ],
)
def test_wrong_attributes_are_refused(fields, tmp_path, name, value, words):
    write_fields(tmp_path / "f.zarr", fields)
    for file in (".zattrs", ".zmetadata"):
        whole = json.loads((tmp_path / "f.zarr" / file).read_text())
        (whole if file == ".zattrs" else whole["metadata"][".zattrs"])[name] = value
        (tmp_path / "f.zarr" / file).write_text(json.dumps(whole))
    with pytest.raises(InputError, match=words):
        read_fields(tmp_path / "f.zarr")


@pytest.mark.parametrize("file", [".zmetadata", "velocity/0.0.0.0"])
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"[" * 100_000, bytes(range(256))])
def test_damaged_stores_are_refused(fields, tmp_path, file, content):
    write_fields(tmp_path / "f.zarr", fields)
    (tmp_path / "f.zarr" / file).write_bytes(content)
    with pytest.raises(InputError, match="fields must be a zarr directory, got .*: give a whole output"):
        read_fields(tmp_path / "f.zarr")
