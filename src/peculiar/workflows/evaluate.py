"""Which evaluation a run and its models ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from peculiar.core import Catalogue, InputError
from peculiar.core.limits import Device, choose_device
from peculiar.core.output import check_output
from peculiar.core.workers import Workers
from peculiar.evaluation.counts.task import CountTask
from peculiar.evaluation.cubes.contestants import Observe
from peculiar.evaluation.cubes.samples import choose_samples
from peculiar.evaluation.cubes.task import CubeTask
from peculiar.evaluation.displacements.task import DisplacementTask
from peculiar.evaluation.flows.task import FlowTask, Predictor
from peculiar.evaluation.protocol import Task
from peculiar.evaluation.record import Kind
from peculiar.evaluation.tracers.task import TracerTask
from peculiar.inference.emulator import DisplacementEmulator, FlowEmulator
from peculiar.inference.model_card import (
    AnyCard,
    ModelCard,
    ReaderCard,
    available_models,
    find_model,
    read_card,
)
from peculiar.inference.painting import HaloPainter
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.simulate.mocks import SimulatedBox, VelocityRule
from peculiar.simulate.pairs import DisplacementPair
from peculiar.simulate.regions import MockSurvey, TracerSettings, box_tracers
from peculiar.simulate.runs import open_pairs, open_run, seed_of
from peculiar.training.survey_cubes import SurveyVariant, observe_cube
from peculiar.workflows.judge import judge
from peculiar.workflows.reconstruct import CLASSICAL, make_reconstructor
from peculiar.workflows.simulate import run_cosmology

N = TypeVar("N", DisplacementEmulator, FlowEmulator, HaloPainter, NeuralReconstructor)
_FLAGS = {"satellite_fraction": "satellites", "line_of_sight": "los", "samples": "sample"}
"""Options that the command line calls otherwise."""


def evaluate(
    run: str | Path,
    *,
    out: str | Path,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    tune_on: Sequence[int] | None = None,
    tune_run: str | Path | None = None,
    satellite_fraction: Sequence[float] | None = None,
    line_of_sight: Literal["x", "y", "z"] | None = None,
    number_density: float | None = None,
    seed: int | None = None,
    velocity: VelocityRule | None = None,
    samples: Sequence[str] | None = None,
    figures: bool = True,
    device: Device = "auto",
    workers: Workers = None,
    force: bool = False,
) -> Path:
    """Evaluate models on a run: on tracers, isolated cubes, displacements, flows or painted halos, as models ask for.

    What was not given takes the default of the models' task; what a task does not have must not be given.

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
    tune_run : path, optional
        Run that holds the boxes of `tune_on`, for painters and surveys; by default the one that is evaluated.
    satellite_fraction : sequence of float, optional
        Fractions of satellites among tracers, one evaluation each.
    line_of_sight : "x", "y" or "z", optional
        Of tracers.
    number_density : float [(h/Mpc)^3], optional
        Of tracers or painted halos.
    seed : int, optional
        Of the satellites.
    velocity : "neighbours", "background" or "volume", optional
        True velocity for density-to-velocity models.
    samples : sequence of str, optional
        How isolated cubes are observed; asks for the protocol of surveys.
    figures : bool
        Also draw the figures, as PDF and PNG.
    device : "auto", "cpu" or "cuda"
        Of networks: "auto" takes a GPU where torch sees one. The workers' are of its kind.
    workers : int or str, optional
        Processes of this machine, or the address of a dask scheduler whose workers see `run`: each judges whole boxes
        (`peculiar.core.workers.crew`).
    force : bool
        Replace an evaluation that is there.

    Raises
    ------
    InputError
        If the models are for different tasks, or an option does not belong to the task.
    """
    options = {
        "tune_run": tune_run,
        "satellite_fraction": satellite_fraction,
        "line_of_sight": line_of_sight,
        "number_density": number_density,
        "seed": seed,
        "velocity": velocity,
        "samples": samples,
        "tune_on": tune_on,
    }
    given = {name: value for name, value in options.items() if value is not None}
    weights = [find_model(name) for name in models or () if name not in CLASSICAL]
    check_output(out, overwrite=force, inputs={"run": run, "--tune-run": tune_run, "--model": weights})
    kind = _kind(run, models, surveys=samples is not None)
    make, known = _TASKS[kind]
    if foreign := [name for name in given if name not in known]:
        name, flag = foreign[0], _FLAGS.get(foreign[0], foreign[0]).replace("_", "-")
        rule = f"must not be given for models of the task {kind!r}, got {given[name]!r}: leave it out"
        raise InputError(f"{name} {rule}", command=f"--{flag} {rule}")
    task = make(_Request(run, models, seeds, choose_device(device), given))
    return judge(task, out=out, figures=figures, workers=workers, force=force)


@dataclass(frozen=True)
class _Request:
    """What is asked for; options are those that the task has."""

    run: str | Path
    models: Sequence[str] | None
    seeds: Sequence[int] | None
    device: Literal["cpu", "cuda"]
    options: Mapping[str, Any]

    @property
    def boxes(self) -> list[Path]:
        """Boxes to evaluate."""
        return open_run(self.run, self.seeds)

    @property
    def tuning(self) -> list[Path]:
        """Boxes to tune on."""
        seeds = self.options.get("tune_on")
        return [] if seeds is None else open_run(self.options.get("tune_run", self.run), seeds)

    def placed(self, model: N) -> N:
        """Move a network to the device."""
        model.module.to(self.device)
        return model

    def settings(self, models: Sequence[str]) -> dict[str, Any]:
        """Where boxes and models come from, for the record."""
        return {"run": str(self.run), "models": list(models)}

    def chosen(self, *names: str) -> dict[str, Any]:
        """Options of these names that were given."""
        return {name: self.options[name] for name in names if name in self.options}


def _tracers(request: _Request) -> TracerTask:
    models = request.models or [*_shipped("reconstruct"), *CLASSICAL]
    # The iterative FFT comes first: the others are compared with it.
    made = {
        name: make_reconstructor(name, device=request.device)[0]
        for name in dict.fromkeys(["iterative", *models])
    }
    networks = [one for one in made.values() if isinstance(one, NeuralReconstructor)]
    by_mass = [one.name for one in networks if one.card.inputs.weighting == "mass"]
    return TracerTask(
        request.boxes,
        list(made.values()),
        baselines=[made[name].name for name in made if name in CLASSICAL],
        settings=request.settings(models) | {"mass_weighted": by_mass},
        tune_on=request.tuning,
        **request.chosen("satellite_fraction", "line_of_sight", "number_density", "seed"),
    )


def _displacements(request: _Request) -> DisplacementTask:
    names = request.models or available_models("displace")
    paths = open_pairs(request.run)
    if request.seeds is not None:
        found = {seed_of(path): path for path in paths}
        missing = [seed for seed in request.seeds if seed not in found]
        if missing or not request.seeds:
            raise InputError(
                f"seeds must be those of {request.run}, got {missing or 'none'}: it holds {len(found)}"
            )
        paths = [found[seed] for seed in request.seeds]
    emulators = [request.placed(DisplacementEmulator.load(name)) for name in names]
    if not request.models and paths:
        redshift = DisplacementPair.open(paths[0]).redshift
        emulators = [one for one in emulators if one.knows(redshift)]
    cosmology = run_cosmology(request.run)
    return DisplacementTask(paths, emulators, cosmology=cosmology, settings={"run": str(request.run)})


def _flows(request: _Request) -> FlowTask:
    models = request.models or _shipped("flow")
    paths = request.boxes
    box = SimulatedBox.open(paths[0])
    predictors: dict[str, Predictor] = {}
    for name in models:
        predictors |= _predictors(request.placed(FlowEmulator.load(name)), box)
    return FlowTask(
        paths,
        predictors,
        settings=request.settings(models),
        tune_on=request.tuning,
        **request.chosen("velocity"),
    )


def _counts(request: _Request) -> CountTask:
    models = request.models or _shipped("paint")
    painters = [request.placed(HaloPainter.load(name)) for name in models]
    return CountTask(
        request.boxes,
        {painter.card.name: painter for painter in painters},
        settings=request.settings(models),
        tune_on=request.tuning,
        **request.chosen("number_density"),
    )


def _cubes(request: _Request) -> CubeTask:
    models = [*_shipped("survey"), "wiener"] if request.models is None else request.models
    made = [make_reconstructor(name, device=request.device)[0] for name in models]
    samples = _samples(request.options.get("samples"))
    return CubeTask(
        request.boxes,
        {one.name: one for one in made},
        samples,
        settings={**request.settings(models), "samples": list(samples)},
        tune_on=request.tuning,
    )


_TASKS: dict[Kind, tuple[Callable[[_Request], Task[Any]], tuple[str, ...]]] = {
    "reconstruct": (_tracers, ("satellite_fraction", "line_of_sight", "number_density", "seed", "tune_on")),
    "displace": (_displacements, ()),
    "flow": (_flows, ("velocity", "tune_on")),
    "paint": (_counts, ("number_density", "tune_on", "tune_run")),
    "survey": (_cubes, ("samples", "tune_on", "tune_run")),
}
"""How each evaluation is made, and what it may be told beside run, models, seeds and figures."""


_CLASSICAL: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(CLASSICAL, ("reconstruct",)),
    "wiener": ("reconstruct", "survey"),
}
"""What the reconstructors without weights are evaluated by; others are tuned in surveys, and always stand there."""


class _Last:
    """A function that keeps its last result; it travels to other processes without."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._found: tuple[tuple[Any, ...], Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._found is None or self._found[0] != arguments:
            self._found = None  # before the next takes its memory
            self._found = arguments, self._function(*arguments)
        return self._found[1]

    def __reduce__(self) -> tuple[type[_Last], tuple[Callable[..., Any]]]:
        return _Last, (self._function,)


