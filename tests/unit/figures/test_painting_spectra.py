from __future__ import annotations

import numpy as np
import pytest

from peculiar.figures.painting_spectra import (
    PaintedPower,
    bispectra,
    bispectra_by_mass,
    catalogue_powers,
    halo_powers,
    powers_by_mass,
)
from peculiar.figures.style import render

K = np.linspace(0.05, 0.8, 10)
TRUE = np.array([1.0, 1.2])[:, None] * 1e4 / (1 + 10 * K)
MODEL = PaintedPower(power=1.1 * TRUE, mean_power=0.5 * TRUE, mean_cross=0.6 * TRUE, true_power=TRUE)
ANGLES = np.linspace(0.1, 3.0, 8)
TITLES = {"large": "0.2, 0.3", "small": "0.6, 0.7"}


def test_quantities_of_a_model():
    assert MODEL.ratio == pytest.approx(1.1)
    assert MODEL.spread == pytest.approx(0)
    assert MODEL.correlation == pytest.approx(0.6 / np.sqrt(0.5))
    one = PaintedPower(TRUE[:1], TRUE[:1], TRUE[:1], TRUE[:1])
    assert one.spread == pytest.approx(0)


def test_powers_of_all_halos():
    figure = halo_powers(K, {"a": MODEL})
    power, transfer, correlation, noise = figure.axes
    assert power.lines[0].get_label() == "N-body halos"
    assert transfer.lines[0].get_ydata() == pytest.approx(np.sqrt(1.1))
    assert correlation.lines[0].get_ydata() == pytest.approx(MODEL.correlation)
    assert noise.lines[0].get_ydata() == pytest.approx(TRUE.mean(0) * (1 - 0.72))
    assert all("Mpc" in axes.get_ylabel() or "(k)" in axes.get_ylabel() for axes in figure.axes)


def test_columns_are_ranges_of_mass_with_one_style_for_a_model():
    bins = {"12-12.5": {"a": MODEL, "b": MODEL}, "13-14": {"b": MODEL}}
    figure = powers_by_mass(K, bins)
    first, second = figure.axes[:2]
    assert "10^{12.5}" in first.get_title()
    assert second.lines[0].get_color() == first.lines[1].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_bispectra_and_their_ratios():
    true = {name: np.tile(np.exp(ANGLES), (2, 1)) for name in TITLES}
    true["small"][:, :4] = np.nan
    painted = {name: 1.3 * values for name, values in true.items()}
    figure = bispectra(ANGLES, true, {"a": painted}, titles=TITLES)
    lower = figure.axes[2]
    assert lower.lines[0].get_ydata() == pytest.approx(1.3)
    assert figure.axes[1].get_title() == "0.6, 0.7"
    figure = bispectra_by_mass(ANGLES, {"12-13": {"truth": true, "a": painted}}, titles=TITLES)
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx(1.3)
    assert np.isnan(figure.axes[1].lines[0].get_ydata()[:4]).all()
    assert render(figure, "png").startswith(b"\x89PNG")


def test_multipoles_differ_in_terms_of_the_monopole():
    zero, two = np.tile(1000 / (1 + K), (2, 1)), np.tile(np.linspace(100, -100, 10), (2, 1))
    figure = catalogue_powers(
        K, {"a": {"P0": (1.1 * zero, zero), "P2": (two + 50, two)}}, scales={"P0": "P0", "P2": "P0"}
    )
    lower = figure.axes[2:]
    assert lower[0].lines[0].get_ydata() == pytest.approx(0.1)
    assert lower[1].lines[0].get_ydata() == pytest.approx(50 / zero[0])
