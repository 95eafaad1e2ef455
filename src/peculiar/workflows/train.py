"""Train a network from a recipe, on simulated boxes, up to weights with their model card."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import peculiar
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError, OutputExistsError
from peculiar.core.field import Field
from peculiar.core.output import atomic_output
from peculiar.inference.model_card import DensityTransfer, ModelCard, save_model
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.linear.inputs import network_inputs
from peculiar.models import build, config_keys
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, overdensity
from peculiar.models.xiao2024 import STAGES
from peculiar.simulate.mocks import SimulatedBox, open_run
from peculiar.training.cache import cached_pairs
from peculiar.training.calibration import fit_transfer
from peculiar.training.dataset import MeshPair
from peculiar.training.loop import fit
from peculiar.training.recipe import Recipe, load_recipe
from peculiar.workflows.cosmologies import cosmology_settings
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.provenance import provenance

RECORD = "run.json"


def train(
    recipe: str | Path,
    *,
    profile: str,
    run: str | Path,
    out: str | Path,
    changes: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    seed: int = 0,
    announce: Callable[[str], None] = print,
) -> ModelCard:
    """Train a network and write its weights and card.

    Parameters
    ----------
    recipe : str or path
        A recipe of the package, or a TOML file.
    profile : str
        One of the recipe's profiles (smoke, cpu, gpu, paper).
    run : path
        Directory of simulated boxes (`peculiar simulate`); meshes for training are kept in its ``cache``.
    out : path
        Directory for ``run.json``, checkpoints, ``metrics.csv``, NAME.safetensors and NAME.json.
    changes : sequence of str
        Single settings, as ``train.lr=1e-4``.
    resume : bool
        Go on where a run with the same settings stopped; the result is that of an uninterrupted run.
    force : bool
        Start again in a directory that holds a run.
    seed : int
        Of the initial weights, crops, symmetries and dropout.
    announce : callable
        Takes lines of progress.

    Raises
    ------
    InputError
        If the recipe is bad, boxes are missing, or `out` holds another run.
    """
    settings = load_recipe(recipe, profile=profile, changes=changes)
    splits = split_boxes(open_run(run), settings)
    network = build_network(settings, seed=seed)
    out = Path(out)
    _prepare(out, settings, splits, profile=profile, seed=seed, resume=resume, force=force)
    training, validation = training_meshes(settings, splits, directory=Path(run) / "cache")
    stages = STAGES if settings.loss.kind == "published" else ("all",)
    metrics: dict[str, float] = {}
    for stage in stages:
        if len(stages) > 1:
            announce(f"stage {stage}")
        found = fit(
            network,
            training=training,
            validation=validation,
            settings=settings.train,
            loss=settings.loss,
            directory=out if stage == "all" else out / stage,
            seed=seed,
            vectors=settings.inputs.vectors,
            line_of_sight=settings.line_of_sight,
            stage=stage,
            resume=resume,
            announce=announce,
        )
        metrics.update({f"{stage}_{k}" if stage != "all" and k == "loss" else k: v for k, v in found.items()})
    return _write_model(network, settings, splits, validation, metrics, out=out, seed=seed)


def split_boxes(paths: Sequence[Path], settings: Recipe) -> dict[str, list[Path]]:
    """Sort boxes into "train", "validation" and "test" by the recipe's ranges of seeds.

    Raises
    ------
    InputError
        If there is no box for training or for validation, or fewer than the recipe asks for.
    """
    data = settings.data
    splits = {}
    for name in ("train", "validation", "test"):
        first, last = getattr(data, name)
        splits[name] = [path for path in paths if first <= _seed(path) <= last]
        wanted = {"train": data.boxes, "validation": data.validation_boxes}.get(name)
        if name != "test" and len(splits[name]) < (wanted or 1):
            raise InputError(
                f"run must hold {wanted or 'boxes'} with seeds {first} to {last} for {name}, got {len(splits[name])}: "
                "simulate more, or change data." + name
            )
        splits[name] = splits[name][:wanted]
    return splits


def build_network(settings: Recipe, *, seed: int) -> torch.nn.Module:
    """Build the recipe's network with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(settings.network.architecture, network_settings(settings))


def network_settings(settings: Recipe) -> dict[str, Any]:
    """Return the network's settings, with the number of input channels that the inputs have."""
    given = dict(settings.network.settings)
    if "in_channels" in config_keys(settings.network.architecture):
        given.setdefault("in_channels", len(settings.inputs.names))
    return given


