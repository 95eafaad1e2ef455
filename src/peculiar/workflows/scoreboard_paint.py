"""Scores of painters over all boxes, the goals set for them, and their table beside Kodi Ramanah et al. 2019."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from peculiar.workflows.measure_paint import FAR_OFF, TRIANGLES
from peculiar.workflows.scoreboard import Row, Score, best_model, cell_text

SOURCE = "Kodi Ramanah et al. 2019"
BIASED, LOCAL = "biased 2LPT", "local bias, Poisson"
"""Names of the baselines: 2LPT's density times a linear bias, and Poisson draws of a local bias."""
CATALOGUE = "catalogue"
"""Sample name of what catalogues are scored by."""

BAND = 0.05  # h/Mpc
BANDS = {"0.3": (0.0, 0.3), "0.4": (0.3, 0.4)}
LARGE_SCALES = 0.1  # h/Mpc
WIDE_BANDS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4))
LEAST_MASSES = 30
"""Simulated halos that a mass bin needs for its ratio to count."""

ROWS: tuple[Row, ...] = (
    Row("number_ratio", "number of halos / true", "", 3, target=1.0),
    Row("power_deviation_0.3", "draws: largest \\|P / P_true - 1\\| of bands, k < 0.3", "", 3, target=0.0,
        published="< 0.1"),
    Row("power_noise_0.3", "noise of that band, from the scatter of draws", "", 3),
    Row("power_deviation_0.4", "the same, 0.3 < k < 0.4", "", 3, target=0.0, published="< 0.1"),
    Row("power_noise_0.4", "noise of that band", "", 3),
    *(Row(f"power_ratio_{low:g}_{high:g}", f"draws: P / P_true, {low:g} < k < {high:g}", "", 3, target=1.0)
      for low, high in WIDE_BANDS),
    *(Row(f"r_mean_{at}", f"mean field: r({at})", "", 3, target=1.0, published="0.7" if at == "0.4" else "")
      for at in ("0.1", "0.3", "0.4")),
    Row("stochasticity_ratio", "mean field: 1 - r^2 over biased 2LPT's, k < 0.1", "", 3, target=0.0,
        published="about 0.5"),
    *(Row(f"r_draw_{at}", f"draws: r({at})", "", 3) for at in ("0.1", "0.3", "0.4")),
    *(Row(f"bispectrum_{name}_{kind}", f"draws: bispectrum at k1, k2 = {sides[0]:g}, {sides[1]:g}: {text}", "", 3,
          target=target)
      for name, sides in TRIANGLES.items()
      for kind, text, target in (("ratio", "B / B_true, all angles together", 1.0),
                                 ("mean", "mean \\|B / B_true - 1\\| over angles", 0.0),
                                 ("max", "largest", 0.0))),
    *(Row(f"variance_ratio_{side}", f"draws: variance of counts / true, {text}", "", 3, target=1.0)
      for side, text in ((1, "single cells"), (2, "cubes of 2^3 cells"), (4, "cubes of 4^3 cells"))),
    Row("far_off", f"draws: share of cells off by more than {FAR_OFF} halos", "", 4, target=0.0, published="0.015"),
)  # fmt: skip
"""Every row of a mass range's table."""

CATALOGUE_ROWS: tuple[Row, ...] = (
    Row("objects", "objects of each catalogue", "", 0),
    Row("mass_function_mean", "mean \\|dn/dlnM / true - 1\\|", "", 3, target=0.0),
    Row("mass_function_max", "largest \\|dn/dlnM / true - 1\\|", "", 3, target=0.0),
    Row("speed_ratio", "rms velocity / true", "", 3, target=1.0),
    Row("real_power_deviation", "real space: largest \\|P / P_true - 1\\| of bands, k < 0.3", "", 3, target=0.0),
    Row("monopole_deviation", "redshift space: the same of P_0", "", 3, target=0.0),
    Row("quadrupole_deviation", "redshift space: largest \\|P_2 - true\\| / true P_0, k < 0.3", "", 3, target=0.0),
    *(Row(f"bispectrum_{name}_ratio", f"real space: B / B_true at k1, k2 = {sides[0]:g}, {sides[1]:g}", "", 3,
          target=1.0) for name, sides in TRIANGLES.items()),
)  # fmt: skip
"""Rows of the table of catalogues; their powers and bispectra have shot noise subtracted."""


