"""The score table of reconstructions: what each row is, what the paper printed, and scores of mean spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from peculiar.evaluation.scores import Score, alone, pooled
from peculiar.evaluation.table import Row, published_figures
from peculiar.evaluation.tracers.measure import SMOOTHED, SMOOTHING

SOURCE = "Xiao et al. 2024"
PUBLISHED = published_figures(__file__)

POINTWISE = "Correlation C_r over voxels"
DIRECTION = "Magnitude and direction"
SPECTRA = "Power spectra, R = P/P_true - 1"
SMOOTH = f"Smoothed by a Gaussian of {SMOOTHING:g} Mpc/h"

PUBLISHED_SIDE = 600.0
PUBLISHED_FACTOR = 0.4
"""The paper's boxes [Mpc/h], and what eq. 11 makes of their scatter: 25 of them overlap in a volume of four."""


def _ranges(field: str, name: str, ranges: Sequence[tuple[str, str]]) -> list[Row]:
    return [
        Row(
            f"R_{field}_{suffix}_max",
            f"{name}, {text}: mean / max |R|",
            SPECTRA,
            lead=f"R_{field}_{suffix}_mean",
            target=0.0,
        )
        for suffix, text in ranges
    ]


def _smoothed(key: str, label: str, decimals: int = 3, *, target: float | None = None, true: str = "") -> Row:
    """A row of smoothed fields; those with a true value have a spread too, angles a spread alone."""
    spread = f"{key.removesuffix('_mean')}_std{SMOOTHED}" if true or key.startswith("misalignment") else ""
    truth = (f"{true}_mean{SMOOTHED}", f"{true}_std{SMOOTHED}") if true else ("", "")
    return Row(f"{key}{SMOOTHED}", label, SMOOTH, decimals, spread, *truth, target=target)


