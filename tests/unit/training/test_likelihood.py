import math

import pytest
import torch
from torch import nn

from peculiar.core.channels import Channels, vector
from peculiar.models.channels import LIKELIHOOD_OUTPUTS, LOG_VARIANCE, OUTPUTS, VELOCITY
from peculiar.training.likelihood import Likelihood, mean_likelihood, squares
from peculiar.training.settings import LikelihoodLoss

INPUTS = Channels((*vector("wiener_velocity"), *vector("sight")))
ONLY = {"density": 0.0, "velocity": 0.0, "momentum": 0.0, "errors": 0.0, "margin": 0}


class Fixed(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs, *, periodic=True):
        return self.outputs


def meshes(seed=0):
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randn(2, 6, 8, 8, 8, generator=random)
    inputs[:, 3:] = 0
    inputs[:, 5] = 1  # along z
    targets = torch.randn(2, len(OUTPUTS), 8, 8, 8, generator=random)
    outputs = torch.zeros(2, len(LIKELIHOOD_OUTPUTS), 8, 8, 8)
    outputs[:, VELOCITY] = targets[:, 1:4]
    return inputs, targets, outputs


def loss(outputs, inputs, targets, **weights):
    objective = Likelihood(LikelihoodLoss(**{**ONLY, **weights}), INPUTS)
    return objective.loss(Fixed(outputs), inputs, targets, crop=False)


def test_squares_are_along_the_sight_line_and_across_it():
    error = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1, 1)
    sight = torch.tensor([0.0, 0.6, 0.8]).view(1, 3, 1, 1, 1)
    assert torch.allclose(squares(error, sight).flatten(), torch.tensor([3.6**2, 14 - 3.6**2]))


def test_the_likelihood_is_best_at_the_true_variances():
    random = torch.Generator().manual_seed(1)
    error = torch.randn(1, 3, 24, 24, 24, generator=random) * torch.tensor([1.0, 1.0, 3.0]).view(
        1, 3, 1, 1, 1
    )
    sight = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1, 1).expand_as(error)
    told = torch.tensor([0.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([told], max_iter=50)

    def step():
        optimiser.zero_grad()
        value = mean_likelihood(
            squares(error, sight),
            told.view(1, 2, 1, 1, 1).expand(1, 2, 24, 24, 24),
        )
        value.backward()
        return value

    optimiser.step(step)
    assert told.tolist() == pytest.approx([math.log(9), 0.0], abs=0.05)


def test_perfect_velocities_cost_nothing():
    inputs, targets, outputs = meshes()
    assert loss(outputs, inputs, targets, velocity=1.0) == 0
    assert loss(outputs + 1, inputs, targets, velocity=1.0) > 0


def test_an_error_costs_its_share_of_the_linear_estimates_whatever_is_told():
    inputs, targets, outputs = meshes()
    inputs[:, :3] = targets[:, VELOCITY] + 4
    outputs[:, VELOCITY] += 2
    outputs[:, LOG_VARIANCE] = math.log(100)
    assert loss(outputs, inputs, targets, velocity=1.0) == pytest.approx(0.25)


def test_variances_do_not_move_the_velocities():
    """The likelihood of the errors teaches the variances alone."""
    inputs, targets, outputs = meshes()
    outputs = (outputs + 1).requires_grad_()
    loss(outputs, inputs, targets, errors=1.0).backward()
    moved = outputs.grad.abs().amax(dim=(0, 2, 3, 4))
    assert moved.nonzero().flatten().tolist() == list(range(len(LIKELIHOOD_OUTPUTS)))[LOG_VARIANCE]


def test_validation_compares_with_the_linear_estimate():
    inputs, targets, outputs = meshes()
    outputs[:, VELOCITY] = (inputs[:, :3] + targets[:, 1:4]) / 2
    objective = Likelihood(LikelihoodLoss(margin=0), INPUTS)
    values = objective.validate(Fixed(outputs), inputs, targets, torch.ones(2))
    assert values["velocity_ratio"] == pytest.approx(0.25)
