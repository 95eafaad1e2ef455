import gzip
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table, vstack
from astropy.time import Time
from numpy.testing import assert_array_equal

from peculiar.catalogues import read_table, tables, text_tables, write_table
from peculiar.catalogues.added import with_columns
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.tables import FORMATS
from peculiar.catalogues.write import write_rows
from peculiar.core import InputError

ENDINGS = ["fits", "hdf5", "parquet", "ecsv", "csv", "csv.gz"]
COUNT = 200
PEAK = """
import resource, sys
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.write import write_rows

def peak(path):
    rows, kind = TableRows(path), path.rpartition(".")[2]
    write_rows(path + ".out." + kind, rows, {}, kind=kind)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

first, *others = map(peak, sys.argv[1:])
print(*(other - first for other in others))
"""
RECORD = {"settings": {"cells": 16}}


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setitem(tables.read_pieces.__kwdefaults__, "rows", 70)
    monkeypatch.setattr(text_tables, "_HEAD", 70)


def rich(ending):
    """A table whose pieces differ: masked here and not there, long texts late, extremes of integers."""
    random, numbers = np.random.default_rng(1), np.arange(COUNT)
    table = Table(
        {"x": random.random(COUNT), "name": ["ab"] * 150 + ['a "longer", name'] * 50, "id": numbers}
    )
    table["x"].unit, table["x"].description = "Mpc", "along x"
    table["float32"] = random.random(COUNT).astype("f4")
    table["missing"] = MaskedColumn(
        np.where(numbers == 60, -(2**31), numbers), mask=numbers == 160, dtype="i4", unit="deg"
    )
    table["short"] = MaskedColumn(numbers % 7, mask=numbers % 7 == 3, dtype="u1")
    table["flag"] = numbers % 3 == 0
    if ending not in ("csv", "csv.gz"):
        table["maybe"] = MaskedColumn(numbers % 2 == 0, mask=numbers == 190)
        table["triple"] = random.random((COUNT, 3))
        table["time"] = Time(2020 + numbers / COUNT, format="jyear")
    if ending != "fits":
        table["text"] = [*["é" * 3] * 199, "é" * 30]
    table["text unit"] = MaskedColumn(["s"] * COUNT, mask=numbers == 75, unit="mag")
    table.meta["survey"] = "X"
    return table


@pytest.mark.parametrize("ending", ENDINGS)
def test_in_pieces_as_whole(tmp_path, small_pieces, ending):
    source = tmp_path / f"source.{ending}"
    write_table(source, rich(ending), kind=FORMATS[f".{ending}"])
    columns = {"vx": np.arange(200.0), "missing": np.array([*["outside"] * 3, *[""] * 197])}
    rows = TableRows(source)
    assert rows.whole is None
    assert len(rows.sample) < 60
    whole, parts = (tmp_path / f"{name}.{ending}" for name in ("whole", "parts"))
    table = read_table(source)
    write_table(whole, with_columns(table, columns), kind=FORMATS[f".{ending}"], provenance=RECORD)
    write_rows(parts, rows, columns, kind=FORMATS[f".{ending}"], provenance=RECORD)
    if ending == "csv.gz":
        assert gzip.decompress(whole.read_bytes()) == gzip.decompress(parts.read_bytes())
    elif ending not in ("hdf5", "parquet"):
        assert whole.read_bytes() == parts.read_bytes()
    assert_same(read_table(parts), read_table(whole))
    assert read_table(parts).meta == read_table(whole).meta


def assert_same(first, second):
    assert first.colnames == second.colnames
    for name in second.colnames:
        one, other = first[name], second[name]
        if isinstance(other, Time):
            assert (one == other).all()
            continue
        assert (one.unit, one.description, one.dtype.kind) == (
            other.unit,
            other.description,
            other.dtype.kind,
        )
        assert_array_equal(np.ma.getmaskarray(np.ma.asarray(one)), np.ma.getmaskarray(np.ma.asarray(other)))
        assert_array_equal(np.ma.asarray(one).compressed(), np.ma.asarray(other).compressed())


