"""From a seed to N-body particles: 2LPT or a few steps of a particle mesh, one more force evaluation, and a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from peculiar.core import Box, Cosmology, InputError
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.hdf5 import add_array, new_hdf5
from peculiar.core.limits import Device, choose_device, require_seeds
from peculiar.core.memory import require_memory
from peculiar.core.output import atomic_output, check_output, require_space
from peculiar.core.provenance import provenance
from peculiar.inference.emulator import DisplacementEmulator
from peculiar.inference.model_card import find_model
from peculiar.inference.whole import total_stride
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import lagrangian_fields
from peculiar.simulate.lpt import lattice
from peculiar.workflows.progress import progress_bar

_BYTES_PER_PARTICLE = 570  # measured: 9.6 GB for 256^3
OF_STEPS, OF_THEORY = "few-steps", "displacement"
"""Emulators that come with the package, of a few steps and of 2LPT."""


@dataclass(frozen=True, eq=False)
class EmulatedParticles:
    """Particles in the order of their lattice, (3, n, n, n) each.

    Parameters
    ----------
    position : Mpc/h, in [0, size)
    displacement : Mpc/h
        From the lattice.
    velocity : km/s
    velocity_source : str
        Where the velocities come from: the model, or what it corrects for models that give none.
    box : Box
    cosmology : Cosmology
    redshift : float
    steps : int
        Of the particle mesh that was corrected.
    model : str
    """

    position: torch.Tensor
    displacement: torch.Tensor
    velocity: torch.Tensor
    velocity_source: str
    box: Box
    cosmology: Cosmology
    redshift: float
    steps: int
    model: str


def emulate(
    box: Box,
    *,
    seed: int,
    steps: int | None = None,
    model: str | Path | None = None,
    cosmology: Cosmology | None = None,
    redshift: float | None = None,
    symmetries: int | None = None,
    device: Device = "auto",
) -> EmulatedParticles:
    """Emulate an N-body run of a periodic box.

    Parameters
    ----------
    box : Box
        With one cell per particle; sides are multiples of the network's stride.
    seed : int
        Of the initial conditions: the same waves as `peculiar simulate` with this seed.
    steps : int, optional
        Of the particle mesh that the model corrects; 0 for 2LPT. Default: the most that the model knows, 5 of
        "few-steps".
    model : str or path, optional
        An emulator of the package, or a .safetensors file. Default: "few-steps"; with ``steps=0`` "displacement".
    cosmology : Cosmology, optional
        Default: the model's.
    redshift : float, optional
        Default: the lowest that the model knows, 0 of those of the package.
    symmetries : int, optional
        Symmetries of the cube to average over, 1 to 48: less error, so many times the network's time. Default: the
        model's.
    device : "auto", "cpu" or "cuda"
        "auto" takes a GPU where torch sees one.

    Returns
    -------
    EmulatedParticles

    Raises
    ------
    InputError
        If the lattice does not fit the network, or redshift or steps are not the model's.

    Notes
    -----
    Warns (`OutOfRangeWarning`) where the particles' separation or the cosmology differ from the training pairs'.

    Examples
    --------
    >>> particles = emulate(Box(128.0, 32), seed=1)  # doctest: +SKIP
    """
    emulator = DisplacementEmulator.load(_chosen(model, steps))
    _check_lattice(box, emulator)
    require_seeds([seed], name="seed")
    chosen = choose_device(device)
    cosmology = cosmology or emulator.card.training_cosmology
    redshift = emulator.card.redshift_range[0] if redshift is None else redshift
    steps = emulator.steps[-1] if steps is None else steps
    emulator.check(redshift, steps=steps, symmetries=symmetries)
    require_memory(
        _BYTES_PER_PARTICLE * box.mesh**3,
        what=f"a box of {box.mesh}^3 particles",
        remedy="take fewer (--particles)",
    )
    emulator.module.to(chosen)
    modes = linear_density(box, cosmology, seed=seed, device=chosen)
    theory = lagrangian_fields(modes, box, cosmology, redshift=redshift, steps=steps)
    del modes
    found = emulator.emulate(theory, box, cosmology, redshift=redshift, symmetries=symmetries)
    displacement = found["displacement"]
    if "velocity" in found:
        velocity, source = found["velocity"], f"model {emulator.card.name}"
    else:
        velocity = theory.moving * cosmology.velocity_factor(redshift)
        source = f"particle mesh, {steps} steps" if steps else "second-order Lagrangian perturbation theory"
    position = (lattice(box.mesh, box.side, displacement.device) + displacement).remainder_(box.side)
    position.masked_fill_(position >= box.side, 0.0)
    return EmulatedParticles(
        position, displacement, velocity, source, box, cosmology, redshift, steps, emulator.card.name
    )


def emulate_file(
    out: str | Path,
    *,
    seed: int,
    size: float = 128.0,
    particles: int = 32,
    steps: int | None = None,
    model: str | Path | None = None,
    cosmology: Cosmology | None = None,
    redshift: float | None = None,
    symmetries: int | None = None,
    device: Device = "auto",
    force: bool = False,
) -> Path:
    """Emulate an N-body run and write its particles.

    Parameters
    ----------
    out : path
        HDF5 file with the datasets ``position`` and ``displacement`` [Mpc/h] and ``velocity`` [km/s], (n, 3) float32
        each, and where they come from in its attributes.
    size : float
        Side of the box [Mpc/h].
    particles : int
        Particles along a side.
    seed, steps, model, cosmology, redshift, symmetries, device : as in `emulate`
    force : bool
        Replace a file that is there.

    Returns
    -------
    Path
        The file.
    """
    card = find_model(_chosen(model, steps))
    target = check_output(out, overwrite=force, inputs={"--model": [card, card.with_suffix(".safetensors")]})
    box = Box(size, particles)
    require_space(target, size=3 * 3 * 4 * particles**3)
    with progress_bar("emulating", total=2) as advance:
        result = emulate(
            box,
            seed=seed,
            steps=steps,
            model=model,
            cosmology=cosmology,
            redshift=redshift,
            symmetries=symmetries,
            device=device,
        )
        advance(1)
        settings = {
            "box_size": size,
            "particles": particles,
            "model": result.model,
            "steps": result.steps,
            "cosmology": cosmology_settings(result.cosmology),
            "redshift": result.redshift,
            "symmetries": symmetries,
        }
        with atomic_output(target, overwrite=force) as temporary, new_hdf5(temporary) as file:
            file.attrs.update(
                box_size=size,
                particles=particles,
                seed=seed,
                provenance=json.dumps(provenance(settings, seed=seed)),
            )
            for name, unit in (("position", "Mpc/h"), ("displacement", "Mpc/h"), ("velocity", "km/s")):
                data = getattr(result, name).reshape(3, -1).T.cpu().numpy()
                add_array(file, name, data, unit=unit)
            file["velocity"].attrs["definition"] = result.velocity_source
        advance(1)
    return target


def _chosen(model: str | Path | None, steps: int | None) -> str | Path:
    return (OF_THEORY if steps == 0 else OF_STEPS) if model is None else model


def _check_lattice(box: Box, emulator: DisplacementEmulator) -> None:
    stride = total_stride(emulator.module)
    if box.mesh % stride or box.mesh < 2 * stride:
        raise InputError(
            f"particles must be a multiple of {stride} and at least {2 * stride} for model {emulator.card.name!r}, got "
            f"{box.mesh}"
        )
    if box.mesh % 2:
        raise InputError(f"particles must be even, got {box.mesh}")
