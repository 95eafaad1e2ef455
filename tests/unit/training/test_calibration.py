import numpy as np
import pytest
import torch

from peculiar.core import Box, Field
from peculiar.core.errors import InputError
from peculiar.fields.calculus import helmholtz
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.statistics.power import compare_power
from peculiar.training.calibration import fit_transfer, fit_vector_transfer

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


def test_boxes_of_other_sizes_are_fitted_together():
    """Half of the amplitude is missing everywhere, in boxes of two sizes and meshes."""
    random = torch.Generator().manual_seed(5)
    truth = [
        Field(torch.randn(1, n, n, n, generator=random), Box(size, n), ["density"])
        for size, n in ((100.0, 32), (60.0, 24), (100.0, 32))
    ]
    k, transfer = fit_transfer([field.replace(data=field.data / 2) for field in truth], truth)
    assert list(k) == sorted(set(k))
    np.testing.assert_allclose(transfer, 2.0, rtol=1e-4)


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
