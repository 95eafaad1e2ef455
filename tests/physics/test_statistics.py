"""Estimators of two-point clustering against fields whose answer is known on paper."""

import math

import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue, Field
from peculiar.fields.fourier import k_squared, to_fourier, to_real, wavevectors
from peculiar.fields.paint import paint
from peculiar.statistics.modes import catalogue_modes, modes_of
from peculiar.statistics.multipoles import (
    correlation_multipoles,
    correlation_plane,
    power_multipoles,
    power_wedges,
)
from peculiar.statistics.power import compare_power, helmholtz_power, power_spectrum

BOX = Box(200.0, 32)


def scalar(data, box=BOX):
    return Field(data.reshape(1, *data.shape[-3:]).float(), box, ("delta",))


def spectrum(k):
    return 2e4 * (k / 0.1) / (1 + (k / 0.08) ** 2.4)


def fixed_amplitude_modes(box, seed=1):
    """Modes of random phase with |delta_k|^2 V = P(k) in every mode: a Gaussian field without sample variance."""
    noise = to_fourier(
        torch.randn(box.mesh, box.mesh, box.mesh, generator=torch.Generator().manual_seed(seed))
    )
    phase = noise / noise.abs()
    k = k_squared(box).sqrt()
    modes = phase * torch.sqrt(spectrum(k) / box.volume)
    modes[0, 0, 0] = 0
    return modes * box.mesh**3


def test_plane_wave_power():
    x = torch.as_tensor(BOX.coordinates()).reshape(-1, 1, 1)
    z = torch.as_tensor(BOX.coordinates()).reshape(1, 1, -1)
    wave = 0.3 * torch.cos(BOX.k_fundamental * (3 * x + 4 * z) + 0.7).expand(32, 32, 32)
    result = power_spectrum(scalar(wave))
    # Two modes, k and -k, of amplitude 0.15 each, at |k| = 5 fundamental ones.
    expected = np.zeros(len(result.k))
    expected[4] = 2 * 0.15**2 * BOX.volume / result.modes[4]
    np.testing.assert_allclose(result.power, expected, atol=1e-6 * expected[4])


def test_modes_fill_the_mesh_and_are_at_their_mean():
    result = power_spectrum(scalar(torch.randn(32, 32, 32)), edges=[0, math.sqrt(3) * BOX.k_nyquist])
    corner = 1  # the corner mode lies on the last edge, which is open
    assert result.modes[0] == 32**3 - 1 - corner
    grid = np.sqrt(sum(np.meshgrid(*[np.fft.fftfreq(32, 1 / 32) ** 2] * 3, indexing="ij")))
    lengths = np.sort(grid.ravel())[1:-1]
    assert result.k[0] == pytest.approx(lengths.mean() * BOX.k_fundamental, rel=1e-9)


def test_power_of_a_field_of_known_power():
    field = scalar(to_real(fixed_amplitude_modes(BOX), 32))
    result = power_spectrum(field)
    grid = (
        np.sqrt(sum(np.meshgrid(*[np.fft.fftfreq(32, 1 / 32) ** 2] * 3, indexing="ij"))) * BOX.k_fundamental
    )
    index = np.digitize(grid, result.edges) - 1
    expected = [spectrum(grid[index == i]).mean() for i in range(len(result.k))]
    np.testing.assert_allclose(result.power, expected, rtol=1e-4)


def test_gaussian_field_scatters_as_its_modes_say():
    noise = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(5))
    result = power_spectrum(scalar(noise))
    deviation = (result.power / BOX.cell_size**3 - 1) * np.sqrt(result.modes / 2)
    assert 0.4 < (deviation**2).mean() < 2.0
    assert abs(deviation).max() < 4


def test_comparison_of_a_scaled_and_noisy_field():
    modes, other = fixed_amplitude_modes(BOX, 1), fixed_amplitude_modes(BOX, 2)
    truth = scalar(to_real(modes, 32))
    scaled = compare_power(truth.replace(data=0.5 * truth.data), truth)
    np.testing.assert_allclose(scaled.transfer, 0.5, rtol=1e-5)
    np.testing.assert_allclose(scaled.power_ratio, 0.25, rtol=1e-5)
    np.testing.assert_allclose(scaled.relative_deviation, -0.75, rtol=1e-5)
    np.testing.assert_allclose(scaled.correlation_coefficient, 1, rtol=1e-5)
    np.testing.assert_allclose(scaled.stochastic_power / scaled.truth.power, 0, atol=1e-4)
    # r = 1/sqrt(1 + e^2) for independent noise of e^2 times the power.
    noisy = compare_power(scalar(to_real(modes + 0.75 * other, 32)), truth)
    weight = noisy.truth.modes
    r = noisy.correlation_coefficient[4:]
    assert np.average(r, weights=weight[4:]) == pytest.approx(0.8, abs=0.02)


