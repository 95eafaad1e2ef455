"""The score tables of velocities in isolated cubes: Table 4 of Wang et al. 2024, its printed values, and our goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from peculiar.workflows.measure_survey import BOUNDARY, CENTRE, EVERYWHERE, KNOWN, SEEN, UNBIASED
from peculiar.workflows.scoreboard import Row, Score, best_model, cell_text

SOURCE = "Wang et al. 2024"
TRUE_PERIODIC, TRUE_PADDED = "FFT, true density, periodic", "FFT, true density"
TRUE_SURROUNDINGS = "FFT, true density, surroundings"
LINEAR, ITERATIVE = "FFT, observed tracers", "iterative FFT"
SURROUNDINGS = "iterative FFT, surroundings"
BASELINES = (SURROUNDINGS, ITERATIVE, LINEAR, TRUE_SURROUNDINGS, TRUE_PADDED, TRUE_PERIODIC)
"""Names of the baselines."""

ROWS: tuple[Row, ...] = (
    Row("slope", "fitting slope of v_p on v_t", "", 3, target=1.0),
    Row("within_residual", "share with \\|v_p - v_t\\| < 200 km/s", "", 3, target=1.0),
    Row("within_magnitude", "share with \\| \\|v_p\\| - \\|v_t\\| \\| < 200 km/s", "", 3, target=1.0),
    Row("cosine", "mean cos θ", "", 3, target=1.0),
    Row("coherence", "average coherence Γ", "", 3, target=1.0),
    Row("rms_error", "rms error of a component [km/s]", "", 1, target=0.0),
    Row("correlation", "correlation of a component", "", 3, target=1.0),
)
OUTSIDE = Row("outside_share", "share of the squared error that the flow from outside explains", "", 3)
PARTS = {
    EVERYWHERE: "all voxels",
    CENTRE: "centre",
    BOUNDARY: "boundary",
    SEEN: "voxels with a completeness above 0.3",
    UNBIASED: "all voxels, with an unbiased amplitude",
    KNOWN: "all voxels, with the flow from outside known",
}

Values = Mapping[str, str]


def _four(slope: str, share: str, cosine: str, coherence: str) -> Values:
    # The paper does not say which of the two shares it has.
    named = {"slope": slope, "within_residual": share, "within_magnitude": share}
    return named | {"cosine": cosine, "coherence": coherence}


PUBLISHED: Mapping[str, Mapping[str, Values]] = {
    "simulation": {
        "published U-Net": _four("0.81", "0.877", "0.83", "0.79"),
        "published FFT": _four("0.70", "0.776", "0.70", "0.62"),
    },
    "above 1e12": {"published U-Net": {"slope": "0.72"}},
    "galaxies": {"published U-Net": _four("0.85", "0.714", "0.69", "0.78")},
    "groups": {"published U-Net": _four("0.68", "0.713", "0.64", "0.62")},
}
"""Sample -> column -> score -> what was printed: Table 4 of the paper, and section 5.2 for the mass threshold."""
GOALS: Mapping[str, Values] = {
    "simulation": {"slope": "0.85", "within_residual": "0.90", "cosine": "0.86", "coherence": "0.82"},
    "galaxies": {"slope": "0.88", "within_residual": "0.78", "cosine": "0.76", "coherence": "0.80"},
}
"""Sample -> score -> what our network is to reach over all voxels."""


def outside_share(errors: Sequence[float], known: Sequence[float]) -> Score:
    """Return 1 - sum(known^2) / sum(errors^2) of rms errors with and without the flow from outside, one a cube.

    The error is of the jackknife over cubes.
    """
    square, left = np.square(np.asarray(errors)), np.square(np.asarray(known))
    mean = float(1 - left.sum() / square.sum())
    shares = 1 - left / square
    error = float("nan")
    if len(square) > 1:
        without = 1 - (left.sum() - left) / (square.sum() - square)
        error = float(np.sqrt((len(square) - 1) * np.mean((without - without.mean()) ** 2)))
    return {"mean": mean, "error": error, "boxes": [float(share) for share in shares]}


def score_columns(record: Mapping[str, Any], sample: str, part: str) -> dict[str, Mapping[str, Score]]:
    """Return the scores of every model in a sample and a part of the cubes: networks first, then the baselines."""
    found: dict[str, Mapping[str, Score]] = {
        entry["model"]: entry["scores"]
        for entry in record["results"]
        if entry["sample"] == sample and entry["part"] == part
    }
    order = [*(name for name in found if name not in BASELINES), *BASELINES]
    return {name: found[name] for name in order if name in found}


def score_lines(record: Mapping[str, Any], sample: str, part: str) -> list[str]:
    """Return the lines of one table; published values and goals stand beside those of all voxels."""
    columns = score_columns(record, sample, part)
    extra: dict[str, Values] = {}
    if part in (EVERYWHERE, UNBIASED):
        extra |= {f"{name}": values for name, values in PUBLISHED.get(sample, {}).items()}
        if sample in GOALS:
            extra["goal"] = GOALS[sample]
    lines = [
        f"| | {' | '.join([*columns, *extra])} |",
        "| --- |" + " ---: |" * (len(columns) + len(extra)),
    ]
    for row in (*ROWS, OUTSIDE):
        if not any(row.key in scores for scores in columns.values()):
            continue
        best = best_model(columns, row)
        texts = {name: cell_text(scores, row) for name, scores in columns.items()}
        cells = [f"**{text}**" if name == best else text for name, text in texts.items()]
        cells += [values.get(row.key, "") for values in extra.values()]
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return lines


def tuned_lines(record: Mapping[str, Any], sample: str) -> list[str]:
    """Say what the baselines were tuned to, one line each."""
    lines = []
    for name, found in record["baseline_settings"][sample].items():
        words = [f"smoothing {found['smoothing']:.4g} Mpc/h"]
        if "bias" in found:
            words.append(f"bias {found['bias']:.4g}")
            words.append("tracers weighted by mass" if found["weighting"] == "mass" else "tracers counted")
        if "surroundings" in found:
            words.append(
                f"{'with' if found['surroundings'] else 'without'} the matter expected beyond the edge"
            )
        lines.append(f"- {name}: {', '.join(words)}")
    return lines


def survey_markdown(record: Mapping[str, Any]) -> str:
    """Return all tables of an evaluation as Markdown."""
    box, cubes = record["box"], record["cubes"]
    lines = [
        "# Velocities in isolated cubes",
        "",
        f"{cubes['number']} cubes of {cubes['size']:g} Mpc/h ({cubes['cells']}^3 cells) from {len(record['boxes'])} "
        f"box{'es' if len(record['boxes']) > 1 else ''} of {box['size']:g} Mpc/h, z = {box['redshift']:g}. Means over "
        "cubes, their standard error in parentheses (cubes of one box share its large waves, which this leaves out). "
        f"The closest to the ideal is bold. Published values are of {SOURCE}, on its own simulations. Baselines are "
        f"tuned on {', '.join(record['tuned_on'])}.",
    ]
    for sample in record["samples"]:
        lines += ["", f"## Sample: {sample}", "", *tuned_lines(record, sample)]
        lines += [f"- {name} left out: {why}" for name, why in record["left_out"].get(sample, {}).items()]
        for part, title in PARTS.items():
            if score_columns(record, sample, part):
                lines += ["", f"### {sample}, {title}", "", *score_lines(record, sample, part)]
    return "\n".join(lines) + "\n"
