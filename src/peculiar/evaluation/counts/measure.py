"""What painted halos are measured by, as in Kodi Ramanah et al. 2019: powers, bispectra, distributions of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.evaluation.record import Measured
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.statistics.bispectrum import bispectrum_at_angles
from peculiar.statistics.distributions import joint_distribution, one_point_distribution
from peculiar.statistics.modes import Modes, catalogue_modes, modes_of
from peculiar.statistics.multipoles import power_multipoles
from peculiar.statistics.power import power_spectrum

BIN_WIDTH = 0.025  # h/Mpc; two bins make a band
MULTIPOLE_WIDTH = 0.05
ORDERS = (0, 2, 4)
SIGHTS: tuple[Literal["x", "y", "z"], ...] = ("x", "y", "z")
TRIANGLES = {"large": (0.2, 0.3), "small": (0.6, 0.7)}
"""Sides k1 and k2 of the paper's two bispectra [h/Mpc]."""
TRIANGLE_WIDTH = 0.05  # h/Mpc
ANGLES = (np.arange(12) + 0.5) * np.pi / 12
R_AT = (0.1, 0.3, 0.4)
BLOCKS = (1, 2, 4)
"""Cells along a side of the cubes in which halos are counted."""
FAR_OFF = 3  # halos: the paper gives the share of cells whose count is further off
DENSITIES = np.geomspace(0.02, 50.0, 41)
"""Edges of 1 + delta of 2LPT, in which counts are told apart; the ends hold what lies beyond."""

Counts = Float[Tensor, "x y z"]
Arrays = dict[str, Float[np.ndarray, "..."]]


def wavenumber_edges(box: Box, width: float = BIN_WIDTH) -> Float[np.ndarray, " edge"]:
    """Edges of k bins [h/Mpc], at least one fundamental mode wide, up to Nyquist."""
    step = max(width, box.k_fundamental)
    return np.arange(0, box.k_nyquist + 1e-9, step)


def count_limit(truth: Counts) -> tuple[int, ...]:
    """Largest count that histograms tell apart in cubes of each of `BLOCKS`: well above the largest true one."""
    return tuple(int(1.5 * float(_blocks(truth, side).max())) + 8 for side in BLOCKS)


def count_statistics(counts: Counts, density: Field, *, limits: Sequence[int]) -> Arrays:
    """Measure a field of counts by itself.

    Parameters
    ----------
    counts : (x, y, z)
        Halos per cell; need not be whole numbers.
    density : Field
        2LPT overdensity of the same cells.
    limits : sequence of int
        See `count_limit`.

    Returns
    -------
    dict
        "bispectrum/NAME" of each of `TRIANGLES` [(Mpc/h)^6] at those of `ANGLES` whose third side the mesh holds, NaN
        at others; "histogram/SIDE" of counts in cubes of each of `BLOCKS`; "density" (density, count), cells.
        Powers and bispectra are raw: shot noise is left in.
    """
    box = density.box
    found: Arrays = {}
    modes = _modes(counts, box)
    for name, sides in TRIANGLES.items():
        # A painter that is hardly trained may draw none in a rare bin.
        found[f"bispectrum/{name}"] = (
            bispectrum(modes, *sides) if counts.sum() > 0 else np.full(len(ANGLES), np.nan)
        )
    for side, limit in zip(BLOCKS, limits, strict=True):
        blocks = _blocks(counts, side).clamp(0, limit)[None]
        field = Field(blocks, Box(box.side, blocks.shape[-1]), ["counts"])
        found[f"histogram/{side}"] = one_point_distribution(field, _count_edges(limit)).counts[0]
    floor, top = DENSITIES[0] * 1.0001, DENSITIES[-1] * 0.9999
    found["density"] = joint_distribution(
        density.replace(data=(1 + density.data).clamp(floor, top)),
        Field(counts.clamp(0, limits[0])[None], box, ["counts"]),
        first_edges=DENSITIES,
        second_edges=_count_edges(limits[0]),
    ).counts
    return found


def measure_counts(
    draws: Sequence[Counts], mean: Counts, truth: Counts, density: Field, *, limits: Sequence[int]
) -> Measured:
    """Measure what was painted on a box against its halos.

    Rows are "power", "cross" of draws (mean over draws), "mean/power", "mean/cross" of the mean field, (k,),
    "draws/power" (draw, k); the arrays of `count_statistics`, mean over draws; "joint" (true count, drawn count).

    Parameters
    ----------
    draws : sequence of (x, y, z)
        Fields of counts, as many as were drawn.
    mean : (x, y, z)
        Mean counts given the density.
    truth : (x, y, z)
        Counts of simulated halos in the same cells.
    density : Field
        2LPT overdensity of these cells.
    limits : sequence of int
        See `count_limit`.
    """
    box = density.box
    true_modes = _modes(truth, box)
    every: list[Arrays] = []
    for counts in draws:
        arrays = count_statistics(counts, density, limits=limits)
        arrays |= _powers(counts, true_modes, box)
        arrays["joint"] = joint_distribution(
            Field(truth.clamp(0, limits[0])[None], box, ["halos"]),
            Field(counts.clamp(0, limits[0])[None], box, ["counts"]),
            first_edges=_count_edges(limits[0]),
            second_edges=_count_edges(limits[0]),
        ).counts
        every.append(arrays)
    arrays = {name: np.mean([one[name] for one in every], axis=0) for name in every[0]}
    arrays["draws/power"] = np.stack([one["power"] for one in every])
    arrays |= {f"mean/{name}": values for name, values in _powers(mean, true_modes, box).items()}
    scores = {
        "number_ratio": float(np.mean([float(counts.sum() / truth.sum()) for counts in draws])),
        "far_off": float(
            np.mean([float(((counts - truth).abs() > FAR_OFF).float().mean()) for counts in draws])
        ),
    }
    for side in BLOCKS:
        spread = float(_blocks(truth, side).var())
        scores[f"variance_ratio_{side}"] = float(
            np.mean([float(_blocks(counts, side).var()) / spread for counts in draws])
        )
    spectrum = power_spectrum(true_modes, edges=wavenumber_edges(box))
    for name, prefix in (("draw", ""), ("mean", "mean/")):
        r = arrays[f"{prefix}cross"] / np.sqrt(arrays[f"{prefix}power"] * spectrum.power)
        seen = np.isfinite(r)
        for at in R_AT:
            if seen.any() and spectrum.k[seen][0] <= at <= spectrum.k[seen][-1]:
                scores[f"r_{name}_{at:g}"] = float(np.interp(at, spectrum.k[seen], r[seen]))
    return Measured(scores, rows=arrays)


