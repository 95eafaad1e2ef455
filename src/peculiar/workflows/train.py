"""Train a network from a recipe, on a run of simulations, up to weights with their model card."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from peculiar.core.errors import InputError, OutputExistsError
from peculiar.core.limits import Device, choose_device
from peculiar.core.output import atomic_output, check_output, refuse_inputs
from peculiar.core.provenance import provenance
from peculiar.core.records import read_json
from peculiar.inference.model_card import AnyCard, load_model
from peculiar.models import build
from peculiar.models.ramanah2019 import Ramanah2019
from peculiar.training.adversarial import fit_adversarial
from peculiar.training.cache import box_checksum
from peculiar.training.checkpoint import CHECKPOINT, load_checkpoint
from peculiar.training.loop import fit
from peculiar.training.objectives import objectives
from peculiar.training.recipe import Recipe, load_recipe
from peculiar.training.report import read_metrics
from peculiar.training.settings import AdversarialLoss
from peculiar.training.start import start_from
from peculiar.workflows.cards import network_settings, write_model
from peculiar.workflows.train_plan import check_plan
from peculiar.workflows.training_data import Runs, run_paths, split_files, training_pairs, with_tables

RECORD = "run.json"


def train(
    recipe: str | Path,
    *,
    profile: str = "cpu",
    run: Runs,
    out: str | Path,
    changes: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    seed: int = 0,
    device: Device = "auto",
    announce: Callable[[str], None] = print,
) -> AnyCard:
    """Train a network and write its weights and card.

    Parameters
    ----------
    recipe : str or path
        A recipe of the package, or a TOML file.
    profile : str
        One of the recipe's profiles (smoke, cpu, gpu, paper).
    run : path or sequence of path
        Directories of `peculiar simulate`, whose redshift, cosmology, size and mesh may differ; meshes for training are
        kept in their ``cache``. Each gives boxes by the recipe's seeds.
    out : path
        Directory for ``run.json``, checkpoints, ``metrics.csv`` and its picture, NAME.safetensors and NAME.json.
    changes : sequence of str
        Single settings, as ``train.lr=1e-4``.
    resume : bool
        Go on where a run with the same settings stopped; the result is that of an uninterrupted run.
    force : bool
        Start again in a directory that holds a run.
    seed : int
        Of the initial weights, crops, symmetries and dropout.
    device : "auto", "cpu" or "cuda"
        In place of the recipe's `train.accelerator`; "auto" leaves that, which is a GPU where there is one.
    announce : callable
        Takes lines of progress.

    Raises
    ------
    InputError
        If the recipe is bad, boxes are missing, or `out` holds another run.
    """
    out = Path(out)
    runs = run_paths(run)
    for one in runs:
        refuse_inputs(out, {"--run": one})
    settings = load_recipe(recipe, profile=profile, changes=[*changes, *device_changes(device)])
    splits = split_files(runs, settings)
    check_plan(settings, splits, seed=seed)
    network = build_network(settings, seed=seed)
    announce(f"{settings.name}: {sum(p.numel() for p in network.parameters()):,} weights")
    plan = _plan(settings, splits, profile=profile, seed=seed)
    going_on = _goes_on(out, settings, plan, resume=resume, force=force)
    made = with_tables(settings, splits)
    training, validation = training_pairs(made, splits)
    if not going_on:
        _begin(out, settings, plan)
    common: dict[str, Any] = {
        "training": training,
        "validation": validation,
        "settings": settings.train,
        "seed": seed,
        "line_of_sight": settings.line_of_sight,
        "resume": resume,
        "announce": announce,
    }
    metrics: dict[str, float] = {}
    if isinstance(network, Ramanah2019) and isinstance(settings.loss, AdversarialLoss):
        metrics = fit_adversarial(network, loss=settings.loss, directory=out, **common)
    else:
        stages = objectives(settings.loss, inputs=settings.inputs.names)
        for objective in stages:
            alone = len(stages) == 1
            if not alone:
                announce(f"stage {objective.name}")
            found = fit(
                network,
                objective=objective,
                directory=out if alone else out / objective.name,
                vectors=settings.inputs.vectors,
                **common,
            )
            metrics.update(
                {k if alone or k != "loss" else f"{objective.name}_loss": v for k, v in found.items()}
            )
    card = write_model(network, made, splits, validation, metrics, out=out, seed=seed)
    for folder in _folders(out, settings):
        draw_curves(folder / "metrics.csv")
    return card


def device_changes(device: Device) -> list[str]:
    """Return the settings of a recipe that put a training on a device; InputError if there is none such."""
    chosen = choose_device(device)
    return [] if device == "auto" else [f"train.accelerator={'gpu' if chosen == 'cuda' else 'cpu'}"]


def draw_curves(metrics: Path) -> list[Path]:
    """Write ``training.pdf`` and ``training.png``, the loss curve, beside a run's ``metrics.csv``.

    Returns
    -------
    list of Path
        What was written: nothing if the run ended before its first validation.
    """
    from peculiar.figures.style import save
    from peculiar.figures.training import training_curves

    columns = read_metrics(metrics)
    if not len(columns.get("step", ())):
        return []
    return save(training_curves(columns), metrics.with_name("training"), about={"Title": "Training"})


def build_network(settings: Recipe, *, seed: int) -> torch.nn.Module:
    """Build the recipe's network with weights drawn from a seed, or of the model that it starts from."""
    given = settings.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(given.architecture, network_settings(settings))
    if given.start is not None:
        start_from(network, load_model(given.start)[0], given.channels)
    return network


