import pytest
import torch
from torch import nn

from peculiar.core.channels import Channels, vector
from peculiar.core.errors import InputError
from peculiar.models import build
from peculiar.models.channels import rho_of
from peculiar.training.losses import velocity_losses
from peculiar.training.objectives import (
    Components,
    Displacements,
    Flows,
    PublishedStage,
    Velocities,
    correlation,
    objectives,
)
from peculiar.training.settings import (
    ComponentLoss,
    DisplacementLoss,
    FlowLoss,
    PublishedLoss,
    VelocityLoss,
)

FLOW = Channels(("log_rho", *vector("linear_2")))


class Fixed(nn.Module):
    """A network that always puts out the same mesh."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.asked = []

    def forward(self, inputs, *, periodic=True):
        self.asked.append(periodic)
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
        assert float(values["ratio_to_start"]) < 1e-3
        assert ("velocity_rms" in values) == (channels == 6)


def test_second_order_theory_has_a_ratio_of_one():
    targets = displacements()
    objective = Displacements(DisplacementLoss(velocity=0.0))
    values = objective.validate(Fixed(targets[:, 6:]), targets, targets, torch.ones(2))
    assert float(values["ratio_to_start"]) == pytest.approx(1.0)
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
    off[:, 3:] += 1 + rho_of(inputs, FLOW)
    objective = Flows(FlowLoss(velocity_scale=1.0, momentum_scale=2.0, momentum=0.5), FLOW)
    assert float(objective.loss(Fixed(off), inputs, targets, crop=False)) == pytest.approx(0.5 / 4)
    assert float(objective.loss(Fixed(targets), inputs, targets, crop=False)) == 0.0


def test_velocities_are_judged_by_the_velocity_of_the_targets_alone():
    targets = torch.randn(2, 7, 6, 6, 6)
    off = targets[:, 1:4] + 1.5
    values = Velocities(VelocityLoss()).validate(Fixed(off), targets, targets, torch.tensor([40.0, 40.0]))
    assert set(values) == {"loss", "velocity_rms", "velocity_correlation"}
    assert float(values["velocity_rms"]) == pytest.approx(60.0)
    assert float(values["velocity_correlation"]) == pytest.approx(1.0, abs=1e-5)
    parts = velocity_losses(off, targets[:, 1:4], scale=8.0)
    assert float(values["loss"]) == pytest.approx(float(sum(parts.values())))


@pytest.mark.parametrize("name", ["square", "dice", "weighted"])
def test_each_term_of_wang2024_can_stand_alone(name):
    targets = torch.randn(1, 7, 6, 6, 6)
    weights = {"square": 0.0, "dice": 0.0, "weighted": 0.0} | {name: 2.0}
    objective = Velocities(VelocityLoss(**weights, velocity_scale=3.0))
    found = objective.loss(Fixed(0.3 * targets[:, 1:4]), targets, targets, crop=False)
    parts = velocity_losses(0.3 * targets[:, 1:4], targets[:, 1:4], scale=3.0)
    assert float(found) == pytest.approx(2 * float(parts[name]))


def test_a_loss_of_velocity_needs_a_term_and_a_network_of_velocity():
    with pytest.raises(ValueError, match="must be > 0"):
        VelocityLoss(square=0, dice=0, weighted=0)
    targets = torch.randn(1, 7, 6, 6, 6)
    with pytest.raises(InputError, match="3 output channels, got 7"):
        Velocities(VelocityLoss()).loss(Fixed(targets), targets, targets, crop=False)


@pytest.mark.parametrize(
    ("objective", "channels"),
    [
        (Components(ComponentLoss(margin=2)), slice(None)),
        (Velocities(VelocityLoss(margin=2)), slice(1, 4)),
        (Displacements(DisplacementLoss(margin=2)), slice(0, 6)),
        (Flows(FlowLoss(margin=2), FLOW), slice(0, 6)),
    ],
)
def test_the_margin_of_a_box_that_does_not_wrap_is_left_out(objective, channels):
    targets = torch.randn(1, 9 if isinstance(objective, Displacements) else 7, 8, 8, 8)
    if isinstance(objective, Flows):
        targets = targets[:, :6]
    outer = targets[:, channels].clone()
    outer[..., :2] += 50.0  # within the margin of one face
    network, factor = Fixed(outer), torch.tensor([40.0])
    inside = objective.validate(network, targets, targets, factor, periodic=False)
    everywhere = objective.validate(network, targets, targets, factor)
    exact = objective.validate(Fixed(targets[:, channels]), targets, targets, factor)
    assert network.asked == [False, True]
    assert float(inside["loss"]) <= float(exact["loss"]) + 1.0 < float(everywhere["loss"])
    assert float(inside["velocity_rms"]) < 1e-3 < float(everywhere["velocity_rms"])


def test_the_margin_is_left_out_of_published_stages_too():
    torch.manual_seed(0)
    names = ["abundance_1", *vector("linear_velocity"), *vector("linear_momentum")]
    network = build("xiao2024", {"inputs": names, "channels": [3, 3, 3], "init_kernel": 3}).eval()
    inputs, targets = torch.randn(2, 1, 7, 16, 16, 16).unbind()
    outer = targets.clone()
    outer[..., :2] += 5.0
    objective, factor = PublishedStage(PublishedLoss(margin=2), "velocity"), torch.tensor([40.0])
    with torch.no_grad():
        found = [objective.validate(network, inputs, t, factor, periodic=False) for t in (targets, outer)]
        everywhere = objective.validate(network, inputs, outer, factor)
    for name, value in found[0].items():
        assert float(value) == pytest.approx(float(found[1][name]))
        assert float(everywhere[name]) != pytest.approx(float(value))


def test_stages_of_each_loss():
    def stages(loss):
        return objectives(loss, inputs=FLOW)

    names = [[one.name for one in stages(loss)] for loss in (ComponentLoss(), PublishedLoss())]
    assert names == [["all"], ["density", "velocity", "momentum"]]
    assert isinstance(stages(DisplacementLoss())[0], Displacements)
    assert isinstance(stages(FlowLoss())[0], Flows)
    assert isinstance(stages(VelocityLoss())[0], Velocities)


def test_correlation_is_pearsons():
    first = torch.randn(1, 1, 6, 6, 6)
    assert float(correlation(first, 3 * first + 2)) == pytest.approx(1.0, abs=1e-5)
    assert float(correlation(first, -first)) == pytest.approx(-1.0, abs=1e-5)
