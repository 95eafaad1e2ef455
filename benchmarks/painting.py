"""Tables of the painters for the docs: goals, every mass bin, catalogues, other cosmologies.

    peculiar evaluate RUN --out EVALUATION --model painter --boxes 1001-1004 --tune-on 501-504
    peculiar evaluate OTHER --out EVALUATION2 --model painter --tune-on 501-504 --tune-run RUN       (one a cosmology)
    python benchmarks/painting.py EVALUATION [EVALUATION2 ...] --docs docs/results/painting.md

The first evaluation is of the cosmology of training; all of them make the table of cosmologies. What stands between
`<!-- painting: begin -->` and `<!-- painting: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction import replace_between

from peculiar.core import InputError
from peculiar.evaluation.counts.rows import (
    BIASED,
    CATALOGUE,
    CATALOGUE_ROWS,
    LOCAL,
    PUBLISHED,
    ROWS,
    SOURCE,
    goals_table,
    sample_title,
)
from peculiar.evaluation.record import Evaluation
from peculiar.evaluation.table import Row, cell_text, markdown, score_table

BY_MASS = (
    "number_ratio",
    "power_deviation_0.3",
    "power_deviation_0.4",
    "variance_ratio_1",
    "bispectrum_large_ratio",
    "bispectrum_small_ratio",
)
"""Scores of a painter in each mass bin."""
FIELD = ("r_mean_0.1", "r_mean_0.3", "r_mean_0.4")
"""Scores of mean fields, painter and baselines side by side."""
BY_COSMOLOGY = (
    "number_ratio",
    "power_ratio_0_0.1",
    "power_ratio_0.1_0.2",
    "power_ratio_0.2_0.3",
    "power_ratio_0.3_0.4",
    "r_mean_0.1",
    "r_mean_0.4",
    "stochasticity_ratio",
    "variance_ratio_1",
    "bispectrum_large_ratio",
    "bispectrum_small_ratio",
)
"""Scores of a painter in each cosmology, all halos."""

Record = Mapping[str, Any]


def painting_text(records: Sequence[Record]) -> str:
    """Return all tables; the first record is of the cosmology of training."""
    first = records[0]
    box, count = first["box"], len(first["boxes"])
    painters = [name for name in first["models"] if name not in first["baselines"]]
    whole = _shared([first], painters)
    columns = _columns(first, whole)
    lines = [
        f"{count} held-out box{'es' if count > 1 else ''} of {box['size']:g} Mpc/h, {box['cells']}^3 cells of "
        f"{box['size'] / box['cells']:g} Mpc/h, z = {box['redshift']:g}, Omega_m = {box['cosmology']['Omega_m']:g}; "
        f"{first['settings']['draws']} draws each. Standard errors over boxes in parentheses. Baselines are fitted on "
        f"{len(first['tuned_on'])} other boxes. Published figures are of {SOURCE}, on its own simulations.",
        "",
        markdown(goals_table(first)),
        "",
        f"### All halos, {sample_title(first, whole)}",
        "",
        markdown(score_table(ROWS, columns, beside=PUBLISHED)),
    ]
    for painter in painters:
        lines += ["", f"### Mass bins, {painter}", "", *_mass_lines(first, painter)]
        if len(records) > 1:
            lines += [
                "",
                f"### Other cosmologies, {painter}",
                "",
                f"Halos of {_shared(records, [painter]).replace('-', ' to ')}. Number of boxes in parentheses. Boxes "
                "of one seed have the same phases; networks and baselines are those of the first column.",
                "",
                *_cosmology_lines(records, painter),
            ]
    catalogues = _columns(first, CATALOGUE)
    if catalogues:
        lines += [
            "",
            f"### {sample_title(first, CATALOGUE)}",
            "",
            markdown(score_table(CATALOGUE_ROWS, catalogues)),
        ]
    return "\n".join(lines)


def _columns(record: Record, sample: str) -> dict[str, Any]:
    return {row["model"]: row["scores"] for row in record["results"] if row["sample"] == sample}


def _shared(records: Sequence[Record], painters: Sequence[str]) -> str:
    """Return the first range of masses for which all records have all these painters."""
    for sample in records[0]["samples"]:
        if all(set(painters) <= set(_columns(record, sample)) for record in records):
            return str(sample)
    raise InputError(f"evaluations must share a range of masses, got none for {', '.join(painters)}")


def _row(key: str) -> Row:
    return next(row for row in ROWS if row.key == key)


def _label(key: str) -> str:
    words = {
        "power_deviation_0.3": "draws: largest \\|P / P_true - 1\\|, k < 0.3",
        "power_deviation_0.4": "draws: the same, 0.3 < k < 0.4",
        "bispectrum_large_ratio": "draws: B / B_true at 0.2, 0.3",
        "bispectrum_small_ratio": "draws: B / B_true at 0.6, 0.7",
        "variance_ratio_1": "draws: variance of counts / true",
    }
    return words.get(key, _row(key).label)


def _mass_lines(record: Record, painter: str) -> list[str]:
    """Rows are scores, columns the painter's bins."""
    bins = [
        sample
        for sample in record["samples"][1:]
        if painter in _columns(record, sample) and len(_columns(record, sample)) > 1
    ]
    lines = [
        f"| log10 M / (Msun/h) | {' | '.join(sample.replace('-', ' to ') for sample in bins)} |",
        "| --- |" + " ---: |" * len(bins),
    ]
    for key in BY_MASS:
        cells = [cell_text(_columns(record, sample)[painter], _row(key)) for sample in bins]
        lines.append(f"| {_label(key)} | {' | '.join(cells)} |")
    for key in FIELD:
        cells = []
        for sample in bins:
            held = _columns(record, sample)
            values = [held[name][key]["mean"] for name in (painter, LOCAL, BIASED) if key in held[name]]
            cells.append(" / ".join(f"{value:.3f}" for value in values) or "–")
        lines.append(f"| {_label(key)}: painter / {LOCAL} / {BIASED} | {' | '.join(cells)} |")
    return lines


def _cosmology_lines(records: Sequence[Record], painter: str) -> list[str]:
    """Rows are scores of all halos, columns cosmologies."""
    sample = _shared(records, [painter])
    titles = [
        f"Omega_m = {record['box']['cosmology']['Omega_m']:g} ({len(record['boxes'])})" for record in records
    ]
    lines = [f"| | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(records)]
    for key in BY_COSMOLOGY:
        cells = [cell_text(_columns(record, sample)[painter], _row(key)) for record in records]
        lines.append(f"| {_label(key)} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the tables; with --docs, write them into pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "evaluations", type=Path, nargs="+", help="outputs of `peculiar evaluate` of painters"
    )
    parser.add_argument("--docs", type=Path, action="append", default=[], help="page to fill")
    options = parser.parse_args()
    try:
        records = [Evaluation.open(path).record for path in options.evaluations]
        if unfit := [record.get("kind") for record in records if record.get("kind") != "paint"]:
            raise InputError(f"evaluations must be of painters, got one of {unfit[0] or 'tracers'}")
        text = painting_text(records)
        for page in options.docs:
            replace_between(page, {"painting": text})
    except InputError as error:
        parser.error(str(error))
    print(text)


if __name__ == "__main__":
    main()