@dataclass(frozen=True)
class Goal:
    """What a painter is to reach.

    Attributes
    ----------
    score : str
        Key of a score.
    bound : float
        Largest value; for `kind` "least" the smallest, for "off" the largest distance from 1.
    kind : "most", "least" or "off"
    every : bool
        Whether every mass range must reach it, or only all halos together.
    """

    score: str
    bound: float
    kind: str = "most"
    every: bool = False

    def reached(self, value: float) -> bool:
        """Whether a score reaches it; no number does not."""
        off = {"most": value, "least": 2 * self.bound - value, "off": abs(value - 1)}[self.kind]
        return bool(off <= self.bound)

    @property
    def text(self) -> str:
        """The bound in words."""
        words = {"most": f"<= {self.bound:g}", "least": f">= {self.bound:g}", "off": f"1 ± {self.bound:g}"}
        return words[self.kind]


GOALS: tuple[Goal, ...] = (
    Goal("power_deviation_0.3", 0.05, every=True),
    Goal("power_deviation_0.4", 0.10, every=True),
    Goal("stochasticity_ratio", 0.5),
    Goal("r_mean_0.4", 0.85, "least"),
    *(Goal(f"bispectrum_{name}_max", 0.10) for name in TRIANGLES),
    Goal("variance_ratio_1", 0.05, "off", every=True),
)
"""Figures to reach with weights trained on a CPU; r(0.1) and r(0.3) of the mean field are to be above biased 2LPT's."""

Arrays = Mapping[str, Float[np.ndarray, "box ..."]]


def pooled_scores(arrays: Arrays, model: str, sample: str) -> dict[str, Score]:
    """Scores from powers and bispectra that are averaged over boxes first; errors by the jackknife over boxes.

    Parameters
    ----------
    arrays : name -> (box, ...)
        Those of an evaluation, with "k" and "modes".
    model, sample : str
    """
    k, modes = arrays["k"], arrays["modes"]
    own, truth = f"{sample}/{model}", f"{sample}/truth"
    count = len(arrays[f"{truth}/power"])

    def ratio(rows: list[int], low: float, high: float) -> float:
        kept = (k >= low) & (k < high)
        drawn, true = (
            float((modes * arrays[f"{name}/power"][rows].mean(0))[kept].sum()) for name in (own, truth)
        )
        return drawn / true if true > 0 else np.nan

    def deviation(low: float, high: float) -> Callable[[list[int]], float]:
        edges = np.arange(low, high - 1e-9, BAND)
        return lambda rows: _largest([ratio(rows, edge, edge + BAND) - 1 for edge in edges])

    def noise(low: float, high: float) -> float:
        """What the band that is furthest off would be off for a perfect painter: halos scatter like draws."""
        edges = np.arange(low, high - 1e-9, BAND)
        off = [abs(ratio(list(range(count)), edge, edge + BAND) - 1) for edge in edges]
        several = arrays[f"{own}/draws/power"]
        if several.shape[1] < 2 or not np.isfinite(off).any():
            return float("nan")
        edge = edges[int(np.nanargmax(off))]
        kept = (k >= edge) & (k < edge + BAND)
        scatter = (modes * several)[..., kept].sum(-1).std(axis=1, ddof=1) * np.sqrt(1 + 1 / several.shape[1])
        true = (modes * arrays[f"{truth}/power"])[:, kept].sum()
        return float(np.sqrt((scatter**2).sum()) / true)

    def lost(rows: list[int], name: str) -> float:
        """Mean 1 - r^2 of the modes on large scales."""
        kept = k < LARGE_SCALES
        if not kept.any():
            return float("nan")
        cross, power = (arrays[f"{sample}/{name}/mean/{kind}"][rows].mean(0) for kind in ("cross", "power"))
        r2 = cross**2 / (power * arrays[f"{truth}/power"][rows].mean(0))
        return float((modes * (1 - r2))[kept].sum() / modes[kept].sum())

    found = {
        f"power_deviation_{name}": _pooled(deviation(*limits), count)
        for name, limits in BANDS.items()
        if np.nanmax(k) >= limits[0]
    }
    for name, limits in BANDS.items():
        found[f"power_noise_{name}"] = {"mean": noise(*limits), "error": float("nan"), "boxes": []}
    for low, high in WIDE_BANDS:
        found[f"power_ratio_{low:g}_{high:g}"] = _pooled(partial(ratio, low=low, high=high), count)
    found["stochasticity_ratio"] = _pooled(lambda rows: lost(rows, model) / lost(rows, BIASED), count)
    return {
        name: score
        for name, score in (found | _bispectrum_scores(arrays, own, truth, count)).items()
        if np.isfinite(score["mean"])
    }


