"""Classical reconstructors against analytic truths: plane waves, Zel'dovich mocks, Gaussian signal and noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.fields.calculus import displacement
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.paint import paint
from peculiar.linear import IterativeFFT, LinearTheory, Spectra, fit_wiener, move_back, solve

COSMOLOGY = PRESETS["xiao2024"]
REDSHIFT = 0.59
FACTOR = COSMOLOGY.velocity_factor(REDSHIFT)
GROWTH_RATE = COSMOLOGY.growth_rate(REDSHIFT)


def lattice(box: Box, per_side: int) -> np.ndarray:
    """Return evenly spaced points, (per_side^3, 3)."""
    line = (np.arange(per_side) + 0.5) * box.size / per_side
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)


def gaussian_field(box: Box, *, rms: float, k_cut: float, seed: int) -> torch.Tensor:
    """Return a Gaussian overdensity with power falling as exp(-k^2 / k_cut^2) / k."""
    white = torch.randn(box.mesh, box.mesh, box.mesh, generator=torch.Generator().manual_seed(seed))
    k2 = k_squared(box)
    shape = torch.exp(-0.5 * k2 / k_cut**2) / k2.clamp_min(box.k_fundamental**2).pow(0.25)
    delta = to_real(to_fourier(white) * shape, box.mesh)
    delta = delta - delta.mean()
    return delta * (rms / delta.std())


@pytest.fixture(scope="module")
def zeldovich():
    """Return evenly sampled tracers of known bias, moved by Zel'dovich, in real space with velocities."""
    box, bias = Box(300.0, 48), 1.8
    delta = gaussian_field(box, rms=0.15, k_cut=0.05, seed=3)
    linear = Field(torch.cat([delta[None], displacement(delta, box)]), box, names=("delta", "x", "y", "z"))
    start = lattice(box, 48)
    values = linear.at(start)
    return Catalogue(
        np.mod(start + values[:, 1:], box.size),
        box,
        redshift=REDSHIFT,
        space="real",
        velocities=FACTOR * values[:, 1:],
        weights=1 + (bias - 1) * values[:, 0],
    )


def observed(catalogue: Catalogue, **changes) -> Catalogue:
    """Return the catalogue in redshift space along its sight lines (with the changes made first)."""
    real = catalogue.replace(**changes)
    lines = real.sight_lines()
    along = (real.velocities * lines).sum(axis=1, keepdims=True) * COSMOLOGY.redshift_space_factor(REDSHIFT)
    positions = real.positions + along * lines
    if real.box.periodic:
        positions = np.mod(positions, real.box.size)
    return real.replace(positions=positions, space="redshift")


