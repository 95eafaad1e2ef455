"""The score table of density-to-velocity models: what each row is, and what Wu et al. 2021 printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peculiar.workflows.measure_flow import K_AT, POWERS
from peculiar.workflows.scoreboard import Row, Score, best_model, cell_text, true_text

SOURCE = "Wu et al. 2021"
LINEAR, SMOOTHED = "linear theory", "smoothed linear theory"
"""Names of the baselines: as the paper's, without smoothing, and with the smoothing of least velocity error."""

POWER_NAMES = {
    "speed": "\\|v\\|",
    "momentum_size": "\\|p\\|, p = (1 + δ) v",
    "momentum": "p, sum of its components' powers",
    "velocity_divergence": "div v",
    "momentum_curl_size": "\\|curl p\\|",
    "momentum_curl": "curl p, sum of its components' powers",
    "vorticity": "curl v, sum of its components' powers",
}

Published = Mapping[str, tuple[str, str]]


def _table(name: str, network: Sequence[str], linear: Sequence[str]) -> dict[str, tuple[str, str]]:
    return {
        f"ratio_{name}_{at:g}": values
        for at, values in zip(K_AT, zip(network, linear, strict=True), strict=True)
    }


PUBLISHED: Published = {
    **_table("speed", ("0.818", "1.123", "1.011"), ("2.259", "5.245", "3.516")),
    **_table("momentum_size", ("1.068", "0.920", "0.929"), ("20.860", "44.746", "43.479")),
    **_table("velocity_divergence", ("0.956", "0.996", "1.011"), ("1.584", "7.917", "20.731")),
    **_table("momentum_curl_size", ("1.048", "0.907", "0.950"), ("14.806", "24.086", "18.065")),
    "speed_mean": (
        "376 ± 194, 177 ± 106, 368 ± 193 (true 428 ± 188, 186 ± 103, 432 ± 208)",
        "649 ± 400, 386 ± 354, 797 ± 576",
    ),
    "residual_speed_mean": ("126 ± 72, 65 ± 41, 152 ± 70", "281 ± 349, 298 ± 299, 407 ± 488"),
    "cosine_velocity": ("0.93 ± 0.19, 0.90 ± 0.27, 0.89 ± 0.26", "0.92 ± 0.26, 0.49 ± 0.69, 0.92 ± 0.22"),
    "momentum_mean": ("2415 ± 4361 (true 2371 ± 4613)", "1030 ± 2318"),
}
"""Score -> what the paper printed for its network and for linear theory. Tables 1 to 4 are of 64 boxes of 120 Mpc/h;
the others (eqs. 2 to 9) of three slices of 40 x 40 x 2 Mpc/h where bulk flows collide, one for the momentum."""

RATIOS: tuple[Row, ...] = tuple(
    Row(f"ratio_{name}_{at:g}", f"{POWER_NAMES[name]}, k = {at:g}", "", target=1.0)
    for name in POWERS
    for at in K_AT
)
VOXELS: tuple[Row, ...] = (
    Row("residual_speed_median", "median \\|v - v_true\\| [km/s]", "", 1, target=0.0),
    Row("median_ratio", "median \\|v - v_true\\| over that of linear theory", "", 3, target=0.0),
    Row("median_ratio_smoothed", "median \\|v - v_true\\| over that of smoothed linear theory", "", 3, target=0.0),
    Row("residual_speed_mean", "\\|v - v_true\\| [km/s]", "", 0, "residual_speed_std", target=0.0),
    Row("speed_mean", "\\|v\\| [km/s]", "", 0, "speed_std", "speed_true_mean", "speed_true_std"),
    Row("momentum_mean", "\\|p\\| [km/s]", "", 0, "momentum_std", "momentum_true_mean", "momentum_true_std"),
    Row("cosine_velocity", "cos θ, v", "", 3, "cosine_velocity_std", target=1.0),
    Row("cosine_momentum", "cos θ, p", "", 3, "cosine_momentum_std", target=1.0),
    *(Row(f"correlation_velocity_{axis}", f"correlation, v_{axis}", "", 4, target=1.0) for axis in "xyz"),
    *(Row(f"correlation_momentum_{axis}", f"correlation, p_{axis}", "", 4, target=1.0) for axis in "xyz"),
    Row("correlation_velocity_divergence", "correlation, div v", "", 4, target=1.0),
    Row("correlation_momentum_curl", "correlation, curl p", "", 4, target=1.0),
    Row("correlation_vorticity", "correlation, curl v", "", 4, target=1.0),
    Row("slope_velocity", "slope of predicted on true velocity", "", 3, target=1.0),
    Row("slope_momentum", "slope of predicted on true momentum", "", 3, target=1.0),
    Row("rms_error_velocity", "rms error of a velocity component [km/s]", "", 1, target=0.0),
)  # fmt: skip
"""Every row of the two score tables: power ratios, and cell by cell."""


def flow_markdown(record: Mapping[str, Any], *, published: Published = PUBLISHED) -> str:
    """Return the score tables as Markdown.

    Parameters
    ----------
    record : mapping
        What ``scores.json`` holds.
    published : score -> (network, linear theory)
        What a paper printed.
    """
    columns: dict[str, Mapping[str, Score]] = {entry["model"]: entry["scores"] for entry in record["results"]}
    box, count = record["box"], len(record["boxes"])
    lines = [
        "# Velocity and momentum from the density of matter",
        "",
        f"{count} box{'es' if count > 1 else ''} of {box['size']:g} Mpc/h, {box['cells']}^3 cells of "
        f"{box['size'] / box['cells']:g} Mpc/h, z = {box['redshift']:g}. Means over boxes, their standard error in "
        "parentheses; ± is the standard deviation over cells. The closest to the ideal is bold.",
        "",
        f"True velocity: {record['velocity_definition']}. {SMOOTHED.capitalize()}: Gaussian of "
        f"{record['smoothing']:g} Mpc/h, {'tuned on other boxes' if record['tuned_on'] else 'not tuned'}; "
        f"{LINEAR}: none.",
    ]
    if published:
        lines += [
            "",
            f"Published figures are of {SOURCE}, measured on its own simulations: power ratios in 64 boxes of "
            "120 Mpc/h, the others in single slices of 40 x 40 x 2 Mpc/h where bulk flows collide. Its powers of "
            "momentum and curl stand beside |p| and |curl p|, where our linear theory comes near the printed one.",
        ]
    for title, rows in (("P(k) / P_true(k), k in h/Mpc", RATIOS), ("Cell by cell", VOXELS)):
        extra = ["published network", "published linear theory"] if published else []
        lines += [
            "",
            f"## {title}",
            "",
            f"| | {' | '.join([*columns, 'truth', *extra])} |",
            "| --- |" + " ---: |" * (len(columns) + 1 + len(extra)),
        ]
        for row in rows:
            if any(row.key in scores for scores in columns.values()):
                lines.append(_line(row, columns, published))
    return "\n".join(lines) + "\n"


def _line(row: Row, columns: Mapping[str, Mapping[str, Score]], published: Published) -> str:
    best = best_model(columns, row)
    texts = {name: cell_text(scores, row) for name, scores in columns.items()}
    cells = [f"**{text}**" if name == best else text for name, text in texts.items()]
    cells.append(true_text(next(iter(columns.values())), row))
    if published:
        cells += published.get(row.key, ("", ""))
    return f"| {row.label} | {' | '.join(cells)} |"
