import healpy
import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import (
    RadialSelection,
    SkyMask,
    completeness,
    radial_selection,
    read_sky_catalogue,
    sky_positions,
    to_sky,
)
from peculiar.core import Box, Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)
FULL = SkyMask(np.ones(12 * 8**2))


def wedge(nside=32):
    """A mask over ra 340 to 20, dec -20 to 20: across ra = 0."""
    ra, dec = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    return SkyMask(((np.minimum(ra, 360 - ra) < 20) & (np.abs(dec) < 20)).astype(float))


@pytest.fixture
def survey():
    """Uniform objects in the wedge, 40 to 100 Mpc/h away, and the density that they have."""
    rng = np.random.default_rng(5)
    points = rng.uniform((20, -50, -50), (110, 50, 50), (40000, 3))
    distance = np.linalg.norm(points, axis=1)
    points = points[(wedge().at(points) > 0) & (distance > 40) & (distance < 100)]
    ra, dec, z = to_sky(points, cosmology=COSMOLOGY)
    return Table({"ra": ra, "dec": dec, "z": z}), 40000 / (90 * 100 * 100)


def test_density_of_a_uniform_sample_flat_and_measured():
    rng = np.random.default_rng(4)
    distances = (rng.uniform(30**3, 120**3, 60000)) ** (1 / 3)
    truth = 60000 / (4 * np.pi / 3 * (120**3 - 30**3))
    for radial in ("flat", "measured"):
        selection = radial_selection(
            distances, solid_angle=4 * np.pi, distance_range=(30.0, 120.0), radial=radial, smoothing=20.0
        )
        np.testing.assert_allclose(selection.at(np.array([31.0, 60.0, 119.0])), truth, rtol=0.05)
        np.testing.assert_array_equal(selection.at(np.array([29.0, 121.0])), 0.0)


def test_measured_selection_follows_a_falling_density():
    rng = np.random.default_rng(4)
    distances = (rng.uniform(0, 400**3, 400000)) ** (1 / 3)
    kept = distances[rng.uniform(size=len(distances)) < np.exp(-distances / 150)]
    selection = radial_selection(kept, solid_angle=4 * np.pi, radial="measured", smoothing=20.0)
    ratio = selection.at(np.array([100.0])) / selection.at(np.array([300.0]))
    np.testing.assert_allclose(ratio, np.exp(200 / 150), rtol=0.08)
    with pytest.raises(InputError, match="give radial='measured'"):
        radial_selection(kept, solid_angle=4 * np.pi)


def test_weights_count():
    distances = np.linspace(10, 20, 50)
    single = radial_selection(distances, solid_angle=1.0)
    double = radial_selection(distances, solid_angle=1.0, weights=np.full(50, 2.0))
    assert double.peak == pytest.approx(2 * single.peak)


def test_range_without_objects():
    with pytest.raises(InputError, match="must hold objects, got 50 to 60"):
        radial_selection(np.linspace(10, 20, 50), solid_angle=1.0, distance_range=(50.0, 60.0))


def test_completeness_of_a_full_shell_is_its_volume():
    box = Box(100.0, 32, origin=(-50.0, -50.0, -50.0), periodic=False)
    selection = RadialSelection(np.array([20.0, 45.0]), np.array([1e-3, 1e-3]))
    field = completeness(box, FULL, n_of_r=selection)
    assert float(field.data.max()) == 1.0
    assert float(field.data.min()) == 0.0
    assert float(field.data.mean()) == pytest.approx(4 * np.pi / 3 * (45**3 - 20**3) / 100**3, rel=0.01)


def test_completeness_is_mask_times_relative_density():
    box = Box(40.0, 16, origin=(10.0, -20.0, -20.0), periodic=False)
    selection = RadialSelection(np.array([0.0, 100.0]), np.array([2e-3, 1e-3]))
    half = SkyMask(np.full(12, 0.5))
    values = completeness(box, half, n_of_r=selection, observer=(5.0, 0.0, 0.0)).data[0].numpy()
    centre = np.array([box.coordinates(0)[6] - 5, box.coordinates(1)[3], box.coordinates(2)[12]])
    expected = 0.5 * (1 - 0.5 * np.linalg.norm(centre) / 100)
    assert values[6, 3, 12] == pytest.approx(expected, rel=2e-3)


