import numpy as np
import pytest
import torch

from peculiar.core import Box
from peculiar.core.errors import InputError
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.training.calibration import fit_calibration

BOX = Box(100.0, 32)


def lognormal(seed):
    """1 + delta of a smooth Gaussian field, and the same field with noise for a network to have seen."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 32, 32, 32, generator=random)
    smooth = to_real(to_fourier(noise) * torch.exp(-k_squared(BOX) * 9.0 / 2), 32)
    field = smooth / smooth.std(dim=(1, 2, 3), keepdim=True)
    seen, hidden = 0.8 * field[0], 0.6 * field[1]
    rho = (seen + hidden).exp()
    return seen - 0.4, rho / rho.mean()


def apply(mesh, table):
    return torch.from_numpy(np.exp(np.interp(mesh.numpy(), table[0], np.log(table[1]))))


def test_mean_is_the_conditional_mean():
    mesh, rho = lognormal(0)
    table = fit_calibration([mesh], [rho], BOX, aim="mean")
    found = apply(mesh, table)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.02)
    dense = mesh > mesh.quantile(0.9)
    assert float(found[dense].mean() / rho[dense].mean()) == pytest.approx(1.0, abs=0.03)


def test_power_is_unbiased_where_the_mean_loses_it():
    meshes, truths = zip(*(lognormal(seed) for seed in range(3)), strict=True)
    k = k_squared(BOX).sqrt()
    use = (k > 0) & (k < 0.3)

    def ratio(aim):
        table = fit_calibration(meshes, truths, BOX, aim=aim)
        power = [
            sum(to_fourier(rho.float() / rho.mean().float()).abs().square()[use].sum() for rho in fields)
            for fields in ([apply(mesh, table) for mesh in meshes], truths)
        ]
        return float(power[0] / power[1])

    assert ratio("mean") < 0.85
    assert ratio("power") == pytest.approx(1.0, abs=0.15)


def test_table_rises():
    mesh, rho = lognormal(1)
    knots, values = fit_calibration([mesh], [rho], BOX)
    assert list(knots) == sorted(knots)
    assert list(values) == sorted(values)


def test_constant_or_missing_meshes_are_refused():
    with pytest.raises(InputError, match="constant"):
        fit_calibration([torch.zeros(32, 32, 32)], [torch.ones(32, 32, 32)], BOX)
    with pytest.raises(InputError, match="one to one"):
        fit_calibration([], [], BOX)
