import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.fields.smooth import gaussian
from peculiar.linear.local_bias import fit_local_bias, linear_bias

BOX = Box(128.0, 32)


def density(seed: int) -> Field:
    """A lognormal overdensity with structure of a few cells."""
    noise = torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian(Field(noise, BOX, ["density"]), 3.0).data
    data = torch.exp(0.8 * smooth / smooth.std())
    return Field(data / data.mean() - 1, BOX, ["density"])


def poisson(mean: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.poisson(mean, generator=torch.Generator().manual_seed(seed))


def test_linear_bias_is_the_factor_on_large_scales():
    fields = [density(1), density(2)]
    pairs = [(field, 3.0 * (1 + 1.7 * field.data[0])) for field in fields]
    assert linear_bias(pairs) == pytest.approx(1.7, rel=1e-5)
    # Small scales without a counterpart in the density do not count.
    wave = torch.cos(torch.arange(32) * np.pi / 2)[:, None, None]
    pairs = [(field, counts + 2 * wave) for field, counts in pairs]
    assert linear_bias(pairs) == pytest.approx(1.7, rel=1e-5)


def test_a_bias_that_rises_is_found_again():
    def mean(field: Field) -> torch.Tensor:
        return 0.4 * (1 + field.data[0]) ** 1.5

    pairs = [(field, poisson(mean(field), 5 + i)) for i, field in enumerate(map(density, (1, 2)))]
    found = fit_local_bias(pairs)
    assert found.smoothing <= 0.5
    assert abs(found.exponent) < 0.25
    new = density(3)
    assert float((found.mean_counts(new) - mean(new)).abs().mean() / mean(new).mean()) < 0.06
    draw = found.draw(new, seed=1)
    assert torch.equal(draw, found.draw(new, seed=1))
    assert not torch.equal(draw, found.draw(new, seed=2))
    assert float(draw.mean() / mean(new).mean()) == pytest.approx(1, abs=0.05)


def test_surroundings_and_their_radius_are_found_again():
    def mean(field: Field) -> torch.Tensor:
        around = 1 + gaussian(field, 6.0).data[0]
        return 1.5 * (1 + field.data[0]) ** 1.5 * around**-1.0

    pairs = [(field, poisson(mean(field), 5 + i)) for i, field in enumerate(map(density, (1, 2)))]
    found = fit_local_bias(pairs, smoothings=(0.0, 3.0), environments=(3.0, 6.0, 12.0))
    assert (found.smoothing, found.environment) == (0.0, 6.0)
    assert found.exponent == pytest.approx(-1, abs=0.15)


def test_one_box_is_enough_and_a_threshold_is_a_power_law_with_a_cut():
    field = density(4)
    rho = 1 + field.data[0]
    mean = 0.8 * rho * torch.exp(-((rho / 0.8) ** -2.0))
    found = fit_local_bias([(field, poisson(mean, 1))], smoothings=(0.0,))
    error = (found.mean_counts(field) - mean).abs().mean() / mean.mean()
    assert float(error) < 0.06
    empty = rho < 0.3
    assert float(found.mean_counts(field)[empty].mean()) < 0.01


def test_refuses():
    field = density(1)
    counts = torch.ones(32, 32, 32)
    with pytest.raises(InputError, match="at least one density"):
        fit_local_bias([])
    with pytest.raises(InputError, match="must hold halos"):
        linear_bias([(field, torch.zeros(32, 32, 32))])
    with pytest.raises(InputError, match="at least one radius each"):
        fit_local_bias([(field, counts)], smoothings=())
    with pytest.raises(InputError, match="above the fundamental wavenumber"):
        linear_bias([(field, counts)], k_max=0.01)
