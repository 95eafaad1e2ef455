import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from peculiar.catalogues import read_catalogue
from peculiar.catalogues.columns import find_columns, numbers, optional_numbers
from peculiar.catalogues.units import angle, length, magnitude, rank, redshift, speed
from peculiar.core import Box, InputError

BOX = Box(100.0)


def positions_of(table):
    return np.stack([np.ravel(table[axis]) for axis in "xyz"], axis=1)


def test_columns_of_one_number_in_a_list(table):
    expected = positions_of(table)
    for name in ("x", "y", "z", "vx", "vy", "vz", "mass"):
        table[name] = np.asarray(table[name])[:, None]
    halos = read_catalogue(table, box=BOX, redshift=0.59)
    np.testing.assert_array_equal(halos.positions, expected)
    assert halos.masses.shape == (600,)


@pytest.mark.parametrize("name", ["position", "Positions", "Coordinates", "POS"])
def test_positions_in_one_column_whatever_z_is(table, name):
    vectors = positions_of(table)
    table.remove_columns(["x", "y", "z"])
    table[name], table["Velocities"] = vectors, vectors
    table["z"] = 0.5
    table.remove_columns(["vx", "vy", "vz"])
    halos = read_catalogue(table, box=BOX, redshift=0.59)
    np.testing.assert_array_equal(halos.positions, vectors)
    np.testing.assert_array_equal(halos.velocities, vectors)


def test_a_vector_column_of_another_name(table):
    table["GroupPos"] = positions_of(table)[:, ::-1]
    halos = read_catalogue(table, box=BOX, redshift=0.59, columns={"position": "grouppos"})
    np.testing.assert_array_equal(halos.positions[:, 0], table["z"])
    with pytest.raises(
        InputError, match=r"one number per row, got 3.*columns={'position': 'GroupPos'}"
    ) as caught:
        read_catalogue(table, box=BOX, redshift=0.59, columns={"x": "GroupPos"})
    assert "--column position=GroupPos" in caught.value.command
    table["pairs"] = np.ones((600, 2))
    with pytest.raises(InputError, match="mass .*|one number per row, got 2"):
        read_catalogue(table, box=BOX, redshift=0.59, columns={"mass": "pairs"})


def test_capitals(table):
    table["weight"] = np.linspace(0.5, 1.5, len(table))
    table.rename_columns(["x", "mass", "weight", "vz"], ["X", "MASS", "WEIGHT", "Vz"])
    halos = read_catalogue(table, box=BOX, redshift=0.59)
    np.testing.assert_array_equal(halos.weights, table["WEIGHT"])
    assert halos.masses is not None
    np.testing.assert_array_equal(halos.velocities[:, 2], table["Vz"])
    table["x"] = 100.0 - table["X"]  # exactly as written comes first
    np.testing.assert_array_equal(read_catalogue(table, box=BOX, redshift=0.59).positions[:, 0], table["x"])
    table["Mass"] = 1.0
    with pytest.raises(InputError, match="column mass must be one column, got MASS, Mass") as caught:
        read_catalogue(table, box=BOX, redshift=0.59)
    assert "--column mass=MASS" in caught.value.command


def test_a_factor_of_all_weights_is_none_of_any_and_is_said(table):
    table["weight"] = 1.0
    assert read_catalogue(table, box=BOX, redshift=0.59).weights is None
    table["weight"] = 7.0
    with pytest.warns(
        UserWarning, match="all 600 weights are 7: they tell nothing apart, and are taken as 1"
    ):
        halos = read_catalogue(table, box=BOX, redshift=0.59)
    assert halos.weights is None
    assert halos.number_density == pytest.approx(600 / BOX.volume)
    table["weight"] = np.linspace(6.0, 8.0, 600)
    with pytest.warns(
        UserWarning, match="weights are 7 on average: they count, .* is 7 times that of the rows"
    ):
        halos = read_catalogue(table, box=BOX, redshift=0.59)
    assert halos.number_density == pytest.approx(7 * 600 / BOX.volume)


def test_weights_of_another_name_are_named_as_unused(table):
    table["weight_systot"] = 1.0
    with pytest.warns(UserWarning, match="column weight_systot is not used as weight"):
        assert read_catalogue(table, box=BOX, redshift=0.59).weights is None


def test_masses_that_look_like_magnitudes_are_said(table):
    table["mass"] = np.linspace(-22.0, -18.0, len(table))
    with pytest.warns(
        UserWarning, match=r"mass ranks objects, .* in all rows \(-22 to -18\): of magnitudes change"
    ):
        optional_numbers(table, "mass")
    table["mass"] = np.linspace(1e12, 1e14, len(table))
    table["mass"][7] = -99.0
    with pytest.warns(UserWarning, match=r"below 0 in 1 of 600 rows \(first: row 7, -99\), which come last"):
        optional_numbers(table, "mass")
    table["mass"][7] = 0.5
    assert optional_numbers(table, "mass") is not None


def test_columns_that_hold_no_numbers():
    table = Table({"x": [1 + 1j], "sky": SkyCoord([1.0], [2.0], unit="deg"), "text": ["a"]})
    for name in table.colnames:
        with pytest.raises(InputError, match=f"column {name} must hold numbers, got .*: (give|repair)"):
            numbers(table, [name], what="positions", quantities=[length])


def test_short_names_are_not_close_to_every_other():
    with pytest.raises(InputError) as caught:
        find_columns(Table({"vz": [1.0], "zed": [1.0]}), ("z",))
    assert caught.value.command.endswith("give --column z=COLUMN")
    with pytest.raises(InputError, match=r"galactic coordinates must be turned into ra, dec"):
        find_columns(Table({"l": [1.0], "b": [1.0], "z": [1.0]}), ("ra", "dec", "z"))


def test_magnitudes_are_not_suggested(table):
    table["rmag"] = 12.0
    assert optional_numbers(table, "magnitude") is None


@pytest.mark.parametrize(
    ("quantity", "unit", "factor"),
    [
        (length, "Mpc/h", 1.0),
        (length, "cMpc/h", 1.0),
        (length, "ckpc h^-1", 1e-3),
        (length, "h-1 kpc", 1e-3),
        (length, "", 1.0),
        (speed, "m/s", 1e-3),
        (angle, "rad", 180 / np.pi),
        (angle, "Radians", 180 / np.pi),
        (angle, "degrees", 1.0),
        (angle, "hourangle", 15.0),
        (angle, "h", 15.0),
        (angle, "arcsec", 1 / 3600),
        (redshift, "redshift", 1.0),
        (redshift, "%", 0.01),
        (magnitude, "mag(AB)", 1.0),
        (magnitude, "mag", 1.0),
        (rank, "Msun", 1.0),
    ],
)
def test_units(quantity, unit, factor):
    assert quantity(unit, "c") == pytest.approx(factor)


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [(length, "kpc"), (length, "rad"), (length, "km/s"), (speed, "Mpc"), (angle, "km"), (redshift, "km/s")],
)
def test_units_of_something_else(quantity, unit):
    with pytest.raises(InputError, match=f"got unit '{unit}'"):
        quantity(unit, "c")
