"""Making simulated boxes: dark matter, halos and members at one redshift, or at several of one evolution."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import CRITICAL_DENSITY, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.limits import require_redshift
from peculiar.core.output import atomic_output, check_output
from peculiar.fields.kernels import paint_kernel
from peculiar.fields.velocity import from_momentum, nearest_particle
from peculiar.simulate.box_files import VOLUME_VELOCITY, write_box
from peculiar.simulate.halos import friends_of_friends
from peculiar.simulate.initial import linear_density, linear_field, require_waves
from peculiar.simulate.particle_mesh import Particles, Steps, evolve_epochs, simulation_memory
from peculiar.simulate.satellites import sample_members

_BYTES_PER_CELL = 80
NEAREST_EPOCHS = 1e-3
"""Least difference of two redshifts of one evolution: their names have three digits."""
DRAWN = {"Omega_m": (0.2, 0.4), "sigma8": (0.6, 1.0), "h": (0.6, 0.8), "n_s": (0.92, 1.0)}
"""Ranges of drawn cosmologies, uniform; other parameters are those of the base."""
_LOG2_DIFFERENT = 16


@dataclass(frozen=True)
class BoxSettings:
    """What one simulated box is made of.

    Parameters
    ----------
    size : float
        Side [Mpc/h].
    particles : int
        Particles along a side.
    cells : int
        Cells along a side of the mesh on which density and velocity are stored.
    redshift : float
    steps : Steps
    min_particles : int
        Of a halo.
    volume_velocity : bool
        Also store the volume-weighted velocity: that of the particle nearest to each cell centre.
    redshifts : tuple of float, optional
        Epochs, rising, at which one evolution makes a box each; `redshift` is one of them.
    cosmologies : "latin", optional
        Each seed has its own cosmology, with Omega_m of 0.2 to 0.4, sigma8 0.6 to 1, h 0.6 to 0.8 and n_s 0.92 to 1:
        a Sobol' sequence, so that any 2^n seeds from a multiple of 2^n are a Latin hypercube.
    """

    size: float = 225.0
    particles: int = 256
    cells: int = 96
    redshift: float = 0.59
    steps: Steps = dataclasses.field(default_factory=Steps)
    min_particles: int = 12
    volume_velocity: bool = False
    redshifts: tuple[float, ...] | None = None
    cosmologies: Literal["latin"] | None = None

    def __post_init__(self) -> None:
        require_waves(Box(self.size, self.particles))
        require_waves(Box(self.size, self.cells))
        if self.redshifts is not None:
            self._require_epochs(self.redshifts)
        require_redshift(self.redshift, below=self.steps.start_redshift)
        if self.particles % 2 or self.cells % 2:
            raise InputError(
                f"BoxSettings.particles and cells must be even, got {self.particles} and {self.cells}"
            )
        if self.cosmologies not in (None, "latin"):
            raise InputError(f"cosmologies must be latin, or left out, got {self.cosmologies!r}")

    def _require_epochs(self, redshifts: tuple[float, ...]) -> None:
        for redshift in redshifts:
            require_redshift(redshift, below=self.steps.start_redshift)
        if len(redshifts) < 2 or (np.diff(redshifts) < NEAREST_EPOCHS).any():
            raise InputError(
                f"redshifts must be two or more that rise by at least {NEAREST_EPOCHS:g}, got "
                f"{', '.join(f'{redshift:g}' for redshift in redshifts)}: name each epoch once, today first"
            )
        if self.redshift not in redshifts:
            raise InputError(
                f"redshift must be one of redshifts, got {self.redshift:g}: give redshift={redshifts[0]:g}"
            )

    @property
    def epochs(self) -> dict[float, BoxSettings]:
        """The settings of the box at each redshift, the earliest time first."""
        redshifts = (self.redshift,) if self.redshifts is None else self.redshifts[::-1]
        return {redshift: dataclasses.replace(self, redshift=redshift) for redshift in redshifts}

    @property
    def epoch_steps(self) -> dict[float, int]:
        """Time steps to each redshift from the one before, the earliest time first; see `Steps.to_epochs`."""
        return dict(zip(self.epochs, self.steps.to_epochs(list(self.epochs)), strict=True))

    @property
    def what(self) -> str:
        """What is made, in words."""
        return f"a box of {self.particles}^3 particles and {self.cells}^3 cells"

    @property
    def memory(self) -> int:
        """What making it takes [bytes]."""
        return simulation_memory(self.particles, self.steps) + _BYTES_PER_CELL * self.cells**3

    def particle_mass(self, cosmology: Cosmology) -> float:
        """Mass of a particle [Msun/h]."""
        return CRITICAL_DENSITY * cosmology.Omega_m * (self.size / self.particles) ** 3

    def check_cosmologies(self, base: Cosmology) -> None:
        """Refuse a base whose drawn cosmologies would be out of range."""
        if self.cosmologies:
            for end in (0, 1):
                dataclasses.replace(base, **{name: limits[end] for name, limits in DRAWN.items()})

    def cosmology_of(self, seed: int, base: Cosmology) -> Cosmology:
        """Return the cosmology of a seed: the base, or a drawn one."""
        if self.cosmologies is None:
            return base
        from scipy.stats.qmc import Sobol

        place = Sobol(len(DRAWN), rng=2026).random_base2(_LOG2_DIFFERENT)[seed % 2**_LOG2_DIFFERENT]
        drawn = {
            name: round(float(low + (high - low) * part), 5)
            for (name, (low, high)), part in zip(DRAWN.items(), place, strict=True)
        }
        return dataclasses.replace(base, **drawn)


def simulate_box(
    path: Path | Mapping[float, Path],
    settings: BoxSettings,
    cosmology: Cosmology,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Simulate one box and write it: fields on the mesh, halos, and member particles for satellites.

    Parameters
    ----------
    path : Path, or mapping of redshift to Path
        HDF5 file to write, or one for each of these epochs of `settings.redshifts`; they appear only when whole.
    settings : BoxSettings
    cosmology : Cosmology
        The base; a seed may have its own (see `BoxSettings.cosmology_of`).
    seed : int
        Of the initial conditions (shared with other resolutions) and of the stored members.
    device : torch.device or str
        Where the particles are evolved; halos are found on the CPU.
    progress : callable, optional
        Called with (steps done, steps).

    Raises
    ------
    OutputExistsError
        If a file exists and is not to be overwritten.
    """
    paths = {settings.redshift: path} if isinstance(path, Path) else path
    for one in paths.values():
        check_output(one, overwrite=overwrite)
    drawn = settings.cosmology_of(seed, cosmology)
    lattice_box = Box(settings.size, settings.particles)
    epochs = {redshift: epoch for redshift, epoch in settings.epochs.items() if redshift >= min(paths)}
    modes = linear_density(lattice_box, drawn, seed=seed, device=device)[None]
    evolution = evolve_epochs(
        modes, lattice_box, drawn, redshifts=list(epochs), steps=settings.steps, progress=progress
    )
    del modes
    for (redshift, epoch), particles in zip(epochs.items(), evolution, strict=True):
        if redshift in paths:
            with atomic_output(paths[redshift], overwrite=overwrite) as temporary:
                _write_epoch(temporary, particles, epoch, drawn, seed=seed)
        del particles


