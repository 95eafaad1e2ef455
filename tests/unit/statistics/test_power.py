"""What power spectra refuse, and what their bins hold."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.modes import modes_of
from peculiar.statistics.power import compare_power, helmholtz_power, power_spectrum

BOX = Box(100.0, 16)


@pytest.fixture
def field():
    return Field(torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(1)), BOX, ("delta",))


def test_default_bins_reach_nyquist(field):
    result = power_spectrum(field)
    assert len(result.k) == 8
    assert result.edges[-1] == pytest.approx(8.5 * BOX.k_fundamental)
    assert result.modes[0] == 18  # |n| < 1.5: 6 faces and 12 edges
    assert result.unit == "(Mpc/h)^3"


def test_lower_edges_belong_to_their_bins(field):
    result = power_spectrum(field, edges=np.array([1, 2, 3]) * BOX.k_fundamental)
    n = np.sqrt(sum(np.meshgrid(*[np.arange(-4, 5) ** 2] * 3, indexing="ij")))
    assert result.modes.tolist() == [((n >= 1) & (n < 2)).sum(), ((n >= 2) & (n < 3)).sum()]


def test_mean_never_counts(field):
    edges = [0.0, 3 * BOX.k_fundamental]
    shifted = field.replace(data=field.data + 100)
    assert power_spectrum(shifted, edges=edges).power[0] == pytest.approx(
        power_spectrum(field, edges=edges).power[0], rel=1e-3
    )


def test_empty_bins_are_nan(field):
    result = power_spectrum(field, edges=np.array([1.1, 1.2, 1.5]) * BOX.k_fundamental)
    assert result.modes.tolist() == [0, 12]
    assert np.isnan(result.power[0])
    assert np.isfinite(result.power[1])


def test_cross_power_is_half_the_difference_of_autos(field):
    other = field.replace(data=torch.randn(1, 16, 16, 16))
    plus = power_spectrum(field.replace(data=field.data + other.data)).power
    minus = power_spectrum(field.replace(data=field.data - other.data)).power
    np.testing.assert_allclose(power_spectrum(field, other).power, (plus - minus) / 4, atol=1e-3 * plus.max())


def test_units_of_vectors():
    vector = Field(torch.randn(3, 16, 16, 16), BOX, "xyz", unit="km/s", kind="vector")
    assert power_spectrum(vector).unit == "(km/s)^2 (Mpc/h)^3"
    result = helmholtz_power(vector)
    assert result.vorticity.unit == "(km/s)^2 (Mpc/h)^3 (h/Mpc)^2"
    inner = slice(0, 7)  # below the Nyquist planes
    both = result.potential.power + result.rotational.power
    np.testing.assert_allclose(both[inner], result.total.power[inner], rtol=1e-5)
    # Of a random vector, one component in three lies along k.
    ratio = np.average(result.potential.power / result.total.power, weights=result.total.modes)
    assert ratio == pytest.approx(1 / 3, abs=0.03)


def test_double_precision_is_kept(field):
    tiny = field.replace(data=torch.ones(1, 16, 16, 16, dtype=torch.float64) + 1e-10 * field.data.double())
    assert power_spectrum(tiny).power[4] == pytest.approx(1e-20 * power_spectrum(field).power[4], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": Box(101.0, 16)}, "share one box"),
        ({"box": Box(100.0, 16, periodic=False)}, "must be periodic"),
        ({"data": torch.full((1, 16, 16, 16), float("nan"))}, "must be finite, got 4096"),
        ({"data": torch.ones(2, 16, 16, 16), "names": "ab"}, "one scalar channel"),
        ({"data": torch.ones(3, 16, 16, 16), "names": "xyz", "kind": "vector"}, "same channels"),
        ({"data": torch.ones(1, 16, 16, 16)}, "predicted must have power"),
    ],
)
def test_bad_fields(field, change, message):
    with pytest.raises(InputError, match=message):
        compare_power(field.replace(**change), field)


@pytest.mark.parametrize("edges", [[0.5], [0.3, 0.2], [-0.1, 0.2], [0.1, 5.0], [0.001, 0.01], [0.1, np.nan]])
def test_bad_bins(field, edges):
    with pytest.raises(InputError, match="k edges must"):
        power_spectrum(field, edges=edges)


def test_no_helmholtz_parts_of_a_scalar(field):
    with pytest.raises(InputError, match="must be a vector"):
        helmholtz_power(modes_of(field))
