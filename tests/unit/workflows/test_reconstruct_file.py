"""Which columns of a catalogue's file come into memory and into tables of its objects."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table

import peculiar
from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.tables import read_pieces
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


PEAK = """
import resource, sys
import peculiar
from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.tables import read_pieces

options = peculiar.CatalogueOptions(box_size=80.0, line_of_sight="z", redshift=0.5)

def peak(path):
    out = path.replace("halos", "made")
    shifted = peculiar.BaoOptions(bao=path.replace("halos", "bao"), bao_bias=2.0)
    peculiar.reconstruct_file(
        path, out=path + ".zarr", options=options, cells=16, model="linear", objects=out, shifted=shifted
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

narrow, wide = map(peak, sys.argv[1:])
print(1024 * (wide - narrow))
"""


@pytest.mark.parametrize("ending", ["fits", "hdf5", "parquet"])
def test_the_width_of_a_table_that_travels_costs_no_memory(tmp_path, ending):
    random, rows, width = np.random.default_rng(1), 100_000, 100
    narrow = Table(dict(zip("xyz", random.uniform(0, 80, (3, rows)), strict=True)))
    wide = narrow.copy()
    for i in range(width):
        wide[f"column{i}"] = random.random(rows)
    paths = [tmp_path / f"halos{len(table.columns)}.{ending}" for table in (narrow, wide)]
    for path, table in zip(paths, (narrow, wide), strict=True):
        write_table(path, table, kind=ending)
    run = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 0.5 * 8 * width * rows
    made = read_table(tmp_path / f"made103.{ending}")
    assert len(made) == rows
    np.testing.assert_array_equal(made["column7"], wide["column7"])
    assert np.isfinite(made["vx"]).all()
    assert len(read_table(tmp_path / f"bao103.{ending}").columns) == 103


def test_travelling_rows_keep_their_order(source, tmp_path, monkeypatch):
    whole, parts = (tmp_path / f"{name}.fits" for name in ("whole", "parts"))
    write(source, tmp_path, objects=whole)
    monkeypatch.setitem(read_pieces.__kwdefaults__, "rows", 70)
    write(source, tmp_path, objects=parts)
    assert Table.read(whole).meta.pop("comments") != []
    for name in Table.read(whole).colnames:
        np.testing.assert_array_equal(Table.read(whole)[name], Table.read(parts)[name])
