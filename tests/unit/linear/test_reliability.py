import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.fields.calculus import displacement, displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, k_squared, to_real
from peculiar.fields.smooth import gaussian
from peculiar.linear import IterativeFFT
from peculiar.linear.clustering import painted_power
from peculiar.linear.overdensity import sampling
from peculiar.linear.reliability import (
    known_fraction,
    linear_error,
    local_error,
    long_wave_dispersion,
    mesh_dispersion,
    reach,
    unbiased,
    velocity_error,
    with_reliability,
)
from peculiar.linear.surroundings import even_share, noise_variance
from peculiar.simulate.initial import linear_field

COSMOLOGY = PRESETS["wang2024"]
REDSHIFT = 3.0
"""Of the mocks: there linear fields are weak enough for tracers to follow them."""


def survey(positions, cells, *, seen=slice(None), cell=10.0):
    """A cube of which the cells `seen` along each axis are observed."""
    box = Box(cells * cell, cells, periodic=False)
    completeness = torch.zeros(1, cells, cells, cells)
    completeness[:, seen, seen, seen] = 1
    return Catalogue(
        positions=positions,
        box=box,
        redshift=REDSHIFT,
        space="real",
        completeness=Field(completeness, box, ["completeness"], space="redshift"),
    )


def scattered(count, cells, *, seed=0):
    return np.random.default_rng(seed).uniform(20, 10 * cells - 20, (count, 3))


def test_a_complete_periodic_box_is_known_everywhere():
    catalogue = Catalogue(positions=scattered(100, 10), box=Box(100.0), redshift=0.0)
    fraction = known_fraction(catalogue, cells=6, cosmology=COSMOLOGY, bias=1.0)
    assert torch.equal(fraction, torch.ones(6, 6, 6))
    with pytest.raises(InputError, match="draws must be >= 1, got 0"):
        known_fraction(catalogue, cells=6, cosmology=COSMOLOGY, bias=1.0, draws=0)


