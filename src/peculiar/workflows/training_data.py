"""Which simulations a recipe trains on, and what its network sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.linear.density_inputs import DensityInputs, density_inputs
from peculiar.linear.inputs import InputSpec, network_inputs
from peculiar.linear.survey_inputs import SURROUNDINGS, SurveyInputs
from peculiar.simulate.lagrangian import LagrangianInputs
from peculiar.simulate.matter import box_of_cells
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import DisplacementPair
from peculiar.simulate.runs import open_pairs, open_run, seed_of
from peculiar.training.cache import cached_flows, cached_pairs
from peculiar.training.counts import CountInputs, cached_counts
from peculiar.training.dataset import TrainingPair
from peculiar.training.lagrangian import LagrangianPair
from peculiar.training.recipe import Recipe
from peculiar.training.survey_cubes import cached_cubes
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.simulate import run_cosmology


def split_files(run: str | Path, settings: Recipe) -> dict[str, list[Path]]:
    """Sort a run's files into "train", "validation" and "test" by the recipe's ranges of seeds.

    Raises
    ------
    InputError
        If there is no file for training or for validation, or fewer than the recipe asks for.
    """
    data = settings.data
    paths = open_pairs(run) if settings.task == "displace" else open_run(run)
    base = run_cosmology(run) if settings.task == "displace" else None  # the card tells it
    if base is not None and data.cosmologies == "base":
        paths = [path for path in paths if DisplacementPair.open(path).cosmology == base]
    splits = {}
    for name in ("train", "validation", "test"):
        first, last = getattr(data, name)
        splits[name] = [path for path in paths if first <= seed_of(path) <= last]
        wanted = {"train": data.boxes, "validation": data.validation_boxes}.get(name)
        if name != "test" and len(splits[name]) < (wanted or 1):
            raise InputError(
                f"run must hold {wanted or 1} or more simulations with seeds {first} to {last} for {name}, got "
                f"{len(splits[name])}: simulate more, or change data.{name}"
            )
        splits[name] = splits[name][:wanted]
    return splits


@dataclass(frozen=True)
class MeshShape:
    """Cells along a side of a pair of meshes, and whether its opposite faces are one."""

    cells: int
    periodic: bool


def mesh_shapes(settings: Recipe, paths: Sequence[Path]) -> list[MeshShape]:
    """Return the meshes that simulations will be trained on, from what their files say, before any is made.

    Raises
    ------
    InputError
        If a file is no whole simulation, or they differ in their meshes.
    """
    spec = settings.inputs
    if isinstance(spec, LagrangianInputs):
        shapes = [MeshShape(DisplacementPair.open(path).box.mesh, True) for path in paths]
    else:
        boxes = [SimulatedBox.open(path).box for path in paths]
        if isinstance(spec, SurveyInputs):
            cubes = [MeshShape(variant.mesh, False) for variant in settings.data.cubes]
            for cube in cubes:
                if small := [box.mesh for box in boxes if box.mesh < cube.cells]:
                    raise InputError(
                        f"cubes of {cube.cells} cells, margin included, must fit into a box, got {small[0]} cells: "
                        "simulate 600 Mpc/h with cells of 5 Mpc/h"
                    )
            shapes = cubes * len(boxes)
        elif isinstance(spec, CountInputs):
            shapes = [MeshShape(box_of_cells(box.side, cell_size=spec.cell_size).mesh, True) for box in boxes]
        else:
            shapes = [MeshShape(box.mesh, True) for box in boxes]
    if len(sides := sorted({shape.cells for shape in shapes})) > 1:
        raise InputError(
            f"run must hold meshes of one size, got sides of {sides} cells: use one run for each"
        )
    return shapes


def training_pairs(
    settings: Recipe, splits: dict[str, list[Path]], *, run: Path
) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Return the pairs of training and of validation, making meshes that are not there yet.

    Raises
    ------
    InputError
        If what is read, or made of it, is not finite.
    """
    paths = [*splits["train"], *splits["validation"]]
    spec = settings.inputs
    pairs: Sequence[TrainingPair]
    if isinstance(spec, LagrangianInputs):
        refuse_broken(paths)
        pairs = [LagrangianPair(DisplacementPair.open(path), spec) for path in paths]
    elif isinstance(spec, CountInputs):
        with progress_bar("counts", total=len(paths)) as advance:
            pairs = cached_counts(paths, spec, directory=run / "cache", advance=advance)
    elif isinstance(spec, SurveyInputs):
        pairs = _cubes(settings, spec, paths, run / "cache")
    elif isinstance(spec, DensityInputs):
        pairs = _flows(settings, spec, paths, run / "cache")
    else:
        pairs = _tracers(settings, spec, paths, run / "cache")
    first = len(pairs) * len(splits["train"]) // len(paths)
    return list(pairs[:first]), list(pairs[first:])


def _tracers(settings: Recipe, spec: InputSpec, paths: list[Path], directory: Path) -> Sequence[TrainingPair]:
    variants = settings.data.variants

    def make_inputs(catalogue: Catalogue, cells: int, cosmology: Cosmology) -> torch.Tensor:
        return network_inputs(catalogue, cells=cells, cosmology=cosmology, spec=spec).data

    with progress_bar("meshes", total=len(paths) * len(variants)) as advance:
        return cached_pairs(
            paths,
            variants,
            make_inputs=make_inputs,
            channels=len(spec.names),
            description=spec.model_dump(),
            directory=directory,
            advance=advance,
        )


def _cubes(
    settings: Recipe, spec: SurveyInputs, paths: list[Path], directory: Path
) -> Sequence[TrainingPair]:
    variants = settings.data.cubes

    def make_inputs(catalogue: Catalogue, cells: int, cosmology: Cosmology) -> torch.Tensor:
        return network_inputs(catalogue, cells=cells, cosmology=cosmology, spec=spec).data

    with progress_bar("cubes", total=len(paths) * sum(variant.cubes for variant in variants)) as advance:
        return cached_cubes(
            paths,
            variants,
            make_inputs=make_inputs,
            channels=len(spec.names),
            description=spec.model_dump(),
            directory=directory,
            expected=spec.names.of(SURROUNDINGS) if settings.data.unseen == "expected" else None,
            advance=advance,
        )


def _flows(
    settings: Recipe, spec: DensityInputs, paths: list[Path], directory: Path
) -> Sequence[TrainingPair]:
    def make_inputs(box: SimulatedBox) -> torch.Tensor:
        return density_inputs(box.density, spec, cosmology=box.cosmology, redshift=box.redshift)

    with progress_bar("meshes", total=len(paths)) as advance:
        return cached_flows(
            paths,
            make_inputs=make_inputs,
            channels=len(spec.names),
            description=spec.model_dump(),
            velocity=settings.data.velocity,
            directory=directory,
            advance=advance,
        )
