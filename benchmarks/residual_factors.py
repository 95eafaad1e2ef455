"""Factors of residuals by how objects were chosen, and what boxes left out of their fit say of the amplitude.

`benchmarks/residuals.py` and `benchmarks/stated_errors.py` fit them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from peculiar.inference.card_values import ErrorFactor, Residuals
from peculiar.inference.residuals import scaled_logarithm

FLOW = 0.06  # h/Mpc, where velocities have most of their power
FACTOR_RIDGE = 10.0  # samples' worth of no dependence
BIAS_ERROR = 0.02  # usual one


def with_factors(table: Residuals, rows: Sequence[dict[str, Any]]) -> Residuals:
    """Return a table with factors of how objects were chosen, where they mend something in boxes left out of their fit.

    What these boxes' slopes leave gives the amplitude. Slopes count as their bias is known.
    """
    kept = np.clip([row["logarithms"] for row in rows], table.least, table.most)
    of_bias = np.array([row["bias_error"] for row in rows])
    sure, alike = 1 / (BIAS_ERROR**2 + of_bias**2), np.ones(len(rows))

    def usual(*coefficients: Sequence[float]) -> np.ndarray:
        return np.array([one[0] + kept @ one[1:] for one in map(np.array, coefficients)])

    factors, remains = {}, {}
    for name, weight, expected, values in (
        ("error", alike, usual(table.error)[0], [row["error"] for row in rows]),
        ("a", alike, usual(table.known[0])[0], [row["known"][0] for row in rows]),
        (
            "velocity",
            sure,
            np.log(flow_slope(usual(*table.velocity))),
            np.log(flow_slope(np.transpose([row["velocity"] for row in rows]))),
        ),
    ):
        factor, remains[name] = mended(name, rows, np.array(values) - expected, weight)
        factors |= factor
    found = amplitude(remains["velocity"], of_bias, sure)
    return table.model_copy(update={"factors": factors, "amplitude": found})


def mended(
    name: str, rows: Sequence[Mapping[str, Any]], left: np.ndarray, weight: np.ndarray
) -> tuple[dict[str, ErrorFactor], np.ndarray]:
    """Return a factor by its name, if it mends something in boxes left out of its fit, and what is left of samples."""
    seeds, numbers = np.array([row["seed"] for row in rows]), [row["numbers"] for row in rows]
    after = np.empty_like(left)
    for seed in np.unique(seeds):
        out = seeds == seed
        others = [row for row, one in zip(numbers, out, strict=True) if not one]
        factor = factor_fitted(others, left[~out], weight[~out])
        told = [np.log(factor.of(row)) for row, one in zip(numbers, out, strict=True) if one]
        after[out] = left[out] - told
    before, now = (float(np.sqrt(np.average(one**2, weights=weight))) for one in (left, after))
    print(f"factor of {name}: rms of its logarithm {before:.3f}, of boxes left out of the fit {now:.3f}")
    return ({name: factor_fitted(numbers, left, weight)}, after) if now < before else ({}, left)


def amplitude(left: np.ndarray, of_bias: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return `amplitude` of `Residuals`: squares of what slopes leave are squares of a constant and of the bias's."""
    unit = np.column_stack([np.ones(len(left)), of_bias**2])
    found, _ = nnls(unit * weight[:, None], left**2 * weight)  # squares scatter as they are large
    print(f"amplitude: rms {np.sqrt(np.mean(left**2)):.4f}, of the bias {np.sqrt(np.mean(of_bias**2)):.4f}")
    of_any, share = np.sqrt(found).round(4).tolist()
    return of_any, share


def factor_fitted(
    numbers: Sequence[Mapping[str, float]], logarithms: npt.ArrayLike, weight: npt.ArrayLike = 1.0
) -> ErrorFactor:
    """Return the factor that is least squares of its logarithm over samples."""
    names = list(numbers[0])
    known = np.array([[row[name] for name in names] for row in numbers])
    share = np.broadcast_to(np.asarray(weight) / np.mean(weight), len(known))[:, None]
    mean, scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-3)
    unit = np.column_stack([np.ones(len(known)), (known - mean) / scale])
    normal = unit.T @ (share * unit) + np.diag([0.0, *[FACTOR_RIDGE] * len(mean)])
    found = np.linalg.solve(normal, (share * unit).T @ np.asarray(logarithms))
    slopes = found[1:] / scale

    def named(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.round(4).tolist(), strict=True))

    return ErrorFactor(
        constant=round(float(found[0] - slopes @ mean), 4),
        slopes=named(slopes),
        least=named(known.min(axis=0)),
        most=named(known.max(axis=0)),
    )


def flow_slope(lines: np.ndarray) -> np.ndarray:
    """Return slopes of velocity where it has most of its power, from their polynomials (coefficient, sample)."""
    return np.polyval(lines, scaled_logarithm(FLOW))
