"""The score table: what each row is, what the paper printed, and how boxes are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SOURCE = "Xiao et al. 2024"


POINTWISE = "Correlation C_r over voxels"
DIRECTION = "Magnitude and direction"
SPECTRA = "Power spectra, R = P/P_true - 1"


@dataclass(frozen=True)
class Row:
    """One line of the score table.

    Attributes
    ----------
    key : str
        Score name; its "mean".
    label : str
        In words, with the unit.
    group : str
        Heading it stands under.
    decimals : int
    spread : str
        Score whose value follows as "± ..." (a standard deviation over voxels), or "".
    true, true_spread : str
        Scores that hold the true value, or "".
    target : float or None
        Value of a perfect reconstruction, to mark the best column; None marks none.
    published, source : str
        What the paper printed, and where.
    lead : str
        Score that stands before it, with a stroke between, or "".
    """

    key: str
    label: str
    group: str
    decimals: int = 3
    spread: str = ""
    true: str = ""
    true_spread: str = ""
    target: float | None = None
    published: str = ""
    source: str = ""
    lead: str = ""


def _ranges(field: str, name: str, ranges: Sequence[tuple[str, str, str, str]]) -> list[Row]:
    return [
        Row(
            f"R_{field}_{suffix}_max",
            f"{name}, {text}: mean / max |R|",
            SPECTRA,
            lead=f"R_{field}_{suffix}_mean",
            target=0.0,
            published=bound,
            source=source,
        )
        for suffix, text, bound, source in ranges
    ]


ROWS: tuple[Row, ...] = (
    Row("correlation_velocity", "velocity, mean of the three components", POINTWISE, 4, target=1.0, published="~0.9",
        source="sec. 3.1"),
    *(Row(f"correlation_velocity_{axis}", f"v_{axis}", POINTWISE, 4, target=1.0) for axis in "xyz"),
    Row("correlation_velocity_magnitude", "|v|", POINTWISE, 4, target=1.0, published="~0.9", source="sec. 3.1"),
    Row("correlation_density", "density", POINTWISE, 4, target=1.0, published="~0.9", source="sec. 3.1"),
    Row("correlation_density_least_squares", "least-square density", POINTWISE, 4, target=1.0),
    Row("correlation_momentum", "momentum, mean of the three components", POINTWISE, 4, target=1.0, published="~0.9",
        source="sec. 3.1"),
    *(Row(f"correlation_momentum_{axis}", f"m_{axis}", POINTWISE, 4, target=1.0) for axis in "xyz"),
    Row("correlation_velocity_divergence", "velocity divergence", POINTWISE, 4, target=1.0, published="~0.9",
        source="sec. 3.1"),
    Row("correlation_momentum_divergence", "momentum divergence", POINTWISE, 4, target=1.0, published="below 0.9",
        source="sec. 3.1"),
    Row("rms_error_velocity", "rms error of a velocity component [km/s]", DIRECTION, 1, true="rms_velocity",
        target=0.0),
    Row("residual_ratio", "residual variance against the iterative FFT's", DIRECTION, 3, target=0.0),
    Row("misalignment_velocity", "1 - cos φ, velocity", DIRECTION, 4, "misalignment_velocity_std", target=0.0,
        published="0.01 ± 0.06", source="sec. 3.1"),
    Row("misalignment_momentum", "1 - cos φ, momentum", DIRECTION, 4, "misalignment_momentum_std", target=0.0,
        published="0.04 ± 0.11", source="sec. 3.1"),
    Row("velocity_magnitude_mean", "|v| [km/s]", DIRECTION, 1, "velocity_magnitude_std",
        "velocity_magnitude_true_mean", "velocity_magnitude_true_std", published="297.2 ± 135.3 (true 294.6 ± 131.0)",
        source="sec. 3.1, fig. 4"),
    Row("momentum_magnitude_mean", "|m| [km/s]", DIRECTION, 1, "momentum_magnitude_std",
        "momentum_magnitude_true_mean", "momentum_magnitude_true_std", published="315.2 ± 209.3 (true 309.5 ± 213.4)",
        source="sec. 3.1, fig. 4"),
    Row("slope_velocity", "slope of predicted on true velocity", DIRECTION, 3, target=1.0),
    Row("velocity_divergence_mean", "θ_v [km/s per Mpc/h]", DIRECTION, 2, "velocity_divergence_std",
        "velocity_divergence_true_mean", "velocity_divergence_true_std", published="0.40 ± 18.5 (true 0.92 ± 17.6)",
        source="sec. 3.1, fig. 5"),
    Row("momentum_divergence_mean", "θ_m [km/s per Mpc/h]", DIRECTION, 2, "momentum_divergence_std",
        "momentum_divergence_true_mean", "momentum_divergence_true_std", published="0.34 ± 25.8 (true 0.34 ± 25.8)",
        source="sec. 3.1, fig. 5"),
    Row("object_correlation", "correlation of the line-of-sight velocity at the objects", DIRECTION, 4, target=1.0),
    Row("object_rms_error", "rms error of the line-of-sight velocity at the objects [km/s]", DIRECTION, 1, target=0.0),
    Row("density_r_0.1", "density r(k) at k = 0.1 h/Mpc", SPECTRA, 3, target=1.0),
    Row("density_r_0.3", "density r(k) at k = 0.3 h/Mpc", SPECTRA, 3, target=1.0),
    *_ranges("density", "density", [("low", "k < 0.3", "< 0.13", "sec. 3.3, fig. 10")]),
    *_ranges("density_least_squares", "least-square density", [("low", "k < 0.3", "", "")]),
    *_ranges("velocity", "velocity", [("mid", "0.05 < k < 0.2", "< 0.07", "sec. 3.4, fig. 11"),
                                      ("low", "0.03 < k < 0.05", "<= 0.13", "sec. 3.4, fig. 11")]),
    *_ranges("momentum", "momentum", [("mid", "0.05 < k < 0.2", "< 0.07", "sec. 3.4, fig. 11"),
                                      ("low", "0.03 < k < 0.05", "<= 0.13", "sec. 3.4, fig. 11")]),
    *_ranges("velocity_divergence", "velocity-divergence", [("low", "0.05 < k < 0.1", "< 0.06", "sec. 3.4, fig. 12"),
                                                            ("mid", "0.05 < k < 0.3", "< 0.1", "fig. 12")]),
    *_ranges("momentum_divergence", "momentum-divergence", [("low", "0.05 < k < 0.1", "< 0.06", "sec. 3.4, fig. 12"),
                                                            ("mid", "0.05 < k < 0.3", "< 0.1", "fig. 12")]),
    Row("within_2", "bins of P_2, 0.03 < k < 0.4, within 2σ of the truth", SPECTRA, 2, target=1.0, published="all",
        source="sec. 3.5, fig. 14"),
    Row("within_4", "bins of P_4, 0.03 < k < 0.4, within 2σ of the truth", SPECTRA, 2, target=1.0, published="all",
        source="sec. 3.5, fig. 14"),
)  # fmt: skip
"""Every row of the score table. The paper's figures are of its own simulations, without mass weighting."""

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

