"""Tables of velocities in isolated cubes for the docs: Table 4 of Wang et al. 2024 by sample, parts, and outside flows.

    peculiar evaluate RUN --out EVALUATION --model survey --model wang2024 --boxes 1001-1004 --tune-on 501-502
    peculiar evaluate LATER --out EVALUATION2 --model survey --model wang2024 --tune-on 501-502 --tune-run RUN
    python benchmarks/surveys.py EVALUATION [EVALUATION2 ...] --docs docs/results/survey-networks.md --figures FIGURES

Evaluations may be of other samples, models or redshifts: each gets tables of its own. What stands between
`<!-- survey scores: begin -->` and `<!-- survey scores: end -->` of a page is filled. With --figures, figure 11 is
drawn from the first evaluation and those at other redshifts: all halos, the networks at each redshift. With --terms,
the networks of another evaluation, trained with some terms of the loss alone, fill `<!-- loss terms: begin -->` of
docs/survey-networks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reproduction import replace_between

from peculiar.core import InputError
from peculiar.evaluation.cubes.measure import BOUNDARY, CENTRE, EVERYWHERE, KNOWN, SEEN, UNBIASED
from peculiar.evaluation.cubes.plots import ALL_HALOS, drawn_models, joint
from peculiar.evaluation.cubes.rows import OUTSIDE, PARTS, ROWS, SOURCE, beside, tuned_text
from peculiar.evaluation.record import Evaluation
from peculiar.evaluation.table import cell_text, markdown, score_table
from peculiar.figures.distributions import Histogram2D
from peculiar.figures.style import save
from peculiar.figures.survey_scores import velocity_contours

IN_PARTS = (
    "slope",
    "within_residual",
    "within_component",
    "within_magnitude",
    "cosine",
    "coherence",
    "rms_error",
)
"""Scores of the tables of parts."""


def survey_text(evaluations: Sequence[Evaluation]) -> str:
    """Return all tables of all evaluations."""
    lines: list[str] = []
    for evaluation in evaluations:
        record = evaluation.record
        cubes, box, boxes = record["cubes"], record["box"], record["boxes"]
        for sample in record["samples"]:
            lines += [
                f"### {sample[0].upper()}{sample[1:]}, z = {box['redshift']:g}",
                "",
                f"{cubes['number']} cubes of {cubes['size']:g} Mpc/h from {len(boxes)} test box"
                f"{'es' if len(boxes) > 1 else ''} of {box['size']:g} Mpc/h, all voxels. Standard errors over cubes in "
                f"parentheses. Published values are of {SOURCE}, on its own simulations. Settings of the baselines, "
                f"tuned on {len(record['tuned_on'])} other box{'es' if len(record['tuned_on']) > 1 else ''}:",
                "",
                *(f"- {text}" for text in tuned_text(record, sample)),
                "",
                markdown(
                    score_table(
                        ROWS,
                        evaluation.columns(sample=sample, part=EVERYWHERE),
                        beside=beside(sample, EVERYWHERE, redshift=box["redshift"]),
                    )
                ),
                "",
                *part_lines(evaluation, sample),
                "",
            ]
    return "\n".join(lines).rstrip()


def part_lines(evaluation: Evaluation, sample: str) -> list[str]:
    """Return the table of the parts of a cube, a column for each model."""
    columns = evaluation.columns(sample=sample, part=EVERYWHERE)
    lines = [f"| part | | {' | '.join(columns)} |", "| --- | --- |" + " ---: |" * len(columns)]
    for part in (CENTRE, BOUNDARY, SEEN, UNBIASED, KNOWN):
        held = evaluation.columns(sample=sample, part=part)
        if not held:
            continue
        for row in (one for one in ROWS if one.key in IN_PARTS):
            cells = " | ".join(cell_text(held[name], row) for name in columns)
            lines.append(f"| {PARTS[part]} | {row.label} | {cells} |")
    cells = " | ".join(cell_text(scores, OUTSIDE) for scores in columns.values())
    return [*lines, f"| {PARTS[EVERYWHERE]} | {OUTSIDE.label} | {cells} |"]


def term_lines(evaluation: Evaluation) -> list[str]:
    """Return the table of networks that were trained with other losses, a row for each."""
    held = evaluation.columns(sample=ALL_HALOS, part=EVERYWHERE)
    rows = [row for row in ROWS if any(row.key in scores for scores in held.values())]
    lines = [f"| | {' | '.join(row.label for row in rows)} |", "| --- |" + " ---: |" * len(rows)]
    for name, scores in held.items():
        if name in evaluation.networks:
            lines.append(f"| `{name}` | {' | '.join(cell_text(scores, row) for row in rows)} |")
    return lines


def draw_redshifts(evaluations: Sequence[Evaluation], directory: Path) -> Path:
    """Draw figure 11: contours of all halos' cubes at each redshift, one panel a network.

    Raises
    ------
    InputError
        If no network was tried on all halos at two redshifts.
    """
    panels: dict[str, dict[str, Histogram2D]] = {}
    for evaluation in evaluations:
        record = evaluation.record
        for model in drawn_models(evaluation, ALL_HALOS):
            if model not in record["baselines"]:
                held = panels.setdefault(model, {})
                held.setdefault(f"z = {record['box']['redshift']:g}", joint(evaluation, ALL_HALOS, model))
    panels = {model: held for model, held in panels.items() if len(held) > 1}
    if not panels:
        raise InputError(f"evaluations must hold a network tried on {ALL_HALOS!r} at two redshifts, got none")
    directory.mkdir(parents=True, exist_ok=True)
    return save(velocity_contours(panels), directory / "fig11_redshift")[0]


def main() -> None:
    """Print the tables; with --docs, write them into pages; with --figures, draw figure 11."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evaluations", type=Path, nargs="+", help="outputs of `peculiar evaluate` of surveys")
    parser.add_argument("--docs", type=Path, action="append", default=[], help="page to fill")
    parser.add_argument("--figures", type=Path, help="directory for figure 11")
    parser.add_argument("--terms", type=Path, help="evaluation of networks trained with other losses")
    options = parser.parse_args()
    try:
        evaluations = [Evaluation.open(path) for path in options.evaluations]
        kinds = [one.kind for one in evaluations]
        if unfit := [kind for kind in kinds if kind != "survey"]:
            raise InputError(f"evaluations must be of isolated cubes, got one of kind {unfit[0]}")
        text = survey_text(evaluations)
        parts = {"survey scores": text}
        if options.terms is not None:
            parts["loss terms"] = "\n".join(term_lines(Evaluation.open(options.terms)))
        for page in options.docs:
            replace_between(page, parts)
        if options.figures is not None:
            draw_redshifts(evaluations, options.figures)
    except InputError as error:
        parser.error(str(error))
    print(text)


if __name__ == "__main__":
    main()
