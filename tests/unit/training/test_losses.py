import math

import pytest
import torch

from peculiar.models.channels import DENSITY_FLOOR
from peculiar.training.losses import (
    component_losses,
    density_loss,
    flow_losses,
    interior,
    vector_loss,
    velocity_losses,
)


def test_interior_leaves_the_outer_cells_out():
    mesh = torch.zeros(1, 1, 6, 6, 6)
    mesh[..., 2:4, 2:4, 2:4] = 1.0
    assert interior(mesh, 2).shape == (1, 1, 2, 2, 2)
    assert (interior(mesh, 2) == 1).all()
    assert interior(mesh, 0).shape == mesh.shape


def test_density_is_least_at_the_mean_density():
    rho = torch.tensor([0.2, 1.8]).repeat(4).view(1, 1, 2, 2, 2)
    targets = torch.cat([torch.log(rho), torch.zeros(1, 6, 2, 2, 2)], dim=1)
    logarithm = torch.zeros(1, requires_grad=True)
    outputs = torch.cat([logarithm.expand(1, 1, 2, 2, 2), torch.zeros(1, 6, 2, 2, 2)], dim=1)
    component_losses(outputs, targets)["density"].backward()
    assert logarithm.grad is not None
    assert abs(float(logarithm.grad)) < 1e-6  # the mean of rho is 1, whose logarithm is 0


def test_velocity_is_in_units_of_its_scale():
    targets = torch.zeros(1, 7, 2, 2, 2)
    outputs = targets.clone()
    outputs[:, 1:4] = 3.0
    found = component_losses(outputs, targets, velocity_scale=2.0)
    assert float(found["velocity"]) == pytest.approx(2.25)
    assert float(found["momentum"]) == 0


@pytest.mark.parametrize(("power", "expected"), [(0.0, 1.0), (1.0, 1 / 4), (2.0, 1 / 16)])
def test_the_momentum_counts_less_in_dense_cells_by_the_stated_power(power, expected):
    targets = torch.zeros(1, 6, 2, 2, 2)
    parts = flow_losses(
        targets + 2.0,
        targets,
        torch.full((1, 1, 2, 2, 2), 3.0),
        velocity_scale=2.0,
        momentum_scale=2.0,
        density_power=power,
    )
    assert float(parts["velocity"]) == pytest.approx(1.0)
    assert float(parts["momentum"]) == pytest.approx(expected)


def test_eq_5_is_the_squared_error_of_the_density():
    rho = torch.full((1, 1, 2, 2, 2), 3.0)
    target = torch.log(torch.full_like(rho, 1.0) + DENSITY_FLOOR)
    assert float(density_loss(rho, target)) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("angle", [0.0, 60.0, 90.0, 180.0])
def test_eq_6_by_hand(angle):
    target = torch.zeros(1, 3, 2, 2, 2)
    target[:, 0] = 10.0
    parts = torch.zeros(1, 4, 2, 2, 2)
    parts[:, 0] = 1.5  # in units of 5 Mpc/h; the truth is 2
    parts[:, 1], parts[:, 2] = 7 * math.cos(math.radians(angle)), 7 * math.sin(math.radians(angle))
    expected = 0.25 * 0.5**2 + 0.75 * (1 - math.cos(math.radians(angle)))
    assert float(vector_loss(parts, target, scale=5.0)) == pytest.approx(expected, abs=1e-5)


def test_eq_6_leaves_cells_without_direction_out():
    target = torch.zeros(1, 3, 2, 2, 2)
    target[:, 0, 0] = 1.0
    parts = torch.cat([target.norm(dim=1, keepdim=True), target], dim=1)
    assert float(vector_loss(parts, target, scale=1.0)) == pytest.approx(0.0, abs=1e-6)


def test_losses_of_wang2024_by_hand():
    targets = torch.zeros(1, 3, 2, 2, 2)
    targets[:, 0] = 4.0
    found = velocity_losses(0.5 * targets, targets, scale=2.0)
    assert float(found["square"]) == pytest.approx(1 / 3)
    assert float(found["dice"]) == pytest.approx(1 - 2 * 0.5 / 1.25)
    assert float(found["weighted"]) == pytest.approx(2.0, rel=1e-6)
    assert all(abs(float(value)) < 1e-6 for value in velocity_losses(targets, targets, scale=2.0).values())


def test_the_weighted_loss_of_wang2024_counts_fast_cells_more_whatever_their_direction():
    targets = torch.zeros(1, 3, 2, 1, 1)
    targets[0, :, 0, 0, 0] = torch.tensor([-3.0, 0.0, 4.0])
    targets[0, :, 1, 0, 0] = torch.tensor([0.0, -1.0, 0.0])
    fast, slow = targets.clone(), targets.clone()
    fast[0, 0, 0], slow[0, 0, 1] = fast[0, 0, 0] + 1, slow[0, 0, 1] + 1
    weighted = [float(velocity_losses(mesh, targets, scale=1.0)["weighted"]) for mesh in (fast, slow)]
    assert weighted == pytest.approx([2.5, 0.5], rel=1e-5)
    assert float(velocity_losses(-targets, targets, scale=1.0)["dice"]) == pytest.approx(2.0)
