"""What simulated halos have beyond their number in a cell, measured for catalogues that are painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.fields.fourier import k_squared, mode_weights
from peculiar.fields.paint import paint_interlaced_fourier
from peculiar.simulate.matter import MatterFields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.placement import place
from peculiar.simulate.populate import (
    MEMBER_MASS,
    Guides,
    HaloProperties,
    at_nodes,
    flow_scale,
    halo_velocities,
    motion_scale,
)

QUANTILES = 33
NODES = (*np.linspace(0, 0.9, 10).tolist(), 0.95, 0.98, 0.995, 1.0)
"""Shares of the halos between the nodes of density: narrow where it is high, for there the velocities change most."""
BAND = (0.15, 0.5)
"""Wavenumbers whose power is made to agree [Nyquist wavenumber of the mesh]."""
_LEAST_HALOS = 50  # for a mean and a dispersion at a node
_ENOUGH = 5000  # for an exponent
_WELL_RESOLVED = 50  # particles of a halo, for its members
_STEEPEST = 12.0
_WIDEST = 3.0


@dataclass(frozen=True)
class _Sample:
    """Simulated halos in the bins, and what their 2LPT twin shows at their places.

    Velocities are `flow` times the box's own, as another cosmology or epoch would have them.
    """

    simulated: SimulatedBox
    guides: Guides
    flow: float
    positions: np.ndarray
    velocities: np.ndarray
    masses: np.ndarray
    bins: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, simulated: SimulatedBox, fields: MatterFields, edges: np.ndarray, scale: float) -> _Sample:
        halos, box = simulated.halos, fields.density.box
        flow = scale / flow_scale(simulated.cosmology, simulated.redshift)
        velocity = fields.velocity.replace(data=flow * fields.velocity.data)
        kept = (halos.masses >= edges[0]) & (halos.masses < edges[-1])
        positions = box.wrap(halos.positions[kept].astype(np.float64))
        corner = np.floor((positions - np.asarray(box.origin)) / box.cell_size).astype(np.int64) % box.mesh
        return cls(
            simulated,
            Guides.of(MatterFields(fields.density, velocity)),
            flow,
            positions,
            flow * halos.velocities[kept],
            halos.masses[kept],
            np.digitize(halos.masses[kept], edges) - 1,
            np.ravel_multi_index(tuple(corner.T), (box.mesh,) * 3),
        )

    @property
    def box(self) -> Box:
        return self.guides.fields.density.box

    @property
    def redshift_space_factor(self) -> float:
        return self.simulated.cosmology.redshift_space_factor(self.simulated.redshift) / self.flow


def measure_halo_properties(
    boxes: Sequence[tuple[SimulatedBox, MatterFields]],
    *,
    mass_edges: Sequence[float],
    cosmology: Cosmology,
    redshift: float,
) -> HaloProperties:
    """Measure what `populate` gives to halos on simulated ones.

    The exponents of places are such that the halos of a bin, drawn again in their own cells, have the power that they
    had. Slope, infall and dispersion of velocities are fits at the halos' true places; the dispersion is then scaled
    so that halos drawn again have the power of redshift space too.

    Parameters
    ----------
    boxes : sequence of (SimulatedBox, MatterFields)
        The fields with the mesh that halos are painted on.
    mass_edges : sequence of float
        Edges of the bins, the lightest first [Msun/h].
    cosmology : Cosmology
    redshift : float
        Of the properties: velocities of other boxes are scaled by `flow_scale` and `motion_scale`.

    Raises
    ------
    InputError
        If no box is given, a bin holds fewer than two halos, or all bins together fewer than 50.
    """
    if not boxes:
        raise InputError("boxes must hold at least one simulated box, got none: simulate boxes first")
    edges, scale = np.asarray(mass_edges, dtype=np.float64), flow_scale(cosmology, redshift)
    samples = [_Sample.of(*box, edges, scale) for box in boxes]
    mass = np.concatenate([sample.masses for sample in samples])
    quantiles = tuple(_quantiles(mass, low, high) for low, high in pairwise(mass_edges))
    if len(mass) < _LEAST_HALOS:
        raise InputError(f"boxes must hold at least {_LEAST_HALOS} halos in the bins, got {len(mass)}")
    found = HaloProperties(
        mass_quantiles=quantiles,
        position_exponent=_exponents(samples, len(quantiles)),
        **_velocity_statistics(samples),
        **_member_statistics([simulated for simulated, _ in boxes], motion_scale(cosmology, redshift)),
    )
    wider = _dispersion_scale(samples, found)
    return found.model_copy(
        update={"velocity_dispersion": tuple(wider * value for value in found.velocity_dispersion)}
    )


def _exponents(samples: Sequence[_Sample], bins: int) -> tuple[float, ...]:
    """Powers of the density that give the halos of a bin, drawn again in their cells, their own power back.

    Rare halos take the power of the next lighter ones, and of all together where there are none.
    """
    found: list[float] = []
    for i in range(bins):
        rows = [sample.bins == i for sample in samples]
        if sum(int(row.sum()) for row in rows) >= _ENOUGH:
            found.append(_exponent(samples, rows))
        else:
            found.append(found[-1] if found else _exponent(samples, [sample.bins >= 0 for sample in samples]))
    return tuple(found)


def _exponent(samples: Sequence[_Sample], rows: Sequence[np.ndarray]) -> float:
    pairs = list(zip(samples, rows, strict=True))
    true = sum(_band_power(sample.positions[row], sample.box) for sample, row in pairs)

    def excess(exponent: float) -> float:
        again = [
            _again(sample, row, np.full(int(row.sum()), exponent), seed)
            for seed, (sample, row) in enumerate(pairs)
        ]
        return sum(_band_power(x, sample.box) for x, (sample, _) in zip(again, pairs, strict=True)) - true

    return _root(excess, _STEEPEST)


def _again(sample: _Sample, rows: np.ndarray, exponents: np.ndarray, seed: int) -> np.ndarray:
    # Equal random numbers whatever the exponent, so that the power changes smoothly with it.
    return place(sample.cells[rows], exponents, sample.guides.sharp, random=np.random.default_rng(seed))


def _dispersion_scale(samples: Sequence[_Sample], properties: HaloProperties) -> float:
    """The factor on the dispersion that gives halos drawn again their own power in redshift space."""
    drawn = []
    true = 0.0
    for i, sample in enumerate(samples):
        rows = np.ones(len(sample.bins), bool)
        positions = _again(sample, rows, np.asarray(properties.position_exponent)[sample.bins], i)
        mean, rest = halo_velocities(positions, sample.guides, properties, np.random.default_rng([i, 1]))
        factor = sample.redshift_space_factor
        drawn.append((sample.box, positions, factor * mean, factor * rest))
        true += _redshift_space_power(sample.positions, factor * sample.velocities, sample.box)

    def excess(scale: float) -> float:
        return true - sum(
            _redshift_space_power(positions, mean + scale * rest, box) for box, positions, mean, rest in drawn
        )

    return _root(excess, _WIDEST)


def _redshift_space_power(positions: np.ndarray, shifts: np.ndarray, box: Box) -> float:
    """Over the three lines of sight together; shifts in Mpc/h."""
    return sum(_band_power(positions + shifts * np.eye(3)[axis], box) for axis in range(3))


def _band_power(positions: np.ndarray, box: Box) -> float:
    modes = paint_interlaced_fourier(box.wrap(positions), box, scheme="tsc")[0]
    k = torch.sqrt(k_squared(box)) / box.k_nyquist
    power = modes.abs().square() * mode_weights(box.mesh)
    return float(power[(k > BAND[0]) & (k < BAND[1])].sum())


def _root(rising: Callable[[float], float], most: float) -> float:
    """Where a rising function crosses zero between 0 and `most`, or the nearer end."""
    from scipy.optimize import brentq

    if rising(0.0) >= 0:
        return 0.0
    return most if rising(most) <= 0 else float(brentq(rising, 0.0, most, xtol=0.01))


def _velocity_statistics(samples: Sequence[_Sample]) -> dict[str, tuple[float, ...] | float]:
    """Fits in bins of density; the entries of `HaloProperties` that are about velocities."""
    places = [sample.guides.at(sample.positions) for sample in samples]
    log = np.concatenate([log for log, _ in places])
    features = np.concatenate([values for _, values in places])
    velocity = np.concatenate([sample.velocities for sample in samples]).astype(np.float64)
    edges = np.unique(np.quantile(log, _shares(len(log))))
    index = np.clip(np.searchsorted(edges, log, side="right") - 1, 0, max(len(edges) - 2, 0))
    number = np.bincount(index)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(index, weights=row) / number for row in values.T], axis=1)

    products = np.einsum("nij,nik->njk", features, features).reshape(-1, 4)
    slopes = np.einsum(
        "bjk,bk->bj",
        np.linalg.pinv(mean(products).reshape(-1, 2, 2), hermitian=True),
        mean(np.einsum("nij,ni->nj", features, velocity)),
    )
    nodes = mean(log[:, None])[:, 0]
    fitted = velocity - np.einsum("nij,nj->ni", features, slopes[index])
    dispersion = np.sqrt(mean((fitted**2).mean(axis=1)[:, None])[:, 0])
    rest = velocity - np.einsum("nij,nj->ni", features, at_nodes(log, nodes, slopes.T))
    rest /= np.maximum(np.interp(log, nodes, dispersion), 1e-30)[:, None]
    i, j = _close_pairs(samples).T
    coherence = float((rest[i] * rest[j]).mean() / max(rest.var(), 1e-30)) if len(i) else 0.0
    return {
        "log_density": tuple(nodes.tolist()),
        "velocity_slope": tuple(slopes[:, 0].tolist()),
        "velocity_infall": tuple(slopes[:, 1].tolist()),
        "velocity_dispersion": tuple(dispersion.tolist()),
        "velocity_coherence": min(max(coherence, 0.0), 1.0),
    }


def _member_statistics(boxes: Sequence[SimulatedBox], motion: float) -> dict[str, float]:
    """Spread and dispersion of stored members, scaled to one mass as mass^(1/3); zero without well resolved halos."""
    scaled: list[tuple[np.ndarray, np.ndarray]] = []
    for simulated in boxes:
        members, halos = simulated.members, simulated.halos
        rows = halos.counts[members.host] >= _WELL_RESOLVED
        scale = np.cbrt(halos.masses[members.host[rows]] / MEMBER_MASS)[:, None]
        faster = motion / motion_scale(simulated.cosmology, simulated.redshift)
        scaled.append((members.displacements[rows] / scale, faster * members.velocities[rows] / scale))
    widths = (np.concatenate(part).ravel() for part in zip(*scaled, strict=True))
    spread, dispersion = (float(values.std()) if len(values) else 0.0 for values in widths)
    return {"member_spread": spread, "member_dispersion": dispersion}


def _shares(number: int) -> list[float]:
    """The shares of `NODES` between which there are halos enough."""
    kept = [0.0]
    for share in NODES:
        if (share - kept[-1]) * number >= _LEAST_HALOS:
            kept.append(share)
    return kept if kept[-1] == 1 else [*kept[: max(len(kept) - 1, 1)], 1.0]


def _close_pairs(samples: Sequence[_Sample]) -> np.ndarray:
    from scipy.spatial import cKDTree

    pairs, before = [], 0
    for sample in samples:
        box = sample.box
        tree = cKDTree(sample.positions - np.asarray(box.origin), boxsize=box.side)
        found = tree.query_pairs(box.cell_size / 2, output_type="ndarray").reshape(-1, 2)
        pairs.append(found + before)
        before += len(sample.positions)
    return np.concatenate(pairs)


def _quantiles(masses: np.ndarray, low: float, high: float) -> tuple[float, ...]:
    inside = masses[(masses >= low) & (masses < high)]
    if len(inside) < 2:
        raise InputError(
            f"mass bins must hold at least two halos each, got {len(inside)} from {low:.3g} to {high:.3g} Msun/h: "
            "use more boxes or wider bins"
        )
    return tuple(np.quantile(inside, np.linspace(0, 1, QUANTILES)).tolist())