def test_vector_powers_of_potential_and_rotational_flows():
    n, box = 32, BOX
    x, y = (torch.as_tensor(box.coordinates()).reshape(shape) for shape in ((-1, 1, 1), (1, -1, 1)))
    k = 3 * box.k_fundamental
    zero = torch.zeros(n, n, n, dtype=torch.float64)
    potential = torch.stack([torch.sin(k * x).expand(n, n, n), zero, zero])
    shear = torch.stack([torch.sin(k * y).expand(n, n, n), zero, zero])
    for data, along in ((potential, True), (shear, False)):
        result = helmholtz_power(Field(data.float(), box, "xyz", unit="km/s", kind="vector"))
        total = 0.5 * box.volume / result.total.modes[2]
        part, none = (result.potential, result.rotational) if along else (result.rotational, result.potential)
        derived = result.divergence if along else result.vorticity
        assert result.total.power[2] == pytest.approx(total, rel=1e-5)
        assert part.power[2] == pytest.approx(total, rel=1e-5)
        assert derived.power[2] == pytest.approx(k**2 * total, rel=1e-5)
        assert abs(none.power).max() < 1e-6 * total
    assert result.divergence.unit == "(km/s)^2 (Mpc/h)^3 (h/Mpc)^2"


@pytest.mark.parametrize("line_of_sight", ["x", "y", "z", (1.0, 2.0, -2.0)])
def test_kaiser_multipoles(line_of_sight):
    beta, box = 0.6, BOX
    unit = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}.get(line_of_sight, (1 / 3, 2 / 3, -2 / 3))
    k = wavevectors(box)
    mu2 = sum(c * u for c, u in zip(k, unit, strict=True)) ** 2 / k_squared(box).clamp(min=1e-12)
    data = to_real(fixed_amplitude_modes(box) * (1 + beta * mu2), 32)
    edges = box.k_fundamental * np.array([6.5, 13.5])  # wide: the directions of few modes mix the orders
    result = power_multipoles(scalar(data), line_of_sight=line_of_sight, edges=edges)
    real = power_spectrum(scalar(to_real(fixed_amplitude_modes(box), 32)), edges=edges).power
    np.testing.assert_allclose(result.power[0] / real, 1 + 2 * beta / 3 + beta**2 / 5, rtol=0.01)
    np.testing.assert_allclose(result.power[1] / real, 4 * beta / 3 + 4 * beta**2 / 7, atol=0.02)
    np.testing.assert_allclose(result.power[2] / real, 8 * beta**2 / 35, atol=0.03)


def test_kaiser_wedges():
    beta, box = 0.6, BOX
    mu2 = wavevectors(box)[2] ** 2 / k_squared(box).clamp(min=1e-12)
    data = to_real(fixed_amplitude_modes(box) * (1 + beta * mu2), 32)
    edges = box.k_fundamental * np.array([4.5, 8.5, 12.5])
    result = power_wedges(scalar(data), edges=edges)
    real = power_spectrum(scalar(to_real(fixed_amplitude_modes(box), 32)), edges=edges).power
    np.testing.assert_allclose(result.power / real[:, None], (1 + beta * result.mu**2) ** 2, rtol=0.04)
    assert result.modes.sum() == power_spectrum(scalar(data), edges=edges).modes.sum()


def test_correlation_of_a_plane_wave():
    z = torch.as_tensor(BOX.coordinates()).reshape(1, 1, -1)
    k = 2 * BOX.k_fundamental
    field = scalar(torch.cos(k * z).expand(32, 32, 32))
    edges = np.arange(10, 95, 12.0)
    result = correlation_multipoles(field, edges=edges)
    # xi(r) = cos(k r_z) / 2, whose multipoles are (2l + 1) (-1)^(l/2) j_l(k r) / 2; here over the mesh's separations.
    d = np.fft.fftfreq(32, 1 / 32) * BOX.cell_size
    dx, dy, dz = np.meshgrid(d, d, d, indexing="ij")
    r = np.sqrt(dx**2 + dy**2 + dz**2)
    mu = dz / np.maximum(r, 1e-9)
    xi = 0.5 * np.cos(k * dz)
    for row, legendre in zip(
        result.correlation,
        (np.ones_like(mu), 1.5 * mu**2 - 0.5, (35 * mu**4 - 30 * mu**2 + 3) / 8),
        strict=True,
    ):
        order = {1.0: 0, -0.5: 2, 0.375: 4}[float(legendre[1, 0, 0])]
        for i in range(len(edges) - 1):
            inside = (r >= edges[i] - 1e-6) & (r < edges[i + 1] - 1e-6)
            expected = (2 * order + 1) * (xi * legendre)[inside].mean()
            assert row[i] == pytest.approx(expected, abs=2e-6)
    from scipy.special import spherical_jn

    np.testing.assert_allclose(result.correlation[0], 0.5 * spherical_jn(0, k * result.r), atol=0.02)
    np.testing.assert_allclose(result.correlation[1], -2.5 * spherical_jn(2, k * result.r), atol=0.1)


