"""Meshes in arrays, in memory or on the disk, which are read cell by cell as if they were turned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from jaxtyping import Float

from peculiar.core import InputError
from peculiar.fields.symmetry import IDENTITY, Symmetry, apply_symmetry

Mesh = Float[torch.Tensor, "channel x y z"]
Array = Any
"""(channel, x, y, z): a tensor, or an array of zarr or NumPy, which slices like one."""
Region = Sequence[tuple[int, int]]
"""The first cell along each axis, and that behind the last."""


@dataclass(frozen=True, eq=False)
class Held:
    """Cells of an array that were read, and where they are in it."""

    there: Region
    mesh: Mesh

    def cells(self, there: Region) -> Mesh:
        """Return some of them."""
        starts = [start for start, _ in self.there]
        inner = (slice(low - start, high - start) for (low, high), start in zip(there, starts, strict=True))
        return self.mesh[(slice(None), *inner)]


@dataclass(frozen=True, eq=False)
class View:
    """A mesh in an array, turned, and what lies beyond its faces.

    Attributes
    ----------
    array : Array
        Numbers of bfloat16 are those of int16 with the same bits, where files do not know them.
    symmetry : Symmetry
        Turns what is read.
    vectors : sequence of (i, j, k)
        Channels that turn along.
    beyond : Tensor (channel,), optional
        What the array's channels are beyond its faces; its own far side where not given.
    """

    array: Array
    symmetry: Symmetry = IDENTITY
    vectors: Sequence[Sequence[int]] = ()
    beyond: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides of the turned mesh."""
        return tuple(self.array.shape[1 + axis] for axis in self.symmetry.permutation)

    def read(self, low: Sequence[int], high: Sequence[int], *, held: Held | None = None) -> Mesh:
        """Return the cells from `low` to before `high` of the turned mesh, which may lie beyond its faces.

        Parameters
        ----------
        low, high : (3,)
        held : Held, optional
            Cells of the array, these among them, which are not read again.
        """
        there = self.region(low, high)
        mesh = self.cells(there) if held is None else held.cells(there)
        return apply_symmetry(mesh, self.symmetry, vectors=self.vectors)

    def region(self, low: Sequence[int], high: Sequence[int]) -> Region:
        """Where cells of the turned mesh are in the array, or would be beyond its faces."""
        found = [(0, 0)] * 3
        for start, stop, axis, flip in zip(
            low, high, self.symmetry.permutation, self.symmetry.flips, strict=True
        ):
            end = self.array.shape[1 + axis]
            found[axis] = (end - stop, end - start) if flip else (start, stop)
        return found

    def cells(self, there: Region) -> Mesh:
        """Return cells of the array, not turned."""
        wrap, sides = self.beyond is None, self.array.shape[1:]
        runs = [list(_runs(*ends, side, wrap=wrap)) for ends, side in zip(there, sides, strict=True)]
        size = [stop - start for start, stop in there]
        mesh: torch.Tensor | None = None
        if self.beyond is not None:
            mesh = self.beyond[:, None, None, None].expand(-1, *size).clone()
        for found in product(*runs):
            piece = _tensor(self.array[(slice(None), *(source for _, source in found))])
            if mesh is None:
                mesh = piece if list(piece.shape[1:]) == size else piece.new_empty((len(piece), *size))
            mesh[(slice(None), *(target for target, _ in found))] = piece
        assert mesh is not None  # a region has cells
        return mesh

    def write(self, low: Sequence[int], high: Sequence[int], mesh: Mesh) -> None:
        """Put cells where they belong in an array that is not turned."""
        there = (slice(None), *(slice(*ends) for ends in zip(low, high, strict=True)))
        if isinstance(self.array, torch.Tensor):
            self.array[there] = mesh
        else:
            self.array[there] = stored_numbers(mesh, self.array.dtype)

    def require(self) -> None:
        """Refuse an array on a disk that this process does not see, whose cells would be read as empty."""
        if isinstance(self.array, zarr.Array):
            place = Path(str(self.array.store_path).removeprefix("file://"))
            if not place.exists():
                raise InputError(
                    f"workers must see the files of the command, got one without {place.parent}: put the output (with "
                    "--errors TMPDIR) on a disk that they share"
                )


def _runs(low: int, high: int, side: int, *, wrap: bool) -> Iterator[tuple[slice, slice]]:
    """Where cells from `low` to before `high` go, and where they are on a side that wraps, or has nothing beyond."""
    if not wrap:
        start, stop = max(low, 0), min(high, side)
        if start < stop:
            yield slice(start - low, stop - low), slice(start, stop)
        return
    at = low
    while at < high:
        start = at % side
        count = min(side - start, high - at)
        yield slice(at - low, at - low + count), slice(start, start + count)
        at += count


def _tensor(values: Any) -> torch.Tensor:
    found = torch.as_tensor(values)
    return found.view(torch.bfloat16) if found.dtype == torch.int16 else found


def stored_numbers(mesh: Mesh, dtype: np.dtype[Any]) -> np.ndarray:
    """Return a mesh as an array has it on the disk: bfloat16 as int16 of the same bits, of float16 no infinities."""
    if dtype == np.int16:
        return mesh.to(torch.bfloat16).contiguous().view(torch.int16).numpy(force=True)
    if dtype == np.float16:
        largest = torch.finfo(torch.float16).max
        mesh = mesh.clamp(-largest, largest).half()
    return mesh.numpy(force=True)
