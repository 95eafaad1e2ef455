"""Histograms against NumPy."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.distributions import (
    joint_distribution,
    one_point_distribution,
    two_point_distribution,
)

BOX = Box(32.0, 16)


@pytest.fixture
def fields():
    a, b = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    return Field(a, BOX, ("a",), unit="km/s"), Field(0.6 * a + 0.8 * b, BOX, ("b",))


def test_one_point_equals_numpy(fields):
    edges = np.linspace(-2, 2, 17)
    result = one_point_distribution(fields[0], edges)
    values = fields[0].numpy().ravel()
    counts, _ = np.histogram(values, edges)
    np.testing.assert_array_equal(result.counts[0], counts)
    assert (result.density[0] * np.diff(edges)).sum() == pytest.approx(1 - result.outside[0])
    assert result.outside[0] == pytest.approx((abs(values) > 2).mean())
    mask = torch.zeros(16, 16, 16, dtype=torch.bool)
    mask[:4] = True
    counts, _ = np.histogram(fields[0].numpy()[0, :4], edges)
    np.testing.assert_array_equal(one_point_distribution(fields[0], edges, mask=mask).counts[0], counts)


def test_last_edge_belongs_to_the_last_bin():
    field = Field(torch.full((1, 16, 16, 16), 0.3), BOX, ("a",))
    assert one_point_distribution(field, np.array([0.0, 0.1, np.float32(0.3)])).counts[0].tolist() == [
        0,
        4096,
    ]


def test_joint_equals_numpy(fields):
    edges = np.linspace(-3, 3, 13), np.linspace(-2.5, 2.5, 11)
    result = joint_distribution(*fields, first_edges=edges[0], second_edges=edges[1])
    a, b = (f.numpy().ravel() for f in fields)
    counts, _, _ = np.histogram2d(a, b, edges)
    np.testing.assert_array_equal(result.counts, counts)
    assert result.density.sum() * 0.5 * 0.5 == pytest.approx(1 - result.outside)
    np.testing.assert_allclose(np.nansum(result.conditional[2:-2] * 0.5, axis=1), 1)
    # b given a: mean 0.6 a, scatter 0.8.
    centres = 0.5 * (edges[0][1:] + edges[0][:-1])
    np.testing.assert_allclose(result.conditional_mean[4:-4], 0.6 * centres[4:-4], atol=0.1)
    np.testing.assert_allclose(result.conditional_std[4:-4], 0.81, atol=0.1)
    assert result.units == ("km/s", "")


def test_levels_enclose_their_fraction(fields):
    edges = np.linspace(-4, 4, 41)
    result = joint_distribution(*fields, first_edges=edges, second_edges=edges)
    for fraction, level in zip((0.5, 0.9), result.levels((0.5, 0.9)), strict=True):
        enclosed = result.counts[result.density >= level].sum() / result.counts.sum()
        assert fraction <= enclosed < fraction + 0.05


def test_two_point_equals_shifted_pairs(fields):
    edges = np.linspace(-3, 3, 9)
    result = two_point_distribution(fields[0], 4.2, edges)
    a = fields[0].numpy()[0]
    counts = sum(
        np.histogram2d(a.ravel(), np.roll(a, s, axis).ravel(), edges)[0] for axis in range(3) for s in (2, -2)
    )
    np.testing.assert_array_equal(2 * result.counts, counts)
    open_box = fields[0].replace(box=Box(32.0, 16, periodic=False))
    assert two_point_distribution(open_box, 4.2, [-100, 100]).counts.sum() == 3 * 14 * 256


def test_bad_input(fields):
    a, b = fields
    with pytest.raises(InputError, match="edges must be two or more"):
        one_point_distribution(a, [1.0, 0.0])
    with pytest.raises(InputError, match="one channel"):
        joint_distribution(
            Field(a.data.repeat(2, 1, 1, 1), BOX, "ab"), b, first_edges=[0, 1], second_edges=[0, 1]
        )
    with pytest.raises(InputError, match="share one box"):
        joint_distribution(a.replace(box=Box(33.0, 16)), b, first_edges=[0, 1], second_edges=[0, 1])
    with pytest.raises(InputError, match="separation must lie"):
        two_point_distribution(a, 0.5, [0, 1])
    with pytest.raises(InputError, match="fractions"):
        joint_distribution(a, b, first_edges=[0, 1], second_edges=[0, 1]).levels((1.5,))


@pytest.mark.parametrize("edges", [np.linspace(-1.1, 1.3, 25), np.array([-1.0, -0.9, 0.1, 0.7, 1.1])])
def test_values_on_edges_belong_above_them(edges):
    limits = edges.astype(np.float32)
    near = np.concatenate(
        [np.nextafter(limits, -9, dtype=np.float32), np.nextafter(limits, 9, dtype=np.float32)]
    )
    values = np.resize(np.concatenate([limits, near, np.float32([-7, 7, -1e30, 1e30])]), (1, 6, 6, 6))
    result = one_point_distribution(Field(torch.from_numpy(values), Box(6.0, 6), ("delta",)), edges)
    bins = np.searchsorted(limits, values.ravel(), side="right") - 1
    bins[values.ravel() == limits[-1]] = len(edges) - 2
    expected = [(bins == i).sum() for i in range(len(edges) - 1)]
    np.testing.assert_array_equal(result.counts[0], expected)
