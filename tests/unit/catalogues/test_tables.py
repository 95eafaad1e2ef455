import gzip
import tracemalloc

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from peculiar.catalogues import read_table
from peculiar.catalogues.tables import split_part, table_files
from peculiar.core import InputError


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 20_000_000)


@pytest.fixture
def several(tmp_path, table):
    hdus = [fits.BinTableHDU(table, name="GALAXIES"), fits.BinTableHDU(table[:5], name="RANDOMS")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "survey.fits")
    return tmp_path / "survey.fits"


def test_an_hdu_by_name_or_number(several):
    with pytest.warns(UserWarning, match="several tables: GALAXIES is read, RANDOMS not"):
        assert len(read_table(several)) == 600
    for part in ("RANDOMS", "randoms", "2"):
        assert len(read_table(f"{several}[{part}]")) == 5
    with pytest.raises(InputError, match=r"got \[STARS\] with tables GALAXIES \(1\), RANDOMS \(2\)"):
        read_table(f"{several}[STARS]")
    with pytest.raises(InputError, match="must be an HDU or an HDF5 path"):
        read_table("halos.csv[a]")


def test_a_file_whose_name_has_brackets(tmp_path):
    path = tmp_path / "halos.fits[1]"
    path.touch()
    assert split_part(path) == (path, None)
    assert table_files(f"{tmp_path}/other.h5[a/b]") == [tmp_path / "other.h5"]


def refused_without_taking_it(path, message):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_an_hdf5_file_that_claims_many_rows(tmp_path, small_memory):
    with h5py.File(tmp_path / "claims.h5", "w") as file:
        for axis in "xyz":
            file.create_dataset(axis, shape=(2_000_000_000,), dtype="f8", chunks=(1 << 20,))
        file.create_dataset("t/halos", shape=(2_000_000_000,), dtype=[("x", "f8")], chunks=(1 << 20,))
    refused_without_taking_it(f"{tmp_path / 'claims.h5'}[/]", "one table|must fit in memory")
    refused_without_taking_it(f"{tmp_path / 'claims.h5'}[x]", "must fit in memory, got 64 GB needed")
    refused_without_taking_it(f"{tmp_path / 'claims.h5'}[t]", "must fit in memory, got 64 GB needed")


@pytest.mark.parametrize("name", ["zeros.csv.gz", "zeros.fits.gz"])
def test_a_gz_that_unpacks_to_much(tmp_path, small_memory, name):
    with gzip.open(tmp_path / name, "wb") as file:
        for _ in range(50):
            file.write(bytes(1_000_000))
    assert (tmp_path / name).stat().st_size < 100_000
    refused_without_taking_it(tmp_path / name, "must fit in memory")


def test_a_parquet_file_that_claims_many_rows(tmp_path, small_memory):
    zeros = pa.chunked_array([np.zeros(1_000_000)] * 2)
    pq.write_table(pa.table(dict.fromkeys("xyz", zeros)), tmp_path / "zeros.parquet")
    assert (tmp_path / "zeros.parquet").stat().st_size < 100_000
    refused_without_taking_it(tmp_path / "zeros.parquet", "must fit in memory, got 0.288 GB needed")


def test_a_large_text(tmp_path, small_memory):
    (tmp_path / "large.csv").write_bytes(b"x,y,z\n" + b"1,2,3\n" * 1_000_000)
    refused_without_taking_it(tmp_path / "large.csv", "must fit in memory")


def test_a_folder_that_is_no_table(tmp_path):
    with pytest.raises(InputError, match="a file that exists"):
        read_table(tmp_path)
    (tmp_path / "halos.csv").mkdir()
    with pytest.raises(InputError, match="a file that exists"):
        read_table(tmp_path / "halos.csv")


def test_an_image_is_no_table(tmp_path):
    fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="with a table, got none"):
        read_table(tmp_path / "image.fits")


def test_no_rows_in_a_table_of_no_columns(tmp_path):
    Table({"x": [1.0]})[:0].write(tmp_path / "none.fits")
    with pytest.raises(InputError, match="at least one object"):
        read_table(tmp_path / "none.fits")


@pytest.mark.parametrize("named", ["fits", "h5", "parquet", "ecsv", "csv", "fits.gz"])
@pytest.mark.parametrize("made", ["fits", "h5", "parquet", "csv"])
def test_a_file_of_another_format_is_told_what_it_looks_like(tmp_path, made, named):
    table = Table({name: np.linspace(0, 1, 300) for name in "xyz"})
    table.write(tmp_path / f"real.{made}", **({"path": "t"} if made == "h5" else {}))
    other = (tmp_path / f"real.{made}").rename(tmp_path / f"other.{named}")
    if made == named:
        assert len(read_table(other)) == 300
        return
    looks = {"fits": "FITS", "h5": "HDF5", "parquet": "Parquet", "csv": "text"}[made]
    words = rf"must be \w+, as its name says, got '{other}', which looks like {looks}.*: rename it to end in .{made}$"
    with pytest.raises(InputError, match=words):
        read_table(other)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>", "looks like a web page: download it again"),
        (bytes(5000), "looks like nothing that is known: download it again"),
    ],
)
def test_what_is_no_table_at_all_is_told_without_advice_of_libraries(tmp_path, content, words):
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.raises(InputError, match=words) as found:
        read_table(tmp_path / "a.fits")
    assert "ignore_missing_simple" not in str(found.value)