def slope_and_correlation(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    covariance = np.cov(truth.ravel(), estimate.ravel())
    return covariance[0, 1] / covariance[0, 0], np.corrcoef(truth.ravel(), estimate.ravel())[0, 1]


@pytest.mark.parametrize("line_of_sight", ["x", "y", "z"])
def test_iterative_fft_undoes_the_kaiser_boost_of_a_plane_wave(line_of_sight):
    box, bias, amplitude, axis = Box(200.0, 24), 2.0, 0.01, "xyz".index(line_of_sight)
    start = lattice(box, 48)
    k = box.k_fundamental
    wave = np.cos(k * start[:, axis])
    shift = np.zeros_like(start)
    shift[:, axis] = -amplitude / k * np.sin(k * start[:, axis])
    catalogue = Catalogue(
        np.mod(start + (1 + GROWTH_RATE) * shift, box.size),
        box,
        redshift=REDSHIFT,
        line_of_sight=line_of_sight,
        weights=1 + (bias - 1) * amplitude * wave,
    )
    true_speed = FACTOR * amplitude / k
    speeds = {}
    for reconstructor in (LinearTheory(smoothing=0.0, bias=bias), IterativeFFT(smoothing=0.0, bias=bias)):
        velocity = reconstructor.reconstruct(catalogue, cells=24, cosmology=COSMOLOGY)["velocity"].data
        phase = -torch.as_tensor(np.sin(k * box.coordinates())).float()
        speeds[reconstructor.name] = 2 * float((velocity[axis].movedim(axis, -1) * phase).mean()) / true_speed
        others = [component for component in range(3) if component != axis]
        assert velocity[others].abs().max() < 1e-3 * true_speed
    window = np.sinc(box.k_fundamental * box.cell_size / (2 * np.pi)) ** 2
    assert speeds["linear theory"] == pytest.approx(window * (1 + GROWTH_RATE / bias), rel=0.005)
    assert speeds["iterative FFT"] == pytest.approx(window, rel=0.005)


@pytest.mark.parametrize(
    ("line_of_sight", "observer"), [("x", None), ("z", None), ("radial", (150.0, 150.0, -200.0))]
)
def test_iterative_fft_recovers_zeldovich_velocities(zeldovich, line_of_sight, observer):
    catalogue = observed(zeldovich, line_of_sight=line_of_sight, observer=observer)
    fields = IterativeFFT(smoothing=5.0, bias=1.8, iterations=6).reconstruct(
        catalogue, cells=48, cosmology=COSMOLOGY
    )
    estimate = fields["velocity"].at(zeldovich.positions)
    for component in range(3):
        slope, correlation = slope_and_correlation(estimate[:, component], zeldovich.velocities[:, component])
        assert correlation > 0.98
        assert slope == pytest.approx(1.0, abs=0.06)
    density = fields["density"].data
    torch.testing.assert_close(fields["momentum"].data, (1 + density) * fields["velocity"].data)


def test_moving_back_brings_tracers_closer_to_where_they_are(zeldovich):
    catalogue = observed(zeldovich)
    positions = move_back(catalogue, cells=48, cosmology=COSMOLOGY, smoothing=5.0, bias=1.8, iterations=6)

    def error(points):
        separation = np.mod(points - zeldovich.positions + 150.0, 300.0) - 150.0
        return np.sqrt((separation**2).sum(axis=1).mean())

    assert error(positions) < 0.25 * error(catalogue.positions)
    np.testing.assert_array_equal(positions[:, :2], catalogue.positions[:, :2])


def test_line_of_sight_axes_are_equivalent(zeldovich):
    results = []
    for axis, name in enumerate("xyz"):
        # Move the third axis to the line of sight; the other two follow in a cycle.
        order = np.roll(np.arange(3), axis + 1)
        turned = zeldovich.replace(
            positions=zeldovich.positions[:, order],
            velocities=zeldovich.velocities[:, order],
            line_of_sight=name,
        )
        velocity = IterativeFFT(bias=1.8).reconstruct(observed(turned), cells=32, cosmology=COSMOLOGY)[
            "velocity"
        ]
        back = np.argsort(order)
        results.append(velocity.data[list(back)].permute(0, *(1 + int(i) for i in back)))
    for result in results[:2]:
        torch.testing.assert_close(result, results[2], rtol=1e-3, atol=0.5)


def test_radial_from_far_away_is_plane_parallel(zeldovich):
    plane = observed(zeldovich)
    radial = plane.replace(line_of_sight="radial", observer=(150.0, 150.0, -1e6))
    first, second = (
        IterativeFFT(bias=1.8).reconstruct(catalogue, cells=32, cosmology=COSMOLOGY)["velocity"].data
        for catalogue in (plane, radial)
    )
    torch.testing.assert_close(second, first, rtol=1e-2, atol=1.0)
    assert first.std() > 50


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("reconstructor", [LinearTheory(), IterativeFFT()], ids=lambda r: r.name)
def test_even_tracers_are_at_rest(periodic, reconstructor):
    box = Box(100.0, periodic=periodic)
    catalogue = Catalogue(lattice(box, 32), box, redshift=REDSHIFT)
    fields = reconstructor.reconstruct(catalogue, cells=16, cosmology=COSMOLOGY)
    assert fields["velocity"].data.abs().max() < 0.01
    assert fields["density"].data.abs().max() < 1e-4


def test_survey_recovers_velocities_inside(zeldovich):
    """A quarter of the box is out of the survey, the rest is sampled more sparsely towards it."""
    box = Box(300.0, 48, periodic=False)
    x = torch.as_tensor(box.coordinates()).float()
    fraction = torch.where(x > 75.0, 0.4 + 0.6 * x / 300.0, 0.0)
    completeness = Field(fraction[None, :, None, None].expand(1, 48, 48, 48), box, names=("completeness",))
    keep = completeness.at(zeldovich.positions)[:, 0]
    survey = zeldovich.replace(box=box, observer=(-500.0, 150.0, 150.0), line_of_sight="radial")
    catalogue = observed(survey.replace(weights=survey.weights * keep, box=Box(300.0), line_of_sight="x"))
    catalogue = catalogue.replace(box=box, completeness=completeness)
    velocity = IterativeFFT(smoothing=5.0, bias=1.8).reconstruct(catalogue, cells=48, cosmology=COSMOLOGY)[
        "velocity"
    ]
    inside = ((zeldovich.positions > [150, 75, 75]) & (zeldovich.positions < [225, 225, 225])).all(axis=1)
    slope, correlation = slope_and_correlation(
        velocity.at(zeldovich.positions[inside]), zeldovich.velocities[inside]
    )
    assert correlation > 0.97
    assert slope == pytest.approx(1.0, abs=0.06)


def test_wiener_weights_of_gaussian_signal_and_noise_are_analytic():
    """Two bins d_b = b s + n_b of noise N_b: W_b = (b_b / N_b) S / (1 + S sum b^2 / N)."""
    box = Box(200.0, 48)
    biases, noises = (1.5, 1.1), (2.0, 0.5)
    generator = torch.Generator().manual_seed(11)
    k = k_squared(box).sqrt()
    power = 4.0 * torch.exp(-k / 0.3)  # in units of the power of unit white noise
    total = None
    for _ in range(2):
        white = torch.randn(3, 48, 48, 48, generator=generator)
        signal = to_real(to_fourier(white[0]) * power.sqrt(), 48)
        bins = torch.stack(
            [b * signal + n**0.5 * w for b, n, w in zip(biases, noises, white[1:], strict=True)]
        )
        everything = bins.mean(dim=0, keepdim=True)
        one = Spectra.of(torch.cat([bins, everything]), signal, displacement(signal, box), box)
        total = one if total is None else total + one
    wiener = solve(total, abundances=(1e-3, 2e-3))
    scales = (wiener.k > 0.1) & (wiener.k < 0.6)
    s = 4.0 * np.exp(-wiener.k / 0.3)
    information = sum(b**2 / n for b, n in zip(biases, noises, strict=True))
    for i, (b, n) in enumerate(zip(biases, noises, strict=True)):
        expected = b / n * s / (1 + s * information)
        difference = wiener.weights_density[scales, i] - expected[scales]
        assert np.abs(difference).max() < 0.07
        assert abs(difference.mean()) < 0.015
        np.testing.assert_allclose(
            wiener.weights_velocity[scales, i], wiener.weights_density[scales, i], atol=2e-3
        )
    b, n = np.mean(biases), np.sum(noises) / 4
    np.testing.assert_allclose(wiener.total_density[scales, 0], (b * s / (b**2 * s + n))[scales], atol=0.07)


def simulated_box(seed: int) -> tuple[Catalogue, Field, Field]:
    """Return few tracers of two populations (rare of bias 3, common of bias 1.3) in redshift space, and the truth."""
    box, mesh = Box(300.0, 32), Box(300.0, 48)
    delta = gaussian_field(mesh, rms=0.25, k_cut=0.08, seed=seed)
    linear = Field(torch.cat([delta[None], displacement(delta, mesh)]), mesh, names=("delta", "x", "y", "z"))
    start = lattice(mesh, 64)
    values = linear.at(start)
    moved = np.mod(start + values[:, 1:], box.size)
    velocities = FACTOR * values[:, 1:]
    rng = np.random.default_rng(seed)
    draws = rng.random(len(start))
    rare = draws < 0.01 * (1 + 2.0 * values[:, 0])
    common = ~rare & (draws < 0.06 * (1 + 0.5 * values[:, 0]))
    chosen = rare | common
    catalogue = Catalogue(
        moved[chosen],
        Box(300.0),
        redshift=REDSHIFT,
        space="real",
        velocities=velocities[chosen],
        masses=1.0 + rare[chosen],
    )
    painted = paint(moved, box, weights=np.column_stack([np.ones(len(moved)), velocities]))
    velocity = Field(painted[1:] / painted[:1], box, names=("x", "y", "z"), unit="km/s", kind="vector")
    return observed(catalogue), Field(painted[:1] / painted[0].mean() - 1, box, names=("density",)), velocity


def test_wiener_filter_beats_the_iterative_fft_at_any_smoothing():
    abundances = (0.01 * 64**3 / 300.0**3, 1e-2)
    settings = {"smoothing": 8.0, "bias": 1.6, "iterations": 4}
    training = (simulated_box(seed) for seed in (1, 2, 3, 4))
    wiener = fit_wiener(training, cosmology=COSMOLOGY, abundances=abundances, **settings)
    assert wiener.training["boxes"] == 4
    assert wiener.weights_velocity[0, 0] > 0
    catalogue, density, velocity = simulated_box(5)
    errors = {}
    single = catalogue.replace(masses=None)
    candidates = [("bins", wiener, catalogue), ("total", wiener, single)]
    candidates += [
        (f"iterative {s}", IterativeFFT(smoothing=s, bias=1.6), catalogue) for s in (5.0, 9.0, 14.0)
    ]
    for name, reconstructor, tracers in candidates:
        fields = reconstructor.reconstruct(tracers, cells=32, cosmology=COSMOLOGY)
        errors[name] = float((fields["velocity"].data - velocity.data).square().mean().sqrt())
        if name == "bins":
            assert np.corrcoef(fields["density"].data.ravel(), density.data.ravel())[0, 1] > 0.8
    assert errors["bins"] < errors["total"] < min(error for name, error in errors.items() if name[0] == "i")
