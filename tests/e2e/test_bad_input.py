"""Bad input: one clear line on standard error, exit code 2, nothing left behind."""

import errno
import os

import healpy
import numpy as np
import pytest
import torch
import typer
from astropy.table import Table, vstack

OUTPUTS = ("--out", "out.zarr", "--at-objects", "objects.fits")
MODEL = ("--model", "iterative")
BOX = ("--box", 40, "--redshift", 0.59)


@pytest.fixture
def refused(run, tmp_path):
    """Run a command that must be refused; return its line."""

    def check(*arguments, before=None):
        before = before or sorted(tmp_path.rglob("*"))
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        lines = [line for line in result.stderr.splitlines() if "error" in line]
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("peculiar: error: ")
        assert "Traceback" not in result.output
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return check


@pytest.fixture
def with_table(refused, table, tmp_path):
    """Run on a changed catalogue."""

    def check(change, *options):
        changed = change(table)
        (table if changed is None else changed).write(tmp_path / "bad.fits")
        return refused("reconstruct", "bad.fits", *BOX, *MODEL, *OUTPUTS, *options)

    return check


def put(column, row, value):
    def change(table):
        table[column][row] = value

    return change


def scale(factor):
    def change(table):
        for axis in "xyz":
            table[axis] *= factor

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.remove_column("y"), ["columns x, y, z", "missing: y"]),
        (lambda table: table.rename_column("y", "Y_GAL"), ["missing: y"]),
        (lambda table: table.rename_column("y", "pos_y"), ["missing: y", "give --column y=pos_y"]),
        (put("x", 7, np.nan), ["finite", "1 of 192", "row 7"]),
        (put("z", 3, np.inf), ["finite", "row 3"]),
        (put("mass", 3, np.nan), ["mass", "finite"]),
        (put("z", 11, 41.0), ["in the box of 40 Mpc/h", "1 of 192 objects outside", "row 11"]),
        (scale(1000), ["Mpc/h", "kpc/h"]),
        (scale(1e-3), ["fill a box"]),
        (lambda table: table[:0], ["at least one object"]),
        (lambda table: vstack([table, table], metadata_conflicts="silent"), ["rows that repeat"]),
    ],
    ids=[
        "missing",
        "misnamed",
        "likely",
        "nan",
        "infinite",
        "mass",
        "outside",
        "kpc",
        "gpc",
        "empty",
        "duplicates",
    ],
)
def test_rows_and_columns(with_table, change, words):
    line = with_table(change)
    assert all(word in line for word in words), line


@pytest.mark.parametrize("name", ["halos.fits", "halos.h5", "halos.parquet", "halos.csv"])
def test_truncated_file(refused, table, tmp_path, name):
    table.write(tmp_path / name, **({"path": "halos"} if name.endswith("h5") else {}))
    content = (tmp_path / name).read_bytes()
    # A cut in a CSV file can only be told by the fields that its last line lacks.
    size = (
        content.index(b",", content[:-1].rindex(b"\n")) if name.endswith("csv") else int(0.6 * len(content))
    )
    (tmp_path / name).write_bytes(content[:size])
    refused("reconstruct", name, *BOX, *MODEL, *OUTPUTS)


def test_missing_and_unknown_files(refused, table, tmp_path):
    assert "exists" in refused("reconstruct", "none.fits", *BOX, *MODEL, *OUTPUTS)
    (tmp_path / "halos.xyz").write_text("1 2 3")
    assert "must end in" in refused("reconstruct", "halos.xyz", *BOX, *MODEL, *OUTPUTS)


@pytest.fixture
def survey(tmp_path):
    rng = np.random.default_rng(2)
    Table(
        {"ra": rng.uniform(0, 360, 300), "dec": rng.uniform(-60, 60, 300), "z": rng.uniform(0.01, 0.02, 300)}
    ).write(tmp_path / "survey.fits")
    healpy.write_map(tmp_path / "mask.fits", np.ones(healpy.nside2npix(4)), dtype=np.float32)
    return ("reconstruct", "survey.fits", "--sky", "--mask", "mask.fits", *MODEL, *OUTPUTS)


def test_mask_of_another_size(refused, survey, tmp_path):
    from astropy.io import fits

    with fits.open(tmp_path / "mask.fits") as hdus:
        hdus[1].header["NSIDE"] = 8
        hdus.writeto(tmp_path / "other.fits")
    (tmp_path / "other.fits").rename(tmp_path / "mask.fits")
    assert "mask must" in refused(*survey)


