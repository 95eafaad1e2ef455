import healpy
import numpy as np
import pytest
from astropy.table import Table, vstack

from peculiar.catalogues import (
    SkyMask,
    Survey,
    directions,
    read_sky_catalogue,
    read_survey,
    sky_positions,
    to_catalogue,
    to_sky,
)
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.survey import make_survey
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
    with pytest.raises(InputError, match="in a box, which is read with read_catalogue") as caught:
        sky_positions(table, cosmology=COSMOLOGY)
    assert "read with `peculiar reconstruct --box`" in caught.value.command


def test_columns_of_other_names(survey):
    table, _ = survey
    expected = sky_positions(table, cosmology=COSMOLOGY)
    table.rename_columns(["ra", "z"], ["RAJ2000", "Z_CMB"])
    with pytest.raises(InputError, match="'ra': 'RAJ2000', 'z': 'Z_CMB'"):
        sky_positions(table, cosmology=COSMOLOGY)
    found = sky_positions(table, cosmology=COSMOLOGY, columns={"ra": "RAJ2000", "z": "Z_CMB"})
    np.testing.assert_array_equal(found, expected)


def test_rows_twice(survey):
    with pytest.raises(InputError, match="rows that repeat another exactly"):
        read_sky_catalogue(vstack([survey[0], survey[0]]), mask=wedge(), cosmology=COSMOLOGY)


