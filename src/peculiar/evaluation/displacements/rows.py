"""Table 1 of He et al. 2019: what each row is, and what the paper printed."""

from __future__ import annotations

from peculiar.core import PRESETS, Cosmology
from peculiar.evaluation.table import Row, published_figures

SOURCE = "He et al. 2019"
TEST_PHASE = "test phase"
THEORY, NETWORK = "2LPT", "D3M"
"""What the paper compares."""
PUBLISHED: dict[str, dict[str, dict[str, float]]] = published_figures(__file__)
"""Table 1, by cosmology and method."""

ROWS: tuple[Row, ...] = (
    Row("relative_error", "mean of |error| / |displacement|", decimals=4, target=0.0),
    Row("relative_error_to_2lpt", "its ratio to 2LPT's", target=0.0),
    Row("mean_error_ratio", "mean |error| / mean |displacement|", decimals=4, target=0.0),
    Row("mean_error_ratio_to_2lpt", "its ratio to 2LPT's", target=0.0),
    Row("rms_error_ratio_to_2lpt", "ratio of rms errors to 2LPT's", target=0.0),
    Row("largest_error", "largest |error| / |displacement| of all pairs' particles", decimals=2, target=0.0),
    Row("velocity_rms_ratio", "rms velocity error / rms velocity", target=0.0),
    Row("T_displacement_0.11", "displacement T(0.11)", target=1.0),
    Row("r_displacement_0.11", "displacement r(0.11)", decimals=4, target=1.0),
    Row("T_displacement_0.5", "displacement T(0.5)", target=1.0),
    Row("r_displacement_0.5", "displacement r(0.5)", decimals=4, target=1.0),
    Row("T_density_0.11", "density T(0.11)", target=1.0),
    Row("r_density_0.11", "density r(0.11)", decimals=4, target=1.0),
    Row("T_density_0.5", "density T(0.5)", target=1.0),
    Row("r_density_0.5", "density r(0.5)", decimals=4, target=1.0),
    Row("T_displacement_to_0.4", "largest |T - 1| of the displacement, k <= 0.4", decimals=4, target=0.0),
    Row("T_density_to_0.4", "largest |T - 1| of the density, k <= 0.4", decimals=4, target=0.0),
    Row("three_point_residual", "three-point residual (eq. 8)", decimals=4, target=0.0),
    Row("seconds", "seconds a pair"),
)


def variant_name(cosmology: Cosmology, redshift: float = 0.0) -> str:
    """Name a run's cosmology as the paper's Table 1 does, or by its parameters; with its epoch, if not today.

    Examples
    --------
    >>> variant_name(PRESETS["he2019"]), variant_name(PRESETS["he2019"], 0.5)
    ('test phase', 'test phase, z = 0.5')
    """
    base = PRESETS["he2019"]
    amplitude = cosmology.A_s / base.A_s
    same_amplitude, same_matter = abs(amplitude - 1) < 0.01, abs(cosmology.Omega_m - base.Omega_m) < 1e-3
    if same_amplitude and same_matter:
        name = TEST_PHASE
    elif same_matter:
        name = f"A_s x {amplitude:.2g}"
    elif same_amplitude:
        name = f"Omega_m {cosmology.Omega_m:g}"
    else:
        name = f"Omega_m {cosmology.Omega_m:g}, A_s x {amplitude:.2g}"
    return f"{name}, z = {redshift:g}" if redshift else name


def published_value(variant: str, method: str, key: str) -> float | None:
    """Return what Table 1 prints, or what follows from it; None where it prints nothing."""
    table = PUBLISHED.get(variant, {})
    if key == "relative_error_to_2lpt" and table:
        return table[method]["relative_error"] / table[THEORY]["relative_error"]
    return table.get(method, {}).get(key)


def published_columns(variant: str) -> dict[str, dict[str, str]]:
    """Return what stands beside our scores of a cosmology: heading -> score -> text."""
    columns: dict[str, dict[str, str]] = {}
    for method in (THEORY, NETWORK):
        values = {row.key: published_value(variant, method, row.key) for row in ROWS}
        columns[f"{method}, {SOURCE}"] = {
            row.key: f"{value:.{row.decimals}g}" for row in ROWS if (value := values[row.key]) is not None
        }
    return columns
