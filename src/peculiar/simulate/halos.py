"""Halos in a periodic box by friends of friends (Davis et al. 1985, ApJ 292, 371).

Particles are sorted into square columns along z, at least one linking length wide, and by z inside each
column. A particle's friends then lie in a short z window of its own column and the eight around it, so no
three-dimensional cell table is needed (it would have 125 cells per particle) and memory is read in order.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peculiar.core.compiled import compiled
from peculiar.core.errors import InputError

# Columns are this much wider than the linking length, so that rounding of a coordinate never puts two
# friends two columns apart.
_COLUMN_MARGIN = 1.0 + 1e-6

Array = NDArray[Any]
Span = tuple[int, int]
Shift = tuple[float, float, float]


@dataclass(frozen=True)
class Halos:
    """Halos of one periodic box, the most massive first.

    Attributes
    ----------
    positions : (n, 3) float32
        Centres of mass in Mpc/h, wrapped into [0, box size).
    velocities : (n, 3) float32
        Bulk velocities (mean of the members) in km/s.
    masses : (n,) float64
        Number of members times the particle mass, in Msun/h. See `warren_mass` for a correction.
    counts : (n,) int32
        Number of member particles.
    members : (m,) int64
        Indices of the member particles, halo by halo, ascending inside each halo. Empty after
        `without_members`.
    offsets : (n + 1,) int64
        Halo i owns ``members[offsets[i]:offsets[i + 1]]``.
    """

    positions: NDArray[np.float32]
    velocities: NDArray[np.float32]
    masses: NDArray[np.float64]
    counts: NDArray[np.int32]
    members: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.masses)

    def without_members(self) -> "Halos":
        """Same halos with empty member lists, small enough to store without their particles."""
        return replace(self, members=np.empty(0, np.int64), offsets=np.zeros(len(self) + 1, np.int64))


def friends_of_friends(
    positions: ArrayLike,
    velocities: ArrayLike,
    *,
    box_size: float,
    particle_mass: float,
    linking_length: float = 0.2,
    min_particles: int = 12,
    mean_spacing: float | None = None,
) -> Halos:
    """Halos of equal-mass particles by periodic friends of friends.

    Two particles are friends when they are no farther apart than ``linking_length * mean_spacing``; a halo
    is a set of particles connected by friendship (Davis et al. 1985, ApJ 292, 371). The result depends
    on the input only, not on threads or time. Work memory is about 28 bytes per particle on top of float32
    input.

    Parameters
    ----------
    positions : (n, 3)
        Particle positions in Mpc/h, anywhere; they are wrapped into the box. Used as float32.
    velocities : (n, 3)
        Peculiar velocities in km/s. Used as float32.
    box_size : float
        Side of the periodic box in Mpc/h.
    particle_mass : float
        Msun/h.
    linking_length : float
        In units of the mean spacing.
    min_particles : int
        Smaller groups are dropped.
    mean_spacing : float, optional
        Mean inter-particle spacing in Mpc/h; ``box_size / n ** (1 / 3)`` when not given. Give it when the
        particles do not fill the box.

    Returns
    -------
    Halos
        Descending in mass; equal masses in the order of their first member in the input. A centre of mass
        is taken around the first member, so it has a meaning only for halos smaller than half the box.

    Raises
    ------
    InputError
        For wrong shapes, numbers that are not finite, or parameters out of range.

    Examples
    --------
    >>> import numpy as np
    >>> pair = np.array([[0.1, 5.0, 5.0], [9.9, 5.0, 5.0]])  # 0.2 Mpc/h apart across the edge
    >>> halos = friends_of_friends(pair, np.zeros((2, 3)), box_size=10.0, particle_mass=1e10,
    ...                            min_particles=2, mean_spacing=2.0)
    >>> halos.counts
    array([2], dtype=int32)
    """
    size = _positive(box_size, "box_size", "Mpc/h, the side of the periodic box")
    mass = _positive(particle_mass, "particle_mass", "Msun/h")
    length = _positive(linking_length, "linking_length", "mean spacings; 0.2 is usual")
    if min_particles < 1:
        raise InputError(f"min_particles must be >= 1, got {min_particles}: 12 or more is usual")
    x = particle_array(positions, "positions", "Mpc/h")
    v = particle_array(velocities, "velocities", "km/s")
    if len(v) != len(x):
        raise InputError(
            f"velocities must be one per position, got {len(v)} for {len(x)} positions: pass matching arrays"
        )
    if not 0 < len(x) < 2**31 - 1:
        raise InputError(f"positions must be 1 to 2**31 - 2 particles, got {len(x)}: split the box")
    spacing = size / len(x) ** (1.0 / 3.0) if mean_spacing is None else mean_spacing
    length *= _positive(spacing, "mean_spacing", "Mpc/h, or None for a box full of particles")
    if length >= 0.5 * size:
        raise InputError(
            f"linking_length must be < half the box, got {length:g} of {size:g} Mpc/h: use more particles "
            "or a smaller linking_length"
        )

    # More columns than about the particles would only cost memory.
    columns = int(min(size / (length * _COLUMN_MARGIN), np.ceil(2.0 * np.sqrt(len(x)))))
    sorted_x, order, starts = _sort_into_columns(x, size, columns)
    parent = _link(sorted_x, starts, columns, size, length)
    del sorted_x, starts
    halo_of, counts, first = _number_groups(parent, order, min_particles)
    del parent, order
    rank = np.lexsort((first, -counts.astype(np.int64)))
    place = np.empty(len(rank), np.int32)
    place[rank] = np.arange(len(rank), dtype=np.int32)
    counts = counts[rank]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    members, centres, bulk = _gather(x, v, halo_of, place, offsets, size)
    return Halos(
        positions=wrap(centres, size),
        velocities=bulk.astype(np.float32),
        masses=counts * mass,
        counts=counts,
        members=members,
        offsets=offsets,
    )


def warren_mass(counts: ArrayLike, particle_mass: float) -> NDArray[np.float64]:
    """Halo masses in Msun/h with the friends-of-friends sampling bias taken out.

    ``N (1 - N**-0.6)`` particles instead of N (Warren et al. 2006, ApJ 646, 881): halos of few
    particles are found too heavy.

    Parameters
    ----------
    counts : (n,)
        Number of members, >= 1. A halo of one particle has mass zero.
    particle_mass : float
        Msun/h.

    Examples
    --------
    >>> warren_mass([32], 1e10)
    array([2.8e+11])
    """
    mass = _positive(particle_mass, "particle_mass", "Msun/h")
    n = np.asarray(counts, np.float64)
    if n.size and not n.min() >= 1:
        raise InputError(f"counts must be >= 1, got {n.min():g}: drop empty halos first")
    return mass * n * (1.0 - n**-0.6)


def particle_array(values: ArrayLike, name: str, unit: str) -> NDArray[np.float32]:
    """(n, 3) contiguous float32 array of finite numbers, without a copy where the input is one already.

    Raises
    ------
    InputError
        When the shape is not (n, 3) or a number is not finite.
    """
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"{name} must be of shape (n, 3), got {array.shape}: pass one row per particle")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(axis=1).sum())
        raise InputError(f"{name} must be finite {unit}, got {bad} rows with NaN or infinity: drop them")
    return array


def wrap(positions: Array, size: float) -> NDArray[np.float32]:
    """Positions wrapped into [0, size) as float32, where rounding up to the size itself becomes 0."""
    wrapped = np.mod(positions, size).astype(np.float32)
    wrapped[wrapped >= size] = 0.0
    return wrapped


def _positive(value: float, name: str, meaning: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{name} must be > 0, got {value}: give it in {meaning}")
    return float(value)


@compiled()
def _wrapped(value: float, size: float) -> np.float32:
    wrapped = np.float32(value - size * np.floor(value / size))
    return wrapped if 0.0 <= wrapped < size else np.float32(0.0)


@compiled()
def _column(x: float, y: float, size: float, columns: int) -> int:
    cx = min(int(np.float64(x) * columns / size), columns - 1)
    cy = min(int(np.float64(y) * columns / size), columns - 1)
    return cx * columns + cy


@compiled()
def _sort_into_columns(positions: Array, size: float, columns: int) -> tuple[Array, Array, Array]:
    """Wrapped positions (n, 3) sorted by column then z, their input indices, and where columns start."""
    n = positions.shape[0]
    starts = np.zeros(columns * columns + 1, np.int32)
    for i in range(n):
        x, y = _wrapped(positions[i, 0], size), _wrapped(positions[i, 1], size)
        starts[_column(x, y, size, columns) + 1] += 1
    for c in range(columns * columns):
        starts[c + 1] += starts[c]
    fill = starts[:-1].copy()
    sorted_x = np.empty((n, 3), np.float32)
    order = np.empty(n, np.int32)
    for i in range(n):
        x, y = _wrapped(positions[i, 0], size), _wrapped(positions[i, 1], size)
        c = _column(x, y, size, columns)
        s = fill[c]
        fill[c] = s + 1
        sorted_x[s, 0] = x
        sorted_x[s, 1] = y
        sorted_x[s, 2] = _wrapped(positions[i, 2], size)
        order[s] = i
    for c in range(columns * columns):
        _sort_by_z(sorted_x, order, starts[c], starts[c + 1])
    return sorted_x, order, starts


@compiled()
def _sort_by_z(x: Array, order: Array, lo: int, hi: int) -> None:
    # Shell sort in place: columns hold about ten particles, a few thousand at most.
    gap = 1
    while gap < (hi - lo) // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(lo + gap, hi):
            x0, x1, x2, index = x[i, 0], x[i, 1], x[i, 2], order[i]
            j = i
            while j >= lo + gap and x[j - gap, 2] > x2:
                x[j, 0], x[j, 1], x[j, 2] = x[j - gap, 0], x[j - gap, 1], x[j - gap, 2]
                order[j] = order[j - gap]
                j -= gap
            x[j, 0], x[j, 1], x[j, 2], order[j] = x0, x1, x2, index
        gap //= 3


@compiled()
def _root(parent: Array, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled(inline="always")
def _join(x: Array, parent: Array, i: int, j: int, shift: Shift, square: float) -> None:
    """Join i and the image of j when they are friends; the smaller index becomes the root."""
    if parent[i] != parent[j]:
        dx = x[j, 0] + shift[0] - x[i, 0]  # float64, as the shifts are
        dy = x[j, 1] + shift[1] - x[i, 1]
        dz = x[j, 2] + shift[2] - x[i, 2]
        if dx * dx + dy * dy + dz * dz <= square:
            a, b = _root(parent, i), _root(parent, j)
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b


@compiled()
def _link(x: Array, starts: Array, columns: int, size: float, length: float) -> Array:
    """Root of the friendship tree of every sorted particle, by union-find over neighbouring columns."""
    n = x.shape[0]
    parent = np.arange(n).astype(np.int32)
    square = length * length
    for cx in range(columns):
        for cy in range(columns):
            lo, hi = starts[cx * columns + cy], starts[cx * columns + cy + 1]
            for i in range(lo, hi):
                j = i + 1
                while j < hi and x[j, 2] - np.float64(x[i, 2]) <= length:
                    _join(x, parent, i, j, (0.0, 0.0, 0.0), square)
                    j += 1
            _link_upper_edge(x, parent, (lo, hi), (lo, hi), (0.0, 0.0, size), length)
            # Half of the eight neighbours: the other half meets this column from the other side.
            for k in range(4):
                nx = cx + 1 if k < 3 else cx
                ny = cy + k - 1 if k < 3 else cy + 1
                shift_x = size if nx == columns else 0.0
                shift_y = size if ny == columns else (-size if ny < 0 else 0.0)
                other = (nx % columns) * columns + ny % columns
                begin, end = starts[other], starts[other + 1]
                _link_upper_edge(x, parent, (lo, hi), (begin, end), (shift_x, shift_y, size), length)
                _link_upper_edge(x, parent, (begin, end), (lo, hi), (-shift_x, -shift_y, size), length)
                for i in range(lo, hi):
                    z = np.float64(x[i, 2])
                    while begin < end and x[begin, 2] < z - length:
                        begin += 1
                    j = begin
                    while j < end and x[j, 2] <= z + length:
                        _join(x, parent, i, j, (shift_x, shift_y, 0.0), square)
                        j += 1
    for i in range(n):
        parent[i] = _root(parent, i)
    return parent


@compiled()
def _link_upper_edge(x: Array, parent: Array, own: Span, other: Span, shift: Shift, length: float) -> None:
    """Join the top of a column with the bottom of another, whose image lies one box higher."""
    i = own[1] - 1
    while i >= own[0] and x[i, 2] + length >= shift[2]:
        j = other[0]
        while j < other[1] and x[j, 2] + shift[2] <= x[i, 2] + length:
            _join(x, parent, i, j, shift, length * length)
            j += 1
        i -= 1


@compiled()
def _number_groups(parent: Array, order: Array, min_particles: int) -> tuple[Array, Array, Array]:
    """Group of every input particle (-1: none), and size and smallest input index of every kept group."""
    n = parent.shape[0]
    size = np.zeros(n, np.int32)
    for s in range(n):
        size[parent[s]] += 1
    kept = np.count_nonzero(size >= min_particles)
    counts = np.empty(kept, np.int32)
    first = np.full(kept, n, np.int32)
    halo_of = np.full(n, -1, np.int32)
    groups = 0
    for s in range(n):
        # A root is the smallest sorted index of its group, so it is numbered before its other members;
        # its size is then overwritten by minus its number minus one.
        if parent[s] == s and size[s] >= min_particles:
            counts[groups] = size[s]
            size[s] = -groups - 1
            groups += 1
        group = -size[parent[s]] - 1
        if group >= 0:
            halo_of[order[s]] = group
            first[group] = min(first[group], order[s])
    return halo_of, counts, first


@compiled()
def _gather(
    positions: Array, velocities: Array, halo_of: Array, place: Array, offsets: Array, size: float
) -> tuple[Array, Array, Array]:
    """Member lists (input order), centres of mass and mean velocities of the halos, all in rank order."""
    halos = len(offsets) - 1
    members = np.empty(offsets[-1], np.int64)
    fill = offsets[:-1].copy()
    shift = np.zeros((halos, 3), np.float64)
    bulk = np.zeros((halos, 3), np.float64)
    for i in range(positions.shape[0]):
        if halo_of[i] < 0:
            continue
        h = place[halo_of[i]]
        members[fill[h]] = i
        fill[h] += 1
        reference = members[offsets[h]]
        for d in range(3):
            delta = np.float64(positions[i, d]) - np.float64(positions[reference, d])
            shift[h, d] += delta - size * np.rint(delta / size)
            bulk[h, d] += velocities[i, d]
    for h in range(halos):
        count = offsets[h + 1] - offsets[h]
        for d in range(3):
            shift[h, d] = shift[h, d] / count + positions[members[offsets[h]], d]
            bulk[h, d] /= count
    return members, shift, bulk
