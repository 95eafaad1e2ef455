from __future__ import annotations

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.figures.distributions import Histogram2D, predicted_against_true, with_density

EDGES = np.linspace(-4, 4, 81)


def gaussian() -> Histogram2D:
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    counts = 1e6 * np.exp(-0.5 * (centres[:, None] ** 2 + centres[None] ** 2))
    return Histogram2D(counts, EDGES, EDGES)


def test_levels_enclose_their_fractions():
    histogram = gaussian()
    peak = histogram.density.max()
    for level, fraction in zip(histogram.levels((0.68, 0.95)), (0.95, 0.68), strict=True):
        assert level / peak == pytest.approx(1 - fraction, rel=0.1)  # a Gaussian in two dimensions


def test_density_integrates_to_one():
    assert (gaussian().density * 0.1**2).sum() == pytest.approx(1)


def test_empty_histogram_has_no_levels_and_is_drawn():
    empty = Histogram2D(np.zeros((80, 80)), EDGES, EDGES)
    assert empty.levels() == []
    assert predicted_against_true({"model": {"speed": empty}}).axes


def test_shape_must_match_the_edges():
    with pytest.raises(InputError, match="shape"):
        Histogram2D(np.zeros((80, 79)), EDGES, EDGES)


def test_rows_with_fewer_fields_are_left_blank():
    figure = predicted_against_true(
        {"a": {"speed": gaussian(), "momentum_magnitude": gaussian()}, "b": {"speed": gaussian()}}
    )
    shown = [panel.axison for panel in figure.axes]
    assert shown == [True, True, True, False]


def test_legend_names_truth_and_models():
    figure = with_density({"speed": gaussian()}, {"model": {"speed": gaussian()}})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth", "model"]
