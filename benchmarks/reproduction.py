"""The figures of Xiao et al. 2024 and of the package's own goals, from `peculiar evaluate`, as tables for the docs.

    peculiar evaluate RUN --out EVALUATION --boxes 1001-1004 --tune-on 501-504
    python benchmarks/reproduction.py EVALUATION [EVALUATION ...] --docs docs/reproduction.md \
        --docs docs/results/reproduction.md --docs docs/evaluate.md --docs README.md

Prints a table of the headline figures (a row for each, a column for each reconstructor, averaged over satellite
fractions and at each fraction) and every score at each fraction. With --docs, the headline table replaces what stands
between `<!-- scores: begin -->` and `<!-- scores: end -->` of a page, all scores what stands between
`<!-- all scores: begin -->` and `<!-- all scores: end -->`, and what the paper printed of cells, at the largest
fraction, between `<!-- smoothed: begin -->` and `<!-- smoothed: end -->`; a page has one of them, or more.

Several evaluations (of other models, or at other satellite fractions) are put together; they must be of the same boxes,
lines of sight, densities and baselines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peculiar.core import InputError
from peculiar.evaluation.record import SCHEMA, Arrays, Evaluation
from peculiar.evaluation.scores import Score
from peculiar.evaluation.table import cell_text, markdown, true_text
from peculiar.evaluation.tracers.rows import PUBLISHED, ROWS
from peculiar.evaluation.tracers.task import TracerTask

SUMMARY, EVERYTHING, SMOOTHED = "scores", "all scores", "smoothed"
KNOWN = {row.key: row for row in ROWS}
COLUMNS = {
    "linear theory": "linear theory{tuned}",
    "iterative FFT": "iterative FFT{tuned}",
    "Wiener filter": "Wiener filter",
    "xiao2024": "xiao2024, as published (ours, CPU)",
    "xiao2024-mass": "xiao2024-mass, its halos weighted by mass (ours, CPU)",
    "residual": "residual, the default here where no masses rank tracers (ours, CPU)",
    "general": "general, the default (ours, CPU)",
}
"""Headings of the reconstructors, in the order in which they stand; others follow under their own names."""


@dataclass(frozen=True)
class Goal:
    """One headline figure.

    Attributes
    ----------
    keys : tuple of str
        Rows of the score table; their texts stand one after the other.
    label : str
    ideal : float
        Value of a perfect reconstruction.
    cpu, gpu : tuple of float
        Figures to reach with weights trained on two cores and on one GPU, one for each key; empty where there are none.
    """

    keys: tuple[str, ...]
    label: str
    ideal: float
    cpu: tuple[float, ...] = ()
    gpu: tuple[float, ...] = ()


GOALS = (
    Goal(("correlation_velocity",), "correlation of a velocity component, mean of three", 1, (0.985,), (0.989,)),
    Goal(tuple(f"correlation_velocity_{axis}" for axis in "xyz"), "the same of v_x / v_y / v_z", 1),
    Goal(("rms_error_velocity",), "rms error of a velocity component [km/s]", 0, (46,), (40,)),
    Goal(("residual_ratio",), "residual variance against the iterative FFT's", 0, (0.53,), (0.40,)),
    Goal(("misalignment_velocity",), "1 - cos φ of the velocity, mean ± scatter over voxels", 0, (0.020,), (0.015,)),
    Goal(("correlation_velocity_smoothed",), "smoothed by 5 Mpc/h: correlation of a velocity component", 1),
    Goal(("correlation_momentum_smoothed",), "smoothed by 5 Mpc/h: correlation of a momentum component", 1),
    Goal(("misalignment_velocity_smoothed",), "smoothed by 5 Mpc/h: 1 - cos φ of the velocity", 0),
    Goal(("slope_velocity",), "slope of predicted on true velocity", 1, (0.97,), (0.98,)),
    Goal(("density_r_0.1", "density_r_0.3"), "density r(k) at k = 0.1 / 0.3", 1, (0.975, 0.91), (0.985, 0.93)),
    Goal(("R_velocity_mid_max",), "velocity power, 0.05 < k < 0.2: mean / largest \\|R\\|", 0, (0.04,), (0.03,)),
    Goal(("R_density_low_max",), "density power, k < 0.3: mean / largest \\|R\\|", 0, (0.10,), (0.07,)),
    Goal(("R_density_least_squares_low_max",), "the same of the least-square density", 0),
)  # fmt: skip
"""The rows of the headline table; the figures to reach were set before the networks were made."""

OF_CELLS = tuple(
    (f"{what}_smoothed",)
    for what in (
        "correlation_velocity",
        "correlation_momentum",
        "correlation_velocity_divergence",
        "correlation_momentum_divergence",
        "correlation_density",
        "misalignment_velocity",
        "misalignment_momentum",
    )
) + (("within_2", "within_2_published"), ("within_4", "within_4_published"))
"""Rows of the table of what the paper printed of cells and of multipoles."""

SAME = ("number_density", "line_of_sight", "tune_on")


def merged(directories: Sequence[Path]) -> dict[str, Any]:
    """Read scores.json of each evaluation and put the results together in one record, columns in order.

    Raises
    ------
    InputError
        If a directory is no evaluation, or two of them are not comparable.
    """
    records = []
    for directory in directories:
        try:
            record = json.loads((directory / "scores.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"evaluation must be a directory from `peculiar evaluate`, got {directory} ({error})"
            ) from None
        if record.get("schema") != SCHEMA:
            raise InputError(
                f"evaluation must have schema {SCHEMA}, got {record.get('schema')} in {directory}"
            )
        records.append(record)
    first = records[0]
    entries: dict[tuple[float, str], dict[str, Any]] = {}
    tuned: dict[str, dict[str, Any]] = {}
    for directory, record in zip(directories, records, strict=True):
        for name, own, other in (
            ("boxes", record["boxes"], first["boxes"]),
            *((key, record["settings"][key], first["settings"][key]) for key in SAME),
        ):
            if own != other:
                raise InputError(
                    f"evaluations must have the same {name}, got {own} in {directory} and {other}"
                )
        for fraction, settings in record["baseline_settings"].items():
            known = tuned.setdefault(fraction, {})
            for name, values in settings.items():
                if known.setdefault(name, values) != values:
                    raise InputError(
                        f"evaluations must have the same settings of {name}, got {values} in {directory} and "
                        f"{known[name]}"
                    )
        for entry in record["results"]:
            entries.setdefault((entry["satellite_fraction"], entry["model"]), entry)
    names = list(dict.fromkeys(name for _, name in entries))
    order = [name for name in COLUMNS if name in names] + [name for name in names if name not in COLUMNS]
    results = sorted(
        entries.values(), key=lambda entry: (entry["satellite_fraction"], order.index(entry["model"]))
    )
    return {**first, "baseline_settings": tuned, "results": results, "models": order}


def averaged(scores: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """Mean over satellite fractions.

    Fractions share their boxes, so the mean of the errors bounds the error of the mean from above.
    """
    keys = [key for key in scores[0] if all(key in other for other in scores)]
    return {
        key: {kind: _mean([one[key][kind] for one in scores]) for kind in ("mean", "error")} for key in keys
    }  # type: ignore[misc]


def _mean(values: Sequence[Any]) -> float:
    return float("nan") if None in values else sum(values) / len(values)


def reaches(goal: Goal, scores: Mapping[str, Score]) -> bool:
    """Whether every figure is at least as close to the ideal as the one to reach on a CPU; |R| by its largest value."""
    means = [scores[key]["mean"] for key in goal.keys if key in scores]
    if not goal.cpu or len(means) < len(goal.keys):
        return False
    return all(
        isinstance(mean, float) and abs(mean - goal.ideal) <= abs(target - goal.ideal) + 1e-12
        for mean, target in zip(means, goal.cpu, strict=True)
    )


def goal_text(goal: Goal, scores: Mapping[str, Score]) -> str:
    """Text of a cell, bold where it reaches the figure for a CPU."""
    if len(goal.keys) > 1:  # figures that share a cell stand without their errors
        scores = {key: {**score, "error": float("nan")} for key, score in scores.items()}
    text = " / ".join(cell_text(scores, KNOWN[key]) for key in goal.keys)
    return f"**{text}**" if reaches(goal, scores) else text


def goal_table(record: Mapping[str, Any], columns: Mapping[str, Mapping[str, Score]]) -> list[str]:
    """Lines of a table of the goals."""
    tuned = ", tuned" if record["settings"]["tune_on"] else ", defaults"
    headings = [COLUMNS.get(name, name).format(tuned=tuned) for name in columns]
    lines = [
        f"| | {' | '.join(headings)} | to reach, CPU / GPU | published |",
        "| --- |" + " ---: |" * (len(columns) + 1) + " --- |",
    ]
    for goal in GOALS:
        if not any(key in scores for key in goal.keys for scores in columns.values()):
            continue
        row = KNOWN[goal.keys[0]]
        true = true_text(next(iter(columns.values())), row)
        label = f"{goal.label} (true {true})" if true else goal.label
        cells = [goal_text(goal, scores) for scores in columns.values()]
        reach = " and ".join(f"{cpu:g} / {gpu:g}" for cpu, gpu in zip(goal.cpu, goal.gpu, strict=True))
        published = PUBLISHED["published"].get(row.key, "") if len(goal.keys) == 1 else ""
        lines.append(f"| {label} | {' | '.join(cells)} | {reach} | {published} |")
    return lines


def at_fraction(record: Mapping[str, Any], fraction: float) -> dict[str, Mapping[str, Score]]:
    """Return the scores of each reconstructor at one satellite fraction."""
    return {
        entry["model"]: entry["scores"]
        for entry in record["results"]
        if entry["satellite_fraction"] == fraction
    }


def summary(record: Mapping[str, Any], *, each: bool = True) -> str:
    """Return the headline tables: the mean over satellite fractions, then each fraction."""
    fractions = list(dict.fromkeys(entry["satellite_fraction"] for entry in record["results"]))
    by_fraction = {fraction: at_fraction(record, fraction) for fraction in fractions}
    everywhere = [name for name in record["models"] if all(name in rows for rows in by_fraction.values())]
    boxes = record["boxes"]
    settings = record["settings"]
    words = ", ".join(f"{100 * fraction:.3g} %" for fraction in fractions)
    tuned = (
        f"Linear theory and the iterative FFT are tuned for least velocity error on {len(settings['tune_on'])} other "
        "boxes, at each fraction by itself."
        if settings["tune_on"]
        else "Linear theory and the iterative FFT have their default settings."
    )
    geometry = record["box"]
    means = {name: averaged([rows[name] for rows in by_fraction.values()]) for name in everywhere}
    lines = [
        f"{len(boxes)} held-out box{'es' if len(boxes) > 1 else ''} of {geometry['size']:g} Mpc/h, "
        f"{geometry['cells']}^3 cells, z = {geometry['redshift']:g}, {settings['number_density']:g} (h/Mpc)^3, "
        f"line of sight {settings['line_of_sight']}, mean over satellite fractions of {words}; standard "
        f"errors over boxes in parentheses. {tuned} Bold: reaches the figure set for weights trained on "
        "a CPU (|R| by its largest value). The published figures are of Xiao et al. (2024), on their own simulations.",
        "",
        *goal_table(record, means),
    ]
    if each and len(fractions) > 1:
        for fraction in fractions:
            lines += [
                "",
                f"### {100 * fraction:.3g} % satellites",
                "",
                *goal_table(record, by_fraction[fraction]),
            ]
    return "\n".join(lines)


def of_cells(record: Mapping[str, Any]) -> str:
    """Return what the paper printed of cells, smoothed here, and of multipoles, at the largest satellite fraction."""
    largest = max(entry["satellite_fraction"] for entry in record["results"])
    columns = at_fraction(record, largest)
    lines = [
        f"| {100 * largest:.3g} % satellites, {len(record['boxes'])} boxes | {' | '.join(columns)} | published |",
        "| --- |" + " ---: |" * len(columns) + " --- |",
    ]
    for keys in OF_CELLS:
        cells = [goal_text(Goal(keys, "", 1), scores) for scores in columns.values()]
        published = PUBLISHED["published"].get(keys[-1], "")
        label = " / ".join(KNOWN[key].label for key in keys)
        lines.append(f"| {label} | {' | '.join(cells)} | {published} |")
    return "\n".join(lines)


def everything(record: Mapping[str, Any]) -> str:
    """Return every score at each satellite fraction."""
    evaluation = Evaluation(dict(record), Arrays())
    _, introduction = TracerTask.introduction(evaluation).split("\n\n", 1)
    tables = [markdown(table).replace("## ", "### ", 1) for table in TracerTask.tables(evaluation)]
    return "\n\n".join([introduction, *tables])


def replace_between(page: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between the markers of a page.

    Raises
    ------
    InputError
        If the page has none of the markers.
    """
    text = page.read_text(encoding="utf-8")
    found = False
    for name, part in parts.items():
        start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if start not in text:
            continue
        found = True
        before, rest = text.split(start, 1)
        text = f"{before}{start}\n\n{part}\n\n{end}{rest.split(end, 1)[1]}"
    if not found:
        raise InputError(f"{page} must have one of the markers <!-- {' or '.join(parts)}: begin -->")
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the tables; with --docs, write them into pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evaluations", type=Path, nargs="+", help="outputs of `peculiar evaluate`")
    parser.add_argument(
        "--docs", type=Path, action="append", default=[], help="page to fill; may be repeated"
    )
    options = parser.parse_args()
    try:
        record = merged(options.evaluations)
        for page in options.docs:
            # A page without all scores, such as the README, gets the mean over fractions alone.
            full = f"<!-- {EVERYTHING}: begin -->" in page.read_text(encoding="utf-8")
            parts = {
                SUMMARY: summary(record, each=full),
                EVERYTHING: everything(record),
                SMOOTHED: of_cells(record),
            }
            replace_between(page, parts)
    except InputError as error:
        parser.error(str(error))
    print(summary(record), everything(record), sep="\n\n")


if __name__ == "__main__":
    main()
