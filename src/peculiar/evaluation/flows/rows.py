"""The score table of density-to-velocity models: what each row is, and what Wu et al. 2021 printed."""

from __future__ import annotations

from peculiar.evaluation.flows.measure import CUBE, K_AT, POWERS, PRINTED
from peculiar.evaluation.table import Row, published_figures

SOURCE = "Wu et al. 2021"
LINEAR, SMOOTHED = "linear theory", "smoothed linear theory"
"""Names of the baselines: as the paper's, without smoothing, and with the smoothing of least velocity error."""
PUBLISHED = published_figures(__file__)
"""Heading -> score -> what the paper printed for its network and for linear theory."""

POWER_NAMES = {
    "speed": "|v|",
    "momentum_size": "|p|, p = (1 + δ) v",
    "momentum": "p, sum of its components' powers",
    "velocity_divergence": "div v",
    "momentum_curl_size": "|curl p|",
    "momentum_curl": "curl p, sum of its components' powers",
    "vorticity": "curl v, sum of its components' powers",
}
RATIOS: tuple[Row, ...] = tuple(
    Row(f"ratio_{name}_{at:g}", f"{POWER_NAMES[name]}, k = {at:g}", target=1.0)
    for name in POWERS
    for at in K_AT
)
CUBES: tuple[Row, ...] = tuple(
    Row(f"ratio_{name}_cubes_{at:g}", f"{POWER_NAMES[name]}, k = {at:g}", target=1.0)
    for name in PRINTED
    for at in K_AT
)
"""The paper's tables 1 to 4, in cubes of its size."""
VOXELS: tuple[Row, ...] = (
    Row("residual_speed_median", "median |v - v_true| [km/s]", decimals=1, target=0.0),
    Row("median_ratio", "median |v - v_true| over that of linear theory", target=0.0),
    Row("median_ratio_smoothed", "median |v - v_true| over that of smoothed linear theory", target=0.0),
    Row("residual_speed_mean", "|v - v_true| [km/s]", decimals=0, spread="residual_speed_std", target=0.0),
    Row("speed_mean", "|v| [km/s]", decimals=0, spread="speed_std", true="speed_true_mean",
        true_spread="speed_true_std"),
    Row("momentum_mean", "|p| [km/s]", decimals=0, spread="momentum_std", true="momentum_true_mean",
        true_spread="momentum_true_std"),
    Row("cosine_velocity", "cos θ, v", spread="cosine_velocity_std", target=1.0),
    Row("cosine_momentum", "cos θ, p", spread="cosine_momentum_std", target=1.0),
    *(Row(f"correlation_velocity_{axis}", f"correlation, v_{axis}", decimals=4, target=1.0) for axis in "xyz"),
    *(Row(f"correlation_momentum_{axis}", f"correlation, p_{axis}", decimals=4, target=1.0) for axis in "xyz"),
    Row("correlation_velocity_divergence", "correlation, div v", decimals=4, target=1.0),
    Row("correlation_momentum_curl", "correlation, curl p", decimals=4, target=1.0),
    Row("correlation_vorticity", "correlation, curl v", decimals=4, target=1.0),
    Row("slope_velocity", "slope of predicted on true velocity", target=1.0),
    Row("slope_momentum", "slope of predicted on true momentum", target=1.0),
    Row("rms_error_velocity", "rms error of a velocity component [km/s]", decimals=1, target=0.0),
)  # fmt: skip
"""With the others every row of the score tables: power ratios, and cell by cell."""
TABLES = {
    "P(k) / P_true(k), k in h/Mpc": RATIOS,
    f"The same in cubes of {CUBE:g} Mpc/h": CUBES,
    "Cell by cell": VOXELS,
}
