"""What displacements of particles are measured by: errors, spectra, and three-point correlations of the density."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Field
from peculiar.evaluation.record import TRUTH, Arrays, Measured
from peculiar.evaluation.scores import Score, alone
from peculiar.fields.paint import paint
from peculiar.simulate.lpt import lattice
from peculiar.simulate.pairs import DisplacementPair
from peculiar.statistics import (
    ThreePoint,
    catalogue_modes,
    compare_power,
    three_point_multipoles,
    three_point_residual,
)
from peculiar.statistics.modes import Modes

Mesh = Float[torch.Tensor, "3 x y z"]

KINDS = ("displacement", "density")
"""What spectra are of."""
AT = (0.11, 0.5)
"""Wavenumbers of Table 1 [h/Mpc]."""
THREE_POINT_BIN = 5.0  # Mpc/h
THREE_POINT_REACH = 50.0  # Mpc/h: ten bins, as the paper


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a method makes of a pair: displacement [Mpc/h], velocity [km/s], and the time it took."""

    displacement: Mesh
    velocity: Mesh
    seconds: float


@dataclass(frozen=True, eq=False)
class PairTruth:
    """The particle mesh's own displacement [Mpc/h] and velocity [km/s], and what is measured of them once."""

    displacement: Mesh
    velocity: Mesh
    box: Box
    modes: Modes
    three_point: ThreePoint | None

    @classmethod
    def of(cls, pair: DisplacementPair, *, three_point: bool) -> PairTruth:
        """Read the truth of a pair; three-point correlations take most of the time."""
        displacement, velocity = pair.read("displacement", "velocity")
        modes = density_modes(displacement, pair.box)
        return cls(
            displacement, velocity, pair.box, modes, zeta(displacement, pair.box) if three_point else None
        )


def measure_displacement(predicted: Prediction, truth: PairTruth) -> Measured:
    """Measure a prediction of a pair against its truth.

    Rows are "power/KIND", "true_power/KIND" and "cross/KIND", (k,), and "zeta", the three-point multipoles; the first
    pair's "sheet" is kept.
    """
    error = (predicted.displacement - truth.displacement).norm(dim=0)
    length = truth.displacement.norm(dim=0)
    speed_error = (predicted.velocity - truth.velocity).norm(dim=0)
    scores = {
        "relative_error": float((error / length).mean()),
        "mean_error_ratio": float(error.mean() / length.mean()),
        "rms_error_ratio": float((error.square().mean() / length.square().mean()).sqrt()),
        "largest_relative_error": float((error / length).max()),
        "rms_error": float(error.square().mean().sqrt()),
        "velocity_rms_ratio": float(
            (speed_error.square().mean() / truth.velocity.square().sum(dim=0).mean()).sqrt()
        ),
        "seconds": predicted.seconds,
    }
    fields = [
        Field(mesh, truth.box, "xyz", "Mpc/h", kind="vector")
        for mesh in (predicted.displacement, truth.displacement)
    ]
    found = {
        "displacement": compare_power(*fields),
        "density": compare_power(density_modes(predicted.displacement, truth.box), truth.modes),
    }
    rows = {}
    for kind, comparison in found.items():
        rows[f"power/{kind}"] = comparison.predicted.power
        rows[f"true_power/{kind}"] = comparison.truth.power
        rows[f"cross/{kind}"] = comparison.cross.power
    if truth.three_point is not None:
        rows["zeta"] = zeta(predicted.displacement, truth.box).multipoles
    shared = {f"k_{kind}": comparison.k for kind, comparison in found.items()}
    return Measured(scores, rows=rows, once={"sheet": sheet(predicted.displacement)}, shared=shared)


def spectrum_scores(arrays: Arrays, model: str) -> dict[str, Score]:
    """Scores from spectra that are averaged over pairs first: T and r at `AT`, and the largest |T - 1| to k = 0.4."""
    scores = {}
    for kind in KINDS:
        k = arrays.of(f"k_{kind}")
        p, t, c = (
            arrays.of(f"{part}/{kind}", model).mean(axis=0) for part in ("power", "true_power", "cross")
        )
        transfer, r = np.sqrt(p / t), c / np.sqrt(p * t)
        for at in AT:
            scores[f"T_{kind}_{at:g}"] = alone(np.interp(at, k, transfer))
            scores[f"r_{kind}_{at:g}"] = alone(np.interp(at, k, r))
        scores[f"T_{kind}_to_0.4"] = alone(np.abs(transfer - 1)[(k > 0) & (k <= 0.4)].max())
    return scores


def three_point_bins(found: ThreePoint) -> dict[str, np.ndarray]:
    """Return the arrays of a three-point function that all pairs share."""
    return {f"three_point/{name}": getattr(found, name) for name in ("r", "edges", "separations")}


def three_point_score(arrays: Arrays, model: str) -> Score:
    """Eq. 8 for the multipoles averaged over pairs: those of one box pass zero, where a ratio says nothing."""
    own, truth = (
        ThreePoint(multipoles=arrays.of("zeta", name).mean(axis=0), unit="", **arrays.below("three_point"))
        for name in (model, TRUTH)
    )
    return alone(three_point_residual(own, truth))


def sheet(displacement: Mesh) -> Float[np.ndarray, "3 x y 2"]:
    """Return two layers of the lattice, for a picture."""
    return displacement[..., :2].numpy().astype(np.float32)


def density_modes(displacement: Mesh, box: Box) -> Modes:
    """Return the modes of the particles' overdensity on a mesh of twice their number along a side.

    Particles of a lattice are no Poisson sample: no shot noise is subtracted.
    """
    position = _positions(displacement, box)
    catalogue = Catalogue(position, Box(box.side), redshift=0.0, space="real")
    return replace(catalogue_modes(catalogue, 2 * box.mesh), shot_noise=0.0, shot_bispectrum=0.0)


def zeta(displacement: Mesh, box: Box) -> ThreePoint:
    """Return the three-point multipoles of the particles' density."""
    mesh = box.with_cells(3 * box.mesh // 2)
    counts = paint(_positions(displacement, box), mesh)
    edges = np.arange(0.0, min(THREE_POINT_REACH, box.side / 2) + 1e-6, THREE_POINT_BIN)
    return three_point_multipoles(Field(counts / counts.mean() - 1, mesh, ["density"]), edges)


def _positions(displacement: Mesh, box: Box) -> np.ndarray:
    moved = (lattice(box.mesh, box.side) + displacement).remainder(box.side)
    moved.masked_fill_(moved >= box.side, 0.0)
    return moved.reshape(3, -1).T.contiguous().numpy()
