"""Which simulations a recipe trains on, and what its network sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.linear.density_inputs import DensityInputs, density_inputs
from peculiar.linear.inputs import InputSpec, network_inputs
from peculiar.linear.survey_inputs import SURROUNDINGS
from peculiar.linear.tracer_inputs import CatalogueInputs
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.lagrangian import LagrangianInputs
from peculiar.simulate.mass_function import MassFunction
from peculiar.simulate.matter import box_of_cells
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import DisplacementPair
from peculiar.simulate.runs import open_pairs, open_run, run_epochs, seed_of
from peculiar.training.cache import cached_filter, cached_flows, cached_pairs
from peculiar.training.counts import CountInputs, cached_counts
from peculiar.training.dataset import FreshPair, TrainingPair
from peculiar.training.fresh_cubes import FreshCubes
from peculiar.training.lagrangian import LagrangianPair
from peculiar.training.recipe import Recipe
from peculiar.training.survey_cubes import cached_cubes, footprint
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.simulate import run_cosmology

Runs = str | Path | Sequence[str | Path]
"""Directories of `peculiar simulate`: one, or several whose redshift, cosmology, size and mesh may differ."""


def run_paths(run: Runs) -> list[Path]:
    """Return the directories of runs, of runs of several epochs those of each epoch.

    Raises
    ------
    InputError
        If there is none, or one is named twice.
    """
    paths = [Path(run)] if isinstance(run, str | Path) else [Path(one) for one in run]
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        raise InputError(
            f"run must be one directory or several different ones, got {', '.join(map(str, paths)) or 'none'}"
        )
    return [epoch for path in paths for epoch in run_epochs(path)]


def split_files(run: Runs, settings: Recipe) -> dict[str, list[Path]]:
    """Sort the files of runs into "train", "validation" and "test" by the recipe's ranges of seeds, in each of them.

    Raises
    ------
    InputError
        If a run has no file for training or for validation, or fewer than the recipe asks for.
    """
    data = settings.data
    splits: dict[str, list[Path]] = {"train": [], "validation": [], "test": []}
    for one in run_paths(run):
        paths = open_pairs(one) if settings.task == "displace" else open_run(one)
        base = run_cosmology(one) if settings.task == "displace" else None  # the card tells it
        if base is not None and data.cosmologies == "base":
            paths = [path for path in paths if DisplacementPair.open(path).cosmology == base]
        for name, files in splits.items():
            first, last = getattr(data, name)
            found = [path for path in paths if first <= seed_of(path) <= last]
            wanted = {"train": data.boxes, "validation": data.validation_boxes}.get(name)
            if name != "test" and len(found) < (wanted or 1):
                raise InputError(
                    f"run must hold {wanted or 1} or more simulations with seeds {first} to {last} for {name}, "
                    f"got {len(found)} in {one}: simulate more, or change data.{name}"
                )
            files += found[:wanted]
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
        If a file is no whole simulation, or a cube does not fit into it.
    """
    spec = settings.inputs
    if isinstance(spec, LagrangianInputs):
        shapes = [MeshShape(DisplacementPair.open(path).box.mesh, True) for path in paths]
    else:
        boxes = [SimulatedBox.open(path).box for path in paths]
        if isinstance(spec, CatalogueInputs) and spec.isolated:
            for survey in {variant.survey for variant in settings.data.cubes if variant.survey}:
                footprint(survey, SimulatedBox.open(paths[0]).cosmology)
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
            whole = [variant.region == "whole" for variant in settings.data.variants]
            shapes = [MeshShape(box.mesh, periodic) for box in boxes for periodic in whole]
    return shapes


def with_tables(settings: Recipe, splits: dict[str, list[Path]]) -> Recipe:
    """Return a recipe whose inputs hold the tables that it asks to be fitted to the training boxes."""
    spec = settings.inputs
    found: dict[str, Any] = {}
    if isinstance(spec, InputSpec) and spec.wiener == "fitted":
        with progress_bar("Wiener filter", total=len(splits["train"])) as advance:
            found["wiener"] = cached_filter(splits["train"], settings.data.variants, spec, advance=advance)
    if isinstance(spec, CountInputs) and spec.mass_function == "fitted":
        found["mass_function"] = MassFunction.fitted([SimulatedBox.open(path) for path in splits["train"]])
    return settings.model_copy(update={"inputs": spec.model_copy(update=found)}) if found else settings


