import numpy as np
import pytest
from scipy.spatial import cKDTree

from peculiar.fields.neighbours import close_pairs, nearest_index


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 7, 40, 3000])
def test_finds_the_particles_that_a_tree_finds(count, dtype):
    rng = np.random.default_rng(count)
    clumps = rng.normal(rng.uniform(0, 10, (5, 1, 3)), 0.4, (5, count // 5 + 1, 3)).reshape(-1, 3)[:count]
    positions = np.mod(clumps, 10.0).astype(dtype)  # most of the box is a void
    points = rng.uniform(0, 10, (500, 3))
    found = nearest_index(positions, points, 10.0)
    np.testing.assert_array_equal(found, cKDTree(positions, boxsize=10.0).query(points)[1])


@pytest.mark.parametrize("reach", [1.0, 4.0, 30.0])
def test_close_pairs_are_those_that_a_tree_finds(reach, monkeypatch):
    monkeypatch.setattr("peculiar.fields.neighbours._AT_ONCE", 700)
    rng = np.random.default_rng(3)
    positions = rng.normal(rng.uniform(-20, 40, (60, 1, 3)), 2.0, (60, 30, 3)).reshape(-1, 3)
    positions[:, 1] /= 4  # sides differ
    expected = cKDTree(positions).query_pairs(reach, output_type="ndarray")
    assert len(expected) > 100
    np.testing.assert_array_equal(
        *(pairs[np.lexsort(pairs.T)] for pairs in (close_pairs(positions, reach), expected))
    )


def test_the_upper_face_belongs_to_the_last_cell():
    highest = np.nextafter(np.float32(30.0), np.float32(0.0))
    positions = np.full((1000, 3), highest, np.float32)
    positions[-1] = 15.0
    assert nearest_index(positions, np.full((1, 3), 15.1), 30.0)[0] == 999
