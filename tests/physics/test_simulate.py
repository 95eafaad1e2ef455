"""Simulated matter against linear theory, second-order growth, and halofit."""

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from peculiar.core import PRESETS, Box, Cosmology, Field
from peculiar.fields.paint import paint
from peculiar.simulate.halos import friends_of_friends
from peculiar.simulate.initial import linear_density, linear_field
from peculiar.simulate.particle_mesh import Particles, Steps, evolve
from peculiar.statistics import compare_power, modes_of, power_spectrum

COSMOLOGY = PRESETS["xiao2024"]
REDSHIFT = 0.59
LARGE = Box(500.0, 64)
SMALL = Box(150.0, 64)
SEEDS = (1, 2)


def density(particles: Particles, box: Box) -> Field:
    mesh = paint(particles.positions[0], box)
    return Field(mesh / mesh.mean() - 1, box, ("density",))


def run(box: Box, seed: int, count: int) -> Particles:
    modes = linear_density(box, COSMOLOGY, seed=seed)[None]
    return evolve(modes, box, COSMOLOGY, redshift=REDSHIFT, steps=Steps(count=count))


@pytest.fixture(scope="module")
def small_boxes() -> list[Particles]:
    return [run(SMALL, seed, 7) for seed in SEEDS]


def test_initial_power_is_cambs():
    """Mean of many boxes in bins of known scatter, 5 sigma."""
    box, seeds = Box(400.0, 24), range(30)
    edges = np.linspace(0.014, 0.18, 8)
    powers, modes = [], np.zeros(7)
    for seed in seeds:
        field = Field(linear_field(box, COSMOLOGY, seed=seed, redshift=0.0)[None], box, ("delta",))
        spectrum = power_spectrum(field, edges=edges)
        powers.append(spectrum.power)
        modes = spectrum.modes
    n = torch.fft.fftfreq(24, 1 / 24).numpy()
    length = box.k_fundamental * np.sqrt(
        n[:, None, None] ** 2 + n[None, :, None] ** 2 + n[None, None, :] ** 2
    )
    theory = COSMOLOGY.linear_power(length)
    inside = [(length >= low) & (length < high) for low, high in itertools.pairwise(edges)]
    expected = np.array([theory[cells].mean() for cells in inside])
    scatter = np.sqrt(2 / modes / len(seeds))
    assert (np.abs(np.mean(powers, axis=0) / expected - 1) < 5 * scatter).all()
    assert scatter.max() < 0.06


def test_sigma8_of_the_power_is_the_cosmologys():
    k = np.geomspace(1e-4, 40, 6000)
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    for redshift in (0.0, 1.0):
        variance = np.trapezoid(
            COSMOLOGY.linear_power(k, redshift) * window**2 * k**3 / (2 * np.pi**2), np.log(k)
        )
        assert np.sqrt(variance) == pytest.approx(0.83 * COSMOLOGY.growth(redshift), rel=1e-3)


@pytest.mark.parametrize("redshift", [0.0, 0.59, 2.0, 9.0])
def test_growth_is_heaths_integral(redshift):
    """D ~ H(a) times the integral of (a H)^-3 (Heath 1977), for matter and a cosmological constant."""

    def heath(a: float) -> float:
        efunc = np.sqrt(0.268 / a**3 + 0.732)
        return efunc * quad(lambda b: (b * np.sqrt(0.268 / b**3 + 0.732)) ** -3, 0, a)[0]

    a = 1 / (1 + redshift)
    # The table starts at a = 1e-3 as in matter domination, and is read linearly in ln a.
    assert COSMOLOGY.growth(redshift) == pytest.approx(heath(a) / heath(1.0), rel=1e-5)
    step = 1e-4
    rate = (np.log(heath(a * (1 + step))) - np.log(heath(a * (1 - step)))) / (2 * step)
    assert COSMOLOGY.growth_rate(redshift) == pytest.approx(rate, rel=1e-4)


def test_growth_in_einstein_de_sitter_is_the_scale_factor():
    einstein = Cosmology(Omega_m=1.0, Omega_b=0.05)
    for redshift in (0.0, 0.5, 3.0, 49.0):
        a = 1 / (1 + redshift)
        assert einstein.growth(redshift) == pytest.approx(a, rel=1e-5)
        assert einstein.growth_second(redshift) == pytest.approx(-3 / 7 * a**2, rel=1e-5)
        assert einstein.growth_rate(redshift) == pytest.approx(1, rel=1e-5)
        assert einstein.growth_rate_second(redshift) == pytest.approx(2, rel=1e-5)


def test_second_order_growth_follows_bouchet_1995():
    """D_2 = -3/7 D^2 Omega_m(z)^(-1/143) and f_2 = 2 Omega_m(z)^(6/11), to a part in a thousand and a hundred."""
    for redshift in (0.0, 0.59, 2.0):
        omega = 0.268 * (1 + redshift) ** 3 / COSMOLOGY.efunc(redshift) ** 2
        expected = -3 / 7 * COSMOLOGY.growth(redshift) ** 2 * omega ** (-1 / 143)
        assert COSMOLOGY.growth_second(redshift) == pytest.approx(expected, rel=2e-3)
        assert COSMOLOGY.growth_rate_second(redshift) == pytest.approx(2 * omega ** (6 / 11), rel=1.5e-2)


