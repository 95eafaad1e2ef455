"""Which columns of a catalogue's file come into memory and into tables of its objects."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

import peculiar
from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.tables import FORMATS, read_pieces
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
    monkeypatch.setattr("peculiar.workflows.catalogue_options.TableRows", None)
    write(source, tmp_path)
    assert written == (tmp_path / "fields.zarr",)


def test_columns_that_cannot_travel(source, tmp_path):
    with pytest.raises(InputError, match="columns must be of the catalogue, got other2 with columns x, y, z"):
        write(source, tmp_path, objects=tmp_path / "objects.fits", carry=["other2"])
    with pytest.raises(InputError, match="--carry needs --at-objects or --bao"):
        write(source, tmp_path, carry=["id"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["halos.fits"]


def test_travelling_rows_keep_their_order(source, tmp_path, monkeypatch):
    whole, parts = (tmp_path / f"{name}.fits" for name in ("whole", "parts"))
    write(source, tmp_path, objects=whole)
    monkeypatch.setitem(read_pieces.__kwdefaults__, "rows", 70)
    monkeypatch.setattr("peculiar.catalogues.table_rows.read_table", None)
    monkeypatch.setattr("peculiar.catalogues.formats.save_table", None)
    write(source, tmp_path, objects=parts, shifted=peculiar.BaoOptions(bao=tmp_path / "moved.fits"))
    assert Table.read(whole).meta.pop("comments") != []
    for name in Table.read(whole).colnames:
        np.testing.assert_array_equal(Table.read(whole)[name], Table.read(parts)[name])


@pytest.mark.parametrize("rows", [70, 1000])
@pytest.mark.parametrize("ending", ["fits", "hdf5", "parquet", "ecsv"])
def test_units_travel(source, tmp_path, monkeypatch, ending, rows):
    monkeypatch.setitem(read_pieces.__kwdefaults__, "rows", rows)
    table = Table.read(source)
    table["text"] = MaskedColumn(["g"] * 400, mask=np.arange(400) == 300)
    units = {"x": "Mpc / h", "y": "Mpc / h", "z": "Mpc / h", "id": "count", "other": "solMass", "text": "mag"}
    for name, unit in units.items():
        table[name].unit, table[name].description = unit, f"own {name}"
    path, made = (tmp_path / f"{name}.{ending}" for name in ("described", "objects"))
    write_table(path, table, kind=FORMATS[f".{ending}"])
    write(path, tmp_path, objects=made)
    found = read_table(made)
    for name, unit in (units | {"vx": "km / s", "x_real": "Mpc / h"}).items():
        assert found[name].unit == u.Unit(unit, parse_strict="silent")
    for name in units:
        assert found[name].description == f"own {name}"
