"""Meshes at particles: the one way to read a field, and what painting shares with it.

On the CPU numba kernels do the work, elsewhere torch does, with the same result to rounding. Cell (i, j, k) of a mesh
is centred on ``origin + (i + 1/2, j + 1/2, k + 1/2) * cell_size``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from peculiar.core.box import Box, Shape
from peculiar.core.compiled import compiled
from peculiar.core.errors import InputError

Scheme = Literal["ngp", "cic", "tsc"]
Array = np.ndarray
Corners = tuple[int, ...]
"""As long as a particle touches cells along an axis: the length of a tuple is known when a kernel is compiled."""
ORDERS = {"ngp": 1, "cic": 2, "tsc": 3}
OPTIONS = {"fastmath": True, "boundscheck": False}
_PARTICLES_AT_ONCE = 1 << 22  # bounds the temporaries of the torch path to some 200 MB


def readout(
    data: Float[Tensor, "channel x y z"],
    positions: Float[np.ndarray, "n 3"] | Float[Tensor, "n 3"],
    box: Box,
    *,
    scheme: Scheme = "cic",
) -> Float[Tensor, "n channel"]:
    """Interpolate a mesh at particles, with the weights that painting gives them.

    Parameters
    ----------
    data : Tensor (channel, x, y, z)
        At cell centres of `box`.
    positions : (n, 3) [Mpc/h]
        A periodic box wraps them; otherwise the outermost cells reach on without end.
    box, scheme
        As in `peculiar.fields.paint.paint`.

    Returns
    -------
    Tensor (n, channel) float32, on the device of the mesh.

    Raises
    ------
    InputError
        If positions are not (n, 3) or not finite, the scheme is unknown, or the mesh does not match the box.
    """
    order = scheme_order(scheme)
    if data.ndim != 4 or tuple(data.shape[1:]) != box.shape:
        raise InputError(
            f"data must have shape (channel, {', '.join(map(str, box.shape))}) like its box, got {tuple(data.shape)}"
        )
    points = position_tensor(positions).to(data.device)
    if data.device.type == "cpu":
        values = readout_kernel(
            data.detach().numpy(),
            points.numpy(),
            size=box.sides[0],
            origin=box.origin,
            order=order,
            periodic=box.periodic,
        )
        return torch.from_numpy(values)
    return _readout_with_torch(data, points, box, order)


def scheme_order(scheme: str) -> int:
    """Return how many cells a particle touches along an axis."""
    if scheme not in ORDERS:
        raise InputError(f"scheme must be one of {', '.join(ORDERS)}, got {scheme!r}")
    return ORDERS[scheme]


def position_tensor(positions: np.ndarray | Tensor) -> Float[Tensor, "n 3"]:
    """Return positions as a tensor, once they are found to be (n, 3) and finite."""
    points = torch.as_tensor(positions).detach()
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"positions must have shape (n, 3), got {tuple(points.shape)}")
    # One sum tells as much as a mask of the size of the particles; float64 cannot overflow here.
    if not bool(torch.isfinite(points.sum(dtype=torch.float64))):
        raise InputError("positions must be finite, got values that are not: remove or repair them")
    return points


@compiled(inline="always", **OPTIONS)
def corner_weights(u: float, w: Array, corners: Corners) -> int:
    """Lowest cell touched by a particle at `u` (cell centres at integers); weights written to w."""
    order = len(corners)
    if order == 1:
        low = int(np.floor(u + np.float32(0.5)))
        w[0] = np.float32(1.0)
    elif order == 2:
        low = int(np.floor(u))
        d = np.float32(u - low)
        w[0] = np.float32(1.0) - d
        w[1] = d
    else:
        middle = int(np.floor(u + np.float32(0.5)))
        d = np.float32(u - middle)
        low = middle - 1
        w[0] = np.float32(0.5) * (np.float32(0.5) - d) ** 2
        w[1] = np.float32(0.75) - d * d
        w[2] = np.float32(0.5) * (np.float32(0.5) + d) ** 2
    return low


@compiled(**OPTIONS)
def _readout_some(
    mesh: Array,
    positions: Array,
    start: int,
    stop: int,
    out: Array,
    origin: Array,
    inverse_cell: float,
    periodic: bool,
    corners: Corners,
) -> None:
    order = len(corners)
    nx, ny, nz = mesh.shape[1:]
    wx = np.empty(3, np.float32)
    wy = np.empty(3, np.float32)
    wz = np.empty(3, np.float32)
    for p in range(start, stop):
        ix = corner_weights(np.float32((positions[p, 0] - origin[0]) * inverse_cell - 0.5), wx, corners)
        iy = corner_weights(np.float32((positions[p, 1] - origin[1]) * inverse_cell - 0.5), wy, corners)
        iz = corner_weights(np.float32((positions[p, 2] - origin[2]) * inverse_cell - 0.5), wz, corners)
        for a in range(order):
            x = (ix + a) % nx if periodic else min(max(ix + a, 0), nx - 1)
            for b in range(order):
                y = (iy + b) % ny if periodic else min(max(iy + b, 0), ny - 1)
                for c in range(order):
                    z = (iz + c) % nz if periodic else min(max(iz + c, 0), nz - 1)
                    w = wx[a] * wy[b] * wz[c]
                    for channel in range(mesh.shape[0]):
                        out[p, channel] += w * mesh[channel, x, y, z]


def in_threads(work: Callable[[int, int], None], starts: list[int], stops: list[int]) -> None:
    """Do work on ranges of rows, in as many threads as torch uses."""
    threads = min(torch.get_num_threads(), len(starts))
    if threads <= 1:
        for start, stop in zip(starts, stops, strict=True):
            work(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, starts, stops))


def chunks(n: int) -> tuple[list[int], list[int]]:
    """Return where ranges of n rows start and stop, of some 50,000 each."""
    edges = np.linspace(0, n, max(1, min(64, n // 50_000)) + 1).astype(int).tolist()
    return edges[:-1], edges[1:]


def readout_kernel(
    mesh: Float[np.ndarray, "channel x y z"],
    positions: Float[np.ndarray, "n 3"],
    *,
    size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    order: int = 2,
    periodic: bool = True,
) -> Float[np.ndarray, "n channel"]:
    """Read a mesh at particles with the weights of painting, clamped at faces; `size` is the side along x [Mpc/h]."""
    positions = np.ascontiguousarray(positions, dtype=np.float32)
    mesh = np.ascontiguousarray(mesh, dtype=np.float32)
    out = np.zeros((len(positions), mesh.shape[0]), np.float32)
    corner = np.asarray(origin, dtype=np.float32)
    inverse_cell = np.float32(mesh.shape[1] / size)

    def work(start: int, stop: int) -> None:
        _readout_some(mesh, positions, start, stop, out, corner, inverse_cell, periodic, (0,) * order)

    in_threads(work, *chunks(len(positions)))
    return out


def cloud_corners(
    points: Tensor, box: Box, order: int, shift: float
) -> Iterator[tuple[slice, Int[Tensor, "n 3"], Float[Tensor, "n 3"]]]:
    """Yield, a batch of particles and a corner of their clouds at a time, rows, cells and weights along each axis."""
    origin = torch.tensor(box.origin, dtype=points.dtype, device=points.device)
    for start in range(0, len(points), _PARTICLES_AT_ONCE):
        rows = slice(start, start + _PARTICLES_AT_ONCE)
        u = (points[rows] - origin) / box.cell_size - (0.5 + shift)
        lowest = torch.floor(u) if order == 2 else torch.floor(u + 0.5)
        d = (u - lowest).to(torch.float32)
        cell = lowest.long()
        if order == 1:
            steps = [(cell, torch.ones_like(d))]
        elif order == 2:
            steps = [(cell, 1 - d), (cell + 1, d)]
        else:
            steps = [(cell - 1, 0.5 * (0.5 - d) ** 2), (cell, 0.75 - d**2), (cell + 1, 0.5 * (0.5 + d) ** 2)]
        for ix, wx in steps:
            for iy, wy in steps:
                for iz, wz in steps:
                    index = torch.stack((ix[:, 0], iy[:, 1], iz[:, 2]), dim=1)
                    yield rows, index, wx[:, 0] * wy[:, 1] * wz[:, 2]


def _readout_with_torch(data: Tensor, points: Tensor, box: Box, order: int) -> Float[Tensor, "n channel"]:
    shape = torch.tensor(box.shape, device=data.device)
    flat_data = data.detach().reshape(data.shape[0], -1).to(torch.float32)
    out = torch.zeros(len(points), data.shape[0], device=data.device)
    for rows, index, share in cloud_corners(points, box, order, 0.0):
        index = index.remainder(shape) if box.periodic else index.clamp(min=0).minimum(shape - 1)
        out[rows] += flat_data[:, flat_index(index, box.shape)].T * share[:, None]
    return out


def flat_index(index: Int[Tensor, "n 3"], shape: Shape) -> Int[Tensor, " n"]:
    """Return the index of cells in a mesh laid out flat."""
    return (index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2]
