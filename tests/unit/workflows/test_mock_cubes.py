"""Isolated cubes from small boxes, read with what their record says."""

import json

import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import read_catalogue
from peculiar.core import Box
from peculiar.fields.files import read_fields
from peculiar.workflows.mock import make_mocks
from peculiar.workflows.mock_settings import MockSettings


@pytest.mark.parametrize("pattern", ["axis", "centre", "random"])
def test_cubes_are_read_with_what_their_record_says(box_run, tmp_path, pattern):
    settings = MockSettings(pattern=pattern, choice="random", least_mass=2e11, cube=80.0, number_density=3e-3)
    make_mocks(box_run, out=tmp_path / "cubes", settings=settings, seeds=[1001])
    table = Table.read(tmp_path / "cubes" / "mock-01001.fits")
    assert len(table) == pytest.approx(3e-3 * 80**3, rel=0.25)
    assert table["halo_mass"].min() >= 2e11
    facts = json.loads((tmp_path / "cubes" / "run.json").read_text())["mocks"]["mock-01001.fits"]
    observer = facts.get("observer")
    assert (observer == [40.0] * 3) == (pattern == "centre")
    catalogue = read_catalogue(
        table,
        box=Box(80.0, periodic=False),
        line_of_sight=facts["line_of_sight"],
        observer=None if observer is None else tuple(observer),
        redshift=0.0,
    )
    real = np.stack([table[f"{axis}_real"] for axis in "xyz"], axis=1)
    shift = catalogue.positions - real
    sight = catalogue.replace(box=Box(400.0, origin=(-150.0,) * 3)).sight_lines(real)
    # The paper's v / 100
    np.testing.assert_allclose(shift, (table["v_los"] / 100)[:, None] * sight, atol=2e-3)
    if pattern == "axis":
        np.testing.assert_allclose(table["v_los"], table["vz"])
    fields = read_fields(tmp_path / "cubes" / "mock-01001.zarr")
    assert (fields["velocity"].box.size, fields["velocity"].box.mesh) == (80.0, 16)
    velocities = np.stack([table[f"v{axis}"] for axis in "xyz"], axis=1)
    inside = fields["velocity"].box.contains(real)
    residual = velocities[inside] - fields["velocity"].at(real[inside])
    assert np.abs(residual).max() < 400
    assert residual.std() < 60
