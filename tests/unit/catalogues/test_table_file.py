import subprocess
import sys

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from numpy.testing import assert_array_equal

from peculiar.catalogues import read_catalogue, read_table, tables, write_catalogue
from peculiar.catalogues.table_file import TableFile
from peculiar.core import Box, InputError

ROWS, WIDTH = 150_000, 80

PEAK = """
import resource, sys
from peculiar.catalogues import read_catalogue
from peculiar.core import Box

def peak(path):
    halos = read_catalogue(path, box=Box(100.0), redshift=0.5, velocities=False)
    return len(halos), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

(_, narrow), (rows, wide) = map(peak, sys.argv[1:])
print(rows, 1024 * (wide - narrow))
"""


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setitem(tables.read_pieces.__kwdefaults__, "rows", 70)


def write(table, path):
    """Write a table, into .h5 as plain datasets."""
    if path.suffix == ".parquet":
        arrays = {name: pa.array(np.asarray(table[name])) for name in table.colnames}
        pq.write_table(pa.table(arrays), path, row_group_size=50_000)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name in table.colnames:
                file[name] = table[name]
    elif path.suffix == ".hdf5":  # rows of all columns
        table.write(path, path="halos", serialize_meta=True)
    else:
        table.write(path)
    return path


@pytest.mark.parametrize("ending", ["fits", "hdf5", "parquet"])
def test_a_wide_file_costs_the_columns_that_are_used(tmp_path, ending):
    random = np.random.default_rng(1)
    used = Table(dict(zip("xyz", random.uniform(0, 100, (3, ROWS)), strict=True)))
    wide = used.copy()
    for i in range(WIDTH):
        wide[f"column{i}"] = random.random(ROWS)
    paths = [write(table, tmp_path / f"{len(table.columns)}.{ending}") for table in (used, wide)]
    run = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, paths)], capture_output=True, text=True, check=True
    )
    rows, grown = map(int, run.stdout.split())
    assert rows == ROWS
    assert grown < 0.5 * 8 * WIDTH * ROWS  # pieces of 17 MB, whatever the size of the file


@pytest.mark.parametrize("ending", ["fits", "h5", "parquet", "ecsv", "csv"])
def test_columns_are_those_of_the_whole_table(tmp_path, small_pieces, table, ending):
    path = write(table, tmp_path / f"halos.{ending}")
    whole, opened = read_table(path), TableFile(path)
    assert opened.colnames == whole.colnames
    assert len(opened) == len(whole) == 600
    for name in whole.colnames:
        assert_array_equal(opened[name], whole[name])
        assert opened[name].dtype == whole[name].dtype.newbyteorder("=")
        assert opened[name].unit == whole[name].unit


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch, table):
    asked = []
    real = tables.read_pieces

    def pieces(path, columns=None, **options):
        asked.append(columns)
        return real(path, columns, **options)

    monkeypatch.setattr("peculiar.catalogues.table_file.read_pieces", pieces)
    path = write(table, tmp_path / "halos.fits")
    read_catalogue(path, box=Box(100.0), redshift=0.5, velocities=False)
    assert asked == [["x", "y", "z", "mass"]]  # in one pass


def test_metadata_that_a_catalogue_states(tmp_path, table):
    halos = read_catalogue(
        write(table, tmp_path / "halos.fits"), box=Box(100.0), redshift=0.5, space="real", line_of_sight="x"
    )
    for ending in ("fits", "hdf5", "parquet", "ecsv"):
        path = write_catalogue(tmp_path / f"own.{ending}", halos)
        halos = read_catalogue(path, box=Box(100.0))
        assert (halos.redshift, halos.space, halos.line_of_sight) == (0.5, "real", "x")


def test_missing_values_and_kinds_that_differ_from_piece_to_piece(tmp_path, small_pieces):
    number = MaskedColumn(np.arange(200), mask=np.arange(200) == 150)
    Table({"n": number, "text": ["a"] * 199 + ["longer"]}).write(tmp_path / "t.csv")
    opened = TableFile(tmp_path / "t.csv")
    assert opened["n"].mask.sum() == 1
    assert opened["n"][199] == 199
    assert opened["text"][199] == "longer"
    with (tmp_path / "t.csv").open("a") as file:
        file.write("two,b\n")
    with pytest.raises(InputError, match="column n must hold numbers, got text, of which 'two' in row 200"):
        read_catalogue(tmp_path / "t.csv", box=Box(1e3), redshift=0.0, columns=dict.fromkeys("xyz", "n"))


def test_masks_that_astropy_keeps_in_parquet(tmp_path, table):
    table["x"] = MaskedColumn(table["x"], mask=np.arange(len(table)) == 7)
    table.write(tmp_path / "halos.parquet")
    assert np.flatnonzero(TableFile(tmp_path / "halos.parquet", ("x",))["x"].mask).tolist() == [7]
    with pytest.raises(InputError, match="positions .* must be finite, got 1 of .* row 7"):
        read_catalogue(tmp_path / "halos.parquet", box=Box(100.0), redshift=0.5)


@pytest.mark.parametrize("ending", ["fits", "hdf5", "parquet", "ecsv"])
def test_units_descriptions_and_times(tmp_path, small_pieces, table, ending):
    table["x"].unit, table["x"].description = "Mpc", "along x"
    table["time"] = Time(2020 + np.arange(600) / 600, format="jyear")
    options = {"path": "t", "serialize_meta": True} if ending == "hdf5" else {}
    table.write(tmp_path / f"halos.{ending}", **options)
    opened = TableFile(tmp_path / f"halos.{ending}", ("x", "y", "z"))
    assert opened["x"].unit == "Mpc"
    assert opened["x"].description == "along x"
    assert np.abs((opened["time"] - table["time"]).sec).max() < 1e-3
    with pytest.raises(InputError, match="column time must hold numbers, got Time"):
        read_catalogue(tmp_path / f"halos.{ending}", box=Box(100.0), redshift=0.0, columns={"x": "time"})


def test_what_does_not_fit_is_refused_on_the_way(tmp_path, monkeypatch, table):
    path = write(table, tmp_path / "halos.fits")
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 10_000)
    with pytest.raises(
        InputError, match=r"catalogue must fit in memory.* of x, y, z in '.*halos.fits' are read"
    ):
        TableFile(path, ("x", "y", "z"))["x"]
