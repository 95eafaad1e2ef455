"""Painted halos against those of simulated boxes: every mass bin, tuned baselines, and the catalogues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from peculiar.core import Box, Catalogue, InputError
from peculiar.core.limits import require_density
from peculiar.evaluation.counts.measure import (
    catalogue_statistics,
    count_limit,
    mass_edges_of,
    measure_counts,
    true_statistics,
)
from peculiar.evaluation.counts.plots import count_plots
from peculiar.evaluation.counts.pooled import catalogue_scores, pooled_scores
from peculiar.evaluation.counts.rows import (
    BIASED,
    CATALOGUE,
    CATALOGUE_ROWS,
    LOCAL,
    PUBLISHED,
    ROWS,
    SOURCE,
    goals_reached,
    goals_table,
    sample_title,
)
from peculiar.evaluation.counts.samples import (
    SLAB,
    CountCase,
    Painted,
    TwinBox,
    coarser_twin,
    fit_baselines,
    halos_in_cells,
    mass_ranges,
)
from peculiar.evaluation.protocol import Progress, Task, open_boxes
from peculiar.evaluation.record import TRUTH, Arrays, Collected, Evaluation, Measured
from peculiar.evaluation.scores import Score
from peculiar.evaluation.table import score_table
from peculiar.figures.report import Headline, Table
from peculiar.figures.style import Plot
from peculiar.inference.painting import HaloPainter, most_massive
from peculiar.linear.local_bias import LocalBias
from peculiar.simulate.matter import box_of_cells
from peculiar.simulate.mocks import SimulatedBox

DRAWS = 4
CATALOGUES = 2
"""How many draws of each box are made into catalogues."""
NUMBER_DENSITY = 3e-3
FINER = 2.4
"""Cells of the mesh that catalogues are measured on, for each cell of counts."""


class CountTask(Task[CountCase]):
    """Paint halos on the 2LPT twins of simulated boxes and compare with their halos.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes of one kind and cosmology.
    painters : name -> HaloPainter
        With cells of one size. Baselines always run beside them: 2LPT's density times a linear bias, and Poisson draws
        of a local bias.
    settings : mapping
        Where the boxes and the painters come from, for the record.
    tune_on : sequence of path
        Other boxes, of any cosmology, on which the baselines are tuned.
    number_density : float
        Of the catalogues that are compared [(h/Mpc)^3]; where a painter or a box has fewer, as many as both have.
    draws : int
        Draws of each box.

    Raises
    ------
    InputError
        If there are no boxes or painters, they differ in kind or cells, none to tune on is given or one is also
        evaluated, a bin holds no halo of a box, or a name is a baseline's.

    Notes
    -----
    Memory 2 GB for boxes of 60^3 cells; one box of that size takes about a minute on one core for six mass bins.
    """

    kind = "paint"
    source = SOURCE
    title = "Painted halos"
    unit = "painting"
    baselines = (LOCAL, BIASED)

    def __init__(
        self,
        paths: Sequence[Path | str],
        painters: Mapping[str, HaloPainter],
        *,
        settings: Mapping[str, Any],
        tune_on: Sequence[Path | str],
        number_density: float = NUMBER_DENSITY,
        draws: int = DRAWS,
    ) -> None:
        if not paths or not painters:
            raise InputError(
                "paths and painters must hold at least one simulated box and one painter, got none"
            )
        if not tune_on:
            raise InputError(
                "tune_on must hold at least one other box to fit the baselines on, got none: give --tune-on 501-502"
            )
        if draws < 1:
            raise InputError(f"draws must be >= 1, got {draws}")
        require_density(number_density)
        if taken := {*self.baselines, TRUTH} & set(painters):
            raise InputError(f"painters must not have a baseline's name, got {sorted(taken)}")
        kinds = {(p.card.cell_size, p.card.particles_per_cell, p.card.dynamics) for p in painters.values()}
        if len(kinds) > 1:
            raise InputError(
                f"painters must see densities of one kind, got {sorted(kinds)} (cell size, particles per cell, "
                "dynamics): evaluate them apart"
            )
        boxes, tuning = open_boxes(
            paths,
            tune_on,
            tuned_alike=lambda box: (box.box.side, box.redshift),
            words="the size and redshift",
        )
        self.paths, self.tune_on = [box.path for box in boxes], [box.path for box in tuning]
        self.painters, self.draws, self.number_density = dict(painters), draws, number_density
        self.models = [*painters, *self.baselines]
        self.settings = {"draws": draws, "number_density": number_density, **settings}
        self._first = boxes[0]
        lightest = max(float(one.halos.masses.min()) for one in (*boxes, *tuning))
        edges = [painter.card.mass_edges for painter in painters.values()]
        self.ranges = mass_ranges(edges, resolved=lightest)
        self._tuned: list[tuple[LocalBias, float]] = []
        self._limits: list[tuple[int, ...]] = []
        self._mass_edges: np.ndarray = np.empty(0)

    @property
    def _painter(self) -> HaloPainter:
        return next(iter(self.painters.values()))

    @property
    def steps(self) -> int:
        """Every model in each of its ranges, and the catalogues."""
        ranges = sum(
            one.bins_of(painter.card.mass_edges) is not None
            for one in self.ranges
            for painter in self.painters.values()
        )
        catalogues = sum(painter.stochastic for painter in self.painters.values())
        return len(self.paths) * (ranges + catalogues + len(self.baselines) * len(self.ranges))

    def tune(self, progress: Progress) -> None:
        """Fit local and linear bias of each range."""
        with progress("baselines tuned", total=len(self.tune_on) + len(self.ranges)) as advance:
            tuning = [SimulatedBox.open(path) for path in self.tune_on]
            self._tuned = fit_baselines(tuning, self.ranges, self._painter, advance)

    def prepare(self) -> None:
        """Choose the limits of counts, and the edges of mass functions."""
        first = SimulatedBox.open(self.paths[0])
        cells = box_of_cells(first.box.side, cell_size=self._painter.card.cell_size)
        self._limits = [count_limit(counts) for counts in halos_in_cells(first, cells, self.ranges)]
        drawn = [painter for painter in self.painters.values() if painter.stochastic]
        if drawn:
            low, high = drawn[0].card.mass_edges[0], drawn[0].card.mass_edges[-1]
            masses = first.halos.masses
            top = min(high, 1.3 * float(masses.max()))
            self._mass_edges = mass_edges_of(low, top, particle=float(masses[0] / first.halos.counts[0]))

    def cases(self, path: Path) -> Iterator[CountCase]:
        """Open the ranges of a box, then its catalogue."""
        simulated = SimulatedBox.open(path)
        theory = coarser_twin(simulated, self._painter)
        seeds = [simulated.seed * 1000 + i for i in range(self.draws)]
        twin = TwinBox(simulated, theory, self.painters, seeds, path == self.paths[0])
        counted = halos_in_cells(simulated, theory.density.box, self.ranges)
        for one, truth, (local, bias), limits in zip(
            self.ranges, counted, self._tuned, self._limits, strict=True
        ):
            yield CountCase(twin, one.label, one, truth, local, bias, limits)
        yield CountCase(twin, CATALOGUE)

    def truth(self, case: CountCase) -> dict[tuple[str, str], Measured]:
        """Statistics of the halos, and slices of the first box."""
        if case.truth is None:
            return {}
        density = case.twin.theory.density
        true = true_statistics(case.truth, density, limits=case.limits)
        shared = {
            "k": true.pop("k"),
            "modes": true.pop("modes"),
            f"limits/{case.sample}": np.array(case.limits),
        }
        found = {(case.sample, TRUTH): Measured(rows=true, shared=shared)}
        if self._pictured(case):
            slices = {
                "slice/density": (1 + density.data[0])[..., : _layers(density.box)].mean(-1).numpy(),
                "slice/counts": _slice(case.truth, density.box),
            }
            found["", TRUTH] = Measured(once=slices)
        return found

    def contestants(self, case: CountCase) -> Mapping[str, Callable[[], Any]]:
        """Painters that have the range, then the baselines; of catalogues the painters that draw."""
        twin = case.twin
        if case.masses is None or case.truth is None or case.local is None:

            def catalogues(painter: HaloPainter) -> list[Catalogue]:
                cosmology, redshift = twin.simulated.cosmology, twin.simulated.redshift
                return [
                    painter.catalogue(twin.theory, cosmology=cosmology, redshift=redshift, seed=seed)
                    for seed in twin.seeds[:CATALOGUES]
                ]

            return {
                name: partial(catalogues, painter)
                for name, painter in self.painters.items()
                if painter.stochastic
            }
        density, truth, local = twin.theory.density, case.truth, case.local

        def painted(name: str, bins: slice) -> Painted:
            draws, mean = twin.drawn[name]
            return Painted([counts[bins].sum(0) for counts in draws], mean[bins].sum(0))

        def biased() -> Painted:
            linear = truth.mean() * (1 + case.bias * density.data[0])
            return Painted([linear], linear)

        bins = {name: case.masses.bins_of(one.card.mass_edges) for name, one in self.painters.items()}
        return {
            **{name: partial(painted, name, held) for name, held in bins.items() if held is not None},
            LOCAL: lambda: Painted(
                [local.draw(density, seed=seed) for seed in twin.seeds], local.mean_counts(density)
            ),
            BIASED: biased,
        }

    def measure(self, case: CountCase, name: str, prediction: Any) -> Measured:
        """Measure draws and mean field against the halos, or catalogues against theirs."""
        if case.truth is None:
            return self._measure_catalogues(case.twin, self.painters[name], prediction)
        density = case.twin.theory.density
        measured = measure_counts(prediction.draws, prediction.mean, case.truth, density, limits=case.limits)
        if not self._pictured(case):
            return measured
        slices = {
            Arrays.key("slice/draw", name): _slice(prediction.draws[0], density.box),
            Arrays.key("slice/mean", name): _slice(prediction.mean, density.box),
        }
        return replace(measured, shared=slices)

    def pool(
        self, arrays: Arrays, collected: Collected, model: str, sample: str, part: str
    ) -> dict[str, Score]:
        """Scores of mean powers, bispectra and mass functions."""
        return (
            catalogue_scores(arrays, model) if sample == CATALOGUE else pooled_scores(arrays, model, sample)
        )

    def record(self, arrays: Arrays, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Mass ranges, what the baselines were fitted to, and the goals."""
        first, labels = self._first, [one.label for one in self.ranges]
        return {
            "samples": labels,
            "baseline_settings": {
                label: {
                    "form": local.form,
                    "smoothing": local.smoothing,
                    "environment": local.environment,
                    "exponent": local.exponent,
                    "bias": bias,
                }
                for label, (local, bias) in zip(labels, self._tuned, strict=True)
            },
            "box": {
                "size": first.box.side,
                "cells": int(arrays.of("slice/density", TRUTH).shape[0]),
                "redshift": first.redshift,
                "cosmology": asdict(first.cosmology),
            },
            "goals": {name: goals_reached(results, name, labels) for name in self.painters},
        }

    @classmethod
    def introduction(cls, evaluation: Evaluation) -> str:
        """What was evaluated, and how the tables are to be read."""
        record = evaluation.record
        box, count = record["box"], len(record["boxes"])
        settings = "; ".join(
            f"{label}: {one['form']}, Gaussian of {one['smoothing']:g} Mpc/h, surroundings of {one['environment']:g} "
            f"Mpc/h to the power {one['exponent']:.1f}, linear bias {one['bias']:.2f}"
            for label, one in record["baseline_settings"].items()
        )
        return (
            "# Painted halos\n\n"
            f"{count} box{'es' if count > 1 else ''} of {box['size']:g} Mpc/h, {box['cells']}^3 cells of "
            f"{box['size'] / box['cells']:g} Mpc/h, z = {box['redshift']:g}, Omega_m = "
            f"{box['cosmology']['Omega_m']:g}; {record['settings']['draws']} draws each. Means over boxes, their "
            "standard error in parentheses. Powers and bispectra of counts hold shot noise, drawn and true; bands are "
            f"0.05 h/Mpc wide. The closest to the ideal is bold. Published figures are of {SOURCE}, on its own "
            f"simulations. Baselines, fitted on {len(record['tuned_on'])} other boxes: {settings}."
        )

    @classmethod
    def tables(cls, evaluation: Evaluation) -> list[Table]:
        """The goals, each range of masses, and the catalogues."""
        record = evaluation.record
        found = [goals_table(record)]
        for sample in (*record["samples"], CATALOGUE):
            columns = evaluation.columns(sample=sample)
            rows, beside = (CATALOGUE_ROWS, {}) if sample == CATALOGUE else (ROWS, PUBLISHED)
            if columns:
                found.append(score_table(rows, columns, title=sample_title(record, sample), beside=beside))
        return found

    @classmethod
    def plots(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw figures 8 to 14 of the paper, counts and catalogues."""
        return count_plots(evaluation)

    @classmethod
    def headlines(cls, evaluation: Evaluation) -> list[Headline]:
        """Correlation, power and variance of all halos together."""
        whole = evaluation.record["samples"][0]
        return [
            cls.compared(evaluation, baseline, key, label, sample=whole)
            for baseline, key, label in (
                (BIASED, "r_mean_0.4", "r(k) of the mean field at k = 0.4 h/Mpc"),
                (LOCAL, "power_ratio_0.1_0.2", "P / P_true of the halos, 0.1 < k < 0.2 h/Mpc"),
                (LOCAL, "variance_ratio_1", "variance of counts / true"),
            )
        ]

    @classmethod
    def subject(cls, evaluation: Evaluation) -> str:
        """Say what was evaluated."""
        box = evaluation.record["box"]
        return (
            f"Halos by {', '.join(evaluation.networks)} on {len(evaluation.record['boxes'])} boxes of "
            f"{box['size']:g} Mpc/h at z = {box['redshift']:g}, as in {SOURCE}."
        )

    def _pictured(self, case: CountCase) -> bool:
        """Whether slices are kept: of all halos together in the first box."""
        return case.twin.first and case.sample == self.ranges[0].label

    def _measure_catalogues(
        self, twin: TwinBox, painter: HaloPainter, painted: Sequence[Catalogue]
    ) -> Measured:
        """Statistics of painted catalogues, mean over draws, and with "true_" those of the simulated halos."""
        simulated, halos = twin.simulated, twin.simulated.halos
        low, high = painter.card.mass_edges[0], painter.card.mass_edges[-1]
        kept = (halos.masses >= low) & (halos.masses < high)
        truth = Catalogue(
            halos.positions[kept] % simulated.box.side,
            Box(simulated.box.side),
            redshift=simulated.redshift,
            space="real",
            velocities=halos.velocities[kept],
            masses=halos.masses[kept],
        )
        fewest = min(len(truth), *(len(catalogue) for catalogue in painted))
        number = min(round(self.number_density * simulated.box.volume), fewest)
        edges = self._mass_edges
        cells = 2 * round(FINER * twin.theory.density.box.mesh / 2)

        def statistics(catalogue: Catalogue) -> dict[str, np.ndarray]:
            assert catalogue.masses is not None
            masses = np.histogram(catalogue.masses, edges)[0].astype(np.float64)
            chosen = most_massive(catalogue, number / simulated.box.volume)
            return catalogue_statistics(chosen, simulated.cosmology, cells=cells) | {"masses": masses}

        several = [statistics(catalogue) for catalogue in painted]
        found = {key: np.mean([one[key] for one in several], axis=0) for key in several[0]}
        found |= {f"true_{key}": values for key, values in statistics(truth).items() if key != "k"}
        return Measured({"objects": float(number)}, rows=found, shared={"mass_edges": edges})


def _layers(box: Box) -> int:
    return max(1, round(SLAB / box.cell_size))


def _slice(values: Tensor, box: Box) -> np.ndarray:
    """Sum a few layers, (x, y)."""
    return values[..., : _layers(box)].sum(-1).numpy()
