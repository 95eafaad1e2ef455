import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import read_survey, to_catalogue, to_sky
from peculiar.catalogues.sky import SkyMask
from peculiar.catalogues.sky_table import sky_coordinates, sky_places
from peculiar.catalogues.survey import load_survey, make_survey
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)
FULL = SkyMask(np.ones(12))


@pytest.fixture
def points():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3000, 3))
    distance = rng.uniform(20.0**3, 60.0**3, 3000) ** (1 / 3)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * distance[:, None]


@pytest.fixture
def table(points):
    ra, dec, z = to_sky(points, cosmology=COSMOLOGY)
    return Table({"ra": ra, "dec": dec, "z": z})


def described(**settings):
    return make_survey({"frame": "cmb", "cell_size": 6.0, "padding": 8.0} | settings)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [("rad", "rad"), ("hourangle", "deg"), ("h", "arcmin"), ("arcsec", "arcsec"), ("deg", "degrees")],
)
def test_declared_units_of_angles(table, points, ra, dec):
    degrees = {"rad": np.pi / 180, "hourangle": 1 / 15, "h": 1 / 15, "arcmin": 60, "arcsec": 3600}
    for name, unit in (("ra", ra), ("dec", dec)):
        table[name] *= degrees.get(unit, 1.0)
        table[name].unit = unit
    np.testing.assert_allclose(sky_places(table, cosmology=COSMOLOGY)[1], points, atol=1e-3)


@pytest.mark.parametrize(("unit", "factor"), [("radians", np.pi / 180), ("hours", 1 / 15)])
def test_undeclared_units_are_suspected(table, unit, factor):
    table["ra"] *= factor
    if unit == "radians":
        table["dec"] *= factor
    with pytest.warns(UserWarning, match=f"is taken as degrees: are these {unit}"):
        sky_coordinates(table)


def test_velocities_declared_as_redshifts(table):
    table["z"].unit = "km/s"
    with pytest.raises(InputError, match="column z must be a redshift, got unit 'km / s'"):
        sky_coordinates(table)


def test_objects_of_negative_redshift_are_counted_and_take_no_part(table, points):
    table["z"][:24] = -0.001
    with pytest.warns(UserWarning, match="24 of 3000 objects have z < 0"):
        sample = read_survey(table, described(distances=(20.0, 60.0)), cosmology=COSMOLOGY, mask=FULL)
    assert np.isnan(sample.positions[:24]).all()
    assert not sample.kept[:24].any()
    made = to_catalogue(sample, sample.box())
    assert len(made.catalogue) == int(sample.kept.sum()) > 2900
    np.testing.assert_allclose(sample.positions[24:], points[24:], atol=1e-3)


def test_a_column_of_negative_values_is_no_redshift(table):
    table["z"] *= -1
    with pytest.raises(InputError, match="3000 of 3000 rows below 0"):
        sky_places(table, cosmology=COSMOLOGY)
    table["z"] = -99.0
    with pytest.raises(InputError, match=r"z must lie in \(-1, 20\]"):
        sky_places(table, cosmology=COSMOLOGY)


def randoms(path, count, seed, **columns):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3))
    distance = rng.uniform(20.0**3, 60.0**3, count) ** (1 / 3)
    places = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * distance[:, None]
    ra, dec, z = to_sky(places, cosmology=COSMOLOGY)
    Table({"RA": ra, "DEC": dec, "Z": z, **columns}).write(path)
    return path


def test_several_files_of_randoms_are_one(tmp_path, table):
    paths = [randoms(tmp_path / f"{seed}.fits", 20000, seed) for seed in range(3)]
    sample = read_survey(table, described(randoms=paths), cosmology=COSMOLOGY)
    assert 59000 < sample.randoms.counts.total <= 60000
    assert sample.mask.solid_angle == pytest.approx(4 * np.pi)
    weighted = randoms(tmp_path / "weighted.fits", 20000, 4, WEIGHT=np.full(20000, 2.0))
    alone = read_survey(table, described(randoms=weighted), cosmology=COSMOLOGY)
    assert alone.randoms.counts.total == 2 * alone.randoms.counts.numbers.sum()
    with pytest.raises(InputError, match=r"must have weights or none, got none in .*0.fits"):
        read_survey(table, described(randoms=[paths[0], weighted]), cosmology=COSMOLOGY)
    randoms(tmp_path / "bad.fits", 200, 5).write_bytes(b"")
    with pytest.raises(InputError, match="bad.fits"):
        read_survey(table, described(randoms=[paths[0], tmp_path / "bad.fits"]), cosmology=COSMOLOGY)


def test_randoms_of_a_survey_file(tmp_path):
    (tmp_path / "survey.toml").write_text('frame = "cmb"\nrandoms = ["a.fits", "b.fits"]\n')
    assert load_survey(tmp_path / "survey.toml").randoms == (tmp_path / "a.fits", tmp_path / "b.fits")


def test_magnitudes_that_are_not_needed_do_not_stop_a_survey(table):
    table["magnitude"] = np.nan
    with pytest.warns(UserWarning, match="magnitudes are not used: magnitude .* must be finite"):
        sample = read_survey(table, described(), cosmology=COSMOLOGY, mask=FULL)
    assert sample.luminosities is None
    limited = described(radial="flux-limited", flux_limit={"faintest": 12.0})
    with pytest.raises(InputError, match="must be finite"):
        read_survey(table, limited, cosmology=COSMOLOGY, mask=FULL)


def test_groups_do_not_replace_the_file_of_their_part(tmp_path, table):
    from peculiar.workflows.groups import find_groups_file

    table.write(tmp_path / "survey.fits")
    with pytest.raises(InputError, match="must not hold an input"):
        find_groups_file(
            f"{tmp_path / 'survey.fits'}[1]",
            out=tmp_path / "survey.fits",
            survey=described(),
            cosmology=COSMOLOGY,
            force=True,
        )