def test_correlation_plane_of_a_plane_wave():
    x = torch.as_tensor(BOX.coordinates()).reshape(-1, 1, 1)
    k = 2 * BOX.k_fundamental
    field = scalar(torch.cos(k * x).expand(32, 32, 32))
    step = np.arange(9) * BOX.cell_size
    result = correlation_plane(field, across_edges=step, along_edges=step, line_of_sight="x")
    np.testing.assert_allclose(result.correlation, np.tile(0.5 * np.cos(k * step[:-1]), (8, 1)), atol=1e-6)
    across = correlation_plane(field, across_edges=step, along_edges=step, line_of_sight="z")
    assert np.ptp(across.correlation, axis=1).max() < 1e-6
    assert across.correlation[0, 0] == pytest.approx(0.5, abs=1e-6)


def test_cross_correlation_equals_direct_sum_over_cells():
    box = Box(8.0, 8)
    a, b = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(3))
    result = correlation_multipoles(scalar(a, box), scalar(b, box), edges=[1.0, 1.2], orders=(0,))
    direct = np.mean([(a * b.roll(s, axis)).mean() for axis in range(3) for s in (1, -1)])
    assert result.correlation[0, 0] == pytest.approx(direct, rel=1e-4)
    assert result.separations[0] == 6


def test_shot_noise_of_poisson_points():
    box = Box(200.0)
    rng = np.random.default_rng(4)
    weights = rng.uniform(0.5, 1.5, 30000)
    catalogue = Catalogue(rng.uniform(0, 200.0, (30000, 3)), box, redshift=0.0, weights=weights)
    result = power_spectrum(catalogue_modes(catalogue, 32))
    assert result.shot_noise == pytest.approx(box.volume * (weights**2).sum() / weights.sum() ** 2)
    half = result.k < 0.5 * BOX.k_nyquist
    error = result.shot_noise * np.sqrt(2 / result.modes)
    assert abs(result.power[half] / error[half]).max() < 4
    quadrupole = power_multipoles(catalogue_modes(catalogue, 32), orders=(0, 2))
    np.testing.assert_allclose(quadrupole.power[0], result.power, atol=1e-6 * result.shot_noise)
    assert abs(quadrupole.power[1][half] / error[half]).max() < 4 * math.sqrt(5)
    xi = correlation_multipoles(catalogue_modes(catalogue, 32), edges=[15.0, 40.0, 65.0, 90.0], orders=(0,))
    assert abs(xi.correlation).max() < 5e-4


@pytest.mark.parametrize("scheme", ["cic", "tsc"])
def test_interlacing_removes_aliases(scheme):
    """The exact modes of clustered points, summed particle by particle, to half the Nyquist wavenumber: 0.5 %."""
    rng = np.random.default_rng(6)
    centres = rng.uniform(0, 200.0, (1000, 3))
    points = (centres[rng.integers(0, 1000, 4000)] + rng.normal(0, 1.5, (4000, 3))) % 200.0
    edges = BOX.k_fundamental * np.arange(0.5, 9)
    n = np.arange(-8, 9)
    x, y, z = np.exp(-1j * BOX.k_fundamental * n[:, None] * points.T[:, None, :])
    modes = (x[:, None] * y).reshape(-1, len(points)) @ z.T / len(points)
    exact = np.abs(modes.ravel()) ** 2 * BOX.volume
    length = np.sqrt(sum(np.meshgrid(n**2, n**2, n**2, indexing="ij"))).ravel() * BOX.k_fundamental
    index = np.digitize(length, edges) - 1
    truth = np.array([exact[index == i].mean() for i in range(8)])
    measured = power_spectrum(
        catalogue_modes(Catalogue(points, Box(200.0), redshift=0.0), 32, scheme=scheme), edges=edges
    )
    np.testing.assert_allclose((measured.power + measured.shot_noise) / truth, 1, atol=0.005)
    plain = scalar(paint(points, BOX, scheme=scheme) / (4000 / 32**3) - 1)
    aliased = power_spectrum(modes_of(plain, window=scheme), edges=edges)
    smoothed = power_spectrum(plain, edges=edges)
    assert (
        abs(aliased.power / truth - 1).max() > abs((measured.power + measured.shot_noise) / truth - 1).max()
    )
    assert smoothed.power[-1] < 0.95 * truth[-1]
