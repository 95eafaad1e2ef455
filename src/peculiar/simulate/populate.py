"""From counts of halos in cells to a catalogue: masses, positions and velocities measured on simulated halos."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.redshift_space import wrap
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.second_order import SecondOrderFields

QUANTILES = 33
NODES = 8
_SUBCELLS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
_LEAST_HALOS = 50  # for a mean and a dispersion at a node


class HaloProperties(BaseModel):
    """What halos have beyond their number in a cell; part of a painter's model card.

    Masses in Msun/h, velocities in km/s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mass_quantiles: tuple[tuple[float, ...], ...] = Setting(
        description="for each bin, the lightest first: masses at equal steps of the cumulative distribution"
    )
    log_density: tuple[float, ...] = Setting(description="nodes of ln(2 + delta) of the 2LPT density")
    velocity_slope: tuple[float, ...] = Setting(description="halos' velocity over that of 2LPT, at the nodes")
    velocity_dispersion: tuple[float, ...] = Setting(
        description="standard deviation of a component of the rest, at the nodes [km/s]"
    )
    velocity_coherence: float = Setting(
        ge=0, le=1, description="correlation of the rest between halos closer than half a cell"
    )

    @model_validator(mode="after")
    def _usable(self) -> HaloProperties:
        if any(len(masses) < 2 or any(b < a for a, b in pairwise(masses)) for masses in self.mass_quantiles):
            raise ValueError("mass_quantiles must hold at least two masses for each bin, and rise")
        if not len(self.log_density) == len(self.velocity_slope) == len(self.velocity_dispersion) > 0:
            raise ValueError(
                "log_density, velocity_slope and velocity_dispersion must have one length, at least 1"
            )
        if any(b <= a for a, b in pairwise(self.log_density)):
            raise ValueError("log_density must rise")
        return self


def measure_halo_properties(
    boxes: Sequence[tuple[SimulatedBox, SecondOrderFields]], *, mass_edges: Sequence[float]
) -> HaloProperties:
    """Measure masses inside bins, and velocities against those of 2LPT, on simulated halos.

    Parameters
    ----------
    boxes : sequence of (SimulatedBox, SecondOrderFields)
        The fields with the mesh that halos are painted on.
    mass_edges : sequence of float
        Edges of the bins, the lightest first [Msun/h].

    Raises
    ------
    InputError
        If no box is given, a bin holds fewer than two halos, or all bins together fewer than 50.
    """
    if not boxes:
        raise InputError("boxes must hold at least one simulated box, got none: simulate boxes first")
    parts: list[tuple[np.ndarray, ...]] = []
    pairs: list[np.ndarray] = []
    before = 0
    for simulated, fields in boxes:
        halos = simulated.halos
        kept = (halos.masses >= mass_edges[0]) & (halos.masses < mass_edges[-1])
        positions = wrap(halos.positions[kept].astype(np.float64), Box(simulated.box.size))
        pairs.append(_close_pairs(positions, fields.density.box) + before)
        before += len(positions)
        log, flow = _log_density(fields.density, positions), fields.velocity.at(positions)
        parts.append((halos.masses[kept], log, flow, halos.velocities[kept]))
    mass, log, flow, velocity = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(mass) < _LEAST_HALOS:
        raise InputError(f"boxes must hold at least {_LEAST_HALOS} halos in the bins, got {len(mass)}")
    nodes, slope, dispersion = _velocity_statistics(log, flow, velocity)
    rest = (velocity - np.interp(log, nodes, slope)[:, None] * flow) / np.interp(log, nodes, dispersion)[
        :, None
    ]
    i, j = np.concatenate(pairs).T
    coherence = float((rest[i] * rest[j]).mean() / rest.var()) if len(i) else 0.0
    return HaloProperties(
        mass_quantiles=tuple(_quantiles(mass, low, high) for low, high in pairwise(mass_edges)),
        log_density=tuple(nodes.tolist()),
        velocity_slope=tuple(slope.tolist()),
        velocity_dispersion=tuple(dispersion.tolist()),
        velocity_coherence=min(max(coherence, 0.0), 1.0),
    )


