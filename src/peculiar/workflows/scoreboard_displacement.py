"""Table 1 of He et al. 2019: what each row is, what the paper printed, and our figures beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peculiar.core import PRESETS, Cosmology

SCHEMA = 1
SOURCE = "He et al. 2019"
TEST_PHASE = "test phase"

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "test phase": {
        "2LPT": {
            "relative_error": 0.093,
            "T_displacement_0.11": 0.96,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 1.04,
            "r_displacement_0.5": 0.90,
            "T_density_0.11": 0.96,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.74,
            "r_density_0.5": 0.94,
            "three_point_residual": 0.0782,
        },
        "D3M": {
            "relative_error": 0.028,
            "T_displacement_0.11": 1.00,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 0.99,
            "r_displacement_0.5": 1.00,
            "T_density_0.11": 1.00,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.99,
            "r_density_0.5": 1.00,
            "three_point_residual": 0.0079,
        },
    },
    "A_s x 1.8": {
        "2LPT": {
            "relative_error": 0.155,
            "T_displacement_0.11": 0.97,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 1.07,
            "r_displacement_0.5": 0.73,
            "T_density_0.11": 0.93,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.49,
            "r_density_0.5": 0.78,
            "three_point_residual": 0.243,
        },
        "D3M": {
            "relative_error": 0.039,
            "T_displacement_0.11": 1.00,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 0.97,
            "r_displacement_0.5": 0.99,
            "T_density_0.11": 1.00,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.98,
            "r_density_0.5": 1.00,
            "three_point_residual": 0.039,
        },
    },
    "A_s x 0.2": {
        "2LPT": {
            "relative_error": 0.063,
            "T_displacement_0.11": 0.99,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 0.95,
            "r_displacement_0.5": 0.98,
            "T_density_0.11": 0.99,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.98,
            "r_density_0.5": 0.99,
            "three_point_residual": 0.024,
        },
        "D3M": {
            "relative_error": 0.036,
            "T_displacement_0.11": 1.00,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 1.01,
            "r_displacement_0.5": 1.00,
            "T_density_0.11": 1.00,
            "r_density_0.11": 1.00,
            "T_density_0.5": 1.03,
            "r_density_0.5": 1.00,
            "three_point_residual": 0.022,
        },
    },
    "Omega_m 0.5": {
        "2LPT": {
            "relative_error": 0.152,
            "T_displacement_0.11": 0.97,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 1.10,
            "r_displacement_0.5": 0.80,
            "T_density_0.11": 0.94,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.58,
            "r_density_0.5": 0.87,
            "three_point_residual": 0.076,
        },
        "D3M": {
            "relative_error": 0.038,
            "T_displacement_0.11": 1.00,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 0.98,
            "r_displacement_0.5": 0.99,
            "T_density_0.11": 1.00,
            "r_density_0.11": 1.00,
            "T_density_0.5": 1.00,
            "r_density_0.5": 1.00,
            "three_point_residual": 0.017,
        },
    },
    "Omega_m 0.1": {
        "2LPT": {
            "relative_error": 0.043,
            "T_displacement_0.11": 0.97,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 0.97,
            "r_displacement_0.5": 0.98,
            "T_density_0.11": 0.97,
            "r_density_0.11": 1.00,
            "T_density_0.5": 0.96,
            "r_density_0.5": 0.99,
            "three_point_residual": 0.017,
        },
        "D3M": {
            "relative_error": 0.025,
            "T_displacement_0.11": 0.99,
            "r_displacement_0.11": 1.00,
            "T_displacement_0.5": 1.02,
            "r_displacement_0.5": 1.00,
            "T_density_0.11": 0.99,
            "r_density_0.11": 1.00,
            "T_density_0.5": 1.04,
            "r_density_0.5": 1.00,
            "three_point_residual": 0.012,
        },
    },
}
"""Table 1, by variant and method."""

ROWS: tuple[tuple[str, str, int], ...] = (
    ("relative_error", "mean of \\|error\\| / \\|displacement\\|", 4),
    ("relative_error_to_2lpt", "its ratio to 2LPT's", 3),
    ("mean_error_ratio", "mean \\|error\\| / mean \\|displacement\\|", 4),
    ("mean_error_ratio_to_2lpt", "its ratio to 2LPT's", 3),
    ("rms_error_ratio_to_2lpt", "ratio of rms errors to 2LPT's", 3),
    ("velocity_rms_ratio", "rms velocity error / rms velocity", 3),
    ("T_displacement_0.11", "displacement T(0.11)", 3),
    ("r_displacement_0.11", "displacement r(0.11)", 4),
    ("T_displacement_0.5", "displacement T(0.5)", 3),
    ("r_displacement_0.5", "displacement r(0.5)", 4),
    ("T_density_0.11", "density T(0.11)", 3),
    ("r_density_0.11", "density r(0.11)", 4),
    ("T_density_0.5", "density T(0.5)", 3),
    ("r_density_0.5", "density r(0.5)", 4),
    ("T_displacement_to_0.4", "largest \\|T - 1\\| of the displacement, k <= 0.4", 4),
    ("T_density_to_0.4", "largest \\|T - 1\\| of the density, k <= 0.4", 4),
    ("three_point_residual", "three-point residual (eq. 8)", 4),
    ("seconds", "seconds a pair", 3),
)


def variant_name(cosmology: Cosmology) -> str:
    """Name a run's cosmology as the paper's Table 1 does, or by its parameters.

    Examples
    --------
    >>> variant_name(PRESETS["he2019"])
    'test phase'
    """
    base = PRESETS["he2019"]
    amplitude = cosmology.A_s / base.A_s
    same_amplitude, same_matter = abs(amplitude - 1) < 0.01, abs(cosmology.Omega_m - base.Omega_m) < 1e-3
    if same_amplitude and same_matter:
        return TEST_PHASE
    if same_matter:
        return f"A_s x {amplitude:.2g}"
    if same_amplitude:
        return f"Omega_m {cosmology.Omega_m:g}"
    return f"Omega_m {cosmology.Omega_m:g}, A_s x {amplitude:.2g}"


def published_value(variant: str, method: str, key: str) -> float | None:
    """Return what Table 1 prints, or what follows from it; None where it prints nothing."""
    table = PUBLISHED.get(variant, {})
    if key == "relative_error_to_2lpt" and table:
        return table[method]["relative_error"] / table["2LPT"]["relative_error"]
    return table.get(method, {}).get(key)


def displacement_markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Return tables of evaluations, one for each variant, the paper's figures in the last columns."""
    parts = []
    for record in records:
        variant, methods = record["variant"], record["models"]
        scores = {entry["model"]: entry["scores"] for entry in record["results"]}
        pairs = len(record["pairs"])
        parts += [
            f"**{variant}**: {pairs} pair{'s' if pairs > 1 else ''}, means; the three-point residual is of the "
            f"multipoles averaged over {record['settings']['three_point']}.",
            "",
            "| | " + " | ".join(methods) + f" | 2LPT, {SOURCE} | D3M, {SOURCE} |",
            "| --- |" + " --- |" * (len(methods) + 2),
        ]
        for key, label, decimals in ROWS:
            cells = [_cell(scores[method].get(key), decimals) for method in methods]
            if not any(cells):
                continue
            printed = [published_value(variant, method, key) for method in ("2LPT", "D3M")]
            cells += ["" if value is None else f"{value:.{decimals}g}" for value in printed]
            parts.append(f"| {label} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _cell(score: Mapping[str, Any] | None, decimals: int) -> str:
    return "" if score is None else f"{score['mean']:.{decimals}f}"
