"""A footprint on ra = 0 gives what the same footprint gives elsewhere."""

import healpy
import numpy as np
import pytest
import xarray
from astropy.table import Table

from peculiar.catalogues import to_sky
from peculiar.core import PRESETS

COSMOLOGY = PRESETS["xiao2024"]
COUNT, NSIDE = 2500, 32


def footprint(directory, turn, rng):
    """Files of one survey within 25 degrees of (turn, 20), 40 to 90 Mpc/h away, clumped; the draws are the same."""
    ra, dec = rng.uniform(-22, 22, COUNT), rng.uniform(-2, 42, COUNT)
    distance = rng.uniform(40.5**3, 89.5**3, COUNT) ** (1 / 3)
    clump = slice(0, COUNT // 5)
    ra[clump], dec[clump] = rng.normal(3, 3, COUNT // 5), rng.normal(18, 3, COUNT // 5)
    z = to_sky(np.stack([distance, np.zeros(COUNT), np.zeros(COUNT)], axis=1), cosmology=COSMOLOGY)[2]
    Table({"ra": (ra + turn) % 360, "dec": dec, "z": z}).write(directory / f"galaxies{turn}.fits")
    longitude, latitude = healpy.pix2ang(NSIDE, np.arange(healpy.nside2npix(NSIDE)), lonlat=True)
    away = np.abs((longitude - turn + 180) % 360 - 180)
    mask = ((away < 24) & (latitude > -4) & (latitude < 44)).astype(float)
    healpy.write_map(directory / f"mask{turn}.fits", mask, dtype=np.float32)


@pytest.mark.parametrize("turn", [90, 180])
def test_the_same_survey_turned_about_the_pole(run, tmp_path, turn):
    results = {}
    for angle in (0, turn):
        footprint(tmp_path, angle, np.random.default_rng(8))
        result = run(
            "reconstruct", "--sky", f"galaxies{angle}.fits", "--mask", f"mask{angle}.fits", "--frame", "cmb",
            "--distances", "40,90", "--cell-size", 5, "--padding", 10, "--model", "iterative",
            "--out", f"o{angle}.zarr", "--at-objects", f"objects{angle}.fits",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "outside" not in result.stderr
        with xarray.open_zarr(tmp_path / f"o{angle}.zarr") as fields:
            results[angle] = (fields.velocity.values, fields.density.values, fields.attrs)
        results[angle] += (Table.read(tmp_path / f"objects{angle}.fits"),)
    velocity, density, attributes, objects = results[0]
    turned_velocity, turned_density, turned_attributes, turned_objects = results[turn]
    # The box is as small: it is not torn apart at ra = 0.
    sides, turned_sides = (
        np.ravel(found["box_size"]) * np.ones(3) for found in (attributes, turned_attributes)
    )
    np.testing.assert_allclose(np.sort(sides), np.sort(turned_sides))
    assert sides.max() < 150
    # Rotation by quarters of the circle turns the mesh into itself: x -> y, y -> -x at each.
    times = turn // 90
    turned_back = np.rot90(turned_density, -times, axes=(0, 1))
    np.testing.assert_allclose(turned_back, density, atol=2e-3 * np.abs(density).max())
    speed, turned_speed = np.linalg.norm(velocity, axis=0), np.linalg.norm(turned_velocity, axis=0)
    np.testing.assert_allclose(np.rot90(turned_speed, -times, axes=(0, 1)), speed, atol=2e-3 * speed.max())
    assert np.std(objects["v_los"]) > 30
    np.testing.assert_allclose(turned_objects["v_los"], objects["v_los"], atol=2.0)
    np.testing.assert_allclose(turned_objects["z_real"], objects["z_real"], atol=0.05)
    assert np.isfinite(objects["v_los"]).all()
