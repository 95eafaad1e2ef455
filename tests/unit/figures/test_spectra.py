from __future__ import annotations

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.figures.spectra import coherence, correlation_contours, multipoles, powers

K = np.linspace(0.03, 0.5, 12)
TRUTH = np.stack([K**-1.5, 1.1 * K**-1.5, 0.9 * K**-1.5])


def test_lower_panels_show_the_relative_deviation():
    figure = powers(K, {"velocity": TRUTH}, {"model": {"velocity": 1.2 * TRUTH}})
    line = figure.axes[1].lines[0]
    assert np.allclose(line.get_ydata(), 0.2)
    assert figure.axes[1].get_xlabel()


def test_bands_are_named_and_as_wide_as_the_scatter_between_boxes():
    figure = powers(K, {"density": TRUTH}, {"model": {"density": TRUTH * np.array([[1.0], [1.1], [1.2]])}})
    assert "standard deviation between boxes (3 boxes)" in figure.legends[0].get_title().get_text()
    heights = figure.axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(0.1 + 0.1, rel=1e-6)
    assert heights.min() == pytest.approx(0.1 - 0.1, abs=1e-6)


def test_one_box_has_no_band():
    figure = powers(K, {"density": TRUTH[:1]}, {"model": {"density": TRUTH[:1]}})
    assert not figure.axes[0].collections
    assert figure.legends[0].get_title().get_text() == "one box"


def test_published_bound_is_drawn_where_it_holds():
    figure = powers(K, {"velocity": TRUTH}, {}, tolerance={"velocity": (0.05, 0.2, 0.07)})
    corners = figure.axes[1].collections[0].get_paths()[0].vertices
    assert corners[:, 0].min() == pytest.approx(0.05)
    assert corners[:, 1].max() == pytest.approx(0.07)


def test_rows_must_match_k():
    with pytest.raises(InputError, match="one column per k"):
        powers(K, {"density": TRUTH[:, :-1]}, {})


def test_coherence_has_a_panel_for_each_field():
    rows = {"model": {"density": np.full_like(TRUTH, 0.9), "velocity": np.full_like(TRUTH, 0.95)}}
    figure = coherence(K, rows, rows, fields=("density", "velocity"))
    assert np.allclose(figure.axes[1].lines[0].get_ydata(), 0.95)


def test_multipoles_are_weighted_with_k():
    figure = multipoles(K, {2: TRUTH, 4: TRUTH}, {}, redshift_space={2: 3 * TRUTH, 4: TRUTH})
    redshift, truth = figure.axes[0].lines[:2]
    assert np.allclose(truth.get_ydata(), K * TRUTH.mean(axis=0))
    assert np.allclose(redshift.get_ydata(), 3 * truth.get_ydata())


def test_contours_are_mirrored_about_both_axes():
    r = np.arange(20.0)
    across, along = np.meshgrid(r, r, indexing="ij")
    quadrant = 1 / (1 + across**2 / 4 + along**2)
    figure = correlation_contours(
        r, {"model": {"real": quadrant, "redshift": quadrant, "moved back": quadrant}}
    )
    vertices = np.concatenate([p.vertices for c in figure.axes[0].collections[1:] for p in c.get_paths()])
    assert vertices[:, 0].min() == pytest.approx(-vertices[:, 0].max())
    assert vertices[:, 1].max() == pytest.approx(vertices[:, 0].max() / 2, rel=0.02)
