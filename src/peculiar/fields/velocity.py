"""Velocity on a mesh: three definitions, each named in the field that it gives.

Mass weighted (`from_momentum`) is what a painted momentum gives; volume weighted (`nearest_particle`, `delaunay`)
does not follow the matter into its clumps. None of them leaves zeros where there are no particles.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.neighbours import nearest_index

NAMES = ("velocity_x", "velocity_y", "velocity_z")
EMPTY = 1e-4
"""1 + delta below which a cell is empty: what rounding leaves of delta = -1, and too little for a quotient."""

EmptyCells = Literal["neighbours", "background"]
EMPTY_CELLS = {
    "neighbours": "mean over the smallest cube that holds matter",
    "background": "mean momentum / mean density of the mesh",
}
"""What empty cells may take, as the field's definition says it."""

_PAD_SEPARATIONS = 6.0  # in mean separations: larger than any void between randomly placed particles
_SAMPLES_AT_ONCE = 1 << 20


def from_momentum(density: Field, momentum: Field, *, empty_cells: EmptyCells = "neighbours") -> Field:
    """Return the mass-weighted velocity, momentum / (1 + delta) [km/s].

    Cells are empty where 1 + delta < 1e-4.

    Parameters
    ----------
    density : Field
        Overdensity, one channel.
    momentum : Field
        Vector, (1 + delta) times the velocity, painted with the same particles and scheme.
    empty_cells : "neighbours" or "background"
        What empty cells take: the mass-weighted mean over the smallest cube around them, of 3, 5, 9, 17, ... cells,
        that holds matter; or that over the whole mesh (Wu et al. 2021, footnote 5).

    Raises
    ------
    InputError
        If the boxes or kinds do not match, all cells are empty, or the rule for them is unknown.
    """
    density.require_same_box(momentum)
    if density.data.shape[0] != 1 or momentum.kind != "vector":
        raise InputError(
            f"from_momentum needs a one-channel density and a vector momentum, got {density.data.shape[0]} channels "
            f"and kind {momentum.kind!r}"
        )
    if empty_cells not in EMPTY_CELLS:
        raise InputError(f"empty_cells must be one of {', '.join(EMPTY_CELLS)}, got {empty_cells!r}")
    mass = density.data[0] + 1
    empty = mass < EMPTY
    if bool(empty.all()):
        raise InputError("density must exceed -1 somewhere, got an empty mesh: is it the overdensity?")
    data = momentum.data / mass.masked_fill(empty, 1.0)
    if empty_cells == "background":
        filled = (
            momentum.data.masked_fill(empty, 0.0).mean(dim=(1, 2, 3)) / mass.masked_fill(empty, 0.0).mean()
        )
        data = torch.where(empty, filled[:, None, None, None], data)
    elif bool(empty.any()):
        _fill_from_neighbours(data, mass, momentum.data, empty, periodic=density.box.periodic)
    return Field(
        data,
        density.box,
        NAMES,
        unit="km/s",
        space=momentum.space,
        kind="vector",
        definition=f"mass weighted: momentum / density; empty cells: {EMPTY_CELLS[empty_cells]}",
    )


def nearest_particle(
    positions: Float[np.ndarray, "n 3"], velocities: Float[np.ndarray, "n 3"], box: Box
) -> Field:
    """Return the velocity of the particle nearest to each cell centre [km/s], a volume-weighted estimate.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
        In a periodic box the nearest image counts.
    velocities : (n, 3) [km/s]
    box : Box
        With its mesh.

    Raises
    ------
    InputError
        If a shape is wrong, a value is not finite or there are no particles.
    """
    points, speeds = _particles(positions, velocities, box)
    data = _nearest(points, speeds, _cell_centres(box, 1), box).T.reshape(3, *box.shape)
    return _volume_weighted(data, box, "nearest particle to the cell centre")


def delaunay(
    positions: Float[np.ndarray, "n 3"],
    velocities: Float[np.ndarray, "n 3"],
    box: Box,
    *,
    samples: int = 3,
) -> Field:
    """Return the volume-weighted velocity of a Delaunay tessellation [km/s].

    The velocity is linear within each tetrahedron of particles (Bernardeau and van de Weygaert 1996); each cell takes
    its mean over a regular grid of points. Slow: some 10^5 particles a second.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
        A periodic box is tessellated with images of the particles around it. In another box, points outside the hull
        of the particles take the nearest particle's velocity.
    velocities : (n, 3) [km/s]
    box : Box
        With its mesh.
    samples : int
        Points along each side of a cell.

    Raises
    ------
    InputError
        As in `nearest_particle`, or if there are fewer than 5 particles or `samples` is below 1.
    """
    from scipy.interpolate import LinearNDInterpolator

    points, speeds = _particles(positions, velocities, box)
    if len(points) < 5:
        raise InputError(f"positions must hold at least 5 particles for a tessellation, got {len(points)}")
    if samples < 1:
        raise InputError(f"samples must be >= 1, got {samples}")
    nodes, values = _with_images(points, speeds, box.side) if box.periodic else (points, speeds)
    interpolate = LinearNDInterpolator(nodes, values)
    centres = _cell_centres(box, samples)
    sampled = np.concatenate(
        [
            interpolate(centres[start : start + _SAMPLES_AT_ONCE])
            for start in range(0, len(centres), _SAMPLES_AT_ONCE)
        ]
    )
    outside = np.isnan(sampled[:, 0])
    if outside.any():
        sampled[outside] = _nearest(points, speeds, centres[outside], box)
    nx, ny, nz = box.shape
    sampled = sampled.reshape(nx, samples, ny, samples, nz, samples, 3)
    data = sampled.mean(axis=(1, 3, 5)).transpose(3, 0, 1, 2)
    note = "" if box.periodic else "; nearest particle outside the hull"
    return _volume_weighted(
        data, box, f"Delaunay tessellation, mean of {samples}^3 points in each cell{note}"
    )


