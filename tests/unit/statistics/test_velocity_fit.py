from dataclasses import replace

import numpy as np
import pytest

from peculiar.core import PRESETS, InputError
from peculiar.fields.sight import SightLines, distance_modulus
from peculiar.statistics.distances import DistanceSample
from peculiar.statistics.velocity_fit import fit_velocities, radial_velocities

COSMOLOGY = PRESETS["xiao2024"]
C = 299792.458


def mock(count=400, *, seed=0, error=0.1, sigma_v=150.0, beta=1.0):
    """Objects at 50 Mpc/h on average, each in a flow of its own that is even along its line of sight."""
    rng = np.random.default_rng(seed)
    sight = rng.standard_normal((count, 3))
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    true, flow = rng.uniform(30, 70, count), 400 * rng.standard_normal(count)
    radial = beta * flow + sigma_v * rng.standard_normal(count)
    z = (1 + COSMOLOGY.redshift_at(true)) * (1 + radial / C) - 1
    modulus = distance_modulus(true, z) + error * rng.standard_normal(count)
    distances = true[:, None] + np.linspace(-25, 25, 101)
    needed = C * ((1 + z)[:, None] / (1 + COSMOLOGY.redshift_at(distances)) - 1)
    lines = SightLines(distances, np.repeat(flow[:, None], 101, axis=1), np.zeros_like(distances), needed)
    return DistanceSample(sight, z, modulus, np.full(count, error)), lines


def flat(lines):
    """The mock's p(r) is even in distance."""
    return np.zeros_like(lines.distances)


def test_the_minimum_has_no_slope_and_a_shift_of_moduli_moves_the_zero_point_alone():
    sample, lines = mock(error=0.05)
    first = fit_velocities(sample, lines, log_prior=flat(lines), bootstraps=0)
    moved = DistanceSample(sample.directions, sample.redshift, sample.modulus + 0.7, sample.modulus_error)
    second = fit_velocities(moved, lines, log_prior=flat(lines), bootstraps=0)
    shift = np.abs(second.values - first.values - [0, 0, 0, 0, 0, 0.7])
    assert (shift < [1e-3, 1, 1, 1, 1, 1e-4]).all(), shift
    assert first.beta == pytest.approx(1, abs=3 * first.errors[0])
    assert first.sigma_v == pytest.approx(150, abs=3 * first.errors[4])
    assert first.zero_point == pytest.approx(0, abs=3 * first.errors[5])


@pytest.mark.parametrize("draws", [1, 3])
def test_the_gradient_is_that_of_the_likelihood(draws):
    from scipy.optimize import check_grad

    from peculiar.statistics.velocity_fit import _Likelihood

    sample, lines = mock(60)
    some = [replace(lines, velocity=lines.velocity + 80 * number) for number in range(draws)]
    likelihood, weights = _Likelihood(sample, [(one, one.log_prior()) for one in some]), np.ones(60)
    at = np.array([0.7, 0.5, -1.0, 0.3, np.log(180.0), 0.2])
    slope = np.abs(likelihood(at, weights)[1]).max()
    assert (
        check_grad(lambda x: likelihood(x, weights)[0], lambda x: likelihood(x, weights)[1], at)
        < 1e-4 * slope
    )


def test_a_draw_counts_by_how_likely_it_makes_the_redshift():
    from peculiar.statistics.velocity_fit import _Likelihood

    sample, lines = mock(60)
    other = replace(lines, velocity=lines.velocity + 500)
    at = np.array([1.0, 0.0, 0.0, 0.0, np.log(150.0), 0.0])
    alone, _ = _Likelihood(sample, [(lines, flat(lines))]).terms(at)
    both, _ = _Likelihood(sample, [(lines, flat(lines)), (other, flat(other) - 30)]).terms(at)
    np.testing.assert_allclose(both, alone, atol=1e-6)


def test_a_scatter_that_cannot_be_found_is_said_to_be_at_the_limit_and_can_be_given():
    sample, lines = mock(200, error=0.02, sigma_v=5.0)
    found = fit_velocities(sample, lines, log_prior=flat(lines), bootstraps=2)
    assert found.sigma_at_limit
    assert found.sigma_v == pytest.approx(50)
    assert np.isnan(found.errors[4])
    held = fit_velocities(sample, lines, log_prior=flat(lines), sigma_v=120.0, bootstraps=0)
    assert held.sigma_v == pytest.approx(120)
    assert not held.sigma_at_limit


def test_predictions_follow_the_field_and_know_no_distance():
    sample, lines = mock(300, error=0.05)
    fit = fit_velocities(sample, lines, log_prior=flat(lines), bootstraps=0)
    velocities = radial_velocities(sample, lines, fit, cosmology=COSMOLOGY, log_prior=flat(lines))
    expected = fit.beta * lines.velocity[:, 0] + velocities.external
    np.testing.assert_allclose(velocities.predicted, expected, atol=5)
    far = DistanceSample(sample.directions, sample.redshift, sample.modulus + 0.3, sample.modulus_error)
    again = radial_velocities(far, lines, fit, cosmology=COSMOLOGY, log_prior=flat(lines))
    np.testing.assert_array_equal(again.predicted, velocities.predicted)
    assert (again.measured < velocities.measured).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_v": 10.0}, r"sigma_v must lie in \[50, 1000\]"),
        ({"bootstraps": 1}, "bootstraps must be 0 or at least 2"),
    ],
)
def test_bad_options_are_refused(options, message):
    sample, lines = mock(30)
    with pytest.raises(InputError, match=message):
        fit_velocities(sample, lines, **options)
    with pytest.raises(InputError, match="at least 20 objects"):
        fit_velocities(*mock(10))


