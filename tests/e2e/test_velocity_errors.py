"""How well a survey's velocities are known, from the shell: reconstruct --errors and --amplitude, then query."""

import json

import healpy
import numpy as np
import pytest
import xarray
from astropy.table import Table

from peculiar.catalogues import to_sky
from peculiar.core import PRESETS

SURVEY = (
    "reconstruct", "--sky", "galaxies.fits", "--mask", "mask.fits", "--frame", "cmb", "--distances", "30,90",
    "--cell-size", 8, "--padding", 10, "--model", "iterative",
)  # fmt: skip


@pytest.fixture
def galaxies(tmp_path):
    """Random galaxies within 30 degrees of (ra, dec) = (0, 0), and their mask."""
    random = np.random.default_rng(3)
    across = random.uniform(-0.35, 0.35, (1500, 2))
    sight = np.column_stack([np.ones(1500), across])
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    places = sight * random.uniform(32**3, 88**3, (1500, 1)) ** (1 / 3)
    table = Table(dict(zip(("ra", "dec", "z"), to_sky(places, cosmology=PRESETS["xiao2024"]), strict=True)))
    table.write(tmp_path / "galaxies.fits")
    mask = np.zeros(healpy.nside2npix(32))
    mask[healpy.query_disc(32, [1, 0, 0], np.radians(28))] = 1
    healpy.write_map(tmp_path / "mask.fits", mask, dtype=np.float32)


def test_errors_go_into_the_fields_the_objects_and_the_answers(run, galaxies, tmp_path):
    plain = ("--out", "mean.zarr", "--at-objects", "mean.fits")
    raised = ("--out", "unbiased.zarr", "--at-objects", "unbiased.fits", "--amplitude", "unbiased")
    for outputs in (plain, raised):
        result = run(*SURVEY, *outputs, "--errors")
        assert result.exit_code == 0, result.output
    with xarray.open_zarr("mean.zarr") as mean, xarray.open_zarr("unbiased.zarr") as unbiased:
        assert mean.velocity_error.dims == ("x", "y", "z")
        assert mean.velocity_error.units == "km/s"
        assert mean.attrs["velocity_amplitude"] == "mean"
        assert unbiased.attrs["velocity_amplitude"] == "unbiased"
        error, larger = mean.velocity_error.values, unbiased.velocity_error.values
        assert error.min() < 0.9 * error[0, 0, 0]  # the corner is outside the cone
        assert (larger >= error).all()
        assert (larger > 1.2 * error).any()
        ratio = unbiased.velocity.values / mean.velocity.values
        assert ((ratio > 0.99) & (ratio < 10.01)).all()
        momentum = unbiased.momentum.values / mean.momentum.values
        np.testing.assert_allclose(momentum, ratio, rtol=1e-3)
        known = mean.known_fraction.values
        assert ((known >= 0) & (known <= 1)).all()
        np.testing.assert_allclose(ratio, 1 / np.maximum(known, 0.1)[None].repeat(3, 0), rtol=1e-3)
    objects = Table.read(tmp_path / "mean.fits")
    assert str(objects["v_los_error"].unit) == "km / s"
    inside = np.isfinite(np.asarray(objects["v_los_error"]))
    assert inside.mean() > 0.95
    assert (np.asarray(objects["v_los_error"])[inside] < error.max()).all()
    place = ("--ra", 0, "--dec", 0, "--z", 0.02)
    answer = json.loads(run("query", "mean.zarr", *place, "--json").stdout)[0]
    assert error.min() <= answer["v_los_error"] <= error.max()
    header, row = run("query", "mean.zarr", *place).stdout.splitlines()
    assert header.split()[1] == "error"
    assert float(row.split()[1]) == pytest.approx(answer["v_los_error"], abs=0.06)
    table = run("query", "mean.zarr", "--catalogue", "galaxies.fits", "--out", "answers.fits")
    assert table.exit_code == 0, table.output
    answers = Table.read("answers.fits")
    seen = np.ma.filled(answers["missing"], "") == ""
    assert seen.mean() > 0.9
    for name in ("v_los_error", "known_fraction"):
        np.testing.assert_allclose(answers[name][seen], objects[name][seen], rtol=0.1)
    assert (np.asarray(objects["known_fraction"]) > 0.2).mean() > 0.9


def test_objects_where_the_survey_saw_nothing_are_flagged(run, galaxies, tmp_path):
    survey = (*SURVEY, "--distances", "30,70", "--padding", 30)
    plain = run(*survey, "--out", "o.zarr", "--at-objects", "keep.fits", "--vpec")
    assert plain.exit_code == 0, plain.output
    kept = Table.read(tmp_path / "keep.fits")
    unseen = np.asarray(kept["unseen"])
    assert 0.1 < unseen.mean() < 0.6
    told = f"{unseen.sum()} of {len(kept)} objects lie where the survey saw nothing"
    assert f"{told}: values are extrapolated (column unseen)" in plain.stderr
    assert np.isfinite(np.asarray(kept["v_los"])).all()
    np.testing.assert_array_equal(kept["VPEC"], kept["v_los_own"])
    np.testing.assert_allclose(
        kept["zHD"], (1 + np.asarray(kept["z"])) / (1 + np.asarray(kept["VPEC"]) / 299792.458) - 1
    )
    np.testing.assert_array_equal(kept["VPEC_ERR"], kept["v_los_own_error"])
    assert (np.asarray(kept["VPEC_ERR"]) > 20).all()
    none = run(*survey, "--out", "o.zarr", "--at-objects", "nan.fits", "--unseen", "nan", "--force")
    assert f"{told}: values are NaN" in none.stderr
    objects = Table.read(tmp_path / "nan.fits")
    np.testing.assert_array_equal(np.isnan(np.ma.filled(objects["v_los"], np.nan)), unseen)
    np.testing.assert_array_equal(objects["unseen"], unseen)
    answers = run("query", "o.zarr", "--catalogue", "galaxies.fits", "--out", "answers.fits")
    assert answers.exit_code == 0
    missing = np.ma.filled(Table.read(tmp_path / "answers.fits")["missing"], "")
    np.testing.assert_array_equal(missing == "unseen", unseen)
    refused = run("reconstruct", "x.fits", "--box", 40, "--redshift", 0.5, "--out", "p.zarr", "--vpec")
    assert refused.exit_code == 2
    assert "--vpec needs a survey" in refused.stderr


def test_a_complete_box_misses_nothing(run, catalogue, tmp_path):
    command = ("reconstruct", catalogue, "--box", 40, "--redshift", 0.59, "--model", "linear", "--cells", 8)
    for option in (("--errors",), ("--amplitude", "unbiased")):
        result = run(*command, "--out", "o.zarr", *option)
        assert result.exit_code == 2
        assert "complete periodic box" in result.stderr
        assert not (tmp_path / "o.zarr").exists()
    result = run(*command, "--out", "o.zarr", "--no-periodic", "--errors")
    assert result.exit_code == 0, result.output
    with xarray.open_zarr("o.zarr") as fields:
        error = fields.velocity_error.values
    assert error[3:5, 3:5, 3:5].mean() < error[0, 0, 0]
