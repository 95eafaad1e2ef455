import re

import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import directions
from peculiar.catalogues.distances import read_distances
from peculiar.catalogues.frames import convert_redshift, to_galactic
from peculiar.core import InputError

C = 299792.458


@pytest.fixture
def table():
    rng = np.random.default_rng(4)
    n = 30
    columns = {"ra": rng.uniform(0, 360, n), "dec": rng.uniform(-60, 60, n), "cz": rng.uniform(2000, 9000, n)}
    return Table(columns | {"mu": rng.uniform(33, 36, n), "mu_error": rng.uniform(0.1, 0.4, n)})


def test_celestial_and_galactic_z_and_cz_are_one(table):
    first = read_distances(table, frame="heliocentric")
    sight = directions(table["ra"], table["dec"])
    np.testing.assert_allclose(first.directions, sight)
    np.testing.assert_allclose(
        first.redshift, convert_redshift(table["cz"] / C, sight, source="heliocentric")
    )
    longitude, latitude = to_galactic(sight)
    other = Table(
        {"l": longitude, "b": latitude, "z": table["cz"] / C, "m": table["mu"], "e": table["mu_error"]}
    )
    second = read_distances(other, frame="heliocentric", columns={"mu": "m", "mu_error": "e"})
    np.testing.assert_allclose(second.directions, sight, atol=1e-8)
    np.testing.assert_allclose(second.redshift, first.redshift, rtol=1e-10)
    np.testing.assert_array_equal(second.modulus, first.modulus)


def test_rows_outside_the_range_are_left_out_aloud(table):
    table["cz"][:3] = [-50.0, 1e4, 500.0]
    with pytest.warns(UserWarning, match="3 of 30 objects lie outside c z = 1000 to 9500 km/s"):
        found = read_distances(table, frame="cmb", cz_range=(1000.0, 9500.0))
    assert found.used.tolist() == [False] * 3 + [True] * 27
    assert len(found) == 27
    kept = found.keep(np.arange(27) % 2 == 0)
    assert np.flatnonzero(kept.used).tolist() == list(range(3, 30, 2))
    with pytest.warns(UserWarning, match="1 of 30"):
        assert len(read_distances(table, frame="cmb")) == 29


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("z", 4500.0, r"z must be a redshift, got a median of 4500.*--column cz=NAME"),
        ("cz", 0.02, r"cz must be in km/s, got a median of 0.02.*--column z=NAME"),
        ("mu_error", -0.1, r"mu_error must be > 0 mag, got 30 of 30 rows"),
        ("mu_error", 12.0, "mu_error must be <= 2 mag"),
        ("mu", 90.0, r"mu must be in \[15, 50\] mag"),
        ("mu", np.nan, "must be finite"),
        ("ra", -200.0, r"ra must lie in \[-180, 360\]"),
        ("dec", 100.0, r"dec must lie in \[-90, 90\]"),
    ],
)
def test_columns_that_hold_something_else_are_refused(table, column, values, message):
    if column == "z":
        table.remove_column("cz")
    table[column] = values
    with pytest.raises(InputError) as caught:
        read_distances(table, frame="cmb")
    assert re.search(message, caught.value.command)
    assert "--column" not in str(caught.value)


def test_units_capitals_and_negative_longitudes(table):
    expected = read_distances(table, frame="cmb")
    changed = table.copy()
    for name in ("ra", "dec"):
        changed[name] = np.radians((changed[name] + 180) % 360 - 180)
        changed[name].unit = "rad"
    changed["cz"] = changed["cz"] * 1000
    changed["cz"].unit = "m/s"
    changed.rename_columns(["ra", "mu", "cz"], ["RA", "MU", "CZ"])
    found = read_distances(changed, frame="cmb")
    np.testing.assert_allclose(found.directions, expected.directions, atol=1e-12)
    np.testing.assert_allclose(found.redshift, expected.redshift, rtol=1e-12)
    changed["MU"].unit = "Mpc"
    with pytest.raises(InputError, match="column MU must be in magnitudes, got unit 'Mpc'"):
        read_distances(changed, frame="cmb")


def test_missing_columns_frames_and_empty_ranges_are_refused(table):
    with pytest.raises(InputError, match="frame must be one of"):
        read_distances(table, frame="barycentric")
    with pytest.raises(
        InputError,
        match=r"columns must map ra, dec, l, b, cz, z, mu, mu_error, .*eta, eta_error, used, got distance",
    ):
        read_distances(table, frame="cmb", columns={"distance": "mu"})
    with pytest.raises(InputError, match="cz must lie in 20000 to 30000 km/s"):
        read_distances(table, frame="cmb", cz_range=(20000.0, 30000.0))
    with pytest.raises(InputError, match="cz range must be two increasing numbers"):
        read_distances(table, frame="cmb", cz_range=(3000.0, 2000.0))
    table.remove_column("mu_error")
    with pytest.raises(InputError, match="missing: mu_error"):
        read_distances(table, frame="cmb")
