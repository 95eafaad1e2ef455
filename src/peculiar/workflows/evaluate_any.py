"""Which evaluation a run and its models ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from peculiar.core import Catalogue, Field, InputError
from peculiar.core.output import refuse_inputs
from peculiar.inference.emulator import FlowEmulator
from peculiar.inference.model_card import (
    AnyCard,
    ModelCard,
    Task,
    available_models,
    find_model,
    read_card,
    task_of,
)
from peculiar.inference.painting import HaloPainter
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey, TracerSettings, box_tracers
from peculiar.simulate.runs import open_run
from peculiar.training.survey_cubes import SAMPLES, SurveyVariant, observe_cube
from peculiar.workflows.evaluate import evaluate
from peculiar.workflows.evaluate_displacement import evaluate_displacements
from peculiar.workflows.evaluate_flow import Predictor, evaluate_flow
from peculiar.workflows.evaluate_paint import evaluate_paint
from peculiar.workflows.evaluate_survey import Observe, evaluate_survey
from peculiar.workflows.reconstruct import CLASSICAL

Kind = Task | Literal["survey"]

OPTIONS: dict[Kind, tuple[str, ...]] = {
    "reconstruct": ("satellite_fraction", "line_of_sight", "number_density", "seed", "tune_on"),
    "displace": (),
    "flow": ("velocity", "tune_on"),
    "paint": ("number_density", "tune_on", "tune_run"),
    "survey": ("samples", "tune_on", "tune_run"),
}
"""What each kind of evaluation may be told beside run, models, seeds and figures."""
SURVEY_INPUTS = ("survey", "observed")
"""Kinds of inputs of networks that are evaluated in isolated cubes."""


def evaluate_any(
    run: str | Path,
    *,
    out: str | Path,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    tune_on: Sequence[int] | None = None,
    options: Mapping[str, Any],
    figures: bool = True,
    force: bool = False,
) -> Path:
    """Evaluate models on a run: `evaluate`, or a sibling for displacements, flows, painted halos or surveys.

    Parameters
    ----------
    run : path
        Directory of `peculiar simulate`, or one box file.
    out : path
        Directory to write.
    models : sequence of str, optional
        Default: every model of the package, and the classical ones, for what a run of boxes or pairs is made for.
    seeds, tune_on : sequence of int, optional
        Boxes or pairs to evaluate, and other boxes to tune the baselines on.
    options : mapping
        Settings of the evaluation; None for those that were not given. "tune_run" is the run that holds the boxes of
        `tune_on`, by default the one that is evaluated. "samples" asks for the protocol of surveys.
    figures, force : bool
        See `evaluate`.

    Raises
    ------
    InputError
        If the models are for different tasks, or an option does not belong to the task.
    """
    refuse_inputs(out, [run, options.get("tune_run"), *_weights(models)])
    task = _task(run, models, surveys=options.get("samples") is not None)
    given = {name: value for name, value in (*options.items(), ("tune_on", tune_on)) if value is not None}
    if foreign := [name for name in given if name not in OPTIONS[task]]:
        flags = {"satellite_fraction": "satellites", "line_of_sight": "los", "samples": "sample"}
        flag = flags.get(foreign[0], foreign[0])
        raise InputError(
            f"--{flag.replace('_', '-')} must not be given for models of the task {task!r}, got "
            f"{given[foreign[0]]!r}: leave it out"
        )
    common: dict[str, Any] = {"out": out, "figures": figures, "force": force}
    if task == "displace":
        return evaluate_displacements(run, models=models, seeds=seeds, **common)
    if task == "reconstruct":
        chosen = models or [*_shipped("reconstruct"), *CLASSICAL]
        return evaluate(run, models=chosen, boxes=seeds, **given, **common)
    models = models or _shipped("survey")
    paths = open_run(run, seeds)
    tuning = [] if tune_on is None else open_run(given.get("tune_run", run), tune_on)
    settings = {"run": str(run), "models": list(models)}
    if task == "survey":
        networks = {one.name: one for one in (NeuralReconstructor.load(name) for name in models)}
        samples = _samples(given.get("samples"))
        settings["samples"] = list(samples)
        return evaluate_survey(paths, networks, samples, settings=settings, tune_on=tuning, **common)
    if task == "paint":
        painters = [HaloPainter.load(name) for name in models]
        named = {painter.card.name: painter for painter in painters}
        chosen_density = {name: given[name] for name in ("number_density",) if name in given}
        return evaluate_paint(paths, named, settings=settings, tune_on=tuning, **chosen_density, **common)
    emulators = [FlowEmulator.load(name) for name in models]
    box = SimulatedBox.open(paths[0])
    predictors: dict[str, Predictor] = {}
    for emulator in emulators:
        predictors |= _predictors(emulator, box)
    rule = {} if "velocity" not in given else {"velocity": given["velocity"]}
    return evaluate_flow(paths, predictors, settings=settings, tune_on=tuning, **rule, **common)


def _weights(models: Sequence[str] | None) -> list[Path]:
    """Return the cards of models; the classical ones have none."""
    return [find_model(name) for name in models or () if name not in CLASSICAL]


def _predictors(emulator: FlowEmulator, box: SimulatedBox) -> dict[str, Predictor]:
    """Fields of least error and of unbiased power; both are asked for one density after the other."""

    @lru_cache(maxsize=1)
    def flow(density: Field) -> Mapping[str, Field]:
        return emulator.flow(density, box.cosmology, redshift=box.redshift)

    def predictor(suffix: str) -> Predictor:
        return lambda density: {name: flow(density)[name + suffix] for name in ("velocity", "momentum")}

    name = emulator.card.name
    return {name: predictor(""), f"{name}, unbiased power": predictor("_unbiased")}


def _samples(names: Sequence[str] | None) -> dict[str, Observe]:
    """Return how the cubes of each sample are observed; of all samples without names."""
    chosen = list(SAMPLES) if names is None else list(names)
    if unknown := [name for name in chosen if name not in SAMPLES]:
        raise InputError(f"--sample must be one of {', '.join(SAMPLES)}, got {unknown[0]!r}")

    @lru_cache(maxsize=1)  # those of one box may fill a gigabyte
    def tracers(simulated: SimulatedBox, settings: TracerSettings) -> Catalogue:
        return box_tracers(simulated, settings, seed=simulated.seed)

    def observe(variant: SurveyVariant) -> Observe:
        def cube(simulated: SimulatedBox, number: int) -> MockSurvey:
            found = tracers(simulated, variant.tracers())
            return observe_cube(simulated, variant, number=number, tracers=found)

        return cube

    return {name: observe(SAMPLES[name]) for name in chosen}


def _task(run: str | Path, models: Sequence[str] | None, *, surveys: bool) -> Kind:
    if Path(run).is_dir() and any(Path(run).glob("pair-*.h5")):
        return "displace"
    tasks: set[Kind] = {
        "reconstruct" if name in CLASSICAL else _kind(read_card(find_model(name))) for name in models or ()
    }
    if surveys:  # asked for by a sample, with or without a model
        tasks.add("survey")
    if len(tasks) > 1:
        raise InputError(f"models must be for one task, got {', '.join(sorted(tasks))}: evaluate them apart")
    return tasks.pop() if tasks else "reconstruct"


def _shipped(kind: Kind) -> list[str]:
    return [name for name in available_models() if _kind(read_card(find_model(name))) == kind]


def _kind(card: AnyCard) -> Kind:
    """Return what a card's model is evaluated by: networks for surveys have inputs of their own."""
    if isinstance(card, ModelCard) and card.inputs.kind in SURVEY_INPUTS:
        return "survey"
    return task_of(card)
