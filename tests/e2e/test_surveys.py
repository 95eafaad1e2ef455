"""Surveys from the shell: survey files, frames, flux limits, randoms, groups, and what is refused."""

import json

import healpy
import numpy as np
import pytest
import xarray
from astropy.table import Table

from peculiar.catalogues import directions, to_sky
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.luminosity import FluxLimit, Schechter
from peculiar.core import PRESETS

COSMOLOGY = PRESETS["xiao2024"]
OUTPUTS = ("--model", "iterative", "--out", "o.zarr", "--at-objects", "objects.fits")
SURVEY = """
frame = "heliocentric"
mask = "mask.fits"
distances = [30, 90]
cell_size = 8.0
padding = 10.0
"""


def points(count, seed=1):
    """Random objects within 30 degrees of (ra, dec) = (0, 0), 30 to 90 Mpc/h away; every third in a finger of God."""
    rng = np.random.default_rng(seed)
    along, angle = rng.uniform(np.cos(np.radians(30)), 1, count), rng.uniform(0, 2 * np.pi, count)
    across = np.sqrt(1 - along**2)
    unit = np.stack([along, across * np.cos(angle), across * np.sin(angle)], axis=1)
    places = unit * rng.uniform(32**3, 88**3, count)[:, None] ** (1 / 3)
    fingers = np.repeat(places[: count // 30], 10, axis=0)
    fingers = fingers * (1 + rng.normal(0, 2, len(fingers)) / np.linalg.norm(fingers, axis=1))[:, None]
    places[: len(fingers)] = fingers + rng.normal(0, 0.1, fingers.shape)
    distance = np.linalg.norm(places, axis=1, keepdims=True)
    return places * np.clip(distance, 31, 89) / distance


@pytest.fixture
def survey(tmp_path):
    """Files of a survey across ra = 0, with heliocentric redshifts; returns its table."""
    ra, dec, z = to_sky(points(3000), cosmology=COSMOLOGY)
    z = convert_redshift(z, directions(ra, dec), source="cmb", target="heliocentric")
    table = Table({"ra": ra, "dec": dec, "z": z})
    table.write(tmp_path / "galaxies.fits")
    mask = np.zeros(healpy.nside2npix(32))
    mask[healpy.query_disc(32, [1, 0, 0], np.radians(31))] = 1
    healpy.write_map(tmp_path / "mask.fits", mask, dtype=np.float32)
    (tmp_path / "mine.toml").write_text(SURVEY)
    return table


@pytest.fixture
def refused(run, tmp_path):
    """Run a command that must be refused in one line, with nothing left behind; return the line."""

    def check(*arguments):
        before = sorted(tmp_path.rglob("*"))
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        lines = [line for line in result.stderr.splitlines() if line.startswith("peculiar: error: ")]
        assert len(lines) == 1, result.stderr
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return check


def test_a_survey_file_and_options_that_win_over_it(run, survey, tmp_path):
    result = run("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", *OUTPUTS)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.attrs["objects"] == 3000
        assert fields.sizes["x"] * 8.0 < 130  # not torn apart at ra = 0
        np.testing.assert_allclose(np.diff(fields.x), 8.0)
        settings = json.loads(fields.attrs["provenance"])
        assert settings["settings"]["survey"]["frame"] == "heliocentric"
        assert any(name.endswith("mask.fits") for name in settings["inputs"])
        assert np.isfinite(fields.velocity.values).all()
        assert float(abs(fields.velocity).max()) > 10
    first = Table.read(tmp_path / "objects.fits")
    assert len(first) == 3000
    assert np.isfinite(first["v_los"]).all()
    result = run(
        "reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", "--frame", "cmb", "--distances", "40,80",
        "--cell-size", 10, "--padding", 0, *OUTPUTS, "--force",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "objects lie outside the mask, the distance range or the box" in result.stderr
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.attrs["objects"] < 2500
        np.testing.assert_allclose(np.diff(fields.x), 10.0)


def test_cells_that_the_sides_of_a_box_are_no_multiples_of(run, survey, tmp_path):
    (tmp_path / "boxed.toml").write_text(SURVEY + "[box]\nsize = 200.0\norigin = [-100.0, -100.0, -100.0]\n")
    for size, told in ((15, True), (10, False)):
        result = run(
            "reconstruct", "--sky", "galaxies.fits", "--survey", "boxed.toml", "--cell-size", size, *OUTPUTS, "--force"
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert (
            "[box] are not multiples of cells of 15 Mpc/h: 15.38 Mpc/h are taken" in result.stderr
        ) is told


def test_a_frame_that_is_not_stated(run, survey):
    result = run(
        "reconstruct", "--sky", "galaxies.fits", "--mask", "mask.fits", "--distances", "40,80", *OUTPUTS
    )
    assert result.exit_code == 0, result.output
    assert "warning: the rest frame of the redshifts is not stated" in result.stderr


@pytest.mark.parametrize("use", ["collapse", "replace"])
def test_groups_before_painting(run, survey, tmp_path, use):
    result = run("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", "--groups", use, *OUTPUTS)
    assert result.exit_code == 0, result.output
    objects = Table.read(tmp_path / "objects.fits")
    np.testing.assert_array_equal(objects["ra"], survey["ra"])
    assert np.isfinite(objects["v_los"]).all()  # at each galaxy
    real = np.stack([objects[f"{axis}_real"] for axis in "xyz"], axis=1)
    finger = np.linalg.norm(real[:1000], axis=1).reshape(100, 10).std(axis=1)
    assert np.median(finger) < 1.0  # 2 Mpc/h before
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert (fields.attrs["objects"] == 3000) == (use == "collapse")


def test_the_group_catalogue(run, survey, refused, tmp_path):
    command = ("groups", "galaxies.fits", "--survey", "mine.toml", "--out", "groups.fits")
    result = run(*command, "--members", "members.ecsv")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["groups.fits", "members.ecsv"]
    assert "of two or more" in result.stderr
    groups, members = Table.read(tmp_path / "groups.fits"), Table.read(tmp_path / "members.ecsv")
    assert groups.colnames == ["group", "ra", "dec", "z", "distance", "members", "dispersion", "mass"]
    assert (np.diff(groups["members"]) <= 0).all()
    np.testing.assert_array_equal(np.bincount(members["group"]), groups["members"])
    big = groups[groups["members"] >= 6]
    assert len(big) > 50
    assert 80 < np.median(np.asarray(big["dispersion"])) < 260  # fingers of 2 Mpc/h
    assert (np.minimum(big["ra"], 360 - big["ra"]) < 32).all()
    assert "peculiar" in " ".join(groups.meta["comments"])
    assert "--force" in refused(*command)
    few = run(*command, "--force", "--linking", "0.05,0.05")
    assert few.exit_code == 0
    assert len(Table.read(tmp_path / "groups.fits")) > len(groups)
    assert "got none" in refused("groups", "galaxies.fits", "--out", "other.fits")


@pytest.fixture
def flux_limited(survey, tmp_path):
    """The survey to apparent magnitude 14, luminosities drawn from a Schechter function."""
    rng = np.random.default_rng(4)
    places = points(20000, seed=2)
    ra, dec, z = to_sky(places, cosmology=COSMOLOGY)
    limit, shape = FluxLimit(14.0, absolute=(-23.0, -18.0)), Schechter(-20.3, -1.1)
    grid = np.linspace(*limit.absolute, 5001)
    cumulative = shape.integral(-23.0, grid)
    absolute = np.interp(rng.uniform(size=len(z)) * cumulative[-1], cumulative, grid)
    table = Table({"ra": ra, "dec": dec, "z": z, "R": absolute + limit.offset(z, cosmology=COSMOLOGY)})
    table[table["R"] <= 14.0].write(tmp_path / "flux.fits")
    text = SURVEY.replace("heliocentric", "cmb") + '\nradial = "flux-limited"\nfull_density = 5e-3\n'
    text += '[flux_limit]\nfaintest = 14.0\nabsolute = [-23, -18]\n[columns]\nmagnitude = "R"\n'
    (tmp_path / "flux.toml").write_text(text)
    return ("reconstruct", "--sky", "flux.fits", "--survey", "flux.toml", *OUTPUTS)


def test_a_flux_limited_survey(run, refused, flux_limited, tmp_path):
    result = run(*flux_limited)
    assert result.exit_code == 0, result.output
    assert "Schechter" not in result.stderr
    (tmp_path / "flat.toml").write_text(SURVEY)
    flat = (
        "reconstruct",
        "--sky",
        "flux.fits",
        "--survey",
        "flat.toml",
        "--frame",
        "cmb",
        *OUTPUTS,
        "--force",
    )
    assert "a volume-limited sample must have about one density" in refused(*flat)
    asked = run(*flat, "--magnitude-limit", 14, "--column", "magnitude=R")
    assert asked.exit_code == 0, asked.output
    groups = run("groups", "flux.fits", "--survey", "flux.toml", "--out", "groups.fits")
    assert groups.exit_code == 0, groups.output
    assert Table.read(tmp_path / "groups.fits")["mass"].max() > 1e7  # luminosities


def test_magnitudes_that_cannot_be(refused, flux_limited, tmp_path):
    line = refused(*flux_limited, "--magnitude-limit", 11)
    assert "faintest must be the magnitude to which the sample is complete, got 11 with" in line
    assert "got 17 for magnitudes from" in refused(*flux_limited, "--magnitude-limit", 17)
    table = Table.read(tmp_path / "flux.fits")
    table["R"][5] = np.nan
    table.write(tmp_path / "flux.fits", overwrite=True)
    assert "magnitude (R) must be finite, got 1 of" in refused(*flux_limited)
    table.remove_column("R")
    table.write(tmp_path / "flux.fits", overwrite=True)
    assert "missing: R" in refused(*flux_limited)


def test_randoms_in_place_of_a_mask(run, refused, survey, tmp_path):
    rows = {}
    for name, shift in (("randoms.fits", 0), ("elsewhere.fits", 90)):
        ra, dec, z = to_sky(points(60000, seed=3)[20000:], cosmology=COSMOLOGY)
        rows[name] = Table({"ra": (ra + shift) % 360, "dec": dec, "z": z})
        rows[name].write(tmp_path / name)
    (tmp_path / "mine.toml").write_text(
        SURVEY.replace('mask = "mask.fits"', "").replace("heliocentric", "cmb")
    )
    command = ("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", *OUTPUTS, "--randoms")
    line = refused(*command, "elsewhere.fits")
    assert "randoms must cover the survey, got 3000 of 3000 objects outside" in line
    result = run(*command, "randoms.fits")
    assert result.exit_code == 0, result.output
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.attrs["number_density"] == pytest.approx(
            3000 / (2 * np.pi * (1 - np.cos(np.radians(30))) * (88**3 - 32**3) / 3), rel=0.25
        )


def test_galaxies_outside_the_mask_take_no_part(run, survey, tmp_path):
    survey["dec"][:100] = 60.0 + np.arange(100) / 100
    survey.write(tmp_path / "galaxies.fits", overwrite=True)
    result = run("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", *OUTPUTS)
    assert result.exit_code == 0, result.output
    assert "100 of 3000 objects lie outside the mask" in result.stderr
    with xarray.open_zarr(tmp_path / "o.zarr") as fields:
        assert fields.attrs["objects"] == 2900
    assert len(Table.read(tmp_path / "objects.fits")) == 3000


def test_a_mask_that_excludes_most(refused, survey, tmp_path):
    mask = np.zeros(healpy.nside2npix(32))
    mask[healpy.query_disc(32, [1, 0, 0], np.radians(15))] = 1
    healpy.write_map(tmp_path / "mask.fits", mask, dtype=np.float32, overwrite=True)
    line = refused("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", *OUTPUTS)
    assert "mask must cover the survey, got" in line


def test_redshifts_in_kilometres_per_second(refused, survey, tmp_path):
    survey["z"] *= 299792.458
    survey.write(tmp_path / "galaxies.fits", overwrite=True)
    for frame in ("heliocentric", "cmb"):
        line = refused(
            "reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", "--frame", frame, *OUTPUTS
        )
        assert "km/s" in line
        assert "299792.458" in line


def test_a_survey_larger_than_memory(refused, survey, monkeypatch):
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 1_000_000)
    fine = ("--cell-size", 2.5)
    line = refused("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", *fine, *OUTPUTS)
    assert "a mesh of" in line
    assert "GB needed with 0.001 GB free to this process" in line
    assert "--cell-size" in line
    assert "--distances" in line
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 2_000)
    line = refused("reconstruct", "--sky", "galaxies.fits", "--survey", "mine.toml", *OUTPUTS)
    assert "the catalogue must fit in memory" in line


def test_a_catalogue_as_its_own_randoms(refused, survey):
    for command in (("reconstruct", "--sky", *OUTPUTS), ("groups", "--out", "g.fits")):
        line = refused(*command, "galaxies.fits", "--randoms", "./galaxies.fits", "--frame", "cmb")
        assert "--randoms must be random points, got 'galaxies.fits', which is the catalogue" in line


def test_options_that_do_not_belong_together(refused, survey, tmp_path):
    base = ("reconstruct", "galaxies.fits", *OUTPUTS)
    assert "--sky must come with" in refused(*base, "--sky")
    assert "without --sky" in refused(*base, "--survey", "mine.toml")
    assert "without --sky" in refused(*base, "--box", 100, "--frame", "cmb")
    assert "takes no --box" in refused(*base, "--sky", "--survey", "mine.toml", "--box", 100)
    assert "has radial lines of sight, got --los z" in refused(
        *base, "--sky", "--survey", "mine.toml", "--los", "z"
    )
    assert "takes no --cells" in refused(*base, "--sky", "--survey", "mine.toml", "--cells", 16)
    (tmp_path / "mine.toml").write_text(SURVEY + "colour = 1\n")
    assert "colour must be valid in mine.toml" in refused(*base, "--sky", "--survey", "mine.toml")
    own = (
        "reconstruct",
        "--sky",
        "galaxies.fits",
        "--mask",
        "mask.fits",
        "--model",
        "iterative",
        "--frame",
        "cmb",
    )
    line = refused(*own, "--out", "o.zarr", "--at-objects", "mask.fits", "--force")
    assert "which is the mask" in line


def test_a_radial_line_of_sight_in_a_box(run, catalogue, tmp_path):
    box = ("reconstruct", catalogue, "--box", 40, "--redshift", 0.59, "--no-periodic", "--cells", 8, *OUTPUTS)
    result = run(*box, "--los", "radial", "--observer", "-50,20,20")
    assert result.exit_code == 0, result.output
    objects = Table.read(tmp_path / "objects.fits")
    sight = np.stack([objects["x"] + 50, objects["y"] - 20, objects["z"] - 20], axis=1)
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    along = sum(objects[f"v{axis}"] * sight[:, i] for i, axis in enumerate("xyz"))
    np.testing.assert_allclose(objects["v_los"], along, rtol=1e-5, atol=1e-3)


def test_weights_count(run, survey, tmp_path):
    command = ("reconstruct", "--sky", "weighted.fits", "--survey", "mine.toml", *OUTPUTS, "--force")
    densities = []
    for weight in (np.ones(3000), np.where(survey["dec"] > 0, 2.0, 0.5)):
        survey["weight"] = weight
        survey.write(tmp_path / "weighted.fits", overwrite=True)
        result = run(*command)
        assert result.exit_code == 0, result.output
        with xarray.open_zarr(tmp_path / "o.zarr") as fields:
            north = fields.density.sel(z=slice(5, 30), x=slice(40, 80), y=slice(-20, 20)).mean()
            south = fields.density.sel(z=slice(-30, -5), x=slice(40, 80), y=slice(-20, 20)).mean()
            densities.append(float(north - south))
    assert densities[1] > densities[0] + 0.3