def training_meshes(
    settings: Recipe, splits: dict[str, list[Path]], *, directory: Path
) -> tuple[list[MeshPair], list[MeshPair]]:
    """Return the meshes of training and validation boxes, making what is not there yet."""
    spec = settings.inputs
    variants = settings.data.variants

    def make_inputs(catalogue: peculiar.Catalogue, cells: int, cosmology: Cosmology) -> torch.Tensor:
        return network_inputs(catalogue, cells=cells, cosmology=cosmology, spec=spec).data

    boxes = [*splits["train"], *splits["validation"]]
    with progress_bar("meshes", total=len(boxes) * len(variants)) as advance:
        pairs = cached_pairs(
            boxes,
            variants,
            make_inputs=make_inputs,
            description=spec.model_dump(),
            directory=directory,
            advance=advance,
        )
    first = len(splits["train"]) * len(variants)
    return pairs[:first], pairs[first:]


def _seed(path: Path) -> int:
    found = re.search(r"(\d+)$", path.stem)
    return int(found.group(1)) if found else -1


def _prepare(
    out: Path,
    settings: Recipe,
    splits: dict[str, list[Path]],
    *,
    profile: str,
    seed: int,
    resume: bool,
    force: bool,
) -> None:
    """Write the record of the run, or compare with the one that is there."""
    record = out / RECORD
    plan = {
        "recipe": settings.model_dump(mode="json"),
        "profile": profile,
        "boxes": {name: [path.name for path in paths] for name, paths in splits.items()},
        "seed": seed,
    }
    if record.exists() and not force:
        if not resume:
            raise OutputExistsError(f"out must not hold a run, got {out}: give --resume or --force")
        found = json.loads(record.read_text(encoding="utf-8"))
        different = [key for key in plan if found.get(key) != plan[key]]
        if different:
            raise InputError(
                f"out must hold a run with the same settings, got another {', '.join(different)} in {record}: "
                "choose another directory, or give --force to start again"
            )
        return
    for old in out.rglob("last.ckpt"):
        old.unlink()
    with atomic_output(record, overwrite=True) as temporary:
        text = json.dumps(plan | {"provenance": provenance(settings=plan, seed=seed)}, indent=1)
        temporary.write_text(text, encoding="utf-8")


def _write_model(
    network: torch.nn.Module,
    settings: Recipe,
    splits: dict[str, list[Path]],
    validation: Sequence[MeshPair],
    metrics: dict[str, float],
    *,
    out: Path,
    seed: int,
) -> ModelCard:
    box = SimulatedBox.open(splits["train"][0])
    variants = settings.data.variants
    # A network's own density, until the transfer function is fitted below.
    plain = DensityTransfer(k=(0.0,), transfer=(1.0,))
    entries: dict[str, Any] = {
        "name": settings.name,
        "package_version": peculiar.__version__,
        "architecture": settings.network.architecture,
        "configuration": network_settings(settings),
        "inputs": settings.inputs,
        "normalisation": {
            "density_floor": DENSITY_FLOOR,
            "velocity_factor": box.cosmology.velocity_factor(box.redshift),
        },
        "cosmology": cosmology_settings(box.cosmology),
        "redshift": box.redshift,
        "redshift_range": settings.card.redshift_range,
        "number_density": variants[0].number_density,
        "number_density_range": settings.card.number_density_range,
        "cell_size": box.box.cell_size,
        "tracer": settings.card.tracer,
        "space": variants[0].space,
        "line_of_sight": "any" if settings.line_of_sight is None else "z",
        "satellite_fractions": tuple(sorted({variant.satellite_fraction for variant in variants})),
        "smoothing": settings.inputs.smoothing,
        "velocity_definition": box.velocity_definition,
        "periodic_training": True,
        "symmetry_average": settings.card.symmetry_average,
        "metrics": {name: round(value, 6) for name, value in metrics.items()},
        "seeds": {"training": seed},
        "splits": {name: tuple(_seed(path) for path in paths) for name, paths in splits.items()},
        "notes": settings.card.notes,
    }
    card = ModelCard(**entries, density_transfer=plain, weights_sha256="0" * 64)
    transfer = _transfer(NeuralReconstructor(network, card), validation, box)
    with TemporaryDirectory(dir=out) as temporary:
        card = save_model(network, temporary, **entries, density_transfer=transfer)
        for suffix in ("safetensors", "json"):
            os.replace(Path(temporary) / f"{card.name}.{suffix}", out / f"{card.name}.{suffix}")
    return card


def _transfer(
    reconstructor: NeuralReconstructor, validation: Sequence[MeshPair], box: SimulatedBox
) -> DensityTransfer:
    predicted: list[Field] = []
    truth: list[Field] = []
    for pair in validation:
        inputs, targets = pair.crop((0, 0, 0), 0)
        outputs = reconstructor.outputs(inputs, line_of_sight="z", periodic=True)
        for meshes, fields in ((outputs.cpu(), predicted), (targets, truth)):
            rho = 1 + overdensity(meshes[DENSITY])
            fields.append(Field(rho / rho.mean() - 1, box.box, ["density"]))
    k, transfer = fit_transfer(predicted, truth)
    return DensityTransfer(k=k, transfer=transfer)