def _predictors(emulator: FlowEmulator, box: SimulatedBox) -> dict[str, Predictor]:
    """Fields of least error and of unbiased power; both are asked for one density after the other."""
    flow = _Last(partial(emulator.flow, cosmology=box.cosmology, redshift=box.redshift))

    def predictor(suffix: str) -> Predictor:
        return lambda density: {
            name: flow(density)[name + suffix].to("cpu") for name in ("velocity", "momentum")
        }

    name = emulator.card.name
    return {name: predictor(""), f"{name}, unbiased power": predictor("_unbiased")}


def _samples(names: Sequence[str] | None) -> dict[str, Observe]:
    """Return how the cubes of each sample are observed; of all samples without names."""

    def box_objects(simulated: SimulatedBox, settings: TracerSettings) -> Catalogue:
        return box_tracers(simulated, settings, seed=simulated.seed)

    tracers = _Last(box_objects)  # those of one box may fill a gigabyte

    def observe(variant: SurveyVariant) -> Observe:
        def cube(simulated: SimulatedBox, number: int) -> MockSurvey:
            found = tracers(simulated, variant.tracers())
            return observe_cube(simulated, variant, number=number, tracers=found)

        return cube

    return {name: observe(variant) for name, variant in choose_samples(names).items()}


def _kind(run: str | Path, models: Sequence[str] | None, *, surveys: bool) -> Kind:
    if Path(run).is_dir() and any(Path(run).glob("pair-*.h5")):
        return "displace"
    kinds: list[tuple[Kind, ...]] = [
        _CLASSICAL.get(name) or _kinds_of(read_card(find_model(name))) for name in models or ()
    ]
    if surveys:  # asked for by a sample, with or without a model
        kinds.append(("survey",))
    if not kinds:
        return "reconstruct"
    shared = [kind for kind in kinds[0] if all(kind in others for others in kinds)]
    if not shared:
        tasks = sorted({kind for own in kinds for kind in own})
        raise InputError(f"models must be for one task, got {', '.join(tasks)}: evaluate them apart")
    return shared[0]


def _shipped(kind: Kind) -> list[str]:
    return [name for name in available_models() if kind in _kinds_of(read_card(find_model(name)))]


def _kinds_of(card: AnyCard) -> tuple[Kind, ...]:
    """Return what a card's model can be evaluated by, the usual one first: a survey's regions end at their faces."""
    if isinstance(card, ReaderCard):
        raise InputError(
            f"model must be one whose fields are evaluated, got {card.name!r}, which reads velocities at objects off "
            "them: evaluate one that reconstructs, of `peculiar models`"
        )
    if not isinstance(card, ModelCard):
        return (card.task,)
    if card.inputs.isolated:
        return ("survey",)
    return ("reconstruct", "survey") if card.inputs.ends else ("reconstruct",)
