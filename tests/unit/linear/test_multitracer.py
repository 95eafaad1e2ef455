from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import to_fourier, to_real
from peculiar.linear import MultiTracerWiener
from peculiar.linear.clustering import matter_power
from peculiar.linear.optimal_weights import (
    FRACTIONS,
    TracerBins,
    bin_weights,
    measure_bins,
    optimal_weights,
    places,
)

COSMOLOGY = PRESETS["xiao2024"]
REDSHIFT = 2.0
CELLS, SIZE = 48, 480.0
BOX = Box(SIZE, CELLS)
pytestmark = pytest.mark.filterwarnings("ignore:bias of:peculiar.core.errors.OutOfRangeWarning")


def matter(seed=1):
    """A Gaussian field of linear matter on a mesh of 10 Mpc/h, and its displacement."""
    white = torch.randn(BOX.shape, generator=torch.Generator().manual_seed(seed))
    modes = to_fourier(white) * matter_power(BOX, cosmology=COSMOLOGY, redshift=REDSHIFT).sqrt()
    return to_real(modes, CELLS), displacement_from_fourier(modes, BOX) * COSMOLOGY.velocity_factor(REDSHIFT)


def poisson(density, bias, number, seed):
    rng = np.random.default_rng(seed)
    log = bias * density.numpy()
    mean = number * np.exp(log - log.var() / 2) * BOX.cell_size**3  # its cross power with matter is bias P
    cells = np.repeat(np.arange(density.numel()), rng.poisson(mean).ravel())
    corner = np.stack(np.unravel_index(cells, BOX.shape), axis=1)
    return (corner + rng.uniform(0, 1, corner.shape)) * BOX.cell_size


@pytest.fixture(scope="module")
def truth():
    return matter()


@pytest.fixture(scope="module")
def catalogue(truth):
    """In real space: rare objects of a large bias and many of a small one."""
    rare, many = poisson(truth[0], 2.0, 1e-4, 2), poisson(truth[0], 0.5, 9e-4, 3)
    points = np.concatenate([rare, many])
    masses = np.concatenate([np.full(len(rare), 2.0), np.ones(len(many))])
    return Catalogue(points, BOX, redshift=REDSHIFT, space="real", masses=masses)


@pytest.fixture(scope="module")
def dense(truth):
    """Many objects of one kind in the same volume, whose faces are open."""
    return Catalogue(
        poisson(truth[0], 2.0, 3e-3, 4),
        Box(SIZE, CELLS, periodic=False),
        redshift=REDSHIFT,
        space="real",
    )


def error(found, truth):
    return float((found["velocity"].data - truth).square().mean())


def slope(found, truth):
    velocity = found["velocity"].data
    return float((velocity * truth).sum() / velocity.square().sum())


def test_bins_hold_fractions_of_the_sample_and_know_their_bias_and_noise(catalogue):
    bins = measure_bins(catalogue, bias=0.65, cosmology=COSMOLOGY)
    np.testing.assert_allclose(bins.fractions, np.diff(FRACTIONS, prepend=0), atol=1e-3)
    expected = np.array([2.0, 2.0, 0.5, 0.5])
    found = bins.bias / np.average(bins.bias, weights=bins.fractions)
    np.testing.assert_allclose(found, expected / np.average(expected, weights=bins.fractions), rtol=0.15)
    np.testing.assert_allclose(bins.noise, 1.0, atol=0.15)
    weights = optimal_weights(catalogue, bias=0.65, cosmology=COSMOLOGY).weights
    assert np.average(weights) == pytest.approx(1.0)
    assert weights[catalogue.masses == 2].mean() > 2 * weights[catalogue.masses == 1].mean()


def test_weights_of_bins_invert_the_noise_of_halos():
    density, bias, noise = np.array([1e-4, 4e-4, 2e-3]), np.array([2.5, 1.6, 1.1]), np.array([0.9, 1.0, 1.2])
    volume = np.array([700.0, 150.0, 20.0])
    bins = TracerBins(np.array([0.02, 0.1, 0.6]), np.arange(3), density / density.sum(), bias, noise)
    for second_moment in (50.0, 120.0):
        cross = np.outer(bias, volume)
        covariance = np.diag(noise / density) - cross - cross.T + second_moment * np.outer(bias, bias)
        expected = np.linalg.solve(covariance, bias) / density
        found = bin_weights(density, bins, volume, share=1.0)
        np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-10)
    np.testing.assert_allclose(bin_weights(density, bins, volume, share=0.0), bias / noise)


