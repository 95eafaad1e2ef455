import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.linear import LinearTheory, fit_beta

COSMOLOGY = PRESETS["xiao2024"]


def random_field(seed: int, cells: int = 16) -> torch.Tensor:
    return torch.randn(cells, cells, cells, generator=torch.Generator().manual_seed(seed))


def clustered(seed: int = 0) -> Catalogue:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 100, (20, 3))
    points = np.mod(centres[rng.integers(0, 20, 400)] + rng.normal(0, 5, (400, 3)), 100)
    return Catalogue(points, Box(100.0), redshift=0.59, masses=rng.random(400) + 0.1)


def test_beta_of_a_biased_field_is_its_bias():
    matter = random_field(0)
    box = Box(150.0, 16)
    assert fit_beta(1.7 * matter, matter, box) == pytest.approx(1.7, rel=1e-5)


def test_beta_is_the_root_mean_ratio_of_the_powers():
    """Noise of the matter's own power adds in quadrature, and every k counts alike (eq. 4)."""
    matter, noise = random_field(1, 32), random_field(2, 32)
    assert fit_beta(matter + noise, matter, Box(300.0, 32)) == pytest.approx(2**0.5, rel=0.1)


@pytest.mark.parametrize("k_max", [0.01, 2.0])
def test_beta_needs_a_range_that_the_mesh_holds(k_max):
    with pytest.raises(InputError, match="k_max must lie between"):
        fit_beta(random_field(0), random_field(1), Box(150.0, 16), k_max=k_max)


def test_beta_needs_matter():
    with pytest.raises(InputError, match="matter must have power"):
        fit_beta(random_field(0), torch.zeros(16, 16, 16), Box(150.0, 16))


def test_velocity_is_inversely_proportional_to_the_bias_and_smoothing_lowers_it():
    catalogue = clustered()
    first, second, smooth = (
        LinearTheory(**settings).reconstruct(catalogue, cells=16, cosmology=COSMOLOGY)["velocity"].data
        for settings in ({"bias": 1.0}, {"bias": 2.0}, {"bias": 1.0, "smoothing": 10.0})
    )
    torch.testing.assert_close(second, first / 2)
    assert smooth.std() < first.std()


def test_mass_weighting_follows_the_masses():
    catalogue = clustered()
    settings = {"cells": 16, "cosmology": COSMOLOGY}
    by_mass = LinearTheory(weighting="mass").reconstruct(catalogue, **settings)["density"].data
    by_weight = (
        LinearTheory().reconstruct(catalogue.replace(weights=catalogue.masses), **settings)["density"].data
    )
    by_number = LinearTheory().reconstruct(catalogue, **settings)["density"].data
    torch.testing.assert_close(by_mass, by_weight, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(by_mass, by_number, atol=1e-2)


def test_fields_say_what_they_are():
    fields = LinearTheory().reconstruct(clustered(), cells=16, cosmology=COSMOLOGY)
    assert set(fields) == {"density", "velocity", "momentum"}
    for name in ("velocity", "momentum"):
        assert (fields[name].unit, fields[name].kind, fields[name].space) == ("km/s", "vector", "real")
        assert fields[name].box == Box(100.0, 16)
    expected = (1 + fields["density"].data) * fields["velocity"].data
    torch.testing.assert_close(fields["momentum"].data, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"smoothing": -1.0}, "smoothing must be >= 0"), ({"bias": 0.0}, "bias must be > 0")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LinearTheory(**settings)
