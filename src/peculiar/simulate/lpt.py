"""Lagrangian perturbation theory: displacements of first and second order."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float

from peculiar.core.box import Box
from peculiar.simulate.initial import integer_modes


def _to_real(modes: torch.Tensor) -> torch.Tensor:
    n = modes.shape[0]
    return torch.fft.irfftn(modes, s=(n, n, n))


def _inverse_gradient(modes: torch.Tensor, box: Box) -> torch.Tensor:
    """i k / k^2 times the modes, in real space: (3, x, y, z) [Mpc/h]."""
    k = [component.float() * box.k_fundamental for component in integer_modes(box.mesh, modes.device)]
    k2 = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    k2[0, 0, 0] = 1
    scaled = modes / k2
    return torch.stack([_to_real(1j * component * scaled) for component in k])


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
    k = [component.float() * box.k_fundamental for component in integer_modes(box.mesh, modes.device)]
    k2 = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    k2[0, 0, 0] = 1
    potential = modes / k2  # second derivatives of phi_1 are + k_i k_j times this, phi_1 = -delta / k^2
    source = torch.zeros((box.mesh,) * 3, device=modes.device)
    diagonal = [_to_real(k[i] * k[i] * potential) for i in range(3)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        source += diagonal[i] * diagonal[j]
        source -= _to_real(k[i] * k[j] * potential).square()
    del diagonal, potential
    return _inverse_gradient(modes, box), -_inverse_gradient(torch.fft.rfftn(source), box)


def lattice(cells: int, size: float, device: torch.device | str = "cpu") -> Float[torch.Tensor, "3 x y z"]:
    """Unperturbed particle positions, at cell centres [Mpc/h]."""
    q = (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) * (size / cells)
    return torch.stack(torch.meshgrid(q, q, q, indexing="ij"))