def test_large_scales_have_the_realisations_own_linear_power():
    """2 % at k < 0.05 h/Mpc on the mean of three boxes, whose modes couple by chance, and in phase."""
    matter, linear = 0.0, 0.0
    for seed in (1, 2, 3):
        own = Field(linear_field(LARGE, COSMOLOGY, seed=seed, redshift=REDSHIFT)[None], LARGE, ("linear",))
        evolved = modes_of(density(run(LARGE, seed, 4), LARGE), window="cic")
        both = compare_power(evolved, modes_of(own), edges=[0.01, 0.05])
        matter += both.predicted.power[0]
        linear += both.truth.power[0]
        assert both.truth.modes[0] == 250
        assert both.correlation_coefficient[0] > 0.99
    assert abs(matter / linear - 1) < 0.02


def halofit_boost(k: np.ndarray) -> np.ndarray:
    """Non-linear over linear power of Takahashi et al. 2012 from CAMB."""
    import camb

    h2 = COSMOLOGY.h**2
    params = camb.CAMBparams()
    params.set_cosmology(H0=71.0, ombh2=0.0445 * h2, omch2=(0.268 - 0.0445) * h2, mnu=0.0)
    params.InitPower.set_params(As=2e-9, ns=COSMOLOGY.n_s)
    params.set_matter_power(redshifts=[REDSHIFT, 0.0], kmax=5.0)
    linear = camb.get_results(params)
    params.InitPower.set_params(As=2e-9 * (0.83 / linear.get_sigma8_0()) ** 2, ns=COSMOLOGY.n_s)
    params.NonLinear = camb.model.NonLinear_pk
    params.NonLinearModel.set_params(halofit_version="takahashi")
    powers = camb.get_results(params).get_matter_power_interpolator(nonlinear=True).P(REDSHIFT, k)
    return powers / COSMOLOGY.linear_power(k, REDSHIFT)


def test_power_is_halofits(small_boxes):
    """8 % for 0.1 < k < 0.4 h/Mpc, the scatter of the realisations taken out by their linear fields."""
    edges = [0.1, 0.2, 0.3, 0.4]
    matter, linear, k = 0.0, 0.0, np.zeros(3)
    for seed, particles in zip(SEEDS, small_boxes, strict=True):
        own = Field(linear_field(SMALL, COSMOLOGY, seed=seed, redshift=REDSHIFT)[None], SMALL, ("linear",))
        own_power = power_spectrum(own, edges=edges)
        matter = matter + power_spectrum(modes_of(density(particles, SMALL), window="cic"), edges=edges).power
        linear = linear + own_power.power
        k = own_power.k
    assert np.abs(matter / linear / halofit_boost(k) - 1).max() < 0.08


def test_large_scale_velocity_is_linear_theorys():
    """Mean displacement and velocity of the largest waves: v = a H f D psi."""
    box = Box(1000.0, 32)
    particles = run(box, 3, 4)
    modes = linear_density(box, COSMOLOGY, seed=3)
    velocity = torch.fft.rfftn(particles.velocities[0].T.reshape(3, 32, 32, 32), dim=(1, 2, 3))
    growth = COSMOLOGY.growth(REDSHIFT) * COSMOLOGY.velocity_factor(REDSHIFT)
    for axis, cell in enumerate(((2, 0, 0), (0, 2, 0), (0, 0, 2))):
        k = 2 * box.k_fundamental
        expected = 1j / k * modes[cell] * growth
        assert abs(velocity[axis][cell] / expected - 1) < 0.03


def test_halos_are_as_abundant_as_jenkins_2001(small_boxes):
    """Above 20 particles, within 35 %: this mesh is coarser than that of a real run, and the boxes are few."""
    size = SMALL.size
    mass = 2.77536627e11 * COSMOLOGY.Omega_m * (size / SMALL.mesh) ** 3
    found = sum(
        len(
            friends_of_friends(
                p.positions[0], p.velocities[0], box_size=size, particle_mass=mass, min_particles=20
            )
        )
        for p in small_boxes
    )
    log_mass = np.linspace(np.log10(19.5 * mass), 16, 200)
    k = np.geomspace(1e-4, 20, 3000)
    radius = (3 * 10**log_mass / (4 * np.pi * 2.77536627e11 * COSMOLOGY.Omega_m)) ** (1 / 3)
    x = k * radius[:, None]
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = np.trapezoid(
        COSMOLOGY.linear_power(k, REDSHIFT) * window**2 * k**3 / (2 * np.pi**2), np.log(k)
    )
    inverse = -np.log(np.sqrt(variance))
    density_of_mass = 0.315 * np.exp(-(np.abs(inverse + 0.61) ** 3.8)) * np.gradient(inverse, log_mass)
    per_volume = np.trapezoid(density_of_mass * 2.77536627e11 * COSMOLOGY.Omega_m / 10**log_mass, log_mass)
    expected = per_volume * size**3 * len(SEEDS)
    assert expected > 300
    assert found / expected == pytest.approx(1, abs=0.35)
