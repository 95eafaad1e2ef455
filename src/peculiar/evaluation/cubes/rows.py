"""The score tables of velocities in isolated cubes: Table 4 of Wang et al. 2024, its printed values, and our goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from peculiar.evaluation.cubes.measure import BOUNDARY, CENTRE, EVERYWHERE, KNOWN, SEEN, UNBIASED
from peculiar.evaluation.scores import Score, pooled
from peculiar.evaluation.table import Row, published_figures

SOURCE = "Wang et al. 2024"
TRUE_PERIODIC, TRUE_PADDED = "FFT, true density, periodic", "FFT, true density"
TRUE_SURROUNDINGS = "FFT, true density, surroundings"
LINEAR, ITERATIVE = "FFT, observed tracers", "iterative FFT"
SURROUNDINGS = "iterative FFT, surroundings"
BASELINES = (SURROUNDINGS, ITERATIVE, LINEAR, TRUE_SURROUNDINGS, TRUE_PADDED, TRUE_PERIODIC)
"""Names of the baselines."""

OUTSIDE = Row("outside_share", "share of the squared error that the flow from outside explains")
ROWS: tuple[Row, ...] = (
    Row("slope", "fitting slope of v_p on v_t", target=1.0),
    Row("within_residual", "share with |v_p - v_t| < 200 km/s", target=1.0),
    Row("within_component", "share of components with |v_p - v_t| < 200 km/s", target=1.0),
    Row("within_magnitude", "share with | |v_p| - |v_t| | < 200 km/s", target=1.0),
    Row("cosine", "mean cos θ", target=1.0),
    Row("coherence", "average coherence Γ", target=1.0),
    Row("rms_error", "rms error of a component [km/s]", decimals=1, target=0.0),
    Row("correlation", "correlation of a component", target=1.0),
    OUTSIDE,
)
PARTS = {
    EVERYWHERE: "all voxels",
    CENTRE: "centre",
    BOUNDARY: "boundary",
    SEEN: "voxels with a completeness above 0.3",
    UNBIASED: "all voxels, with an unbiased amplitude",
    KNOWN: "all voxels, with the flow from outside known",
}

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, str]]] = published_figures(__file__)
"""Sample -> column -> score -> what was printed."""
GOALS: Mapping[str, Mapping[str, str]] = {
    "simulation": {"slope": "0.85", "within_residual": "0.90", "cosine": "0.86", "coherence": "0.82"},
    "galaxies": {"slope": "0.88", "within_residual": "0.78", "cosine": "0.76", "coherence": "0.80"},
}
"""Sample -> score -> what our network is to reach over all voxels."""


def beside(sample: str, part: str, *, redshift: float = 0.0) -> dict[str, Mapping[str, str]]:
    """Return what stands beside our scores: printed values and goals, which are of all voxels and of z = 0.

    At another redshift stands what is printed of that.
    """
    if part not in (EVERYWHERE, UNBIASED):
        return {}
    if redshift:
        return dict(PUBLISHED.get(f"{sample}, z = {redshift:g}", {}))
    goals = {"goal": GOALS[sample]} if sample in GOALS else {}
    return {**PUBLISHED.get(sample, {}), **goals}


def outside_share(errors: Sequence[float], known: Sequence[float]) -> Score:
    """Return 1 - sum(known^2) / sum(errors^2) of rms errors with and without the flow from outside, one a cube.

    The error is of the jackknife over cubes.
    """
    square, left = np.square(np.asarray(errors)), np.square(np.asarray(known))
    return pooled(lambda cubes: float(1 - left[cubes].sum() / square[cubes].sum()), len(square))


def tuned_text(record: Mapping[str, Any], sample: str) -> list[str]:
    """Say what the baselines were tuned to, and what was left out, one line each."""
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
        lines.append(f"{name}: {', '.join(words)}")
    left_out = record["left_out"].get(sample, {})
    return [*lines, *(f"{name} left out: {why}" for name, why in left_out.items())]
