"""Completeness from a catalogue of random points with a survey's selection."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from peculiar.catalogues.selection import RadialSelection, completeness, radial_selection
from peculiar.catalogues.sky import SkyMask
from peculiar.core import Box, Field, InputError
from peculiar.fields.paint import paint

PER_PIXEL = 50
"""Random points per pixel of the footprint: with fewer, some pixels inside it would be empty by chance."""
LEAST_PER_CELL = 0.05
"""Random points per cell where the survey is densest: with fewer, the smoothing is wider than four cells."""
PER_KERNEL = 100
"""Random points that a value of the completeness is averaged over, for an error of 10 %."""
_SMOOTHING = 5.0  # Mpc/h, of the randoms' n(r): they are many, and have no structure to be kept
_SHELLS = 8
_LARGEST_RATIO = 2.5
_LARGEST_WEIGHT_RATIO = 1.5


def footprint(directions: Float[np.ndarray, "n 3"]) -> SkyMask:
    """Return the pixels that random points fall in as a mask of 0 and 1, at the finest resolution they fill.

    Parameters
    ----------
    directions : (n, 3)
        Vectors of any length in celestial axes.
    """
    import healpy

    best = np.ones(12)
    for nside in (2**k for k in range(9)):
        pixels = healpy.vec2pix(nside, *np.asarray(directions, np.float64).T)
        hit = np.bincount(pixels, minlength=12 * nside**2) > 0
        if nside > 1 and len(directions) < PER_PIXEL * hit.sum():
            break
        best = hit.astype(np.float64)
    return SkyMask(best)


def selection_of_randoms(
    randoms: Float[np.ndarray, " m"],
    distances: Float[np.ndarray, " n"],
    *,
    solid_angle: float,
    distance_range: tuple[float, float],
    weights: Float[np.ndarray, " m"] | None = None,
    galaxy_weights: Float[np.ndarray, " n"] | None = None,
) -> RadialSelection:
    """Return the galaxies' n(r) with the shape of the randoms' and the galaxies' weighted number.

    Parameters
    ----------
    randoms, distances : (m,), (n,) [Mpc/h]
        Of the random points and of the galaxies, within the limits.
    solid_angle : float
        Area of the footprint [steradian].
    distance_range : (2,) [Mpc/h]
    weights, galaxy_weights : (m,), (n,), optional
        Of the random points and of the galaxies.

    Raises
    ------
    InputError
        If the galaxies' weighted density over the randoms' changes by more than 2.5 times along the line of sight, or
        by more than 1.5 times as much as the ratio of their numbers: the weights of one side are then not the other's.
    """
    low, high = distance_range
    edges = np.linspace(low**3, high**3, _SHELLS + 1) ** (1 / 3)
    numbers, _ = np.histogram(distances, edges)
    points, _ = np.histogram(randoms, edges)
    galaxies, _ = np.histogram(distances, edges, weights=galaxy_weights)
    expected, _ = np.histogram(randoms, edges, weights=weights)
    total = float(galaxies.sum())
    # Shells of few galaxies tell nothing; a shell without randoms but with galaxies does.
    told = np.maximum(numbers, expected * (len(distances) / max(float(expected.sum()), 1e-300))) >= 50
    ratio, plain = (
        _ratio(one, other, count=len(distances)) for one, other in ((galaxies, expected), (numbers, points))
    )
    shells = ", ".join(f"{r:.2g}" for r in ratio)
    where = f"{_SHELLS} shells from {low:.4g} to {high:.4g} Mpc/h"
    change, plain_change = (
        float(r[told].max() / r[told].min()) if told.any() else 1.0 for r in (ratio, plain)
    )
    if change > _LARGEST_RATIO:
        raise InputError(
            f"randoms must follow the galaxies' radial selection, got {shells} times the galaxies that they expect in "
            f"{where}: give the sample's own randoms, or a mask"
        )
    if change > _LARGEST_WEIGHT_RATIO * plain_change:
        raise InputError(
            f"randoms must have weights that belong to the galaxies', got {shells} times the galaxies that they expect "
            f"in {where} with weights, and a change of {plain_change:.2g} without: give both the same "
            "weights, as of FKP, or none"
        )
    shape = radial_selection(
        randoms,
        solid_angle=solid_angle,
        weights=weights,
        distance_range=distance_range,
        radial="measured",
        smoothing=_SMOOTHING,
    )
    count = float(len(randoms)) if weights is None else float(weights.sum())
    return RadialSelection(shape.distances, shape.density * (total / count))


def _ratio(
    galaxies: Float[np.ndarray, " shell"], expected: Float[np.ndarray, " shell"], *, count: int
) -> Float[np.ndarray, " shell"]:
    """Return observed over expected of `count` objects; one more in each shell keeps empty ones finite."""
    observed, expected = (shell * (count / max(float(shell.sum()), 1e-300)) for shell in (galaxies, expected))
    return (observed + 1) / (expected + 1)


def completeness_from_randoms(
    positions: Float[np.ndarray, "n 3"],
    box: Box,
    *,
    peak: float,
    weights: Float[np.ndarray, " n"] | None = None,
) -> Field:
    """Return the expected fraction of the densest sampling in each cell, from random points.

    Counts in cells are smoothed with a Gaussian wide enough for 100 points; the smoothing stays within the cells that
    have points in them or beside them on all sides, so that it does not blur the survey's edge. Where there is less
    than one point per cell, those are the cells in the points' `footprint` between the nearest and the farthest.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
    box : Box
        With a mesh.
    peak : float
        Density of the (weighted) random points that stands for completeness 1 [(h/Mpc)^3].
    weights : (n,), optional

    Returns
    -------
    Field
        One channel "completeness", 0 to 1 but for the noise of the points; 0 outside the survey.

    Raises
    ------
    InputError
        If there are fewer points per cell of the survey than `LEAST_PER_CELL`.
    """
    from scipy.ndimage import binary_closing, gaussian_filter

    expected = peak * box.cell_size**3
    if expected < LEAST_PER_CELL:
        problem = (
            f"randoms must be at least {LEAST_PER_CELL} per cell where the survey is densest, got {expected:.2g} in "
            f"cells of {box.cell_size:.4g} Mpc/h ({len(positions)} points in all): give more randoms, larger cells"
        )
        raise InputError(
            f"{problem} (cell_size), or a mask in place of randoms",
            command=f"{problem} (--cell-size), or a mask in place of randoms",
        )
    contained = box.contains(positions)
    inside = np.asarray(positions)[contained]
    counts = paint(inside, box, scheme="ngp")[0].numpy()
    seen = counts > 0
    if expected >= 1:
        # A hole of one cell is chance; cells beyond the faces count as seen, or the closing would eat the survey there.
        seen |= binary_closing(np.pad(seen, 1), structure=np.ones((3, 3, 3), dtype=bool))[1:-1, 1:-1, 1:-1]
    else:
        distance = np.linalg.norm(positions, axis=1)
        limits = RadialSelection(np.array([distance.min(), distance.max()]), np.ones(2))
        seen |= completeness(box, footprint(positions), n_of_r=limits, samples=1).data[0].numpy() > 0
    if weights is not None:
        counts = paint(inside, box, weights=np.asarray(weights)[contained], scheme="ngp")[0].numpy()
    # In cells; a Gaussian averages over the volume (2 sqrt(pi) width)^3.
    width = max((PER_KERNEL / expected) ** (1 / 3), 1.0) / (2 * np.sqrt(np.pi))
    total = gaussian_filter(np.where(seen, counts, 0).astype(np.float32), width, mode="constant")
    volume = gaussian_filter(seen.astype(np.float32), width, mode="constant")
    values = np.where(seen, total / np.maximum(volume, 1e-6), 0.0) / expected
    return Field(
        torch.from_numpy(values.astype(np.float32))[None], box, names=("completeness",), space="redshift"
    )
