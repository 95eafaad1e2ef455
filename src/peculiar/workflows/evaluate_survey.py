"""Velocities in isolated cubes of simulated boxes, as surveys observe them: the protocol of Wang et al. 2024."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peculiar.core import Field, InputError, Reconstructor
from peculiar.core.output import atomic_output, check_output
from peculiar.linear.surroundings import matter_surroundings
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey
from peculiar.workflows.evaluation import SCHEMA, Evaluation
from peculiar.workflows.measure_survey import (
    COSINE_EDGES,
    ERROR_EDGES,
    EVERYWHERE,
    KNOWN,
    VELOCITY_EDGES,
    Cube,
    CubeMeasurement,
    distance_edges,
    measure_cube,
    observed_cube,
    survey_fraction,
)
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.provenance import provenance
from peculiar.workflows.scoreboard import average
from peculiar.workflows.scoreboard_survey import (
    BASELINES,
    ITERATIVE,
    LINEAR,
    OUTSIDE,
    SURROUNDINGS,
    TRUE_PADDED,
    TRUE_PERIODIC,
    TRUE_SURROUNDINGS,
    outside_share,
    survey_markdown,
)
from peculiar.workflows.survey_baselines import (
    TUNED,
    SurveyBaseline,
    kept_baselines,
    outside_response,
    tune_true_density,
)
from peculiar.workflows.survey_flows import inner_field, isolated_flow

CUBES = 8
"""Cubes of a box that is twice as wide."""
CUBE = 300.0  # Mpc/h, side of a cube
TUNING_CUBES = 2
"""Cubes of each validation box."""

Observe = Callable[[SimulatedBox, int], MockSurvey]
Predict = Callable[[MockSurvey, Cube, SimulatedBox], Field]


@dataclass(frozen=True, eq=False)
class _Tuned:
    """What was fitted on the validation cubes of a sample."""

    predictors: dict[str, Predict]
    responses: dict[str, float]
    settings: dict[str, dict[str, Any]]
    left_out: dict[str, str]


def evaluate_survey(
    paths: Sequence[Path | str],
    networks: Mapping[str, Reconstructor],
    samples: Mapping[str, Observe],
    *,
    out: str | Path,
    settings: Mapping[str, Any],
    tune_on: Sequence[Path | str],
    cube: float = CUBE,
    tuning_cubes: int = TUNING_CUBES,
    figures: bool = True,
    force: bool = False,
) -> Path:
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
    out, figures, force : as in `peculiar.workflows.evaluate.evaluate`

    Returns
    -------
    Path
        The directory.

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
    target = check_output(out, overwrite=force, inputs=[*paths, *tune_on])
    boxes = [SimulatedBox.open(path) for path in paths]
    refuse_broken([*paths, *tune_on])
    _check(
        boxes,
        [SimulatedBox.open(path) for path in tune_on],
        networks,
        samples,
        cube=cube,
        tuning_cubes=tuning_cubes,
    )
    first = boxes[0]
    collected = _Collected()
    tuned: dict[str, _Tuned] = {}
    with progress_bar("baselines tuned", total=TUNED * len(samples)) as advance:
        for name, observe in samples.items():
            tuned[name] = _tune(tune_on, networks, observe, cubes=tuning_cubes, advance=advance)
    fractions: dict[bytes, torch.Tensor] = {}
    runs = sum(len(one.predictors) for one in tuned.values())
    with progress_bar("reconstructions", total=len(boxes) * CUBES * runs) as advance:
        for path in paths:
            simulated = SimulatedBox.open(path)  # with its halos in memory; the last one's are gone by now
            for name, observe in samples.items():
                own = tuned[name]
                for number in range(CUBES):
                    survey = observe(simulated, number)
                    smoothing = own.settings[TRUE_PADDED]["smoothing"]
                    truth = observed_cube(simulated, survey, smoothing=smoothing)
                    fraction = survey_fraction(survey, cosmology=simulated.cosmology, found=fractions)
                    collected.start(name, truth)
                    for model, predict in own.predictors.items():
                        predicted = predict(survey, truth, simulated)
                        measured = measure_cube(
                            predicted, truth, response=own.responses[model], fraction=fraction
                        )
                        collected.add(name, model, predicted, measured)
                        advance(1)
                collected.end_box(name)
    inputs = {"cube": cube, "tuning_cubes": tuning_cubes, **settings}
    cells = round(cube / first.box.cell_size)
    record = {
        "schema": SCHEMA,
        "kind": "survey",
        "boxes": [Path(path).name for path in paths],
        "settings": inputs,
        "models": [*networks, *BASELINES],
        "baselines": list(BASELINES),
        "samples": list(samples),
        "baseline_settings": {name: own.settings for name, own in tuned.items()},
        "outside_response": {name: own.responses for name, own in tuned.items()},
        "left_out": {name: own.left_out for name, own in tuned.items() if own.left_out},
        "tuned_on": [Path(path).name for path in tune_on],
        "velocity_definition": first.velocity_definition,
        "box": {"size": first.box.size, "cells": first.box.mesh, "redshift": first.redshift},
        "cubes": {"size": cube, "cells": cells, "number": CUBES * len(boxes)},
        "radial": collected.radial,
        "results": collected.results(),
        "provenance": provenance(settings=inputs, inputs=[*paths, *tune_on]),
    }
    evaluation = Evaluation(record, collected.arrays(cube))
    with atomic_output(target, overwrite=force) as temporary:
        evaluation.save(temporary)
        (temporary / "scores.md").write_text(survey_markdown(record), encoding="utf-8")
        if figures:
            from peculiar.workflows.figures import draw_evaluation

            draw_evaluation(evaluation, temporary / "figures")
    return target


def _tune(
    paths: Sequence[Path | str],
    networks: Mapping[str, Reconstructor],
    observe: Observe,
    *,
    cubes: int,
    advance: Callable[[int], None],
) -> _Tuned:
    """Tune the baselines of one sample, and fit to what extent the flow from outside explains each model's errors."""
    observed: list[tuple[SimulatedBox, MockSurvey]] = []
    for path in paths:
        simulated = SimulatedBox.open(path)
        surveys = [observe(simulated, i * CUBES // cubes) for i in range(cubes)]
        # A box that is opened again has no halos in memory.
        observed += [(SimulatedBox.open(path), survey) for survey in surveys]
    truths = [
        (
            inner_field(survey.density, survey.margin),
            inner_field(survey.velocity, survey.margin),
            box.cosmology.velocity_factor(box.redshift),
        )
        for box, survey in observed
    ]
    smoothings = {
        TRUE_PADDED: tune_true_density(truths, periodic=False),
        TRUE_PERIODIC: tune_true_density(truths, periodic=True),
    }
    smoothings[TRUE_SURROUNDINGS] = smoothings[TRUE_PADDED]
    found_settings = kept_baselines(
        [survey for _, survey in observed],
        cosmology=observed[0][0].cosmology,
        directory=Path(paths[0]).parent / "cache",
        advance=advance,
    )
    classical = dict(zip((LINEAR, ITERATIVE, SURROUNDINGS), found_settings, strict=True))
    predictors: dict[str, Predict] = {name: _observed(network) for name, network in networks.items()}
    predictors |= {name: _observed(baseline) for name, baseline in classical.items()}
    predictors |= {name: _isolated(smoothing, name) for name, smoothing in smoothings.items()}
    cut = [
        (survey, observed_cube(box, survey, smoothing=smoothings[TRUE_PADDED]), box)
        for box, survey in observed
    ]
    responses, left_out = {}, {}
    for name, predict in list(predictors.items()):
        try:
            pairs = [
                (predict(*one), one[1].velocity, one[1].velocity.replace(data=one[1].outside)) for one in cut
            ]
        except InputError as error:
            if name not in networks:
                raise
            left_out[name] = str(error)
            del predictors[name]
            continue
        responses[name] = outside_response(pairs)
    found: dict[str, dict[str, Any]] = {
        name: {**asdict(one.method), "weighting": one.weighting, "error": one.error}
        for name, one in classical.items()
    }
    found |= {name: {"smoothing": smoothing} for name, smoothing in smoothings.items()}
    return _Tuned(predictors, responses, found, left_out)


def _observed(reconstructor: Reconstructor | SurveyBaseline) -> Predict:
    def predict(survey: MockSurvey, truth: Cube, simulated: SimulatedBox) -> Field:
        cells = survey.density.box.mesh
        fields = reconstructor.reconstruct(survey.catalogue, cells=cells, cosmology=simulated.cosmology)
        return inner_field(fields["velocity"], survey.margin)

    return predict


def _isolated(smoothing: float, name: str) -> Predict:
    def predict(survey: MockSurvey, truth: Cube, simulated: SimulatedBox) -> Field:
        cosmology, redshift = simulated.cosmology, simulated.redshift
        factor = cosmology.velocity_factor(redshift)
        flow = isolated_flow(
            truth.density, velocity_factor=factor, smoothing=smoothing, periodic=name == TRUE_PERIODIC
        )
        if name != TRUE_SURROUNDINGS:
            return flow
        expected = matter_surroundings(truth.density, cosmology=cosmology, redshift=redshift)
        return flow.replace(data=flow.data + factor * expected)

    return predict


class _Collected:
    """What has been measured so far: scores by cube, sums of counts, moments by box, and pictures of the first cube."""

    def __init__(self) -> None:
        self.radial: dict[str, bool] = {}
        self._scores: dict[tuple[str, str, str], list[dict[str, float]]] = {}
        self._sums: dict[str, np.ndarray] = {}
        self._moments: dict[str, np.ndarray] = {}
        self._rows: dict[str, list[np.ndarray]] = {}
        self._once: dict[str, np.ndarray] = {}

    def start(self, sample: str, truth: Cube) -> None:
        """Take the truth of the next cube."""
        if sample not in self.radial:
            self.radial[sample] = truth.from_observer is not None
            self._keep(f"{sample}/truth", truth.velocity)
            layers = middle(truth.velocity)
            self._once[f"{sample}/truth/slice/potential"] = truth.potential[layers].mean(-1).numpy()

    def add(self, sample: str, model: str, predicted: Field, measured: CubeMeasurement) -> None:
        """Take what was measured of one prediction of the cube."""
        label = f"{sample}/{model}"
        for part, scores in measured.scores.items():
            self._scores.setdefault((sample, part, model), []).append(scores)
        for key, values in measured.counts.items():
            sums = self._moments if key == "moments" else self._sums
            sums[f"{label}/{key}"] = sums.get(f"{label}/{key}", 0.0) + values
        if f"{label}/row" not in self._once:
            self._keep(label, predicted)

    def end_box(self, sample: str) -> None:
        """Put the moments of one box's cubes away."""
        for key in [key for key in self._moments if key.startswith(f"{sample}/")]:
            self._rows.setdefault(key, []).append(self._moments.pop(key))

    def results(self) -> list[dict[str, Any]]:
        """Return the scores averaged over cubes, one entry per sample, part and model."""
        entries: list[dict[str, Any]] = []
        for (sample, part, model), cubes in self._scores.items():
            # A survey may see all of one cube and not of another: the part "seen" has fewer then.
            scores = {key: average([row[key] for row in cubes]) for key in cubes[0]}
            if part == EVERYWHERE:
                known = [row["rms_error"] for row in self._scores[sample, KNOWN, model]]
                scores[OUTSIDE.key] = outside_share([row["rms_error"] for row in cubes], known)
            entries.append({"sample": sample, "part": part, "model": model, "scores": scores})
        return entries

    def arrays(self, cube: float) -> dict[str, np.ndarray]:
        """Return every array, (box, ...) where boxes have rows of their own."""
        edges = {
            "velocity": VELOCITY_EDGES,
            "error": ERROR_EDGES,
            "cosine": COSINE_EDGES,
            **distance_edges(cube),
        }
        rows = {key: np.stack(values) for key, values in self._rows.items()}
        sums = {key: values.astype(np.float32) for key, values in self._sums.items()}
        return {f"edges/{name}": values for name, values in edges.items()} | rows | sums | self._once

    def _keep(self, label: str, velocity: Field) -> None:
        """Keep v_x along a row of cells, and the two middle layers of the centre."""
        place = velocity.box.mesh // 3
        self._once[f"{label}/row"] = velocity.numpy()[0, place, place].copy()
        self._once[f"{label}/slice/velocity"] = velocity.numpy()[(slice(None), *middle(velocity))].copy()


def middle(field: Field) -> tuple[slice, slice, slice]:
    """Return the cells of a slice through a cube's centre: a third of the side wide, two cells thick."""
    n = field.box.mesh
    rows = slice(n // 3, n - n // 3)
    return rows, rows, slice(n // 2 - 1, n // 2 + 1)


def _check(
    boxes: Sequence[SimulatedBox],
    tuning: Sequence[SimulatedBox],
    networks: Mapping[str, Reconstructor],
    samples: Mapping[str, Observe],
    *,
    cube: float,
    tuning_cubes: int,
) -> None:
    if not boxes or not samples:
        raise InputError("paths and samples must hold at least one simulated box and one sample, got none")
    if not tuning:
        raise InputError(
            "tune_on must hold at least one other box to tune the baselines on, got none: give --tune-on 501-502"
        )
    if not 1 <= tuning_cubes <= CUBES:
        raise InputError(f"tuning_cubes must lie in 1 to {CUBES}, got {tuning_cubes}")
    first = boxes[0]
    for box in (*boxes, *tuning):
        # Boxes to tune on may be at another redshift: that is the test of z = 0.21.
        if (box.box, box.cosmology) != (first.box, first.cosmology) or (
            box in boxes and box.redshift != first.redshift
        ):
            raise InputError(
                f"boxes must be of one kind and cosmology, got {box.path} unlike {first.path}: evaluate them apart"
            )
    cells = cube / first.box.cell_size
    if abs(cells - round(cells)) > 1e-6 or 2 * round(cells) > first.box.mesh:
        raise InputError(
            f"simulated boxes must hold two cubes of {cube:g} Mpc/h along a side, in whole cells, got "
            f"{first.box.size:g} Mpc/h with {first.box.mesh} cells: simulate with --box {2 * cube:g} "
            f"--cells {round(2 * cube / 5)}"
        )
    if shared := {box.seed for box in tuning} & {box.seed for box in boxes}:
        raise InputError(f"tune_on must hold boxes that are not evaluated, got the seeds {sorted(shared)}")
    if taken := {*BASELINES, "truth"} & set(networks):
        raise InputError(f"networks must not have a baseline's name, got {sorted(taken)}")