Score = dict[str, float | list[float]]


def average(values: Sequence[float]) -> Score:
    """Mean over boxes with its standard error (NaN for one box), and the boxes' own values."""
    data = np.asarray(values, dtype=np.float64)
    error = float(data.std(ddof=1) / np.sqrt(len(data))) if len(data) > 1 else float("nan")
    return {"mean": float(data.mean()), "error": error, "boxes": [float(value) for value in data]}


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
                scores[f"R_{field}_{name}_{kind}"] = {
                    "mean": float(reduce(np.abs(chosen.mean(axis=0)))),
                    "error": _jackknife(
                        [float(reduce(np.abs(rest.mean(axis=0)))) for rest in _leave_one_out(chosen)]
                    ),
                    "boxes": [float(reduce(np.abs(row))) for row in chosen],
                }
    return scores


def multipole_scores(
    k: np.ndarray, predicted: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray]
) -> dict[str, Score]:
    """Fraction of bins at 0.03 < k < 0.4 whose multipole lies within two box-to-box standard deviations of the truth.

    Parameters
    ----------
    k : (k,) [h/Mpc]
    predicted, truth : multipole -> (box, k)
    """
    chosen = (k > 0.03) & (k < 0.4)
    scores: dict[str, Score] = {}
    for order in (2, 4):
        if len(truth[order]) < 2 or not chosen.any():
            continue
        sigma = truth[order].std(axis=0, ddof=1)
        inside = np.abs(predicted[order].mean(axis=0) - truth[order].mean(axis=0)) < 2 * sigma
        scores[f"within_{order}"] = {"mean": float(inside[chosen].mean()), "error": float("nan"), "boxes": []}
    return scores


def _leave_one_out(rows: np.ndarray) -> list[np.ndarray]:
    return [np.delete(rows, i, axis=0) for i in range(len(rows))] if len(rows) > 1 else []


def _jackknife(values: Sequence[float]) -> float:
    if len(values) < 2:
        return float("nan")
    data = np.asarray(values)
    return float(np.sqrt((len(data) - 1) * np.mean((data - data.mean()) ** 2)))


