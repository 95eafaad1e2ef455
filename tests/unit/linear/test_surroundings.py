import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.fields.calculus import displacement
from peculiar.fields.fourier import to_fourier, to_real
from peculiar.linear import IterativeFFT
from peculiar.linear.clustering import painted_power
from peculiar.linear.overdensity import box_sampling, sampling
from peculiar.linear.surroundings import (
    matter_surroundings,
    noise_variance,
    surroundings_displacement,
    wiener_weights,
)
from peculiar.simulate.initial import linear_field

COSMOLOGY = PRESETS["wang2024"]
SIDE, CELLS = 480.0, 48
"""A box of linear waves, of which a survey sees the lower half along each axis."""


def seen_half(seed):
    """Tracers of a weak linear field in a cube of half the box, and the true displacement of all matter in it."""
    box = Box(SIDE, CELLS)
    delta = linear_field(box, COSMOLOGY, seed=seed, redshift=3.0)
    random = np.random.default_rng(seed)
    counts = random.poisson((40 * (1 + delta).clamp(min=0)).numpy())
    rows = np.stack(np.nonzero(counts), axis=1)
    rows = np.repeat(rows, counts[tuple(rows.T)], axis=0)
    positions = (rows + random.random(rows.shape)) * box.cell_size
    positions = positions[(positions < SIDE / 2).all(axis=1)]
    region = Box(SIDE / 2, CELLS // 2, periodic=False)
    catalogue = Catalogue(
        positions=positions,
        box=region,
        redshift=3.0,
        space="real",
        completeness=Field(torch.ones(1, 24, 24, 24), region, ["completeness"], space="redshift"),
    )
    n = CELLS // 2
    return catalogue, displacement(delta, box)[:, :n, :n, :n]


@pytest.fixture(scope="module")
def surveys():
    return [seen_half(seed) for seed in range(3)]


def test_the_flow_from_outside_is_found_in_part(surveys):
    better = []
    for catalogue, truth in surveys:
        plain, extended = (
            IterativeFFT(smoothing=0.0, bias=1.0, surroundings=flag)
            .reconstruct(catalogue, cells=24, cosmology=COSMOLOGY)["velocity"]
            .data
            / COSMOLOGY.velocity_factor(3.0)
            for flag in (False, True)
        )
        errors = [float((flow - truth).square().mean()) for flow in (plain, extended)]
        better.append(errors[1] / errors[0])
    assert np.mean(better) < 0.9


def test_known_matter_tells_of_the_flow_from_outside():
    better = []
    for seed in range(3):
        delta = linear_field(Box(SIDE, CELLS), COSMOLOGY, seed=seed, redshift=3.0)
        inside = (slice(24),) * 3
        density = Field(delta[inside][None], Box(SIDE / 2, 24, periodic=False), ["density"])
        outside = delta.clone()
        outside[inside] = 0
        truth = displacement(outside, Box(SIDE, CELLS))[:, :24, :24, :24]
        expected = matter_surroundings(density, cosmology=COSMOLOGY, redshift=3.0)
        better.append(float((truth - expected).square().mean() / truth.square().mean()))
    assert np.mean(better) < 0.85


def test_the_flow_is_harmonic_where_the_survey_looked(surveys):
    """No divergence inside: the covered cells' own matter is left out."""
    catalogue, _ = surveys[0]
    flow = surroundings_displacement(catalogue, catalogue.positions, cells=24, cosmology=COSMOLOGY, bias=1.0)
    gradients = [torch.gradient(flow[axis], spacing=10.0, dim=axis)[0] for axis in range(3)]
    inner = (slice(4, -4),) * 3
    sheared = torch.gradient(flow[0], spacing=10.0, dim=0)[0][inner]
    assert float(sum(gradients)[inner].std()) < 0.35 * float(sheared.std())


@pytest.mark.parametrize(("noise", "decades"), [(0.0, 1), (0.01, 1), (1.0, 1), (1.0, 3)])
def test_wiener_weights_converge_in_few_steps(noise, decades, monkeypatch):
    """The equation holds to 1e-4, for even and for uneven noise, after at most 20 steps of two transforms each way."""
    grid = box_sampling(Box(SIDE / 2, CELLS // 2, periodic=False))
    box, covered = grid.fourier, grid.covered
    signal = painted_power(box, cosmology=COSMOLOGY, redshift=0.0)
    density = linear_field(box, COSMOLOGY, seed=2, redshift=0.0)
    uneven = noise * 10.0 ** torch.linspace(0, decades, box.mesh)[:, None, None].expand_as(density) * covered
    transforms = []

    def count(data):
        transforms.append(data)
        return to_fourier(data)

    monkeypatch.setattr("peculiar.linear.surroundings.to_fourier", count)
    weights = wiener_weights(density.clone(), covered=covered, signal=signal, noise=uneven)
    assert len(transforms) <= 2 * 20
    image = to_real(to_fourier(weights.double()) * signal.double(), box.mesh) + uneven * weights
    missed = ((image - density) * covered).square().sum() / (density * covered).square().sum()
    assert float(missed) ** 0.5 < 1.5e-4
    assert not bool((weights * ~covered).any())


def test_a_box_that_is_seen_whole_has_no_surroundings():
    random = np.random.default_rng(0)
    catalogue = Catalogue(
        positions=random.uniform(0, 100, (500, 3)), box=Box(100.0), redshift=0.0, space="real"
    )
    flow = surroundings_displacement(catalogue, catalogue.positions, cells=8, cosmology=COSMOLOGY, bias=1.0)
    assert flow.shape == (3, 8, 8, 8)
    assert float(flow.abs().max()) == 0


def test_sparse_tracers_tell_less(surveys):
    """With more noise the estimate shrinks towards nothing."""
    catalogue, _ = surveys[0]
    few = catalogue.replace(positions=catalogue.positions[::200])

    def strength(one):
        return float(
            surroundings_displacement(one, one.positions, cells=24, cosmology=COSMOLOGY, bias=1.0).std()
        )

    assert strength(few) < 0.8 * strength(catalogue)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_shot_noise_of_weighted_tracers_is_that_of_their_numbers(scale):
    # Five times as dense in the near half, with weights that bring it back: its noise is a fifth.
    box = Box(300.0, 30, periodic=False)
    rng = np.random.default_rng(1)
    near, far = rng.uniform(0, (150, 300, 300), (135000, 3)), rng.uniform((150, 0, 0), 300, (27000, 3))
    catalogue = Catalogue(
        positions=np.concatenate([near, far]),
        box=box,
        redshift=0.0,
        weights=scale * np.r_[np.full(135000, 0.2), np.ones(27000)],
    )
    assert catalogue.number_density == pytest.approx(scale * 2e-3)
    noise = noise_variance(catalogue, sampling(catalogue, 30), bias=2.0)
    per_cell = 2e-3 * 10.0**3
    np.testing.assert_allclose(noise[20:28, 4:26, 4:26], 1 / (4 * per_cell), rtol=0.1)
    np.testing.assert_allclose(noise[2:9, 4:26, 4:26], 0.2 / (4 * per_cell), rtol=0.1)
