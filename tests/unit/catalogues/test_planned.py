"""What a survey file says without data: patches of the sky, and n(z) as a table."""

import numpy as np
import pytest

from peculiar.catalogues.footprint import Footprint, read_footprint
from peculiar.catalogues.planned import RedshiftTable, SkyPatch, patches_mask, selection_from_table
from peculiar.catalogues.selection import RadialSelection
from peculiar.catalogues.sky import SkyMask, directions
from peculiar.catalogues.survey import Survey, load_survey, make_survey, survey_names
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology()
DEGREES = (np.pi / 180) ** 2
TABLE = RedshiftTable(redshift=(0.4, 0.5, 0.7), density=(1e-4, 3e-4, 1e-4))


def test_a_patch_has_its_area():
    mask = patches_mask([SkyPatch(ra=(350, 20), dec=(-10, 30), completeness=0.8)])
    area = np.radians(30) * (np.sin(np.radians(30)) - np.sin(np.radians(-10)))
    assert mask.solid_angle == pytest.approx(0.8 * area, rel=2e-3)
    there = mask.at(directions(np.array([0.0, 15.0, 355.0, 180.0, 0.0]), np.array([0.0, 25, -5, 0, 45])))
    np.testing.assert_allclose(there, [0.8, 0.8, 0.8, 0, 0], atol=1e-6)


def test_a_patch_ends_at_its_edges():
    """To a pixel of 0.23 degrees."""
    mask = patches_mask([SkyPatch(ra=(150, 170), dec=(0, 20))])
    ra, dec = np.array([149.6, 170.4, 160, 160]), np.array([10, 10, -0.4, 20.4])
    assert not mask.at(directions(ra, dec)).any()
    ra, dec = np.array([150.4, 169.6, 160, 160]), np.array([10, 10, 0.4, 19.6])
    assert (mask.at(directions(ra, dec)) == 1).all()


def test_the_plane_of_the_galaxy_is_left_out():
    mask = patches_mask([SkyPatch(galactic_latitude=30)])
    assert mask.solid_angle == pytest.approx(4 * np.pi * 0.5, rel=2e-3)
    pole, centre = (192.859, 27.128), (266.405, -28.936)  # J2000
    assert mask.at(directions(*np.array([pole, centre]).T)).tolist() == [1, 0]


def test_patches_overlap_without_counting_twice():
    one, other = SkyPatch(ra=(0, 20), dec=(0, 20)), SkyPatch(ra=(10, 30), dec=(0, 20), completeness=0.5)
    at = patches_mask([one, other]).at(directions(np.array([5.0, 15, 25]), np.array([10.0] * 3)))
    np.testing.assert_allclose(at, [1, 1, 0.5])


def test_a_table_is_n_of_r():
    n_of_r = TABLE.selection(COSMOLOGY)
    r = COSMOLOGY.comoving_distance(np.array([0.4, 0.45, 0.5, 0.6, 0.7, 0.8]))
    np.testing.assert_allclose(n_of_r.at(r), [1e-4, 2e-4, 3e-4, 2e-4, 1e-4, 0], rtol=0.03)
    limits = tuple(COSMOLOGY.comoving_distance(np.array([0.45, 0.6])))
    cut = TABLE.selection(COSMOLOGY, limits=limits)
    np.testing.assert_allclose(cut.distances[[0, -1]], limits)
    assert cut.peak == pytest.approx(3e-4)


def test_a_survey_is_read_with_its_table():
    """The table gives the shape, the objects their number; another density along the line of sight is refused."""
    rng = np.random.default_rng(1)
    whole = TABLE.selection(COSMOLOGY)
    low, high = whole.distances[[0, -1]]
    footprint = Footprint(SkyMask(np.ones(12)), whole)
    _, distances = footprint.draw(5000, rng)
    found = selection_from_table(TABLE, distances, cosmology=COSMOLOGY, limits=(low, high), solid_angle=0.5)
    volume = np.linspace(low, high, 4001)
    assert np.trapezoid(found.at(volume) * volume**2, volume) * 0.5 == pytest.approx(5000, rel=1e-3)
    flat = np.cbrt(rng.uniform(low**3, high**3, 5000))
    weights = np.where(flat > 1600, 3.0, 0.5)
    with pytest.raises(InputError, match="n_of_z must be that of the survey, got"):
        selection_from_table(
            TABLE, flat, cosmology=COSMOLOGY, limits=(low, high), solid_angle=0.5, weights=weights
        )


