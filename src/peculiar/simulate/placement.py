"""Where in their cells halos stand: density sharpened beyond the mesh, to a power that simulated halos give."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.core.compiled import compiled
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import to_fourier, to_real, wavevectors
from peculiar.fields.paint import deconvolve

REFINEMENT = 2
_PARTS = 4
"""Along a side of a cell; the interpolation in `_choose_parts` is written for two to a cell of the sharpened mesh."""
_FLOOR = 0.1  # of 1 + delta, which sharpening can carry below 0


def sharpen(density: Field) -> Field:
    """Undo the CIC window of a periodic overdensity, and interpolate it in Fourier space to cells half as large.

    Memory is 16 bytes for each of the new cells.

    Raises
    ------
    InputError
        If the mesh is odd along a side.
    """
    box = density.box
    n, fine = box.mesh, box.with_cells(REFINEMENT * box.mesh)
    if n % 2:
        raise InputError(f"density must have an even mesh, got {n} cells: use one more")
    coarse = deconvolve(to_fourier(density.data), box)
    data_k = torch.zeros((1, fine.mesh, fine.mesh, fine.mesh // 2 + 1), dtype=coarse.dtype)
    half = n // 2  # the Nyquist planes have no sign, so no finer wave
    for to_x, from_x in ((slice(half), slice(half)), (slice(1 - half, None), slice(half + 1, None))):
        for to_y, from_y in ((slice(half), slice(half)), (slice(1 - half, None), slice(half + 1, None))):
            data_k[:, to_x, to_y, :half] = coarse[:, from_x, from_y, :half]
    # Cell centres of the two meshes differ by a quarter of the larger cell.
    for k in wavevectors(fine):
        data_k *= torch.polar(torch.ones_like(k), (fine.cell_size - box.cell_size) / 2 * k)
    return Field(to_real(data_k.mul_(REFINEMENT**3), fine.mesh), fine, density.names)


def place(
    cells: Int[np.ndarray, " n"],
    exponents: Float[np.ndarray, " n"],
    density: Field,
    *,
    random: np.random.Generator,
) -> Float[np.ndarray, "n 3"]:
    """Draw a place in its cell for each halo, in proportion to (1 + delta) to a power.

    The density is interpolated to 4^3 parts of a cell; inside a part every place is as likely as another.

    Parameters
    ----------
    cells : (n,)
        Flat indices on the mesh that was sharpened.
    exponents : (n,)
    density : Field
        From `sharpen`.
    random : numpy Generator

    Returns
    -------
    (n, 3) [Mpc/h]
    """
    fine = density.box
    mesh, cell = fine.mesh // REFINEMENT, REFINEMENT * fine.cell_size
    corners = np.stack(np.unravel_index(cells, (mesh,) * 3), axis=1)
    parts = _choose_parts(
        np.ascontiguousarray(density.numpy()[0], dtype=np.float32),
        corners,
        np.ascontiguousarray(exponents, dtype=np.float32),
        random.random(len(corners)),
    )
    inside = (parts + random.random((len(corners), 3))) / _PARTS
    return fine.wrap(np.asarray(fine.origin) + (corners + inside) * cell)


@compiled(fastmath=True, boundscheck=False)
def _choose_parts(
    density: np.ndarray, corners: np.ndarray, exponents: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """One of 4^3 parts of a cell for each corner, (n, 3): trilinear in a mesh of half the cell, to a power."""
    n = density.shape[0]
    parts = np.empty((len(corners), 3), np.float64)
    low = np.array([0, 1, 1, 2])  # of the four fine cells around, for the four parts along a side
    high = np.array([0.75, 0.25, 0.75, 0.25], dtype=np.float32)
    one, floor = np.float32(1.0), np.float32(_FLOOR)
    along_z = np.empty((4, 4, 4), np.float32)
    along_yz = np.empty((4, 4, 4), np.float32)
    weight = np.empty(64, np.float64)
    for halo in range(len(corners)):
        for a in range(4):
            x = (2 * corners[halo, 0] - 1 + a) % n
            for b in range(4):
                y = (2 * corners[halo, 1] - 1 + b) % n
                for c in range(4):
                    z = 2 * corners[halo, 2] - 1 + low[c]
                    along_z[a, b, c] = (one - high[c]) * density[x, y, z % n] + high[c] * density[
                        x, y, (z + 1) % n
                    ]
            for b in range(4):
                for c in range(4):
                    along_yz[a, b, c] = (one - high[b]) * along_z[a, low[b], c] + high[b] * along_z[
                        a, low[b] + 1, c
                    ]
        total = 0.0
        for a in range(4):
            for b in range(4):
                for c in range(4):
                    value = (one - high[a]) * along_yz[low[a], b, c] + high[a] * along_yz[low[a] + 1, b, c]
                    total += math.exp(exponents[halo] * math.log(max(one + value, floor)))
                    weight[(a * 4 + b) * 4 + c] = total
        chosen = min(np.searchsorted(weight, uniform[halo] * total, side="right"), 63)
        parts[halo, 0] = chosen // 16
        parts[halo, 1] = chosen // 4 % 4
        parts[halo, 2] = chosen % 4
    return parts
