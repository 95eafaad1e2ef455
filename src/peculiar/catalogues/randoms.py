"""Completeness from a catalogue of random points with a survey's selection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.catalogues.selection import (
    RadialSelection,
    completeness,
    measured_shells,
    smoothed_selection,
)
from peculiar.catalogues.sky_counts import SKY_PIXELS, footprint, sky_counts
from peculiar.catalogues.tables import table_files
from peculiar.core import Box, Field, InputError
from peculiar.fields.paint import paint

LEAST_PER_CELL = 0.05
"""Random points per cell where the survey is densest: with fewer, the smoothing is wider than four cells."""
PER_KERNEL = 100
"""Random points that a value of the completeness is averaged over, for an error of 10 %."""
_SMOOTHING = 5.0  # Mpc/h, of the randoms' n(r): they are many, and have no structure to be kept
_SHELLS = 8
_LARGEST_RATIO = 2.5
_LARGEST_WEIGHT_RATIO = 1.5


def refuse_as_randoms(catalogue: str | Path, randoms: Iterable[Path]) -> None:
    """Raise InputError if a catalogue is among the files of its randoms: it would look evenly filled."""
    own = {path.resolve() for path in table_files(catalogue)}
    if any(path.resolve() in own for path in randoms):
        raise InputError(
            f"--randoms must be random points, got {str(catalogue)!r}, which is the catalogue: give their files"
        )


@dataclass(frozen=True, eq=False)
class Points:
    """Some random points: positions (n, 3) [Mpc/h], observer at the origin, and optional weights (n,)."""

    positions: Float[np.ndarray, "n 3"]
    weights: Float[np.ndarray, " n"] | None = None


@dataclass(frozen=True, eq=False)
class ShellCounts:
    """Random points between two distances, counted.

    Attributes
    ----------
    limits : (2,) [Mpc/h]
    numbers, weighted : (shell,)
        Points, and sums of their weights, in eight shells of one volume.
    radial : (shell,)
        Sums of weights in shells of one thickness.
    sky : (pixel,)
        Sums of weights in pixels of `sky_counts`.
    """

    limits: tuple[float, float]
    numbers: Float[np.ndarray, " shell"]
    weighted: Float[np.ndarray, " shell"]
    radial: Float[np.ndarray, " fine"]
    sky: Float[np.ndarray, " pixel"]

    @property
    def total(self) -> float:
        """Weighted number of the points."""
        return float(self.radial.sum())


def shell_counts(points: Iterable[Points], limits: tuple[float, float]) -> ShellCounts:
    """Count random points piece by piece.

    Parameters
    ----------
    points : iterable of Points
        Within the limits.
    limits : (2,) [Mpc/h]

    Raises
    ------
    InputError
        If there are none.
    """
    low, high = limits
    numbers, weighted = np.zeros(_SHELLS), np.zeros(_SHELLS)
    radial = np.zeros(measured_shells(low, high, smoothing=_SMOOTHING))
    sky = np.zeros(SKY_PIXELS)
    for some in points:
        distance = np.linalg.norm(some.positions, axis=1)
        shell = _index((distance**3 - low**3) / (high**3 - low**3), _SHELLS)
        numbers += np.bincount(shell, minlength=_SHELLS)
        weighted += np.bincount(shell, some.weights, _SHELLS)
        radial += np.bincount(_index((distance - low) / (high - low), len(radial)), some.weights, len(radial))
        sky += sky_counts(some.positions, some.weights)
    if not numbers.any():
        raise InputError(
            f"randoms must lie in the survey, got none in the mask from {low:.5g} to {high:.5g} Mpc/h: are they "
            "another survey's?"
        )
    return ShellCounts(limits, numbers, weighted, radial, sky)


def _index(share: Float[np.ndarray, " n"], count: int) -> Int[np.ndarray, " n"]:
    """Return which of so many equal parts a share from 0 to 1 lies in."""
    return np.clip((share * count).astype(np.int64), 0, count - 1)


def selection_of_randoms(
    randoms: ShellCounts,
    distances: Float[np.ndarray, " n"],
    *,
    solid_angle: float,
    galaxy_weights: Float[np.ndarray, " n"] | None = None,
) -> RadialSelection:
    """Return the galaxies' n(r) with the shape of the randoms' and the galaxies' weighted number.

    Parameters
    ----------
    randoms : ShellCounts
    distances : (n,) [Mpc/h]
        Of the galaxies, within the limits of the randoms.
    solid_angle : float
        Area of the footprint [steradian].
    galaxy_weights : (n,), optional

    Raises
    ------
    InputError
        If the galaxies' weighted density over the randoms' changes by more than 2.5 times along the line of sight, or
        by more than 1.5 times as much as the ratio of their numbers: the weights of one side are then not the other's.
    """
    low, high = randoms.limits
    edges = np.linspace(low**3, high**3, _SHELLS + 1) ** (1 / 3)
    numbers, _ = np.histogram(distances, edges)
    galaxies, _ = np.histogram(distances, edges, weights=galaxy_weights)
    points, expected = randoms.numbers, randoms.weighted
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
    shape = smoothed_selection(randoms.radial, randoms.limits, solid_angle=solid_angle, smoothing=_SMOOTHING)
    return shape.scaled(total / randoms.total)


def _ratio(
    galaxies: Float[np.ndarray, " shell"], expected: Float[np.ndarray, " shell"], *, count: int
) -> Float[np.ndarray, " shell"]:
    """Return observed over expected of `count` objects; one more in each shell keeps empty ones finite."""
    observed, expected = (shell * (count / max(float(shell.sum()), 1e-300)) for shell in (galaxies, expected))
    return (observed + 1) / (expected + 1)


def completeness_from_randoms(points: Iterable[Points], box: Box, *, peak: float) -> Field:
    """Return the expected fraction of the densest sampling in each cell, from random points.

    Counts in cells are smoothed with a Gaussian wide enough for 100 points; the smoothing stays within the cells that
    have points in them or beside them on all sides, so that it does not blur the survey's edge. Where there is less
    than one point per cell, those are the cells in the points' `footprint` between the nearest and the farthest.

    Parameters
    ----------
    points : iterable of Points
    box : Box
        With a mesh.
    peak : float
        Density of the (weighted) random points that stands for completeness 1 [(h/Mpc)^3].

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
            f"cells of {box.cell_size:.4g} Mpc/h: give more randoms, larger cells"
        )
        raise InputError(
            f"{problem} (cell_size), or a mask in place of randoms",
            command=f"{problem} (--cell-size), or a mask in place of randoms",
        )
    painted = torch.zeros(2, *box.shape)  # points, and their weights
    sky, near, far = np.zeros(SKY_PIXELS), np.inf, 0.0
    for some in points:
        inside = box.contains(some.positions)
        weights = np.ones((len(some.positions), 2))
        if some.weights is not None:
            weights[:, 1] = some.weights
        paint(some.positions[inside], box, weights=weights[inside], scheme="ngp", onto=painted)
        if expected < 1:
            distance = np.linalg.norm(some.positions, axis=1)
            near, far = min(near, float(distance.min())), max(far, float(distance.max()))
            sky += sky_counts(some.positions)
    seen, counts = painted[0].numpy() > 0, painted[1].numpy()
    if expected >= 1:
        # A hole of one cell is chance; cells beyond the faces count as seen, or the closing would eat the survey there.
        seen |= binary_closing(np.pad(seen, 1), structure=np.ones((3, 3, 3), dtype=bool))[1:-1, 1:-1, 1:-1]
    else:
        limits = RadialSelection(np.array([near, far]), np.ones(2))
        seen |= completeness(box, footprint(sky), n_of_r=limits, samples=1).data[0].numpy() > 0
    # In cells; a Gaussian averages over the volume (2 sqrt(pi) width)^3.
    width = max((PER_KERNEL / expected) ** (1 / 3), 1.0) / (2 * np.sqrt(np.pi))
    total = gaussian_filter(np.where(seen, counts, 0).astype(np.float32), width, mode="constant")
    volume = gaussian_filter(seen.astype(np.float32), width, mode="constant")
    values = np.where(seen, total / np.maximum(volume, 1e-6), 0.0) / expected
    return Field(
        torch.from_numpy(values.astype(np.float32))[None], box, names=("completeness",), space="redshift"
    )
