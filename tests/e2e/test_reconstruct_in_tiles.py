"""`peculiar reconstruct --memory`: networks that do not fit whole go in tiles."""

import re
from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import xarray
from astropy.table import Table

import peculiar

OUTPUTS = ("--at-objects", "objects.fits", "--hdf5", "f.h5", "--force")


@pytest.fixture
def network(run, catalogue, weights, monkeypatch):
    """Run `reconstruct` by a small network; of its memory none is taken before the work."""
    monkeypatch.setattr("peculiar.core.memory._resident", lambda: 0)
    monkeypatch.setattr("peculiar.workflows.reconstruct._BESIDE", 0)
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())

    def reconstruct(*options):
        settings = ("--box", 40, "--los", "z", "--redshift", 0.59, "--model", weights, "--cells", 20)
        return run("reconstruct", catalogue, *settings, "--out", "out.zarr", *OUTPUTS, *options)

    return reconstruct


@pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning")
def test_tiles_write_what_the_whole_does(network, tmp_path):
    found = []
    for options in ((), ("--memory", "1.5MB")):
        result = network(*options)
        assert result.exit_code == 0, result.output
        with xarray.open_zarr(tmp_path / "out.zarr") as fields:
            found.append(fields.load())
        with h5py.File(tmp_path / "f.h5") as file:
            np.testing.assert_array_equal(file["velocity"][:], fields.velocity)
        found.append(Table.read(tmp_path / "objects.fits"))
    whole, objects, tiles, objects_of_tiles = found
    assert sorted(tiles.data_vars) == sorted(whole.data_vars)
    for name in whole.data_vars:
        most = float(abs(whole[name]).max())
        np.testing.assert_allclose(tiles[name], whole[name], rtol=1e-5, atol=1e-5 * most)
        assert tiles[name].attrs == whole[name].attrs
    assert tiles.attrs.keys() == whole.attrs.keys()
    np.testing.assert_allclose(objects_of_tiles["v_los"], objects["v_los"], rtol=1e-3, atol=1e-2)
    assert peculiar.Reconstruction.open(tmp_path / "out.zarr").box == peculiar.Box(40.0, 20)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning")
@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (
            "0.1MB",
            r"in the least tiles, must fit in memory, got \S+ GB needed with 0.0001 GB left of 0.0001 GB",
        ),
        ("much", "memory must be a size > 0 such as 8GB"),
    ],
)
def test_too_little_memory_is_refused_before_the_work(network, tmp_path, memory, words):
    before = sorted(tmp_path.iterdir())
    result = network("--memory", memory)
    assert result.exit_code == 2
    assert re.search(words, result.stderr)
    assert sorted(tmp_path.iterdir()) == before


def test_a_classical_method_is_refused_below_its_memory(network, run, catalogue):
    result = run(
        *("reconstruct", catalogue, "--box", 40, "--redshift", 0.59, "--model", "iterative"),
        *("--out", "out.zarr", "--memory", "50kB"),
    )
    assert result.exit_code == 2
    assert "a mesh of 17^3 cells" in result.stderr
    assert "least tiles" not in result.stderr


@pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning")
@pytest.mark.parametrize("model", ["iterative", "wiener"])
def test_a_classical_method_writes_field_by_field_what_it_does_at_once(network, tmp_path, model):
    found = []
    for memory in ("1MB", "200kB"):
        result = network("--model", model, "--memory", memory)
        assert result.exit_code == 0, result.output
        with xarray.open_zarr(tmp_path / "out.zarr") as fields:
            found.append(fields.load())
    xarray.testing.assert_equal(*found)
    assert found[0].attrs.keys() == found[1].attrs.keys()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning")
def test_the_result_does_not_depend_on_the_workers(network, tmp_path, scheduler):
    found = []
    for options in (("--workers", 1), ("--scheduler", scheduler)):
        result = network(*options)
        assert result.exit_code == 0, result.output
        with xarray.open_zarr(tmp_path / "out.zarr") as fields:
            found.append(fields.load())
    xarray.testing.assert_equal(*found)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", 0), "workers must be at least 1, got 0"),
        (("--scheduler", "tcp://127.0.0.1:9"), "scheduler must be the address of a dask scheduler that runs"),
        (
            ("--workers", 2, "--scheduler", "tcp://127.0.0.1:9"),
            "--workers must not be given with --scheduler",
        ),
    ],
)
def test_workers_that_cannot_be_are_refused_before_the_work(network, tmp_path, monkeypatch, options, words):
    monkeypatch.setattr("peculiar.core.workers.CONNECT", 0.5)
    before = sorted(tmp_path.iterdir())
    result = network(*options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_what_workers_cannot_share_is_told(run, catalogue):
    command = ("reconstruct", catalogue, "--box", 40, "--redshift", 0.59, "--model", "iterative")
    result = run(*command, "--out", "out.zarr", "--workers", 2)
    assert result.exit_code == 0
    assert "sees the whole mesh, which workers cannot share" in result.stderr
