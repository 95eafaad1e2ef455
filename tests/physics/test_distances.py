"""Distances drawn from Gaussian fields: the fitted parameters scatter about the truth as much as their errors say."""

import numpy as np
import pytest

from peculiar.catalogues.frames import SUN_IN_CMB, convert_redshift, galactic_directions
from peculiar.core import PRESETS, Box, Field
from peculiar.fields.calculus import displacement
from peculiar.fields.sight import sight_lines
from peculiar.fields.smooth import gaussian
from peculiar.simulate.distances import DistanceMockSettings, mock_distances
from peculiar.simulate.initial import linear_field
from peculiar.statistics.distances import DistanceSample
from peculiar.statistics.velocity_fit import REACH, fit_velocities

COSMOLOGY = PRESETS["xiao2024"]
SIZE, CELLS = 200.0, 32  # Mpc/h
TRUTH = {"beta": 0.85, "external": (120.0, -60.0, 90.0), "sigma_v": 200.0, "zero_point": 0.35}
VALUES = np.array([0.85, 120.0, -60.0, 90.0, 200.0, 0.35])
CENTRE, OUTSIDE = (100.0, 100.0, 100.0), (100.0, 100.0, -15.0)


def linear_flow(seed):
    box = Box(SIZE, CELLS)
    density = linear_field(box, COSMOLOGY, seed=seed, redshift=0.0)[None]
    density = gaussian(Field(density, box, names=("density",)), 7.0)
    data = COSMOLOGY.velocity_factor(0.0) * displacement(density.data[0], box)
    return Field(data, box, names=("x", "y", "z"), unit="km/s", kind="vector"), density


def draw(seed, *, count=500, observer=CENTRE, **changes):
    settings = DistanceMockSettings(
        **{"count": count, "observer": observer, "modulus_error": (0.1, 0.4), **TRUTH, **changes}
    )
    velocity, density = linear_flow(seed)
    return (
        velocity,
        density,
        settings,
        mock_distances(velocity, density, settings, cosmology=COSMOLOGY, seed=seed),
    )


def fit(velocity, density, settings, mock, **options):
    sample = DistanceSample(mock.directions, mock.redshift, mock.modulus, mock.modulus_error)
    sight = sight_lines(
        velocity,
        density,
        observer=settings.observer,
        directions=mock.directions,
        redshift=mock.redshift,
        cosmology=COSMOLOGY,
        reach=REACH,
        step=50.0,
    )
    return fit_velocities(sample, sight, **options)


def test_parameters_of_20_mocks_scatter_about_the_truth_as_their_errors_say():
    pulls = []
    for seed in range(20):
        found = fit(*draw(seed, observer=CENTRE if seed % 2 else OUTSIDE), bootstraps=0)
        pulls.append((found.values - VALUES) / found.errors)
    mean, scatter = np.nanmean(pulls, axis=0), np.nanstd(pulls, axis=0, ddof=1)
    # The mean of 20 pulls has an error of 0.22, their scatter one of 0.16.
    assert (np.abs(mean) < 0.66).all(), mean
    assert (scatter > 0.55).all(), scatter
    assert (scatter < 1.45).all(), scatter
    within = np.abs(np.array(pulls)[:, 0])
    assert (within < 1).sum() >= 9
    assert within.max() < 3.2


def test_bootstrap_errors_are_those_of_the_likelihood():
    mock = draw(3)
    curvature, bootstrap = fit(*mock, bootstraps=0), fit(*mock, bootstraps=60)
    np.testing.assert_allclose(bootstrap.values, curvature.values)
    np.testing.assert_allclose(bootstrap.errors, curvature.errors, rtol=0.35)


def test_redshifts_in_the_wrong_frame_show_the_motion_of_the_sun_as_a_dipole():
    velocity, density, settings, mock = draw(
        5, count=1500, external=(0.0, 0.0, 0.0), modulus_error=(0.05, 0.1)
    )
    right = fit(velocity, density, settings, mock, bootstraps=0)
    assert right.external @ np.linalg.solve(right.covariance[1:4, 1:4], right.external) < 14  # 0.3 % of none
    wrong = convert_redshift(mock.redshift, mock.directions, source="cmb", target="heliocentric")
    object.__setattr__(mock, "redshift", wrong)
    found = fit(velocity, density, settings, mock, bootstraps=0)
    sun = galactic_directions(np.array([SUN_IN_CMB[1]]), np.array([SUN_IN_CMB[2]]))[0]
    # Heliocentric redshifts are too low towards the Sun's apex: the whole sky seems to come from there.
    np.testing.assert_allclose(found.external - right.external, -SUN_IN_CMB[0] * sun, atol=40)


def test_a_velocity_field_turned_around_gives_minus_beta():
    velocity, density, settings, mock = draw(7, count=1000, modulus_error=(0.05, 0.1))
    found = fit(velocity.replace(data=-velocity.data), density, settings, mock, bootstraps=0)
    assert found.beta == pytest.approx(-TRUTH["beta"], abs=4 * found.errors[0])
