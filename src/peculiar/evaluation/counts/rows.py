"""Rows of the tables of painted halos, the goals set for painters, and what Kodi Ramanah et al. 2019 say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peculiar.evaluation.counts.measure import FAR_OFF, TRIANGLES
from peculiar.evaluation.table import Row, published_figures
from peculiar.figures.report import Table

SOURCE = "Kodi Ramanah et al. 2019"
PUBLISHED = published_figures(__file__)
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
    Row("number_ratio", "number of halos / true", target=1.0),
    Row("power_deviation_0.3", "draws: largest |P / P_true - 1| of bands, k < 0.3", target=0.0),
    Row("power_noise_0.3", "noise of that band, from the scatter of draws"),
    Row("power_deviation_0.4", "the same, 0.3 < k < 0.4", target=0.0),
    Row("power_noise_0.4", "noise of that band"),
    *(Row(f"power_ratio_{low:g}_{high:g}", f"draws: P / P_true, {low:g} < k < {high:g}", target=1.0)
      for low, high in WIDE_BANDS),
    *(Row(f"r_mean_{at}", f"mean field: r({at})", target=1.0)
      for at in ("0.1", "0.3", "0.4")),
    Row("stochasticity_ratio", "mean field: 1 - r^2 over biased 2LPT's, k < 0.1", target=0.0),
    *(Row(f"r_draw_{at}", f"draws: r({at})") for at in ("0.1", "0.3", "0.4")),
    *(Row(f"bispectrum_{name}_{kind}", f"draws: bispectrum at k1, k2 = {sides[0]:g}, {sides[1]:g}: {text}",
          target=target)
      for name, sides in TRIANGLES.items()
      for kind, text, target in (("ratio", "B / B_true, all angles together", 1.0),
                                 ("mean", "mean |B / B_true - 1| over angles", 0.0),
                                 ("max", "largest", 0.0))),
    *(Row(f"variance_ratio_{side}", f"draws: variance of counts / true, {text}", target=1.0)
      for side, text in ((1, "single cells"), (2, "cubes of 2^3 cells"), (4, "cubes of 4^3 cells"))),
    Row("far_off", f"draws: share of cells off by more than {FAR_OFF} halos", decimals=4, target=0.0),
)  # fmt: skip
"""Every row of a mass range's table."""

CATALOGUE_ROWS: tuple[Row, ...] = (
    Row("objects", "objects of each catalogue", decimals=0),
    Row("mass_function_mean", "mean |dn/dlnM / true - 1|", target=0.0),
    Row("mass_function_max", "largest |dn/dlnM / true - 1|", target=0.0),
    Row("speed_ratio", "rms velocity / true", target=1.0),
    Row("real_power_deviation", "real space: largest |P / P_true - 1| of bands, k < 0.3", target=0.0),
    Row("monopole_deviation", "redshift space: the same of P_0", target=0.0),
    Row("quadrupole_deviation", "redshift space: largest |P_2 - true| / true P_0, k < 0.3", target=0.0),
    *(Row(f"bispectrum_{name}_ratio", f"real space: B / B_true at k1, k2 = {sides[0]:g}, {sides[1]:g}", target=1.0)
      for name, sides in TRIANGLES.items()),
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


def goals_table(record: Mapping[str, Any]) -> Table:
    """Return the goals, what each painter reaches, and in which mass range it is furthest off."""
    names = list(record["goals"])
    labels = {row.key: row.label for row in ROWS}
    keys = dict.fromkeys(key for goals in record["goals"].values() for key in goals)
    rows = []
    for key in keys:
        held = [record["goals"][name].get(key) for name in names]
        goal = next(one["goal"] for one in held if one)
        cells = ["–" if one is None else _goal_text(one) for one in held]
        rows.append(("", [labels[key], goal, *cells]))
    return Table(["to reach", "goal", *names], rows)


def _goal_text(goal: Mapping[str, Any]) -> str:
    noise = f" (noise {goal['noise']:.3f})" if "noise" in goal else ""
    return f"{goal['value']:.3f}{noise} in {goal['sample']}, {'yes' if goal['reached'] else 'no'}"


def sample_title(record: Mapping[str, Any], sample: str) -> str:
    """Name of a mass range or of the catalogues in words."""
    if sample == CATALOGUE:
        return f"Catalogues of at most {record['settings']['number_density']:g} (h/Mpc)^3"
    return f"log10 M / (Msun/h) {sample.replace('-', ' to ')}"
