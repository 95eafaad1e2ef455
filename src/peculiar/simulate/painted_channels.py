"""What painters of halos are told beside the density: numbers that are the same in every cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.fields.conditions import Circumstances, condition_channels
from peculiar.simulate.mass_function import NOTHING, MassFunction


def told(
    mass_function: MassFunction | None,
    conditions: tuple[str, ...],
    mass_edges: Sequence[float],
    *,
    box: Box,
    cosmology: Cosmology,
    redshift: float,
    spacing: float | None = None,
) -> Float[torch.Tensor, " channel"]:
    """Return ln of the halos of each bin that a cell of the universe holds on average, then the conditions.

    Parameters
    ----------
    mass_function : MassFunction, optional
        Without one no halos are told of.
    conditions : tuple of str
        Among `peculiar.fields.conditions.CONDITIONS`.
    mass_edges : sequence of float
        Edges of the bins [Msun/h].
    box : Box
        With its mesh.
    cosmology : Cosmology
    redshift : float
    spacing : float, optional
        Of the particles of the simulations whose halos are meant [Mpc/h]. Default: the mass function's.
    """
    given = Circumstances(cosmology, redshift, Box(2 * box.cell_size, 2))
    found = condition_channels(conditions, given)[:, 0, 0, 0]
    if mass_function is None:
        return found
    density = mass_function.density(mass_edges, cosmology, redshift, spacing=spacing)
    counts = torch.from_numpy((density + NOTHING) * box.cell_size**3)
    return torch.cat([counts.log().float(), found])


def with_told(
    mesh: Float[torch.Tensor, "channel x y z"], numbers: Float[torch.Tensor, " more"]
) -> Float[torch.Tensor, "all x y z"]:
    """Return a mesh with further channels, each of one number."""
    return torch.cat([mesh, numbers.to(mesh)[:, None, None, None].expand(-1, *mesh.shape[1:])])
