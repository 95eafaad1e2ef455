"""Meshes of simulated boxes as networks see them, made once and kept in the ``cache`` beside the boxes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16

from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.output import atomic_output
from peculiar.core.own_files import clear_leftovers
from peculiar.core.records import checksum
from peculiar.linear.inputs import InputSpec
from peculiar.linear.wiener import WienerFilter
from peculiar.linear.wiener_training import accumulate, solve
from peculiar.models.channels import DENSITY_FLOOR, FLOW_OUTPUTS, OUTPUTS, encode
from peculiar.simulate.mocks import SimulatedBox, VelocityRule
from peculiar.training.dataset import MeshPair
from peculiar.training.variants import Variant, isolated_velocity, observe

FORMAT = 2
MakeInputs = Callable[[Catalogue, int, Cosmology], Float[torch.Tensor, "channel x y z"]]


def cached_pairs(
    boxes: Sequence[Path],
    variants: Sequence[Variant],
    *,
    make_inputs: MakeInputs,
    channels: int,
    description: Mapping[str, Any],
    linear_density: slice | None = None,
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
    channels : int
        Of the inputs.
    description : mapping
        What `make_inputs` depends on, as JSON: other inputs get other files.
    linear_density : slice, optional
        Input channel of a linear estimate, needed where variants do not see the whole box (`isolated_velocity`).
    advance : callable
        Told after each variant.
    """
    pairs = []
    for path in boxes:
        box = SimulatedBox.open(path)
        factor = box.cosmology.velocity_factor(box.redshift)
        folder = cache_of(path)
        cells = box.box.mesh
        made: dict[Path, torch.Tensor] = {}
        for number, variant in enumerate(variants):
            key = box_key(path, FORMAT, variant.model_dump(), description, number)
            inputs = folder / f"inputs-{key}.npy"
            isolated = variant.region != "whole"
            own = f"isolated-{key}" if isolated else box_key(path, FORMAT, DENSITY_FLOOR)
            targets = folder / f"targets-{own}.npy"
            wanted = {inputs: channels, targets: len(OUTPUTS)}
            if not all(one in made or is_mesh(one, channels=n, cells=cells) for one, n in wanted.items()):
                catalogue = observe(box, variant, seed=number)
                mesh = make_inputs(catalogue, cells, box.cosmology)
                made[inputs] = mesh.half()
                velocity = box.velocity.data
                if isolated:
                    assert linear_density is not None
                    velocity = isolated_velocity(box, catalogue, mesh[linear_density])
                momentum = (1 + box.density.data) * velocity
                made[targets] = encode(box.density.data, velocity, momentum, velocity_factor=factor).half()
            name = f"{path.stem} variant {number}"
            pairs.append(MeshPair(inputs, (targets,), factor, name, periodic=not isolated))
            advance(1)
        save_meshes(made)
    return pairs


