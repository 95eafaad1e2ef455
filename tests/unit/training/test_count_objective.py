import pytest
import torch

from peculiar import models
from peculiar.core import InputError
from peculiar.training.count_objective import Counts
from peculiar.training.settings import CountLoss


@pytest.fixture
def painter():
    torch.manual_seed(0)
    return models.build("painter", {"bins": 2, "width": 4, "blocks": 1, "hidden": 4, "start": [1.5, 0.5]})


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(1, 1, 16, 16, 16, generator=generator)
    return inputs, torch.poisson(
        torch.tensor([1.5, 0.5])[None, :, None, None, None] * inputs.exp() / 1.7, generator
    )


def test_loss_is_minus_both_likelihoods_of_a_cell(painter, pair):
    joint, poisson = painter.log_likelihood(*pair)
    loss = Counts(CountLoss(margin=5)).loss(painter, *pair, crop=False)
    weights = torch.tensor([1.0, 3.0**0.5])[None, :, None, None, None]  # of mean counts 1.5 and 0.5
    expected = -(weights * (joint + poisson)).sum().item() / 16**3
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_margin_of_a_crop_does_not_count(painter, pair):
    objective = Counts(CountLoss(margin=6))
    inputs, targets = pair
    edge = targets.clone()
    edge[..., 0] += 5
    with torch.no_grad():
        assert torch.equal(
            objective.loss(painter, inputs, targets, crop=True),
            objective.loss(painter, inputs, edge, crop=True),
        )
        assert not torch.equal(
            objective.loss(painter, inputs, targets, crop=False),
            objective.loss(painter, inputs, edge, crop=False),
        )


@torch.no_grad()
def test_validation_knows_a_good_mean_and_a_draw_without_power(painter, pair):
    objective = Counts(CountLoss(margin=6))
    inputs, targets = pair
    values = objective.validate(painter, inputs, targets, torch.ones(1))
    assert set(values) == {"loss", "log_likelihood", "r_mean", "power_ratio", "variance_ratio"}
    assert 0.5 < values["variance_ratio"] < 2
    empty = models.build("painter", {"bins": 2, "width": 4, "blocks": 1, "hidden": 4, "start": [1e-5, 1e-5]})
    values = objective.validate(empty, inputs, targets, torch.ones(1))
    assert values["power_ratio"] == 0
    assert values["variance_ratio"] == 0


def test_another_network_is_refused(pair):
    with pytest.raises(InputError, match="must go with painter, got Identity"):
        Counts(CountLoss(margin=5)).loss(torch.nn.Identity(), *pair, crop=False)
