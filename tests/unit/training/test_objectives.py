import pytest
import torch
from torch import nn

from peculiar.models.flow import rho_of
from peculiar.training.objectives import Displacements, Flows, correlation, objectives
from peculiar.training.settings import ComponentLoss, DisplacementLoss, FlowLoss, PublishedLoss


class Fixed(nn.Module):
    """A network that always puts out the same mesh."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs, *, periodic=True):
        return self.outputs


def displacements(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 5 * torch.randn(2, 9, 6, 6, 6, generator=generator)


@pytest.mark.parametrize("error", ["relative distance", "square"])
def test_perfect_displacements_cost_nothing(error):
    targets = displacements()
    objective = Displacements(DisplacementLoss(error=error))
    factor = torch.tensor([50.0, 50.0])
    for channels in (3, 6):
        values = objective.validate(Fixed(targets[:, :channels]), targets, targets, factor)
        assert float(values["loss"]) < 1e-3
        assert float(values["ratio_to_2lpt"]) < 1e-3
        assert ("velocity_rms" in values) == (channels == 6)


def test_second_order_theory_has_a_ratio_of_one():
    targets = displacements()
    objective = Displacements(DisplacementLoss(velocity=0.0))
    values = objective.validate(Fixed(targets[:, 6:]), targets, targets, torch.ones(2))
    assert float(values["ratio_to_2lpt"]) == pytest.approx(1.0)
    assert float(values["loss"]) == pytest.approx(1.0)


def test_calm_and_violent_boxes_count_alike():
    targets = displacements()
    targets[1] *= 0.1
    half_way = 0.5 * (targets[:, :3] + targets[:, 6:])
    loss = Displacements(DisplacementLoss()).loss(Fixed(half_way), targets, targets, crop=False)
    assert float(loss) == pytest.approx(0.5, abs=1e-3)


def test_flow_loss_weighs_momentum_by_the_density_it_is_given():
    inputs = torch.randn(1, 4, 6, 6, 6).abs()
    targets = torch.randn(1, 6, 6, 6, 6)
    off = targets.clone()
    off[:, 3:] += 1 + rho_of(inputs)
    objective = Flows(FlowLoss(velocity_scale=1.0, momentum_scale=2.0, momentum=0.5))
    assert float(objective.loss(Fixed(off), inputs, targets, crop=False)) == pytest.approx(0.5 / 4)
    assert float(objective.loss(Fixed(targets), inputs, targets, crop=False)) == 0.0


def test_stages_of_each_loss():
    names = [[one.name for one in objectives(loss)] for loss in (ComponentLoss(), PublishedLoss())]
    assert names == [["all"], ["density", "velocity", "momentum"]]
    assert isinstance(objectives(DisplacementLoss())[0], Displacements)
    assert isinstance(objectives(FlowLoss())[0], Flows)


def test_correlation_is_pearsons():
    first = torch.randn(1, 1, 6, 6, 6)
    assert float(correlation(first, 3 * first + 2)) == pytest.approx(1.0, abs=1e-5)
    assert float(correlation(first, -first)) == pytest.approx(-1.0, abs=1e-5)
