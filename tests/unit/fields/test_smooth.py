import math

import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.fields.smooth import gaussian, tophat, tophat_window


def point(index: int, *, periodic: bool) -> Field:
    data = torch.zeros(1, 16, 16, 16)
    data[0, index, 8, 8] = 1.0
    return Field(data, Box(32.0, 16, periodic=periodic), ["delta"], space="redshift")


@pytest.mark.parametrize("smooth", [gaussian, tophat])
def test_only_a_periodic_box_smooths_across_its_faces(smooth):
    radius = 4.5
    assert smooth(point(0, periodic=True), radius).data[0, 15, 8, 8] > 4e-3
    walled = smooth(point(0, periodic=False), radius)
    assert walled.data[0, 15, 8, 8].abs() < 1e-3  # the sharp edge of a top hat rings a little
    torch.testing.assert_close(
        walled.data[0, :3, 8, 8], smooth(point(0, periodic=True), radius).data[0, :3, 8, 8], atol=1e-3, rtol=0
    )


def test_a_point_becomes_a_gaussian():
    smoothed = gaussian(point(8, periodic=True), 4.0)
    profile = smoothed.data[0, 8:13, 8, 8]
    expected = torch.exp(-0.5 * (2.0 * torch.arange(5) / 4.0) ** 2) * 8.0 / (2 * math.pi * 16.0) ** 1.5
    torch.testing.assert_close(profile, expected, atol=1e-5, rtol=0)
    assert smoothed.data.sum() == pytest.approx(1.0, abs=1e-5)
    assert smoothed.space == "redshift"


def test_tophat_window_is_smooth_where_its_series_takes_over():
    x = torch.tensor([1e-4, 0.1, 0.499, 0.501, 3.0], dtype=torch.float64)
    exact = 3 * (torch.sin(x) - x * torch.cos(x)) / x**3
    exact[0] = 1 - x[0] ** 2 / 10
    torch.testing.assert_close(tophat_window((x**2).float() / 4, 2.0).double(), exact, atol=1e-6, rtol=0)


def test_radius_zero_changes_nothing_and_a_negative_one_is_an_error():
    field = point(3, periodic=True)
    assert torch.equal(gaussian(field, 0.0).data, field.data)
    for bad in (-1.0, math.nan):
        with pytest.raises(InputError, match="radius must be >= 0"):
            gaussian(field, bad)
