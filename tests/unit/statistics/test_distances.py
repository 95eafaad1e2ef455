import numpy as np
import pytest

from peculiar.core import PRESETS, InputError
from peculiar.fields.sight import distance_modulus
from peculiar.statistics.distances import (
    DistanceSample,
    RadialVelocities,
    log_distance_velocities,
    shell_correlation,
    weighted_correlation,
)

COSMOLOGY = PRESETS["xiao2024"]
C = 299792.458


def sample(redshift, modulus, error=0.2):
    redshift = np.asarray(redshift)
    sight = np.tile([1.0, 0.0, 0.0], (len(redshift), 1))
    return DistanceSample(sight, redshift, modulus, np.full(len(redshift), error))


def test_log_distances_give_the_velocity_of_nearby_objects():
    true = np.array([60.0, 80.0, 100.0])
    speed = np.array([500.0, -300.0, 0.0])
    z = (1 + COSMOLOGY.redshift_at(true)) * (1 + speed / C) - 1
    velocity, error = log_distance_velocities(
        sample(z, distance_modulus(true, z) + 0.4), cosmology=COSMOLOGY, zero_point=0.4
    )
    # The estimator is for v much below c z: its next term is v^2 / (2 H r).
    np.testing.assert_allclose(velocity, speed + speed**2 / (200 * true), atol=3)
    # 0.2 mag is 9.2 % of the distance.
    np.testing.assert_allclose(error, 0.0921 * C * z, rtol=0.03)


def test_log_distances_have_no_bias_where_plain_differences_have():
    rng = np.random.default_rng(2)
    true = np.full(20000, 100.0)
    z = COSMOLOGY.redshift_at(true)
    modulus = distance_modulus(true, z) + 0.4 * rng.standard_normal(len(z))
    velocity, error = log_distance_velocities(sample(z, modulus, 0.4), cosmology=COSMOLOGY)
    assert abs(velocity.mean()) < 3 * error[0] / np.sqrt(len(z))
    assert velocity.std() == pytest.approx(error[0], rel=0.03)
    plain = 100 * (true - 10 ** ((modulus - 25) / 5) / (1 + z))
    assert plain.mean() < -10 * error[0] / np.sqrt(len(z))


def test_correlation_without_weights_is_pearsons():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 50))
    assert weighted_correlation(x, y, np.ones(50)) == pytest.approx(np.corrcoef(x, y)[0, 1])
    doubled = weighted_correlation(x, y, np.where(np.arange(50) < 10, 2.0, 1.0))
    assert doubled == pytest.approx(np.corrcoef(np.r_[x, x[:10]], np.r_[y, y[:10]])[0, 1])


def test_shells_correlate_as_expected_and_empty_ones_say_so():
    rng = np.random.default_rng(5)
    n = 6000
    cz = rng.uniform(1000, 9000, n)
    predicted = 300 * rng.standard_normal(n)
    error = 0.1 * cz
    measured = predicted + np.hypot(error, 200) * rng.standard_normal(n)
    velocities = RadialVelocities(measured, error, predicted, np.zeros(n))
    shells = shell_correlation(
        velocities, cz, edges=np.array([1000.0, 4000.0, 9000.0, 12000.0]), sigma_v=200.0
    )
    assert shells.counts[:2].sum() == n
    np.testing.assert_array_less(np.abs(shells.correlation - shells.expected)[:2], 3 * shells.error[:2])
    np.testing.assert_allclose(
        shells.error[:2], (1 - shells.correlation[:2] ** 2) / np.sqrt(shells.counts[:2]), rtol=0.4
    )
    assert shells.counts[2] == 0
    assert np.isnan(shells.correlation[2])
    with pytest.raises(InputError, match="increasing limits"):
        shell_correlation(velocities, cz, edges=np.array([3000.0, 1000.0]), sigma_v=200.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modulus_error": -0.1}, "modulus_error must be > 0"),
        ({"redshift": 0.0}, "redshift must be > 0"),
        ({"modulus": np.inf}, "modulus must be finite"),
    ],
)
def test_bad_samples_are_refused(changes, message):
    values = {"redshift": 0.02, "modulus": 34.0, "modulus_error": 0.1} | changes
    with pytest.raises(InputError, match=message):
        DistanceSample(np.eye(3), **{key: np.full(3, value) for key, value in values.items()})