def test_a_field_that_no_distance_tells_of_is_refused():
    sample, lines = mock(100)
    huge = SightLines(lines.distances, 1e30 * lines.velocity, lines.density, lines.needed)
    with pytest.raises(InputError, match="must have a maximum|must tell of the flow"):
        fit_velocities(sample, huge, log_prior=flat(lines), bootstraps=0)


def test_the_evidence_is_the_mean_likelihood_over_the_priors():
    from peculiar.statistics.velocity_fit import _SCALES, PRIOR_WIDTHS, _Likelihood

    sample, lines = mock(150, error=0.05)
    fit = fit_velocities(sample, lines, log_prior=flat(lines), bootstraps=0)
    likelihood, weights = _Likelihood(sample, [(lines, flat(lines))]), np.ones(150)
    # Importance sampling from a Gaussian somewhat wider than the likelihood, in the priors' variables.
    unit = np.array([1, 1, 1, 1, fit.sigma_v, 1])
    centre = fit.values / np.array([1, 1, 1, 1, fit.sigma_v, 1])
    centre[4] = np.log(fit.sigma_v)
    covariance = 1.5 * fit.covariance / np.outer(unit, unit)
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal(centre, covariance, size=1500)
    chi2 = np.einsum("di,ij,dj->d", draws - centre, np.linalg.inv(covariance), draws - centre)
    log_density = -chi2 / 2 - np.linalg.slogdet(2 * np.pi * covariance)[1] / 2
    found = np.array([-likelihood(draw / _SCALES, weights)[0] for draw in draws]) - log_density
    expected = np.log(np.mean(np.exp(found - found.max()))) + found.max() - np.log(PRIOR_WIDTHS).sum()
    assert fit.log_evidence == pytest.approx(expected, abs=0.2)


def test_no_external_velocity_is_held_at_0_and_costs_likelihood_where_there_is_one():
    sample, lines = mock(400, error=0.05)
    still = fit_velocities(sample, lines, log_prior=flat(lines), external=False, bootstraps=0)
    assert (still.external == 0).all()
    assert np.isnan(still.errors[1:4]).all()
    assert np.isfinite(still.errors[[0, 4, 5]]).all()
    free = fit_velocities(sample, lines, log_prior=flat(lines), bootstraps=0)
    gain = free.log_likelihood - still.log_likelihood
    assert 0 <= gain < 8  # half a chi2 of 3 degrees of freedom
    assert still.log_evidence > free.log_evidence  # a dipole that is not there costs its prior


def test_blocks_that_share_an_error_widen_the_errors():
    sample, lines = mock(600, error=0.05)
    blocks = np.repeat(np.arange(60), 10)
    shared = 0.15 * np.random.default_rng(3).standard_normal(60)[blocks]
    off = DistanceSample(
        sample.directions, sample.redshift, sample.modulus + shared, np.hypot(sample.modulus_error, 0.15)
    )
    alone = fit_velocities(off, lines, log_prior=flat(lines), bootstraps=60)
    together = fit_velocities(off, lines, log_prior=flat(lines), blocks=blocks, bootstraps=60)
    np.testing.assert_array_equal(alone.values, together.values)
    assert together.errors[5] > 2 * alone.errors[5]


def test_errors_of_a_field_that_neighbours_share_are_in_the_errors_of_parameters_by_its_draws():
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(30), 8)
    mean = 300 * rng.standard_normal(30)

    def error():
        return 200 * rng.standard_normal(30)

    found, curved, drawn = [], [], []
    for seed in range(8):
        sample, lines = mock(240, seed=seed, error=0.02, sigma_v=100.0)
        missing = (mean + error())[group] - lines.velocity[:, 0]
        needed = lines.needed + missing[:, None]  # the redshifts of other flows at the same places
        z = (1 + sample.redshift) * (1 + missing / C) - 1
        sample = replace(sample, redshift=z)

        def seen(flow, lines=lines, needed=needed):
            return replace(lines, velocity=np.repeat(flow[group][:, None], 101, axis=1), needed=needed)

        draws = [(seen(mean + error()), flat(lines)) for _ in range(10)]
        fit = fit_velocities(sample, seen(mean), drawn=draws, external=False, bootstraps=20 * (seed < 2))
        found.append(fit.beta)
        curved.append(np.sqrt(fit.covariance[0, 0]))
        if seed < 2:
            drawn.append(fit.errors[0])
    scatter = np.std(found, ddof=1)
    assert np.mean(drawn) > 1.3 * np.mean(curved), (found, scatter, curved, drawn)
    assert 0.5 < np.mean(drawn) / scatter < 2
