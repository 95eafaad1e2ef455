"""Velocity and momentum from the density against the truth of simulated boxes, linear theory beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.core import Field, InputError
from peculiar.evaluation.flows.measure import choose_edges, derived_flow, measure_flow, true_counts
from peculiar.evaluation.flows.plots import flow_plots
from peculiar.evaluation.flows.rows import CUBES, LINEAR, PUBLISHED, SMOOTHED, SOURCE, TABLES
from peculiar.evaluation.protocol import Progress, Task, open_boxes
from peculiar.evaluation.record import TRUTH, Arrays, Evaluation, Measured
from peculiar.evaluation.table import score_table
from peculiar.figures.report import Headline, Table
from peculiar.figures.style import Plot
from peculiar.linear.matter import linear_flow, tune_smoothing
from peculiar.simulate.mocks import SimulatedBox, VelocityRule

Predictor = Callable[[Field], Mapping[str, Field]]

SMOOTHING = 2.0  # Mpc/h, where none is tuned
WINDOW = 40.0  # Mpc/h, side of the slices: the paper's
SHOWN_AT = (1.0, 0.9, 0.5)
"""Slices are shown where the variance of the density is at these quantiles of all windows of the first box."""
_SLICED = ("velocity", "momentum", "velocity_divergence", "momentum_curl")


@dataclass(frozen=True, eq=False)
class FlowCase:
    """A simulated box: the density that is given, and the flow that is asked for."""

    box: str
    density: Field
    truth: Mapping[str, Field]
    windows: Sequence[tuple[int, int, int]]
    sample: str = ""


class FlowTask(Task[FlowCase]):
    """Predict velocity and momentum from the true density of boxes and compare with their truth.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes of one kind and cosmology.
    predictors : name -> callable
        Each takes the overdensity, a Field, and returns "velocity" and "momentum" [km/s] on the same box. Baselines
        always run beside them: linear theory, as it is and smoothed.
    settings : mapping
        Where the boxes and the predictors come from, for the record.
    tune_on : sequence of path
        Other boxes, on which the baseline's smoothing is tuned for least velocity error; 2 Mpc/h without.
    velocity : "neighbours", "background" or "volume"
        Definition of the true velocity, see `SimulatedBox.velocity_by`.

    Raises
    ------
    InputError
        If there are no boxes, they differ in kind, one to tune on is also evaluated, or a name is a baseline's.

    Notes
    -----
    Memory 1.1 GB for 128^3 cells, without figures.
    """

    kind = "flow"
    source = SOURCE
    title = "Velocity of a density"
    unit = "predictions"
    baselines = (SMOOTHED, LINEAR)

    def __init__(
        self,
        paths: Sequence[Path | str],
        predictors: Mapping[str, Predictor],
        *,
        settings: Mapping[str, Any],
        tune_on: Sequence[Path | str] = (),
        velocity: VelocityRule = "neighbours",
    ) -> None:
        boxes, tuning = open_boxes(paths, tune_on)
        if taken := set(self.baselines) & set(predictors):
            raise InputError(f"predictors must not have a baseline's name, got {sorted(taken)}")
        self.paths, self.tune_on = [box.path for box in boxes], [box.path for box in tuning]
        self.predictors = dict(predictors)
        self.models = [*predictors, *self.baselines]
        self.settings = {"velocity": velocity, "tune_on": [str(path) for path in self.tune_on], **settings}
        self.velocity = velocity
        self.smoothing = SMOOTHING
        self.definition = boxes[0].velocity_by(velocity).definition
        self._first = boxes[0]
        self._edges: dict[str, np.ndarray] = {}

    @property
    def steps(self) -> int:
        """Every model on every box."""
        return len(self.paths) * len(self.models)

    def tune(self, progress: Progress) -> None:
        """Tune the baseline's smoothing."""
        if self.tune_on:
            validation = [SimulatedBox.open(path) for path in self.tune_on]
            self.smoothing = tune_smoothing(
                [(box.density, box.velocity_by(self.velocity)) for box in validation],
                velocity_factor=self._first.cosmology.velocity_factor(self._first.redshift),
            )

    def prepare(self) -> None:
        """Choose the edges of histograms."""
        for case in self.cases(self.paths[0]):
            self._edges = choose_edges(case.truth, case.density)

    def cases(self, path: Path) -> Iterator[FlowCase]:
        """Open the box."""
        box = SimulatedBox.open(path)
        truth = derived_flow({"velocity": box.velocity_by(self.velocity), "momentum": box.momentum})
        windows = choose_windows(box.density) if path == self.paths[0] else ()
        yield FlowCase(path.name, box.density, truth, windows)

    def truth(self, case: FlowCase) -> dict[tuple[str, str], Measured]:
        """Histograms of the truth, the edges of all histograms, and slices of the first box."""
        return {
            ("", TRUTH): Measured(
                sums=true_counts(case.truth, case.density, edges=self._edges),
                once=_slices({"density": case.density, **case.truth}, case.windows),
                shared={f"edges/{name}": values for name, values in self._edges.items()},
            )
        }

    def contestants(self, case: FlowCase) -> Mapping[str, Callable[[], Mapping[str, Field]]]:
        """Networks, then linear theory with and without smoothing."""
        factor = self._first.cosmology.velocity_factor(self._first.redshift)
        return {
            **{name: partial(predict, case.density) for name, predict in self.predictors.items()},
            SMOOTHED: lambda: linear_flow(case.density, velocity_factor=factor, smoothing=self.smoothing),
            LINEAR: lambda: linear_flow(case.density, velocity_factor=factor),
        }

    def measure(self, case: FlowCase, name: str, prediction: Mapping[str, Field]) -> Measured:
        """Measure a prediction against the box's truth."""
        predicted = derived_flow(prediction)
        measured = measure_flow(predicted, case.truth, case.density, edges=self._edges)
        return replace(measured, once=_slices(predicted, case.windows))

    def compare(self, measured: Mapping[str, Measured]) -> Mapping[str, Measured]:
        """Take the median residual over those of linear theory."""
        smoothed, plain = (measured[name].scores["residual_speed_median"] for name in self.baselines)

        def ratios(scores: Mapping[str, float]) -> dict[str, float]:
            own = scores["residual_speed_median"]
            return {"median_ratio": own / plain, "median_ratio_smoothed": own / smoothed}

        return {
            name: replace(one, scores={**one.scores, **ratios(one.scores)}) for name, one in measured.items()
        }

    def record(self, arrays: Arrays, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Box, definition of the velocity, and the baseline's smoothing."""
        first = self._first
        return {
            "smoothing": self.smoothing,
            "velocity_definition": self.definition,
            "box": {"size": first.box.side, "cells": first.box.mesh, "redshift": first.redshift},
        }

    @classmethod
    def introduction(cls, evaluation: Evaluation) -> str:
        """What was evaluated, and how the tables are to be read."""
        record = evaluation.record
        box, count = record["box"], len(record["boxes"])
        return (
            "# Velocity and momentum from the density of matter\n\n"
            f"{count} box{'es' if count > 1 else ''} of {box['size']:g} Mpc/h, {box['cells']}^3 cells of "
            f"{box['size'] / box['cells']:g} Mpc/h, z = {box['redshift']:g}. Means over boxes, their standard error in "
            "parentheses; ± is the standard deviation over cells. The closest to the ideal is bold.\n\n"
            f"True velocity: {record['velocity_definition']}. {SMOOTHED.capitalize()}: Gaussian of "
            f"{record['smoothing']:g} Mpc/h, {'tuned on other boxes' if record['tuned_on'] else 'not tuned'}; "
            f"{LINEAR}: none.\n\n"
            f"Published figures are of {SOURCE}, measured on its own simulations: power ratios in 64 boxes of "
            "120 Mpc/h, the others in single slices of 40 x 40 x 2 Mpc/h where bulk flows collide. Its powers of "
            "momentum and curl stand beside |p| and |curl p|, where our linear theory comes near the printed one."
        )

    @classmethod
    def tables(cls, evaluation: Evaluation) -> list[Table]:
        """Ratios of powers, and what is measured cell by cell."""
        columns = evaluation.columns()
        return [
            score_table(rows, columns, title=title, truth=True, beside=PUBLISHED)
            for title, rows in TABLES.items()
            if rows != CUBES or any(row.key in scores for scores in columns.values() for row in CUBES)
        ]

    @classmethod
    def plots(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw figures 3 to 6 of the paper."""
        return flow_plots(evaluation)

    @classmethod
    def headlines(cls, evaluation: Evaluation) -> list[Headline]:
        """Correlation, and the powers of speed and momentum."""
        return [
            cls.compared(
                evaluation, LINEAR, "correlation_velocity", "correlation of each velocity component"
            ),
            cls.compared(evaluation, LINEAR, "ratio_speed_0.6", "P / P_true of the speed at k = 0.6 h/Mpc"),
            cls.compared(
                evaluation, LINEAR, "ratio_momentum_0.6", "P / P_true of the momentum at k = 0.6 h/Mpc"
            ),
        ]

    @classmethod
    def subject(cls, evaluation: Evaluation) -> str:
        """Say what was evaluated."""
        box, count = evaluation.record["box"], len(evaluation.record["boxes"])
        return (
            f"Velocity and momentum by {', '.join(evaluation.networks) or 'linear theory'} from the true density of "
            f"{count} boxes of {box['size']:g} Mpc/h at z = {box['redshift']:g}, as in {SOURCE}."
        )


def choose_windows(density: Field) -> list[tuple[int, int, int]]:
    """Choose the slices to show, one layer thick: lowest x and y cell, and z, by the density's variance in them."""
    n = density.box.mesh
    side = window_cells(density)
    count = n // side
    values = density.numpy()[0][: count * side, : count * side]
    spread = values.reshape(count, side, count, side, n).var(axis=(1, 3))
    order = np.argsort(spread, axis=None)
    chosen = [order[round(quantile * (len(order) - 1))] for quantile in SHOWN_AT]
    return [
        (int(i) * side, int(j) * side, int(k))
        for i, j, k in (np.unravel_index(c, spread.shape) for c in chosen)
    ]


def window_cells(density: Field) -> int:
    """Cells along the side of a slice."""
    return min(density.box.mesh, max(1, round(WINDOW / density.box.cell_size)))


def _slices(fields: Mapping[str, Field], windows: Sequence[tuple[int, int, int]]) -> dict[str, np.ndarray]:
    """Cut (channel, x, y) out of fields at each window."""
    cut = {}
    for index, (x, y, z) in enumerate(windows):
        for name in ("density", *_SLICED):
            if name in fields:
                side = window_cells(fields[name])
                cut[f"slice/{index}/{name}"] = fields[name].numpy()[:, x : x + side, y : y + side, z].copy()
    return cut