def test_mask_of_another_sky(refused, survey, tmp_path):
    mask = np.zeros(healpy.nside2npix(4))
    mask[:10] = 1
    healpy.write_map(tmp_path / "mask.fits", mask, dtype=np.float32, overwrite=True)
    assert "mask must cover the survey" in refused(*survey)


def test_damaged_weights(refused, catalogue, weights):
    content = bytearray(weights.read_bytes())
    content[-1] ^= 255
    weights.write_bytes(content)
    assert "damaged" in refused("reconstruct", catalogue, *BOX, "--model", weights, *OUTPUTS)


def test_weights_of_another_version(refused, catalogue, weights):
    card = weights.with_suffix(".json")
    card.write_text(card.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    line = refused("reconstruct", catalogue, *BOX, "--model", weights, *OUTPUTS)
    assert "schema_version 1, got 99" in line


def test_unknown_model(refused, catalogue):
    line = refused("reconstruct", catalogue, *BOX, "--model", "magic", *OUTPUTS)
    assert "'magic'" in line


@pytest.mark.parametrize("name", ["out.zarr", "objects.fits"])
def test_existing_output(refused, catalogue, tmp_path, name):
    (tmp_path / name).write_text("mine")
    line = refused("reconstruct", catalogue, *BOX, *MODEL, *OUTPUTS)
    assert name in line
    assert "--force" in line
    assert (tmp_path / name).read_text() == "mine"


def test_force_does_not_replace_what_is_not_ours(refused, catalogue, tmp_path):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "thesis.tex").write_text("")
    assert "choose another name" in refused("reconstruct", catalogue, *BOX, *MODEL, *OUTPUTS, "--force")


def test_output_over_the_input(refused, catalogue):
    line = refused(
        "reconstruct", catalogue, *BOX, *MODEL, "--out", "o.zarr", "--at-objects", catalogue, "--force"
    )
    assert "which is the catalogue" in line


def _no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writer", ["zarr", "table", "hdf5"])
def test_full_disk(refused, catalogue, tmp_path, monkeypatch, writer):
    import h5py
    import zarr.storage

    if writer == "zarr":
        monkeypatch.setattr(zarr.storage.LocalStore, "set", _no_space)
    elif writer == "table":
        monkeypatch.setattr("peculiar.catalogues.write.save_pieces", _no_space)
    else:
        monkeypatch.setattr(h5py.Group, "create_dataset", _no_space)
    command = ("reconstruct", catalogue, *BOX, *MODEL, "--cells", 8, *OUTPUTS, "--hdf5", "f.h5")
    assert "full disk" in refused(*command)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--box SIZE"),
        (("--box", -5), "Box.size must be > 0"),
        (("--box", 40, "--sky"), "--sky alone"),
        (("--box", 40, "--mask", "mask.fits"), "without --sky"),
        (("--box", 40, "--los", "radial"), "--observer"),
        (("--box", 40, "--origin", "1,2"), "--origin must be 3 numbers"),
        (("--box", 40, "--column", "x"), "--column must be NAME=VALUE"),
        (("--box", 40, "--column", "q=x"), "must map"),
        (("--box", 40, "--cosmology", "mine"), "cosmology must be one of"),
        ((*BOX, "--cells", 1), "Box.cells"),
        (("--box", 40, "--distances", "1,2"), "without --sky"),
        (("--box", 40, "--hdf5", "fields.txt"), "--hdf5 must end in"),
        (("--box", 10, "--origin", "0,0,0", "--redshift", 0.59), "in the box of 10 Mpc/h"),
        (
            ("--box", 40),
            "redshift must be stated, got none: give --redshift (the effective redshift of the objects)",
        ),
        (("--box", 40, "--redshift", "-3"), "redshift must lie in"),
    ],
)
def test_options(refused, catalogue, options, words):
    assert words in refused("reconstruct", catalogue, *MODEL, *OUTPUTS, *options)


def test_a_gpu_that_is_not_there(refused, monkeypatch):
    """Every command that computes says so before it reads anything."""
    from peculiar.cli import app

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, command in typer.main.get_command(app).commands.items():
        if not any(param.name == "device" for param in command.params):
            continue
        needed = [param for param in command.params if param.required]
        given = [f"{param.opts[0]}=1" if param.opts[0].startswith("-") else "1" for param in needed]
        line = refused(name, *given, "--device", "cuda")
        told = "device must be auto, cpu, or cuda where torch sees a GPU (none is seen), got 'cuda': leave it out"
        assert told in line
