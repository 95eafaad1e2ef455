"""What fraction of the objects a survey saw: radial selection, and completeness on a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from peculiar.catalogues.sky import ORIGIN, SkyMask
from peculiar.core import Box, Field, InputError
from peculiar.core.catalogue import SELECTION_FLOOR

Radial = Literal["flat", "measured"]
COVERED_SHARE = 0.9
LEAST_FULL_DENSITY = 2e-4  # (h/Mpc)^3
_SHELLS = 8
_NSIDE, _DIRECTIONS = 64, 4096  # of the sky, that tell what of a survey lies in a box
_COLUMN_SHELL = 5.0  # Mpc/h; surveys state n(z) in bins of 0.005 and more
_FLAT_RATIO = 2.5  # densest over sparsest shell; structure alone makes 1.3 in SDSS DR7, a flux limit far more


@dataclass(frozen=True, eq=False)
class RadialSelection:
    """Comoving number density of observed objects against distance.

    Parameters
    ----------
    distances : (m,) [Mpc/h], increasing
    density : (m,) [(h/Mpc)^3]
        At those distances, in directions of completeness 1; linear between them, zero beyond both ends.
    """

    distances: Float[np.ndarray, " m"]
    density: Float[np.ndarray, " m"]

    def at(self, distance: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
        """Return n(r) [(h/Mpc)^3]."""
        return np.interp(distance, self.distances, self.density, left=0.0, right=0.0)

    def cumulative(self, distance: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Return the objects expected per steradian between the first of rising distances [Mpc/h] and each of them."""
        middle = (distance[1:] + distance[:-1]) / 2
        return np.append(0.0, np.cumsum(self.at(middle) * middle**2 * np.diff(distance)))

    @property
    def peak(self) -> float:
        """Largest density [(h/Mpc)^3]."""
        return float(self.density.max())

    def scaled(self, factor: float) -> RadialSelection:
        """Return the same shape at another density."""
        return RadialSelection(self.distances, self.density * factor)

    def capped(self, density: float) -> RadialSelection:
        """Return the selection with no more than a density [(h/Mpc)^3]."""
        return RadialSelection(self.distances, np.minimum(self.density, density))

    def full_density(self) -> float:
        """Return the density [(h/Mpc)^3] to count as complete, for nine tenths of the volume to count as seen.

        n(r) at the distance that holds them, over the fraction from which on cells are seen; at least 2e-4, since
        sparser objects tell little and no model knows them, and at most the largest n(r).
        """
        distance = np.linspace(self.distances[0], self.distances[-1], 2049)
        density, volume = self.at(distance), distance**2
        order = np.argsort(-density)
        within = np.cumsum(volume[order]) >= COVERED_SHARE * volume.sum()
        return min(
            max(float(density[order][within.argmax()]) / SELECTION_FLOOR, LEAST_FULL_DENSITY), self.peak
        )

    def seen(self, mask: SkyMask) -> Seen:
        """Return where a survey with this n(r) and mask is seen: at more than 0.3 of the largest n(r)."""
        edges = np.linspace(self.distances[0], self.distances[-1], 2049)
        distance = (edges[1:] + edges[:-1]) / 2
        values = np.sort(mask.values[mask.values > 0])
        needed = SELECTION_FLOOR * self.peak / np.maximum(self.at(distance), 1e-300)
        share = 1 - np.searchsorted(values, needed, side="right") / len(values)
        there = np.flatnonzero(share > 0)
        if not len(there):
            return Seen((float(edges[0]), float(edges[0])), 0.0)
        volume = np.diff(edges**3)
        limits = (float(edges[there[0]]), float(edges[there[-1] + 1]))
        return Seen(limits, float((share * volume).sum() / volume.sum()))

    def seen_in(self, box: Box, mask: SkyMask) -> Seen:
        """Return what of `seen` lies in a box that is smaller than the survey, with the observer at (0, 0, 0)."""
        import healpy

        directions = np.stack(healpy.pix2vec(_NSIDE, np.arange(12 * _NSIDE**2)), axis=1)
        values = mask.at(directions)
        covered = np.flatnonzero(values > 0)
        covered = covered[:: max(1, len(covered) // _DIRECTIONS)]
        edges = np.linspace(self.distances[0], self.distances[-1], 257)
        distance = (edges[1:] + edges[:-1]) / 2
        seen = values[covered] * self.at(distance)[:, None] > SELECTION_FLOOR * self.peak
        places = distance[:, None, None] * directions[covered]
        seen &= box.contains(places.reshape(-1, 3)).reshape(seen.shape)
        there = np.flatnonzero(seen.any(axis=1))
        if not len(there):
            return Seen((float(edges[0]), float(edges[0])), 0.0)
        volume = np.diff(edges**3)
        limits = (float(edges[there[0]]), float(edges[there[-1] + 1]))
        return Seen(limits, float((seen.mean(axis=1) * volume).sum() / volume.sum()))


@dataclass(frozen=True)
class Seen:
    """The part of a survey that is dense enough to count as seen.

    Attributes
    ----------
    distances : (2,) [Mpc/h]
    share : float
        Of the volume of the mask between the survey's limits.
    """

    distances: tuple[float, float]
    share: float


def radial_selection(
    distances: Float[np.ndarray, " n"],
    *,
    solid_angle: float,
    weights: Float[np.ndarray, " n"] | None = None,
    distance_range: tuple[float, float] | None = None,
    radial: Radial = "flat",
    smoothing: float = 40.0,
) -> RadialSelection:
    """Estimate n(r): objects in shells divided by the shells' volumes.

    Parameters
    ----------
    distances : (n,) [comoving Mpc/h]
    solid_angle : float
        Area of the survey, weighted with the completeness [steradian].
    weights : (n,), optional
    distance_range : (2,) [Mpc/h], optional
        Limits of the sample; the nearest and farthest object where not given.
    radial : "flat" or "measured"
        One density for a volume-limited sample, or counts and volumes in shells of a quarter of `smoothing`, both
        smoothed with a Gaussian. Measuring takes part of the real structure out along the line of sight.
    smoothing : float
        Standard deviation of that Gaussian [Mpc/h].

    Raises
    ------
    InputError
        If no object lies in the range, or "flat" is asked for a sample whose density changes by more than 2.5 times.
    """
    distances = np.asarray(distances, dtype=np.float64)
    low, high = distance_range or (float(distances.min()), float(distances.max()))
    inside = (distances >= low) & (distances <= high)
    if not (0 <= low < high and inside.any()):
        raise InputError(
            f"distance_range must hold objects, got {low:.5g} to {high:.5g} Mpc/h for objects from "
            f"{distances.min():.5g} to {distances.max():.5g} Mpc/h: give the limits of the sample"
        )
    counted = np.ones(int(inside.sum())) if weights is None else np.asarray(weights, dtype=np.float64)[inside]
    if radial == "flat":
        _refuse_not_flat(distances[inside], counted, low, high)
        density = counted.sum() / (solid_angle * (high**3 - low**3) / 3)
        return RadialSelection(np.array([low, high]), np.array([density, density]))
    if radial != "measured":
        raise InputError(f"radial must be 'flat' or 'measured', got {radial!r}")

    edges = np.linspace(low, high, measured_shells(low, high, smoothing=smoothing) + 1)
    counts, _ = np.histogram(distances[inside], edges, weights=counted)
    return smoothed_selection(counts, (low, high), solid_angle=solid_angle, smoothing=smoothing)


def measured_shells(low: float, high: float, *, smoothing: float) -> int:
    """Return the number of shells of one thickness between two distances [Mpc/h], a quarter of the smoothing each."""
    return max(8, round((high - low) / (smoothing / 4)))


def smoothed_selection(
    counts: Float[np.ndarray, " shell"],
    distance_range: tuple[float, float],
    *,
    solid_angle: float,
    smoothing: float,
) -> RadialSelection:
    """Return n(r) of weighted numbers in shells of one thickness, smoothed as the shells' volumes are."""
    from scipy.ndimage import gaussian_filter1d

    low, high = distance_range
    edges = np.linspace(low, high, len(counts) + 1)
    volumes = solid_angle * np.diff(edges**3) / 3
    width = smoothing / (edges[1] - edges[0])
    smooth_counts, smooth_volumes = (gaussian_filter1d(a, width, mode="constant") for a in (counts, volumes))
    density = smooth_counts / smooth_volumes
    centres = (edges[1:] + edges[:-1]) / 2
    return RadialSelection(
        np.concatenate([[low], centres, [high]]), np.concatenate([density[:1], density, density[-1:]])
    )


def selection_of_column(
    distances: Float[np.ndarray, " n"],
    density: Float[np.ndarray, " n"],
    *,
    solid_angle: float,
    distance_range: tuple[float, float],
    weights: Float[np.ndarray, " n"] | None = None,
) -> RadialSelection:
    """Return n(r) with the shape of a density that a catalogue states at each object, and their weighted number.

    Parameters
    ----------
    distances : (n,) [comoving Mpc/h]
    density : (n,) [(h/Mpc)^3]
        The expected number density where each object is, as the column ``NZ`` of BOSS; its mean in shells of 5 Mpc/h is
        taken.
    solid_angle : float
        Area of the survey, weighted with the completeness [steradian].
    distance_range : (2,) [Mpc/h]
    weights : (n,), optional

    Raises
    ------
    InputError
        If a density is negative, or the objects' own differs from it by more than 2.5 times in all, or along the
        line of sight.
    """
    if not ((density >= 0).all() and (density > 0).any()):
        raise InputError(
            f"nz must be a number density >= 0 [(h/Mpc)^3], got {density.min():g} to {density.max():g}: check the "
            "column"
        )
    low, high = distance_range
    edges = np.linspace(low, high, max(8, round((high - low) / _COLUMN_SHELL)) + 1)
    counts, _ = np.histogram(distances, edges)
    sums, _ = np.histogram(distances, edges, weights=density)
    centres, told = (edges[1:] + edges[:-1]) / 2, counts > 0
    shape = np.interp([low, *centres, high], centres[told], sums[told] / counts[told])
    stated = RadialSelection(np.array([low, *centres, high]), shape)
    shells = np.linspace(low**3, high**3, _SHELLS + 1) ** (1 / 3)
    numbers, _ = np.histogram(distances, shells)
    found, _ = np.histogram(distances, shells, weights=weights)
    fine = np.linspace(low, high, 2049)
    middle = (fine[1:] + fine[:-1]) / 2
    volumes = solid_angle * np.diff(fine**3) / 3
    expected, _ = np.histogram(middle, shells, weights=stated.at(middle) * volumes)
    ratio = (found + 1) / (expected + 1)
    total = float(found.sum() / max(expected.sum(), 1e-300))
    enough = ratio[np.maximum(numbers, expected) >= 50]
    change = float(enough.max() / enough.min()) if len(enough) else 1.0
    if not (change <= _FLAT_RATIO and 1 / _FLAT_RATIO <= total <= _FLAT_RATIO):
        raise InputError(
            f"nz must be the number density of these objects [(h/Mpc)^3], got {', '.join(f'{r:.2g}' for r in ratio)} "
            f"times the objects that it expects in {_SHELLS} shells from {low:.4g} to {high:.4g} Mpc/h: check the "
            "column, its unit, the weights and the mask"
        )
    return stated.scaled(total)


def completeness(
    box: Box,
    mask: SkyMask,
    *,
    n_of_r: RadialSelection,
    observer: tuple[float, float, float] = ORIGIN,
    samples: int = 2,
) -> Field:
    """Return the expected fraction of the densest sampling in each cell: mask times n(r) / max n.

    Parameters
    ----------
    box : Box
        With a mesh.
    mask : SkyMask
    n_of_r : RadialSelection
    observer : (3,) [Mpc/h]
        In the box's coordinates.
    samples : int
        Each cell is averaged over samples^3 points, for cells that the survey's edge cuts.

    Returns
    -------
    Field
        One channel "completeness" of values 0 to 1, 0 outside the survey.
    """
    h = box.cell_size
    offsets = ((np.arange(samples) + 0.5) / samples - 0.5) * h
    axes = [
        (box.coordinates(axis)[:, None] + offsets[None, :]).ravel() - observer[axis] for axis in range(3)
    ]  # every sample's coordinate along an axis, in order
    values = np.zeros(box.shape, dtype=np.float32)
    near, far = float(n_of_r.distances[0]), float(n_of_r.distances[-1])
    y, z = np.meshgrid(axes[1], axes[2], indexing="ij")
    transverse = y**2 + z**2
    for i, x in enumerate(axes[0]):  # one plane at a time: a cube of samples would not fit in memory
        distance = np.sqrt(x**2 + transverse)
        seen = (distance >= near) & (distance <= far)
        if not seen.any():
            continue
        points = np.stack([np.full(int(seen.sum()), x), y[seen], z[seen]], axis=1)
        plane = np.zeros(distance.shape)
        plane[seen] = mask.at(points) * n_of_r.at(distance[seen])
        values[i // samples] += plane.reshape(box.shape[1], samples, box.shape[2], samples).sum(axis=(1, 3))
    values /= samples**3 * n_of_r.peak
    return Field(torch.from_numpy(values)[None], box, names=("completeness",), space="redshift")


def _refuse_not_flat(distances: np.ndarray, weights: np.ndarray, low: float, high: float) -> None:
    """Refuse a sample whose density in eight shells of one volume tells of a flux limit."""
    edges = np.linspace(low**3, high**3, _SHELLS + 1) ** (1 / 3)
    counts, _ = np.histogram(distances, edges, weights=weights)
    if len(distances) >= 100 * _SHELLS and counts.max() > _FLAT_RATIO * counts.min():
        inner = ", ".join(f"{count:.0f}" for count in counts)
        problem = (
            f"a volume-limited sample must have about one density, got {inner} objects in {_SHELLS} shells of one "
            f"volume from {low:.4g} to {high:.4g} Mpc/h: give"
        )
        raise InputError(
            f"{problem} radial='measured', or the distance_range where it is flat",
            command=f"{problem} --radial measured, or the --distances where it is flat",
        )
