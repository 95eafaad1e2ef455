"""Boxes whose halos are painted, in matter moved by 2LPT or a few steps (seconds each) or in that of other boxes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.limits import require_redshift
from peculiar.core.output import atomic_output
from peculiar.inference.painting import HaloPainter
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.initial import linear_field, require_waves
from peculiar.simulate.matter import (
    BYTES_PER_PARTICLE,
    BYTES_PER_STEPPED,
    MOST_OFF,
    MatterFields,
    box_of_cells,
    matter_fields,
)
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps
from peculiar.simulate.populate import draw_members

_OF_MATTER = ("size", "cells", "redshift", "per_cell", "steps")


@dataclass(frozen=True)
class PaintedSettings:
    """What a box with painted halos is made of.

    Parameters
    ----------
    size : float
        Side [Mpc/h], near an even number of the painter's cells.
    cells : int
        Cells along a side of the mesh on which density and velocity are stored.
    redshift : float, optional
        Default: the painter's.
    model : str
        A painter of the package, or a .safetensors file.
    per_cell : int
        Particles in a stored cell along a side of it.
    steps : Steps, optional
        Of `bullfrog`, which move density and velocity in place of what the painter sees. Default: by its dynamics, 2LPT
        of "painter".
    matter : str, optional
        Run of `peculiar simulate` whose boxes give density and velocity, on the painter's cells; size, cells, redshift,
        cosmology and particles are theirs. Their own halos, which are too massive and too few, are left behind.
    host_mass : float
        Lightest halo that satellites may live in [Msun/h]; lighter ones get no members, which saves space.
    """

    size: float = 225.0
    cells: int = 96
    redshift: float | None = None
    model: str = "painter"
    per_cell: int = 2
    steps: Steps | None = None
    matter: str | None = None
    host_mass: float = 0.0

    def __post_init__(self) -> None:
        require_waves(Box(self.size, self.cells))
        require_redshift(self.redshift, below=self.steps.start_redshift if self.steps else math.inf)
        if self.cells % 2:
            raise InputError(
                f"PaintedSettings.cells must be even, got {self.cells}: use {self.cells + 1}",
                command=f"--cells must be even, got {self.cells}: give {self.cells + 1}",
            )
        if self.per_cell < 1:
            raise InputError(f"PaintedSettings.per_cell must be >= 1, got {self.per_cell}: use 2")
        if not 0 <= self.host_mass < math.inf:
            raise InputError(f"PaintedSettings.host_mass must be >= 0 Msun/h, got {self.host_mass:g}")

    @property
    def what(self) -> str:
        """What is made, in words."""
        return f"a painted box of {self.cells}^3 cells"

    @property
    def memory(self) -> int:
        """What making it takes [bytes]."""
        side = self.cells * (self.per_cell if self.matter is None else 1)
        return (BYTES_PER_STEPPED if self.steps else BYTES_PER_PARTICLE["second order"]) * side**3


def paint_box(
    path: Path,
    settings: PaintedSettings,
    painter: HaloPainter,
    cosmology: Cosmology,
    *,
    seed: int,
    overwrite: bool = False,
) -> None:
    """Write one box as `SimulatedBox` opens it, with density, velocity and painted halos.

    Without `settings.matter` the halos are those of `peculiar paint --box SIZE --seed SEED`. Satellites stand on
    members that are drawn, see `draw_members`; the halos' own particle counts are 0.

    Parameters
    ----------
    path : Path
        HDF5 file to write; it appears only when whole.
    settings : PaintedSettings
        With its redshift.
    painter : HaloPainter
    cosmology : Cosmology
    seed : int
        Of the initial conditions (shared with `simulate_box`), the halos and their members.
    overwrite : bool

    Raises
    ------
    InputError
        If the box does not fit the painter's cells.
    OutputExistsError
        If the file exists and is not to be overwritten.

    Notes
    -----
    Memory is about 120 bytes for each 2LPT particle: 0.9 GB with the default of 192^3, 1.6 GB with `settings.steps`.
    A box of 600 Mpc/h with 4.4 million halos above 1e11 Msun/h takes 1.9 GB.
    """
    assert settings.redshift is not None
    redshift = settings.redshift
    device = next(painter.module.parameters()).device
    with atomic_output(path, overwrite=overwrite) as temporary:
        if settings.matter is None:
            box = Box(settings.size, settings.cells)
            truth, theory = (
                matter_fields(
                    mesh,
                    cosmology,
                    seed=seed,
                    redshift=redshift,
                    per_cell=per_cell,
                    dynamics=painter.card.dynamics,
                    steps=steps,
                    device=device,
                )
                for mesh, per_cell, steps in (
                    (box, settings.per_cell, settings.steps),
                    (
                        box_of_cells(settings.size, cell_size=painter.card.cell_size),
                        painter.card.particles_per_cell,
                        None,
                    ),
                )
            )
            linear = Field(
                linear_field(box, cosmology, seed=seed, redshift=redshift)[None], box, ["linear_density"]
            )
        else:
            simulated = SimulatedBox.open(_box_path(settings.matter, seed))
            truth = theory = MatterFields(simulated.density, simulated.velocity)
            linear = simulated.linear_density
        painted = painter.catalogue(theory.to("cpu"), cosmology=cosmology, redshift=redshift, seed=seed)
        halos = _halos(painted)
        properties = painter.halo_properties(cosmology, redshift)
        members = draw_members(halos.masses, properties, seed=seed, lightest=settings.host_mass)
        write_box(
            temporary,
            cosmology,
            seed=seed,
            redshift=redshift,
            fields={
                "density": truth.density,
                "velocity": truth.velocity,
                "linear_density": linear,
            },
            halos=halos,
            members=members,
            attributes={
                "painter": painter.card.name,
                "painter_sha256": painter.card.weights_sha256,
                "settings": json.dumps(dataclasses.asdict(settings)),
            },
        )


def prepared_painter(
    settings: PaintedSettings, cosmology: Cosmology | None, *, seeds: Sequence[int]
) -> tuple[HaloPainter, PaintedSettings, Cosmology]:
    """Load the painter, and fill in its redshift and cosmology where none are given.

    Raises
    ------
    InputError
        If the model is no painter, the box does not fit its cells, or the matter is not of its kind.
    """
    painter = HaloPainter.load(settings.model)
    card = painter.card
    if settings.matter is not None:
        settings, cosmology = _of_matter(settings, painter, cosmology, seeds=seeds)
    redshift = card.redshift if settings.redshift is None else settings.redshift
    chosen = cosmology or card.training_cosmology
    painter.check(box_of_cells(settings.size, cell_size=card.cell_size), chosen, redshift=redshift)
    return painter, dataclasses.replace(settings, redshift=redshift), chosen


def _of_matter(
    settings: PaintedSettings, painter: HaloPainter, cosmology: Cosmology | None, *, seeds: Sequence[int]
) -> tuple[PaintedSettings, Cosmology]:
    """Take size, mesh, redshift and cosmology from the boxes that give the matter, which must suit the painter."""
    assert settings.matter is not None
    card = painter.card
    usual = PaintedSettings()
    given = [name for name in _OF_MATTER if getattr(settings, name) != getattr(usual, name)]
    if given or cosmology is not None:
        options = ", ".join("--box" if name == "size" else f"--{name}" for name in given or ["cosmology"])
        raise InputError(
            f"{', '.join(given) or 'cosmology'} must not be given with matter: {settings.matter} has its own",
            command=f"{options} must not be given with --matter: {settings.matter} has its own",
        )
    first: SimulatedBox | None = None
    for seed in seeds:
        path = _box_path(settings.matter, seed)
        if not path.is_file():
            raise InputError(
                f"matter must hold a box of every seed, got {settings.matter} without {path.name}: simulate it first"
            )
        box = SimulatedBox.open(path)
        first = first or box
        if box.cosmology != first.cosmology:
            raise InputError(
                f"matter must have one cosmology, got another in {path}: simulate it without --cosmologies"
            )
    assert first is not None
    per_cell = first.particles / first.box.mesh
    if card.dynamics != "particle mesh" or per_cell != card.particles_per_cell:
        raise InputError(
            f"matter must have particles as model {card.name!r} was trained on, {card.particles_per_cell} in a cell "
            f"along a side by {card.dynamics}, got {per_cell:g} by a particle mesh in {settings.matter}: give another "
            "model, as 'survey-painter', and its cells and particles"
        )
    if abs(first.box.cell_size / card.cell_size - 1) > MOST_OFF:
        raise InputError(
            f"matter must have the cells of model {card.name!r}, {card.cell_size:g} Mpc/h, got "
            f"{first.box.cell_size:.4g} in {settings.matter}: simulate it with --cells "
            f"{round(first.box.side / card.cell_size)}"
        )
    taken = dataclasses.replace(
        settings, size=first.box.side, cells=first.box.mesh, redshift=first.redshift, per_cell=int(per_cell)
    )
    return taken, first.cosmology


def _box_path(run: str, seed: int) -> Path:
    return Path(run) / f"box-{seed:05d}.h5"


def _halos(painted: Catalogue) -> Halos:
    """The most massive first, as `friends_of_friends` gives them."""
    assert painted.masses is not None
    assert painted.velocities is not None
    order = np.argsort(-painted.masses, kind="stable")
    positions = painted.positions[order].astype(np.float32)
    positions[positions >= painted.box.side] = 0  # rounding to half the digits can reach the upper face
    return Halos(
        positions=positions,
        velocities=painted.velocities[order].astype(np.float32),
        masses=painted.masses[order],
        counts=np.zeros(len(order), np.int32),
        members=np.empty(0, np.int64),
        offsets=np.zeros(len(order) + 1, np.int64),
    )
