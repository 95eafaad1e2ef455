"""Tables of what cheap training data cost: painted boxes beside N-body boxes, and networks trained on either.

    python benchmarks/painted_training.py boxes BOXES PAINTED [PAINTED ...] --seeds 1001 1002 --docs PAGE
    peculiar evaluate BOXES --boxes 1001-1002 --tune-on 501-502 --out EVALUATION --model NBODY --model PAINTED
    python benchmarks/painted_training.py networks EVALUATION --docs docs/painted-training.md

`boxes` fills what stands between `<!-- painted-boxes: begin -->` and its end of a page: runs of the same seeds, the
first of them N-body. `networks` fills `<!-- painted-training: begin -->`: the first model is the one to compare with,
the others' differences from it stand in brackets. The page has the commands that make both.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from reproduction import replace_between

from peculiar.core import Field, InputError
from peculiar.evaluation.record import Evaluation, fraction_name
from peculiar.evaluation.scores import Score
from peculiar.evaluation.table import cell_text
from peculiar.evaluation.tracers.plots import fractions_of
from peculiar.evaluation.tracers.rows import ROWS
from peculiar.fields.paint import paint
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.statistics.power import compare_power

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


WAVES = (0.1, 0.3, 0.6)
"""Of the density, bins of 10 % to each side [h/Mpc]."""
MASSES = (1e12, 10**12.5, 1e13, 10**13.5, 1e14)
"""Edges of bins of halos [Msun/h]."""
ABUNDANCES = (3e-4, 1e-3, 3e-3)
"""Of samples whose bias is measured [(h/Mpc)^3]."""


def held(box: SimulatedBox, truth: SimulatedBox) -> dict[str, float]:
    """What a painted box holds, over its N-body twin; velocities in cells err by so many km/s."""
    edges = [k * side for k in WAVES for side in (0.9, 1.1)]
    power = compare_power(box.density, truth.density, edges=edges)
    found = {
        "velocity in cells, rms error [km/s]": float(
            (box.velocity.data - truth.velocity.data).square().mean().sqrt()
        ),
        "rms of a component of the velocity": float(box.velocity.data.std() / truth.velocity.data.std()),
    }
    for bin_, k in enumerate(WAVES):
        found[f"r of the density at k = {k:g} h/Mpc"] = float(power.correlation_coefficient[2 * bin_])
        found[f"power of the density at k = {k:g} h/Mpc"] = float(power.power_ratio[2 * bin_])
    for low, high in pairwise(MASSES):
        counts = [np.histogram(one.halos.masses, (low, high))[0][0] for one in (box, truth)]
        found[f"halos of 10^{np.log10(low):g} to 10^{np.log10(high):g} Msun/h"] = float(counts[0] / counts[1])
    for abundance in ABUNDANCES:
        found[f"bias of the most massive halos, {abundance:g} (h/Mpc)^3"] = bias(box, abundance) / bias(
            truth, abundance
        )
    return found


def bias(box: SimulatedBox, abundance: float) -> float:
    """P_hm / P_mm at k < 0.1 h/Mpc, of the box's own matter."""
    mesh = paint(box.catalogue(abundance, space="real").positions, box.box)
    halos = Field(mesh / mesh.mean() - 1, box.box, ("halos",))
    both = compare_power(halos, box.density, edges=[0.02, 0.1])  # one window, so it cancels
    return float(both.cross.power[0] / both.truth.power[0])


def boxes_table(runs: Sequence[Path], seeds: Sequence[int]) -> str:
    """Lines of a table: means over seeds, painted runs over the first."""
    opened = [[SimulatedBox.open(path) for path in open_run(run, seeds)] for run in runs]
    columns = [
        [held(box, truth) for box, truth in zip(boxes, opened[0], strict=True)] for boxes in opened[1:]
    ]
    lines = [
        f"| painted over N-body, {len(seeds)} boxes | {' | '.join(f'`{run.name}`' for run in runs[1:])} |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for row in columns[0][0]:
        decimals = 1 if "km/s" in row else 4 if row.startswith("r of") else 3
        means = (np.mean([one[row] for one in column]) for column in columns)
        lines.append(f"| {row} | {' | '.join(f'{mean:.{decimals}f}' for mean in means)} |")
    return "\n".join(lines)


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
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_boxes = kinds.add_parser("boxes", help="what painted boxes hold")
    of_boxes.add_argument("runs", type=Path, nargs="+", help="N-body first")
    of_boxes.add_argument("--seeds", type=int, nargs="+", required=True)
    of_networks = kinds.add_parser("networks", help="networks trained on either")
    of_networks.add_argument("evaluation", type=Path)
    for kind in (of_boxes, of_networks):
        kind.add_argument("--docs", type=Path)
    given = parser.parse_args()
    if given.kind == "boxes":
        name, text = "painted-boxes", boxes_table(given.runs, given.seeds)
    else:
        name, text = "painted-training", tables(Evaluation.open(given.evaluation))
    print(text)
    if given.docs:
        replace_between(given.docs, {name: text})


if __name__ == "__main__":
    main()