def _fill_from_neighbours(
    data: Float[Tensor, "3 x y z"],
    mass: Float[Tensor, "x y z"],
    momentum: Float[Tensor, "3 x y z"],
    empty: Bool[Tensor, "x y z"],
    *,
    periodic: bool,
) -> None:
    """Overwrite the empty cells of `data` with momentum / mass of growing cubes, at last of the whole mesh."""
    sources = [torch.where(empty, 0.0, values) for values in (mass, *momentum)]
    left = empty
    reach = 1
    while 2 * reach + 1 < min(mass.shape):
        total = _box_mean(sources[0], reach, periodic=periodic)
        found = left & (total > 0)
        share = total[found]
        for axis in range(3):
            data[axis][found] = _box_mean(sources[axis + 1], reach, periodic=periodic)[found] / share
        left = left & ~found
        if not bool(left.any()):
            return
        reach *= 2
    for axis in range(3):
        data[axis][left] = sources[axis + 1].mean() / sources[0].mean()


def _box_mean(values: Float[Tensor, "x y z"], reach: int, *, periodic: bool) -> Float[Tensor, "x y z"]:
    """Mean over the cube of 2 reach + 1 cells around each cell, zeros beyond the faces unless periodic."""
    out = values[None, None]
    for axis in range(3):
        kernel = [1, 1, 1]
        kernel[axis] = 2 * reach + 1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        padded = torch.nn.functional.pad(out, padding, mode="circular" if periodic else "constant")
        out = torch.nn.functional.avg_pool3d(padded, kernel, stride=1)
    return out[0, 0]


def _particles(positions: np.ndarray, velocities: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Check, and move positions to [0, size) of the box where it is periodic."""
    # A simulation's particles stay in single precision: in double they would take twice the memory.
    kind = np.result_type(np.float32, np.asarray(positions).dtype)
    points: np.ndarray = np.asarray(positions, dtype=kind)
    speeds: np.ndarray = np.asarray(velocities, dtype=kind)
    if points.ndim != 2 or points.shape[1] != 3 or points.shape != speeds.shape or len(points) == 0:
        raise InputError(
            f"positions and velocities must both have shape (n, 3), n > 0, got {points.shape} and {speeds.shape}"
        )
    if not (np.isfinite(points).all() and np.isfinite(speeds).all()):
        raise InputError(
            "positions and velocities must be finite, got values that are not: remove or repair them"
        )
    points = points - np.asarray(box.origin, dtype=points.dtype)
    if box.periodic:
        sides = np.asarray(box.sides, dtype=points.dtype)
        np.mod(points, sides, out=points)
        points[points >= sides] = 0.0  # mod rounds up to the size itself for a hair below zero
    return points, speeds


def _cell_centres(box: Box, samples: int) -> Float[np.ndarray, "m 3"]:
    """Centres of the cells, each cut `samples` times along its sides, from the lower corner of the box."""
    lines = [
        (np.arange(cells * samples) + 0.5) * (side / (cells * samples))
        for cells, side in zip(box.shape, box.sides, strict=True)
    ]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)


def _nearest(
    points: np.ndarray, speeds: np.ndarray, targets: np.ndarray, box: Box
) -> Float[np.ndarray, "m 3"]:
    if box.periodic:
        return speeds[nearest_index(points, targets, box.side)]
    from scipy.spatial import cKDTree

    return speeds[cKDTree(points).query(targets)[1]]


def _with_images(points: np.ndarray, speeds: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Add the periodic images within a margin around the box, so that its tessellation does not see the edge."""
    margin = min(size, _PAD_SEPARATIONS * size / len(points) ** (1 / 3))
    nodes, values = [points], [speeds]
    for shift in itertools.product((-size, 0.0, size), repeat=3):
        if any(shift):
            image = points + np.asarray(shift)
            rows = ((image > -margin) & (image < size + margin)).all(axis=1)
            nodes.append(image[rows])
            values.append(speeds[rows])
    return np.concatenate(nodes), np.concatenate(values)


def _volume_weighted(data: np.ndarray, box: Box, how: str) -> Field:
    return Field(
        torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)),
        box,
        NAMES,
        unit="km/s",
        kind="vector",
        definition=f"volume weighted: {how}",
    )
