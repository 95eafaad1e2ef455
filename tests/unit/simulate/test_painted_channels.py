import numpy as np
import torch

from peculiar.core import Box, Cosmology
from peculiar.simulate.mass_function import NOTHING
from peculiar.simulate.painted_channels import told, with_told

COSMOLOGY = Cosmology(Omega_m=0.3)
EPOCH = {"box": Box(40.0, 10), "cosmology": COSMOLOGY, "redshift": 1.0}


def test_expected_counts_come_before_conditions(form):
    edges = (1e10, 2e10, 1e13, 1e14)
    numbers = told(form, ("growth", "redshift"), edges, **EPOCH)
    assert len(numbers) == 5
    assert numbers[0] == np.float32(np.log(NOTHING * 64))  # too light to be found
    expected = form.density(edges, COSMOLOGY, 1.0)[1:] * 64
    assert np.allclose(numbers[1:3].exp(), expected, rtol=1e-5)
    assert np.allclose(numbers[3], np.log(COSMOLOGY.sigma8 * COSMOLOGY.growth(1.0)))
    assert numbers[4] == 1
    finer = told(form, (), edges, **EPOCH, spacing=0.5)
    assert finer[1] > numbers[1]
    assert told(None, (), edges, **EPOCH).tolist() == []


def test_numbers_fill_channels():
    mesh = torch.rand(1, 2, 3, 4)
    found = with_told(mesh, torch.tensor([5.0, 6.0]))
    assert torch.equal(found[:1], mesh)
    assert found[1].unique().tolist() == [5]
    assert found[2].unique().tolist() == [6]