def test_the_most_massive_weigh_most_within_bounds(catalogue):
    weights = optimal_weights(catalogue, bias=0.65, cosmology=COSMOLOGY).weights[
        np.argsort(places(catalogue))
    ]
    count = len(weights)
    assert weights[: count // 10].min() > 2 * weights[count // 2 :].max()
    assert 1 <= weights[0] / weights[count // 100] <= 2


def test_weights_do_not_depend_on_the_order_of_rows_or_the_scale_of_weights(catalogue):
    order = np.random.default_rng(0).permutation(len(catalogue))
    turned = catalogue.replace(positions=catalogue.positions[order], masses=catalogue.masses[order])
    first, second = (
        optimal_weights(one, bias=0.65, cosmology=COSMOLOGY).weights for one in (catalogue, turned)
    )
    np.testing.assert_allclose(second, first[order], rtol=1e-4)
    same = catalogue.replace(weights=np.full(len(catalogue), 1.0))
    np.testing.assert_allclose(
        optimal_weights(same, bias=0.65, cosmology=COSMOLOGY).weights, first, rtol=1e-4
    )


def test_without_masses_the_weights_are_the_catalogues(catalogue):
    alike = catalogue.replace(masses=None)
    weights, noise, index = optimal_weights(alike, bias=0.65, cosmology=COSMOLOGY)
    assert (weights, noise) == (None, 1.0)
    assert (index == len(FRACTIONS) - 1).all()


def test_masses_tell_more_and_the_velocity_has_its_size(catalogue, truth):
    with_masses, without = (
        MultiTracerWiener().reconstruct(one, cells=CELLS, cosmology=COSMOLOGY)
        for one in (catalogue, catalogue.replace(masses=None))
    )
    assert error(with_masses, truth[1]) < 0.97 * error(without, truth[1])
    for found in (with_masses, without):
        assert slope(found, truth[1]) == pytest.approx(1.0, abs=0.15)


def test_a_stated_bias_divides_the_tracers(catalogue):
    one, two = (
        MultiTracerWiener(bias=bias).reconstruct(
            catalogue.replace(masses=None), cells=CELLS, cosmology=COSMOLOGY
        )["velocity"]
        for bias in (1.0, 2.0)
    )
    # Of long waves, whose noise is small, twice the bias is half the flow.
    assert 0.45 < float((one.data * two.data).sum() / one.data.square().sum()) < 0.75
    with pytest.raises(InputError, match="bias must be > 0, got -1"):
        MultiTracerWiener(bias=-1)


def test_a_box_with_open_faces(dense, truth):
    """Half of the periodic box along each side: an eighth of the matter that makes the flow is seen."""
    part = Box(SIZE / 2, CELLS // 2, periodic=False)
    cut = dense.replace(positions=dense.positions[part.contains(dense.positions)], box=part)
    found = MultiTracerWiener().reconstruct(cut, cells=CELLS // 2, cosmology=COSMOLOGY)
    n = CELLS // 2
    true = truth[1][:, :n, :n, :n]
    assert error(found, true) < 0.5 * float(true.square().mean())
    assert slope(found, true) == pytest.approx(1.0, abs=0.15)


def test_a_survey_that_is_complete_equals_the_box_with_open_faces(catalogue):
    part = Box(SIZE, CELLS, periodic=False)
    complete = Field(torch.ones(1, *part.shape), part, ["completeness"], space="redshift")
    first, second = (
        MultiTracerWiener(bias=0.65).reconstruct(one, cells=CELLS, cosmology=COSMOLOGY)["velocity"].data
        for one in (
            catalogue.replace(box=part),
            catalogue.replace(box=part, completeness=complete),
        )
    )
    torch.testing.assert_close(first, second)


def test_sparsely_observed_cells_count_by_their_noise(dense, truth):
    """A tenth of the density in half of the box, where nothing was used before: its flow is still found."""
    seen = torch.ones(1, *dense.box.shape)
    seen[:, CELLS // 2 :] = 0.1
    near = dense.positions[:, 0] < SIZE / 2
    kept = near | (np.random.default_rng(5).uniform(size=len(near)) < 0.1)
    thin = dense.replace(
        positions=dense.positions[kept],
        completeness=Field(seen, dense.box, ["completeness"], space="redshift"),
    )
    found = MultiTracerWiener().reconstruct(thin, cells=CELLS, cosmology=COSMOLOGY)
    quarter = slice(5 * CELLS // 8, 7 * CELLS // 8)
    velocity, true = found["velocity"].data[:, quarter], truth[1][:, quarter]
    assert float((velocity - true).square().mean()) < 0.6 * float(true.square().mean())


def test_the_memory_is_stated():
    method = MultiTracerWiener()
    assert method.memory(Box(100.0, 64)) < 50 * 64**3
    assert method.memory(replace(Box(100.0, 64), periodic=False)) > method.memory(Box(100.0, 64))
