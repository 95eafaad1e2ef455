import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.fields.sight import (
    SkySight,
    distance_modulus,
    in_box,
    places,
    places_of,
    read_along,
    sight_lines,
    velocity_needed,
)

COSMOLOGY = PRESETS["xiao2024"]
C = 299792.458
BOX = Box(100.0, 20, origin=(0.0, -50.0, -50.0), periodic=False)
OBSERVER = (-20.0, 0.0, 0.0)


def constant(values, unit=""):
    data = torch.tensor(values)[:, None, None, None].expand(-1, 20, 20, 20)
    vector = len(values) == 3
    names = ("x", "y", "z") if vector else ("density",)
    return Field(data, BOX, names=names, unit=unit, kind="vector" if vector else "scalar")


def test_lines_have_the_radial_velocity_density_and_needed_velocity():
    sight = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0]])
    z = np.array([0.02, 0.015])
    lines = sight_lines(
        constant([100.0, -50.0, 20.0], "km/s"),
        constant([0.5]),
        observer=OBSERVER,
        directions=sight,
        redshift=z,
        cosmology=COSMOLOGY,
        reach=1000.0,
        step=100.0,
    )
    assert lines.distances.shape == (2, 21)
    np.testing.assert_allclose(lines.velocity, [[100.0] * 21, [50.0] * 21], rtol=1e-6)
    np.testing.assert_allclose(lines.density, 0.5, rtol=1e-6)
    np.testing.assert_allclose(lines.distances[:, 10], COSMOLOGY.comoving_distance(z))
    np.testing.assert_allclose(lines.needed[:, 10], 0, atol=0.1)
    np.testing.assert_allclose(lines.needed[:, 0], 1000, rtol=0.02)
    np.testing.assert_allclose(lines.log_prior(2.0), 2 * np.log(lines.distances) + 2 * np.log(1.5), rtol=1e-6)


def test_redshifts_multiply():
    distance = np.array([[200.0]])
    z = (1 + COSMOLOGY.redshift_at(distance[0])) * (1 + 600 / C) - 1
    assert velocity_needed(z, distance, cosmology=COSMOLOGY)[0, 0] == pytest.approx(600, abs=1e-3)


def test_objects_of_given_velocities_stand_where_their_redshifts_say():
    sight = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, -1.0]])
    cosmological, velocity = np.array([0.02, 0.3, 1.1]), np.array([310.0, -870.0, 2250.0])
    observed = (1 + cosmological) * (1 + velocity / C) - 1
    found = places_of(SkySight(OBSERVER, sight, observed, COSMOLOGY), velocity)
    expected = np.asarray(OBSERVER) + COSMOLOGY.comoving_distance(cosmological)[:, None] * sight
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_places_are_as_close_as_half_a_cell_and_none_counts_behind_the_observer():
    distances = places(np.array([0.002]), cosmology=COSMOLOGY, reach=1000.0, step=900.0, cell_size=4.0)
    assert np.diff(distances[0]).max() <= 2.01
    assert (distances < 0).any()
    field = constant([0.0, 0.0, 0.0], "km/s")
    lines = sight_lines(
        field,
        constant([0.0]),
        observer=(50.0, 0.0, 0.0),
        directions=np.eye(3)[:1],
        redshift=np.array([0.002]),
        cosmology=COSMOLOGY,
        reach=1000.0,
        step=100.0,
    )
    assert np.isneginf(lines.log_prior()[lines.distances < 0]).all()
    with pytest.raises(InputError, match=r"step must lie in \(0, reach"):
        places(np.array([0.1]), cosmology=COSMOLOGY, reach=100.0, step=200.0, cell_size=4.0)


def test_beyond_a_face_stands_the_value_of_the_face():
    data = torch.linspace(0, 19, 20)[None, :, None, None].expand(1, 20, 20, 20)
    values = read_along(
        Field(data, BOX, names=("x",)), OBSERVER, np.eye(3)[:1], np.array([[10.0, 22.5, 70.0, 300.0]])
    )
    np.testing.assert_allclose(values[0, :, 0], [0.0, 0.0, 9.5, 19.0], atol=1e-5)
    inside = in_box(
        Field(data, BOX, names=("x",)), OBSERVER, np.eye(3)[[0, 0, 1]], np.array([10.0, 70.0, 70.0])
    )
    assert inside.tolist() == [False, True, False]


def test_the_modulus_is_that_of_the_luminosity_distance():
    assert distance_modulus(np.array(100.0), np.array(0.0)) == 35
    assert distance_modulus(np.array(100.0), np.array(1.0)) == pytest.approx(35 + 5 * np.log10(2))
