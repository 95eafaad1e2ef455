import numpy as np
import pytest

from peculiar.statistics.resampling import Resampling, sky_blocks


def sphere(count, *, least=-1.0, seed=0):
    rng = np.random.default_rng(seed)
    z, phi = rng.uniform(least, 1, count), rng.uniform(0, 2 * np.pi, count)
    flat = np.sqrt(1 - z**2)
    return np.column_stack([flat * np.cos(phi), flat * np.sin(phi), z])


def test_blocks_are_the_largest_of_which_forty_hold_objects():
    assert len(np.unique(sky_blocks(sphere(5000)))) == 48  # nside 2
    cap = sky_blocks(sphere(5000, least=0.8))
    assert 40 <= len(np.unique(cap)) <= 150
    few = sky_blocks(sphere(5000, least=0.9999))
    assert len(np.unique(few)) < 40  # the smallest there are


def test_what_neighbours_share_is_in_the_error_of_a_sum():
    """Twenty objects of a block have one error: taken as independent, the sum's error comes out sqrt(20) too small."""
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(60), 20)
    values = rng.standard_normal(60)[blocks]
    true = 20 * np.sqrt(60)
    together = Resampling.draw(blocks, sets=2000, seed=2).error_of_sum(values)
    alone = Resampling.draw(np.arange(1200), sets=500, seed=2).error_of_sum(values)
    assert together == pytest.approx(true, rel=0.25)
    assert alone == pytest.approx(true / np.sqrt(20), rel=0.25)


def test_sets_are_alike_for_one_seed_and_each_has_as_many_blocks():
    blocks = np.array([7, 7, 3, 9])
    first, second = (Resampling.draw(blocks, sets=10, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.counts, second.counts)
    assert (first.counts.sum(axis=1) == 3).all()
    for weights in first.weights():
        assert weights[0] == weights[1]
