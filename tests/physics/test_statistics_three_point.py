"""Bispectrum and three-point function against direct sums and a field that is quadratic in a Gaussian one."""

import math

import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue, Field
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.statistics.bispectrum import bispectrum_at_angles, bispectrum_in_bins
from peculiar.statistics.modes import catalogue_modes
from peculiar.statistics.three_point import three_point_multipoles, three_point_residual


def scalar(data, box):
    return Field(data.reshape(1, *data.shape[-3:]), box, ("delta",))


def test_bispectrum_equals_sum_over_closed_triangles():
    n, box = 10, Box(10.0, 10)
    data = torch.randn(n, n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 2
    edges = np.array([0.9, 1.9, 3.1]) * box.k_fundamental
    result = bispectrum_in_bins(scalar(data, box), edges)
    modes = np.fft.fftn(data.numpy()) / n**3
    axis = np.arange(-3, 4)
    vectors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    length = np.linalg.norm(vectors, axis=1) * box.k_fundamental
    values = modes[tuple(vectors.T)]
    third = -(vectors[:, None] + vectors[None])
    third_length = np.linalg.norm(third, axis=2) * box.k_fundamental
    third_values = modes[tuple(np.moveaxis(third % n, 2, 0))]
    band = np.digitize(length, edges) - 1
    third_band = np.digitize(third_length, edges) - 1
    for row, (i, j, k) in enumerate([(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)]):
        chosen = (band == i)[:, None] & (band == j)[None] & (third_band == k)
        direct = (values[:, None] * values[None] * third_values)[chosen].mean().real * box.volume**2
        assert result.triangles[row] == chosen.sum()
        assert result.bispectrum[row] == pytest.approx(direct, rel=1e-9)
        np.testing.assert_allclose(result.k[row, 0], length[band == i].mean(), rtol=1e-9)
        power = [(np.abs(values[band == b]) ** 2).mean() * box.volume for b in (i, j, k)]
        np.testing.assert_allclose(result.power[row], power, rtol=1e-9)
        q = direct / (power[0] * power[1] + power[1] * power[2] + power[2] * power[0])
        assert result.reduced[row] == pytest.approx(q, rel=1e-9)


def test_reduced_bispectrum_of_a_quadratic_field():
    """delta = g + e g^2 has Q = 2 e; of +g and -g the mean is free of the Gaussian field's own noise."""
    box, e, reduced = Box(200.0, 32), 1e-3, []
    for seed in range(12):
        noise = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        modes, k = to_fourier(noise), k_squared(box, dtype=torch.float64).sqrt()
        amplitude = torch.where((k > 0) & (k < 0.5 * box.k_nyquist), k.clamp(min=0.01) ** -0.5, 0.0)
        g = to_real(modes / modes.abs() * amplitude * 300, 32)
        pair = [
            bispectrum_at_angles(scalar(sign * g + e * g**2, box), 0.16, 0.2, theta=np.linspace(0.9, 2.4, 5))
            for sign in (1, -1)
        ]
        reduced.append(0.5 * (pair[0].reduced + pair[1].reduced))
    np.testing.assert_allclose(np.mean(reduced) / (2 * e), 1, atol=0.06)
    np.testing.assert_allclose(np.mean(reduced, axis=0) / (2 * e), 1, atol=0.2)
    assert pair[0].theta is not None
    expected = np.sqrt(0.16**2 + 0.2**2 + 2 * 0.16 * 0.2 * np.cos(pair[0].theta))
    np.testing.assert_allclose(pair[0].k[:, 2], expected, atol=0.5 * box.k_fundamental)


def test_bispectrum_of_poisson_points_is_shot_noise():
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.2, 1.8, 1000)
    catalogue = Catalogue(rng.uniform(0, 200.0, (1000, 3)), Box(200.0), redshift=0.0, weights=weights)
    modes = catalogue_modes(catalogue, 32)
    result = bispectrum_in_bins(modes, np.array([3.0, 5.0, 7.0, 9.0]) * Box(200.0).k_fundamental)
    assert modes.shot_bispectrum > 1.1 * modes.shot_noise**2  # unequal weights
    # Over 30 catalogues this mean is -0.008 +- 0.007, with a scatter of 0.04 from one to the next.
    assert abs(np.average(result.bispectrum / modes.shot_bispectrum, weights=result.triangles)) < 0.16


def test_three_point_equals_brute_force():
    n, box = 6, Box(12.0, 6)
    data = torch.randn(n, n, n, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    data = data + 0.5 * data**2
    edges = np.array([1.0, 3.0, 5.0])
    result = three_point_multipoles(scalar(data, box), edges, max_order=3)
    field = data.numpy()
    axis = np.arange(-2, 4)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    length = np.linalg.norm(offsets, axis=1) * box.cell_size
    shifted = np.stack([np.roll(field, tuple(-d), (0, 1, 2)).ravel() for d in offsets])
    product = (shifted * field.ravel()) @ shifted.T / n**3
    cosine = (offsets @ offsets.T) / np.maximum(np.outer(length, length) / box.cell_size**2, 1e-12)
    legendre = [np.ones_like(cosine), cosine, 1.5 * cosine**2 - 0.5, 2.5 * cosine**3 - 1.5 * cosine]
    for i in range(2):
        for j in range(2):
            a = (length >= edges[i]) & (length < edges[i + 1])
            b = (length >= edges[j]) & (length < edges[j + 1])
            for order in range(4):
                direct = (2 * order + 1) * (product * legendre[order])[np.ix_(a, b)].mean()
                assert result.multipoles[order, i, j] == pytest.approx(direct, rel=1e-8, abs=1e-12)
    assert result.separations[0] == ((length >= 1) & (length < 3)).sum()


def test_three_point_of_two_plane_waves():
    """<cos a cos b cos(a+b)> triads: zeta of a field with one closed triangle of modes follows in closed form."""
    n, box = 32, Box(32.0, 32)
    x, y = (torch.as_tensor(box.coordinates()).reshape(s) for s in ((-1, 1, 1), (1, -1, 1)))
    k = 2 * math.pi / 32
    waves = [torch.cos(k * x), torch.cos(k * y), torch.cos(k * (x + y))]
    field = scalar(sum(w.expand(n, n, n) for w in waves), box)
    result = three_point_multipoles(field, [1.9, 2.1, 3.9, 4.1], max_order=0)
    # l = 0: mean of delta (A1 delta)(A2 delta), A_i the shell average, which multiplies a wave by its own factor.
    # <c1 c2 c3> = 1/4, and each of the six assignments of the waves to delta, shell 1 and shell 2 counts.
    factors = []
    for radius in (2, 4):
        axis = np.arange(-4, 5)
        d = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
        d = d[np.abs(np.linalg.norm(d, axis=1) - radius) < 1e-9]
        factors.append(
            [np.cos(k * d[:, 0]).mean(), np.cos(k * d[:, 1]).mean(), np.cos(k * (d[:, 0] + d[:, 1])).mean()]
        )
    expected = sum(0.25 * factors[0][i] * factors[1][j] for i in range(3) for j in range(3) if i != j)
    assert result.multipoles[0, 0, 2] == pytest.approx(expected, rel=1e-5)


def test_three_point_residual():
    box = Box(24.0, 12)
    data = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(2)) ** 2
    truth = three_point_multipoles(scalar(data, box), [2.0, 5.0, 8.0], max_order=2)
    scaled = three_point_multipoles(scalar(1.1 * data, box), [2.0, 5.0, 8.0], max_order=2)
    assert three_point_residual(truth, truth) == 0
    assert three_point_residual(scaled, truth) == pytest.approx(0.331, rel=1e-3)
