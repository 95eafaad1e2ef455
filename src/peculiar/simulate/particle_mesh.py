"""Particle-mesh evolution with FastPM steps (Feng, Chu, Seljak & McDonald 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Complex, Float

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.limits import require_redshift
from peculiar.fields.kernels import gradient_kernel, paint_kernel
from peculiar.simulate.initial import integer_modes
from peculiar.simulate.lpt import displacements, lattice

MOST_STEPS = 10_000


@dataclass(frozen=True, eq=False)
class Particles:
    """Dark-matter particles of one or more boxes.

    Parameters
    ----------
    positions : (batch, n, 3) float32 [Mpc/h], in [0, size)
    velocities : (batch, n, 3) float32 [km/s], peculiar
    size : float
        Side of the box [Mpc/h].
    """

    positions: Float[torch.Tensor, "batch n 3"]
    velocities: Float[torch.Tensor, "batch n 3"]
    size: float


@dataclass(frozen=True)
class Steps:
    """Time stepping of a run.

    Parameters
    ----------
    count : int
        Steps, equal in the scale factor.
    start : float
        Scale factor of the 2LPT start.
    mesh_factor : int
        Cells of the force mesh per particle, along a side.
    """

    count: int = 12
    start: float = 0.1
    mesh_factor: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_STEPS:
            told = (
                f"must be 1 to {MOST_STEPS}, got {self.count}: 12 to 40 are usual, 3 to 5 for painted boxes"
            )
            raise InputError(f"Steps.count {told}", command=f"--steps {told}")
        if not 0 < self.start < 1 or self.mesh_factor < 1:
            raise InputError(f"Steps needs 0 < start < 1 and mesh_factor >= 1, got {self}: leave them out")

    @property
    def start_redshift(self) -> float:
        """Redshift of the 2LPT start."""
        return 1 / self.start - 1

    def to_epochs(self, redshifts: Sequence[float]) -> list[int]:
        """Return the steps to each of falling redshifts from the one before.

        To the first there are `count`, to the others as many as keep each no longer than in a run of `count` steps to
        that redshift alone.

        Examples
        --------
        >>> Steps(count=12).to_epochs([1.5, 1.0, 0.6, 0.3, 0.0])
        [12, 3, 3, 3, 4]
        """
        ends = [self.start, *(1 / (1 + redshift) for redshift in redshifts)]
        return [
            math.ceil((end - before) / (end - self.start) * self.count - 1e-9)
            for before, end in pairwise(ends)
        ]


def simulation_memory(particles: int, steps: Steps) -> int:
    """Return the memory [bytes] that a run takes on the CPU, with this number of particles along a side."""
    return 50 * particles**3 + 16 * (steps.mesh_factor * particles) ** 3


def _momentum_growth(cosmology: Cosmology, a: float) -> float:
    """G(a) = a^3 E dD/da, the growth of the Zel'dovich momentum p = a^2 dx/dt / H0."""
    z = 1 / a - 1
    return a**2 * float(cosmology.efunc(z)) * cosmology.growth(z) * cosmology.growth_rate(z)


def wrap(positions: torch.Tensor, size: float) -> torch.Tensor:
    """Take positions back into [0, size), in place."""
    positions.remainder_(size)
    # Rounding can put a tiny negative number on the upper face.
    return positions.masked_fill_(positions >= size, 0.0)