def test_a_footprint_needs_no_data():
    survey = make_survey(
        {"sky": [{"dec": (0, 30)}], "radial": "tabulated", "n_of_z": TABLE.model_dump(), "frame": "cmb"}
    )
    footprint = read_footprint(survey, cosmology=COSMOLOGY)
    assert footprint.mask.solid_angle == pytest.approx(2 * np.pi * 0.5, rel=1e-2)
    assert footprint.n_of_r.peak == pytest.approx(3e-4)
    assert isinstance(footprint.n_of_r, RadialSelection)


def test_random_points_fill_a_mask_in_any_frame():
    """Evenly, to the fineness of 0.01 arcseconds, and with n(r) r^2."""
    values = np.zeros(192)
    values[[3, 100]] = 1.0, 0.25
    mask = SkyMask(values, frame="galactic")
    sight, distance = Footprint(mask, TABLE.selection(COSMOLOGY)).draw(20000, np.random.default_rng(2))
    np.testing.assert_allclose(np.linalg.norm(sight, axis=1), 1)
    seen = mask.at(sight)
    assert (seen == 1).mean() == pytest.approx(0.8, abs=0.01)
    assert (seen > 0).all()
    assert len(np.unique(sight, axis=0)) == 20000
    z = COSMOLOGY.redshift_at(distance)
    assert 0.4 <= z.min() < z.max() <= 0.7
    assert ((z > 0.45) & (z < 0.55)).mean() == pytest.approx(0.41, abs=0.03)


@pytest.mark.parametrize(
    ("name", "area", "per_degree"),
    [
        ("boss_cmass", 9329, 94),  # of Dawson et al. 2016, 27.3 + 45.7 + 19.4 + 3.5 with z < 0.8
        ("desi_bgs", 14000, 63.1),
        ("desi_bgs_bright", 14000, 690),  # the forecast's 700, of which 58 lie below 0.05
        ("desi_elg", 14000, 487 + 679),
        ("desi_lrg", 14000, 510),  # of 605 targets, some of them at z < 0.4
        ("sdss_mgs", 6813, 63163 / 6813),
        ("two_mrs", 41253 * 0.91 * 0.976, None),
    ],
)
def test_samples_of_the_package_have_the_area_and_number_of_their_sources(name, area, per_degree):
    footprint = read_footprint(load_survey(name), cosmology=Cosmology(Omega_m=0.31))
    assert footprint.mask.solid_angle / DEGREES == pytest.approx(area, rel=0.015)
    assert name in survey_names()
    if per_degree is not None:
        r = np.linspace(*footprint.limits, 2001)
        assert np.trapezoid(footprint.n_of_r.at(r) * r**2, r) * DEGREES == pytest.approx(per_degree, rel=0.08)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"radial": "tabulated"}, "radial = 'tabulated' and a table n_of_z belong together"),
        ({"n_of_z": {"redshift": (0.1, 0.2), "density": (1, 1)}}, "belong together"),
        ({"n_of_z": {"redshift": (0.2, 0.1), "density": (1, 1)}}, "redshift must be >= 0 and rise"),
        ({"n_of_z": {"redshift": (0.1,), "density": (1,)}}, "as many densities as redshifts, at least 2"),
        ({"n_of_z": {"redshift": (0.1, 0.2), "density": (0, 0)}}, "density must be >= 0, and above 0"),
        ({"mask": "mask.fits", "sky": [{}]}, "give mask or sky, not both"),
        ({"sky": [{"ra": (0, 400)}]}, r"must lie in \[0, 360\]"),
        ({"sky": [{"dec": (30, 0)}]}, "dec must rise"),
    ],
)
def test_wrong_plans_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        make_survey(changes)


def test_a_table_gives_way_to_another_selection():
    survey = Survey(radial="tabulated", n_of_z=TABLE, sky=(SkyPatch(),))
    assert survey.with_changes({"radial": "measured"}).n_of_z is None
    assert survey.with_changes({"mask": "mask.fits"}).sky == ()
    with pytest.raises(InputError, match="n_of_z must be above 0 between"):
        RedshiftTable(redshift=(0.1, 0.2, 0.3), density=(1, 0, 0)).selection(
            COSMOLOGY, limits=tuple(COSMOLOGY.comoving_distance(np.array([0.21, 0.29])))
        )