def _write_epoch(
    path: Path, particles: Particles, settings: BoxSettings, cosmology: Cosmology, *, seed: int
) -> None:
    """Find what a box's file holds in its particles, and write it."""
    mesh_box = Box(settings.size, settings.cells)
    positions, velocities = (
        values[0].cpu().numpy() for values in (particles.positions, particles.velocities)
    )
    per_cell = len(positions) / settings.cells**3
    counts = paint_kernel(positions, None, settings.cells, size=settings.size)
    momentum = paint_kernel(positions, velocities, settings.cells, size=settings.size)
    density = Field(torch.from_numpy(counts / per_cell - 1), mesh_box, ["density"])
    velocity = from_momentum(
        density, Field(torch.from_numpy(momentum / per_cell), mesh_box, "xyz", "km/s", kind="vector")
    )
    halos = friends_of_friends(
        positions,
        velocities,
        box_size=settings.size,
        particle_mass=settings.particle_mass(cosmology),
        min_particles=settings.min_particles,
    )
    members = sample_members(halos, positions, velocities, box_size=settings.size, seed=seed)
    linear = linear_field(mesh_box, cosmology, seed=seed, redshift=settings.redshift)
    fields = {
        "density": density,
        "velocity": velocity,
        "linear_density": Field(linear[None], mesh_box, ["linear_density"]),
    }
    if settings.volume_velocity:
        fields[VOLUME_VELOCITY] = nearest_particle(positions, velocities, mesh_box)
    stated = {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}
    attributes: dict[str, Any] = {
        "particles": settings.particles,
        "particle_mass": settings.particle_mass(cosmology),
        "settings": json.dumps(stated),
    }
    write_box(
        path,
        cosmology,
        seed=seed,
        redshift=settings.redshift,
        fields=fields,
        halos=halos,
        members=members,
        attributes=attributes,
    )