def start_from_lpt(
    modes: Complex[torch.Tensor, "batch x y z"],
    box: Box,
    cosmology: Cosmology,
    *,
    redshift: float,
    order: int = 2,
) -> Particles:
    """Displace a lattice by Zel'dovich (order 1) or 2LPT (order 2).

    Parameters
    ----------
    modes : (batch, x, y, z) complex, rfftn layout
        Linear density at z = 0 on the particle lattice, from `linear_density`.
    box : Box
        With one cell per particle.
    redshift : float
    order : 1 or 2
    """
    growth, second = cosmology.growth(redshift), cosmology.growth_second(redshift)
    to_velocity = cosmology.hubble(redshift) / (1 + redshift)
    q = lattice(box.mesh, box.side, modes.device)
    positions, velocities = [], []
    for one in modes:
        psi_1, psi_2 = displacements(one, box)
        psi_1 *= growth
        psi_2 *= second if order == 2 else 0.0
        v = cosmology.growth_rate(redshift) * psi_1 + cosmology.growth_rate_second(redshift) * psi_2
        positions.append(wrap((q + psi_1 + psi_2).reshape(3, -1).T.contiguous(), box.side))
        velocities.append(v.mul_(to_velocity).reshape(3, -1).T.contiguous())
    return Particles(torch.stack(positions), torch.stack(velocities), box.side)


def _paint(positions: torch.Tensor, mesh: int, size: float) -> torch.Tensor:
    """CIC counts (batch, mesh, mesh, mesh)."""
    if positions.device.type == "cpu":
        counts = [paint_kernel(one.numpy(), None, mesh, size=size)[0] for one in positions]
        return torch.from_numpy(counts[0][None] if len(counts) == 1 else np.stack(counts))
    return _paint_with_torch(positions, mesh, size)


def _paint_with_torch(positions: torch.Tensor, mesh: int, size: float) -> torch.Tensor:
    counts = torch.zeros(len(positions), mesh**3, device=positions.device)
    for index, weight in _corners(positions, mesh, size):
        counts.scatter_add_(1, index, weight)
    return counts.view(-1, mesh, mesh, mesh)


def _corners(positions: torch.Tensor, mesh: int, size: float) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield flat cell indices and CIC weights, (batch, n) each, of the eight corners."""
    scaled = positions * (mesh / size) - 0.5
    low = scaled.floor()
    high_weight = scaled - low
    low = low.long()
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                shifted = [(low[..., i] + bit) % mesh for i, bit in enumerate((a, b, c))]
                weight = torch.ones_like(scaled[..., 0])
                for i, bit in enumerate((a, b, c)):
                    weight = weight * (high_weight[..., i] if bit else 1 - high_weight[..., i])
                yield (shifted[0] * mesh + shifted[1]) * mesh + shifted[2], weight


def _solve_poisson(counts: torch.Tensor, size: float) -> torch.Tensor:
    """phi with laplacian(phi) = delta, in (Mpc/h)^2; consumes the counts."""
    mesh = counts.shape[-1]
    kx, ky, kz = (k.float() * (2 * torch.pi / size) for k in integer_modes(mesh, counts.device))
    counts /= counts[0].mean(dtype=torch.float64).float()
    modes = torch.fft.rfftn(counts, dim=(1, 2, 3))
    del counts
    for x in range(mesh):
        k2 = kx[x] ** 2 + ky[0] ** 2 + kz[0] ** 2
        if x == 0:
            k2[0, 0] = torch.inf
        modes[:, x] /= -k2
    return torch.fft.irfftn(modes, s=(mesh,) * 3, dim=(1, 2, 3))


def accelerations(
    positions: Float[torch.Tensor, "batch n 3"], size: float, *, mesh: int
) -> Float[torch.Tensor, "batch n 3"]:
    """-grad(phi) at the particles with laplacian(phi) = delta [Mpc/h].

    Four-point differences of a CIC mesh; on a growing mode this is the Zel'dovich displacement.
    """
    potential = _solve_poisson(_paint(positions, mesh, size), size)
    scale = -mesh / size
    if positions.device.type == "cpu":
        forces = [
            torch.from_numpy(gradient_kernel(phi.numpy(), x.numpy(), size=size)).mul_(scale)
            for phi, x in zip(potential, positions, strict=True)
        ]
        return forces[0][None] if len(forces) == 1 else torch.stack(forces)
    return _gradient_with_torch(potential, positions, size).mul_(scale)


def _gradient_with_torch(potential: torch.Tensor, positions: torch.Tensor, size: float) -> torch.Tensor:
    """`gradient_kernel` for a batch on any device: (batch, n, 3), the potential's unit per cell."""
    mesh = potential.shape[-1]
    gradients = torch.zeros_like(positions)
    for axis in range(3):
        near = torch.roll(potential, -1, axis + 1) - torch.roll(potential, 1, axis + 1)
        far = torch.roll(potential, -2, axis + 1) - torch.roll(potential, 2, axis + 1)
        gradient = ((2 / 3) * near - (1 / 12) * far).flatten(1)
        for index, weight in _corners(positions, mesh, size):
            gradients[..., axis] += weight * gradient.gather(1, index)
    return gradients


