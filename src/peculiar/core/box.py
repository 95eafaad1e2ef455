"""The region of comoving space that meshes and catalogues live in: a cube, or a box with three sides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from peculiar.core.errors import InputError

Sides = tuple[float, float, float]
Shape = tuple[int, int, int]
_LARGEST_RATIO = 4096
_HAIR = 1e-6


@dataclass(frozen=True)
class Box:
    """A box of comoving space, with or without a mesh of cubic cells.

    Mesh values stand at cell centres: ``x_i = origin + (i + 1/2) * cell_size``.

    Parameters
    ----------
    size : float or three
        Side of a cube, or the three sides [Mpc/h].
    cells : int or three, optional
        Mesh cells along each side; ``None`` where no mesh is meant. Of a box with three sides one number is the cells
        along its longest.
    origin : tuple of float
        Lower corner [Mpc/h].
    periodic : bool
        Whether opposite faces are one.

    Raises
    ------
    InputError
        If a side is not positive and finite, the mesh has fewer than 2 cells along a side, or its cells are not cubes.

    Examples
    --------
    >>> Box(225.0, 96).cell_size
    2.34375
    >>> Box((1000.0, 1000.0, 500.0), 200).shape
    (200, 200, 100)
    """

    size: float | Sides
    cells: int | Shape | None = None
    origin: Sides = (0.0, 0.0, 0.0)
    periodic: bool = True

    def __post_init__(self) -> None:
        first, second, third = _three(self.size, "Box.size")
        sides = (first, second, third)
        if not all(math.isfinite(side) and side > 0 for side in sides):
            raise InputError(f"Box.size must be > 0 Mpc/h, got {self.size}: give the side in comoving Mpc/h")
        # Three equal numbers are a cube, however they were given: equal boxes compare equal.
        object.__setattr__(self, "size", sides[0] if len(set(sides)) == 1 else sides)
        if self.cells is not None:
            object.__setattr__(self, "cells", self._checked_cells(sides))
        if len(self.origin) != 3 or not all(math.isfinite(x) for x in self.origin):
            raise InputError(f"Box.origin must be three finite numbers in Mpc/h, got {self.origin}")

    def _checked_cells(self, sides: Sides) -> int | Shape:
        cells = self.cells
        shape = _three(cells, "Box.cells")
        if not isinstance(cells, tuple | list):
            shape = tuple(n * side / max(sides) for n, side in zip(shape, sides, strict=True))
        if not all(math.isfinite(n) and abs(n - round(n)) < 1e-6 and n >= 1.5 for n in shape):
            raise InputError(
                f"Box.cells must be an integer >= 2 along each side, got {cells} for sides {self.size}: "
                "give cells along one side"
            )
        counts = (round(shape[0]), round(shape[1]), round(shape[2]))
        steps = [side / n for side, n in zip(sides, counts, strict=True)]
        if max(steps) > min(steps) * (1 + 1e-6):
            raise InputError(
                f"Box.cells must be cubes, got {counts} for sides of {sides} Mpc/h, cells of "
                f"{', '.join(f'{step:.6g}' for step in steps)} Mpc/h: give sides in whole cells"
            )
        return counts[0] if len(set(counts)) == 1 else counts

    @property
    def is_cube(self) -> bool:
        """Whether the three sides are equal."""
        return isinstance(self.size, float)

    @property
    def sides(self) -> Sides:
        """The three sides [Mpc/h]."""
        return self.size if isinstance(self.size, tuple) else (self.size,) * 3

    @property
    def extent(self) -> str:
        """The sides in words: "225 Mpc/h", or "1000 x 1000 x 500 Mpc/h"."""
        return f"{_times((self.size,) if isinstance(self.size, float) else self.size)} Mpc/h"

    @property
    def mesh_text(self) -> str:
        """The mesh in words: "96^3", or "200 x 200 x 100"."""
        return f"{self.shape[0]}^3" if len(set(self.shape)) == 1 else _times(self.shape)

    @property
    def side(self) -> float:
        """Side of a cube [Mpc/h]; an error where the three sides differ."""
        if isinstance(self.size, tuple):
            raise InputError(
                f"box must be a cube here, got sides of {_times(self.size)} Mpc/h: give equal ones"
            )
        return self.size

    @property
    def shape(self) -> Shape:
        """Cells along each side; an error where the box has no mesh."""
        if self.cells is None:
            raise InputError("Box.cells must be set for a mesh, got None: use box.with_cells(n)")
        return self.cells if isinstance(self.cells, tuple) else (self.cells,) * 3

    @property
    def mesh(self) -> int:
        """Cells along a side of a cube; an error where the box has no mesh, or the three sides differ."""
        if len(set(self.shape)) > 1:
            raise InputError(
                f"box must be a cube here, got a mesh of {_times(self.shape)} cells: give equal sides"
            )
        return self.shape[0]

    @property
    def cell_count(self) -> int:
        """Cells of the whole mesh."""
        return math.prod(self.shape)

    @property
    def cell_size(self) -> float:
        """Side of a cell [Mpc/h]."""
        return self.sides[0] / self.shape[0]

    @property
    def least_cells(self) -> int:
        """Least cells along the longest side that leave whole ones along each side: 1 for a cube."""
        ratios = [Fraction(side / max(self.sides)).limit_denominator(_LARGEST_RATIO) for side in self.sides]
        return math.lcm(*(ratio.denominator for ratio in ratios))

    @property
    def volume(self) -> float:
        """Volume [(Mpc/h)^3]."""
        return math.prod(self.sides)

    @property
    def k_fundamental(self) -> float:
        """Smallest non-zero wavenumber, 2 pi / the longest side [h/Mpc]."""
        return 2 * math.pi / max(self.sides)

    @property
    def k_nyquist(self) -> float:
        """Nyquist wavenumber of the mesh, pi / cell_size [h/Mpc]."""
        return math.pi / self.cell_size

    def with_cells(self, cells: int | Shape) -> Box:
        """Return the same box with another mesh."""
        return replace(self, cells=cells)

    def with_cell_size(self, cell_size: float) -> Box:
        """Return the same box with the mesh whose cells come closest to a size [Mpc/h], two along a side at least."""
        unit = self.least_cells
        fewest = 2 * max(self.sides) / min(self.sides)
        wanted = max(max(self.sides) / cell_size, fewest)
        return self.with_cells(unit * max(round(wanted / unit), math.ceil(fewest / unit - 1e-9)))

    def extended(self, cells: Shape) -> Box:
        """Return the periodic box with this many more cells beyond each upper face."""
        shape = [old + new for old, new in zip(self.shape, cells, strict=True)]
        h = self.cell_size
        return Box(
            (shape[0] * h, shape[1] * h, shape[2] * h), (shape[0], shape[1], shape[2]), origin=self.origin
        )

    def coordinates(self, axis: int = 0) -> np.ndarray:
        """Return the cell centres along an axis, (cells,) [Mpc/h]."""
        return self.origin[axis] + (np.arange(self.shape[axis]) + 0.5) * self.cell_size

    def centres(self) -> np.ndarray:
        """Return all cell centres, z fastest, (cells, 3) [Mpc/h]."""
        lines = (self.coordinates(axis) for axis in range(3))
        return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)

    def contains(self, positions: np.ndarray) -> np.ndarray:
        """Return which positions, (n, 3) [Mpc/h], lie in the box, (n,) bool; the upper face counts as inside."""
        relative = np.asarray(positions) - np.asarray(self.origin)
        return np.asarray(((relative >= 0) & (relative <= np.asarray(self.sides))).all(axis=1))

    def wrap(self, positions: np.ndarray) -> np.ndarray:
        """Return positions, (n, 3) [Mpc/h], brought back into a periodic box; one that is not leaves them."""
        if not self.periodic:
            return np.asarray(positions)
        origin = np.asarray(self.origin)
        relative = np.asarray(positions) - origin
        wrapped = origin + np.mod(
            relative, self.sides, where=np.isfinite(relative), out=np.full_like(relative, np.nan)
        )
        # Rounding can carry a point that is a hair below the lower face to the upper one, or past it.
        wrapped = np.where(wrapped - origin >= self.sides, self.origin, wrapped)
        return np.where((relative >= 0) & (relative < self.sides), positions, wrapped)  # to the digit

    def settled(self, positions: np.ndarray) -> np.ndarray:
        """Return positions, (n, 3) [Mpc/h], with those that rounding put a hair outside the box brought back into it.

        A hair is a millionth of the side, some units in the last place of single precision: across a periodic box,
        onto the face of another.
        """
        positions = np.asarray(positions)
        low = np.asarray(self.origin)
        high = low + self.sides
        hair = _HAIR * np.maximum(np.abs(low), np.abs(high))
        near = ~self.contains(positions) & ((positions >= low - hair) & (positions <= high + hair)).all(
            axis=1
        )
        if not near.any():
            return positions
        back = positions.copy()
        back[near] = self.wrap(back[near]) if self.periodic else back[near].clip(low, high)
        return back


def _three(values: Any, name: str) -> tuple[float, ...]:
    """One number three times, or three numbers."""
    try:
        numbers = [float(value) for value in (values if isinstance(values, tuple | list) else [values] * 3)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3:
        raise InputError(f"{name} must be one number or three, got {values!r}")
    return tuple(numbers)


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
