"""What anisotropic estimators refuse."""

import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.multipoles import (
    correlation_multipoles,
    correlation_plane,
    power_multipoles,
    power_wedges,
)


@pytest.fixture
def field():
    return Field(torch.randn(1, 16, 16, 16), Box(100.0, 16), ("delta",))


def test_wedges_average_to_the_monopole(field):
    wedges = power_wedges(field, mu_edges=[0, 0.5, 1])
    monopole = power_multipoles(field, orders=(0,))
    mean = (wedges.power * wedges.modes).sum(axis=1) / wedges.modes.sum(axis=1)
    assert mean == pytest.approx(monopole.power[0], rel=1e-6)
    assert (wedges.mu[:, 0] < 0.5).all()
    assert (wedges.mu[:, 1] >= 0.5).all()


def test_correlation_at_zero_separation_is_the_variance(field):
    result = correlation_multipoles(field, edges=[0, 1.0])
    assert result.correlation[0, 0] == pytest.approx(float((field.data**2).mean()), rel=1e-4)
    assert result.correlation[1, 0] == 0


@pytest.mark.parametrize("line_of_sight", ["radial", (0, 0, 0), (1, 2), (0, 0, float("nan"))])
def test_bad_lines_of_sight(field, line_of_sight):
    with pytest.raises(InputError, match="line_of_sight must be"):
        power_multipoles(field, line_of_sight=line_of_sight)


@pytest.mark.parametrize("orders", [(), (1,), (-2,), (2.5,)])
def test_bad_orders(field, orders):
    with pytest.raises(InputError, match="orders must be even integers"):
        power_multipoles(field, orders=orders)


def test_bad_bins(field):
    with pytest.raises(InputError, match="mu_edges must lie"):
        power_wedges(field, mu_edges=[-0.5, 0.5])
    with pytest.raises(InputError, match="half the periodic box"):
        correlation_multipoles(field, edges=[10, 60])
    with pytest.raises(InputError, match="along_edges must lie"):
        correlation_plane(field, across_edges=[0, 10], along_edges=[-5, 5])
    with pytest.raises(InputError, match="k edges must"):
        power_multipoles(field, edges=[0.1, 9.0])
