"""What painters are evaluated on: ranges of mass, boxes with their 2LPT twins, halos in cells, and tuned baselines."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from torch import Tensor

from peculiar.core import Box, InputError, OutOfRangeWarning
from peculiar.inference.painting import HaloPainter
from peculiar.linear.local_bias import LocalBias, fit_local_bias, linear_bias
from peculiar.simulate.matter import MatterFields, box_of_cells, matter_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.training.counts import count_halos

SLAB = 15.0  # Mpc/h, depth of the slices

Counts = Float[Tensor, "x y z"]


@dataclass(frozen=True)
class MassRange:
    """Halos of a range of masses [Msun/h], the upper edge left out."""

    low: float
    high: float

    @property
    def label(self) -> str:
        """Logarithms of both masses, as "12-12.5"."""
        return "-".join(f"{round(float(np.log10(mass)), 3):g}" for mass in (self.low, self.high))

    def bins_of(self, edges: Sequence[float]) -> slice | None:
        """Bins that together are the range, or None where they cut it."""
        found = [int(np.argmin(np.abs(np.log(np.divide(edges, mass))))) for mass in (self.low, self.high)]
        if not all(np.isclose(edges[i], mass) for i, mass in zip(found, (self.low, self.high), strict=True)):
            return None
        return slice(*found)


def mass_ranges(all_edges: Sequence[Sequence[float]], *, resolved: float = 0.0) -> list[MassRange]:
    """Return what is measured: all halos of each painter, then each of its bins; equal ones once.

    Parameters
    ----------
    all_edges : sequence of sequences of float
        Edges of each painter's bins [Msun/h].
    resolved : float
        Mass of the lightest halo that simulations resolve [Msun/h]: bins that begin below it are left out, with a
        warning (`OutOfRangeWarning`).

    Raises
    ------
    InputError
        If no bin is resolved.
    """
    kept = [[edge for edge in edges if edge >= resolved] for edges in all_edges]
    if not any(len(edges) > 1 for edges in kept):
        raise InputError(
            f"mass bins must begin where halos are resolved, from {resolved:.3g} Msun/h on, got {all_edges[0]}: "
            "simulate more particles"
        )
    if any(len(some) < len(edges) for some, edges in zip(kept, all_edges, strict=True)):
        text = (
            f"mass bins below {resolved:.3g} Msun/h are left out: the simulations do not resolve their halos"
        )
        warnings.warn(text, OutOfRangeWarning, stacklevel=2)
    whole = [MassRange(edges[0], edges[-1]) for edges in kept if len(edges) > 1]
    bins = [MassRange(low, high) for edges in kept for low, high in pairwise(edges)]
    return list({one.label: one for one in (*whole, *bins)}.values())


def coarser_twin(simulated: SimulatedBox, painter: HaloPainter) -> MatterFields:
    """A box's own waves, with the painter's particles on its cells."""
    return matter_fields(
        box_of_cells(simulated.box.side, cell_size=painter.card.cell_size),
        simulated.cosmology,
        seed=simulated.seed,
        redshift=simulated.redshift,
        per_cell=painter.card.particles_per_cell,
        dynamics=painter.card.dynamics,
    )


def halos_in_cells(simulated: SimulatedBox, box: Box, ranges: Sequence[MassRange]) -> list[Counts]:
    """Halos of a box in cells, one mesh for each range."""
    halos = simulated.halos
    found = []
    for one in ranges:
        counts = count_halos(halos.positions, halos.masses, box, mass_edges=(one.low, one.high))[0]
        if not counts.sum() > 0:
            raise InputError(
                f"boxes must hold halos in every mass bin, got none of {one.label} in {simulated.path}"
            )
        found.append(counts)
    return found


def fit_baselines(
    tuning: Sequence[SimulatedBox],
    ranges: Sequence[MassRange],
    painter: HaloPainter,
    advance: Callable[[int], None],
) -> list[tuple[LocalBias, float]]:
    """Local and linear bias of each range, fitted on boxes that are not evaluated."""
    densities, counts = [], []
    for simulated in tuning:
        density = coarser_twin(simulated, painter).density
        densities.append(density)
        counts.append(halos_in_cells(simulated, density.box, ranges))
        advance(1)
    found = []
    for i in range(len(ranges)):
        pairs = [(density, several[i]) for density, several in zip(densities, counts, strict=True)]
        found.append((fit_local_bias(pairs), linear_bias(pairs)))
        advance(1)
    return found


@dataclass(frozen=True, eq=False)
class Painted:
    """What a model makes of one box in one range of masses: draws, and the mean counts given the density."""

    draws: Sequence[Counts]
    mean: Counts


@dataclass(frozen=True, eq=False)
class TwinBox:
    """A simulated box with the twin of its density, and what painters make of it in all their bins."""

    simulated: SimulatedBox
    theory: MatterFields
    painters: Mapping[str, HaloPainter]
    seeds: Sequence[int]
    first: bool

    @cached_property
    def drawn(self) -> dict[str, tuple[list[Tensor], Tensor]]:
        """Each painter's draws and mean counts, (bin, x, y, z)."""
        density, found = self.theory.density, {}
        cosmology, redshift = self.simulated.cosmology, self.simulated.redshift
        for name, painter in self.painters.items():
            painter.check(density.box, cosmology, redshift=redshift)
            mean = painter.mean_counts(density, cosmology=cosmology, redshift=redshift).data
            # One field of real numbers is all that some painters know: it stands for draws as well.
            draws = [
                painter.counts(density, cosmology=cosmology, redshift=redshift, seed=seed).data
                for seed in self.seeds
            ]
            found[name] = (draws if painter.stochastic else [mean], mean)
        return found


@dataclass(frozen=True, eq=False)
class CountCase:
    """Halos of a box in a range of masses, or its catalogue."""

    twin: TwinBox
    sample: str
    masses: MassRange | None = None
    truth: Counts | None = None
    local: LocalBias | None = None
    bias: float = 1.0
    limits: tuple[int, ...] = field(default=())

    @property
    def box(self) -> str:
        """File of the box."""
        return self.twin.simulated.path.name
