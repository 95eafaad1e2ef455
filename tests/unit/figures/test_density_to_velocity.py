"""Figures of velocities from the density: what is drawn is what was handed in."""

import numpy as np
import pytest
from matplotlib.quiver import Quiver

from peculiar.figures import density_to_velocity as figures
from peculiar.figures.distributions import Histogram2D
from peculiar.figures.slices import Slab

RNG = np.random.default_rng(0)


def slab(scale: float = 1.0, *, names=("velocity", "momentum", "momentum_curl")) -> Slab:
    rng = np.random.default_rng(1)
    values = {name: 100 * scale * rng.normal(size=(3, 10, 10, 1)) for name in names}
    values["velocity_divergence"] = 30 * scale * rng.normal(size=(1, 10, 10, 1))
    values["density"] = rng.lognormal(size=(1, 10, 10, 1)) - 1
    return Slab(values, 20.0, 2.0)


def arrows(figure) -> list[Quiver]:
    return [artist for axes in figure.axes for artist in axes.get_children() if isinstance(artist, Quiver)]


def test_slices_show_the_truth_predictions_and_their_residuals():
    figure = figures.flow_slices(slab(), {"half": slab(0.5), "same": slab()})
    truth, half, same, half_residual, residual = arrows(figure)
    np.testing.assert_allclose(half.U, 0.5 * slab().plane("velocity")[0].T.ravel().reshape(-1, 10).T.ravel())
    np.testing.assert_allclose(half_residual.U, -half.U, rtol=1e-5)
    assert np.array_equal(same.U, truth.U)
    assert np.abs(residual.U).max() == 0


def test_arrows_are_no_longer_than_the_scale():
    figure = figures.flow_slices(slab(), {"wild": slab(50.0)})
    wild = arrows(figure)[1]
    length = np.hypot(wild.U, wild.V)
    assert length.max() == pytest.approx(wild.norm.vmax, rel=1e-5)
    np.testing.assert_allclose(
        wild.U / length,
        (slab().plane("velocity")[0] / np.hypot(*slab().plane("velocity"))).ravel(),
        rtol=1e-4,
    )


def test_derivatives_have_a_row_each():
    figure = figures.derivative_slices(slab(), {"half": slab(0.5)})
    assert len(arrows(figure)) == 2
    images = [axes.images[0].get_array() for axes in figure.axes[2:6]]
    np.testing.assert_allclose(images[1], 0.5 * images[0])
    np.testing.assert_allclose(images[2], slab().map("velocity_divergence")[0].T)


def test_joint_panels_share_their_colours():
    edges = np.geomspace(0.1, 10, 6), np.linspace(-1, 1, 5)
    histogram = Histogram2D(RNG.integers(0, 90, (5, 4)).astype(float), *edges)
    fields = {"velocity_divergence": histogram, "momentum_curl_x": histogram}
    figure = figures.joint_with_density({"truth": fields, "half": fields})
    meshes = [axes.collections[0] for axes in figure.axes[:4]]
    assert len({mesh.norm.vmax for mesh in meshes}) == 1
    assert meshes[0].norm.vmax == histogram.counts.max()


def test_powers_and_their_ratios():
    k = np.linspace(0.1, 1.5, 12)
    truth = {name: np.stack([1e4 / k, 3e4 / k]) for name in ("speed", "vorticity")}
    model = {name: 10 * rows for name, rows in truth.items()}
    figure = figures.power_ratios(k, truth, {"ten": model}, marked=(0.2,), goal=0.1)
    upper, lower = figure.axes[0], figure.axes[2]
    np.testing.assert_allclose(upper.lines[0].get_ydata(), 2e4 / k)
    np.testing.assert_allclose(lower.lines[0].get_ydata(), 1.0)


def test_histograms_leave_out_what_the_truth_has_not():
    edges = {
        "speed": np.linspace(0, 5, 6),
        "residual_share": np.linspace(0, 2, 6),
        "cosine": np.linspace(-1, 1, 6),
    }
    model = {name: np.arange(1.0, 6.0) for name in edges}
    figure = figures.flow_histograms(edges, {"truth": {"speed": np.ones(5)}, "model": model})
    assert [len(axes.patches) for axes in figure.axes] == [2, 1, 1]
    np.testing.assert_allclose(figure.axes[0].patches[0].get_data().values, 0.2)