def catalogue_scores(arrays: Arrays, model: str) -> dict[str, Score]:
    """Scores of catalogues, averaged over boxes first; errors by the jackknife over boxes."""
    prefix = f"{model}/{CATALOGUE}"
    k = arrays[f"{prefix}/k"][0]
    low = k < 0.3
    count = len(arrays[f"{prefix}/k"])

    def both(rows: list[int], name: str) -> tuple[np.ndarray, np.ndarray]:
        drawn, true = (arrays[f"{prefix}/{key}"][rows].mean(0) for key in (name, f"true_{name}"))
        return drawn, true

    def deviation(name: str, scale: str, rows: list[int]) -> float:
        drawn, true = both(rows, name)
        return _largest(((drawn - true) / both(rows, scale)[1])[low])

    def whole(name: str, rows: list[int]) -> float:
        drawn, true = both(rows, name)
        return float(np.nanmean(drawn) / np.nanmean(true))

    def masses(rows: list[int]) -> np.ndarray:
        drawn, true = (arrays[f"{prefix}/{key}"][rows].sum(0) for key in ("masses", "true_masses"))
        kept = arrays[f"{prefix}/true_masses"].sum(0) >= LEAST_MASSES
        return np.abs(drawn[kept] / np.maximum(true[kept], 1) - 1)

    found = {
        "mass_function_mean": _pooled(lambda rows: float(np.mean(masses(rows))), count),
        "mass_function_max": _pooled(lambda rows: float(np.max(masses(rows))), count),
        "speed_ratio": _pooled(lambda rows: float(np.divide(*both(rows, "speed"))), count),
        "real_power_deviation": _pooled(partial(deviation, "power", "power"), count),
        "monopole_deviation": _pooled(partial(deviation, "multipole/0", "multipole/0"), count),
        "quadrupole_deviation": _pooled(partial(deviation, "multipole/2", "multipole/0"), count),
    }
    for name in TRIANGLES:
        found[f"bispectrum_{name}_ratio"] = _pooled(partial(whole, f"bispectrum/{name}"), count)
    return found


