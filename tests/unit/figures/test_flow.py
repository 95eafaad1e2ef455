from __future__ import annotations

import numpy as np
import pytest
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Path3DCollection, Poly3DCollection

from peculiar.core import InputError
from peculiar.figures.flow import flow_view
from peculiar.figures.style import render
from peculiar.figures.volume import Volume


def volume(coverage: np.ndarray | None = None) -> Volume:
    density = np.random.default_rng(1).lognormal(size=(10, 10, 10)) - 1
    velocity = np.zeros((3, 10, 10, 10))
    velocity[2] = 250.0
    return Volume(density, velocity, 50.0, origin=(-25.0, 0.0, 100.0), periodic=False, coverage=coverage)


def artist(figure, kind):
    return next(found for found in figure.axes[0].collections if isinstance(found, kind))


def test_lines_have_the_speed_and_stay_in_the_box():
    figure = flow_view(volume())
    lines = artist(figure, Line3DCollection)
    assert np.allclose(lines.get_array(), 250.0)
    segments = np.asarray(lines._segments3d)
    assert np.allclose(segments[:, 0, :2], segments[:, 1, :2])
    assert segments[..., 2].min() >= 100
    assert segments[..., 2].max() <= 150


def test_dots_are_the_densest_cells_and_only_where_a_survey_looked():
    coverage = np.zeros((10, 10, 10))
    coverage[5:] = 1
    everywhere, seen = flow_view(volume()), flow_view(volume(coverage))
    assert len(artist(everywhere, Path3DCollection)._offsets3d[0]) == 20
    assert np.min(artist(seen, Path3DCollection)._offsets3d[0]) > 0
    colours = artist(seen, Poly3DCollection)._facecolor3d
    assert (colours[:, 3] == 0).mean() == 0.5


def test_axes_and_bars_have_units():
    axes, *bars = flow_view(volume()).axes
    for name in "xyz":
        assert "Mpc" in getattr(axes, f"get_{name}label")()
    assert "km" in bars[0].get_ylabel()
    assert "delta" in bars[1].get_ylabel()
    assert render(flow_view(volume()), "png").startswith(b"\x89PNG")


def test_no_flow_is_refused():
    with pytest.raises(InputError, match="velocity"):
        flow_view(Volume(np.zeros((4, 4, 4)), np.zeros((3, 4, 4, 4)), 10.0))
