"""Figures of velocities in isolated cubes: what they draw is what they are given."""

import numpy as np
import pytest

from peculiar.figures.distributions import Histogram2D
from peculiar.figures.slices import Slab
from peculiar.figures.survey_scores import (
    Profile,
    direction_contours,
    error_maps,
    error_profiles,
    flow_over_potential,
    linear_fit,
    velocity_contours,
    velocity_pdf,
    velocity_row,
)

EDGES = np.linspace(-1500, 1500, 101)
RNG = np.random.default_rng(3)


def histogram(slope: float, offset: float = 0.0, scatter: float = 60.0) -> Histogram2D:
    true = RNG.normal(0, 250, 40_000)
    predicted = slope * true + offset + RNG.normal(0, scatter, true.size)
    return Histogram2D(np.histogram2d(true, predicted, [EDGES, EDGES])[0], EDGES, EDGES)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_fit_of_a_line():
    slope, offset = linear_fit(histogram(0.8, 40.0))
    assert slope == pytest.approx(0.8, abs=0.01)
    assert offset == pytest.approx(40, abs=2)


def test_contours_show_fits_with_one_look_for_a_name():
    panels = {"first": {"a": histogram(0.9), "b": histogram(0.5)}, "second": {"b": histogram(0.7)}}
    figure = velocity_contours(panels, order=["b", "a"])
    left, right = figure.axes
    assert texts(left) == ["first", "slope 0.90", "slope 0.50"]
    assert texts(right) == ["second", "slope 0.70"]
    # Behind the ideal line come the fits: b has the first colour in both panels.
    assert left.lines[2].get_color() == right.lines[1].get_color() != left.lines[1].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "a"]


def test_row_and_distribution_have_the_truth_in_black():
    z = np.arange(12) * 5.0
    row = velocity_row(z, 100 * np.sin(z), {"a": 50 * np.sin(z)})
    assert [line.get_label() for line in row.axes[0].lines[1:]] == ["truth", "a"]
    counts = histogram(1.0).counts.sum(axis=1)
    pdf = velocity_pdf(EDGES, counts, {"a": np.roll(counts, 5)})
    stairs = pdf.axes[0].patches
    values = stairs[0].get_data().values
    assert (values * np.diff(EDGES)).sum() == pytest.approx(1)
    assert stairs[0].get_edgecolor()[:3] == (0, 0, 0)
    np.testing.assert_allclose(stairs[1].get_data().values, np.roll(values, 5))


def test_directions_have_a_panel_each():
    edges = np.linspace(0, 1000, 51), np.linspace(-1, 1, 51)
    counts = np.histogram2d(RNG.rayleigh(80, 5000), 1 - RNG.rayleigh(0.2, 5000), edges)[0]
    figure = direction_contours({name: Histogram2D(counts, *edges) for name in "abcd"})
    shown = [axes for axes in figure.axes if axes.axison]
    assert [texts(axes)[0] for axes in shown] == list("abcd")


def test_arrows_over_the_potential():
    velocity = RNG.normal(0, 200, (3, 20, 20, 2))
    truth = Slab({"velocity": velocity, "potential": RNG.normal(size=(1, 20, 20, 1))}, 100.0, 10.0)
    figure = flow_over_potential(truth, {"a": Slab({"velocity": velocity / 2}, 100.0, 10.0)})
    left, right = figure.axes[:2]
    assert (texts(left), texts(right)) == (["truth"], ["a"])

    def longest(axes):
        quiver = next(one for one in axes.collections if hasattr(one, "U"))
        return np.hypot(quiver.U, quiver.V).max()

    assert longest(right) == pytest.approx(longest(left) / 2)


def test_profiles_end_where_there_are_cells():
    edges = {"the edge": np.linspace(-150, 150, 31), "the observer": np.linspace(0, 3000, 46)}
    profiles = {}
    for kind, bins in edges.items():
        values = np.full(len(bins) - 1, np.nan)
        values[12:20] = 30.0
        profiles[kind] = {"a": Profile(values, 3 * values, values / 40, values / 10)}
    figure = error_profiles(edges, profiles)
    top = np.array(figure.axes[:6]).reshape(3, 2)[0]
    for axes, bins in zip(top, edges.values(), strict=True):
        assert axes.get_xlim() == pytest.approx((bins[12], bins[20]))
    assert figure.axes[0].get_ylabel().startswith("bias")


def test_maps_share_their_scales():
    edges = np.linspace(-150, 150, 31), np.linspace(0, 600, 31)
    field = np.full((30, 30), np.nan)
    field[10:20, 5:15] = RNG.normal(0, 50, (10, 10))
    figure = error_maps(edges, {"a": field, "b": 2 * field}, {"a": np.abs(field), "b": np.abs(2 * field)})
    meshes = [axes.collections[0] for axes in figure.axes[:4]]
    assert meshes[0].norm is meshes[1].norm
    assert meshes[0].norm.vmin == -meshes[0].norm.vmax
    assert meshes[2].norm.vmin == 0
    assert figure.axes[0].get_xlim() == pytest.approx((-50, 50))
    assert figure.axes[0].get_ylim() == pytest.approx((100, 300))
