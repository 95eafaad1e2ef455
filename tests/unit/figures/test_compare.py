from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import Normalize

from peculiar.figures.compare import ComparisonData, comparison_figure
from peculiar.figures.style import render


def data(count: int = 300) -> ComparisonData:
    rng = np.random.default_rng(1)
    predicted = 300 * rng.standard_normal(count)
    sky = np.full(192, np.nan)
    sky[:100] = 50 * rng.standard_normal(100)
    return ComparisonData(
        predicted,
        predicted + 500 * rng.standard_normal(count),
        np.full(count, 500.0**-2),
        sky,
        np.array([0.0, 100.0, 0.0]),
        np.array([20.0, 20.0, 20.0]),
        np.array([0.0, 3000.0, 6000.0]),
        np.array([0.5, np.nan]),
        np.array([0.05, np.nan]),
        np.array([0.52, np.nan]),
        "300 objects",
    )


def test_bins_are_weighted_means_and_the_dipole_stands_where_it_points():
    shown = data()
    figure = comparison_figure(shown)
    velocities, shells, sky, bar = figure.axes
    points = velocities.containers[0].lines[0]
    assert len(points.get_xdata()) == 10
    order = np.argsort(shown.predicted)[:30]
    assert points.get_xdata()[0] == pytest.approx(shown.predicted[order].mean())
    assert points.get_ydata()[0] == pytest.approx(shown.measured[order].mean())
    assert shells.containers[0].lines[0].get_ydata()[0] == 0.5
    star = next(line for line in sky.lines if line.get_marker() == "*")
    np.testing.assert_allclose(star.get_xydata()[0], [-np.pi / 2, 0], atol=1e-9)  # l = 90, to the left
    assert "100 km" in star.get_label()
    assert "field" in bar.get_ylabel()
    assert render(figure, "png")[:4] == b"\x89PNG"


def test_few_objects_and_an_empty_sky_are_drawn():
    shown = data(20)
    empty = ComparisonData(**{**shown.__dict__, "sky": np.full(192, np.nan)})
    figure = comparison_figure(empty)
    mesh = figure.axes[2].collections[0]
    assert isinstance(mesh.norm, Normalize)
    assert np.ma.getmaskarray(mesh.get_array()).all()
    assert render(figure, "png")
