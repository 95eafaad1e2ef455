from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue
from peculiar.linear.clustering import measure_clustering
from peculiar.linear.noise import left_in_direction
from peculiar.linear.spectra import Shells

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(160.0, 32)


@pytest.fixture
def halos():
    places = np.random.default_rng(1).uniform(0, 160, (4000, 3))
    return Catalogue(places, box=BOX, redshift=0.5)


def test_noise_leaves_less_of_waves_along_the_sight_line(halos):
    left = left_in_direction(halos, BOX, cosmology=COSMOLOGY)
    found, growth = measure_clustering(halos, cosmology=COSMOLOGY), COSMOLOGY.growth_rate(0.5)
    power = float(COSMOLOGY.linear_power(np.array([BOX.k_fundamental]), 0.5)[0])
    along, across = ((found.bias + f) ** 2 * power + found.noise for f in (growth, 0.0))
    assert float(left[0, 0, 1] / left[1, 0, 0]) == pytest.approx(across / along, rel=1e-4)
    turned = left_in_direction(replace(halos, line_of_sight="x"), BOX, cosmology=COSMOLOGY)
    assert float(turned[1, 0, 0]) == pytest.approx(float(left[0, 0, 1]), rel=1e-4)


def test_waves_as_long_have_a_mean_of_one(halos):
    left = left_in_direction(halos, BOX, cosmology=COSMOLOGY)
    shells = Shells.of(BOX, np.linspace(0.2, 0.6, 5))
    np.testing.assert_allclose(shells.mean(left), 1, atol=0.01)


def test_without_one_sight_line_or_distortions_all_waves_are_alike(halos):
    radial = replace(halos, line_of_sight="radial", observer=(0.0, 0.0, 0.0))
    for one in (radial, replace(halos, space="real")):
        left = left_in_direction(one, BOX, cosmology=COSMOLOGY)
        assert torch.equal(left, torch.ones_like(left))
