from __future__ import annotations

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.figures.slices import Slab, observer_slices, scalar_slices, vector_slices, velocity_histogram


def slab(seed: int = 0, n: int = 16, **changes) -> Slab:
    rng = np.random.default_rng(seed)
    values = {
        "tracers": rng.poisson(2.0, (1, n, n, 3)).astype(float),
        "density": np.exp(rng.normal(size=(1, n, n, 3))) - 1,
        "velocity": 200 * rng.normal(size=(3, n, n, 3)),
        "momentum": 200 * rng.normal(size=(3, n, n, 3)),
        "velocity_divergence": rng.normal(size=(1, n, n, 3)),
    }
    return Slab(values, 100.0, 20.0, **changes)


def arrows(panel):
    return next(item for item in panel.collections if type(item).__name__ == "Quiver")


def test_slab_averages_layers_and_picks_its_own_components():
    values = np.zeros((3, 4, 4, 2))
    values[0], values[1], values[2] = 1, 2, 3
    values[2, ..., 1] = 5
    u, v = Slab({"velocity": values}, 10.0, 2.0, axes=("x", "z")).plane("velocity")
    assert np.all(u == 1)
    assert np.all(v == 4)


def test_slab_refuses_a_map():
    with pytest.raises(InputError, match="layer"):
        Slab({"density": np.zeros((4, 4))}, 10.0, 1.0)


def test_vector_slices_draw_the_same_arrows_as_the_data():
    truth = slab()
    figure = vector_slices(truth, {"model": slab(1)}, arrows=16)
    panel = figure.axes[1]  # truth, after the tracers
    u, v = truth.plane("velocity")
    drawn = arrows(panel)
    assert np.allclose(np.sort(np.asarray(drawn.U)), np.sort(u.ravel()), rtol=1e-5)
    assert np.allclose(np.sort(np.asarray(drawn.V)), np.sort(v.ravel()), rtol=1e-5)
    assert len(figure.axes) == 6  # three maps, the colour bar, two histograms


def test_every_axis_says_what_it_shows():
    figure = vector_slices(slab(), {"model": slab(1)})
    for panel in figure.axes:
        assert panel.get_xlabel() or panel.get_ylabel()


def test_scalar_slices_leave_out_models_without_the_field():
    other = Slab({"density": slab().values["density"]}, 100.0, 20.0)
    figure = scalar_slices(slab(), {"model": slab(1), "no divergence": other})
    assert len(figure.axes) == 4  # truth, model, histogram, colour bar


def test_observer_slices_hide_what_was_not_observed():
    coverage = np.zeros((16, 16))
    coverage[:8] = 1
    figure = observer_slices([slab()], observer=(10, 20, 30), coverage=[coverage], arrows=16)
    x = np.asarray(arrows(figure.axes[0]).X)
    assert len(x) == 8 * 16
    assert x.max() < 50


def test_velocity_histogram_leaves_out_nan_and_refuses_nothing():
    figure = velocity_histogram({"objects": np.array([1.0, np.nan, -2.0, 5.0])})
    assert "1 ± 3 km/s" in figure.axes[0].get_legend().get_texts()[0].get_text()
    with pytest.raises(InputError, match="finite"):
        velocity_histogram({"objects": np.array([np.nan])})