def goals_reached(
    results: Sequence[Mapping[str, Any]], model: str, labels: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return each goal with the value that decides, the mass range it is of, and whether it is reached.

    Parameters
    ----------
    results : sequence of mapping
        "model", "sample" and "scores".
    model : str
    labels : sequence of str
        Mass ranges; the model's first one holds all its halos.
    """
    own = {row["sample"]: row["scores"] for row in results if row["model"] == model}
    linear = {row["sample"]: row["scores"] for row in results if row["model"] == BIASED}
    samples = [label for label in labels if label in own]
    found: dict[str, dict[str, Any]] = {}
    for goal in GOALS:
        held = [
            (float(own[sample][goal.score]["mean"]), sample)
            for sample in (samples if goal.every else samples[:1])
            if goal.score in own[sample]
        ]
        if held:
            value, sample = max(held, key=lambda pair: abs(pair[0] - (1 if goal.kind == "off" else 0)))
            found[goal.score] = {
                "value": value, "goal": goal.text, "sample": sample, "reached": goal.reached(value),
            }  # fmt: skip
            noise = goal.score.replace("deviation", "noise")
            if noise != goal.score and noise in own[sample]:
                found[goal.score]["noise"] = float(own[sample][noise]["mean"])
    for at in ("0.1", "0.3"):
        key = f"r_mean_{at}"
        if key in own[samples[0]]:
            value, bound = (float(one[samples[0]][key]["mean"]) for one in (own, linear))
            found[key] = {
                "value": value, "goal": f"> {bound:.3f}, biased 2LPT's", "sample": samples[0],
                "reached": value > bound,
            }  # fmt: skip
    return found


def paint_markdown(record: Mapping[str, Any]) -> str:
    """Return goals and score tables as Markdown; `record` is what ``scores.json`` holds."""
    box, count = record["box"], len(record["boxes"])
    lines = [
        "# Painted halos",
        "",
        f"{count} box{'es' if count > 1 else ''} of {box['size']:g} Mpc/h, {box['cells']}^3 cells of "
        f"{box['size'] / box['cells']:g} Mpc/h, z = {box['redshift']:g}, Omega_m = {box['cosmology']['Omega_m']:g}; "
        f"{record['settings']['draws']} draws each. Means over boxes, their standard error in parentheses. Powers and "
        "bispectra of counts hold shot noise, drawn and true; bands are 0.05 h/Mpc wide. The closest to the ideal is "
        f"bold. Published figures are of {SOURCE}, on its own simulations.",
        "",
        goals_table(record),
    ]
    for sample in (*record["samples"], CATALOGUE):
        columns = {row["model"]: row["scores"] for row in record["results"] if row["sample"] == sample}
        if columns:
            lines += ["", f"## {sample_title(record, sample)}", "", *score_lines(columns, sample)]
    settings = "; ".join(
        f"{label}: {one['form']}, Gaussian of {one['smoothing']:g} Mpc/h, surroundings of {one['environment']:g} Mpc/h "
        f"to the power {one['exponent']:.1f}, linear bias {one['bias']:.2f}"
        for label, one in record["baseline_settings"].items()
    )
    lines += ["", f"Baselines, fitted on {len(record['tuned_on'])} other boxes: {settings}."]
    return "\n".join(lines) + "\n"


def sample_title(record: Mapping[str, Any], sample: str) -> str:
    """Name of a mass range or of the catalogues in words."""
    if sample == CATALOGUE:
        return f"Catalogues of at most {record['settings']['number_density']:g} (h/Mpc)^3"
    return f"log10 M / (Msun/h) {sample.replace('-', ' to ')}"


def score_lines(columns: Mapping[str, Mapping[str, Score]], sample: str) -> list[str]:
    """Lines of the table of one mass range, or of the catalogues; columns are models."""
    rows = CATALOGUE_ROWS if sample == CATALOGUE else ROWS
    published = any(row.published for row in rows)
    lines = [
        f"| | {' | '.join(columns)} |{' published |' if published else ''}",
        "| --- |" + " ---: |" * (len(columns) + published),
    ]
    for row in rows:
        if any(row.key in scores for scores in columns.values()):
            best = best_model(columns, row)
            texts = {name: cell_text(scores, row) for name, scores in columns.items()}
            cells = [f"**{text}**" if name == best else text for name, text in texts.items()]
            lines.append(f"| {row.label} | {' | '.join(cells)} |{f' {row.published} |' if published else ''}")
    return lines


def goals_table(record: Mapping[str, Any]) -> str:
    """Return the goals, what each painter reaches, and in which mass range it is furthest off."""
    names = list(record["goals"])
    labels = {row.key: row.label for row in ROWS}
    keys = dict.fromkeys(key for goals in record["goals"].values() for key in goals)
    lines = [f"| to reach | goal | {' | '.join(names)} |", "| --- | --- |" + " ---: |" * len(names)]
    for key in keys:
        held = [record["goals"][name].get(key) for name in names]
        goal = next(one["goal"] for one in held if one)
        cells = ["–" if one is None else _goal_text(one) for one in held]
        lines.append(f"| {labels[key]} | {goal} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _bispectrum_scores(arrays: Arrays, own: str, truth: str, count: int) -> dict[str, Score]:
    def ratios(key: str, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        drawn, true = (arrays[f"{one}/{key}"][rows].mean(0) for one in (own, truth))
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
            found[f"bispectrum_{name}_ratio"] = _pooled(partial(together, key), count)
            found[f"bispectrum_{name}_mean"] = _pooled(partial(apart, key, np.mean), count)
            found[f"bispectrum_{name}_max"] = _pooled(partial(apart, key, np.max), count)
    return found


def _pooled(statistic: Callable[[list[int]], float], count: int) -> Score:
    """Value of all boxes together, its jackknife error, and each box's own value."""
    every = list(range(count))
    rest = (
        np.array([statistic([i for i in every if i != left]) for left in every]) if count > 1 else np.empty(0)
    )
    error = float(np.sqrt((count - 1) * np.mean((rest - rest.mean()) ** 2))) if count > 1 else float("nan")
    return {"mean": statistic(every), "error": error, "boxes": [statistic([i]) for i in every]}


def _largest(values: Sequence[float] | np.ndarray) -> float:
    held = np.abs(np.asarray(values))
    held = held[np.isfinite(held)]
    return float(held.max()) if len(held) else float("nan")


def _goal_text(goal: Mapping[str, Any]) -> str:
    noise = f" (noise {goal['noise']:.3f})" if "noise" in goal else ""
    return f"{goal['value']:.3f}{noise} in {goal['sample']}, {'yes' if goal['reached'] else 'no'}"
