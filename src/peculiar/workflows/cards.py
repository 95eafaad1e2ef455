"""A trained network's weights and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

import peculiar
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.inference.card_values import DensityTransfer, VectorTransfer
from peculiar.inference.emulator import FlowEmulator
from peculiar.inference.model_card import (
    AnyCard,
    EmulatorCard,
    ModelCard,
    save_model,
)
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.linear.tracer_inputs import CatalogueInputs
from peculiar.linear.wiener_inputs import WienerInputs
from peculiar.models import config_keys
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, overdensity
from peculiar.models.painter import Painter
from peculiar.models.ramanah2019 import DENSITY_OFFSET
from peculiar.simulate.halo_properties import measure_halo_properties
from peculiar.simulate.matter import box_of_cells, matter_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import DisplacementPair
from peculiar.simulate.runs import seed_of, seed_ranges
from peculiar.training.calibration import fit_transfer, fit_vector_transfer
from peculiar.training.count_calibration import ROUNDS, fit_counts
from peculiar.training.counts import CountInputs, cached_counts
from peculiar.training.dataset import TrainingPair
from peculiar.training.recipe import Recipe
from peculiar.training.variants import Variant, observe
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.simulate import run_cosmology
from peculiar.workflows.training_range import box_ranges, training_range

Splits = Mapping[str, Sequence[Path]]
_MEASURED = 16
"""Boxes on which masses, places and velocities of painted halos are measured, evenly among those of training."""
_CALIBRATED = 40
"""Boxes on which the counts of painted halos are calibrated."""


def write_model(
    network: torch.nn.Module,
    settings: Recipe,
    splits: Splits,
    validation: Sequence[TrainingPair],
    metrics: Mapping[str, float],
    *,
    out: Path,
    seed: int,
) -> AnyCard:
    """Write NAME.safetensors and NAME.json into a directory, and return the card."""
    entries: dict[str, Any] = {} if settings.task == "paint" else {"inputs": settings.inputs}
    entries |= {
        "name": settings.name,
        "package_version": peculiar.__version__,
        "architecture": settings.network.architecture,
        "configuration": network_settings(settings),
        "symmetry_average": settings.card.symmetry_average,
        "metrics": {name: round(value, 6) for name, value in metrics.items()},
        "seeds": {"training": seed},
        "notes": settings.card.notes,
    }
    if settings.task == "displace":
        entries |= _displacement_entries(splits)
    elif settings.task == "flow":
        entries |= _flow_entries(network, settings, splits, entries)
    elif settings.task == "paint":
        entries |= _painter_entries(network, settings, splits)
    else:
        entries |= _reconstructor_entries(network, settings, splits, validation, entries)
    return save_model(network, out, **entries)


def _displacement_entries(splits: Splits) -> dict[str, Any]:
    pairs = [DisplacementPair.open(path) for path in splits["train"]]
    one = pairs[0]
    return {
        "task": "displace",
        "normalisation": {"velocity_factor": one.velocity_factor},
        "cosmology": cosmology_settings(run_cosmology(splits["train"][0].parent)),
        **box_ranges(pairs),
        "velocity_definition": "of each particle",
        "splits": {name: seed_ranges(paths) for name, paths in splits.items()},
    }


def _flow_entries(
    network: torch.nn.Module, settings: Recipe, splits: Splits, common: Mapping[str, Any]
) -> dict[str, Any]:
    boxes = [SimulatedBox.open(path) for path in splits["train"]]
    one = boxes[0]
    entries = {
        "task": "flow",
        "normalisation": {"velocity_factor": one.cosmology.velocity_factor(one.redshift)},
        "cosmology": cosmology_settings(one.cosmology),
        **box_ranges(boxes),
        "velocity_definition": one.velocity_by(settings.data.velocity).definition,
        "splits": {name: seed_ranges(paths) for name, paths in splits.items()},
    }
    card = EmulatorCard(**common, **entries, weights_sha256="0" * 64)
    emulator = FlowEmulator(network, card)
    truth: dict[str, list[Field]] = {"velocity": [], "momentum": []}
    found: dict[str, list[Field]] = {"velocity": [], "momentum": []}
    for path in splits["validation"]:
        box = SimulatedBox.open(path)
        fields = emulator.flow(box.density, box.cosmology, redshift=box.redshift)
        for name, true in (("velocity", box.velocity_by(settings.data.velocity)), ("momentum", box.momentum)):
            found[name].append(fields[name].replace(data=fields[name].data.cpu()))
            truth[name].append(true)
    transfers = {}
    for name in truth:
        k, potential, rotational = fit_vector_transfer(found[name], truth[name])
        transfers[name] = VectorTransfer(k=k, potential=potential, rotational=rotational)
    return entries | {"transfers": transfers}


def _painter_entries(network: torch.nn.Module, settings: Recipe, splits: Splits) -> dict[str, Any]:
    spec = settings.inputs
    assert isinstance(spec, CountInputs)
    assert spec.mass_function != "fitted"
    boxes = [SimulatedBox.open(path) for path in splits["train"]]
    meshes = [box_of_cells(box.box.side, cell_size=spec.cell_size) for box in boxes]
    cells = sorted(mesh.cell_size for mesh in meshes)
    cosmology, ranges = run_cosmology(splits["train"][0].parent), box_ranges(boxes)

    theory = []
    some = _evenly(len(boxes), _MEASURED)
    with progress_bar("coarser twins of the training boxes", total=len(boxes[some])) as advance:
        for box, mesh in zip(boxes[some], meshes[some], strict=True):
            theory.append(
                matter_fields(
                    mesh,
                    box.cosmology,
                    seed=box.seed,
                    redshift=box.redshift,
                    per_cell=spec.particles_per_cell,
                    dynamics=spec.kind,
                )
            )
            advance(1)
    halos = measure_halo_properties(
        list(zip(boxes[some], theory, strict=True)),
        mass_edges=spec.mass_edges,
        cosmology=cosmology,
        redshift=ranges["redshift"],
    )
    calibration = None
    if isinstance(network, Painter):
        network.to("cpu")
        pairs = cached_counts(splits["train"][_evenly(len(boxes), _CALIBRATED)], spec)
        with progress_bar("calibration of counts", total=ROUNDS * len(pairs)) as advance:
            calibration = fit_counts(network, pairs, seed=0, advance=advance)
    low, high = spec.mass_edges[0], spec.mass_edges[-1]
    number = sum(int(((box.halos.masses >= low) & (box.halos.masses < high)).sum()) for box in boxes)
    return {
        "task": "paint",
        "normalisation": {"density_floor": DENSITY_OFFSET},
        "cosmology": cosmology_settings(cosmology),
        **ranges,
        "cell_size": cells[len(cells) // 2],
        "cell_size_range": (cells[0], cells[-1]),
        "velocity_definition": "momentum over density of the particles",
        "particles_per_cell": spec.particles_per_cell,
        "dynamics": spec.kind,
        "mass_edges": spec.mass_edges,
        "conditions": spec.conditions,
        "mass_function": spec.mass_function,
        "halos": halos,
        "calibration": calibration,
        "number_density": number / sum(box.box.volume for box in boxes),
        "splits": {name: seed_ranges(paths) for name, paths in splits.items()},
    }


def _evenly(number: int, most: int) -> slice:
    return slice(None, None, -(-number // most))


def _reconstructor_entries(
    network: torch.nn.Module,
    settings: Recipe,
    splits: Splits,
    validation: Sequence[TrainingPair],
    common: Mapping[str, Any],
) -> dict[str, Any]:
    box = SimulatedBox.open(splits["train"][0])
    spec, data = settings.inputs, settings.data
    assert isinstance(spec, CatalogueInputs)
    survey = spec.isolated
    measured = training_range(splits["train"], data)
    low, high = measured["number_density_range"]
    satellites = {variant.satellite_fraction for variant in data.cubes}
    if not survey:
        satellites = {f for variant in data.variants for f in variant.bounds("satellite_fraction")}
    entries: dict[str, Any] = {
        "normalisation": {
            "density_floor": DENSITY_FLOOR,
            "velocity_factor": box.cosmology.velocity_factor(box.redshift),
        },
        "cosmology": cosmology_settings(run_cosmology(splits["train"][0].parent)),
        **measured,
        "number_density": low if low == high else (low * high) ** 0.5,
        "tracer": settings.card.tracer,
        "space": "redshift" if survey else data.variants[0].space,
        "line_of_sight": "any" if settings.line_of_sight is None else "z",
        "satellite_fractions": tuple(sorted(satellites)),
        "smoothing": getattr(spec, "smoothing", 0.0),
        "velocity_definition": box.velocity_definition,
        "periodic_training": not survey and all(variant.region == "whole" for variant in data.variants),
        "splits": {name: tuple(sorted({seed_of(path) for path in paths})) for name, paths in splits.items()},
    }
    # A network's own density, until its transfer function is known; one for all surveys or densities there is none.
    plain = DensityTransfer(k=(0.0,), transfer=(1.0,))
    if survey or isinstance(spec, WienerInputs):
        return entries | {"density_transfer": plain}
    card = ModelCard(**common, **entries, density_transfer=plain, weights_sha256="0" * 64)
    observed = list(product(splits["validation"], enumerate(data.variants)))
    transfer = measure_transfer(NeuralReconstructor(network, card), validation, observed)
    return entries | {"density_transfer": transfer}


def measure_transfer(
    reconstructor: NeuralReconstructor,
    validation: Sequence[TrainingPair],
    observed: Sequence[tuple[Path, tuple[int, Variant]]],
) -> DensityTransfer:
    """Return the transfer function of a network's density on validation boxes, at the mean beta of their tracers.

    Parameters
    ----------
    reconstructor : NeuralReconstructor
    validation : sequence of TrainingPair
        What the network sees of the boxes, and the truth.
    observed : sequence of (path, (int, Variant))
        Of each the file of the box, and the variant with its number.
    """
    predicted: list[Field] = []
    truth: list[Field] = []
    betas: list[float] = []
    for pair, (path, (number, variant)) in zip(validation, observed, strict=True):
        simulated = SimulatedBox.open(path)
        inputs, targets = pair.crop((0, 0, 0), 0)
        outputs = reconstructor.outputs(inputs, line_of_sight="z", periodic=True)
        for meshes, fields in ((outputs.cpu(), predicted), (targets, truth)):
            rho = 1 + overdensity(meshes[DENSITY])
            fields.append(Field(rho / rho.mean() - 1, simulated.box, ["density"]))
        catalogue = observe(simulated, variant, seed=number)
        beta = reconstructor.card.inputs.beta(catalogue, cosmology=simulated.cosmology)
        if beta is not None:
            betas.append(beta)
    mean = sum(betas) / len(betas) if betas else None
    if mean is not None:
        predicted = [
            one.replace(data=mean / beta * one.data) for one, beta in zip(predicted, betas, strict=True)
        ]
    k, transfer = fit_transfer(predicted, truth)
    return DensityTransfer(k=k, transfer=transfer, beta=mean)


def network_settings(settings: Recipe) -> dict[str, Any]:
    """Return the network's settings, with the input channels or mass bins that the inputs have.

    Raises
    ------
    InputError
        If the network takes one channel and there are others, or its settings are not those of the inputs.
    """
    given, names = dict(settings.network.settings), settings.inputs.names
    known = config_keys(settings.network.architecture)
    fixed: dict[str, Any] = {"inputs": list(names), "in_channels": len(names)}
    if isinstance(settings.inputs, CountInputs):
        fixed["bins"] = settings.inputs.bins
    for name, value in fixed.items():
        if name in known and given.setdefault(name, value) != value:
            raise InputError(
                f"network.settings.{name} must be {value}, as the inputs are, got {given[name]}: leave it out"
            )
    if not {"inputs", "in_channels"} & set(known) and len(names) > 1:
        raise InputError(
            f"inputs of {settings.network.architecture} must be one channel, got {', '.join(names)}: take the first"
        )
    return given
