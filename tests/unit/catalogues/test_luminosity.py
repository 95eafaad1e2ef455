import numpy as np
import pytest

from peculiar.catalogues.luminosity import (
    FluxLimit,
    Schechter,
    cumulative_luminosity_function,
    fit_schechter,
    missed_fraction,
    selection_from_luminosity,
)
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)
LIMIT = FluxLimit(faintest=16.5, absolute=(-23.0, -17.0), k_correction=1.0, evolution=0.5)
TRUTH = Schechter(-20.4, -1.05)


def drawn(shape, count, seed, *, reach=350.0, structure=0.6):
    """Galaxies of a flux-limited sample with strong shells of structure: magnitude, faint end, distance."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(*LIMIT.absolute, 20001)
    cumulative = shape.integral(LIMIT.absolute[0], grid)
    distance = reach * rng.uniform(size=count) ** (1 / 3)
    distance = distance[rng.uniform(size=count) < 1 - structure * (np.sin(distance / 15) > 0)]
    magnitude = np.interp(rng.uniform(size=len(distance)) * cumulative[-1], cumulative, grid)
    faint = LIMIT.faint_end(COSMOLOGY.redshift_at(distance), cosmology=COSMOLOGY)
    seen = magnitude <= faint
    return magnitude[seen], faint[seen], distance[seen]


def test_absolute_magnitudes_follow_their_definition():
    z = np.array([0.05])
    luminosity_distance = 1.05 * COSMOLOGY.comoving_distance(0.05)
    expected = 5 * np.log10(luminosity_distance * 1e6 / 10) + (1.0 - 0.5) * 0.05
    np.testing.assert_allclose(LIMIT.offset(z, cosmology=COSMOLOGY), expected, rtol=1e-12)
    near = LIMIT.faint_end(np.array([1e-4]), cosmology=COSMOLOGY)
    assert near[0] == LIMIT.absolute[1]


def test_integral_is_the_incomplete_gamma_function():
    from scipy.special import gamma, gammaincc

    shape = Schechter(-20.0, -0.5)
    bright, faint = 10 ** (0.4 * 4), 10 ** (-0.4 * 2)  # x at M = -24 and -18
    expected = gamma(0.5) * (gammaincc(0.5, faint) - gammaincc(0.5, bright))
    assert shape.integral(-24.0, np.array([-18.0]))[0] == pytest.approx(expected, rel=1e-4)
    expected = gamma(1.5) * (gammaincc(1.5, faint) - gammaincc(1.5, bright))
    assert shape.integral(-24.0, np.array([-18.0]), luminosity=True)[0] == pytest.approx(expected, rel=1e-4)
    assert shape.integral(-24.0, np.array([-25.0]))[0] == 0


def test_parameters_are_recovered_within_their_errors_whatever_the_structure():
    pulls = []
    for seed in range(8):
        magnitude, faint, _ = drawn(TRUTH, 60000, seed)
        found = fit_schechter(magnitude, faint, bright_end=LIMIT.absolute[0])
        assert found.errors[0] < 0.1
        assert found.errors[1] < 0.1
        pulls.append(
            [(found.M_star - TRUTH.M_star) / found.errors[0], (found.alpha - TRUTH.alpha) / found.errors[1]]
        )
    pulls = np.array(pulls)
    assert np.abs(pulls).max() < 3.5
    assert 0.4 < pulls.std() < 1.8
    assert np.abs(pulls.mean(axis=0)).max() < 1.2


def test_the_estimate_without_a_model_agrees_and_tells_a_wrong_one():
    magnitude, faint, _ = drawn(TRUTH, 60000, 3)
    ordered, logarithm, error = cumulative_luminosity_function(magnitude, faint)
    at = np.searchsorted(ordered, [-21.5, -20.5, -19.0])
    model = TRUTH.integral(LIMIT.absolute[0], ordered[[*at, -1]])
    pull = (logarithm[at] - np.log(model[:-1] / model[-1])) / error[at]
    assert np.abs(pull).max() < 3.5
    assert (error[at] < 0.15).all()


def test_what_n_of_r_misses_is_measured():
    """A sum of two Schechter functions: one of them fits n(r) though it does not fit the bright end."""
    parts = [(0.7, Schechter(-19.0, -1.3)), (0.3, Schechter(-21.0, 0.5))]
    drawn_parts = [drawn(shape, int(200000 * share), seed) for seed, (share, shape) in enumerate(parts)]
    magnitude, faint, _ = (np.concatenate(values) for values in zip(*drawn_parts, strict=True))
    fitted = fit_schechter(magnitude, faint, bright_end=LIMIT.absolute[0])
    r = np.linspace(5.0, 350.0, 513)
    ends = LIMIT.faint_end(COSMOLOGY.redshift_at(r), cosmology=COSMOLOGY)
    model = fitted.integral(-23.0, ends) * r**2
    truth = sum(
        share * shape.integral(-23.0, ends) / shape.integral(-23.0, np.array([-17.0]))[0]
        for share, shape in parts
    )
    truth = truth * r**2
    expected = np.abs(model / model.sum() - truth / truth.sum()).sum() / 2
    options = {"cosmology": COSMOLOGY, "distance_range": (5.0, 350.0)}
    assert missed_fraction(fitted, LIMIT, magnitude, faint, **options) == pytest.approx(expected, abs=0.006)
    assert 0.04 < expected < 0.06
    magnitude, faint, _ = drawn(TRUTH, 60000, 3)
    assert missed_fraction(TRUTH, LIMIT, magnitude, faint, **options) < 0.015
    assert missed_fraction(Schechter(-20.0, -1.05), LIMIT, magnitude, faint, **options) > 0.08


def test_selection_counts_what_is_there():
    shape, reach = TRUTH, 350.0
    magnitude, faint, distance = drawn(shape, 400000, 4, structure=0.0)
    density = 400000 / (4 * np.pi / 3 * reach**3)
    selection = selection_from_luminosity(
        fit_schechter(magnitude, faint, bright_end=-23.0),
        LIMIT,
        cosmology=COSMOLOGY,
        distance_range=(5.0, reach),
        solid_angle=4 * np.pi,
        total=float((distance > 5).sum()),
    )
    assert selection.peak == pytest.approx(density, rel=0.03)
    edges = np.array([20.0, 60, 120, 200, 280, 340])
    counts, _ = np.histogram(distance, edges)
    fine = np.linspace(edges[:-1], edges[1:], 200)
    expected = 4 * np.pi * np.trapezoid(selection.at(fine) * fine**2, fine, axis=0)
    assert (np.abs(counts / expected - 1) < 4 / np.sqrt(counts) + 0.02).all()
    assert counts[-1] / counts.max() < 0.8  # a flux limit, indeed


def test_samples_that_tell_nothing():
    with pytest.raises(InputError, match="at least 50 galaxies with magnitudes within the limits, got 3"):
        fit_schechter(np.full(3, -20.0), np.full(3, -19.0), bright_end=-23.0)
    with pytest.raises(InputError, match="must lie within the limits, got 100 beyond"):
        fit_schechter(np.full(100, -18.0), np.full(100, -19.0), bright_end=-23.0)
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="must tell M_star and alpha"):
        fit_schechter(-23 + rng.uniform(0, 3, 500), np.full(500, -20.0), bright_end=-23.0)
    with pytest.raises(InputError, match="must reach 300 Mpc/h"):
        selection_from_luminosity(
            TRUTH,
            FluxLimit(10.0),
            cosmology=COSMOLOGY,
            distance_range=(300.0, 400.0),
            solid_angle=1.0,
            total=10.0,
        )
    with pytest.raises(InputError, match="in this order"):
        FluxLimit(16.0, absolute=(-17.0, -23.0))
