"""A particle mesh of few steps: BullFrog (Rampf, List & Hahn 2025), exact to second order whatever their number."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.limits import require_redshift
from peculiar.simulate.lpt import lattice
from peculiar.simulate.particle_mesh import Particles, Steps, accelerations, wrap

_SPACED = 0.5
"""Steps are equal in this power of D. Of 0 to 1, displacements err least near 0.3 and velocities near 1."""


def bullfrog(
    psi_1: Float[torch.Tensor, "3 x y z"],
    psi_2: Float[torch.Tensor, "3 x y z"],
    box: Box,
    cosmology: Cosmology,
    *,
    redshift: float,
    steps: Steps,
) -> Particles:
    """Run particles from 2LPT in few steps, each with one evaluation of the force.

    Drift, kick, drift in the growth D, where v = dx/dD; a kick at D_m takes v to alpha v + (1 - alpha) A / D_m, A as in
    `accelerations`. alpha makes it exact for x = q + D psi_1 + D_2 psi_2 (Rampf, List & Hahn 2025):
    there A / D_m = psi_1 + (D_2 / D_m - D_m) psi_2 with the drifted D_2. FastPM is exact to first order: of 20 steps'
    displacements, 3 and 5 steps miss about half of what those of `evolve` do.

    Parameters
    ----------
    psi_1, psi_2 : (3, x, y, z) [Mpc/h]
        From `displacements`.
    box : Box
        With one cell per particle.
    cosmology : Cosmology
    redshift : float
    steps : Steps
        Here of equal length in the square root of D.

    Returns
    -------
    Particles of one box, in the order of the lattice.
    """
    require_redshift(redshift, below=steps.start_redshift)
    times = _times(cosmology, steps, redshift)
    growth, second, rate = times[0]
    positions = lattice(box.mesh, box.side, psi_1.device) + growth * psi_1 + second * psi_2
    positions = wrap(positions.reshape(3, -1).T[None].contiguous(), box.side)
    velocities = (psi_1 + rate * psi_2).reshape(3, -1).T[None].contiguous()
    for end, second_end, rate_end in times[1:]:
        half = (end - growth) / 2
        middle = growth + half
        pull = (second + half * rate) / middle - middle
        alpha = (rate_end - pull) / (rate - pull)
        positions = wrap(positions.add_(velocities, alpha=half), box.side)
        force = accelerations(positions, box.side, mesh=steps.mesh_factor * box.mesh)
        velocities.mul_(alpha).add_(force, alpha=(1 - alpha) / middle)
        positions = wrap(positions.add_(velocities, alpha=half), box.side)
        growth, second, rate = end, second_end, rate_end
    return Particles(positions, velocities.mul_(growth * cosmology.velocity_factor(redshift)), box.side)


def _times(cosmology: Cosmology, steps: Steps, redshift: float) -> list[tuple[float, float, float]]:
    """D, D_2 and dD_2/dD at the start and after each step."""
    a = np.linspace(steps.start, 1 / (1 + redshift), 256)
    spaced = np.array([cosmology.growth(1 / one - 1) for one in a]) ** _SPACED
    ends = np.interp(np.linspace(spaced[0], spaced[-1], steps.count + 1), spaced, a)
    times = []
    for z in 1 / ends - 1:
        growth, second = cosmology.growth(z), cosmology.growth_second(z)
        ratio = cosmology.growth_rate_second(z) / cosmology.growth_rate(z)
        times.append((growth, second, ratio * second / growth))
    return times
