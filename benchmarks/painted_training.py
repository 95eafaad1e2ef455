"""Table of what cheap training data cost: networks trained on painted catalogues beside one trained on N-body halos.

    peculiar evaluate boxes --boxes 1001-1004 --tune-on 501-504 --out EVALUATION --model NBODY --model PAINTED
    python benchmarks/painted_training.py EVALUATION --docs docs/painted-training.md

The first model is the one to compare with, the others' differences from it stand in brackets. What stands between
`<!-- painted-training: begin -->` and `<!-- painted-training: end -->` of a page is filled. The page has the commands
that train both.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from reproduction import replace_between

from peculiar.core import InputError
from peculiar.evaluation.record import Evaluation, fraction_name
from peculiar.evaluation.scores import Score
from peculiar.evaluation.table import cell_text
from peculiar.evaluation.tracers.plots import fractions_of
from peculiar.evaluation.tracers.rows import ROWS

SHOWN = (
    "correlation_velocity",
    "correlation_momentum",
    "correlation_density",
    "correlation_velocity_divergence",
    "rms_error_velocity",
    "residual_ratio",
    "misalignment_velocity",
    "slope_velocity",
    "density_r_0.1",
    "density_r_0.3",
    "R_density_low_max",
    "R_velocity_mid_max",
    "object_rms_error",
)


def table(scores: Mapping[str, Mapping[str, Score]], models: Sequence[str]) -> str:
    """Lines of a table for one satellite fraction: scores of each model, and differences from the first.

    Parameters
    ----------
    scores : model -> score name -> score
    models : sequence of str
        Networks in the order of the columns, then baselines.
    """
    first = models[0]
    lines = [
        f"| score | {' | '.join(models)} |",
        "| --- |" + " ---: |" * len(models),
    ]
    for row in (row for row in ROWS if row.key in SHOWN):
        cells = []
        for model in models:
            text = cell_text(scores[model], row)
            if model != first and row.key in scores[model] and row.key in scores[first]:
                change = scores[model][row.key]["mean"] - scores[first][row.key]["mean"]
                text += f" [{change:+.{row.decimals}f}]"
            cells.append(text)
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tables(evaluation: Evaluation) -> str:
    """One table for each satellite fraction.

    Raises
    ------
    InputError
        If the evaluation holds fewer than two networks.
    """
    record = evaluation.record
    networks = evaluation.networks
    if len(networks) < 2:
        raise InputError(
            f"evaluation must hold two networks at least, got {', '.join(networks)}: name two --model"
        )
    parts = []
    for fraction in fractions_of(evaluation):
        columns = evaluation.columns(sample=fraction_name(fraction))
        title = f"{len(record['boxes'])} boxes of N-body halos, {100 * fraction:g} % satellites"
        parts.append(f"{title}:\n\n{table(columns, [*networks, *record['baselines']])}")
    return "\n\n".join(parts)


def main() -> None:
    """Print the tables; with --docs, write them into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--docs", type=Path)
    given = parser.parse_args()
    text = tables(Evaluation.open(given.evaluation))
    print(text)
    if given.docs:
        replace_between(given.docs, {"painted-training": text})


if __name__ == "__main__":
    main()