def test_the_draws_agree_with_the_inverted_covariance():
    """The fraction is C_vd C_dd^-1 C_dv / C_vv, here by dense matrices."""
    catalogue = survey(scattered(400, 8), 8, seen=slice(1, 7))
    found = known_fraction(catalogue, cells=8, cosmology=COSMOLOGY, bias=1.5, draws=160, seed=1)
    grid = sampling(catalogue, 8)
    box, n = grid.fourier, grid.fourier.mesh
    painted = painted_power(box, cosmology=COSMOLOGY, redshift=REDSHIFT).double()
    k = [2 * np.pi * np.fft.fftfreq(n, 10.0)[index] for index in np.ogrid[:n, :n, : n // 2 + 1]]
    power = COSMOLOGY.linear_power(np.sqrt(k[0] ** 2 + k[1] ** 2 + k[2] ** 2), REDSHIFT) / 1000
    power = torch.from_numpy(power)
    covered = torch.nonzero(grid.covered)
    everywhere = torch.cartesian_prod(*[torch.arange(n)] * 3)

    def at(values, rows, columns):
        x, y, z = ((rows[:, None] - columns[None]) % n).unbind(dim=2)
        return values[x, y, z]

    noise = noise_variance(catalogue, grid, bias=1.5).double()
    inverse = torch.linalg.inv(at(to_real(painted + 0j, n), covered, covered) + noise[grid.covered].diag())
    known = sum(
        torch.einsum("xd,de,xe->x", cross, inverse, cross)
        for cross in (
            at(one, everywhere, covered)
            for one in displacement_from_fourier((painted * power).sqrt() + 0j, box)
        )
    )
    everything = to_real(power * k_squared(box, odd=True) * inverse_k_squared(box) ** 2 + 0j, n)[0, 0, 0]
    expected = gaussian(Field((known / everything).reshape(1, n, n, n), box, ["fraction"]), 10.0)
    expected = expected.data[0, :8, :8, :8]
    assert float(found.mean()) == pytest.approx(float(expected.mean()), abs=0.025)
    assert float((found - expected).square().mean().sqrt()) < 0.05


def test_less_is_known_at_the_edge_outside_and_from_few_tracers():
    catalogue = survey(scattered(8000, 20), 20, seen=slice(4, 16))
    options = {"cells": 40, "cosmology": COSMOLOGY, "bias": 1.0, "draws": 12}
    fraction = known_fraction(catalogue, **options)
    centre, face, outside = (float(fraction[row, 18:22, 18:22].mean()) for row in (20, 8, 0))
    assert 1 > centre > face + 0.05
    assert face > outside + 0.05
    assert outside > 0
    few = known_fraction(catalogue.replace(positions=catalogue.positions[::80]), **options)
    assert float(few.mean()) < 0.8 * float(fraction.mean())
    torch.testing.assert_close(known_fraction(catalogue, **options), fraction)  # seeded


def test_mocks_have_the_slope_and_the_errors_that_are_foretold():
    """Tracers of other linear fields; they fill the mesh's own Fourier box, so that there are no longer waves."""
    whole = Box(240.0, 24)
    shells = torch.zeros(16, 16, 16, dtype=torch.long)
    shells[3:13, 3:13, 3:13] = 1
    sums = torch.zeros(3, 2, dtype=torch.float64)
    for seed in range(20, 32):
        delta = linear_field(whole, COSMOLOGY, seed=seed, redshift=REDSHIFT)
        random = np.random.default_rng(seed)
        counts = random.poisson(20 * (1 + delta[:16, :16, :16]).clamp(min=0).numpy())
        rows = np.repeat(np.stack(np.nonzero(counts), axis=1), counts[counts > 0], axis=0)
        catalogue = survey((rows + random.random(rows.shape)) * 10, 16)
        assert reach(catalogue) == whole
        method = IterativeFFT(smoothing=0.0, bias=1.0, surroundings=True)
        estimate = method.reconstruct(catalogue, cells=16, cosmology=COSMOLOGY)["velocity"].data
        truth = COSMOLOGY.velocity_factor(REDSHIFT) * displacement(delta, whole)[:, :16, :16, :16]
        for index, values in enumerate((estimate * truth, truth**2, (estimate - truth) ** 2)):
            summed = values.mean(dim=0).double().flatten()
            sums[index] += torch.bincount(shells.flatten(), weights=summed, minlength=2) / 12
    number = torch.bincount(shells.flatten())
    fraction = known_fraction(catalogue, cells=16, cosmology=COSMOLOGY, bias=1.0)
    expected = torch.bincount(shells.flatten(), weights=fraction.flatten().double()) / number
    np.testing.assert_allclose(sums[0] / sums[1], expected, atol=0.1)
    error = velocity_error(fraction, catalogue, cosmology=COSMOLOGY)
    long = long_wave_dispersion(whole, cosmology=COSMOLOGY, redshift=REDSHIFT)
    foretold = torch.bincount(shells.flatten(), weights=(error**2 - long**2).flatten().double())
    np.testing.assert_allclose((sums[2] / number).sqrt(), (foretold / number).sqrt(), rtol=0.2)


def test_an_unbiased_velocity_has_the_amplitude_of_the_true_one_and_a_larger_error():
    catalogue = survey(scattered(100, 8), 8)
    box = reach(catalogue)
    sigma, long = (
        f(box, cosmology=COSMOLOGY, redshift=REDSHIFT) for f in (mesh_dispersion, long_wave_dispersion)
    )
    random = np.random.default_rng(0)
    fraction = torch.tensor([0.02, 0.3, 0.7, 1.0])[:, None, None].expand(4, 60, 60)
    truth = torch.from_numpy(sigma * random.normal(size=(3, 4, 60, 60)))
    noise = torch.from_numpy(sigma * random.normal(size=truth.shape)) * (fraction * (1 - fraction)).sqrt()
    mean = fraction * truth + noise  # a posterior mean
    raised = unbiased(mean, fraction)
    slope = (raised * truth).mean(dim=(0, 2, 3)) / (truth**2).mean(dim=(0, 2, 3))
    np.testing.assert_allclose(slope, [0.2, 1, 1, 1], atol=0.05)
    for velocity, amplitude in ((mean, "mean"), (raised, "unbiased")):
        error = velocity_error(fraction, catalogue, cosmology=COSMOLOGY, amplitude=amplitude)[:, 0, 0]
        scatter = ((velocity - truth) ** 2).mean(dim=(0, 2, 3)) + long**2
        np.testing.assert_allclose(error, scatter.sqrt(), rtol=0.03)


def test_the_waves_of_a_mesh_and_the_longer_ones_are_all_waves():
    """The box and the sphere of modes that it lacks change places, their sum does not."""
    total = [
        mesh_dispersion(Box(size, cells), cosmology=COSMOLOGY, redshift=0.0) ** 2
        + long_wave_dispersion(Box(size, cells), cosmology=COSMOLOGY, redshift=0.0) ** 2
        for size, cells in ((240.0, 24), (480.0, 48), (640.0, 64))
    ]
    np.testing.assert_allclose(total[1:], total[0], rtol=0.05)
    assert 250 < np.sqrt(total[0]) < 400  # km/s, one component


def test_noise_leaves_more_where_fewer_tracers_are_expected():
    catalogue = survey(scattered(4000, 40), 40)
    expected = torch.full((1, 40, 40, 40), 1.0)
    expected[:, 20:] = 0.1
    expected[:, :, 30:] = 0.0
    sparse = catalogue.replace(completeness=catalogue.completeness.replace(data=expected))
    found, level = local_error(sparse, sparse.completeness, box=sparse.box, cosmology=COSMOLOGY)
    dense, thin = (
        local_error(sparse, completeness, box=sparse.box, cosmology=COSMOLOGY)[1]
        for completeness in (None, sparse.completeness.replace(data=torch.full((1, 40, 40, 40), 0.1)))
    )
    assert dense == pytest.approx(linear_error(sparse, cells=40, cosmology=COSMOLOGY), rel=0.02)
    assert level**2 == pytest.approx((dense**2 + thin**2) / 2, rel=0.02)
    assert dense < float(found[12:16, 10:18, 14:26].mean()) < float(found[24:28, 10:18, 14:26].mean()) < thin
    assert float(found[24:28, 36:].mean()) < 0.6 * float(
        found[24:28, 10:18].mean()
    )  # what is unseen has no noise


def test_small_scales_are_slower_than_linear_theory():
    """sigma^2 = (a H f)^2 int P exp(-2 k / k_d) dk / (6 pi^2), with 1 / k_d of Bel et al. 2019."""
    box, cosmology = Box(600.0, 60), COSMOLOGY
    shares = {}
    for redshift in (0.0, 20.0):
        found = mesh_dispersion(box, cosmology=cosmology, redshift=redshift)
        # Of a sphere with the volume of the modes, about the one that is missing.
        sphere = (3 / (4 * np.pi)) ** (1 / 3)
        k = np.geomspace(sphere * box.k_fundamental, 2 * sphere * box.k_nyquist, 2000)
        power = cosmology.linear_power(k, redshift)
        slow = np.exp(-2 * k * max(1.496 * (cosmology.sigma8 * cosmology.growth(redshift)) ** 2 - 0.017, 0))
        factor = cosmology.velocity_factor(redshift) / np.sqrt(6 * np.pi**2)
        assert found == pytest.approx(factor * np.sqrt(np.trapezoid(power * slow, k)), rel=0.02)
        shares[redshift] = found / (factor * np.sqrt(np.trapezoid(power, k)))
    assert shares[0.0] < 0.95 < shares[20.0]
    catalogue = survey(scattered(1000, 40), 40).replace(redshift=0.0)
    (linear, level), (slow, slower) = (
        local_error(catalogue, catalogue.completeness, box=catalogue.box, cosmology=COSMOLOGY, slow=slow)
        for slow in (False, True)
    )
    assert (slow < linear).all()
    assert 0.5 * level < slower < 0.97 * level


def test_noise_leaves_less_of_long_waves_alone():
    catalogue = survey(scattered(1000, 40), 40)
    (every, whole), (long, level), (_, none) = (
        local_error(
            catalogue, catalogue.completeness, box=catalogue.box, cosmology=COSMOLOGY, smoothing=radius
        )
        for radius in (0.0, 10.0, 300.0)
    )
    assert (long < every).all()
    assert 0.3 * whole < level < 0.95 * whole
    assert none < 0.1 * whole


def test_the_noise_of_a_network_s_own_error_is_not_told_twice():
    catalogue = survey(scattered(3000, 30), 30, seen=slice(2, 22))
    box = catalogue.box

    def told(**fields):
        made = {"velocity": Field(torch.zeros(3, 30, 30, 30), box, ("x", "y", "z"), "km/s", kind="vector")}
        made |= {"completeness": catalogue.completeness, **fields}
        return with_reliability(made, catalogue, cosmology=COSMOLOGY)["velocity_error"].data[0]

    local = Field(torch.full((1, 30, 30, 30), 40.0), box, ("local_error",), "km/s")
    linear, together = told(), told(local_error=local)
    noise, _ = local_error(catalogue, catalogue.completeness, box=box, cosmology=COSMOLOGY, slow=True)
    noise *= COSMOLOGY.velocity_factor(REDSHIFT)
    twice = torch.hypot(linear, torch.tensor(40.0))
    assert float(noise[10, 10, 10]) > 20
    assert (together >= 40).all()
    assert (together <= twice).all()
    middle, unseen = (slice(6, 18),) * 3, (slice(28, 30),) * 3
    assert float(together[middle].mean()) < float(twice[middle].mean()) - 5
    np.testing.assert_allclose(together[unseen], twice[unseen], rtol=0.03)


def test_of_models_that_tell_no_error_the_noise_is_told_apart():
    catalogue = survey(scattered(3000, 30), 30, seen=slice(2, 22))
    box = catalogue.box
    still = Field(torch.zeros(3, 30, 30, 30), box, ("x", "y", "z"), "km/s", kind="vector")
    made = {"velocity": still, "momentum": still, "completeness": catalogue.completeness}
    told = with_reliability(made, catalogue, cosmology=COSMOLOGY)
    noise, _ = local_error(catalogue, catalogue.completeness, box=box, cosmology=COSMOLOGY, slow=True)
    whole, local = (told[name].data[0] for name in ("velocity_error", "local_error"))
    assert (local <= whole).all()
    torch.testing.assert_close(local, torch.minimum(noise * COSMOLOGY.velocity_factor(REDSHIFT), whole))
    again = with_reliability(told, catalogue, cosmology=COSMOLOGY)["velocity_error"].data[0]
    torch.testing.assert_close(again, whole)
    assert "local_error" not in with_reliability(made, catalogue, cosmology=COSMOLOGY, amplitude="unbiased")


def test_tracers_of_little_weight_are_many():
    places = np.concatenate(
        [scattered(6000, 30) * [0.5, 1, 1], scattered(600, 30) * [0.5, 1, 1] + [150, 0, 0]]
    )
    weights = np.concatenate([np.full(6000, 0.1), np.ones(600)])
    catalogue = survey(places, 30).replace(weights=weights)
    share = even_share(catalogue, cells=30)
    assert float(share[25:, 5:25, 5:25].mean()) == pytest.approx(0.55, rel=0.05)
    assert float(share[:5, 5:25, 5:25].mean()) == pytest.approx(5.5, rel=0.05)
    assert even_share(survey(places, 30), cells=30) == 1.0
