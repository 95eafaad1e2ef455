"""Density and velocity of matter on a mesh, by 2LPT or a particle mesh: what painters of halos see, and their truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Complex

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.memory import require_memory
from peculiar.fields.paint import paint
from peculiar.fields.velocity import from_momentum
from peculiar.simulate.bullfrog import bullfrog
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lpt import displacements
from peculiar.simulate.particle_mesh import Particles, Steps, evolve, start_from_lpt

Dynamics = Literal["second order", "particle mesh"]
CELLS_MULTIPLE = 2
"""Painters draw on sublattices of every second cell."""
MOST_OFF = 0.05
"""Largest relative difference between a cell that is asked for and one that fits a box."""


BYTES_PER_PARTICLE: dict[Dynamics, int] = {"second order": 120, "particle mesh": 150}
BYTES_PER_STEPPED = 230
"""Of particles that few steps move [bytes]."""


@dataclass(frozen=True)
class MatterFields:
    """The particles of a box on its mesh.

    Parameters
    ----------
    density : Field
        Overdensity, CIC, one channel.
    velocity : Field
        Mass-weighted velocity [km/s].
    """

    density: Field
    velocity: Field

    def to(self, device: torch.device | str) -> MatterFields:
        """Return the fields on another device."""
        return MatterFields(self.density.to(device), self.velocity.to(device))


def matter_fields(
    box: Box,
    cosmology: Cosmology,
    *,
    seed: int,
    redshift: float,
    per_cell: int = 2,
    dynamics: Dynamics = "second order",
    steps: Steps | None = None,
    device: torch.device | str = "cpu",
) -> MatterFields:
    """Move a lattice of particles by 2LPT, a particle mesh or a few steps of one, and paint them.

    The waves of a seed do not depend on the lattice, so a simulated box gets its own coarser twin from its own `seed`,
    `cosmology` and `redshift`.

    Parameters
    ----------
    box : Box
        Periodic, with the mesh of the result.
    cosmology : Cosmology
    seed : int
    redshift : float
    per_cell : int
        Particles per cell along a side; cells times this must be even.
    dynamics : "second order" or "particle mesh"
        2LPT, or `evolve` with its default steps.
    steps : Steps, optional
        Of `bullfrog`, which moves the particles in place of either.
    device : torch.device or str

    Raises
    ------
    InputError
        If the box is not periodic, or the lattice is not even.

    Notes
    -----
    Memory is about 120 bytes for each particle, 230 with `steps`: 2 GB for 256^3 of them, a mesh of 128^3 with the
    default of 8 particles in a cell or of 256^3 with one.
    """
    side = per_cell * box.mesh
    if not box.periodic:
        raise InputError(f"box must be periodic to move its matter, got {box}: use Box(size, cells)")
    if per_cell < 1 or side % 2:
        raise InputError(
            f"per_cell must be >= 1 and make an even lattice, got {per_cell} for {box.mesh} cells: use 2"
        )
    lattice_box = box.with_cells(side)
    require_memory(
        (BYTES_PER_STEPPED if steps else BYTES_PER_PARTICLE[dynamics]) * side**3,
        what=f"a box of {side}^3 particles ({box.side:g} Mpc/h)",
        remedy="take a smaller box",
    )
    modes = linear_density(lattice_box, cosmology, seed=seed, device=device)
    usual = start_from_lpt if dynamics == "second order" else evolve
    move: Callable[..., Particles] = partial(_few_steps, steps=steps) if steps else usual
    particles = move(modes[None], lattice_box, cosmology, redshift=redshift)
    del modes
    positions, velocities = particles.positions[0], particles.velocities[0]
    at_origin = Box(box.side, box.mesh)  # particles count from the lower corner of the box
    per_volume = per_cell**3
    density = Field(paint(positions, at_origin) / per_volume - 1, box, ["density"])
    momentum = paint(positions, at_origin, weights=velocities) / per_volume
    return MatterFields(density, from_momentum(density, Field(momentum, box, "xyz", "km/s", kind="vector")))


def _few_steps(
    modes: Complex[torch.Tensor, "1 x y z"], box: Box, cosmology: Cosmology, *, redshift: float, steps: Steps
) -> Particles:
    first, second = displacements(modes[0], box)
    return bullfrog(first, second, box, cosmology, redshift=redshift, steps=steps)


def box_of_cells(size: float, *, cell_size: float) -> Box:
    """Return a periodic box with cells as near as possible to a size, an even number along a side.

    Parameters
    ----------
    size, cell_size : float
        Side of the box and of a cell [Mpc/h].

    Raises
    ------
    InputError
        If such cells would be more than 5 % larger or smaller than asked for: a painter knows one resolution.

    Examples
    --------
    >>> box_of_cells(225.0, cell_size=3.75).cells
    60
    """
    if not cell_size > 0:
        raise InputError(f"cell_size must be > 0 Mpc/h, got {cell_size}")
    Box(size)  # finite
    cells = CELLS_MULTIPLE * max(round(size / cell_size / CELLS_MULTIPLE), 1)
    box = Box(size, cells)
    if abs(box.cell_size / cell_size - 1) > MOST_OFF:
        raise InputError(
            f"box size must be near a multiple of {CELLS_MULTIPLE * cell_size:g} Mpc/h for cells of {cell_size:g}, "
            f"got {size:g}: use {CELLS_MULTIPLE * cell_size * max(round(size / cell_size / CELLS_MULTIPLE), 1):g}"
        )
    return box
