import numpy as np
import torch

from peculiar.core import Box, Cosmology
from peculiar.simulate.mass_function import NOTHING, MassFunction
from peculiar.simulate.painted_channels import told, with_told

COSMOLOGY = Cosmology(Omega_m=0.3)
FORM = MassFunction(
    amplitude=-1.4,
    slope=1.8,
    scale=-0.7,
    cutoff=1.2,
    matter=-0.06,
    lost=1.57,
    fading=0.28,
    tilt=-0.1,
    excess=1.9,
    spacing=0.9,
    fewest=12,
)
EPOCH = {"box": Box(40.0, 10), "cosmology": COSMOLOGY, "redshift": 1.0}


def test_expected_counts_come_before_conditions():
    edges = (1e10, 2e10, 1e13, 1e14)
    numbers = told(FORM, ("growth", "redshift"), edges, **EPOCH)
    assert len(numbers) == 5
    assert numbers[0] == np.float32(np.log(NOTHING * 64))  # too light to be found
    expected = FORM.density(edges, COSMOLOGY, 1.0)[1:] * 64
    assert np.allclose(numbers[1:3].exp(), expected, rtol=1e-5)
    assert np.allclose(numbers[3], np.log(COSMOLOGY.sigma8 * COSMOLOGY.growth(1.0)))
    assert numbers[4] == 1
    finer = told(FORM, (), edges, **EPOCH, spacing=0.5)
    assert finer[1] > numbers[1]
    assert told(None, (), edges, **EPOCH).tolist() == []


def test_numbers_fill_channels():
    mesh = torch.rand(1, 2, 3, 4)
    found = with_told(mesh, torch.tensor([5.0, 6.0]))
    assert torch.equal(found[:1], mesh)
    assert found[1].unique().tolist() == [5]
    assert found[2].unique().tolist() == [6]
