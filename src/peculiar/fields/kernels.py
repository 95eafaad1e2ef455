"""Particle kernels for the CPU: painting onto a mesh, and gradients at particles.

Numba functions that release the GIL; a thread pool runs them. Painting is split in slabs along x: slabs of even number
first, then odd ones, so that no two threads write one cell and the sum does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from peculiar.core.box import Shape
from peculiar.core.compiled import compiled
from peculiar.core.readout import OPTIONS, Array, Corners, chunks, corner_weights, in_threads

_MIN_PARTICLES_FOR_SLABS = 200_000


@compiled(**OPTIONS)
def _paint_some(
    positions: Array,
    weights: Array,
    index: Array,
    start: int,
    stop: int,
    mesh: Array,
    origin: Array,
    inverse_cell: float,
    offset: float,
    periodic: bool,
    corners: Corners,
) -> None:
    order = len(corners)
    channels, nx, ny, nz = mesh.shape
    weighted = weights.shape[0] > 0
    indexed = index.shape[0] > 0
    wx = np.empty(3, np.float32)
    wy = np.empty(3, np.float32)
    wz = np.empty(3, np.float32)
    for row in range(start, stop):
        p = index[row] if indexed else row
        ix = corner_weights(np.float32((positions[p, 0] - origin[0]) * inverse_cell - offset), wx, corners)
        iy = corner_weights(np.float32((positions[p, 1] - origin[1]) * inverse_cell - offset), wy, corners)
        iz = corner_weights(np.float32((positions[p, 2] - origin[2]) * inverse_cell - offset), wz, corners)
        for a in range(order):
            x = ix + a
            if x < 0 or x >= nx:
                if not periodic:
                    continue
                x %= nx
            for b in range(order):
                y = iy + b
                if y < 0 or y >= ny:
                    if not periodic:
                        continue
                    y %= ny
                wxy = wx[a] * wy[b]
                for c in range(order):
                    z = iz + c
                    if z < 0 or z >= nz:
                        if not periodic:
                            continue
                        z %= nz
                    w = wxy * wz[c]
                    if weighted:
                        for channel in range(channels):
                            mesh[channel, x, y, z] += w * weights[p, channel]
                    else:
                        mesh[0, x, y, z] += w


@compiled(**OPTIONS)
def _slab_order(positions: Array, origin_x: float, inverse_slab: float, slabs: int) -> tuple[Array, Array]:
    """Particle indices grouped by slab along x (stable), and where each slab starts."""
    n = positions.shape[0]
    slab = np.empty(n, np.uint8)
    starts = np.zeros(slabs + 1, np.int64)
    for p in range(n):
        s = int(np.floor((positions[p, 0] - origin_x) * inverse_slab)) % slabs
        slab[p] = s
        starts[s + 1] += 1
    for s in range(slabs):
        starts[s + 1] += starts[s]
    cursor = starts[:-1].copy()
    index = np.empty(n, np.int32)
    for p in range(n):
        index[cursor[slab[p]]] = p
        cursor[slab[p]] += 1
    return index, starts


@compiled(**OPTIONS)
def _gradient_some(
    potential: Array, positions: Array, start: int, stop: int, out: Array, inverse_cell: float
) -> None:
    """Add CIC-weighted four-point gradients (in units of 1 / cell) of a periodic potential to out[start:stop]."""
    n = potential.shape[0]
    two_thirds = np.float32(2.0 / 3.0)
    twelfth = np.float32(1.0 / 12.0)
    w = np.empty((3, 2), np.float32)
    node = np.empty((3, 6), np.int64)  # cells low - 2 .. low + 3 along each axis
    for p in range(start, stop):
        for axis in range(3):
            u = np.float32(positions[p, axis] * inverse_cell - np.float32(0.5))
            low = int(np.floor(u))
            w[axis, 1] = u - low
            w[axis, 0] = np.float32(1.0) - w[axis, 1]
            for j in range(6):
                cell = low - 2 + j
                if cell < 0:
                    cell += n
                elif cell >= n:
                    cell -= n
                node[axis, j] = cell
        gx = np.float32(0.0)
        gy = np.float32(0.0)
        gz = np.float32(0.0)
        for a in range(2):
            x = node[0, 2 + a]
            for b in range(2):
                y = node[1, 2 + b]
                wxy = w[0, a] * w[1, b]
                for c in range(2):
                    z = node[2, 2 + c]
                    weight = wxy * w[2, c]
                    gx += weight * (
                        two_thirds * (potential[node[0, 3 + a], y, z] - potential[node[0, 1 + a], y, z])
                        - twelfth * (potential[node[0, 4 + a], y, z] - potential[node[0, a], y, z])
                    )
                    gy += weight * (
                        two_thirds * (potential[x, node[1, 3 + b], z] - potential[x, node[1, 1 + b], z])
                        - twelfth * (potential[x, node[1, 4 + b], z] - potential[x, node[1, b], z])
                    )
                    gz += weight * (
                        two_thirds * (potential[x, y, node[2, 3 + c]] - potential[x, y, node[2, 1 + c]])
                        - twelfth * (potential[x, y, node[2, 4 + c]] - potential[x, y, node[2, c]])
                    )
        out[p, 0] = gx
        out[p, 1] = gy
        out[p, 2] = gz


def paint_kernel(
    positions: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, "n channel"] | None,
    cells: int | Shape,
    *,
    size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    order: int = 2,
    shift: float = 0.0,
    periodic: bool = True,
    onto: Float[np.ndarray, "channel x y z"] | None = None,
) -> Float[np.ndarray, "channel x y z"]:
    """Sum particle weights onto a mesh.

    Parameters
    ----------
    positions : (n, 3) float32 [Mpc/h]
    weights : (n, channel) float32, or None for ones in one channel
    cells : along each side
    size, origin : side (along x) and lower corner of the box [Mpc/h]
    order : 1 NGP, 2 CIC, 3 TSC
    shift : float
        Shift of the mesh in cells (1/2 for the second mesh of an interlaced pair).
    periodic : bool
        Otherwise what falls beyond a face is dropped.
    onto : (channel, x, y, z) float32, optional
        The mesh that is added to, and returned.

    Returns
    -------
    (channel, x, y, z) float32
    """
    positions = np.ascontiguousarray(positions, dtype=np.float32)
    channels = 1 if weights is None else weights.shape[1]
    weights = (
        np.zeros((0, 1), np.float32) if weights is None else np.ascontiguousarray(weights, dtype=np.float32)
    )
    shape = (cells,) * 3 if isinstance(cells, int) else cells
    mesh = np.zeros((channels, *shape), np.float32) if onto is None else onto
    corner = np.asarray(origin, dtype=np.float32)
    inverse_cell = np.float32(shape[0] / size)
    offset = np.float32(0.5 + shift)
    corners = (0,) * order
    slabs = 16
    if len(positions) < _MIN_PARTICLES_FOR_SLABS or shape[0] < 8 * slabs:
        index = np.zeros(0, np.int32)
        _paint_some(
            positions,
            weights,
            index,
            0,
            len(positions),
            mesh,
            corner,
            inverse_cell,
            offset,
            periodic,
            corners,
        )
        return mesh
    index, starts = _slab_order(positions, corner[0], np.float32(slabs / size), slabs)

    def work(start: int, stop: int) -> None:
        _paint_some(
            positions, weights, index, start, stop, mesh, corner, inverse_cell, offset, periodic, corners
        )

    for parity in (0, 1):
        in_threads(work, starts[parity:-1:2].tolist(), starts[parity + 1 :: 2].tolist())
    return mesh


def gradient_kernel(
    potential: Float[np.ndarray, "x y z"], positions: Float[np.ndarray, "n 3"], *, size: float
) -> Float[np.ndarray, "n 3"]:
    """Gradient of a periodic potential at particles: four-point differences, CIC weights.

    Parameters
    ----------
    potential : (x, y, z) float32
    positions : (n, 3) float32 [Mpc/h], in [0, size)

    Returns
    -------
    (n, 3) float32, the potential's unit per cell.
    """
    out = np.empty((len(positions), 3), np.float32)
    inverse_cell = np.float32(potential.shape[0] / size)

    def work(start: int, stop: int) -> None:
        _gradient_some(potential, positions, start, stop, out, inverse_cell)

    in_threads(work, *chunks(len(positions)))
    return out
