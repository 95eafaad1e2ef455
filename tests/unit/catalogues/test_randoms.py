import healpy
import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import SkyMask, completeness, read_survey, to_catalogue, to_sky
from peculiar.catalogues.randoms import Points, completeness_from_randoms
from peculiar.catalogues.sky_counts import footprint, sky_counts
from peculiar.catalogues.survey import make_survey
from peculiar.core import Box, Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)


def cap(count, seed, *, axis=(1.0, 0.0, 0.0), near=30.0, far=90.0, thin=None):
    """Points of a cap of 30 degrees about an axis, between two distances, thinned with distance."""
    rng = np.random.default_rng(seed)
    along = rng.uniform(np.cos(np.radians(30)), 1, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    across = np.sqrt(1 - along**2)
    local = np.stack([along, across * np.cos(angle), across * np.sin(angle)], axis=1)
    unit = np.roll(local, int(np.argmax(axis)), axis=1)
    distance = rng.uniform(near**3, far**3, count) ** (1 / 3)
    points = unit * distance[:, None]
    return points if thin is None else points[rng.uniform(size=len(points)) < thin(distance)]


def table_of(points):
    ra, dec, z = to_sky(points, cosmology=COSMOLOGY)
    return Table({"ra": ra, "dec": dec, "z": z})


def falling(distance):
    return np.exp(-(distance - 30) / 30)


@pytest.fixture(scope="module")
def randoms(tmp_path_factory):
    path = tmp_path_factory.mktemp("randoms") / "randoms.fits"
    table_of(cap(200000, 1, thin=falling)).write(path)
    return path


@pytest.fixture
def described(randoms):
    def make(**settings):
        common = {"frame": "cmb", "randoms": randoms, "cell_size": 4.0, "padding": 8.0}
        return make_survey(common | settings)

    return make


def test_the_footprint_of_randoms():
    mask = footprint(sky_counts(cap(100000, 2)))
    area = 2 * np.pi * (1 - np.cos(np.radians(30)))
    assert area < mask.solid_angle < 1.15 * area  # pixels that the edge cuts count
    assert mask.at(np.array([[1.0, 0, 0], [-1.0, 0, 0]])).tolist() == [1.0, 0.0]


def test_completeness_is_that_of_the_mask_and_selection_behind_the_randoms(described):
    galaxies = cap(12000, 3, thin=falling)
    sample = read_survey(table_of(galaxies), described(full_density=1.0), cosmology=COSMOLOGY)
    with pytest.warns(UserWarning, match="46% of the survey's volume is used, 30.02 to 70.25 Mpc/h"):
        made = to_catalogue(sample, sample.box()).catalogue
    assert len(made) > 0.999 * len(galaxies)  # a pixel that the edge cuts may hold no random point
    centres = np.stack(
        np.meshgrid(*(made.box.coordinates(axis) for axis in range(3)), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    values = made.completeness.data[0].numpy().ravel()
    distance = np.linalg.norm(centres, axis=1)
    cosine = centres[:, 0] / distance
    inner = (cosine > np.cos(np.radians(24))) & (distance > 40) & (distance < 80)
    ratio = values[inner] / falling(distance[inner])
    shells = [np.abs(distance[inner] - r) < 5 for r in (45, 60, 75)]
    np.testing.assert_allclose([ratio[shell].mean() for shell in shells], ratio.mean(), rtol=0.06)
    assert [ratio[shell].std() < 0.35 * ratio.mean() for shell in shells] == [True] * 3
    assert values[(cosine < np.cos(np.radians(36))) & (distance > 40)].max() == 0
    assert 0.6 < np.quantile(values[values > 0], 0.98) < 1.15
    # objects over the expected number: one everywhere
    near = np.linalg.norm(galaxies, axis=1) < 55
    expected = values[distance < 55].sum(), values[distance >= 55].sum()
    assert near.sum() / expected[0] == pytest.approx((~near).sum() / expected[1], rel=0.1)  # 3 % are counting


def test_edges_stay_sharp():
    box = Box(64.0, 32, periodic=False)
    rng = np.random.default_rng(1)
    points = rng.uniform((10, 0, 0), (40, 64, 64), (30 * 64 * 64, 3))
    values = completeness_from_randoms([Points(points)], box, peak=1.0).data[0].numpy()
    assert (values[:5] == 0).all()
    assert (values[20:] == 0).all()
    assert values[5].mean() == pytest.approx(1.0, rel=0.05)
    assert values[10].std() < 0.12


def test_sparse_points_fill_their_footprint():
    """A quarter of a point per cell: the edges are those of the pixels that the points fill, and of their distances."""
    box = Box(120.0, 60, origin=(-60.0, -60.0, -60.0), periodic=False)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(40_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions[directions[:, 2] > 0]
    points = directions * (rng.uniform(20**3, 55**3, len(directions)) ** (1 / 3))[:, None]
    points = points[: int(0.25 * 2 * np.pi / 3 * (55**3 - 20**3) / 2**3)]
    values = completeness_from_randoms([Points(points)], box, peak=0.25 / 2**3).data[0].numpy()
    centres = np.stack(np.meshgrid(*[box.coordinates(0)] * 3, indexing="ij"), axis=-1)
    distance = np.linalg.norm(centres, axis=-1)
    assert (values[(distance > 60) | (distance < 15) | (centres[..., 2] < -20)] == 0).all()
    inner = (distance > 25) & (distance < 50) & (centres[..., 2] > 10)
    assert (values[inner] > 0).all()
    assert values[inner].mean() == pytest.approx(1.0, rel=0.05)
    assert values[inner].std() < 0.2


def test_weights_of_randoms_count(tmp_path, described):
    points = cap(60000, 1)
    halves = table_of(points)
    halves["weight"] = np.where(points[:, 1] > 0, 1.0, 0.5)
    halves.write(tmp_path / "weighted.fits")
    galaxies = cap(12000, 3)
    galaxies = galaxies[(galaxies[:, 1] > 0) | (np.arange(len(galaxies)) % 2 == 0)]
    sample = read_survey(
        table_of(galaxies), described(randoms=tmp_path / "weighted.fits"), cosmology=COSMOLOGY
    )
    made = to_catalogue(sample, sample.box()).catalogue
    values = made.completeness.data[0].numpy()
    y = made.box.coordinates(1)
    up, down = (np.median(values[:, rows][values[:, rows] > 0]) for rows in (y > 4, y < -4))
    assert down / up == pytest.approx(0.5, rel=0.1)


def test_a_mask_beside_randoms_cuts(described):
    galaxies = cap(12000, 3, thin=falling)
    _, dec = healpy.pix2ang(16, np.arange(12 * 16**2), lonlat=True)
    mask = SkyMask((dec > -10).astype(float))
    sample = read_survey(table_of(galaxies), described(), cosmology=COSMOLOGY, mask=mask)
    assert (sample.kept == (mask.at(galaxies) > 0)).mean() > 0.999
    for points in sample.randoms.points():
        assert (mask.at(points.positions) > 0).all()


def test_randoms_elsewhere(described, tmp_path):
    table = table_of(cap(5000, 3, axis=(0.0, 0.0, 1.0)))
    with pytest.raises(InputError, match="randoms must cover the survey, got .* objects outside"):
        read_survey(table, described(), cosmology=COSMOLOGY)
    table = table_of(cap(5000, 3, near=120.0, far=150.0))
    with pytest.raises(InputError, match="randoms must lie in the survey, got none in"):
        read_survey(table, described(), cosmology=COSMOLOGY)


def test_randoms_of_another_selection(described):
    table = table_of(cap(20000, 3))
    with pytest.raises(InputError, match="randoms must follow the galaxies' radial selection"):
        read_survey(table, described(), cosmology=COSMOLOGY)


def test_too_few_randoms(described, tmp_path):
    table_of(cap(150, 1)).write(tmp_path / "few.fits")
    survey = described(randoms=tmp_path / "few.fits")
    sample = read_survey(table_of(cap(3000, 3)), survey, cosmology=COSMOLOGY)
    with pytest.raises(InputError, match="at least 0.05 per cell where the survey is densest, got 0"):
        to_catalogue(sample, sample.box())


def test_files_of_randoms_that_are_none(described, tmp_path):
    table = table_of(cap(500, 3))
    with pytest.raises(InputError, match="must be a file that exists"):
        read_survey(table, described(randoms=tmp_path / "none.fits"), cosmology=COSMOLOGY)
    Table({"x": [1.0]}).write(tmp_path / "box.fits")
    with pytest.raises(InputError, match="randoms .*box.fits: catalogue must have columns ra, dec, z"):
        read_survey(table, described(randoms=tmp_path / "box.fits"), cosmology=COSMOLOGY)


def test_no_footprint_at_all():
    with pytest.raises(InputError, match="a survey must have a mask or randoms, got neither"):
        read_survey(table_of(cap(500, 3)), make_survey({"frame": "cmb"}), cosmology=COSMOLOGY)


def test_a_full_density_thins_the_randoms_as_the_galaxies(described):
    galaxies = cap(12000, 3, thin=falling)
    plain = read_survey(table_of(galaxies), described(), cosmology=COSMOLOGY)
    full = 0.4 * plain.n_of_r.peak
    sample = read_survey(table_of(galaxies), described(full_density=full), cosmology=COSMOLOGY)
    made = to_catalogue(sample, sample.box()).catalogue
    values = made.completeness.data[0].numpy()
    expected = completeness(made.box, sample.mask, n_of_r=sample.n_of_r.capped(full)).data[0].numpy()
    both = (values > 0) & (expected > 0)
    assert values[both].mean() == pytest.approx(expected[both].mean(), rel=0.1)
    assert np.corrcoef(values[both], expected[both])[0, 1] > 0.6
    assert made.weights.sum() / (values.sum() * 4.0**3) == pytest.approx(full, rel=0.1)


def test_weights_belong_to_both_sides(described, tmp_path):
    # FKP weights 1 / (1 + n P): 0.17 near, 0.6 far
    def fkp(points):
        return 1 / (1 + 5 * falling(np.linalg.norm(points, axis=1)))

    points = cap(200000, 1, thin=falling)
    galaxies = cap(12000, 3, thin=falling)
    for name, weights in (("fkp", fkp(points)), ("none", None)):
        table = table_of(points)
        if weights is not None:
            table["weight"] = weights
        table.write(tmp_path / f"{name}.fits")
    weighted = table_of(galaxies)
    weighted["weight"] = fkp(galaxies)
    sample = read_survey(weighted, described(randoms=tmp_path / "fkp.fits"), cosmology=COSMOLOGY)
    plain = read_survey(table_of(galaxies), described(randoms=tmp_path / "none.fits"), cosmology=COSMOLOGY)
    r = np.array([40.0, 60.0, 80.0])
    np.testing.assert_allclose(sample.n_of_r.at(r), plain.n_of_r.at(r) / (1 + 5 * falling(r)), rtol=0.05)
    for table, name in ((weighted, "none"), (table_of(galaxies), "fkp")):
        with pytest.raises(InputError, match="randoms must (have weights that belong|follow the galaxies)"):
            read_survey(table, described(randoms=tmp_path / f"{name}.fits"), cosmology=COSMOLOGY)


def test_random_points_whose_weights_are_the_selection(described, tmp_path):
    points = cap(100000, 1)
    table = table_of(points)
    table["weight"] = falling(np.linalg.norm(points, axis=1))
    table.write(tmp_path / "even.fits")
    sample = read_survey(
        table_of(cap(12000, 3, thin=falling)), described(randoms=tmp_path / "even.fits"), cosmology=COSMOLOGY
    )
    near, far = sample.n_of_r.at(np.array([40.0, 80.0]))
    assert far / near == pytest.approx(np.exp(-40 / 30), rel=0.1)
