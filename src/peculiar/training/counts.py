"""Simulated boxes as painters of halos see them: a coarser twin's density in, halos per cell in bins of mass out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field as Setting

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.output import atomic_output
from peculiar.fields.conditions import NetworkInputs
from peculiar.fields.paint import paint
from peculiar.models.channels import log_density
from peculiar.models.painter import EXPECTED
from peculiar.models.ramanah2019 import DENSITY_OFFSET
from peculiar.simulate.mass_function import MassFunction
from peculiar.simulate.matter import Dynamics, box_of_cells, matter_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.painted_channels import told, with_told
from peculiar.training.cache import box_key, cache_of, is_mesh
from peculiar.training.dataset import MeshPair, Pair

MASS_EDGES = tuple(float(mass) for mass in np.logspace(12, 14, 5))
"""Edges of the four bins of Kodi Ramanah et al. 2019 [Msun/h]."""
FORMAT = 1


class CountInputs(NetworkInputs):
    """What painters of halos see, and what they count; part of a recipe.

    ln(2 + delta) of the density of a box's coarser twin, by 2LPT ("second order") or a particle mesh, on a mesh with
    cells as near to `cell_size` as fit; and, with a mass function, ln of the halos of each bin that a cell holds on
    average in the box's cosmology and epoch.
    """

    task = "paint"
    with_tracers = False
    kind: Dynamics = "second order"
    cell_size: float = Setting(3.75, gt=0, description="[Mpc/h]")
    particles_per_cell: int = Setting(2, ge=1, description="particles in a cell along a side of it")
    mass_edges: tuple[float, ...] = Setting(
        MASS_EDGES, min_length=2, description="edges of the bins, the lightest first [Msun/h]"
    )
    mass_function: Literal["fitted"] | MassFunction | None = None

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels but conditions."""
        if self.mass_function is None:
            return ("log_density",)
        return ("log_density", *(f"{EXPECTED}{i}" for i in range(self.bins)))

    @property
    def bins(self) -> int:
        """Bins of mass."""
        return len(self.mass_edges) - 1


@dataclass(frozen=True, kw_only=True)
class CountPair(MeshPair):
    """One box: files of ln(2 + delta), (1, n, n, n) float16, and of halos per cell, (bins, n, n, n) integer.

    Parameters
    ----------
    box : Box
        With the mesh of both.
    mass_edges : tuple of float
        Edges of the bins, the lightest first [Msun/h].
    told : (channel,)
        Further inputs, see `peculiar.simulate.painted_channels.told`.
    """

    box: Box
    mass_edges: tuple[float, ...]
    told: tuple[float, ...] = ()

    def crop(self, corner: Sequence[int], size: int) -> Pair:
        """Cut a cube out of the meshes, see `MeshPair.crop`."""
        inputs, targets = super().crop(corner, size)
        return with_told(inputs, torch.tensor(self.told)), targets


def cached_counts(
    paths: Sequence[Path],
    inputs: CountInputs,
    *,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[CountPair]:
    """Return every box as a painter of halos sees it, making what is not there yet.

    A mesh of 60^3 cells takes 0.4 MB for the density and 0.2 MB for each bin.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes.
    inputs : CountInputs
        Cells, lattice and bins of mass.
    advance : callable
        Told after each box.

    Raises
    ------
    InputError
        If the edges do not rise, cells of that size do not fit a box, or a box's lightest halos are heavier than the
        lowest edge; with a mass function, which knows what a box resolves, they may be.
    """
    edges, mass_function = inputs.mass_edges, inputs.mass_function
    assert mass_function != "fitted"
    pairs = []
    for path in paths:
        simulated = SimulatedBox.open(path)
        box = box_of_cells(simulated.box.side, cell_size=inputs.cell_size)
        folder = cache_of(path)
        targets = folder / f"counts-{box_key(path, FORMAT, box.mesh, edges)}.npy"
        if not is_mesh(targets, channels=inputs.bins, cells=box.mesh, kinds="BH"):
            halos = simulated.halos
            if mass_function is None and len(halos) and halos.masses.min() > edges[0]:
                raise InputError(
                    f"mass_edges must begin where halos are resolved, got {edges[0]:.3g} Msun/h for {path}, whose "
                    f"lightest halo has {halos.masses.min():.3g}: raise the first edge, or simulate more particles"
                )
            counts = count_halos(halos.positions, halos.masses, box, mass_edges=edges).numpy()
            kind = np.uint8 if counts.max() <= np.iinfo(np.uint8).max else np.uint16
            with atomic_output(targets, overwrite=True) as temporary:
                np.save(temporary, counts.astype(kind))
        twin = box_key(path, FORMAT, box.mesh, inputs.particles_per_cell)
        density = folder / f"{inputs.kind.replace(' ', '-')}-{twin}.npy"
        if not is_mesh(density, channels=1, cells=box.mesh):
            theory = matter_fields(
                box,
                simulated.cosmology,
                seed=simulated.seed,
                redshift=simulated.redshift,
                per_cell=inputs.particles_per_cell,
                dynamics=inputs.kind,
            )
            logarithm = log_density(theory.density.data, floor=DENSITY_OFFSET)
            with atomic_output(density, overwrite=True) as temporary:
                np.save(temporary, logarithm.to(torch.float16).numpy())
        factor = simulated.cosmology.velocity_factor(simulated.redshift)
        numbers = told(
            mass_function,
            inputs.conditions,
            edges,
            box=box,
            cosmology=simulated.cosmology,
            redshift=simulated.redshift,
            spacing=simulated.box.side / simulated.particles,
        )
        pairs.append(
            CountPair(
                density,
                (targets,),
                factor,
                path.stem,
                box=box,
                mass_edges=edges,
                told=tuple(numbers.tolist()),
            )
        )
        advance(1)
    return pairs


def count_halos(
    positions: Float[np.ndarray, "n 3"],
    masses: Float[np.ndarray, " n"],
    box: Box,
    *,
    mass_edges: Sequence[float] = MASS_EDGES,
) -> Float[torch.Tensor, "bin x y z"]:
    """Count halos in the cells of a mesh, in bins of mass; the sum over bins counts all of them together.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
    masses : (n,) [Msun/h]
        Those below the first edge, or at or above the last, are not counted.
    box : Box
        With its mesh.
    mass_edges : sequence of float
        Edges of the bins, the lightest first [Msun/h].

    Raises
    ------
    InputError
        If there are fewer than two edges, or they do not rise.
    """
    edges = np.asarray(mass_edges, dtype=np.float64)
    if len(edges) < 2 or edges[0] <= 0 or (np.diff(edges) <= 0).any():
        raise InputError(f"mass_edges must be at least two masses > 0 that rise, got {tuple(mass_edges)}")
    bins = np.digitize(masses, edges) - 1
    weights = (bins[:, None] == np.arange(len(edges) - 1)).astype(np.float32)
    return paint(positions, box, weights=weights, scheme="ngp")
