"""The bias of flux-limited samples along the distance; of light cones see tests/physics."""

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.linear.light_cone import (
    LUMINOSITY_POWER,
    LUMINOSITY_SCATTER,
    AlongDistance,
    bias_evolution,
    bias_uncertainty,
)

COSMOLOGY = PRESETS["wang2024"]
BOX = Box(200.0, 40, origin=(-100.0, -100.0, -100.0), periodic=False)


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    """Objects whose number falls as exp(-distance / 20), seen in one half of the sky, of equal weight per volume."""
    random = np.random.default_rng(5)
    positions = random.uniform(-100, 100, (400_000, 3))
    distance = np.linalg.norm(positions, axis=1)
    chance = np.exp(-distance / 20)
    seen = (positions[:, 2] > 0) & (distance < 95) & (random.random(len(distance)) < chance)
    centres = BOX.centres()
    inside = (centres[:, 2] > 0) & (np.linalg.norm(centres, axis=1) < 95)
    completeness = torch.from_numpy(inside.reshape(1, *BOX.shape).astype(np.float32))
    return Catalogue(
        positions[seen],
        BOX,
        redshift=0.02,
        line_of_sight="radial",
        weights=0.01 / chance[seen],
        observer=(0.0, 0.0, 0.0),
        completeness=Field(completeness, BOX, names=("completeness",), space="redshift"),
        light_cone=True,
        flux_limited=True,
    )


def test_the_bias_of_a_flux_limited_sample_grows_as_its_density_falls(sample):
    found = bias_evolution(sample, cosmology=COSMOLOGY)
    assert isinstance(found, AlongDistance)
    places = np.array([[0.0, 0.0, 25.0], [0.0, 0.0, 75.0]])
    near, far = found.at(places)
    assert far / near == pytest.approx(np.exp(LUMINOSITY_POWER * 50 / 20), rel=0.03)
    assert (np.diff(found.values) >= 0).all()
    assert np.average(found.at(sample.positions), weights=sample.weights) == pytest.approx(1)


def test_a_sample_that_is_thinned_with_distance_has_one_bias(sample):
    assert bias_evolution(sample.replace(flux_limited=False), cosmology=COSMOLOGY) == 1.0


def test_bias_is_the_less_sure_the_more_its_density_differs_from_that_of_most_of_the_volume(sample):
    found = bias_uncertainty(sample, BOX, cosmology=COSMOLOGY)
    near, far = (found[20, 20, 20 + int(distance / BOX.cell_size)] for distance in (25, 75))
    assert float(far - near) == pytest.approx(LUMINOSITY_SCATTER * 50 / 20, rel=0.1)
    assert float(near) < 0
    assert bias_uncertainty(sample.replace(flux_limited=False), BOX, cosmology=COSMOLOGY) is None
