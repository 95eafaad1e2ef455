"""Parts of cubes, distances in surveys, and errors by distance."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field
from peculiar.evaluation.cubes.measure import (
    BOUNDARY,
    CENTRE,
    EVERYWHERE,
    SEEN,
    Cube,
    distance_edges,
    distance_from_edge,
    error_moments,
    parts_of,
    radial_errors,
    velocity_scores,
)

N, SIDE = 30, 150.0
BOX = Box(SIDE, N, periodic=False)


@pytest.fixture(scope="module")
def cube():
    """Seen for x < 100 Mpc/h by an observer at the middle of the lower face in x."""
    seen = np.zeros((N, N, N), dtype=bool)
    seen[:20] = True
    centres = np.stack(np.meshgrid(*(BOX.coordinates(i) for i in range(3)), indexing="ij"), axis=-1)
    separation = centres - np.array([0.0, 75.0, 75.0])
    distance = np.linalg.norm(separation, axis=-1)
    noise = torch.randn(3, N, N, N, generator=torch.Generator().manual_seed(5))
    return Cube(
        velocity=Field(200 * noise, BOX, "xyz", "km/s", kind="vector"),
        density=Field(torch.zeros(1, N, N, N), BOX, ["density"]),
        outside=torch.zeros(3, N, N, N),
        potential=torch.zeros(N, N, N),
        parts=parts_of(seen),
        sight=torch.from_numpy((separation / distance[..., None]).transpose(3, 0, 1, 2).astype(np.float32)),
        from_edge=distance_from_edge(seen, cell_size=5.0),
        from_observer=distance,
    )


def test_parts_are_the_papers(cube):
    parts = cube.parts
    assert int(parts[EVERYWHERE].sum()) == N**3
    assert int(parts[CENTRE].sum()) == 20**3  # two thirds of the side: 200 of 300 Mpc/h
    assert torch.equal(parts[BOUNDARY], ~parts[CENTRE])
    assert int(parts[SEEN].sum()) == 20 * N * N
    assert SEEN not in parts_of(np.ones((6, 6, 6), dtype=bool))


def test_distances_from_the_edge(cube):
    line = cube.from_edge[:, 15, 15]
    np.testing.assert_allclose(line[:10], np.minimum(2.5 + 5 * np.arange(10), 75))
    assert line[19] == 2.5
    assert line[20] == -2.5
    assert line[29] == -47.5
    assert cube.from_edge[5, 0, 15] == 2.5  # the cube's face is an edge too


def test_errors_are_found_where_they_were_put(cube):
    # Radial bias of 30 km/s and a slope of 0.8 beyond 100 Mpc/h from the observer, nothing wrong before.
    far = torch.from_numpy(cube.from_observer >= 100.0)
    radial = (cube.velocity.data * cube.sight).sum(dim=0)
    change = torch.where(far, 30.0 - 0.2 * radial, 0.0)
    predicted = cube.velocity.replace(data=cube.velocity.data + change * cube.sight)
    moments = error_moments(predicted, cube)
    edges = distance_edges(SIDE)
    assert moments.shape[1:] == (len(edges["from_edge"]) - 1, len(edges["from_observer"]) - 1)
    assert moments[0].sum() == N**3
    by_distance = radial_errors(moments.sum(axis=1))
    at = np.searchsorted(edges["from_observer"], [60.0, 120.0]) - 1
    np.testing.assert_allclose(by_distance.slope[at], [1.0, 0.8], atol=1e-5)
    np.testing.assert_allclose(by_distance.bias[at], [0.0, 30.0], atol=3.0)
    np.testing.assert_allclose(by_distance.scatter[at], [0.0, 40.0], atol=3.0)
    assert np.isnan(by_distance.bias[-1])


def test_components_are_counted_each_by_itself(cube):
    # One component in three is 250 km/s off: so is every vector.
    data = cube.velocity.data.clone()
    data[0] += 250.0
    scores = velocity_scores(cube.velocity.replace(data=data), cube.velocity, cube.parts[EVERYWHERE])
    assert scores["within_component"] == pytest.approx(2 / 3)
    assert scores["within_residual"] == 0


def test_error_and_magnitude_are_counted_apart(cube):
    # A vector that is turned round has the right length everywhere.
    back = cube.velocity.replace(data=-cube.velocity.data)
    scores = velocity_scores(back, cube.velocity, cube.parts[EVERYWHERE])
    assert scores["within_magnitude"] == 1.0
    assert scores["within_residual"] < 0.1
    assert scores["cosine"] == pytest.approx(-1)
    assert scores["slope"] == pytest.approx(-1)
    assert scores["rms_error"] == pytest.approx(2 * scores["rms_velocity"])
