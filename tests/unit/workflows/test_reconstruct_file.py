"""Which columns of a catalogue's file come into memory and into tables of its objects."""

import numpy as np
import pytest
from astropy.table import Table

import peculiar
from peculiar.core import InputError

OPTIONS = peculiar.CatalogueOptions(box_size=80.0, line_of_sight="z", redshift=0.5)


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(2)
    table = Table(random.uniform(0, 80, (400, 3)), names=("x", "y", "z"))
    table["id"], table["other"] = np.arange(400), random.random(400)
    table.write(tmp_path / "halos.fits")
    return tmp_path / "halos.fits"


def write(source, tmp_path, **more):
    return peculiar.reconstruct_file(
        source, out=tmp_path / "fields.zarr", options=OPTIONS, cells=16, model="linear", force=True, **more
    )


@pytest.mark.parametrize("option", ["objects", "bao"])
def test_columns_that_travel(source, tmp_path, option):
    path = tmp_path / "objects.fits"
    asked = {"objects": path} if option == "objects" else {"shifted": peculiar.BaoOptions(bao=path)}
    write(source, tmp_path, **asked)
    whole = Table.read(path)
    assert {"x", "y", "z", "id", "other"} <= set(whole.colnames)
    write(source, tmp_path, carry=["id"], **asked)
    some = Table.read(path)
    assert set(whole.colnames) - set(some.colnames) == {"other"}
    for name in some.colnames:
        np.testing.assert_array_equal(some[name], whole[name])


def test_without_a_table_of_objects_the_file_is_never_read_whole(source, tmp_path, monkeypatch):
    written = write(source, tmp_path).written
    monkeypatch.setattr("peculiar.workflows.catalogue_options.read_table", None)
    write(source, tmp_path)
    assert written == (tmp_path / "fields.zarr",)


def test_columns_that_cannot_travel(source, tmp_path):
    with pytest.raises(InputError, match="columns must be of the catalogue, got other2 with columns x, y, z"):
        write(source, tmp_path, objects=tmp_path / "objects.fits", carry=["other2"])
    with pytest.raises(InputError, match="--carry needs --at-objects or --bao"):
        write(source, tmp_path, carry=["id"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["halos.fits"]