def true_statistics(truth: Counts, density: Field, *, limits: Sequence[int]) -> Arrays:
    """Measure the halos themselves: `count_statistics`, and "power" and "modes" in bins of "k"."""
    box = density.box
    spectrum = power_spectrum(_modes(truth, box), edges=wavenumber_edges(box))
    powers = {"k": spectrum.k, "modes": spectrum.modes, "power": spectrum.power}
    return powers | count_statistics(truth, density, limits=limits)


def catalogue_statistics(catalogue: Catalogue, cosmology: Cosmology, *, cells: int) -> Arrays:
    """Measure a catalogue in real and in redshift space, shot noise subtracted.

    Parameters
    ----------
    catalogue : Catalogue
        In real space, with velocities.
    cosmology : Cosmology
    cells : int
        Mesh cells along a side; wavenumbers to half its Nyquist are good.

    Returns
    -------
    dict
        "k", "power" in real space and "multipole/ORDER" in redshift space, means over the lines of sight x, y and z,
        [(Mpc/h)^3]; "bispectrum/NAME" in real space at all of `ANGLES` [(Mpc/h)^6]; "speed", the rms of a velocity
        component [km/s].
    """
    box = Box(catalogue.box.side, cells)
    edges = wavenumber_edges(box, MULTIPOLE_WIDTH)
    edges = edges[edges <= box.k_nyquist / 2 + 1e-9]
    real = catalogue_modes(catalogue, cells)
    spectrum = power_spectrum(real, edges=edges)
    several = [
        power_multipoles(
            catalogue_modes(to_redshift_space(catalogue.replace(line_of_sight=axis), cosmology), cells),
            line_of_sight=axis,
            orders=ORDERS,
            edges=edges,
        ).power
        for axis in SIGHTS
    ]
    multipoles = np.mean(several, axis=0)
    assert catalogue.velocities is not None
    return {
        "k": spectrum.k,
        "power": spectrum.power,
        **{f"multipole/{order}": row for order, row in zip(ORDERS, multipoles, strict=True)},
        **{f"bispectrum/{name}": bispectrum(real, *sides) for name, sides in TRIANGLES.items()},
        "speed": np.sqrt(np.mean(np.asarray(catalogue.velocities, dtype=np.float64) ** 2)),
    }


def bispectrum(modes: Modes, k1: float, k2: float) -> Float[np.ndarray, " angle"]:
    """Measure B(k1, k2, theta) at each of `ANGLES`; NaN where the third side goes beyond the mesh's Nyquist wavenumber.

    Triangles with a longer side would close through the periodicity of the mesh.
    """
    width = max(TRIANGLE_WIDTH, modes.box.k_fundamental)
    top = modes.box.k_nyquist - width / 2
    k3 = np.sqrt(k1**2 + k2**2 + 2 * k1 * k2 * np.cos(ANGLES))
    held = (k3 <= top) & (max(k1, k2) <= top) & (min(k1, k2) >= width / 2)
    values = np.full(len(ANGLES), np.nan)
    if held.any():
        values[held] = bispectrum_at_angles(modes, k1, k2, theta=ANGLES[held], width=width).bispectrum
    return values


def mass_edges_of(low: float, high: float, *, particle: float) -> Float[np.ndarray, " edge"]:
    """Edges of bins for a mass function, 0.1 dex or wider, half-way between whole numbers of particles [Msun/h].

    Parameters
    ----------
    low, high : float
        Range of masses [Msun/h].
    particle : float
        Mass of a simulated particle [Msun/h]: simulated halos have multiples of it, and edges between them would count
        one more or one less.
    """
    wanted = 10 ** np.arange(np.log10(low), np.log10(high) + 0.05, 0.1)
    return (np.unique(np.ceil(wanted / particle)) - 0.5) * particle


def _powers(counts: Counts, true_modes: Modes, box: Box) -> Arrays:
    modes, edges = _modes(counts, box), wavenumber_edges(box)
    return {
        "power": power_spectrum(modes, edges=edges).power,
        "cross": power_spectrum(modes, true_modes, edges=edges).power,
    }


def _modes(counts: Counts, box: Box) -> Modes:
    mean = counts.double().mean().clamp(min=1e-12)
    return modes_of(Field((counts.double() / mean - 1)[None], box, ["counts"]))


def _blocks(counts: Counts, side: int) -> Float[Tensor, "x y z"]:
    """Counts in cubes of several cells along a side; cells that are left over count no more."""
    return functional.avg_pool3d(counts[None].double(), side)[0] * side**3


def _count_edges(limit: int) -> Float[np.ndarray, " edge"]:
    return np.arange(limit + 2) - 0.5
