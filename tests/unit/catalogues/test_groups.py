import time

import numpy as np
import pytest

from peculiar.catalogues import RadialSelection, to_sky
from peculiar.catalogues.groups import Linking, find_groups, gapper
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)
DENSITY = 5e-3
FLAT = RadialSelection(np.array([1.0, 400.0]), np.array([DENSITY, DENSITY]))
SPACING = DENSITY ** (-1 / 3)


def redshifts(positions):
    return COSMOLOGY.redshift_at(np.linalg.norm(positions, axis=1))


def found(positions, **options):
    return find_groups(positions, redshifts(positions), n_of_r=FLAT, **options)


def clusters(seed=2, count=120, members=12, field=6000, sigma=400.0):
    """Groups with fingers of God around x = 150 Mpc/h, across ra = 0, in a sparse field; and their labels."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform((100, -60, -60), (200, 60, 60), (count, 3))
    positions = np.repeat(centres, members, axis=0) + rng.normal(0, 0.25, (count * members, 3))
    sight = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    factor = COSMOLOGY.redshift_space_factor(0.05)
    positions = positions + sight * (rng.normal(0, sigma, len(positions)) * factor)[:, None]
    strangers = rng.uniform((80, -70, -70), (220, 70, 70), (field, 3))
    labels = np.concatenate([np.repeat(np.arange(count), members), -1 - np.arange(field)])
    return np.concatenate([positions, strangers]), labels, centres


def test_friends_are_within_both_lengths():
    across, along = 0.14 * SPACING, 0.75 * SPACING
    base = np.array([150.0, 0.0, 0.0])
    for offset, friends in [
        ((0, 0.98 * across, 0), True),
        ((0, 0, 1.02 * across), False),
        ((0.98 * along, 0, 0), True),
        ((1.02 * along, 0, 0), False),
        ((0.9 * along, 0.9 * across, 0), True),
    ]:
        groups = found(np.stack([base, base + offset]))
        assert len(groups) == (1 if friends else 2), offset


def test_groups_are_those_of_all_pairs():
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    positions, _, _ = clusters(count=20, field=600)
    falling = RadialSelection(np.array([1.0, 150.0, 400.0]), np.array([2e-2, 5e-3, 2e-4]))
    distance = np.linalg.norm(positions, axis=1)
    unit = positions / distance[:, None]
    mean = (distance[:, None] + distance) / 2
    length = np.minimum(falling.at(mean) ** (-1 / 3), 2.0 / 0.14)
    across = mean * np.sqrt(np.maximum(2 - 2 * unit @ unit.T, 0))
    linked = (across <= 0.14 * length) & (np.abs(distance[:, None] - distance) <= 0.75 * length)
    count, label = connected_components(coo_matrix(linked), directed=False)
    groups = find_groups(positions, redshifts(positions), n_of_r=falling)
    assert len(groups) == count
    assert len(set(zip(groups.group.tolist(), label.tolist(), strict=True))) == count


def test_fingers_of_god_are_recovered_across_ra_zero():
    positions, labels, centres = clusters()
    groups = found(positions)
    # the group that holds most of each true one
    own = groups.group[labels >= 0].reshape(-1, 12)
    best = np.array([np.bincount(row).argmax() for row in own])
    completeness = (own == best[:, None]).mean()
    size = groups.members[best]
    purity = ((own == best[:, None]).sum(axis=1) / size)[np.unique(best, return_index=True)[1]].mean()
    assert completeness > 0.85
    assert purity > 0.85
    # the distances of the true centres, which the fingers hide
    error = np.linalg.norm(groups.positions[best], axis=1) - np.linalg.norm(centres, axis=1)
    assert np.median(np.abs(error)) < 1.2
    collapsed = groups.collapsed(positions)
    true = np.repeat(np.linalg.norm(centres, axis=1), 12)
    before, after = (
        np.abs(np.linalg.norm(points[labels >= 0], axis=1) - true).mean() for points in (positions, collapsed)
    )
    assert after < 0.5 * before
    np.testing.assert_allclose(
        collapsed / np.linalg.norm(collapsed, axis=1, keepdims=True),
        positions / np.linalg.norm(positions, axis=1, keepdims=True),
    )
    ra, _, _ = to_sky(groups.positions[best], cosmology=COSMOLOGY)
    assert (np.minimum(ra, 360 - ra) < 35).all()
    # measured from fingers that were cut at their ends
    assert 300 < np.median(groups.dispersions[best]) < 420


def test_what_a_group_is():
    positions = np.array([[100.0, 0, 0], [101.0, 0.2, 0], [102.0, -0.2, 0], [200.0, 0, 0]])
    groups = found(positions, luminosities=np.array([1.0, 2.0, 3.0, 10.0]))
    assert groups.members.tolist() == [3, 1]
    assert groups.group.tolist() == [0, 0, 0, 1]
    assert groups.luminosities.tolist() == [6.0, 10.0]
    assert groups.mass_proxy.tolist() == [6.0, 10.0]
    np.testing.assert_allclose(groups.positions, [[101.0, 0, 0], [200.0, 0, 0]], atol=0.01)
    np.testing.assert_allclose(groups.redshifts[1], COSMOLOGY.redshift_at(200.0))
    assert groups.dispersions[0] > 50
    assert np.isnan(groups.dispersions[1])
    assert found(positions).mass_proxy.tolist() == [3.0, 1.0]


def test_groups_do_not_depend_on_where_the_observer_is_put():
    positions, _, _ = clusters(count=20, field=500)
    shift = (500.0, -30.0, 10.0)
    one = found(positions)
    two = find_groups(positions + shift, redshifts(positions), n_of_r=FLAT, observer=shift)
    np.testing.assert_array_equal(one.group, two.group)
    np.testing.assert_allclose(two.positions, one.positions + shift)


def test_the_gapper_of_normal_velocities_and_of_two():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(500), 8)
    velocity = rng.normal(100, 300, len(group))
    order = rng.permutation(len(group))
    sigma = gapper(velocity[order], group[order], np.full(500, 8))
    assert sigma.mean() == pytest.approx(300, rel=0.03)
    pair = gapper(np.array([0.0, 100.0]), np.array([0, 0]), np.array([2]))
    assert pair[0] == pytest.approx(np.sqrt(np.pi) / 2 * 100)


def test_a_hundred_thousand_galaxies_in_seconds():
    positions, _, _ = clusters(count=5000, members=8, field=60000)
    falling = RadialSelection(np.array([1.0, 400.0]), np.array([6e-2, 2e-2]))
    started = time.process_time()
    groups = find_groups(positions, redshifts(positions), n_of_r=falling)
    assert time.process_time() - started < 10
    assert len(positions) == 100000
    assert 1000 < (groups.members >= 5).sum() < 20000  # the density makes the lengths short


def test_galaxies_where_none_are_expected():
    with pytest.raises(InputError, match="got 1 of 2 elsewhere"):
        found(np.array([[100.0, 0, 0], [500.0, 0, 0]]))
    with pytest.raises(InputError, match="linking length parallel must be > 0, got -1"):
        Linking(parallel=-1)