ROWS: tuple[Row, ...] = (
    Row("correlation_velocity", "velocity, mean of the three components", POINTWISE, 4, target=1.0),
    *(Row(f"correlation_velocity_{axis}", f"v_{axis}", POINTWISE, 4, target=1.0) for axis in "xyz"),
    Row("correlation_velocity_magnitude", "|v|", POINTWISE, 4, target=1.0),
    Row("correlation_density", "density", POINTWISE, 4, target=1.0),
    Row("correlation_density_least_squares", "least-square density", POINTWISE, 4, target=1.0),
    Row("correlation_momentum", "momentum, mean of the three components", POINTWISE, 4, target=1.0),
    *(Row(f"correlation_momentum_{axis}", f"m_{axis}", POINTWISE, 4, target=1.0) for axis in "xyz"),
    Row("correlation_velocity_divergence", "velocity divergence", POINTWISE, 4, target=1.0),
    Row("correlation_momentum_divergence", "momentum divergence", POINTWISE, 4, target=1.0),
    Row("rms_error_velocity", "rms error of a velocity component [km/s]", DIRECTION, 1, true="rms_velocity",
        target=0.0),
    Row("residual_ratio", "residual variance against the iterative FFT's", DIRECTION, target=0.0),
    Row("misalignment_velocity", "1 - cos φ, velocity", DIRECTION, 4, "misalignment_velocity_std", target=0.0),
    Row("misalignment_momentum", "1 - cos φ, momentum", DIRECTION, 4, "misalignment_momentum_std", target=0.0),
    Row("velocity_magnitude_mean", "|v| [km/s]", DIRECTION, 1, "velocity_magnitude_std",
        "velocity_magnitude_true_mean", "velocity_magnitude_true_std"),
    Row("momentum_magnitude_mean", "|m| [km/s]", DIRECTION, 1, "momentum_magnitude_std",
        "momentum_magnitude_true_mean", "momentum_magnitude_true_std"),
    Row("slope_velocity", "slope of predicted on true velocity", DIRECTION, target=1.0),
    Row("velocity_divergence_mean", "θ_v [km/s per Mpc/h]", DIRECTION, 2, "velocity_divergence_std",
        "velocity_divergence_true_mean", "velocity_divergence_true_std"),
    Row("momentum_divergence_mean", "θ_m [km/s per Mpc/h]", DIRECTION, 2, "momentum_divergence_std",
        "momentum_divergence_true_mean", "momentum_divergence_true_std"),
    Row("object_correlation", "correlation of the line-of-sight velocity at the objects", DIRECTION, 4, target=1.0),
    Row("object_rms_error", "rms error of the line-of-sight velocity at the objects [km/s]", DIRECTION, 1, target=0.0),
    _smoothed("correlation_velocity", "C_r of a velocity component", 4, target=1.0),
    _smoothed("correlation_velocity_magnitude", "C_r of |v|", 4, target=1.0),
    _smoothed("correlation_momentum", "C_r of a momentum component", 4, target=1.0),
    _smoothed("correlation_velocity_divergence", "C_r of the velocity divergence", 4, target=1.0),
    _smoothed("correlation_momentum_divergence", "C_r of the momentum divergence", 4, target=1.0),
    _smoothed("correlation_density", "C_r of the density", 4, target=1.0),
    _smoothed("misalignment_velocity", "1 - cos φ of the velocity", 4, target=0.0),
    _smoothed("misalignment_momentum", "1 - cos φ of the momentum", 4, target=0.0),
    _smoothed("velocity_magnitude_mean", "|v| of smoothed v [km/s]", 1, true="velocity_magnitude_true"),
    _smoothed("momentum_magnitude_mean", "|m| of smoothed m [km/s]", 1, true="momentum_magnitude_true"),
    _smoothed("velocity_divergence_mean", "θ_v, smoothed [km/s per Mpc/h]", 2, true="velocity_divergence_true"),
    _smoothed("momentum_divergence_mean", "θ_m, smoothed [km/s per Mpc/h]", 2, true="momentum_divergence_true"),
    Row("density_r_0.1", "density r(k) at k = 0.1 h/Mpc", SPECTRA, target=1.0),
    Row("density_r_0.3", "density r(k) at k = 0.3 h/Mpc", SPECTRA, target=1.0),
    *_ranges("density", "density", [("low", "k < 0.3")]),
    *_ranges("density_least_squares", "least-square density", [("low", "k < 0.3")]),
    *_ranges("velocity", "velocity", [("mid", "0.05 < k < 0.2"),
                                      ("low", "0.03 < k < 0.05")]),
    *_ranges("momentum", "momentum", [("mid", "0.05 < k < 0.2"),
                                      ("low", "0.03 < k < 0.05")]),
    *_ranges("velocity_divergence", "velocity-divergence", [("low", "0.05 < k < 0.1"),
                                                            ("mid", "0.05 < k < 0.3")]),
    *_ranges("momentum_divergence", "momentum-divergence", [("low", "0.05 < k < 0.1"),
                                                            ("mid", "0.05 < k < 0.3")]),
    Row("within_2", "bins of P_2, 0.03 < k < 0.4, within 2σ of the truth", SPECTRA, 2, target=1.0),
    Row("within_4", "bins of P_4, 0.03 < k < 0.4, within 2σ of the truth", SPECTRA, 2, target=1.0),
    Row("within_2_published", "the same of P_2, with the σ of the paper's boxes (eq. 11)", SPECTRA, 2, target=1.0),
    Row("within_4_published", "the same of P_4, with the σ of the paper's boxes (eq. 11)", SPECTRA, 2, target=1.0),
)  # fmt: skip
"""Every row of the score table.

The paper's figures are of its own simulations, without mass weighting where not said. It states no smoothing; its
magnitudes and divergences are those of smoothed fields (`SMOOTHING`), beside which they stand.
"""

TILES = (
    ("correlation_velocity", "correlation of each velocity component", "{:.3f}", ""),
    ("rms_error_velocity", "rms error of a component", "{:.0f} km/s", ""),
    (
        f"misalignment_velocity{SMOOTHED}",
        f"mean 1 - cos φ, smoothed by {SMOOTHING:g} Mpc/h",
        "{:.3f}",
        "0.01",
    ),
    ("slope_velocity", "slope of predicted on true velocity", "{:.3f}", ""),
    ("density_r_0.1", "density r(k) at k = 0.1 h/Mpc", "{:.3f}", ""),
)
"""Key numbers: score, label, how it is written, and what the paper printed."""

