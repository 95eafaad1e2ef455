"""What the three-point function refuses."""

import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.three_point import three_point_multipoles, three_point_residual


@pytest.fixture
def field():
    return Field(torch.randn(1, 12, 12, 12), Box(24.0, 12), ("delta",))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([2.0, 13.0], "half the box"),
        ([2.1, 2.2, 5.0], "mesh separation in each bin"),
        ([5.0, 2.0], "rising"),
    ],
)
def test_bad_bins(field, edges, message):
    with pytest.raises(InputError, match=message):
        three_point_multipoles(field, edges)


def test_bad_fields(field):
    with pytest.raises(InputError, match="periodic"):
        three_point_multipoles(field.replace(box=Box(24.0, 12, periodic=False)), [2.0, 5.0])
    with pytest.raises(InputError, match="max_order"):
        three_point_multipoles(field, [2.0, 5.0], max_order=-1)
    with pytest.raises(InputError, match="one channel"):
        three_point_multipoles(field.replace(data=field.data.repeat(2, 1, 1, 1), names="ab"), [2.0, 5.0])


def test_residual_needs_equal_bins(field):
    first = three_point_multipoles(field, [2.0, 5.0], max_order=1)
    second = three_point_multipoles(field, [2.0, 6.0], max_order=1)
    with pytest.raises(InputError, match="share bins"):
        three_point_residual(first, second)
    zero = three_point_multipoles(field.replace(data=torch.zeros(1, 12, 12, 12)), [2.0, 5.0], max_order=1)
    with pytest.raises(InputError, match="exactly zero"):
        three_point_residual(first, zero)