def training_pairs(
    settings: Recipe, splits: dict[str, list[Path]]
) -> tuple[Sequence[TrainingPair | FreshPair], list[TrainingPair]]:
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
        opened = [DisplacementPair.open(path) for path in paths]
        pairs = [LagrangianPair(pair, spec, steps) for pair in opened for steps in spec.steps]
    elif isinstance(spec, CountInputs):
        with progress_bar("counts", total=len(paths)) as advance:
            pairs = cached_counts(paths, spec, advance=advance)
    elif isinstance(spec, DensityInputs):
        pairs = _flows(settings, spec, paths)
    elif settings.data.fresh:
        validation = _cubes(settings, spec, splits["validation"])
        return _fresh(settings, spec, splits["train"]), list(validation)
    else:
        pairs = (_cubes if spec.isolated else tracer_pairs)(settings, spec, paths)
    first = len(pairs) * len(splits["train"]) // len(paths)
    return list(pairs[:first]), list(pairs[first:])


def tracer_pairs(settings: Recipe, spec: CatalogueInputs, paths: list[Path]) -> Sequence[TrainingPair]:
    """Return boxes in all variants of a recipe, as networks of boxes see them, making meshes that are not there yet."""
    variants = settings.data.variants

    with progress_bar("meshes", total=len(paths) * len(variants)) as advance:
        return cached_pairs(
            paths,
            variants,
            make_inputs=partial(_inputs, spec),
            channels=len(spec.names),
            description=spec.model_dump(mode="json") | spec.tables,
            linear_density=spec.names.of("wiener_density") if "wiener_density" in spec.names else None,
            advance=advance,
        )


def _cubes(settings: Recipe, spec: CatalogueInputs, paths: list[Path]) -> Sequence[TrainingPair]:
    variants = settings.data.cubes

    with progress_bar("cubes", total=len(paths) * sum(variant.cubes for variant in variants)) as advance:
        return cached_cubes(
            paths,
            variants,
            make_inputs=partial(_inputs, spec),
            channels=len(spec.names),
            description=spec.model_dump(mode="json") | spec.tables,
            expected=_expected(settings, spec),
            advance=advance,
        )


def _fresh(settings: Recipe, spec: CatalogueInputs, paths: list[Path]) -> list[FreshCubes]:
    """Return where cubes come from; one is observed of each, for what cannot be observed is to be told now."""
    boxes = [SimulatedBox.open(path) for path in paths]
    variants, expected = settings.data.cubes, _expected(settings, spec)
    sources = [FreshCubes(box, one, partial(_inputs, spec), expected) for box in boxes for one in variants]
    with progress_bar("boxes", total=len(sources)) as advance:
        for source in sources:
            source.draw(np.random.default_rng(0), settings.train.crop)
            advance(1)
    return sources


def _inputs(
    spec: CatalogueInputs, catalogue: Catalogue, cells: int, cosmology: Cosmology
) -> Float[torch.Tensor, "channel x y z"]:
    return network_inputs(catalogue, cells=cells, cosmology=cosmology, spec=spec).data


def _expected(settings: Recipe, spec: CatalogueInputs) -> slice | None:
    """Return the input channels whose flow stands in the targets for that of unseen matter, if any."""
    return spec.names.of(SURROUNDINGS) if settings.data.unseen == "expected" else None


def _flows(settings: Recipe, spec: DensityInputs, paths: list[Path]) -> Sequence[TrainingPair]:
    def make_inputs(box: SimulatedBox) -> torch.Tensor:
        return density_inputs(box.density, spec, cosmology=box.cosmology, redshift=box.redshift)

    with progress_bar("meshes", total=len(paths)) as advance:
        return cached_flows(
            paths,
            make_inputs=make_inputs,
            channels=len(spec.names),
            description=spec.model_dump(mode="json") | spec.tables,
            velocity=settings.data.velocity,
            advance=advance,
        )
