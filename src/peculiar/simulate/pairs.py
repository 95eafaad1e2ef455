"""Pairs of Lagrangian perturbation theory and particle-mesh displacements, thousands of small boxes of them."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field as Setting

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.hdf5 import add_array, new_hdf5
from peculiar.core.limits import require_redshift
from peculiar.core.output import atomic_output
from peculiar.simulate.initial import linear_density, require_waves
from peculiar.simulate.lagrangian import LagrangianFields, lagrangian_fields
from peculiar.simulate.lpt import displacement_of
from peculiar.simulate.particle_mesh import Steps, evolve, simulation_memory
from peculiar.simulate.stored import Attributes, read_array, read_attributes

SCHEMA = 1
_BYTES_PER_PARTICLE = 80
FIELDS = ("zeldovich", "second_order", "acceleration", "displacement", "velocity")
_SHAPES = dict.fromkeys(FIELDS, (3, "particles", "particles", "particles"))
OMEGA_M_DRAWN = tuple(round(float(value), 4) for value in np.geomspace(0.08, 0.56, 16))
"""Matter densities of varied cosmologies: few, so that CAMB runs once for each."""
AMPLITUDE_DRAWN = (0.15, 2.2)
"""Range of varied A_s, as factors of the base cosmology's; logarithmically uniform."""


@dataclass(frozen=True)
class PairSettings:
    """What one pair is made of; the defaults are those of He et al. 2019, with FastPM in 20 steps.

    Parameters
    ----------
    size : float
        Side [Mpc/h].
    particles : int
        Particles along a side, even.
    redshift : float
    steps : Steps
        Of the particle mesh that makes the target.
    varied : float
        Fraction of the pairs whose Omega_m and A_s are drawn from wide ranges (the seed decides).
    """

    size: float = 128.0
    particles: int = 32
    redshift: float = 0.0
    steps: Steps = dataclasses.field(default_factory=lambda: Steps(count=20))
    varied: float = 0.0

    def __post_init__(self) -> None:
        require_waves(Box(self.size, self.particles))
        require_redshift(self.redshift, below=self.steps.start_redshift)
        if self.particles % 2:
            raise InputError(f"PairSettings.particles must be even, got {self.particles}")
        if not 0 <= self.varied <= 1:
            raise InputError(f"PairSettings.varied must lie in [0, 1], got {self.varied}")

    @property
    def what(self) -> str:
        """What is made, in words."""
        return f"a pair of {self.particles}^3 particles"

    @property
    def memory(self) -> int:
        """What making it takes [bytes]."""
        return simulation_memory(self.particles, self.steps) + _BYTES_PER_PARTICLE * self.particles**3

    def check_cosmologies(self, base: Cosmology) -> None:
        """Refuse a base whose drawn cosmologies would be out of range."""
        if self.varied:
            for Omega_m, factor in zip(
                OMEGA_M_DRAWN[:: len(OMEGA_M_DRAWN) - 1], AMPLITUDE_DRAWN, strict=True
            ):
                dataclasses.replace(base, Omega_m=Omega_m).with_amplitude(base.A_s * factor)

    def cosmology_of(self, seed: int, base: Cosmology) -> Cosmology:
        """Return the cosmology of a seed: the base, or a drawn one."""
        random = np.random.default_rng([seed, 2019])
        if random.random() >= self.varied:
            return base
        Omega_m = OMEGA_M_DRAWN[random.integers(len(OMEGA_M_DRAWN))]
        low, high = (math.log(factor) for factor in AMPLITUDE_DRAWN)
        amplitude = base.A_s * math.exp(random.uniform(low, high))
        return dataclasses.replace(base, Omega_m=Omega_m).with_amplitude(amplitude)


def simulate_pair(
    path: Path,
    settings: PairSettings,
    cosmology: Cosmology,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
) -> None:
    """Make one pair and write it.

    Parameters
    ----------
    path : Path
        HDF5 file to write; it appears only when whole.
    settings : PairSettings
    cosmology : Cosmology
        The base; a varied seed has its own (see `PairSettings.cosmology_of`).
    seed : int
    device : torch.device or str
    overwrite : bool

    Raises
    ------
    OutputExistsError
        If the file exists and is not to be overwritten.
    """
    box = Box(settings.size, settings.particles)
    drawn = settings.cosmology_of(seed, cosmology)
    with atomic_output(path, overwrite=overwrite) as temporary:
        modes = linear_density(box, drawn, seed=seed, device=device)
        theory = lagrangian_fields(
            modes, box, drawn, redshift=settings.redshift, mesh_factor=settings.steps.mesh_factor
        )
        particles = evolve(modes[None], box, drawn, redshift=settings.redshift, steps=settings.steps)
        fields = {
            "zeldovich": theory.zeldovich,
            "second_order": theory.second_order,
            "acceleration": theory.acceleration,
            "displacement": displacement_of(particles.positions[0], box),
            "velocity": particles.velocities[0].T.reshape(theory.zeldovich.shape),
        }
        with new_hdf5(temporary) as file:
            file.attrs.update(
                schema=SCHEMA,
                seed=seed,
                redshift=settings.redshift,
                box_size=settings.size,
                particles=settings.particles,
                cosmology=json.dumps(dataclasses.asdict(drawn)),
                settings=json.dumps(dataclasses.asdict(settings)),
            )
            for name, data in fields.items():
                unit = "km/s" if name == "velocity" else "Mpc/h"
                add_array(file, name, data.cpu().numpy(), unit=unit)


class _Attributes(Attributes):
    particles: int = Setting(ge=2)


@dataclass(frozen=True)
class DisplacementPair:
    """A pair on disk; fields are read when asked for.

    Parameters
    ----------
    path : Path
        HDF5 file from `simulate_pair`.
    """

    path: Path
    seed: int
    redshift: float
    box: Box
    cosmology: Cosmology

    @classmethod
    def open(cls, path: str | Path) -> DisplacementPair:
        """Open a file; InputError if it is not a pair of this schema."""
        path = Path(path)
        found = read_attributes(
            path, _Attributes, what="pair", schema=SCHEMA, shapes=_SHAPES, lengths="particles"
        )
        return cls(
            path=path,
            seed=found.seed,
            redshift=found.redshift,
            box=Box(found.box_size, found.particles),
            cosmology=found.cosmology,
        )

    def theory(self, steps: int = 0) -> LagrangianFields:
        """What perturbation theory says of the pair, or a particle mesh of a few steps: read, or calculated."""
        if steps:
            modes = linear_density(self.box, self.cosmology, seed=self.seed)
            return lagrangian_fields(modes, self.box, self.cosmology, redshift=self.redshift, steps=steps)
        fields = self.read("zeldovich", "second_order", "acceleration")
        return LagrangianFields.of_theory(*fields, cosmology=self.cosmology, redshift=self.redshift)

    @property
    def velocity_factor(self) -> float:
        """A H f [km/s per Mpc/h]."""
        return self.cosmology.velocity_factor(self.redshift)

    def read(self, *names: str) -> tuple[torch.Tensor, ...]:
        """Return fields by their names (`FIELDS`), each (3, n, n, n): Mpc/h, velocities km/s."""
        return tuple(torch.from_numpy(read_array(self.path, name)) for name in names)