def evolve(
    modes: Complex[torch.Tensor, "batch x y z"],
    box: Box,
    cosmology: Cosmology,
    *,
    redshift: float,
    steps: Steps | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Particles:
    """Run particles from 2LPT to a redshift; see `evolve_epochs`."""
    return next(evolve_epochs(modes, box, cosmology, redshifts=[redshift], steps=steps, progress=progress))


def evolve_epochs(
    modes: Complex[torch.Tensor, "batch x y z"],
    box: Box,
    cosmology: Cosmology,
    *,
    redshifts: Sequence[float],
    steps: Steps | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Particles]:
    """Run particles from 2LPT on a periodic force mesh, and yield them at redshifts.

    Kick-drift-kick with the kick and drift factors of FastPM (Feng et al. 2016, eqs. 21-24), which grow every linear
    mode as Zel'dovich does whatever the number of steps. Positions and velocities are of one time wherever they are
    yielded, and going on from there is as exact.

    Parameters
    ----------
    modes : (batch, x, y, z) complex
        Linear density at z = 0 from `linear_density`, one box or a batch of small ones.
    box : Box
        With one cell per particle.
    redshifts : sequence of float
        Falling.
    steps : Steps, optional
        See `Steps.to_epochs`.
    progress : callable, optional
        Called with (steps done, steps) after each.

    Yields
    ------
    Particles, in the order of the lattice. The next step moves their positions.

    Notes
    -----
    Memory on the CPU for 256^3 particles and a 512^3 mesh: 2.5 GB.
    """
    steps = steps or Steps()
    for redshift in redshifts:
        require_redshift(redshift, below=steps.start_redshift)
    mesh = steps.mesh_factor * box.mesh
    ends = [steps.start, *(1 / (1 + redshift) for redshift in redshifts)]
    numbers = steps.to_epochs(redshifts)
    a = np.concatenate(
        [
            ends[:1],
            *(
                np.linspace(before, end, number + 1)[1:]
                for (before, end), number in zip(pairwise(ends), numbers, strict=True)
            ),
        ]
    )
    shown = set(np.cumsum(numbers).tolist())
    last = len(a) - 1

    def momentum_growth(at: float) -> float:
        return _momentum_growth(cosmology, at)

    def growth(at: float) -> float:
        return cosmology.growth(1 / at - 1)

    start = start_from_lpt(modes, box, cosmology, redshift=steps.start_redshift)
    del modes
    positions = start.positions
    momenta = start.velocities.mul_(a[0] / 100.0)  # v = 100 p / a
    del start
    time = a[0]  # of the momenta
    for i, now in enumerate(a):
        force = accelerations(positions, box.side, mesh=mesh)
        if progress is not None:
            progress(i, last)
        if i in shown:
            momenta.add_(force, alpha=(momentum_growth(now) - momentum_growth(time)) / growth(now))
            time = now
            yield Particles(positions, momenta * (100.0 / now), box.side)
        if i < last:
            middle = (now + a[i + 1]) / 2
            momenta.add_(force, alpha=(momentum_growth(middle) - momentum_growth(time)) / growth(now))
            time = middle
            drift = (growth(a[i + 1]) - growth(now)) / momentum_growth(middle)
            positions = wrap(positions.add_(momenta, alpha=drift), box.side)
