"""`peculiar reconstruct` from files to files."""

import json

import h5py
import healpy
import numpy as np
import pytest
import xarray
from astropy.table import Table

import peculiar
from peculiar.core import PRESETS

ADDED = ["vx", "vy", "vz", "v_los", "delta", "x_real", "y_real", "z_real"]
ADDED += ["v_los_scatter", "v_los_own", "v_los_own_error"]
BOX = ("--box", 40, "--los", "z", "--redshift", 0.59, "--model", "iterative")


def test_the_contract(run, catalogue, table, tmp_path):
    result = run(
        "reconstruct", catalogue, *BOX, "--out", "out.zarr", "--at-objects", "objects.fits", "--hdf5", "f.h5"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["out.zarr", "f.h5", "objects.fits"]
    with xarray.open_zarr(tmp_path / "out.zarr") as fields:
        assert {name: fields[name].dims for name in fields.data_vars} == {
            "density": ("x", "y", "z"),
            "velocity": ("component", "x", "y", "z"),
            "momentum": ("component", "x", "y", "z"),
        }
        assert fields.sizes["x"] == 17
        np.testing.assert_allclose(fields.x, (np.arange(17) + 0.5) * 40 / 17)
        assert fields.velocity.attrs["units"] == fields.momentum.attrs["units"] == "km/s"
        assert fields.x.attrs["units"] == "Mpc/h"
        assert np.isfinite(fields.to_array()).all()
        record = json.loads(fields.attrs["provenance"])
        assert record["settings"]["model"] == "iterative"
        assert record["settings"]["box_size"] == 40.0
        assert len(record["inputs"][str(catalogue)]["sha256"]) == 64
        velocity = fields.velocity.values
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["velocity"][:], velocity)
    objects = Table.read(tmp_path / "objects.fits")
    assert objects.colnames == [*table.colnames, *ADDED]
    np.testing.assert_array_equal(objects["id"], table["id"])
    np.testing.assert_array_equal(objects["x"], table["x"])
    assert all(np.isfinite(objects[name]).all() for name in ADDED)
    np.testing.assert_allclose(objects["v_los"], objects["vz"])
    shift = np.asarray(objects["z"] - objects["z_real"] + 20) % 40 - 20
    halos = peculiar.read_catalogue(catalogue, box=peculiar.Box(40.0), redshift=0.59)
    fields = peculiar.reconstruct(halos, model="iterative")
    expected = peculiar.at_objects(halos, fields, cosmology=PRESETS["xiao2024"])
    np.testing.assert_allclose(objects["v_los"], expected.v_los, rtol=1e-4, atol=0.1)
    np.testing.assert_allclose(objects["z_real"], expected.positions_real[:, 2], rtol=1e-4, atol=1e-3)
    assert 0.1 < shift.std() < 5
    np.testing.assert_array_equal(objects["x_real"], table["x"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "f.h5",
        "halos.fits",
        "objects.fits",
        "out.zarr",
    ]


def test_a_network_by_path_warns_out_of_its_range(run, catalogue, weights, tmp_path):
    result = run(
        "reconstruct", catalogue, "--box", 40, "--model", weights, "--redshift", 0.05, "--out", "out.zarr"
    )
    assert result.exit_code == 0, result.output
    warned = [line for line in result.stderr.splitlines() if "warning" in line]
    assert warned == ["peculiar: warning: redshift 0.05 is outside 0.1 to 1.1, the range of model 'tiny'"]
    with xarray.open_zarr(tmp_path / "out.zarr") as fields:
        assert fields.attrs["model"] == "tiny"
        assert (
            fields.attrs["outside_range"] == "redshift 0.05 is outside 0.1 to 1.1, the range of model 'tiny'"
        )
        assert fields.velocity.attrs["definition"] == "momentum / density"
        assert float(abs(fields.density.mean())) < 1e-5


def test_outside_the_default_networks_range_the_wiener_filter_takes_over(run, catalogue, tmp_path):
    result = run(
        "reconstruct", catalogue, "--box", 40, "--redshift", 2, "--out", "o.zarr", "--at-objects", "o.fits"
    )
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "warning" in line]
    assert "redshift 2 is outside 0 to 1.55, the range of model 'general': reconstructed by 'wiener'" in line
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        attributes = fields.attrs
    assert attributes["model"] == "Wiener filter"
    assert attributes["outside_range"] == "redshift 2 is outside 0 to 1.55, the range of model 'general'"
    assert f"a bias of {attributes['bias']:.3g};" in line
    settings = json.loads(attributes["provenance"])["settings"]
    assert (settings["model"], settings["reconstructed_by"]) == ("general", "Wiener filter")
    assert settings["bias"] == attributes["bias"]
    # FITS cuts long comments wherever a line ends.
    assert "reconstructed_by" in "".join(Table.read(tmp_path / "o.fits").meta["comments"])


