"""Meshes of simulated boxes as networks see them, made once and kept beside the boxes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field as Setting

from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.output import atomic_output
from peculiar.core.own_files import clear_leftovers
from peculiar.models.channels import DENSITY_FLOOR, encode
from peculiar.simulate.mocks import SimulatedBox, VelocityRule
from peculiar.training.dataset import MeshPair
from peculiar.training.settings import Frozen

FORMAT = 1
MakeInputs = Callable[[Catalogue, int, Cosmology], Float[torch.Tensor, "channel x y z"]]


class Variant(Frozen):
    """One way to observe a box."""

    number_density: float = Setting(3e-3, gt=0, description="(h/Mpc)^3")
    satellite_fraction: float = Setting(0.0, ge=0, lt=1)
    line_of_sight: Literal["x", "y", "z", "radial"] = "z"
    space: Literal["redshift", "real"] = "redshift"
    ranked: bool = Setting(True, description="whether the catalogue has masses to rank by")


def cached_pairs(
    boxes: Sequence[Path],
    variants: Sequence[Variant],
    *,
    make_inputs: MakeInputs,
    description: Mapping[str, Any],
    directory: Path,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[MeshPair]:
    """Return every box in every variant, making what is not there yet.

    Files appear only when whole, so a run that was interrupted goes on where it was. A 96^3 mesh with ten input
    channels takes 18 MB for each variant and 12 MB for the targets, in float16.

    Parameters
    ----------
    boxes : sequence of path
        Simulated boxes.
    variants : sequence of Variant
    make_inputs : callable
        From a catalogue, cells and a cosmology to input channels.
    description : mapping
        What `make_inputs` depends on, as JSON: other inputs get other files.
    directory : path
        Where the files are kept.
    advance : callable
        Told after each variant.
    """
    pairs = []
    for path in boxes:
        box = SimulatedBox.open(path)
        factor = box.cosmology.velocity_factor(box.redshift)
        folder = directory / path.stem
        clear_leftovers(folder)
        targets = folder / f"targets-{box_key(box, FORMAT, DENSITY_FLOOR)}.npy"
        if not is_mesh(targets):
            physical = (box.density.data, box.velocity.data, box.momentum.data)
            save_mesh(targets, encode(*physical, velocity_factor=factor))
        for number, variant in enumerate(variants):
            inputs = folder / f"inputs-{box_key(box, FORMAT, variant.model_dump(), description, number)}.npy"
            if not is_mesh(inputs):
                catalogue = observe(box, variant, seed=number)
                save_mesh(inputs, make_inputs(catalogue, box.box.mesh, box.cosmology))
            pairs.append(MeshPair(inputs, targets, factor, f"{path.stem} variant {number}"))
            advance(1)
    return pairs


def cached_flows(
    boxes: Sequence[Path],
    *,
    make_inputs: Callable[[Field], Float[torch.Tensor, "channel x y z"]],
    description: Mapping[str, Any],
    velocity: VelocityRule,
    directory: Path,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[MeshPair]:
    """Return every box as a density-to-velocity network sees it, making what is not there yet.

    Targets are velocity and momentum over a H f [Mpc/h], six channels.

    Parameters
    ----------
    boxes : sequence of path
        Simulated boxes.
    make_inputs : callable
        From an overdensity to input channels.
    description : mapping
        What `make_inputs` depends on, as JSON: other inputs get other files.
    velocity : "neighbours", "background" or "volume"
        Which velocity is the target: see `SimulatedBox.velocity_by`.
    directory : path
        Where the files are kept.
    advance : callable
        Told after each box.
    """
    pairs = []
    for path in boxes:
        box = SimulatedBox.open(path)
        factor = box.cosmology.velocity_factor(box.redshift)
        folder = directory / path.stem
        clear_leftovers(folder)
        targets = folder / f"flows-{box_key(box, FORMAT, velocity)}.npy"
        if not is_mesh(targets):
            save_mesh(targets, torch.cat([box.velocity_by(velocity).data, box.momentum.data]) / factor)
        inputs = folder / f"inputs-{box_key(box, FORMAT, description)}.npy"
        if not is_mesh(inputs):
            save_mesh(inputs, make_inputs(box.density))
        pairs.append(MeshPair(inputs, targets, factor, path.stem))
        advance(1)
    return pairs


def observe(box: SimulatedBox, variant: Variant, *, seed: int) -> Catalogue:
    """Draw a variant's catalogue; a radial observer stands at random, at most one box side outside.

    Parameters
    ----------
    box : SimulatedBox
    variant : Variant
    seed : int
        Of satellites and observer, mixed with the box's own.
    """
    observer: tuple[float, float, float] | None = None
    if variant.line_of_sight == "radial":
        random = np.random.default_rng([box.seed, seed])
        x, y, z = random.uniform(-box.box.size, 2 * box.box.size, size=3).tolist()
        observer = (x, y, z)
    catalogue = box.catalogue(
        variant.number_density,
        satellite_fraction=variant.satellite_fraction,
        line_of_sight=variant.line_of_sight,
        observer=observer,
        space=variant.space,
        seed=seed,
    )
    return catalogue if variant.ranked else catalogue.replace(masses=None)


def box_key(box: SimulatedBox, *parts: object) -> str:
    """Return a name for what was made of a box; other parts, as JSON, give another name."""
    # A box that was simulated again has another size or time of change: its old meshes are not taken.
    status = box.path.stat()
    text = json.dumps([status.st_size, status.st_mtime_ns, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def save_mesh(path: Path, mesh: torch.Tensor) -> None:
    """Write a mesh as float16; InputError if a value is not finite or too large."""
    if not bool(torch.isfinite(mesh).all()) or float(mesh.abs().max()) > np.finfo(np.float16).max:
        raise InputError(
            f"meshes for training must be finite and below 65504, got others for {path.parent.name}"
        )
    with atomic_output(path, overwrite=True) as temporary:
        np.save(temporary, mesh.to(torch.float16).numpy())


def is_mesh(path: Path) -> bool:
    """Whether a file holds a whole mesh of `save_mesh`; one that is damaged is made again."""
    if not path.is_file():
        return False
    try:
        mesh = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return mesh.ndim == 4 and mesh.dtype == np.float16
