"""What the bispectrum refuses."""

import math

import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.bispectrum import bispectrum_at_angles, bispectrum_in_bins

BOX = Box(100.0, 16)  # Nyquist wavenumber 0.503 h/Mpc


@pytest.fixture
def field():
    return Field(torch.randn(1, 16, 16, 16), BOX, ("delta",))


def test_default_angles(field):
    result = bispectrum_at_angles(field, 0.15, 0.2)
    assert result.theta is not None
    assert len(result.theta) == 20
    assert 0 < result.theta[0] < result.theta[-1] < math.pi
    assert result.bands[3, 2, 1] - result.bands[3, 2, 0] == pytest.approx(BOX.k_fundamental)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k1": 0.6}, "k1 must lie within the mesh"),
        ({"k2": 0.01}, "k2 must lie within the mesh"),
        ({"k1": 0.3, "k2": 0.3}, "keep the third side within"),
        ({"theta": [4.0]}, "theta must be angles"),
        ({"width": 0.0}, "width must be > 0"),
    ],
)
def test_bad_triangles(field, arguments, message):
    with pytest.raises(InputError, match=message):
        bispectrum_at_angles(field, **({"k1": 0.15, "k2": 0.2} | arguments))


def test_bad_fields_and_bins(field):
    with pytest.raises(InputError, match="Nyquist"):
        bispectrum_in_bins(field, [0.1, 0.7])
    with pytest.raises(InputError, match="rising"):
        bispectrum_in_bins(field, [0.2, 0.1])
    with pytest.raises(InputError, match="power in every band"):
        bispectrum_in_bins(field.replace(data=torch.ones(1, 16, 16, 16)), [0.1, 0.2])
    vector = Field(torch.randn(3, 16, 16, 16), BOX, "xyz", kind="vector")
    with pytest.raises(InputError, match="must be a scalar"):
        bispectrum_in_bins(vector, [0.1, 0.2])