RANGES = {
    "density": {"low": (0.0, 0.3)},
    "density_least_squares": {"low": (0.0, 0.3)},
    "velocity": {"mid": (0.05, 0.2), "low": (0.03, 0.05)},
    "momentum": {"mid": (0.05, 0.2), "low": (0.03, 0.05)},
    "velocity_divergence": {"low": (0.05, 0.1), "mid": (0.05, 0.3)},
    "momentum_divergence": {"low": (0.05, 0.1), "mid": (0.05, 0.3)},
}
"""k ranges [h/Mpc] of the R rows, the paper's."""

HEADLINE = (
    "correlation_velocity",
    "rms_error_velocity",
    "residual_ratio",
    "misalignment_velocity",
    "slope_velocity",
    "density_r_0.1",
    "density_r_0.3",
    "R_velocity_mid_mean",
    "R_density_low_max",
)
"""Rows that a summary shows."""


def range_scores(
    k: np.ndarray, power: Mapping[str, np.ndarray], true_power: Mapping[str, np.ndarray]
) -> dict[str, Score]:
    """Mean and maximum over k of |R|, R averaged over boxes first; errors by the jackknife over boxes.

    Parameters
    ----------
    k : (k,) [h/Mpc]
    power, true_power : field -> (box, k)
    """
    scores: dict[str, Score] = {}
    for field, ranges in RANGES.items():
        if field not in power:
            continue
        deviation = power[field] / true_power[field] - 1
        for name, (low, high) in ranges.items():
            chosen = deviation[:, (k >= low) & (k <= high)]
            if not chosen.shape[1]:
                continue
            for kind, reduce in (("mean", np.mean), ("max", np.max)):
                statistic = partial(_deviation, chosen, reduce)
                scores[f"R_{field}_{name}_{kind}"] = pooled(statistic, len(chosen))
    return scores


def multipole_scores(
    k: np.ndarray, predicted: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray], *, side: float
) -> dict[str, Score]:
    """Fraction of bins at 0.03 < k < 0.4 whose multipole lies within two standard deviations of the truth.

    "within_2" and "within_4" take the scatter of these boxes, to which eq. 11 adds nothing, for they do not overlap.
    Smaller boxes scatter more, so "within_2_published" and "within_4_published" take what boxes of 600 Mpc/h would
    have, as eq. 11 rescales it in the paper.

    Parameters
    ----------
    k : (k,) [h/Mpc]
    predicted, truth : multipole -> (box, k)
    side : float
        Of a box [Mpc/h].
    """
    chosen = (k > 0.03) & (k < 0.4)
    published = PUBLISHED_FACTOR * (side / PUBLISHED_SIDE) ** 1.5
    scores: dict[str, Score] = {}
    for order in (2, 4):
        if len(truth[order]) < 2 or not chosen.any():
            continue
        sigma = truth[order].std(axis=0, ddof=1)
        error = np.abs(predicted[order].mean(axis=0) - truth[order].mean(axis=0))
        for name, factor in ((f"within_{order}", 1.0), (f"within_{order}_published", published)):
            scores[name] = alone((error < 2 * factor * sigma)[chosen].mean())
    return scores


def _deviation(rows: np.ndarray, reduce: Callable[[np.ndarray], np.floating[Any]], boxes: list[int]) -> float:
    return float(reduce(np.abs(rows[boxes].mean(axis=0))))


def tuned_text(settings: Mapping[str, Mapping[str, float | None]]) -> str:
    """Say which settings the baselines have: what was tuned, or how what was not is found."""
    return "; ".join(
        f"{name}: smoothing {_setting(row['smoothing'], 'by density', ' Mpc/h')}, bias "
        f"{_setting(row['bias'], 'measured')}"
        for name, row in settings.items()
    )


def _setting(value: float | None, unset: str, unit: str = "") -> str:
    return unset if value is None else f"{value:.4g}{unit}"
