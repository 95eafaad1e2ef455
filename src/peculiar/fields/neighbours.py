"""The nearest particle to each of many points of a periodic box, and close pairs: particles are listed by cell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from peculiar.core.compiled import compiled

Array = np.ndarray
_AT_ONCE = 10_000  # particles whose pairs are sought together: bounds the temporaries
_PER_CELL = 2.0  # particles: with fewer there are empty rings to pass, with more there is too much to read


def nearest_index(
    positions: Float[np.ndarray, "n 3"], points: Float[np.ndarray, "m 3"], size: float
) -> Int[np.ndarray, " m"]:
    """Return the row of the particle nearest to each point, where images count.

    Parameters
    ----------
    positions, points : (n, 3) and (m, 3) [Mpc/h]
        In [0, size), n > 0.
    size : float
        Side of the box [Mpc/h].
    """
    cells = max(1, int((len(positions) / _PER_CELL) ** (1 / 3)))
    order, starts = _sort(positions, cells, cells / size)
    return order[_search(positions[order], starts, np.asarray(points, dtype=np.float64), cells, size)]


def close_pairs(positions: Float[np.ndarray, "n 3"], reach: float) -> Int[np.ndarray, "pair 2"]:
    """Return the rows of all pairs that are nearer than `reach` [Mpc/h], each once; no images count.

    As `scipy.spatial.cKDTree.query_pairs`, whose import takes longer than the work.

    Examples
    --------
    >>> close_pairs(np.array([[0.0, 0, 0], [5, 0, 0], [0, 3, 0]]), 4.0).tolist()
    [[0, 2]]
    """
    # Cells as wide as the reach, with an empty one beyond each face: a partner is in the next one at most.
    cell = ((positions - positions.min(axis=0)) / reach).astype(np.int64) + 1
    _, width, depth = cell.max(axis=0) + 2
    place = (cell[:, 0] * width + cell[:, 1]) * depth + cell[:, 2]
    order = np.argsort(place, kind="stable")
    place, points = place[order], positions[order]
    found = []
    # Rows of three cells along the last axis: the rest of one's own, and half of those about it.
    for row in (0, 1, width - 1, width, width + 1):
        middle = place + row * depth
        first = np.searchsorted(place, middle - 1) if row else np.arange(1, len(place) + 1)
        number = np.searchsorted(place, middle + 1, side="right") - first
        for start in range(0, len(place), _AT_ONCE):
            some = number[start : start + _AT_ONCE]
            one = np.repeat(np.arange(start, start + len(some)), some)
            skipped = first[start : start + _AT_ONCE] - some.cumsum() + some
            other = np.arange(len(one)) + np.repeat(skipped, some)
            near = np.square(points[one] - points[other]).sum(axis=1) < reach**2
            found.append(np.stack([order[one[near]], order[other[near]]], axis=1))
    return np.sort(np.concatenate(found), axis=1)


@compiled(boundscheck=False)
def _cell(value: float, inverse: float, cells: int) -> int:
    return min(int(value * inverse), cells - 1)  # rounding may reach the upper face


@compiled(boundscheck=False)
def _sort(positions: Array, cells: int, inverse: float) -> tuple[Array, Array]:
    """Rows of the particles in order of their cells, and where each cell starts."""
    where = np.empty(len(positions), np.int32)
    starts = np.zeros(cells**3 + 1, np.int64)
    for row in range(len(positions)):
        i = _cell(positions[row, 0], inverse, cells)
        j = _cell(positions[row, 1], inverse, cells)
        k = _cell(positions[row, 2], inverse, cells)
        where[row] = (i * cells + j) * cells + k
        starts[where[row] + 1] += 1
    for cell in range(cells**3):
        starts[cell + 1] += starts[cell]
    order = np.empty(len(positions), np.int64)
    filled = starts[:-1].copy()
    for row in range(len(positions)):
        order[filled[where[row]]] = row
        filled[where[row]] += 1
    return order, starts


@compiled(boundscheck=False)
def _search(positions: Array, starts: Array, points: Array, cells: int, size: float) -> Array:
    """Index into the sorted positions of the particle nearest to each point."""
    width = size / cells
    result = np.empty(len(points), np.int64)
    for row in range(len(points)):
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        i, j, k = _cell(x, 1 / width, cells), _cell(y, 1 / width, cells), _cell(z, 1 / width, cells)
        inset = width  # distance to the nearest face of the point's own cell
        for offset in (x - i * width, y - j * width, z - k * width):
            inset = min(inset, offset, width - offset)
        best, nearest = np.inf, -1
        for ring in range(cells // 2 + 1):
            for a in range(-ring, ring + 1):
                for b in range(-ring, ring + 1):
                    # Inside the cube only the two caps are new.
                    step = 1 if ring == 0 or abs(a) == ring or abs(b) == ring else 2 * ring
                    for c in range(-ring, ring + 1, step):
                        cell = (((i + a) % cells) * cells + (j + b) % cells) * cells + (k + c) % cells
                        for particle in range(starts[cell], starts[cell + 1]):
                            dx = abs(positions[particle, 0] - x)
                            dy = abs(positions[particle, 1] - y)
                            dz = abs(positions[particle, 2] - z)
                            dx, dy, dz = min(dx, size - dx), min(dy, size - dy), min(dz, size - dz)
                            distance = dx * dx + dy * dy + dz * dz
                            if distance < best:
                                best, nearest = distance, particle
            reached = ring * width + inset  # nothing nearer than this lies in a ring further out
            if best <= reached * reached:
                break
        result[row] = nearest
    return result