def test_a_survey_across_ra_zero_in_a_small_box(survey):
    table, density = survey
    catalogue = read_sky_catalogue(table, mask=wedge(), cosmology=COSMOLOGY, cell_size=4.0, padding=8.0)
    assert catalogue.line_of_sight == "radial"
    assert catalogue.observer == (0.0, 0.0, 0.0)
    assert len(catalogue) == len(table)
    assert catalogue.box.size < 112  # not the 200 of a footprint torn apart at ra = 0
    assert catalogue.number_density == pytest.approx(density, rel=0.05)
    assert COSMOLOGY.comoving_distance(catalogue.redshift) == pytest.approx(80, rel=0.05)
    np.testing.assert_allclose(
        catalogue.sight_lines()[:, 0], np.cos(np.radians(table["ra"])) * np.cos(np.radians(table["dec"]))
    )
    # nobody lives where nobody can be seen
    cells = ((catalogue.positions - catalogue.box.origin) / catalogue.box.cell_size).astype(int)
    assert (catalogue.completeness.data[0].numpy()[tuple(cells.T)] > 0).mean() > 0.99


def test_a_given_box_keeps_what_it_holds(survey):
    table, _ = survey
    table["mass"] = np.arange(len(table), dtype=float)
    box = Box(40.0, origin=(45.0, -20.0, -20.0), periodic=False)
    with pytest.warns(UserWarning, match="lie outside the mask, the distance range or the box"):
        catalogue = read_sky_catalogue(table, mask=wedge(), cosmology=COSMOLOGY, box=box, cell_size=4.0)
    inside = box.contains(sky_positions(table, cosmology=COSMOLOGY))
    np.testing.assert_array_equal(catalogue.masses, np.flatnonzero(inside))
    assert catalogue.box.cells == 10
    with pytest.raises(InputError, match="must not be periodic"):
        read_sky_catalogue(table, mask=wedge(), cosmology=COSMOLOGY, box=Box(40.0), cell_size=4.0)


def test_a_box_beside_the_survey(survey):
    box = Box(40.0, 8, origin=(-90.0, 0.0, 0.0), periodic=False)
    with pytest.raises(InputError, match="none of"):
        read_sky_catalogue(survey[0], mask=wedge(), cosmology=COSMOLOGY, box=box)


def test_a_mask_of_another_survey(survey):
    ra, _ = healpy.pix2ang(8, np.arange(12 * 8**2), lonlat=True)
    with pytest.raises(InputError, match="mask must cover the survey, got"):
        read_sky_catalogue(
            survey[0], mask=SkyMask((np.abs(ra - 180) < 60).astype(float)), cosmology=COSMOLOGY
        )


def test_a_box_given_as_a_survey():
    table = Table({"x": [1.0], "y": [1.0], "z": [1.0]})
    with pytest.raises(InputError, match="in a box, which is read with --box"):
        sky_positions(table, cosmology=COSMOLOGY)


def test_columns_of_other_names(survey):
    table, _ = survey
    expected = sky_positions(table, cosmology=COSMOLOGY)
    table.rename_columns(["ra", "z"], ["RA", "Z_CMB"])
    with pytest.raises(InputError, match="'ra': 'RA', 'z': 'Z_CMB'"):
        sky_positions(table, cosmology=COSMOLOGY)
    found = sky_positions(table, cosmology=COSMOLOGY, columns={"ra": "RA", "z": "Z_CMB"})
    np.testing.assert_array_equal(found, expected)


def test_rows_twice(survey):
    from astropy.table import vstack

    with pytest.raises(InputError, match="rows that repeat another exactly"):
        read_sky_catalogue(vstack([survey[0], survey[0]]), mask=wedge(), cosmology=COSMOLOGY)
