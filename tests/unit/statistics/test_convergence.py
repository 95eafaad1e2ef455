"""Points where a flow converges, against flows made to converge at known places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.fields.calculus import displacement
from peculiar.statistics.convergence import convergence, infall

FACTOR = 52.0  # km/s per Mpc/h
PLACE = np.array([[62.5, 97.5, 87.5]])
OPEN = Box(160.0, 32, origin=(0.0, 0.0, 0.0), periodic=False)


def overdensity(box: Box, place: np.ndarray, *, width: float = 12.0, peak: float = 1.0) -> torch.Tensor:
    """A Gaussian lump."""
    offset = [box.coordinates(axis) - place[0, axis] for axis in range(3)]
    square = sum(part**2 for part in np.meshgrid(*offset, indexing="ij"))
    return torch.from_numpy(peak * np.exp(-square / (2 * width**2))).float()


def flow(box: Box, place: np.ndarray = PLACE, **lump: float) -> Field:
    """Linear flow into a lump."""
    velocity = FACTOR * displacement(overdensity(box, place, **lump), box)
    return Field(velocity, box, "xyz", "km/s", kind="vector", definition="test")


@pytest.mark.parametrize("periodic", [True, False])
def test_a_spherical_infall_is_found_where_it_is_and_nowhere_else(periodic):
    box = Box(160.0, 32, periodic=periodic)
    found = convergence(flow(box), velocity_factor=FACTOR)
    np.testing.assert_allclose(found.points[0], PLACE[0], atol=0.1)
    assert found.strengths[0] > 3
    assert found.percentile(found.at(PLACE))[0] > 99.9
    wrong = PLACE + [[60.0, 0.0, 0.0]]
    assert found.percentile(found.at(wrong))[0] < 90
    row = found.strongest_within(np.vstack([PLACE + 3, wrong]), np.array([15.0, 15.0]))
    assert row[0] == 0
    assert row[1] == -1 or found.strengths[row[1]] < 0.5


def test_the_convergence_of_linear_theory_is_the_smoothed_overdensity():
    box = Box(160.0, 32)
    found = convergence(flow(box), velocity_factor=FACTOR, smoothing=5.0)
    smooth = 12.0**2 / (12.0**2 + 5.0**2)
    expected = smooth**1.5 - float(overdensity(box, PLACE).mean())  # displacement takes out the mean
    assert found.at(PLACE)[0] * found.rms == pytest.approx(expected, rel=0.02)


def test_an_outflow_has_no_point():
    found = convergence(flow(OPEN, peak=-1.0), velocity_factor=FACTOR)
    assert found.percentile(found.at(PLACE))[0] < 0.1
    assert (np.linalg.norm(found.points - PLACE, axis=1) > 20).all()


def test_the_weaker_of_two_near_points_is_left_out():
    box = Box(160.0, 64)
    near = PLACE + [[14.0, 0.0, 0.0]]
    delta = overdensity(box, PLACE, width=4.0) + overdensity(box, near, width=4.0, peak=0.8)
    velocity = Field(FACTOR * displacement(delta, box), box, "xyz", "km/s", kind="vector")
    both = convergence(velocity, velocity_factor=FACTOR, smoothing=3.0)
    one = convergence(velocity, velocity_factor=FACTOR, smoothing=7.5)
    assert (np.linalg.norm(both.points[:2] - PLACE, axis=1) < [3, 16]).all()
    assert both.strengths[1] > 0.5 * both.strengths[0]
    assert np.sum(np.linalg.norm(one.points - PLACE, axis=1) < 15.0) == 1


def test_nothing_beyond_the_edge_enters():
    coverage = np.zeros((32, 32, 32), dtype=bool)
    coverage[4:28, 4:28, 4:28] = True
    clean = flow(OPEN)
    spoilt = clean.data.clone()
    outside = torch.nn.functional.max_pool3d(torch.from_numpy(coverage)[None].float(), 3, 1, 1)[0] == 0
    spoilt[:, outside] = 1e4
    a = convergence(clean, velocity_factor=FACTOR, coverage=coverage)
    b = convergence(clean.replace(data=spoilt), velocity_factor=FACTOR, coverage=coverage)
    np.testing.assert_allclose(a.values, b.values, atol=1e-5)
    assert np.isnan(a.values[~coverage]).all()
    assert np.isnan(a.values[4, 4, 4])  # an eighth of its Gaussian is observed
    assert np.isfinite(a.values[8, 8, 8])
    assert np.isnan(a.at(np.array([[1.0, 1.0, 1.0], [-9.0, 0.0, 0.0]]))).all()
    assert np.isnan(a.percentile(np.array([np.nan]))).all()


def test_chance_is_a_share_of_the_volume():
    found = convergence(flow(Box(160.0, 32)), velocity_factor=FACTOR)
    strongest = found.strengths[0]
    assert found.chance(20.0, strongest) == pytest.approx(4 / 3 * np.pi * 20**3 / 160**3, rel=0.1)
    assert found.chance(20.0, strongest + 1) == 0


def test_infall_is_towards_the_lump_and_no_bulk_flow():
    box = OPEN
    still = flow(box)
    inward = infall(still, PLACE, radius=20.0)[0]
    # v = -(1/3) FACTOR r mean_delta(<r); a lump of 12 Mpc/h has mean 0.68 within 15 Mpc/h
    assert 100 < inward < 300
    moving = still.replace(data=still.data + 500.0)
    np.testing.assert_allclose(infall(moving, PLACE, radius=20.0)[0], inward, rtol=1e-3)
    np.testing.assert_allclose(infall(still.replace(data=-still.data), PLACE, radius=20.0)[0], -inward)


def test_uniform_infall_has_its_own_mean():
    """v = -A r has the mean (3/4) A R over a sphere."""
    x = [torch.as_tensor(OPEN.coordinates(axis) - PLACE[0, axis]).float() for axis in range(3)]
    data = -10 * torch.stack(torch.meshgrid(*x, indexing="ij"))
    velocity = Field(data, OPEN, "xyz", "km/s", kind="vector")
    assert infall(velocity, PLACE, radius=40.0)[0] == pytest.approx(10 * 0.75 * 40, rel=0.02)


def test_infall_needs_half_of_its_sphere():
    coverage = np.zeros((32, 32, 32), dtype=bool)
    coverage[:11] = True  # x < 55
    assert np.isnan(infall(flow(OPEN), PLACE, radius=20.0, coverage=coverage)).all()
    assert np.isfinite(infall(flow(OPEN), PLACE - [[20.0, 0, 0]], radius=20.0, coverage=coverage)).all()


def test_bad_input():
    good = flow(OPEN)
    with pytest.raises(InputError, match="vector"):
        convergence(Field(good.data[:1], OPEN, ["density"]), velocity_factor=FACTOR)
    with pytest.raises(InputError, match="smoothing must be at least half a cell"):
        convergence(good, velocity_factor=FACTOR, smoothing=1.0)
    with pytest.raises(InputError, match="coverage must have the shape"):
        convergence(good, velocity_factor=FACTOR, coverage=np.ones((4, 4, 4), dtype=bool))
    with pytest.raises(InputError, match="coverage must hold cells"):
        convergence(good, velocity_factor=FACTOR, coverage=np.zeros((32, 32, 32), dtype=bool))
    with pytest.raises(InputError, match="velocity must vary"):
        convergence(good.replace(data=torch.full_like(good.data, 3.0)), velocity_factor=FACTOR)
    with pytest.raises(InputError, match="radius must lie in"):
        infall(good, PLACE, radius=100.0)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_box_may_have_three_sides(periodic):
    box = Box((160.0, 240.0, 120.0), (32, 48, 24), periodic=periodic)
    place = np.array([[82.5, 157.5, 42.5]])
    offset = np.stack(np.meshgrid(*(box.coordinates(axis) for axis in range(3)), indexing="ij"))
    offset -= place[0][:, None, None, None]
    data = -20.0 * offset * np.exp(-(offset**2).sum(axis=0) / 450)
    flow = Field(torch.from_numpy(data).float(), box, "xyz", "km/s", kind="vector")
    found = convergence(flow, velocity_factor=50.0)
    np.testing.assert_allclose(found.points[0], place[0])
    assert found.at(place)[0] == found.strengths[0]
    assert infall(flow, place, radius=20.0)[0] > 50
