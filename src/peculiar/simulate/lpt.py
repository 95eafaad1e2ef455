"""Lagrangian perturbation theory: displacements of first and second order."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float

from peculiar.core.box import Box
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real, wavevectors


def displacements(
    modes: Complex[torch.Tensor, "x y z"], box: Box
) -> tuple[Float[torch.Tensor, "3 x y z"], Float[torch.Tensor, "3 x y z"]]:
    """First- and second-order displacements for the linear density at z = 0.

    With psi_1, psi_2 returned, particles stand at x = q + D psi_1 + D_2 psi_2 where D_2 is
    `Cosmology.growth_second` (about -3/7 D^2), Bouchet et al. 1995, eqs. 8 and 12.

    Parameters
    ----------
    modes : complex, rfftn layout
        Linear density at z = 0 from `linear_density`.

    Returns
    -------
    psi_1, psi_2 : (3, x, y, z) [Mpc/h]
    """
    k = wavevectors(box, modes.device)
    # Second derivatives of phi_1 = -delta / k^2 are + k_i k_j times this.
    potential = modes * inverse_k_squared(box, modes.device)
    source = torch.zeros((box.mesh,) * 3, device=modes.device)
    diagonal = [to_real(k[i] * k[i] * potential, box.mesh) for i in range(3)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        source += diagonal[i] * diagonal[j]
        source -= to_real(k[i] * k[j] * potential, box.mesh).square()
    del diagonal, potential
    return displacement_from_fourier(modes, box), -displacement_from_fourier(to_fourier(source), box)


def lattice(cells: int, size: float, device: torch.device | str = "cpu") -> Float[torch.Tensor, "3 x y z"]:
    """Unperturbed particle positions, at cell centres [Mpc/h]."""
    q = (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) * (size / cells)
    return torch.stack(torch.meshgrid(q, q, q, indexing="ij"))


def displacement_of(positions: Float[torch.Tensor, "n 3"], box: Box) -> Float[torch.Tensor, "3 x y z"]:
    """Displacement of a lattice's particles from their places, the shorter way around the box [Mpc/h]."""
    n = box.mesh
    moved = positions.T.reshape(3, n, n, n) - lattice(n, box.side, positions.device)
    return (moved + box.side / 2).remainder_(box.side) - box.side / 2
