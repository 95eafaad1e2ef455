"""Clustering catalogues of DESI and BOSS, read as they come."""

import json

import numpy as np
import pytest
import xarray
from astropy.table import Table

from peculiar.catalogues import to_sky
from peculiar.core import PRESETS

COSMOLOGY = PRESETS["xiao2024"]
COMMON = ("--frame", "cmb", "--distances", "30,90", "--cell-size", 8, "--padding", 10, "--model", "iterative")
DENSITY = 3000 / (2 * np.pi * (1 - np.cos(np.radians(30))) * (90**3 - 30**3) / 3)


def sky(count, seed):
    """Points within 30 degrees of (ra, dec) = (180, 0), 30 to 90 Mpc/h away."""
    rng = np.random.default_rng(seed)
    along, angle = rng.uniform(np.cos(np.radians(30)), 1, count), rng.uniform(0, 2 * np.pi, count)
    across = np.sqrt(1 - along**2)
    unit = np.stack([-along, across * np.cos(angle), across * np.sin(angle)], axis=1)
    ra, dec, z = to_sky(unit * rng.uniform(30**3, 90**3, count)[:, None] ** (1 / 3), cosmology=COSMOLOGY)
    return {"RA": ra, "DEC": dec, "Z": z}


@pytest.fixture
def desi(tmp_path):
    """Files as those of DESI: data, and randoms in two files; the weights of the data."""
    rng = np.random.default_rng(7)

    def write(name, count, seed):
        comp = rng.choice([1.0, 1.5], count)
        fkp = 1 / (1 + 10000 * rng.uniform(1e-4, 5e-4, count))
        columns = {"TARGETID": np.arange(count), **sky(count, seed), "NTILE": rng.integers(1, 7, count)}
        columns |= {"PHOTSYS": np.full(count, "N"), "WEIGHT": comp, "WEIGHT_COMP": comp, "WEIGHT_FKP": fkp}
        Table(columns | {"NX": np.full(count, 1e-3)}).write(tmp_path / name)
        return comp

    for i in range(2):
        write(f"LRG_NGC_{i}_clustering.ran.fits", 30000, i)
    return write("LRG_NGC_clustering.dat.fits", 3000, 5)


def test_desi_as_it_is(run, desi, tmp_path):
    command = (
        "reconstruct",
        "--sky",
        "LRG_NGC_clustering.dat.fits",
        "--randoms",
        "LRG_NGC_*_clustering.ran.fits",
    )
    plain = run(*command, *COMMON, "--out", "a.zarr")
    assert plain.exit_code == 0, plain.output
    assert "weights are WEIGHT; WEIGHT_FKP not used (--weight)" in plain.stderr
    product = run(*command, *COMMON, "--weight", "WEIGHT", "--weight", "WEIGHT_FKP", "--out", "b.zarr")
    assert product.exit_code == 0, product.output
    assert "weights are WEIGHT * WEIGHT_FKP\n" in product.stderr
    for name in ("a.zarr", "b.zarr"):
        with xarray.open_zarr(tmp_path / name) as fields:
            made = json.loads(fields.attrs["provenance"])
            assert sum("clustering.ran.fits" in path for path in made["inputs"]) == 2
            assert len(made["settings"]["survey"]["randoms"]) == 2
            density = fields.attrs["number_density"]
            np.testing.assert_allclose(density, DENSITY * desi.mean(), rtol=0.12)  # pixels that the edge cuts


@pytest.fixture
def boss(tmp_path):
    """Files as those of BOSS DR12; the weights of the data."""
    rng = np.random.default_rng(7)
    nz = {"NZ": np.full(3000, DENSITY)}
    weights = {
        "WEIGHT_FKP": 1 / (1 + 1000 * DENSITY * rng.uniform(0.5, 1.5, 3000)),
        "WEIGHT_CP": rng.choice([1.0, 2.0], 3000, p=[0.95, 0.05]),
        "WEIGHT_NOZ": rng.choice([1.0, 2.0], 3000, p=[0.95, 0.05]),
        "WEIGHT_SYSTOT": rng.uniform(0.9, 1.1, 3000),
    }
    Table({**sky(3000, 5), **nz, **weights}).write(tmp_path / "galaxy_DR12v5_CMASS_North.fits")
    fkp = rng.uniform(0.3, 0.5, 40000)
    randoms = {**sky(40000, 1), "WEIGHT_FKP": fkp, "NZ": np.full(40000, DENSITY)}
    Table(randoms).write(tmp_path / "random0_DR12v5_CMASS_North.fits")
    return weights["WEIGHT_SYSTOT"] * (weights["WEIGHT_CP"] + weights["WEIGHT_NOZ"] - 1)


def test_boss_as_it_is(run, boss, tmp_path):
    command = (
        "reconstruct",
        "--sky",
        "galaxy_DR12v5_CMASS_North.fits",
        "--randoms",
        "random0_DR12v5_CMASS_North.fits",
    )
    expression = ("--weight", "WEIGHT_SYSTOT*(WEIGHT_NOZ+WEIGHT_CP-1)", "--weight", "WEIGHT_FKP")
    plain = None
    fkp = (*expression, "--random-weight", "WEIGHT_FKP")
    for i, options in enumerate(
        [("--weight", 1), (), ("--radial", "nz"), fkp, (*fkp, "--radial", "nz")],
    ):
        result = run(*command, *COMMON, *options, "--out", f"{i}.zarr")
        assert result.exit_code == 0, result.output
        with xarray.open_zarr(tmp_path / f"{i}.zarr") as fields:
            density = fields.attrs["number_density"]
            plain = plain or density
            np.testing.assert_allclose(density / plain, boss.mean() if i else 1, rtol=0.03)
            if "nz" in options:
                np.testing.assert_allclose(fields.attrs["full_density"], DENSITY * boss.mean(), rtol=0.2)
    assert (
        "WEIGHT_SYSTOT * (WEIGHT_CP + WEIGHT_NOZ - 1); WEIGHT_FKP"
        in run(*command, *COMMON, "--out", "0.zarr", "--force").stderr
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--weight", "WEIGHT_FPK"),
            "weights must be columns of the table, got WEIGHT_FPK with columns WEIGHT_FKP",
        ),
        (("--weight", "WEIGHT_CP"), "--random-weight"),
        (("--random-weight", "WEIGHT_FPK"), "correct --random-weight, or random_weights in the survey file"),
        (("--memory", "1MB"), "give a larger --memory, take larger cells"),
        (("--weight", "exp(WEIGHT_CP)"), "weights must be columns joined by + - * / and brackets"),
        (("--radial", "nz", "--column", "nz=WEIGHT_CP"), "nz must be the number density of these objects"),
        (("--radial", "nz", "--column", "nz=DENSITY"), "missing: DENSITY"),
        (("--randoms", "none_*.fits"), "randoms must be files that exist, got 'none_*.fits'"),
    ],
)
def test_wrong_names_and_densities_are_refused(run, boss, tmp_path, options, words):
    before = sorted(tmp_path.rglob("*"))
    command = (
        "reconstruct",
        "--sky",
        "galaxy_DR12v5_CMASS_North.fits",
        "--randoms",
        "random0_DR12v5_CMASS_North.fits",
    )
    result = run(*command, *COMMON, *options, "--out", "o.zarr")
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert sorted(tmp_path.rglob("*")) == before
