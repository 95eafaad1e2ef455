"""Friends of friends against scipy's neighbour graph, across the periodic edge, and its errors."""

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from peculiar.core.errors import InputError
from peculiar.simulate.halos import Halos, friends_of_friends, warren_mass

SIZE = 50.0


def clustered(seed: int, size: float = SIZE, clumps: int = 40, n: int = 4000) -> np.ndarray:
    """Gaussian clumps over a uniform background, some across the edges, float32 in [0, size)."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.0, size, (clumps, 3))
    centres[:6] *= np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    inside = centres[rng.integers(clumps, size=n // 2)] + rng.normal(0.0, 0.012 * size, (n // 2, 3))
    positions = np.mod(np.concatenate([inside, rng.uniform(0.0, size, (n // 2, 3))]), size).astype(np.float32)
    positions[positions >= size] = 0.0
    return positions[rng.permutation(n)]


def reference_groups(positions: np.ndarray, length: float, min_particles: int, size: float = SIZE) -> set:
    tree = cKDTree(positions.astype(np.float64), boxsize=size)
    pairs = tree.query_pairs(length, output_type="ndarray")
    n = len(positions)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    groups = (
        np.flatnonzero(labels == label) for label in np.flatnonzero(np.bincount(labels) >= min_particles)
    )
    return {tuple(group.tolist()) for group in groups}


def groups_of(halos: Halos) -> set:
    return {tuple(part.tolist()) for part in np.split(halos.members, halos.offsets[1:-1]) if len(part)}


def find(positions: np.ndarray, velocities: np.ndarray | None = None, **settings) -> Halos:
    velocities = np.zeros_like(positions) if velocities is None else velocities
    return friends_of_friends(positions, velocities, **{"box_size": SIZE, "particle_mass": 2e10} | settings)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("min_particles", [1, 2, 12])
def test_groups_equal_the_neighbour_graph(seed, min_particles):
    positions = clustered(seed)
    halos = find(positions, min_particles=min_particles)
    length = 0.2 * SIZE / len(positions) ** (1 / 3)
    assert len(halos) > 10
    assert groups_of(halos) == reference_groups(positions, length, min_particles)


@pytest.mark.parametrize("columns", [2.01, 2.5, 3.0, 3.7, 5.0, 60.0])
def test_groups_are_right_for_few_wide_columns(columns):
    positions = np.random.default_rng(7).uniform(0.0, SIZE, (60, 3)).astype(np.float32)
    length = SIZE / columns
    halos = find(positions, linking_length=1.0, mean_spacing=length, min_particles=1)
    assert groups_of(halos) == reference_groups(positions, length, 1)


@pytest.mark.parametrize(
    "direction", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -1, 0), (0, 1, -1), (1, 1, 1)]
)
@pytest.mark.parametrize(("distance", "linked"), [(0.99, True), (1.01, False)])
def test_pairs_link_across_every_edge_up_to_the_linking_length(direction, distance, linked):
    unit = np.array(direction) / np.linalg.norm(direction)
    corner = np.where(np.array(direction) == 0, 0.5 * SIZE, 0.0)
    pair = np.stack([corner + 0.4 * distance * unit, corner - 0.6 * distance * unit])
    halos = find(pair, linking_length=1.0, mean_spacing=1.0, min_particles=2)
    assert len(halos) == linked


def test_shifting_and_wrapping_change_no_group():
    positions = np.floor(clustered(3) * 1024) / 1024  # a grid on which float32 shifts are exact
    first = find(positions, linking_length=0.21)
    shifted = find(
        np.mod(positions + np.float32(12.5), SIZE) - SIZE * (positions[:, :1] > 20), linking_length=0.21
    )
    assert groups_of(first) == groups_of(shifted)
    assert np.array_equal(first.counts, shifted.counts)
    moved = shifted.positions - first.positions - 12.5
    assert np.abs(moved - SIZE * np.rint(moved / SIZE)).max() < 1e-4


def test_centre_of_mass_across_the_edge_and_mean_velocity():
    positions = np.array([[49.8, 0.1, 25.0], [0.4, 49.9, 25.3], [0.1, 0.3, 24.9]])
    velocities = np.array([[100.0, 0.0, -300.0], [200.0, 30.0, 0.0], [300.0, 60.0, 0.0]])
    halos = find(positions, velocities, linking_length=1.0, mean_spacing=1.0, min_particles=3)
    np.testing.assert_allclose(halos.positions, [[0.1, 0.1, 25.2 - 2 / 15]], atol=1e-5)
    np.testing.assert_allclose(halos.velocities, [[200.0, 30.0, -100.0]], rtol=1e-6)
    assert halos.masses.tolist() == [6e10]


def test_centres_and_velocities_are_the_means_of_the_members():
    positions = clustered(5)
    velocities = np.random.default_rng(5).normal(0.0, 300.0, positions.shape).astype(np.float32)
    halos = find(positions, velocities)
    assert halos.positions.dtype == halos.velocities.dtype == np.float32
    assert halos.positions.min() >= 0.0
    assert halos.positions.max() < SIZE
    for i in range(len(halos)):
        part = halos.members[halos.offsets[i] : halos.offsets[i + 1]]
        angle = np.exp(2j * np.pi * (positions[part].astype(float) - halos.positions[i]) / SIZE)
        assert np.abs(np.angle(angle).mean(axis=0)).max() < 1e-5
        np.testing.assert_allclose(halos.velocities[i], velocities[part].mean(axis=0, dtype=float), atol=1e-3)


def test_halos_descend_in_mass_and_ties_follow_the_first_member():
    halos = find(clustered(6), min_particles=2)
    first = halos.members[halos.offsets[:-1]]
    assert (np.diff(halos.masses) <= 0).all()
    assert (np.diff(first)[np.diff(halos.counts) == 0] > 0).all()
    assert (np.diff(halos.counts) == 0).sum() > 10
    assert np.array_equal(np.diff(halos.offsets), halos.counts)
    np.testing.assert_array_equal(halos.masses, 2e10 * halos.counts)


def test_same_input_gives_the_same_halos_and_input_is_untouched():
    positions = clustered(8) - np.float32(SIZE)
    copy = positions.copy()
    one, two = find(positions), find(positions)
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in one.__dataclass_fields__)
    assert np.array_equal(copy, positions)


def test_no_halo_gives_empty_arrays():
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3) * (SIZE / 4)
    halos = find(grid)
    assert len(halos) == 0
    assert halos.positions.shape == halos.velocities.shape == (0, 3)
    assert halos.offsets.tolist() == [0]


def test_without_members_keeps_the_rest():
    halos = find(clustered(2))
    light = halos.without_members()
    assert len(light.members) == 0
    assert light.offsets.tolist() == [0] * (len(halos) + 1)
    assert np.array_equal(light.positions, halos.positions)
    assert np.array_equal(light.counts, halos.counts)


def test_warren_mass_lowers_small_halos_most():
    np.testing.assert_allclose(warren_mass([1, 32, 10**6], 1e10), [0.0, 2.8e11, 1e16 * (1 - 10**-3.6)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_size": 0.0}, "box_size must be > 0, got 0.0"),
        ({"box_size": -5.0}, "box_size must be > 0, got -5.0"),
        ({"particle_mass": np.nan}, "particle_mass must be > 0"),
        ({"linking_length": -0.2}, "linking_length must be > 0"),
        ({"linking_length": 9.0}, "linking_length must be < half the box"),
        ({"mean_spacing": 0.0}, "mean_spacing must be > 0"),
        ({"min_particles": 0}, "min_particles must be >= 1, got 0"),
        ({"positions": np.zeros((0, 3))}, "positions must be 1 to"),
        ({"positions": np.zeros((9, 2))}, r"positions must be of shape \(n, 3\), got \(9, 2\)"),
        ({"positions": np.full((9, 3), np.nan)}, "positions must be finite Mpc/h, got 9 rows"),
        ({"velocities": np.full((9, 3), np.inf)}, "velocities must be finite km/s, got 9 rows"),
        ({"velocities": np.zeros((8, 3))}, "velocities must be one per position, got 8 for 0"),
    ],
)
def test_bad_input_is_named(change, message):
    change = dict(change)
    positions = change.pop("positions", np.zeros((9, 3)))
    velocities = change.pop("velocities", np.zeros((len(positions), 3)))
    message = message.replace("for 0", f"for {len(positions)}")
    with pytest.raises(InputError, match=message):
        find(positions, velocities, **change)


def test_warren_mass_refuses_empty_halos():
    with pytest.raises(InputError, match="counts must be >= 1, got 0"):
        warren_mass([3, 0], 1e10)
