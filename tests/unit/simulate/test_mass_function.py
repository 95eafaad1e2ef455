from types import SimpleNamespace

import numpy as np
import pytest

from peculiar.core import Box, Cosmology, InputError
from peculiar.core.cosmology import CRITICAL_DENSITY
from peculiar.simulate.mass_function import MassFunction

EDGES = (1e12, 1e13, 1e14, 1e16)
LOW, HIGH = (Cosmology(Omega_m=value) for value in (0.25, 0.35))


def particle(cosmology: Cosmology, spacing: float) -> float:
    return CRITICAL_DENSITY * cosmology.Omega_m * spacing**3


def box(
    form: MassFunction, cosmology: Cosmology, redshift: float, spacing: float, seed: int, side: float = 200.0
):
    """Halos of the form, whole numbers of particles."""
    numbers = np.arange(12, 20000)
    edges = np.append(numbers - 0.5, 19999.5) * particle(cosmology, spacing) * (1 - 1e-9)
    mean = form.density(edges, cosmology, redshift, spacing=spacing) * side**3
    counts = np.repeat(numbers, np.random.default_rng(seed).poisson(mean))
    return SimpleNamespace(
        box=Box(side),
        particles=round(side / spacing),
        cosmology=cosmology,
        redshift=redshift,
        halos=Counts(counts),
    )


class Counts:
    def __init__(self, counts):
        self.counts = counts

    def __len__(self):
        return len(self.counts)


def test_a_fit_finds_the_halos_of_other_cosmologies_and_epochs(form):
    cases = [(LOW, 0.0, 1.0), (HIGH, 0.0, 0.8), (HIGH, 1.5, 1.0), (LOW, 1.0, 0.8)]
    found = MassFunction.fitted([box(form, *case, seed) for seed, case in enumerate(cases)])
    assert (found.spacing, found.fewest) == (0.8, 12)
    middle = Cosmology(Omega_m=0.3)
    for redshift in (0.0, 0.5, 1.5):
        true = form.density(EDGES, middle, redshift, spacing=0.9)
        again = found.density(EDGES, middle, redshift, spacing=0.9)
        assert np.allclose(again[:2] / true[:2], 1, atol=0.03)
        assert again[2] / true[2] == pytest.approx(1, abs=0.15)


def test_halos_need_a_number():
    with pytest.raises(InputError, match="at least 100 halos for a mass function, got 0"):
        MassFunction.fitted([])


def test_bins_add_up_and_hold_what_is_resolved(form):
    density = form.density(EDGES, LOW, 0.0)
    assert density.sum() == pytest.approx(form.density((1e12, 1e16), LOW, 0.0)[0])
    assert form.density(EDGES, LOW, 0.0)[2] > 5 * form.density(EDGES, LOW, 1.5)[2]
    assert form.density((1e10, 5e10, 1e11), LOW, 0.0).tolist() == [0, 0]
    assert form.density((1e10, 1e13), LOW, 0.0) > form.density((1e10, 1e13), LOW, 0.0, spacing=1.2)


def test_masses_are_whole_numbers_of_particles(form):
    mass = particle(LOW, 0.9)
    edges = np.array((15.2, 15.9, 16.1)) * mass  # the second holds the halos of 16 particles
    density = form.density(edges, LOW, 0.0)
    assert density[0] == 0
    assert density[1] == pytest.approx(form.density((15.5 * mass, 16.5 * mass), LOW, 0.0)[0])


def test_quantiles_share_a_bin_evenly(form):
    light, _, heavy = form.mass_quantiles(EDGES, LOW, 0.0, steps=9)
    assert (light[0], light[-1]) == pytest.approx((1e12, 1e13), rel=0.1)
    assert np.diff(light).min() > 0
    whole = form.density((1e12, 1e13), LOW, 0.0)[0]
    assert form.density((1e12, light[4]), LOW, 0.0)[0] / whole == pytest.approx(0.5, abs=0.03)
    assert heavy[0] == pytest.approx(1e14, rel=0.05)
    assert heavy[-1] < 3e15
    (empty,) = form.mass_quantiles((1e10, 2e10), LOW, 0.0, steps=3)
    assert empty[0] <= empty[1] <= empty[2]