def sphere(count, seed, *, near=10.0, far=60.0, thin=None):
    """Random objects on the whole sky, and optionally a fraction of them that falls with distance."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3))
    distance = rng.uniform(near**3, far**3, count) ** (1 / 3)
    points = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * distance[:, None]
    return points if thin is None else points[rng.uniform(size=count) < thin(distance)]


def sky_table(points):
    ra, dec, z = to_sky(points, cosmology=COSMOLOGY)
    return Table({"ra": ra, "dec": dec, "z": z})


def described(**settings):
    return make_survey({"frame": "cmb", "cell_size": 4.0, "padding": 8.0} | settings)


def test_a_stated_density_is_called_nz_or_as_in_desi_nx():
    table = sky_table(sphere(8000, 1))
    table["NX"] = 0.008 * (1 + table["z"])
    found = read_survey(table, described(radial="nz"), cosmology=COSMOLOGY, mask=FULL).n_of_r
    near, far = found.at(np.array([15.0, 55.0]))
    assert far / near == pytest.approx(1 + 40 / 2998, rel=1e-3)
    table["NZ"] = 0.008
    both = read_survey(table, described(radial="nz"), cosmology=COSMOLOGY, mask=FULL).n_of_r
    np.testing.assert_allclose(both.density, both.density[0])


def test_an_observer_inside_the_box():
    sample = read_survey(sky_table(sphere(8000, 1)), described(), cosmology=COSMOLOGY, mask=FULL)
    catalogue = to_catalogue(sample, sample.box()).catalogue
    assert catalogue.box.contains(np.zeros((1, 3)))[0]
    outwards = (catalogue.sight_lines() * catalogue.positions).sum(axis=1)
    np.testing.assert_allclose(outwards, np.linalg.norm(catalogue.positions, axis=1))
    # nothing is known of the cell that the observer sits in: it is nearer than the nearest galaxy
    centre = np.floor(-np.asarray(catalogue.box.origin) / catalogue.box.cell_size).astype(int)
    assert catalogue.completeness.data[0].numpy()[tuple(centre)] == 0


def test_padding_is_an_empty_margin():
    table = sky_table(sphere(4000, 1))
    for padding in (0.0, 30.0):
        sample = read_survey(table, described(padding=padding), cosmology=COSMOLOGY, mask=FULL)
        box = sample.box()
        low = sample.positions.min(axis=0) - box.origin
        high = np.asarray(box.origin) + box.size - sample.positions.max(axis=0)
        assert min(low.min(), high.min()) >= padding
        assert box.cell_size == pytest.approx(4.0)


def test_heliocentric_redshifts_are_converted():
    points = sphere(4000, 1, near=30.0)
    ra, dec, z = to_sky(points, cosmology=COSMOLOGY)
    seen = convert_redshift(z, directions(ra, dec), source="cmb", target="heliocentric")
    table = Table({"ra": ra, "dec": dec, "z": seen})
    sample = read_survey(table, described(frame="heliocentric"), cosmology=COSMOLOGY, mask=FULL)
    np.testing.assert_allclose(sample.positions, points, atol=1e-3)
    np.testing.assert_allclose(sample.redshifts, z, atol=1e-9)
    wrong = read_survey(table, described(frame="cmb", distances=(35.0, 55.0)), cosmology=COSMOLOGY, mask=FULL)
    assert 3.0 < np.linalg.norm(wrong.positions - points, axis=1).max() < 4.0  # 370 km/s
    with pytest.warns(UserWarning, match="rest frame of the redshifts is not stated"):
        unstated = read_survey(table, Survey(distances=(35.0, 55.0)), cosmology=COSMOLOGY, mask=FULL)
    np.testing.assert_array_equal(unstated.positions, wrong.positions)


def test_redshift_limits_are_distances():
    table = sky_table(sphere(4000, 1))
    near, far = COSMOLOGY.redshift_at(np.array([20.0, 40.0]))
    one = read_survey(table, described(redshifts=(near, far)), cosmology=COSMOLOGY, mask=FULL)
    two = read_survey(table, described(distances=(20.0, 40.0)), cosmology=COSMOLOGY, mask=FULL)
    assert 0 < one.kept.sum() < 2000
    assert abs(int(one.kept.sum()) - int(two.kept.sum())) <= 1


def test_redshifts_in_kilometres_per_second():
    table = sky_table(sphere(500, 1))
    table["z"] *= 299792.458
    for frame in ("cmb", "heliocentric"):
        with pytest.raises(InputError, match=r"km/s.*299792.458|299792.458"):
            read_survey(table, described(frame=frame), cosmology=COSMOLOGY, mask=FULL)


def test_a_full_density_evens_out_the_sample_and_throws_nothing_away():
    points = sphere(60000, 2, thin=lambda r: np.exp(-(r - 10) / 20))
    table = sky_table(points)
    sample = read_survey(table, described(radial="measured", smoothing=5.0), cosmology=COSMOLOGY, mask=FULL)
    full = 0.3 * sample.n_of_r.peak
    even = read_survey(
        table, described(radial="measured", smoothing=5.0, full_density=full), cosmology=COSMOLOGY, mask=FULL
    )
    catalogue = to_catalogue(even, even.box()).catalogue
    assert len(catalogue) == len(points)
    values = catalogue.completeness.data[0].numpy()
    box = catalogue.box
    axes = [box.coordinates(axis) for axis in range(3)]
    distance = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))
    complete = (distance > 15) & (distance < 25)
    assert values[complete].min() == pytest.approx(1.0)
    far = (distance > 45) & (distance < 50)
    expected = sample.n_of_r.at(distance[far]) / full
    np.testing.assert_allclose(values[far], expected, rtol=0.05)
    # weighted objects over completeness have one density, near and far
    weights, r = catalogue.weights, np.linalg.norm(catalogue.positions, axis=1)
    densities = [
        weights[(r > low) & (r < high)].sum() / (values[(distance > low) & (distance < high)].sum() * 4.0**3)
        for low, high in ((16, 28), (40, 52))
    ]
    np.testing.assert_allclose(densities, full, rtol=0.1)


def test_a_full_density_is_chosen_so_that_most_of_the_volume_is_used():
    points = sphere(60000, 2, thin=lambda r: np.exp(-(r - 10) / 10))
    chosen = read_survey(
        sky_table(points), described(radial="measured", smoothing=5.0), cosmology=COSMOLOGY, mask=FULL
    )
    made = to_catalogue(chosen, chosen.box())
    assert made.seen.share == pytest.approx(0.9, abs=0.005)
    assert made.full_density == pytest.approx(chosen.n_of_r.at(np.array([57.9]))[0] / 0.3, rel=0.02)
    assert made.seen.distances == pytest.approx((10, 57.9), abs=0.5)
    assert len(made.catalogue) == len(points)
    assert made.catalogue.number_density == pytest.approx(made.full_density, rel=0.1)
    assert f"{made.full_density:.3g} (h/Mpc)^3 on: 90% of the survey's volume is used" in str(made)
    peak = read_survey(
        sky_table(points),
        described(radial="measured", smoothing=5.0, full_density=1.0),
        cosmology=COSMOLOGY,
        mask=FULL,
    )
    with pytest.warns(UserWarning, match="% of the survey's volume is used.*lower full_density"):
        assert to_catalogue(peak, peak.box()).seen.share < 0.15


def test_a_survey_of_one_density_is_as_it_was(survey):
    table, density = survey
    sample = read_survey(table, make_survey({"frame": "cmb"}), cosmology=COSMOLOGY, mask=wedge())
    made = to_catalogue(sample, sample.box(cell_size=4.0))
    assert made.catalogue.weights is None
    assert made.seen.share == 1
    assert made.full_density == pytest.approx(density, rel=0.05)


@pytest.fixture
def fingers():
    """Groups of 10 with fingers of God in a field, on the whole sky."""
    rng = np.random.default_rng(3)
    centres = sphere(100, 4, near=30.0, far=55.0)
    unit = np.repeat(centres / np.linalg.norm(centres, axis=1, keepdims=True), 10, axis=0)
    members = (
        np.repeat(centres, 10, axis=0) + rng.normal(0, 0.1, (1000, 3)) + unit * rng.normal(0, 2.0, (1000, 1))
    )
    return np.concatenate([members, sphere(4000, 5, near=20.0)])


def test_groups_are_collapsed_and_galaxies_keep_their_rows(fingers):
    table = sky_table(fingers)
    plain = read_survey(table, described(), cosmology=COSMOLOGY, mask=FULL)
    sample = read_survey(
        table, described(groups="collapse", distances=(20.0, 60.0)), cosmology=COSMOLOGY, mask=FULL
    )
    box = plain.box()
    galaxies, collapsed = to_catalogue(plain, box), to_catalogue(sample, box)
    assert galaxies.groups is None
    assert len(collapsed.catalogue) == sample.kept.sum()
    assert len(collapsed.positions) == len(table)

    def scatter(positions):
        return np.linalg.norm(positions[:1000], axis=1).reshape(100, 10).std(axis=1).mean()

    assert scatter(collapsed.positions) < 0.5 * scatter(galaxies.positions)
    np.testing.assert_array_equal(collapsed.positions[~sample.kept], galaxies.positions[~sample.kept])


def test_groups_replace_their_galaxies(fingers):
    table = sky_table(fingers)
    sample = read_survey(table, described(groups="replace"), cosmology=COSMOLOGY, mask=FULL)
    made = to_catalogue(sample, sample.box())
    assert len(made.catalogue) == len(made.groups) < 0.9 * len(table)
    assert made.catalogue.masses.max() >= 8
    assert made.catalogue.masses.sum() == len(table)
    table["weight"] = np.linspace(1.0, 1.5, len(table))
    table["mass"] = np.arange(1.0, len(table) + 1)
    sample = read_survey(table, described(groups="replace"), cosmology=COSMOLOGY, mask=FULL)
    made = to_catalogue(sample, sample.box())
    assert made.catalogue.masses.sum() == pytest.approx(table["mass"].sum())
    counted = made.catalogue.weights * made.groups.members
    assert counted.sum() == pytest.approx(table["weight"].sum())


def test_what_of_a_survey_lies_in_a_box_of_its_own(survey):
    table, _ = survey
    box = {"size": (50.0, 60.0, 80.0), "origin": (45.0, -30.0, -20.0)}
    sample = read_survey(table, make_survey({"frame": "cmb", "box": box}), cosmology=COSMOLOGY, mask=wedge())
    with pytest.warns(UserWarning, match="objects lie outside the mask, the distance range or the box"):
        made = to_catalogue(sample, sample.box(cell_size=4.0))
    held = sample.box(cell_size=4.0).contains(sample.positions)
    assert 0.7 < held.mean() < 0.8
    assert made.objects == len(table)
    assert made.seen.share == pytest.approx(held.mean(), abs=0.01)  # of one density
    assert made.seen.distances == pytest.approx((45, 100), abs=0.5)
    assert str(made).startswith(
        f"{held.sum()} of the survey's {len(table)} objects lie in its box, complete from"
    )
    assert f"{made.seen.share:.0%} of the survey's volume is used, 4" in str(made)