def _plan(settings: Recipe, splits: dict[str, list[Path]], *, profile: str, seed: int) -> dict[str, Any]:
    """Return what a training depends on."""
    return {
        "recipe": settings.model_dump(mode="json"),
        "profile": profile,
        "boxes": {
            "test": [path.name for path in splits["test"]],
            **{
                name: [f"{path.name} {box_checksum(path)[:12]}" for path in splits[name]]
                for name in ("train", "validation")
            },
        },
        "seed": seed,
    }


def _goes_on(out: Path, settings: Recipe, plan: dict[str, Any], *, resume: bool, force: bool) -> bool:
    """Whether the training that `out` holds goes on; one with other settings, and files of others, are refused."""
    record = check_output(out / RECORD, overwrite=True)
    if record.exists():
        found = _read_record(record)
        if not (resume or force):
            raise OutputExistsError(f"out must not hold a run, got {out}: give --resume or --force")
        if not force:
            # Boxes that are held out may come later.
            found["boxes"].pop("test", None)
            compared = plan | {"boxes": {name: plan["boxes"][name] for name in ("train", "validation")}}
            different = [key for key in compared if found.get(key) != compared[key]]
            if different:
                raise InputError(
                    f"out must hold a run with the same settings, got another {', '.join(different)} in {record}: "
                    "choose another directory, or give --force to start again"
                )
            for folder in _folders(out, settings):
                if os.path.lexists(folder / CHECKPOINT):
                    load_checkpoint(folder / CHECKPOINT, holds=())
                    read_metrics(folder / "metrics.csv")
        return not force
    if taken := [path for path in _written(out, settings) if path.exists()]:
        raise OutputExistsError(
            f"out must not hold files of others, got {taken[0]} without a run's {RECORD} beside it: choose another "
            "directory"
        )
    return False


def _begin(out: Path, settings: Recipe, plan: dict[str, Any]) -> None:
    """Write the record of a training, in place of one that was there before."""
    for folder in _folders(out, settings):
        (folder / CHECKPOINT).unlink(missing_ok=True)
    with atomic_output(out / RECORD, overwrite=True) as temporary:
        text = json.dumps(plan | {"provenance": provenance(settings=plan, seed=plan["seed"])}, indent=1)
        temporary.write_text(text, encoding="utf-8")


def _read_record(record: Path) -> dict[str, Any]:
    """Return the record of a training; InputError if it is of anything else."""
    try:
        found = read_json(record, what="record of a training", remedy="choose another directory")
        ours = found["provenance"]["package"] == "peculiar" and "recipe" in found and dict(found["boxes"])
    except (ValueError, LookupError, TypeError):
        ours = False
    if not ours:
        raise InputError(
            f"out must hold a training's {RECORD} or none, got another {record}: choose another directory"
        )
    return found


def _folders(out: Path, settings: Recipe) -> list[Path]:
    """Where the checkpoints of a recipe's stages are."""
    if isinstance(settings.loss, AdversarialLoss):
        return [out]
    stages = objectives(settings.loss, inputs=settings.inputs.names)
    return [out / stage.name for stage in stages] if len(stages) > 1 else [out]


def _written(out: Path, settings: Recipe) -> list[Path]:
    curves = (CHECKPOINT, "metrics.csv", "training.pdf", "training.png")
    return [
        *(folder / name for folder in _folders(out, settings) for name in curves),
        *(out / f"{settings.name}.{suffix}" for suffix in ("safetensors", "json")),
    ]
