"""Scores of painters from powers, bispectra and mass functions that are averaged over boxes first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from peculiar.evaluation.counts.measure import TRIANGLES
from peculiar.evaluation.counts.rows import (
    BAND,
    BANDS,
    BIASED,
    CATALOGUE,
    LARGE_SCALES,
    LEAST_MASSES,
    WIDE_BANDS,
)
from peculiar.evaluation.record import TRUTH, Arrays
from peculiar.evaluation.scores import Score, alone, pooled


def pooled_scores(arrays: Arrays, model: str, sample: str) -> dict[str, Score]:
    """Scores from powers and bispectra that are averaged over boxes first; errors by the jackknife over boxes.

    Parameters
    ----------
    arrays : name -> (box, ...)
        Those of an evaluation, with "k" and "modes".
    model, sample : str
    """
    k, modes = arrays.of("k"), arrays.of("modes")
    true_power = arrays.of("power", TRUTH, sample=sample)
    power = arrays.of("power", model, sample=sample)
    count = len(true_power)

    def ratio(rows: list[int], low: float, high: float) -> float:
        kept = (k >= low) & (k < high)
        drawn, true = (float((modes * one[rows].mean(0))[kept].sum()) for one in (power, true_power))
        return drawn / true if true > 0 else np.nan

    def deviation(low: float, high: float) -> Callable[[list[int]], float]:
        edges = np.arange(low, high - 1e-9, BAND)
        return lambda rows: _largest([ratio(rows, edge, edge + BAND) - 1 for edge in edges])

    def noise(low: float, high: float) -> float:
        """What the band that is furthest off would be off for a perfect painter: halos scatter like draws."""
        edges = np.arange(low, high - 1e-9, BAND)
        off = [abs(ratio(list(range(count)), edge, edge + BAND) - 1) for edge in edges]
        several = arrays.of("draws/power", model, sample=sample)
        if several.shape[1] < 2 or not np.isfinite(off).any():
            return float("nan")
        edge = edges[int(np.nanargmax(off))]
        kept = (k >= edge) & (k < edge + BAND)
        scatter = (modes * several)[..., kept].sum(-1).std(axis=1, ddof=1) * np.sqrt(1 + 1 / several.shape[1])
        true = (modes * true_power)[:, kept].sum()
        return float(np.sqrt((scatter**2).sum()) / true)

    def lost(rows: list[int], name: str) -> float:
        """Mean 1 - r^2 of the modes on large scales."""
        kept = k < LARGE_SCALES
        if not kept.any():
            return float("nan")
        cross, own = (
            arrays.of(f"mean/{kind}", name, sample=sample)[rows].mean(0) for kind in ("cross", "power")
        )
        r2 = cross**2 / (own * true_power[rows].mean(0))
        return float((modes * (1 - r2))[kept].sum() / modes[kept].sum())

    found = {
        f"power_deviation_{name}": pooled(deviation(*limits), count)
        for name, limits in BANDS.items()
        if np.nanmax(k) >= limits[0]
    }
    for name, limits in BANDS.items():
        found[f"power_noise_{name}"] = alone(noise(*limits))
    for low, high in WIDE_BANDS:
        found[f"power_ratio_{low:g}_{high:g}"] = pooled(partial(ratio, low=low, high=high), count)
    found["stochasticity_ratio"] = pooled(lambda rows: lost(rows, model) / lost(rows, BIASED), count)
    found |= _bispectrum_scores(arrays, model, sample, count)
    return {name: score for name, score in found.items() if np.isfinite(score["mean"])}


def catalogue_scores(arrays: Arrays, model: str) -> dict[str, Score]:
    """Scores of catalogues, averaged over boxes first; errors by the jackknife over boxes."""
    of = partial(arrays.of, model=model, sample=CATALOGUE)
    low = of("k")[0] < 0.3
    count = len(of("k"))

    def both(rows: list[int], name: str) -> tuple[np.ndarray, np.ndarray]:
        drawn, true = (of(key)[rows].mean(0) for key in (name, f"true_{name}"))
        return drawn, true

    def deviation(name: str, scale: str, rows: list[int]) -> float:
        drawn, true = both(rows, name)
        return _largest(((drawn - true) / both(rows, scale)[1])[low])

    def whole(name: str, rows: list[int]) -> float:
        drawn, true = both(rows, name)
        return float(np.nanmean(drawn) / np.nanmean(true))

    def masses(rows: list[int]) -> np.ndarray:
        drawn, true = (of(key)[rows].sum(0) for key in ("masses", "true_masses"))
        kept = of("true_masses").sum(0) >= LEAST_MASSES
        return np.abs(drawn[kept] / np.maximum(true[kept], 1) - 1)

    found = {
        "mass_function_mean": pooled(lambda rows: float(np.mean(masses(rows))), count),
        "mass_function_max": pooled(lambda rows: float(np.max(masses(rows))), count),
        "speed_ratio": pooled(lambda rows: float(np.divide(*both(rows, "speed"))), count),
        "real_power_deviation": pooled(partial(deviation, "power", "power"), count),
        "monopole_deviation": pooled(partial(deviation, "multipole/0", "multipole/0"), count),
        "quadrupole_deviation": pooled(partial(deviation, "multipole/2", "multipole/0"), count),
    }
    for name in TRIANGLES:
        found[f"bispectrum_{name}_ratio"] = pooled(partial(whole, f"bispectrum/{name}"), count)
    return found


def _bispectrum_scores(arrays: Arrays, model: str, sample: str, count: int) -> dict[str, Score]:
    def ratios(key: str, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        drawn, true = (arrays.of(key, name, sample=sample)[rows].mean(0) for name in (model, TRUTH))
        seen = np.isfinite(drawn) & np.isfinite(true)
        return drawn[seen], true[seen]

    def together(key: str, rows: list[int]) -> float:
        drawn, true = ratios(key, rows)
        return float(drawn.sum() / true.sum())

    def apart(key: str, reduce: Callable[[np.ndarray], np.floating[Any]], rows: list[int]) -> float:
        drawn, true = ratios(key, rows)
        return float(reduce(np.abs(drawn / true - 1)))

    found: dict[str, Score] = {}
    for name in TRIANGLES:
        key = f"bispectrum/{name}"
        if len(ratios(key, list(range(count)))[0]):
            found[f"bispectrum_{name}_ratio"] = pooled(partial(together, key), count)
            found[f"bispectrum_{name}_mean"] = pooled(partial(apart, key, np.mean), count)
            found[f"bispectrum_{name}_max"] = pooled(partial(apart, key, np.max), count)
    return found


def _largest(values: Sequence[float] | np.ndarray) -> float:
    held = np.abs(np.asarray(values))
    held = held[np.isfinite(held)]
    return float(held.max()) if len(held) else float("nan")
