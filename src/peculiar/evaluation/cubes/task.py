"""Velocities in isolated cubes of simulated boxes, as surveys observe them: the protocol of Wang et al. 2024."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peculiar.core import Field, InputError, Reconstructor
from peculiar.evaluation.cubes.baselines import TUNED
from peculiar.evaluation.cubes.contestants import CUBES, Observe, Tuned, tune_sample
from peculiar.evaluation.cubes.measure import (
    COSINE_EDGES,
    ERROR_EDGES,
    EVERYWHERE,
    KNOWN,
    VELOCITY_EDGES,
    Cube,
    distance_edges,
    measure_cube,
    observed_cube,
    survey_fraction,
)
from peculiar.evaluation.cubes.plots import cube_plots, of_sample, transfer_plots
from peculiar.evaluation.cubes.rows import (
    BASELINES,
    GOALS,
    ITERATIVE,
    OUTSIDE,
    PARTS,
    PUBLISHED,
    ROWS,
    SOURCE,
    TRUE_PADDED,
    beside,
    outside_share,
    tuned_text,
)
from peculiar.evaluation.protocol import Progress, Task, open_boxes
from peculiar.evaluation.record import TRUTH, Arrays, Collected, Evaluation, Measured
from peculiar.evaluation.scores import Score
from peculiar.evaluation.table import score_table
from peculiar.figures.report import Headline, Table
from peculiar.figures.style import Plot
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey

CUBE = 300.0  # Mpc/h, side of a cube
TUNING_CUBES = 2
"""Cubes of each validation box."""

_TILES = {
    "slope": ("fitting slope of predicted on true velocity", "{:.2f}"),
    "within_residual": ("of voxels within 200 km/s of the truth", "{:.1%}"),
    "cosine": ("mean cosine of the angle to the truth", "{:.2f}"),
    "coherence": ("average coherence", "{:.2f}"),
    OUTSIDE.key: ("of the squared error comes from outside the cube", "{:.0%}"),
}


@dataclass(frozen=True, eq=False)
class CubeCase:
    """A cube as a survey observes it, with its truth and the fraction of it that the survey determines."""

    simulated: SimulatedBox
    sample: str
    survey: MockSurvey
    truth: Cube
    fraction: torch.Tensor

    @property
    def box(self) -> str:
        """File of the box."""
        return self.simulated.path.name


class CubeTask(Task[CubeCase]):
    """Reconstruct the velocity in isolated cubes of simulated boxes and compare with their truth.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes of one kind and cosmology, twice as wide as the cubes or more.
    networks : name -> reconstructor
        One that needs masses is left out where a sample has none, which the tables say. Baselines always run beside
        them: linear theory on the true density of the cube, padded and periodic; linear theory and the iterative FFT on
        the observed tracers, and the latter with the matter expected outside.
    samples : name -> callable
        Each takes a box and a number from 0 to 7 and returns what a survey sees of a cube, and its truth.
    settings : mapping
        Where the boxes and the networks come from, for the record.
    tune_on : sequence of path
        Other boxes, which may be at another redshift, on which the baselines are tuned for least velocity error, for
        each sample apart. What was found is kept in the folder ``cache`` beside them.
    cube : float
        Side of the cubes [Mpc/h].
    tuning_cubes : int
        Cubes of each box to tune on, 1 to 8.

    Raises
    ------
    InputError
        If there are no boxes or samples, boxes differ in kind or are too small for the cubes, none to tune on is given
        or one is also evaluated, or a name is a baseline's.

    Notes
    -----
    Cubes are observed one at a time; only the validation cubes of one sample are held together. Observing a box of
    600 Mpc/h, whose halos take most of it, needs 1.2 GB. A cube of 60^3 cells with 2e5 tracers takes 1.5 s of one core
    beside the reconstructions. Tuning runs linear theory 33 or 66 times and the iterative FFT about 40 times on each
    validation cube.
    """

    kind = "survey"
    source = SOURCE
    title = "Isolated cubes"
    unit = "reconstructions"
    reconstructs = True
    baselines = BASELINES

    def __init__(
        self,
        paths: Sequence[Path | str],
        networks: Mapping[str, Reconstructor],
        samples: Mapping[str, Observe],
        *,
        settings: Mapping[str, Any],
        tune_on: Sequence[Path | str],
        cube: float = CUBE,
        tuning_cubes: int = TUNING_CUBES,
    ) -> None:
        if not paths or not samples:
            raise InputError(
                "paths and samples must hold at least one simulated box and one sample, got none"
            )
        if not tune_on:
            raise InputError(
                "tune_on must hold at least one other box to tune the baselines on, got none: give --tune-on 501-502"
            )
        if not 1 <= tuning_cubes <= CUBES:
            raise InputError(f"tuning_cubes must lie in 1 to {CUBES}, got {tuning_cubes}")
        if taken := {*BASELINES, TRUTH} & set(networks):
            raise InputError(f"networks must not have a baseline's name, got {sorted(taken)}")
        # Boxes to tune on may be at another redshift: that is the test of z = 0.21.
        boxes, tuning = open_boxes(
            paths, tune_on, tuned_alike=lambda box: (box.box, box.cosmology), words="the mesh and cosmology"
        )
        first = boxes[0]
        cells = cube / first.box.cell_size
        if abs(cells - round(cells)) > 1e-6 or 2 * round(cells) > first.box.mesh:
            raise InputError(
                f"simulated boxes must hold two cubes of {cube:g} Mpc/h along a side, in whole cells, got "
                f"{first.box.side:g} Mpc/h with {first.box.mesh} cells: simulate with --box {2 * cube:g} "
                f"--cells {round(2 * cube / 5)}"
            )
        self.paths, self.tune_on = [box.path for box in boxes], [box.path for box in tuning]
        self.networks, self.samples = dict(networks), dict(samples)
        self.models = [*networks, *BASELINES]
        self.settings = {"cube": cube, "tuning_cubes": tuning_cubes, **settings}
        self.cube, self.tuning_cubes = cube, tuning_cubes
        self._first = first
        self._tuned: dict[str, Tuned] = {}
        self._fractions: dict[bytes, torch.Tensor] = {}

    @property
    def steps(self) -> int:
        """Every model of each sample on every cube."""
        return len(self.paths) * CUBES * sum(len(one.predictors) for one in self._tuned.values())

    def tune(self, progress: Progress) -> None:
        """Tune the baselines of each sample."""
        with progress("baselines tuned", total=TUNED * len(self.samples)) as advance:
            for name, observe in self.samples.items():
                self._tuned[name] = tune_sample(
                    self.tune_on, self.networks, observe, cubes=self.tuning_cubes, advance=advance
                )

    def cases(self, path: Path) -> Iterator[CubeCase]:
        """Observe the cubes of each sample of a box."""
        simulated = SimulatedBox.open(path)  # with its halos in memory; the last one's are gone by now
        for name, observe in self.samples.items():
            smoothing = self._tuned[name].settings[TRUE_PADDED]["smoothing"]
            for number in range(CUBES):
                survey = observe(simulated, number)
                truth = observed_cube(simulated, survey, smoothing=smoothing)
                fraction = survey_fraction(survey, cosmology=simulated.cosmology, found=self._fractions)
                yield CubeCase(simulated, name, survey, truth, fraction)

    def truth(self, case: CubeCase) -> dict[tuple[str, str], Measured]:
        """A row of cells, a slice of velocity and potential, and the edges of histograms."""
        velocity = case.truth.velocity
        potential = case.truth.potential[middle(velocity)].mean(-1).numpy()
        edges = {
            "velocity": VELOCITY_EDGES,
            "error": ERROR_EDGES,
            "cosine": COSINE_EDGES,
            **distance_edges(self.cube),
        }
        return {
            (case.sample, TRUTH): Measured(
                once={**_pictured(velocity), "slice/potential": potential},
                shared={f"edges/{name}": values for name, values in edges.items()},
            )
        }

    def contestants(self, case: CubeCase) -> Mapping[str, Callable[[], Field]]:
        """Networks that can do the sample, then the baselines."""
        return {
            name: partial(predict, case.survey, case.truth, case.simulated)
            for name, predict in self._tuned[case.sample].predictors.items()
        }

    def measure(self, case: CubeCase, name: str, prediction: Field) -> Measured:
        """Measure a prediction against the cube's truth, in all its parts."""
        response = self._tuned[case.sample].responses[name]
        measured = measure_cube(prediction, case.truth, response=response, fraction=case.fraction)
        return replace(measured, once=_pictured(prediction))

    def pool(
        self, arrays: Arrays, collected: Collected, model: str, sample: str, part: str
    ) -> dict[str, Score]:
        """The share of the squared error that the flow from outside explains."""
        if part != EVERYWHERE:
            return {}
        errors, known = (
            [cube["rms_error"] for cube in collected.scores[sample, one, model]]
            for one in (EVERYWHERE, KNOWN)
        )
        return {OUTSIDE.key: outside_share(errors, known)}

    def record(self, arrays: Arrays, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Samples and cubes, and what the baselines were tuned to."""
        first, tuned = self._first, self._tuned
        return {
            "samples": list(self.samples),
            "baseline_settings": {name: own.settings for name, own in tuned.items()},
            "outside_response": {name: own.responses for name, own in tuned.items()},
            "left_out": {name: own.left_out for name, own in tuned.items() if own.left_out},
            "velocity_definition": first.velocity_definition,
            "box": {"size": first.box.side, "cells": first.box.mesh, "redshift": first.redshift},
            "cubes": {
                "size": self.cube,
                "cells": round(self.cube / first.box.cell_size),
                "number": CUBES * len(self.paths),
            },
            "radial": {name: own.radial for name, own in tuned.items()},
        }

    @classmethod
    def introduction(cls, evaluation: Evaluation) -> str:
        """What was evaluated, and how the tables are to be read."""
        record = evaluation.record
        box, cubes, count = record["box"], record["cubes"], len(record["boxes"])
        return (
            "# Velocities in isolated cubes\n\n"
            f"{cubes['number']} cubes of {cubes['size']:g} Mpc/h ({cubes['cells']}^3 cells) from {count} "
            f"box{'es' if count > 1 else ''} of {box['size']:g} Mpc/h, z = {box['redshift']:g}. Means over "
            "cubes, their standard error in parentheses (cubes of one box share its large waves, which this leaves "
            f"out). The closest to the ideal is bold. Published values are of {SOURCE}, on its own simulations. "
            f"Baselines are tuned on {', '.join(record['tuned_on'])}."
        )

    @classmethod
    def tables(cls, evaluation: Evaluation) -> list[Table]:
        """Every part of every sample; below the first what the baselines were tuned to."""
        found = []
        for sample in evaluation.record["samples"]:
            for part, title in PARTS.items():
                columns = evaluation.columns(sample=sample, part=part)
                if columns:
                    note = "; ".join(tuned_text(evaluation.record, sample)) if part == EVERYWHERE else ""
                    others = beside(sample, part, redshift=evaluation.record["box"]["redshift"])
                    found.append(
                        score_table(ROWS, columns, title=f"{sample}, {title}", note=note, beside=others)
                    )
        return found

    @classmethod
    def plots(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw figures 5 to 10, 13 and 14 of the paper, and errors by place."""
        return cube_plots(evaluation)

    @classmethod
    def shown(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw the figures of the first sample, and of transfers."""
        return [*of_sample(evaluation, evaluation.record["samples"][0]), *transfer_plots(evaluation)]

    @classmethod
    def headlines(cls, evaluation: Evaluation) -> list[Headline]:
        """The first model's key numbers in the first sample, beside the iterative FFT's and the paper's."""
        sample = evaluation.record["samples"][0]
        columns = evaluation.columns(sample=sample, part=EVERYWHERE)
        model, own = next(iter(columns.items()))
        published: Mapping[str, str] = next(iter(PUBLISHED.get(sample, {}).values()), {})
        tiles = []
        for key, (label, pattern) in _TILES.items():
            context = [f"{model}, {sample}"]
            if model != ITERATIVE:
                context.append(f"{ITERATIVE} {pattern.format(columns[ITERATIVE][key]['mean'])}")
            if key in published:
                context.append(f"{SOURCE} {pattern.format(float(published[key]))}")
            if key in GOALS.get(sample, {}):
                context.append(f"goal {pattern.format(float(GOALS[sample][key]))}")
            tiles.append(Headline(pattern.format(own[key]["mean"]), label, "; ".join(context)))
        return tiles

    @classmethod
    def subject(cls, evaluation: Evaluation) -> str:
        """Say what was evaluated."""
        record = evaluation.record
        cubes, box = record["cubes"], record["box"]
        return (
            f"Velocities by {', '.join(evaluation.networks) or 'classical reconstructions'} in {cubes['number']} "
            f"isolated cubes of {cubes['size']:g} Mpc/h from simulated boxes of {box['size']:g} Mpc/h at z = "
            f"{box['redshift']:g}, observed as {', '.join(record['samples'])}; as in {SOURCE}."
        )


def middle(field: Field) -> tuple[slice, slice, slice]:
    """Return the cells of a slice through a cube's centre: a third of the side wide, two cells thick."""
    n = field.box.mesh
    rows = slice(n // 3, n - n // 3)
    return rows, rows, slice(n // 2 - 1, n // 2 + 1)


def _pictured(velocity: Field) -> dict[str, np.ndarray]:
    """Return v_x along a row of cells, and the two middle layers of the centre."""
    place = velocity.box.mesh // 3
    return {
        "row": velocity.numpy()[0, place, place].copy(),
        "slice/velocity": velocity.numpy()[(slice(None), *middle(velocity))].copy(),
    }