def cell_text(scores: Mapping[str, Score], row: Row) -> str:
    """Text of one cell: mean over boxes, and its standard error in parentheses or the spread over voxels after ±."""
    if row.key not in scores:
        return "–"
    if row.spread in scores:
        mean, spread = (_number(scores[key], row.decimals, error=False) for key in (row.key, row.spread))
        return f"{mean} ± {spread}"
    lead = f"{_number(scores[row.lead], row.decimals, error=False)} / " if row.lead in scores else ""
    return lead + _number(scores[row.key], row.decimals)


def true_text(scores: Mapping[str, Score], row: Row) -> str:
    """Text of the true value where the row has one, or ""."""
    if row.true not in scores:
        return ""
    text = _number(scores[row.true], row.decimals, error=False)
    if row.true_spread in scores:
        return f"{text} ± {_number(scores[row.true_spread], row.decimals, error=False)}"
    return f"rms {text}"


def best_model(columns: Mapping[str, Mapping[str, Score]], row: Row) -> str | None:
    """Model whose mean is closest to the row's target, or None where the row has none."""
    if row.target is None:
        return None
    distance = {
        name: abs(float(scores[row.key]["mean"]) - row.target)  # type: ignore[arg-type]
        for name, scores in columns.items()
        if row.key in scores and scores[row.key]["mean"] is not None
    }
    return min(distance, key=distance.__getitem__) if len(distance) > 1 else None


def published_text(row: Row) -> str:
    """What the paper printed, with its place, or ""."""
    return f"{row.published} ({row.source})" if row.published else ""


def _setting(value: float | None, unset: str, unit: str = "") -> str:
    return unset if value is None else f"{value:.4g}{unit}"


def markdown(record: Mapping[str, object]) -> str:
    """Return the score tables, one per satellite fraction, as Markdown."""
    settings: Mapping[str, object] = record["settings"]  # type: ignore[assignment]
    boxes: Sequence[str] = record["boxes"]  # type: ignore[assignment]
    results: Sequence[Mapping[str, object]] = record["results"]  # type: ignore[assignment]
    lines = [
        "# Scores",
        "",
        f"Means over {len(boxes)} box{'es' if len(boxes) > 1 else ''}, the standard error of the mean in parentheses. "
        f"{settings['number_density']:g} (h/Mpc)^3, line of sight {settings['line_of_sight']}. The published figures "
        f"are of {SOURCE}, measured on its own simulations. The closest to the ideal is bold.",
    ]
    tuned: Mapping[str, Mapping[str, Mapping[str, float | None]]] = record["baseline_settings"]  # type: ignore[assignment]
    for fraction in dict.fromkeys(entry["satellite_fraction"] for entry in results):
        columns: dict[str, Mapping[str, Score]] = {
            str(entry["model"]): entry["scores"]  # type: ignore[misc]
            for entry in results
            if entry["satellite_fraction"] == fraction
        }
        lines += ["", f"## Satellite fraction {fraction:g}", ""]
        used = "; ".join(
            f"{name}: smoothing {_setting(row['smoothing'], 'by density', ' Mpc/h')}, bias "
            f"{_setting(row['bias'], 'measured')}"
            for name, row in tuned[f"{fraction:g}"].items()
        )
        lines += [
            f"Settings of the baselines ({'tuned on other boxes' if settings['tune_on'] else 'defaults'}): {used}.",
            "",
        ]
        lines += [
            f"| | {' | '.join(columns)} | truth | published |",
            "| --- |" + " ---: |" * (len(columns) + 1) + " --- |",
        ]
        for row in ROWS:
            if not any(row.key in scores for scores in columns.values()):
                continue
            best = best_model(columns, row)
            cells = [cell_text(scores, row) for scores in columns.values()]
            cells = [
                f"**{text}**" if name == best else text for name, text in zip(columns, cells, strict=True)
            ]
            label = row.label.replace("|", "\\|")
            true = true_text(next(iter(columns.values())), row)
            lines.append(f"| {label} | {' | '.join(cells)} | {true} | {published_text(row)} |")
    return "\n".join(lines) + "\n"


def _number(score: Score, decimals: int, *, error: bool = True) -> str:
    mean, spread = score["mean"], score["error"]
    if not isinstance(mean, float | int) or not np.isfinite(mean):
        return "–"
    text = f"{round(mean, decimals) + 0.0:.{decimals}f}"  # + 0.0 turns -0.00 into 0.00
    if error and isinstance(spread, float) and np.isfinite(spread):
        text += f" ({spread:.{decimals}f})"
    return text
