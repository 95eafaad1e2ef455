"""The mass function that painters are told, fitted to training boxes and beside the halos of others.

    python benchmarks/mass_function.py RUN [RUN ...] --held-out RUN [RUN ...] --docs docs/results/painting.md

It is fitted to the boxes of the recipe's training seeds. What stands between `<!-- mass function: begin -->` and
`<!-- mass function: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from reproduction import replace_between

from peculiar.core import InputError
from peculiar.evaluation.counts.samples import MassRange
from peculiar.simulate.mass_function import MassFunction
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs
from peculiar.training.recipe import load_recipe
from peculiar.workflows.training_data import split_files

ENOUGH = 100  # simulated halos of a bin in all boxes of a row


def lines(function: MassFunction, runs: Sequence[Path], edges: Sequence[float]) -> Iterator[str]:
    """Yield a row for each epoch of each run: expected over simulated halos, and the noise of the latter."""
    for run in runs:
        for epoch in run_epochs(run):
            boxes = [SimulatedBox.open(path) for path in open_run(epoch)]
            true = sum(np.histogram(box.halos.masses, edges)[0] for box in boxes)
            expected = sum(
                function.density(edges, box.cosmology, box.redshift, spacing=box.box.side / box.particles)
                * box.box.volume
                for box in boxes
            )
            resolved = max(float(box.halos.masses.min()) for box in boxes)
            cells = [
                f"{ratio:.3f} ({n**-0.5:.3f})" if low >= resolved and n >= ENOUGH else "–"
                for low, ratio, n in zip(edges, expected / np.maximum(true, 1), true, strict=False)
            ]
            one = boxes[0]
            known = (one.cosmology.Omega_m, one.cosmology.sigma8, one.redshift, len(boxes))
            yield f"| {' | '.join(f'{value:.4g}' for value in known)} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table; with --docs, write it into pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="outputs of `peculiar simulate`, to fit")
    parser.add_argument("--held-out", type=Path, nargs="+", required=True, help="others, one cosmology each")
    parser.add_argument("--docs", type=Path, action="append", default=[], help="page to fill")
    options = parser.parse_args()
    try:
        recipe = load_recipe("painter", profile="cpu")
        training = split_files(options.runs, recipe)["train"]
        function = MassFunction.fitted([SimulatedBox.open(path) for path in training])
        edges = recipe.inputs.mass_edges  # type: ignore[union-attr]
        labels = [MassRange(low, high).label.replace("-", " to ") for low, high in pairwise(edges)]
        rows = list(lines(function, options.held_out, edges))
        text = "\n".join(
            [
                "Halos that the mass function expects over simulated ones, in bins of log10 M / (Msun/h). It is "
                f"fitted to {len(training)} boxes; these are others. In parentheses the Poisson noise of the "
                "simulated number, without that of large scales.",
                "",
                f"| Omega_m | sigma8 | z | boxes | {' | '.join(labels)} |",
                f"|{' ---: |' * (4 + len(labels))}",
                *rows,
            ]
        )
        for page in options.docs:
            replace_between(page, {"mass function": text})
    except InputError as error:
        parser.error(str(error))
    print(text)


if __name__ == "__main__":
    main()