def populate(
    counts: Float[torch.Tensor, "bins x y z"],
    fields: SecondOrderFields,
    properties: HaloProperties,
    *,
    seed: int,
    redshift: float,
) -> Catalogue:
    """Give halos counted in cells masses, positions and velocities, in real space.

    A mass is drawn from the simulated halos of its bin. A position is drawn in the cell, in proportion to the density
    in its eight eighths. A velocity is that of 2LPT times a slope, plus a Gaussian part; slope and dispersion depend
    on the density, and a share of the Gaussian part is common to neighbours.

    Parameters
    ----------
    counts : (bins, x, y, z)
        Whole numbers, on the mesh of the fields; bins as in `properties`, the lightest first.
    fields : SecondOrderFields
        Density and velocity of the periodic box that was painted.
    properties : HaloProperties
    seed : int
    redshift : float

    Raises
    ------
    InputError
        If counts and properties differ in their bins, or there is no halo.
    """
    if len(counts) != len(properties.mass_quantiles):
        raise InputError(
            f"counts must have {len(properties.mass_quantiles)} mass bins like the properties, got {len(counts)}"
        )
    box = fields.density.box
    random = np.random.default_rng([seed, 2019])
    numbers = counts.cpu().numpy().astype(np.int64).reshape(len(counts), -1)
    if not numbers.any():
        raise InputError(f"counts must hold at least one halo, got none in a box of {box.size:g} Mpc/h")
    steps = np.linspace(0, 1, len(properties.mass_quantiles[0]))
    cells = [np.repeat(np.arange(box.mesh**3), row) for row in numbers]
    masses = [
        np.exp(np.interp(random.random(len(row)), steps, np.log(quantiles)))
        for row, quantiles in zip(cells, properties.mass_quantiles, strict=True)
    ]
    positions = _positions(np.concatenate(cells), fields.density, random)
    return Catalogue(
        positions=positions,
        box=Box(box.size, origin=box.origin),
        redshift=redshift,
        space="real",
        velocities=_velocities(positions, fields, properties, random),
        masses=np.concatenate(masses),
    )


def _positions(cells: np.ndarray, density: Field, random: np.random.Generator) -> np.ndarray:
    box = density.box
    corner = np.stack(np.unravel_index(cells, (box.mesh,) * 3), axis=1)
    origin = np.asarray(box.origin)
    rho = np.stack(
        [density.at((corner + 0.25 + 0.5 * part) * box.cell_size + origin)[:, 0] for part in _SUBCELLS]
    )
    cumulative = np.cumsum(np.maximum(1 + rho, 1e-3), axis=0)
    chosen = (cumulative < random.random(len(cells)) * cumulative[-1]).sum(axis=0)
    inside = 0.5 * (_SUBCELLS[chosen] + random.random((len(cells), 3)))
    return wrap(origin + (corner + inside) * box.cell_size, box)


def _velocities(
    positions: np.ndarray, fields: SecondOrderFields, properties: HaloProperties, random: np.random.Generator
) -> np.ndarray:
    box = fields.density.box
    log = _log_density(fields.density, positions)
    slope = np.interp(log, properties.log_density, properties.velocity_slope)
    dispersion = np.interp(log, properties.log_density, properties.velocity_dispersion)
    noise = random.standard_normal((3, *(box.mesh,) * 3), dtype=np.float32)
    common = fields.velocity.replace(data=torch.from_numpy(noise)).at(positions)
    # Interpolated noise has the variance of the sum of its squared weights.
    part = ((positions - np.asarray(box.origin)) / box.cell_size - 0.5) % 1
    common /= np.sqrt(((1 - part) ** 2 + part**2).prod(axis=1))[:, None]
    share = properties.velocity_coherence
    rest = np.sqrt(share) * common + np.sqrt(1 - share) * random.standard_normal(positions.shape)
    return slope[:, None] * fields.velocity.at(positions) + dispersion[:, None] * rest


def _log_density(density: Field, positions: np.ndarray) -> np.ndarray:
    return np.log1p(np.maximum(1 + density.at(positions)[:, 0], 0))


def _velocity_statistics(
    log: np.ndarray, flow: np.ndarray, velocity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope and dispersion in bins of density with equally many halos."""
    edges = np.unique(np.quantile(log, np.linspace(0, 1, min(NODES, len(log) // _LEAST_HALOS) + 1)))
    index = np.clip(np.searchsorted(edges, log, side="right") - 1, 0, max(len(edges) - 2, 0))
    number = np.bincount(index)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values) / number

    slope = mean((flow * velocity).sum(axis=1)) / np.maximum(mean((flow**2).sum(axis=1)), 1e-30)
    dispersion = np.sqrt(mean(((velocity - slope[index, None] * flow) ** 2).mean(axis=1)))
    return mean(log), slope, dispersion


def _close_pairs(positions: np.ndarray, box: Box) -> np.ndarray:
    from scipy.spatial import cKDTree

    tree = cKDTree(positions, boxsize=box.size)
    return tree.query_pairs(box.cell_size / 2, output_type="ndarray").reshape(-1, 2)


def _quantiles(masses: np.ndarray, low: float, high: float) -> tuple[float, ...]:
    inside = masses[(masses >= low) & (masses < high)]
    if len(inside) < 2:
        raise InputError(
            f"mass bins must hold at least two halos each, got {len(inside)} from {low:.3g} to {high:.3g} Msun/h: "
            "use more boxes or wider bins"
        )
    return tuple(np.quantile(inside, np.linspace(0, 1, QUANTILES)).tolist())
