import numpy as np
import pytest
import torch
from pydantic import ValidationError

from peculiar.core import Box, Field
from peculiar.core.errors import InputError
from peculiar.fields.smooth import gaussian
from peculiar.models import build
from peculiar.models.channels import log_density
from peculiar.models.count_calibration import Calibration, CountCalibration
from peculiar.simulate.painted_channels import with_told
from peculiar.training.count_calibration import fit_counts

NONE = {"shifts": (), "surroundings": ()}


NAMES = ["log_density", "expected_0", "expected_1", "growth"]


class Counted:
    """One box for a painter, whose halos follow the density more than the painter knows."""

    cells, velocity_factor, box = 16, 1.0, Box(60.0, 16)

    def __init__(self, seed, rates, response=0.0, told=()):
        random = torch.Generator().manual_seed(seed)
        noise = Field(torch.randn(1, 16, 16, 16, generator=random), self.box, ["density"])
        delta = 10 * gaussian(noise, 6.0).data
        self.inputs = log_density(delta.clamp(min=-0.9), floor=1.0)
        mean = torch.tensor(rates)[:, None, None, None] * (response * gaussian(noise, 6.0).data * 10).exp()
        self.counts = torch.poisson(mean, generator=random)
        self.inputs = with_told(self.inputs, torch.tensor(told))

    def crop(self, corner, size):
        return self.inputs, self.counts


def calm(start, **settings):
    """A painter that does not look at the density."""
    shape = {"bins": 2, "width": 4, "blocks": 1, "hidden": 4, "start": start}
    painter = build("painter", shape | settings).eval()
    torch.nn.init.zeros_(painter.mean.conv.weight)
    return painter


def test_calibrated_halos_are_as_many_as_true_ones():
    painter = calm([0.3, 0.1])
    pairs = [Counted(seed, [0.6, 0.05]) for seed in range(3)]
    told = []
    calibration = fit_counts(painter, pairs, seed=0, advance=told.append)
    assert sum(told) == 15
    true = torch.stack([pair.counts for pair in pairs]).sum((0, 2, 3, 4))
    around = torch.zeros(1, 1, 16, 16, 16)
    with torch.no_grad():
        log_mean = painter(pairs[0].inputs[None])
        found = calibration.applied(log_mean, around, "mean").exp().mean((0, 2, 3, 4)) * 3 * 16**3
        rate = calibration.applied(log_mean, around, "draws")
        draws = [
            painter.draw(
                painter.features(pairs[0].inputs[None]),
                log_mean,
                generator=torch.Generator().manual_seed(seed),
                log_rate=rate,
            )
            for seed in range(10)
        ]
    assert np.allclose(found / true, 1, atol=0.05)
    drawn = torch.stack(draws).sum((0, 2, 3, 4)) * 0.3
    assert np.allclose(drawn / true, 1, atol=0.12)


def test_calibrated_halos_follow_their_surroundings():
    pairs = [Counted(seed, [1.0, 1.0], response=0.8) for seed in range(4)]
    calibration = fit_counts(calm([1.0, 1.0]), pairs, seed=0)
    # exp(0.8 x) is met by c times the field smoothed once more: a larger factor of what is left of it.
    assert all(c > 0.8 for part in (calibration.mean, calibration.draws) for c in part.surroundings)


def test_conditions_change_the_number_of_halos():
    """Twice as many halos as expected at a condition of 1, half as many at -1."""
    factors = {-1.0: 0.5, 0.0: 1.0, 1.0: 2.0}
    expected = {-1.0: 0.4, 0.0: 0.3, 1.0: 0.2}
    pairs = [
        Counted(seed, [expected[c] * factors[c], 0.3], told=(np.log(expected[c]), np.log(0.3), c))
        for seed, c in enumerate([-1.0, 0.0, 1.0] * 3)
    ]
    painter = calm([1.0, 1.0], inputs=NAMES)
    calibration = fit_counts(painter, pairs, seed=0)
    assert calibration.middle == (0.0,)
    for part in (calibration.mean, calibration.draws):
        assert np.allclose(part.conditions, [[np.log(2)], [0]], atol=0.06)
    with torch.no_grad():
        inputs = pairs[2].inputs[None]
        found = calibration.applied(
            painter(inputs),
            torch.zeros(1, 1, 16, 16, 16),
            "mean",
            expected=painter.expected(inputs),
            conditions=painter.conditions(inputs),
        )
    assert np.allclose(found.exp().mean((0, 2, 3, 4)), [0.4, 0.3], rtol=0.06)


def test_conditions_change_how_halos_follow_their_surroundings():
    pairs = [
        Counted(seed, [0.7, 0.7], response=0.5 + 0.4 * c, told=(np.log(0.7), np.log(0.7), c))
        for seed, c in enumerate([-1.0, 1.0] * 4)
    ]
    calibration = fit_counts(calm([1.0, 1.0], inputs=NAMES), pairs, seed=0)
    for part in (calibration.mean, calibration.draws):
        assert all(0.4 < c < 1.2 for c in part.surroundings)
        assert all(0.3 < c < 0.9 for (c,) in part.responses)


def test_cells_of_every_mean_are_calibrated_by_themselves():
    """A painter that is right in calm cells and twice too rich in dense ones: only the latter change."""
    calibration = CountCalibration(
        radius=6.0,
        log_mean=((-2.0, 0.0),),
        mean=Calibration(shifts=((0.0, -np.log(2)),), surroundings=(0.0,)),
        draws=Calibration(shifts=((0.0, 0.0),), surroundings=(0.5,)),
    )
    log_mean = torch.tensor([-5.0, -2.0, -1.0, 0.0, 3.0]).view(1, 1, 5, 1, 1)
    average = torch.zeros(1, 1, 5, 1, 1)
    found = (calibration.applied(log_mean, average, "mean") - log_mean).flatten()
    assert np.allclose(found, [0, 0, -np.log(2) / 2, -np.log(2), -np.log(2)])
    assert torch.equal(calibration.applied(log_mean, average, "draws"), log_mean)
    assert torch.allclose(calibration.applied(log_mean, average + 2, "draws"), log_mean + 1)


def test_numbers_of_an_empty_bin_are_refused():
    with pytest.raises(InputError, match="must each hold halos"):
        fit_counts(calm([0.3, 0.1]), [Counted(0, [0.5, 0.0])], seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": {"shifts": ((0.0,),), "surroundings": (0.1,)}},
        {"draws": {"shifts": ((0.0, 0.0),), "surroundings": ()}},
        {"log_mean": ((0.0, 0.0),)},
        {"log_mean": (), "mean": NONE, "draws": NONE},
        {"radius": 0.0},
        {"middle": (0.5,)},
        {"draws": {"shifts": ((0.0, 0.0),), "surroundings": (0.1,), "responses": ((0.1,),)}},
    ],
)
def test_a_calibration_needs_nodes_that_rise(wrong):
    right = {
        "radius": 6.0,
        "log_mean": ((-1.0, 0.0),),
        "mean": {"shifts": ((0.0, 0.0),), "surroundings": (0.1,)},
        "draws": {"shifts": ((0.0, 0.0),), "surroundings": (0.1,)},
    }
    with pytest.raises(ValidationError):
        CountCalibration(**right | wrong)
