"""What perturbation theory, or a few steps, say about the particles of a lattice, and what of it an emulator sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Complex, Float
from pydantic import Field as Setting
from pydantic import field_validator

from peculiar.core.box import Box
from peculiar.core.channels import vector
from peculiar.core.cosmology import Cosmology
from peculiar.fields.conditions import Circumstances, NetworkInputs, condition_channels
from peculiar.simulate.bullfrog import bullfrog
from peculiar.simulate.lpt import displacement_of, displacements, lattice
from peculiar.simulate.particle_mesh import MOST_STEPS, Steps, accelerations, wrap


@dataclass(frozen=True, eq=False)
class LagrangianFields:
    """What is known about each particle of a lattice before a network, (3, x, y, z) [Mpc/h] each.

    Parameters
    ----------
    zeldovich : D psi_1
    second_order : D_2 psi_2
    moved : displacement
        After a few steps of a particle mesh; of none, of 2LPT: zeldovich + second_order.
    moving : velocity / (a H f)
        Of the same.
    acceleration : -grad phi, laplacian phi = delta
        At those places, of the density of all particles there: one evaluation of the particle mesh's force.
    steps : int
        Of the particle mesh.
    """

    zeldovich: Float[torch.Tensor, "3 x y z"]
    second_order: Float[torch.Tensor, "3 x y z"]
    moved: Float[torch.Tensor, "3 x y z"]
    moving: Float[torch.Tensor, "3 x y z"]
    acceleration: Float[torch.Tensor, "3 x y z"]
    steps: int = 0

    @classmethod
    def of_theory(
        cls,
        zeldovich: Float[torch.Tensor, "3 x y z"],
        second_order: Float[torch.Tensor, "3 x y z"],
        acceleration: Float[torch.Tensor, "3 x y z"],
        *,
        cosmology: Cosmology,
        redshift: float,
    ) -> LagrangianFields:
        """Return those of 2LPT, without a particle mesh."""
        ratio = cosmology.growth_rate_second(redshift) / cosmology.growth_rate(redshift)
        moving = zeldovich + ratio * second_order
        return cls(zeldovich, second_order, zeldovich + second_order, moving, acceleration)


def lagrangian_fields(
    modes: Complex[torch.Tensor, "x y z"],
    box: Box,
    cosmology: Cosmology,
    *,
    redshift: float,
    steps: int = 0,
    mesh_factor: int = 2,
) -> LagrangianFields:
    """Move a lattice by 2LPT, or by a few steps of `bullfrog`, and take the force there.

    Parameters
    ----------
    modes : complex, rfftn layout
        Linear density at z = 0 from `linear_density`, on the particle lattice.
    box : Box
        With one cell per particle.
    redshift : float
    steps : int
        Of the particle mesh; 0 for 2LPT.
    mesh_factor : int
        Cells of the force mesh per particle, along a side.
    """
    first, second = displacements(modes, box)
    shape = first.shape
    short = None
    if steps:
        settings = Steps(steps, mesh_factor=mesh_factor)
        short = bullfrog(first, second, box, cosmology, redshift=redshift, steps=settings)
    first *= cosmology.growth(redshift)
    second *= cosmology.growth_second(redshift)
    if short is None:
        moved = (lattice(box.mesh, box.side, modes.device) + first + second).reshape(3, -1).T.contiguous()
        places = wrap(moved, box.side)
    else:
        places = short.positions[0]
    force = (
        accelerations(places[None], box.side, mesh=mesh_factor * box.mesh)[0].T.reshape(shape).contiguous()
    )
    if short is None:
        return LagrangianFields.of_theory(first, second, force, cosmology=cosmology, redshift=redshift)
    moving = short.velocities[0].T.reshape(shape) / cosmology.velocity_factor(redshift)
    return LagrangianFields(first, second, displacement_of(places, box), moving, force, steps)


class LagrangianInputs(NetworkInputs):
    """Which channels a displacement emulator sees; part of its model card.

    The vectors of `LagrangianFields` [Mpc/h], three channels each, and "steps", the logarithm of their number, where a
    network is for several.
    """

    task = "displace"
    with_tracers = False
    kind: Literal["lagrangian"] = "lagrangian"
    fields: tuple[Literal["zeldovich", "second_order", "moved", "moving", "acceleration"], ...] = Setting(
        default=("zeldovich", "second_order", "acceleration"), min_length=1
    )
    steps: tuple[Annotated[int, Setting(ge=0, le=MOST_STEPS)], ...] = Setting(
        default=(0,), min_length=1, description="of the particle mesh that is corrected; 0 for 2LPT"
    )

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)):
            raise ValueError(f"steps must rise, got {', '.join(map(str, steps))}")
        return steps

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the vectors' channels, and "steps"."""
        vectors = (component for name in self.fields for component in vector(name))
        return (*vectors, *(("steps",) if len(self.steps) > 1 else ()))


def lagrangian_inputs(
    theory: LagrangianFields, box: Box, cosmology: Cosmology, *, redshift: float, spec: LagrangianInputs
) -> Float[torch.Tensor, "channel x y z"]:
    """Return an emulator's input channels, as `LagrangianInputs.names`; the box has one cell per particle."""
    vectors = [getattr(theory, name) for name in spec.fields]
    if len(spec.steps) > 1:
        vectors.append(torch.full_like(theory.zeldovich[:1], math.log(max(theory.steps, 1))))
    given = Circumstances(cosmology, redshift, box)
    return torch.cat([*vectors, condition_channels(spec.conditions, given, device=theory.zeldovich.device)])
