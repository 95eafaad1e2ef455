"""What perturbation theory says about the particles of a lattice, and what of it an emulator sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from pydantic import Field as Setting

from peculiar.core.box import Box
from peculiar.core.channels import vector
from peculiar.core.cosmology import Cosmology
from peculiar.fields.conditions import Circumstances, NetworkInputs, condition_channels
from peculiar.simulate.lpt import displacements, lattice
from peculiar.simulate.particle_mesh import accelerations


@dataclass(frozen=True, eq=False)
class LagrangianFields:
    """What perturbation theory says about each particle of a lattice, (3, x, y, z) [Mpc/h] each.

    Parameters
    ----------
    zeldovich : D psi_1
    second_order : D_2 psi_2
        Particles of 2LPT stand at q + zeldovich + second_order.
    acceleration : -grad phi, laplacian phi = delta
        At those places, of the density of all particles there: one evaluation of the particle mesh's force.
    """

    zeldovich: Float[torch.Tensor, "3 x y z"]
    second_order: Float[torch.Tensor, "3 x y z"]
    acceleration: Float[torch.Tensor, "3 x y z"]


def lagrangian_fields(
    modes: Complex[torch.Tensor, "x y z"],
    box: Box,
    cosmology: Cosmology,
    *,
    redshift: float,
    mesh_factor: int = 2,
) -> LagrangianFields:
    """Displace a lattice by 2LPT and take the force there.

    Parameters
    ----------
    modes : complex, rfftn layout
        Linear density at z = 0 from `linear_density`, on the particle lattice.
    box : Box
        With one cell per particle.
    redshift : float
    mesh_factor : int
        Cells of the force mesh per particle, along a side.
    """
    first, second = displacements(modes, box)
    first *= cosmology.growth(redshift)
    second *= cosmology.growth_second(redshift)
    shape = first.shape
    positions = (lattice(box.mesh, box.side, modes.device) + first + second).reshape(3, -1).T.contiguous()
    positions.remainder_(box.side).masked_fill_(positions >= box.side, 0.0)
    force = accelerations(positions[None], box.side, mesh=mesh_factor * box.mesh)[0]
    return LagrangianFields(first, second, force.T.reshape(shape).contiguous())


class LagrangianInputs(NetworkInputs):
    """Which channels a displacement emulator sees; part of its model card.

    The vectors of `LagrangianFields` [Mpc/h], three channels each.
    """

    task = "displace"
    with_tracers = False
    kind: Literal["lagrangian"] = "lagrangian"
    fields: tuple[Literal["zeldovich", "second_order", "acceleration"], ...] = Setting(
        default=("zeldovich", "second_order", "acceleration"), min_length=1
    )

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the vectors' channels."""
        return tuple(component for name in self.fields for component in vector(name))


def lagrangian_inputs(
    theory: LagrangianFields, box: Box, cosmology: Cosmology, *, redshift: float, spec: LagrangianInputs
) -> Float[torch.Tensor, "channel x y z"]:
    """Return an emulator's input channels, as `LagrangianInputs.names`; the box has one cell per particle."""
    given = Circumstances(cosmology, redshift, box)
    conditions = condition_channels(spec.conditions, given, device=theory.zeldovich.device)
    return torch.cat([*(getattr(theory, name) for name in spec.fields), conditions])


def second_order_velocity(
    theory: LagrangianFields, cosmology: Cosmology, *, redshift: float
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the velocities of 2LPT, (3, x, y, z) [km/s]."""
    to_velocity = cosmology.hubble(redshift) / (1 + redshift)
    first, second = cosmology.growth_rate(redshift), cosmology.growth_rate_second(redshift)
    return to_velocity * (first * theory.zeldovich + second * theory.second_order)
