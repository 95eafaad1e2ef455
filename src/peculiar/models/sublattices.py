"""The eight sublattices of every second cell, on which counts are drawn one after the other."""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional

from peculiar.models.blocks import Mesh

_CORNERS = tuple(product((0, 1), repeat=3))
_ORDER = (0, 7, 3, 4, 5, 2, 6, 1)  # far corners first: (0,0,0), (1,1,1), (0,1,1), (1,0,0), ...
OFFSETS = tuple(_CORNERS[i] for i in _ORDER)
"""Of the sublattices, in the order in which they are drawn. Cells of one do not touch, and are drawn at once."""
REACH = 2
"""Cells around a cell whose counts it sees."""


def places(offset: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the index of a sublattice's cells in a mesh with batch and channels."""
    return (slice(None), slice(None), *(slice(start, None, 2) for start in offset))


def drawn(own: Mesh, p: int) -> Mesh:
    """Keep what was drawn before pass p."""
    kept = torch.zeros_like(own)
    for offset in OFFSETS[:p]:
        kept[places(offset)] = own[places(offset)]
    return kept


def wrap(mesh: Mesh, pad: int) -> Mesh:
    """Return a periodic mesh with so many cells more at each face."""
    return functional.pad(mesh, (pad,) * 6, mode="circular")


def around(own: Mesh, p: int) -> Mesh:
    """Wrap and cut the mesh so that a convolution of stride 2 falls on the sublattice of pass p."""
    return cut(wrap(own, REACH), p)


def cut(wrapped: Mesh, p: int) -> Mesh:
    """Cut a wrapped mesh so that a convolution of stride 2 falls on the sublattice of pass p."""
    inner = tuple(slice(start, start + n - 1) for start, n in zip(OFFSETS[p], wrapped.shape[2:], strict=True))
    return wrapped[(slice(None), slice(None), *inner)]


def split(mesh: Mesh) -> Mesh:
    """Put the sublattices one after the other along the batch, in the order of `OFFSETS`."""
    return torch.cat([mesh[places(offset)] for offset in OFFSETS])


def join(mesh: Mesh, batch: int) -> Mesh:
    """Undo `split`."""
    n_x, n_y, n_z = mesh.shape[2:]
    whole = mesh.new_empty((batch, mesh.shape[1], 2 * n_x, 2 * n_y, 2 * n_z))
    for p, offset in enumerate(OFFSETS):
        whole[places(offset)] = mesh[p * batch : (p + 1) * batch]
    return whole