@pytest.mark.parametrize("ending", ["fits", "hdf5", "parquet", "ecsv", "csv"])
def test_some_columns_in_their_order(tmp_path, small_pieces, ending):
    source = tmp_path / f"source.{ending}"
    write_table(source, rich(ending), kind=FORMATS[f".{ending}"])
    names = ["id", "x"] if ending == "csv" else ["id", "time", "x"]
    pieces = list(TableRows(source, columns=names))
    assert len(pieces) == 3
    assert_same(vstack(pieces, metadata_conflicts="silent"), read_table(source)[names])
    assert_same(next(iter(TableRows(source, columns=["ID", *names[1:]]))), pieces[0])
    for wrong in (["x", "other"], []):
        with pytest.raises(
            InputError, match="columns must be of the catalogue, got (other|none) with columns x, "
        ):
            TableRows(source, columns=wrong)


def test_what_comes_in_no_pieces_is_whole(tmp_path, small_pieces):
    lists = Table(
        {"x": np.arange(100.0), "list": np.array([np.arange(i % 3 + 1) for i in range(100)], dtype=object)}
    )
    lists.write(tmp_path / "lists.fits")
    Table({"x": np.arange(100), "t": [*"1" * 90, *"a" * 10]}).write(tmp_path / "kinds.csv")
    (tmp_path / "folder" / "part=7").mkdir(parents=True)
    pq.write_table(pa.table({"x": np.arange(100.0)}), tmp_path / "folder" / "part=7" / "a.parquet")
    for name, columns in {
        "lists.fits": ["x", "list"],
        "kinds.csv": ["x", "t"],
        "folder": ["x", "part"],
    }.items():
        rows = TableRows(tmp_path / name)
        assert rows.whole is not None
        assert rows.whole.colnames == columns
        assert [len(piece) for piece in rows] == [100]
    assert rows.whole["part"][0] == 7


def test_several_files_as_one(tmp_path, small_pieces):
    Table({"x": np.arange(100), "t": ["a"] * 100}).write(tmp_path / "1.fits")
    Table({"x": np.arange(50), "t": ["longer"] * 50}).write(tmp_path / "2.fits")
    rows = TableRows(tmp_path / "1.fits", tmp_path / "2.fits")
    assert [len(piece) for piece in rows] == [70, 30, 50]
    write_rows(tmp_path / "both.fits", rows, {}, kind="fits")
    both = Table.read(tmp_path / "both.fits")
    assert both["t"].tolist() == ["a"] * 100 + ["longer"] * 50


def test_integers_without_one_for_missing_are_refused_in_fits(tmp_path, small_pieces):
    numbers = np.arange(140, dtype="i2")
    numbers[[0, 1, 100]] = -(2**15), 2**15 - 1, -(2**15) + 3
    number = MaskedColumn(numbers, mask=np.arange(140) == 50)
    write_table(tmp_path / "t.parquet", Table({"n": number}), kind="parquet")
    rows = TableRows(tmp_path / "t.parquet")
    write_rows(tmp_path / "t.fits", rows, {}, kind="fits")
    assert_same(read_table(tmp_path / "t.fits"), read_table(tmp_path / "t.parquet"))


def test_a_table_that_travels_is_never_whole(tmp_path):
    random, count, width = np.random.default_rng(1), 140_000, 80
    table = Table({f"c{i}": random.random(count) for i in range(width)})
    paths = [
        tmp_path / "narrow.parquet",
        *(tmp_path / f"wide.{kind}" for kind in ("hdf5", "fits", "parquet")),
    ]
    write_table(paths[0], table[["c0"]], kind="parquet")
    for path in paths[1:]:
        write_table(path, table.copy(), kind=FORMATS[path.suffix])
    run = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, paths)], capture_output=True, text=True, check=True
    )
    grown = [int(part) / (8 * width * count) for part in run.stdout.split()]
    assert max(grown) < 0.8, grown  # pieces of 17 MB and their copies, of 90 MB


def test_capitals_do_not_tell_the_columns_of_files_apart(tmp_path, small_pieces):
    Table({"RA": np.arange(100.0), "Z": np.arange(100.0)}).write(tmp_path / "1.fits")
    Table({"Ra": np.arange(50.0), "z": np.arange(50.0)}).write(tmp_path / "2.fits")
    rows = TableRows(tmp_path / "1.fits", tmp_path / "2.fits")
    assert rows.whole is None
    assert [piece.colnames for piece in rows] == [["RA", "Z"]] * 3
    assert vstack(list(rows))["RA"].tolist() == [*range(100), *range(50)]
