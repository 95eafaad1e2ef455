from __future__ import annotations

import numpy as np
import pytest

from peculiar.figures.painting import (
    conditional_counts,
    count_distributions,
    count_slices,
    counts_given_density,
    mass_functions,
)
from peculiar.figures.style import render


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def poisson_rows(means: np.ndarray, top: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.stack([np.bincount(np.minimum(random.poisson(m, 4000), top), minlength=top + 1) for m in means])


def test_slices_have_one_panel_each_and_one_scale_of_counts():
    random = np.random.default_rng(1)
    truth = random.poisson(2.0, (16, 16)).astype(float)
    figure = count_slices(
        random.lognormal(size=(16, 16)), truth, {"a": truth, "b": 2 * truth}, size=60.0, depth=15.0
    )
    assert texts(figure) == [r"2LPT, $1+\delta$", "N-body halos", "a", "b"]
    maps = [image for axes in figure.axes[:4] for image in axes.images]
    assert {image.norm.vmax for image in maps[1:]} == {np.percentile(truth, 99.9)}
    assert np.array_equal(maps[3].get_array(), 2 * truth.T)
    assert "15" in figure.axes[-2].get_ylabel()
    assert render(figure, "png").startswith(b"\x89PNG")


def test_conditional_counts_are_probabilities_of_each_column():
    joint = np.zeros((6, 6))
    joint[0, 0], joint[2, 2], joint[2, 3] = 90, 6, 2
    figure = conditional_counts({"a": joint}, largest=4)
    shown = figure.axes[0].collections[0].get_array()
    assert shown[2, 2] == pytest.approx(0.75)
    assert shown[3, 2] == pytest.approx(0.25)
    difference = figure.axes[1].lines[0]
    share = dict(zip(difference.get_xdata(), difference.get_ydata(), strict=True))
    assert share[0] == pytest.approx(96 / 98)
    assert share[1] == pytest.approx(2 / 98)


def test_distributions_sum_to_one_and_ratios_need_cubes():
    cubes = np.bincount(np.random.default_rng(1).poisson(3.0, 5000), minlength=20).astype(float)
    figure = count_distributions({3.75: cubes, 15.0: cubes}, {"a": {3.75: cubes, 15.0: 2 * cubes}})
    upper, lower = figure.axes[0], figure.axes[2]
    assert upper.lines[0].get_ydata().sum() == pytest.approx(1)
    ratio = lower.lines[0].get_ydata()
    assert np.allclose(ratio[np.isfinite(ratio)], 1)
    assert np.isnan(ratio[cubes < 20]).all()
    assert any("3.75" in text for text in texts(figure))


def test_poisson_counts_have_a_ratio_of_one():
    means = np.array([0.1, 1.0, 5.0])
    rows = poisson_rows(means, 25)
    figure = counts_given_density(np.array([0.1, 1.0, 3.0, 10.0]), rows, {"a": 0.5 * rows})
    upper, lower = figure.axes
    assert np.allclose(upper.lines[0].get_ydata(), means, rtol=0.1)
    assert np.allclose(lower.lines[1].get_ydata(), 1, atol=0.1)


def test_mass_function_is_per_volume_and_logarithm():
    edges = np.array([1e12, 1e13, 1e14])
    truth = np.array([[200, 20], [200, 4]])
    figure = mass_functions(edges, truth, {"a": 1.1 * truth}, volume=1000.0, least=30)
    upper, lower = figure.axes
    assert upper.lines[0].get_ydata()[0] == pytest.approx(0.2 / np.log(10))
    points = lower.containers[0].lines[0]
    assert points.get_ydata().tolist() == pytest.approx([1.1])  # 24 halos are too few
    assert "Mpc" in upper.get_ylabel()
