"""Painted halos in other cosmologies and epochs: numbers, powers and bispectra of every bin of mass.

    python benchmarks/painted_epochs.py RUN [RUN ...] --model painter --docs docs/results/painting.md

Runs are of `peculiar simulate`; one of several epochs gives a row for each. What stands between
`<!-- painted epochs: begin -->` and `<!-- painted epochs: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from reproduction import replace_between

from peculiar.core import Box, Field, InputError
from peculiar.evaluation.counts.measure import TRIANGLES, bispectrum, wavenumber_edges
from peculiar.evaluation.counts.samples import MassRange, coarser_twin
from peculiar.inference.painting import HaloPainter
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs
from peculiar.statistics.modes import modes_of
from peculiar.statistics.power import power_spectrum
from peculiar.training.counts import count_halos

DRAWS = 4
BANDS = np.arange(0.0, 0.31, 0.05)  # h/Mpc
ENOUGH = 100  # simulated halos of a bin in all boxes of a row, for its power


@dataclass(frozen=True, eq=False)
class Bin:
    """Halos of one bin in the boxes of one row: (box, 1 + draw, ...), the simulated ones first."""

    numbers: np.ndarray
    powers: np.ndarray
    bispectra: np.ndarray

    @property
    def number(self) -> str:
        """Drawn / simulated."""
        return f"{self.numbers[:, 1:].mean(1).sum() / self.numbers[:, 0].sum():.3f}"

    @property
    def power(self) -> str:
        """The band whose P / P_true is furthest from one, and what a perfect painter would be off there."""
        true, drawn = self.powers[:, 0].sum(0), self.powers[:, 1:].mean(1).sum(0)
        worst = int(np.abs(drawn / true - 1).argmax())
        scatter = self.powers[:, 1:, worst].std(axis=1, ddof=1) * np.sqrt(1 + 1 / DRAWS)
        return f"{drawn[worst] / true[worst] - 1:+.3f} ({np.sqrt((scatter**2).sum()) / true[worst]:.3f})"

    @property
    def bispectrum(self) -> str:
        """B / B_true at 0.2, 0.3 h/Mpc, all angles together, and its scatter over draws."""
        true, drawn = self.bispectra[:, 0].sum(), self.bispectra[:, 1:].sum(0)
        return f"{drawn.mean() / true:.2f} ({drawn.std(ddof=1) * np.sqrt(1 + 1 / DRAWS) / true:.2f})"


@dataclass(frozen=True, eq=False)
class Row:
    """One cosmology at one epoch."""

    title: str
    bins: Sequence[Bin | None]


def measured(counts: torch.Tensor, box: Box) -> tuple[float, np.ndarray, float]:
    """Number, power in `BANDS` times its modes, and bispectrum, of counts in cells."""
    if not counts.sum() > 0:
        return 0.0, np.zeros(len(BANDS) - 1), 0.0
    modes = modes_of(Field((counts.double() / counts.double().mean() - 1)[None], box, ["counts"]))
    spectrum = power_spectrum(modes, edges=wavenumber_edges(box))
    weights = spectrum.modes * np.nan_to_num(spectrum.power)
    powers = np.histogram(spectrum.k, BANDS, weights=weights)[0]
    return float(counts.sum()), powers, float(np.nansum(bispectrum(modes, *TRIANGLES["large"])))


def row_of(painter: HaloPainter, paths: Sequence[Path]) -> Row:
    """Draw the halos of boxes of one cosmology and epoch, and measure them beside the simulated ones."""
    edges = painter.card.mass_edges
    found = []
    for path in paths:
        simulated = SimulatedBox.open(path)
        density = coarser_twin(simulated, painter).density
        halos = simulated.halos
        epoch = {"cosmology": simulated.cosmology, "redshift": simulated.redshift}
        fields = [count_halos(halos.positions, halos.masses, density.box, mass_edges=edges)]
        seeds = [simulated.seed * 1000 + draw for draw in range(DRAWS)]
        fields += [painter.counts(density, **epoch, seed=seed).data for seed in seeds]
        found.append([[measured(field[b], density.box) for field in fields] for b in range(len(edges) - 1)])
    resolved = float(simulated.halos.masses.min())
    bins: list[Bin | None] = []
    for b, low in enumerate(edges[:-1]):
        numbers, powers, bispectra = (
            np.array([[one[i] for one in box[b]] for box in found]) for i in range(3)
        )
        kept = low >= resolved and numbers[:, 0].sum() >= ENOUGH
        bins.append(Bin(numbers, powers, bispectra) if kept else None)
    cosmology = simulated.cosmology
    title = f"{cosmology.Omega_m:g} | {cosmology.sigma8:g} | {simulated.redshift:g} | {len(paths)}"
    return Row(title, bins)


def tables(rows: Sequence[Row], edges: Sequence[float]) -> str:
    """Return a table of each score: rows are cosmologies and epochs, columns bins of mass."""
    labels = [MassRange(low, high).label.replace("-", " to ") for low, high in pairwise(edges)]
    head = f"| Omega_m | sigma8 | z | boxes | {' | '.join(labels)} |\n|{' ---: |' * (4 + len(labels))}"
    texts = []
    for name, title in (
        ("number", "Number of halos / true, in bins of log10 M / (Msun/h)"),
        ("power", "Largest P / P_true - 1 of bands of 0.05 h/Mpc, k < 0.3"),
        ("bispectrum", "B / B_true at k1, k2 = 0.2, 0.3, all angles together"),
    ):
        lines = [
            f"| {row.title} | {' | '.join('–' if one is None else getattr(one, name) for one in row.bins)} |"
            for row in rows
        ]
        texts.append(f"#### {title}\n\n{head}\n" + "\n".join(lines))
    return "\n\n".join(texts)


def main() -> None:
    """Print the tables; with --docs, write them into pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="outputs of `peculiar simulate`")
    parser.add_argument("--model", default="painter")
    parser.add_argument("--seeds", type=int, nargs="*", help="of the boxes; default: all")
    parser.add_argument("--docs", type=Path, action="append", default=[], help="page to fill")
    options = parser.parse_args()
    try:
        painter = HaloPainter.load(options.model)
        epochs = [open_run(epoch, options.seeds) for run in options.runs for epoch in run_epochs(run)]
        text = tables([row_of(painter, paths) for paths in epochs], painter.card.mass_edges)
        text = (
            f"`{painter.card.name}`, {DRAWS} draws of each box. In parentheses what a perfect painter would be off, "
            f"since halos scatter as draws do. Bins with fewer than {ENOUGH} simulated halos in all boxes of a row, or "
            f"with halos that the simulation does not resolve, are left out.\n\n{text}"
        )
        for page in options.docs:
            replace_between(page, {"painted epochs": text})
    except InputError as error:
        parser.error(str(error))
    print(text)


if __name__ == "__main__":
    main()
