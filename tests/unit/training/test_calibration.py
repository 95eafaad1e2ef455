import numpy as np
import pytest
import torch
from pydantic import ValidationError

from peculiar.core import Box, Field
from peculiar.core.errors import InputError
from peculiar.fields.calculus import helmholtz
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.models import build
from peculiar.models.count_calibration import CountCalibration
from peculiar.statistics.power import compare_power
from peculiar.training.calibration import fit_counts, fit_transfer, fit_vector_transfer

BOX = Box(100.0, 32)


def pair(seed):
    """A field that a network found, and the truth: what was found plus what it could not see."""
    random = torch.Generator().manual_seed(seed)
    noise = to_fourier(torch.randn(2, 32, 32, 32, generator=random))
    k = k_squared(BOX).sqrt()
    seen, hidden = to_real(noise * torch.stack([torch.exp(-k * 3), 0.5 * k * torch.exp(-k * 3)]), 32)
    return Field(seen[None], BOX, ["density"]), Field((seen + hidden)[None], BOX, ["density"])


def apply(field, k, transfer):
    factor = torch.from_numpy(np.interp(k_squared(BOX).sqrt().numpy(), k, transfer)).float()
    return field.replace(data=to_real(to_fourier(field.data) * factor, 32))


def test_power_is_unbiased_on_fields_that_were_not_fitted():
    fitted = [pair(seed) for seed in range(4)]
    k, transfer = fit_transfer([a for a, _ in fitted], [b for _, b in fitted])
    assert list(k) == sorted(k)
    predicted, truth = pair(10)
    before, after = (compare_power(field, truth) for field in (predicted, apply(predicted, k, transfer)))
    low = (before.k > 0.1) & (before.k < 0.5)
    assert np.mean(before.relative_deviation[low]) < -0.015
    assert abs(np.mean(after.relative_deviation[low])) < 0.01
    np.testing.assert_allclose(
        after.correlation_coefficient[low], before.correlation_coefficient[low], atol=2e-3
    )


def test_fields_must_be_one_to_one():
    with pytest.raises(InputError, match="one to one"):
        fit_transfer([], [])
    with pytest.raises(InputError, match="one to one"):
        fit_transfer([pair(0)[0]], [])


def test_vector_transfer_takes_each_helmholtz_part_back():
    box = Box(100.0, 16)
    generator = torch.Generator().manual_seed(4)
    true = [
        Field(torch.randn(3, 16, 16, 16, generator=generator), box, "xyz", "km/s", kind="vector")
        for _ in range(2)
    ]
    found = []
    for field in true:
        potential, rotational = helmholtz(field)
        found.append(field.replace(data=0.5 * potential.data + 0.25 * rotational.data))
    k, along, across = fit_vector_transfer(found, true)
    assert k[-1] > 0.4  # the mesh's Nyquist wavenumber is 0.5
    assert np.allclose(along, 2.0, atol=1e-3)
    assert np.allclose(across, 4.0, atol=1e-3)
    with pytest.raises(InputError, match="one to one"):
        fit_vector_transfer(found, true[:1])


class Counted:
    """One box for a painter."""

    cells, velocity_factor = 8, 1.0

    def __init__(self, seed, rates):
        random = torch.Generator().manual_seed(seed)
        self.inputs = torch.rand(1, 8, 8, 8, generator=random)
        self.counts = torch.poisson(
            torch.tensor(rates)[:, None, None, None].expand(-1, 8, 8, 8), generator=random
        )

    def crop(self, corner, size):
        return self.inputs, self.counts


def test_calibrated_halos_are_as_many_as_true_ones():
    painter = build("painter", {"bins": 2, "width": 4, "blocks": 1, "hidden": 4, "start": [0.3, 0.1]}).eval()
    pairs = [Counted(seed, [0.6, 0.2]) for seed in range(3)]
    told = []
    calibration = fit_counts(painter, pairs, seed=0, advance=told.append)
    assert sum(told) == 12
    true = torch.stack([pair.counts for pair in pairs]).sum((0, 2, 3, 4))
    with torch.no_grad():
        log_mean = torch.cat([painter(pair.inputs[None]) for pair in pairs])
        draws = [
            painter.draw(
                painter.encoder(pair.inputs[None]),
                generator=torch.Generator().manual_seed(seed),
                calibration=calibration,
            )
            for pair in pairs
            for seed in range(4)
        ]
    before, after = log_mean.exp(), calibration.applied(log_mean, "mean").exp()
    assert float(before.sum((0, 2, 3, 4))[0] / true[0]) < 0.8
    assert np.allclose(after.sum((0, 2, 3, 4)) / true, 1, atol=0.01)
    drawn = torch.stack(draws).sum((0, 2, 3, 4)) / 4
    assert np.allclose(drawn / true, 1, atol=0.15)


def test_cells_of_every_mean_are_calibrated_by_themselves():
    """A painter that is right in calm cells and twice too rich in dense ones: only the latter change."""
    calibration = CountCalibration(log_mean=((-2.0, 0.0),), mean=((0.0, -np.log(2)),), draws=((0.0, 0.0),))
    log_mean = torch.tensor([-5.0, -2.0, -1.0, 0.0, 3.0]).view(1, 1, 5, 1, 1)
    found = (calibration.applied(log_mean, "mean") - log_mean).flatten()
    assert np.allclose(found, [0, 0, -np.log(2) / 2, -np.log(2), -np.log(2)])
    assert torch.equal(calibration.applied(log_mean, "draws"), log_mean)


def test_numbers_of_an_empty_bin_are_refused():
    painter = build("painter", {"bins": 2, "width": 4, "blocks": 1, "hidden": 4})
    with pytest.raises(InputError, match="must each hold halos"):
        fit_counts(painter, [Counted(0, [0.5, 0.0])], seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": ((0.0,),)},
        {"log_mean": ((0.0, 0.0),)},
        {"log_mean": (), "mean": (), "draws": ()},
    ],
)
def test_a_calibration_needs_nodes_that_rise(wrong):
    right = {"log_mean": ((-1.0, 0.0),), "mean": ((0.0, 0.0),), "draws": ((0.0, 0.0),)}
    with pytest.raises(ValidationError):
        CountCalibration(**right | wrong)
