from __future__ import annotations

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.figures.volume import Volume, flow_lines, interactive


def uniform_flow(periodic: bool = True) -> Volume:
    velocity = np.zeros((3, 12, 12, 12))
    velocity[1] = 300.0
    density = np.random.default_rng(1).normal(size=(12, 12, 12))
    return Volume(density, velocity, 60.0, origin=(100.0, 0.0, 0.0), periodic=periodic)


def test_lines_follow_a_uniform_flow_and_stay_in_the_box():
    positions, speed = flow_lines(uniform_flow(), lines=50, steps=10, length=20.0)
    step = np.diff(positions, axis=1)
    assert np.nanmax(np.abs(step[..., [0, 2]])) < 1e-9
    assert np.allclose(step[..., 1][np.isfinite(step[..., 1])], 2.0)
    assert np.nanmin(positions[..., 0]) >= 100
    assert np.nanmax(positions[..., 1]) <= 60
    assert np.allclose(speed, 300)


def test_lines_turn_with_a_rotation():
    n = 24
    x, y, _ = np.meshgrid(*[np.arange(n) - (n - 1) / 2] * 3, indexing="ij")
    volume = Volume(np.zeros((n, n, n)), 10.0 * np.stack([-y, x, 0 * x]), 24.0, periodic=False)
    positions, _ = flow_lines(volume, lines=80, steps=40, length=10.0)
    radius = np.hypot(positions[..., 0] - 12, positions[..., 1] - 12)
    start = radius[:, :1]
    kept = np.isfinite(radius) & (start > 2)
    assert np.abs(radius / start - 1)[kept].max() < 0.02


def test_lines_start_where_a_survey_looked():
    coverage = np.zeros((12, 12, 12))
    coverage[:6] = 1
    volume = uniform_flow(periodic=False)
    volume = Volume(volume.density, volume.velocity, 60.0, periodic=False, coverage=coverage)
    positions, _ = flow_lines(volume, lines=40)
    assert np.nanmax(positions[:, 0, 0]) <= 30


def test_no_flow_is_refused():
    with pytest.raises(InputError, match="velocity"):
        flow_lines(Volume(np.zeros((4, 4, 4)), np.zeros((3, 4, 4, 4)), 10.0))


def test_shapes_must_match():
    with pytest.raises(InputError, match="Volume"):
        Volume(np.zeros((4, 4, 4)), np.zeros((3, 4, 4)), 10.0)


def test_view_has_a_button_for_each_volume_and_no_library():
    html = interactive(
        {"network": uniform_flow(), "truth": uniform_flow()}, name="here", observer=(130.0, 1.0, 2.0)
    )
    assert '"label":"network"' in html
    assert '"label":"truth"' in html
    assert 'id="here"' in html
    assert len(html) < 2_000_000
    assert "https://cdn" not in html
