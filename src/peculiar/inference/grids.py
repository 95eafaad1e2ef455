"""Where a mesh stands in that of a network, how tiles divide it, and where they are when it is turned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import add

from peculiar.fields.symmetry import Symmetry
from peculiar.inference.whole import extended_sides, filled_sides, fits
from peculiar.models.stages import Stage

_CHUNK = 32
"""Least side of what a tile writes at once, where the tile is larger [cells of its mesh]."""
Place = tuple[int, ...]
"""Which tile it is along each axis."""
Tile = tuple[tuple[int, ...], tuple[int, ...]]
"""The first cells of a tile that are kept, and those behind the last, along each axis of its mesh."""


@dataclass(frozen=True)
class Frame:
    """How a mesh stands in the one that a network is applied to.

    Attributes
    ----------
    shape : (3,)
        Cells of the mesh.
    below : int
        Cells before it along each side.
    sides : (3,)
        Of the larger mesh; multiples of the network's stride.
    wrap : bool
        Whether opposite faces of the larger mesh are one.
    """

    shape: tuple[int, ...]
    below: int
    sides: tuple[int, ...]
    wrap: bool

    @classmethod
    def of(cls, shape: Sequence[int], *, multiple: int, periodic: bool, isolated: bool = False) -> Frame:
        """Return that of `apply_whole`, or where `isolated` that of `apply_isolated`."""
        if periodic and fits(shape, multiple):
            return cls(tuple(shape), 0, tuple(shape), True)
        if isolated:
            return cls(tuple(shape), 0, filled_sides(shape, multiple=multiple), False)
        return cls(tuple(shape), *extended_sides(shape, multiple=multiple), False)


@dataclass(frozen=True)
class Grid:
    """How tiles divide a mesh: the cells that each keeps, and the chunks [cells of what is made] that make it up."""

    extent: tuple[int, ...]
    own: tuple[int, ...]
    chunks: tuple[int, ...]

    @classmethod
    def of(cls, stage: Stage, core: int, extent: Sequence[int]) -> Grid:
        """Tiles of about one size, as small as their number allows."""
        own, chunks = zip(*(_divided(stage, core, cells) for cells in extent), strict=True)
        return cls(tuple(extent), own, chunks)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many tiles there are along each axis."""
        return tuple(-(-cells // own) for cells, own in zip(self.extent, self.own, strict=True))

    def places(self) -> Iterator[Place]:
        """Divide the mesh."""
        return product(*map(range, self.counts))

    def tile(self, place: Place) -> Tile:
        """Return the cells of a tile."""
        low = tuple(number * own for number, own in zip(place, self.own, strict=True))
        return low, tuple(map(min, map(add, low, self.own), self.extent))


def _divided(stage: Stage, core: int, cells: int) -> tuple[int, int]:
    """Return the cells of a tile along a side, and of a chunk, in cells of what is made: as few tiles as can be."""
    unit, least = stage.unit, max(stage.coarseness * _CHUNK, stage.unit)
    for count in range(-(-cells // core), cells + 1):
        kept = -(-cells // count)
        for pieces in range(max(kept // least, 1), 0, -1):
            chunk = -(-kept // (pieces * unit)) * unit
            if chunk * pieces <= core and chunk < 2 * least:
                return chunk * pieces, min(chunk, cells) // stage.coarseness
    raise AssertionError("tiles of a unit fit")


def turned_tile(tile: Tile, shape: Sequence[int], symmetry: Symmetry) -> Tile:
    """Where a tile of a mesh lies when the mesh is turned."""
    lines = []
    for axis, flip in zip(symmetry.permutation, symmetry.flips, strict=True):
        start, stop = tile[0][axis], tile[1][axis]
        lines.append((shape[axis] - stop, shape[axis] - start) if flip else (start, stop))
    low, high = zip(*lines, strict=True)
    return low, high


def turned_place(place: Place, counts: Sequence[int], symmetry: Symmetry) -> Place:
    """Which tile of a turned mesh, of so many along its axes, lies where a tile of the mesh does."""
    lines = zip(counts, symmetry.permutation, symmetry.flips, strict=True)
    return tuple(count - 1 - place[axis] if flip else place[axis] for count, axis, flip in lines)
