"""Tables as people have them, from the command line."""

import healpy
import numpy as np
import pytest
import xarray as xr
from astropy.table import Table

from peculiar.catalogues import write_catalogue
from peculiar.core import Box, Catalogue

OUT = ("--out", "out.zarr", "--model", "iterative")


def test_what_is_assumed_of_a_text_table_is_said(run, table, tmp_path):
    lines = [f"{row['x']!s} {row['y']!s} {row['z']!s} nan" for row in table]
    (tmp_path / "halos.txt").write_text("# X Y Z VX\n" + "\n".join(lines) + "\n")
    done = run("reconstruct", "halos.txt", "--box", 40, "--redshift", 0.59, "--cells", 8, *OUT)
    assert done.exit_code == 0, done.output
    assert "X, Y, Z without a unit are taken as comoving Mpc/h: 0.003 objects per (Mpc/h)^3" in done.stderr


def test_what_a_file_of_ours_states_is_used(run, table, tmp_path):
    positions = np.stack([table[axis] for axis in "xyz"], axis=1)
    own = Catalogue(positions=positions, box=Box(40.0), redshift=0.3, line_of_sight="y", space="redshift")
    write_catalogue(tmp_path / "own.fits", own)
    done = run("reconstruct", "own.fits", "--box", 40, "--cells", 8, *OUT)
    assert done.exit_code == 0, done.output
    assert "taken as comoving" not in done.stderr  # the file declares its units
    assert "not used" not in done.stderr
    attributes = xr.open_zarr(tmp_path / "out.zarr").attrs
    assert (attributes["line_of_sight"], attributes["redshift"]) == ("y", 0.3)
    done = run("reconstruct", "own.fits", "--box", 40, "--cells", 8, *OUT, "--los", "x", "--force")
    assert "what the file states is not used: line_of_sight = y" in done.stderr
    assert xr.open_zarr(tmp_path / "out.zarr").attrs["line_of_sight"] == "x"


@pytest.fixture
def survey(tmp_path):
    rng = np.random.default_rng(2)
    count = 3000
    vectors = rng.normal(size=(count, 3))
    x, y, z = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    redshifts = rng.uniform(20.0**3, 60.0**3, count) ** (1 / 3) / 2997.92458
    redshifts[:24] = -0.0005
    places = {"RA": np.degrees(np.arctan2(y, x)), "DEC": np.degrees(np.arcsin(z)), "Z": redshifts}
    Table(places | {"WEIGHT": np.ones(count)}).write(tmp_path / "survey.fits")
    healpy.write_map(tmp_path / "mask.fits", np.ones(healpy.nside2npix(4)), dtype=np.float32)


def test_objects_of_negative_redshift_are_nan_in_the_output(run, survey, tmp_path):
    options = ("--sky", "--mask", "mask.fits", "--frame", "cmb", "--distances", "20,60", "--cell-size", 10)
    done = run("reconstruct", "survey.fits", *options, *OUT, "--at-objects", "objects.fits")
    assert done.exit_code == 0, done.output
    assert "24 of 3000 objects have z < 0" in done.stderr
    written = Table.read(tmp_path / "objects.fits")
    unknown = ~np.isfinite(np.ma.filled(written["v_los"], np.nan))
    assert unknown[:24].all()
    assert not unknown[24:].any()