@pytest.mark.parametrize("ending", ["h5", "parquet", "ecsv", "csv"])
def test_other_formats_and_column_names(run, table, tmp_path, ending):
    table.rename_column("x", "X_GAL")
    options = {"path": "halos"} if ending == "h5" else {}
    table.write(tmp_path / f"in.{ending}", **options)
    result = run(
        "reconstruct", f"in.{ending}", *BOX, "--cells", 8, "--column", "x=X_GAL", "--out", "o.zarr", "--at-objects",
        f"objects.{ending}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    back = Table.read(tmp_path / f"objects.{ending}")
    assert "X_GAL" in back.colnames
    assert len(back) == len(table)


def test_real_space_and_other_cosmology(run, catalogue, tmp_path):
    command = (
        "reconstruct",
        catalogue,
        *BOX,
        "--cells",
        8,
        "--space",
        "real",
        "--model",
        "linear",
        "--at-objects",
    )
    assert run(*command, "a.fits", "--out", "a.zarr").exit_code == 0
    assert run(*command, "b.fits", "--out", "b.zarr", "--cosmology", "wu2021,h=0.7").exit_code == 0
    first, second = (Table.read(tmp_path / name) for name in ("a.fits", "b.fits"))
    np.testing.assert_array_equal(first["z_real"], first["z"])
    factors = [cosmology.velocity_factor(0.59) for cosmology in (PRESETS["xiao2024"], PRESETS["wu2021"])]
    np.testing.assert_allclose(second["vx"] / first["vx"], factors[1] / factors[0], rtol=1e-4)


def test_a_survey_with_objects_outside(run, tmp_path):
    rng = np.random.default_rng(1)
    mask = np.zeros(healpy.nside2npix(8))
    mask[healpy.query_disc(8, healpy.ang2vec(150, 20, lonlat=True), np.radians(25), inclusive=True)] = 1
    healpy.write_map(tmp_path / "mask.fits", mask, dtype=np.float32)
    vectors = rng.normal(size=(60000, 3))
    distance = 60 * rng.uniform(0.1, 1, 60000) ** (1 / 3)
    ra, dec = healpy.vec2ang(vectors, lonlat=True)
    seen = mask[healpy.ang2pix(8, ra, dec, lonlat=True)] > 0
    keep = np.flatnonzero(seen)[:1500]
    redshift = PRESETS["xiao2024"].redshift_at(distance)
    table = Table({"ra": ra[keep], "dec": dec[keep], "z": redshift[keep]})
    table["z"][0] = 0.3  # 840 Mpc/h: far outside the cube that --distances leaves
    table.write(tmp_path / "survey.fits")
    result = run(
        "reconstruct", "survey.fits", "--sky", "--mask", "mask.fits", "--distances", "30,60", "--model", "iterative",
        "--out", "o.zarr", "--at-objects", "objects.fits",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "1 of 1500 objects lie outside the fields: NaN in objects.fits" in result.stderr
    objects = Table.read(tmp_path / "objects.fits")
    for name in ADDED:  # astropy masks the NaN of a FITS file
        missing = np.isnan(np.ma.filled(objects[name], np.nan))
        assert missing[0]
        assert missing.sum() == 1
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.attrs["line_of_sight"] == "radial"
        assert fields.attrs["observer"] == [0, 0, 0]
        assert fields.sizes["x"] % 8 == 0
        np.testing.assert_allclose(np.diff(fields.x), 225 / 96)


def test_force_replaces_all_outputs(run, catalogue, tmp_path):
    command = ("reconstruct", catalogue, *BOX, "--out", "o.zarr", "--at-objects", "objects.ecsv", "--cells")
    assert run(*command, 8).exit_code == 0
    assert run(*command, 10).exit_code == 2
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.sizes["x"] == 8
    assert run(*command, 10, "--force").exit_code == 0
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.sizes["x"] == 10


def test_columns_that_the_table_of_objects_cannot_hold_are_refused_before_the_work(run, table, tmp_path):
    table["name"] = ["α"] * len(table)
    table.write(tmp_path / "in.parquet")
    result = run("reconstruct", "in.parquet", *BOX, "--out", "o.zarr", "--at-objects", "objects.fits")
    assert result.exit_code == 2
    assert "FITS holds, got name (text beyond ASCII): write HDF5 or Parquet" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_users_columns_come_back_beside_ours(run, table, tmp_path):
    table["VX"], table["V_LOS"] = 7.0, 8.0
    table["id"] = np.ma.MaskedArray(np.arange(len(table)) + 2**60 + 1, mask=table["x"] < 5)
    table.write(tmp_path / "in.ecsv")
    result = run(
        "reconstruct", "in.ecsv", *BOX, "--cells", 8, "--out", "o.zarr", "--at-objects", "objects.fits"
    )
    assert result.exit_code == 0, result.output
    warned = [line for line in result.stderr.splitlines() if "warning" in line]
    changes = "VX as VX_in, V_LOS as V_LOS_in"
    assert warned == [f"peculiar: warning: objects.fits has changes to the catalogue: {changes}"]
    objects = Table.read(tmp_path / "objects.fits")
    assert len({name.lower() for name in objects.colnames}) == len(objects.colnames)
    assert set(objects["VX_in"]) == {7.0}
    assert set(objects["V_LOS_in"]) == {8.0}
    assert objects.meta["comments"][:2] == [
        "VX_in was VX in the catalogue",
        "V_LOS_in was V_LOS in the catalogue",
    ]
    np.testing.assert_array_equal(objects["id"].mask, table["id"].mask)
    np.testing.assert_array_equal(objects["id"].compressed(), table["id"].compressed())
    np.testing.assert_allclose(objects["v_los"], objects["vz"])


def test_a_box_with_three_sides(run, tmp_path):
    rng = np.random.default_rng(2)
    centres = rng.uniform(0, (80, 40, 60), (60, 3))
    positions = np.mod(np.repeat(centres, 20, axis=0) + rng.normal(0, 2, (1200, 3)), (80, 40, 60))
    Table(dict(zip("xyz", positions.T, strict=True))).write(tmp_path / "slab.fits")
    result = run(
        *("reconstruct", "slab.fits", "--box", "80,40,60", "--cells", 32, "--los", "x", "--redshift", 0.3),
        *("--model", "iterative", "--out", "slab.zarr", "--at-objects", "objects.fits"),
    )
    assert result.exit_code == 0, result.output
    made = peculiar.Reconstruction.open(tmp_path / "slab.zarr")
    assert made.box == peculiar.Box((80.0, 40.0, 60.0), (32, 16, 24))
    objects = Table.read(tmp_path / "objects.fits")
    found = made["velocity"].at(np.stack([objects[f"{axis}_real"] for axis in "xyz"], axis=1))
    halos = peculiar.read_catalogue(tmp_path / "slab.fits", box=made.box, line_of_sight="x", redshift=0.3)
    np.testing.assert_array_equal(made.at_objects(halos).v_los, made.at_objects(halos.positions).v_los)
    with pytest.raises(peculiar.InputError, match=r"positions must have shape \(n, 3\)"):
        made.at_objects([1.0, 2.0, 3.0])
    told = run("report", "slab.zarr", "--out", "slab.html")
    assert told.exit_code == 0, told.output
    kept = (tmp_path / "objects.fits").read_bytes()
    lost = run(
        *("reconstruct", "slab.fits", "--box", "80,40,60", "--redshift", 0.3, "--model", "iterative"),
        *("--out", "objects.fits", "--force"),
    )
    assert lost.exit_code == 2
    assert "--out must end in .zarr" in lost.stderr
    assert (tmp_path / "objects.fits").read_bytes() == kept
    # Those are means over places along the sight line, these the value at the mean place.
    assert np.corrcoef(found[:, 1], objects["vy"])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("80,40", "one number or 3 numbers"),
        ("80,40,-1", "must be > 0"),
        ("80,41,60.3", "whole cells"),
        ("wide", "one number"),
    ],
)
def test_wrong_sides_are_refused_before_the_work(run, catalogue, box, words):
    result = run(
        "reconstruct",
        catalogue,
        "--box",
        box,
        "--redshift",
        0.59,
        "--model",
        "iterative",
        "--out",
        "out.zarr",
    )
    assert result.exit_code == 2
    assert words in result.stderr
