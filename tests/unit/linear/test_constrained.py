from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.linear.constrained import UnseenMatter
from peculiar.linear.reliability import LONG_WAVES, local_error
from peculiar.linear.smoothing import slowness

COSMOLOGY = PRESETS["wang2024"]


@pytest.fixture(scope="module")
def survey():
    """One corner of a box, well seen."""
    box = Box(320.0, 64, periodic=False)
    seen = torch.zeros(1, 64, 64, 64)
    seen[:, :20, :20, :20] = 1
    places = np.random.default_rng(0).uniform(0, 100, (8000, 3))
    completeness = Field(seen, box, ["completeness"], space="redshift")
    return Catalogue(places, box=box, redshift=0.0, space="real", completeness=completeness)


def test_where_nothing_is_known_matter_moves_as_slowly_as_estimates_do(survey):
    unseen = UnseenMatter.of(survey, cells=64, cosmology=COSMOLOGY)
    random = torch.Generator().manual_seed(1)
    moved = torch.stack([unseen.draw(random)[1] for _ in range(8)])
    mesh = unseen.grid.fourier
    k = (
        2
        * np.pi
        * np.sqrt(sum(one**2 for one in np.meshgrid(*[np.fft.fftfreq(n, 10.0) for n in mesh.shape])))
    )
    power = np.where(k > 0, COSMOLOGY.linear_power(k), 0.0)
    free, slowed = (
        np.sqrt((power * damping / np.maximum(k, 1e-9) ** 2).sum() / (3 * mesh.side**3) + unseen.long**2)
        for damping in (1.0, np.exp(-2 * k * slowness(COSMOLOGY, 0.0)))
    )
    far = float(moved[..., 45:, 45:, 45:].square().mean().sqrt())
    assert slowed < 0.95 * free
    assert far == pytest.approx(slowed, rel=0.12)  # a handful of long waves
    assert float(moved[..., :10, :10, :10].square().mean().sqrt()) < 0.8 * far


def test_nothing_is_lacking_where_a_survey_saw(survey):
    lacking, _ = UnseenMatter.of(survey, cells=64, cosmology=COSMOLOGY).draw(torch.Generator().manual_seed(1))
    assert float(lacking[:18, :18, :18].abs().max()) == pytest.approx(0, abs=1e-6)
    assert float(lacking[40:, 40:, 40:].std()) > 0.2


def test_long_waves_of_seen_cells_move_as_much_as_their_noise_leaves():
    """In a survey that saw everything of its box, far from the faces; without long ones nothing is left."""
    box = Box(640.0, 64, periodic=False)
    places = np.random.default_rng(0).uniform(0, 640, (9000, 3))
    everything = Field(torch.ones(1, *box.shape), box, ["completeness"], space="redshift")
    sparse = Catalogue(places, box=box, redshift=0.0, space="real", completeness=everything)
    unseen = UnseenMatter.of(sparse, cells=64, cosmology=COSMOLOGY)
    without = replace(unseen, noise=unseen.noise * 1e-6)
    middle = (..., *(slice(24, 40),) * 3)
    some, none = (
        torch.stack([one.draw(torch.Generator().manual_seed(seed))[1][middle] for seed in range(8)])
        for one in (unseen, without)
    )
    noise, _ = local_error(sparse, everything, box=box, cosmology=COSMOLOGY, smoothing=LONG_WAVES)
    found = float((some.square().mean() - none.square().mean()).sqrt())
    assert found == pytest.approx(float(noise[middle].mean()), rel=0.25)


def test_waves_that_only_finer_cells_hold_are_told_apart(survey):
    at_64, at_32, at_20 = (UnseenMatter.of(survey, cells=n, cosmology=COSMOLOGY).short for n in (64, 32, 20))
    assert at_64 > at_32 == at_20 == 0.0
    assert at_64 == pytest.approx(0.9, rel=0.1)  # Mpc/h
