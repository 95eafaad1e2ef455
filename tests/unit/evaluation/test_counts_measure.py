"""Statistics of painted counts, on fields whose answers are known."""

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.evaluation.counts.measure import (
    ANGLES,
    bispectrum,
    catalogue_statistics,
    count_limit,
    mass_edges_of,
    measure_counts,
    true_statistics,
    wavenumber_edges,
)
from peculiar.fields.smooth import gaussian
from peculiar.statistics.modes import modes_of

BOX = Box(128.0, 32)


@pytest.fixture(scope="module")
def density() -> Field:
    noise = torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    smooth = gaussian(Field(noise, BOX, ["density"]), 4.0).data
    data = torch.exp(0.7 * smooth / smooth.std())
    return Field(data / data.mean() - 1, BOX, ["density"])


def poisson(mean: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.poisson(mean, generator=torch.Generator().manual_seed(seed))


def test_halos_painted_where_they_are(density):
    truth = poisson(0.5 * (1 + density.data[0]), 2)
    limits = count_limit(truth)
    measured = measure_counts([truth, truth], truth, truth, density, limits=limits)
    true = true_statistics(truth, density, limits=limits)
    assert measured.scores["number_ratio"] == pytest.approx(1)
    assert measured.scores["far_off"] == 0
    for side in (1, 2, 4):
        assert measured.scores[f"variance_ratio_{side}"] == pytest.approx(1)
        assert true[f"histogram/{side}"].sum() == (32 // side) ** 3
    for at in ("0.1", "0.3", "0.4"):
        assert measured.scores[f"r_mean_{at}"] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(measured.rows["power"], true["power"])
    np.testing.assert_allclose(measured.rows["mean/cross"], true["power"])
    np.testing.assert_allclose(measured.rows["bispectrum/large"], true["bispectrum/large"])
    joint = measured.rows["joint"]
    assert joint.sum() == np.trace(joint) == 32**3
    np.testing.assert_array_equal(measured.rows["density"], true["density"])


def test_twice_the_halos_and_halos_elsewhere(density):
    truth = poisson(0.5 * (1 + density.data[0]), 2)
    limits = count_limit(truth)
    twice = measure_counts([2 * truth], 2 * truth, truth, density, limits=limits).scores
    assert twice["number_ratio"] == pytest.approx(2)
    assert twice["variance_ratio_1"] == pytest.approx(4)
    assert twice["r_draw_0.3"] == pytest.approx(1, abs=1e-6)
    moved = measure_counts(
        [truth.roll((7, 12, 5), (0, 1, 2))], truth.flip(0), truth, density, limits=limits
    ).scores
    assert moved["variance_ratio_1"] == pytest.approx(1)
    assert abs(moved["r_draw_0.3"]) < 0.4
    far = measure_counts([truth + 4 * (truth > 0)], truth, truth, density, limits=limits).scores
    assert far["far_off"] == pytest.approx(float((truth > 0).float().mean()))


def test_counts_given_the_density_have_its_mean(density):
    truth = poisson(2.0 * (1 + density.data[0]), 2)
    joint = true_statistics(truth, density, limits=count_limit(truth))["density"]
    assert joint.sum() == 32**3
    rows = joint.sum(axis=1) > 300
    mean = (joint @ np.arange(joint.shape[1]))[rows] / joint.sum(axis=1)[rows]
    assert np.all(np.diff(mean) > 0)


def test_no_triangle_reaches_beyond_the_mesh(density):
    modes = modes_of(density)  # Nyquist at 0.785 h/Mpc
    large, small = bispectrum(modes, 0.2, 0.3), bispectrum(modes, 0.6, 0.7)
    assert np.isfinite(large).all()
    third = np.sqrt(0.85 + 0.84 * np.cos(ANGLES))
    np.testing.assert_array_equal(np.isfinite(small), third <= BOX.k_nyquist - 0.025)
    coarse = modes_of(Field(density.data[:, ::4, ::4, ::4], Box(128.0, 8), ["density"]))
    assert np.isnan(bispectrum(coarse, 0.6, 0.7)).all()


def test_bands_are_whole_bins_and_no_narrower_than_a_mode():
    edges = wavenumber_edges(Box(1000.0, 256))
    assert np.isclose(edges, 0.05).any()
    assert np.isclose(edges, 0.3).any()
    assert np.diff(wavenumber_edges(BOX)) == pytest.approx(BOX.k_fundamental)


def test_a_catalogue_in_redshift_space():
    random = np.random.default_rng(1)
    points = random.uniform(0, 128, (4000, 3))
    velocities = random.normal(0, 300, (4000, 3))
    found = catalogue_statistics(
        Catalogue(points, Box(128.0), redshift=0.5, space="real", velocities=velocities),
        PRESETS["xiao2024"],
        cells=64,
    )
    assert float(found["speed"]) == pytest.approx(300, rel=0.02)
    assert found["k"][-1] < 0.8
    # Random points have no power beyond shot noise, 524 (Mpc/h)^3, in either space.
    for name in ("power", "multipole/0"):
        assert abs(np.nanmean(found[name])) < 50
    assert np.isfinite(found["bispectrum/small"]).all()


def test_mass_edges_lie_between_whole_numbers_of_particles():
    edges = mass_edges_of(6.3e11, 1e14, particle=5e10)
    assert np.allclose(edges / 5e10 % 1, 0.5)
    assert np.all(np.diff(np.log10(edges)) > 0.06)
    assert edges[0] < 6.5e11
