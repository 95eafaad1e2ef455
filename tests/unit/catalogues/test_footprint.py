from pathlib import Path

import healpy
import numpy as np
import pytest

from peculiar.catalogues.footprint import read_footprint
from peculiar.catalogues.survey import load_survey, make_survey
from peculiar.core import PRESETS, Box, InputError

COSMOLOGY = PRESETS["wang2024"]


@pytest.fixture
def north(tmp_path):
    """A survey of the northern sky, half of it seen at one half, from 40 to 100 Mpc/h."""
    nside = 16
    x, _, z = healpy.pix2vec(nside, np.arange(12 * nside**2))
    healpy.write_map(
        tmp_path / "mask.fits", np.where(z > 0, np.where(x > 0, 1.0, 0.5), 0.0), dtype=np.float32
    )
    return {"mask": tmp_path / "mask.fits", "distances": [40.0, 100.0]}


def test_a_planned_survey_is_flat_between_its_limits(north):
    found = read_footprint(make_survey(north), cosmology=COSMOLOGY)
    assert found.limits == (40.0, 100.0)
    low, high = found.extent
    np.testing.assert_allclose(low, [-100, -100, 0], atol=4)
    np.testing.assert_allclose(high, [100, 100, 100], atol=4)
    seen = found.covers(Box(240.0, 48, origin=(-120.0,) * 3, periodic=False)).data[0]
    assert float(seen[40, 24, 28]) == 1.0
    assert float(seen[8, 24, 28]) == 0.5
    assert float(seen[40, 24, 20]) == float(seen[24, 24, 25]) == 0.0


def test_a_flux_limit_thins_a_planned_survey_out():
    found = read_footprint(load_survey("sdss_main"), cosmology=COSMOLOGY)
    assert found.limits == (20.0, 450.0)
    assert (found.luminosity_function.M_star, found.luminosity_function.alpha) == (-20.44, -1.05)
    near, far = found.n_of_r.at(np.array([60.0, 400.0]))
    assert 10 < near / far < 1000
    assert (np.diff(found.n_of_r.density) <= 0).all()


def test_limits_in_redshift_are_distances_of_the_cosmology(north):
    survey = make_survey({"mask": north["mask"], "redshifts": [0.01, 0.05]})
    expected = COSMOLOGY.comoving_distance(np.array([0.01, 0.05]))
    assert read_footprint(survey, cosmology=COSMOLOGY).limits == pytest.approx(tuple(expected))


def test_cubes_stand_where_the_survey_looked(north):
    found = read_footprint(make_survey(north), cosmology=COSMOLOGY)
    inner = Box(60.0, 12, periodic=False)
    corner = found.random(inner, np.random.default_rng(1))
    assert (found.covers(Box(60.0, 12, origin=corner, periodic=False)).data > 0).float().mean() > 0.4
    x, _, z = found.best(inner)
    assert x > -20  # the half that is seen as a whole
    assert z > -20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": None}, "a footprint must have a mask, got none"),
        (
            {"distances": None},
            "must have n.z., or limits, and be flat or have a luminosity function, got radial = 'flat'",
        ),
        (
            {"radial": "measured"},
            "got radial = 'measured' and limits .40.0, 100.0.: name galaxies in the survey",
        ),
        ({"randoms": "randoms.fits"}, "a footprint must be a mask alone, got randoms randoms.fits"),
        ({"luminosity_function": {"M_star": -20, "alpha": -1}}, "luminosity_function belongs to radial"),
    ],
)
def test_what_tells_no_footprint(north, changes, words):
    with pytest.raises(InputError, match=words):
        read_footprint(make_survey(north | changes), cosmology=COSMOLOGY)


def test_files_of_a_survey_stand_beside_it():
    survey = load_survey("sdss_dr7")
    assert survey.galaxies == survey.mask.with_name("galaxies.fits")
    assert survey.galaxies.is_file()
    assert Path(load_survey("sdss_main").mask).resolve() == survey.mask.resolve()