def cached_flows(
    boxes: Sequence[Path],
    *,
    make_inputs: Callable[[SimulatedBox], Float[torch.Tensor, "channel x y z"]],
    channels: int,
    description: Mapping[str, Any],
    velocity: VelocityRule,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[MeshPair]:
    """Return every box as a density-to-velocity network sees it, making what is not there yet.

    Targets are velocity and momentum over a H f [Mpc/h], six channels.

    Parameters
    ----------
    boxes : sequence of path
        Simulated boxes.
    make_inputs : callable
        From a box to input channels.
    channels : int
        Of the inputs.
    description : mapping
        What `make_inputs` depends on, as JSON: other inputs get other files.
    velocity : "neighbours", "background" or "volume"
        Which velocity is the target: see `SimulatedBox.velocity_by`.
    advance : callable
        Told after each box.
    """
    pairs = []
    for path in boxes:
        box = SimulatedBox.open(path)
        factor = box.cosmology.velocity_factor(box.redshift)
        folder = cache_of(path)
        targets = folder / f"flows-{box_key(path, FORMAT, velocity)}.npy"
        cells = box.box.mesh
        made = {}
        if not is_mesh(targets, channels=len(FLOW_OUTPUTS), cells=cells):
            made[targets] = (torch.cat([box.velocity_by(velocity).data, box.momentum.data]) / factor).half()
        inputs = folder / f"inputs-{box_key(path, FORMAT, description)}.npy"
        if not is_mesh(inputs, channels=channels, cells=cells):
            made[inputs] = make_inputs(box).half()
        save_meshes(made)
        pairs.append(MeshPair(inputs, (targets,), factor, path.stem))
        advance(1)
    return pairs


def cached_filter(
    boxes: Sequence[Path],
    variants: Sequence[Variant],
    inputs: InputSpec,
    *,
    advance: Callable[[int], None] = lambda _count: None,
) -> WienerFilter:
    """Return the Wiener filter of boxes, in every variant with masses, fitting it if it is not there yet.

    Parameters
    ----------
    boxes : sequence of path
        Simulated boxes with one cell size.
    variants : sequence of Variant
    inputs : InputSpec
        How tracers are binned and moved back.
    advance : callable
        Told after each box.
    """
    settings = inputs.model_dump(include={"abundances", "smoothing", "bias", "iterations"})
    sample = [(number, variant.model_dump()) for number, variant in enumerate(variants) if variant.ranked]
    key = box_key(boxes[0], FORMAT, [box_checksum(path) for path in boxes], settings, sample)
    path = cache_of(boxes[0]).with_name(f"wiener-{key}.json")
    if path.is_file():
        return WienerFilter.load(path)
    spectra = []
    for one in boxes:
        box = SimulatedBox.open(one)
        for number, variant in enumerate(variants):
            if variant.ranked:
                catalogue = observe(box, variant, seed=number)
                found = accumulate(catalogue, box.density, box.velocity, cosmology=box.cosmology, **settings)
                spectra.append(found)
        advance(1)
    fitted = solve(reduce(add, spectra), **settings)
    with atomic_output(path, overwrite=True) as temporary:
        fitted.save(temporary)
    return fitted


def cache_of(box: Path) -> Path:
    """Return where meshes of a box are kept, beside it, without what runs that were killed left there."""
    folder = box.parent / "cache" / box.stem
    clear_leftovers(folder)
    return folder


def box_key(box: Path, *parts: object) -> str:
    """Return a name for what was made of a box's contents; other parts, as JSON, give another name."""
    text = json.dumps([box_checksum(box), *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def box_checksum(box: Path) -> str:
    """Return the sha256 of a simulation's file, read once as long as the file is not touched."""
    status = box.stat()
    return _checksum(box, status.st_size, status.st_mtime_ns)


@cache
def _checksum(box: Path, _size: int, _changed: int) -> str:
    return checksum(box)


def save_meshes(meshes: Mapping[Path, Float16[torch.Tensor, "channel x y z"]]) -> None:
    """Write what was made of a box: a box that cannot be observed, or is damaged, leaves nothing behind.

    Raises
    ------
    InputError
        If a value was not finite or too large for float16.
    """
    for path, mesh in meshes.items():
        if not bool(torch.isfinite(mesh).all()):
            raise InputError(
                f"meshes for training must be finite and below 65504, got others for {path.parent.name}"
            )
    for path, mesh in meshes.items():
        with atomic_output(path, overwrite=True) as temporary:
            np.save(temporary, mesh.numpy())


def is_mesh(path: Path, *, channels: int, cells: int, kinds: str = "e") -> bool:
    """Whether a file holds a whole mesh, finite and of its shape; one that is damaged is made again.

    Parameters
    ----------
    path : Path
    channels, cells : int
        Its shape is (channels, cells, cells, cells).
    kinds : str
        Characters of its possible types; float16, as of `save_meshes`, if not given.

    Raises
    ------
    InputError
        If there is something else than a file.
    """
    if os.path.lexists(path) and not path.is_file():
        raise InputError(f"meshes of a cache must be files, got {path}: remove it")
    try:
        mesh = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    whole = mesh.shape == (channels, cells, cells, cells) and mesh.dtype.char in kinds
    return whole and all(np.isfinite(channel).all() for channel in mesh)
