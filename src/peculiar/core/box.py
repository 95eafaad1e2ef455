"""The cubic region of comoving space that meshes and catalogues live in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from peculiar.core.errors import InputError


@dataclass(frozen=True)
class Box:
    """A cube of comoving space, with or without a mesh.

    Mesh values stand at cell centres: ``x_i = origin + (i + 1/2) * cell_size``.

    Parameters
    ----------
    size : float
        Side [Mpc/h].
    cells : int, optional
        Mesh cells along a side; ``None`` where no mesh is meant.
    origin : tuple of float
        Lower corner [Mpc/h].
    periodic : bool
        Whether opposite faces are one.

    Raises
    ------
    InputError
        If the size is not positive and finite, or the mesh has fewer than 2 cells.

    Examples
    --------
    >>> Box(225.0, 96).cell_size
    2.34375
    """

    size: float
    cells: int | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    periodic: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size > 0):
            raise InputError(f"Box.size must be > 0 Mpc/h, got {self.size}: give the side in comoving Mpc/h")
        if self.cells is not None and (int(self.cells) != self.cells or self.cells < 2):
            raise InputError(
                f"Box.cells must be an integer >= 2, got {self.cells}: give cells along one side"
            )
        if len(self.origin) != 3 or not all(math.isfinite(x) for x in self.origin):
            raise InputError(f"Box.origin must be three finite numbers in Mpc/h, got {self.origin}")

    @property
    def mesh(self) -> int:
        """Cells along a side; an error where the box has no mesh."""
        if self.cells is None:
            raise InputError("Box.cells must be set for a mesh, got None: use box.with_cells(n)")
        return self.cells

    @property
    def cell_size(self) -> float:
        """Side of a cell [Mpc/h]."""
        return self.size / self.mesh

    @property
    def volume(self) -> float:
        """Volume [(Mpc/h)^3]."""
        return self.size**3

    @property
    def k_fundamental(self) -> float:
        """Smallest non-zero wavenumber, 2 pi / size [h/Mpc]."""
        return 2 * math.pi / self.size

    @property
    def k_nyquist(self) -> float:
        """Nyquist wavenumber of the mesh, pi / cell_size [h/Mpc]."""
        return math.pi / self.cell_size

    def with_cells(self, cells: int) -> Box:
        """Return the same cube with another mesh."""
        return replace(self, cells=cells)

    def coordinates(self, axis: int = 0) -> np.ndarray:
        """Return the cell centres along an axis, (cells,) [Mpc/h]."""
        return self.origin[axis] + (np.arange(self.mesh) + 0.5) * self.cell_size

    def contains(self, positions: np.ndarray) -> np.ndarray:
        """Return which positions, (n, 3) [Mpc/h], lie in the box, (n,) bool; the upper face counts as inside."""
        relative = np.asarray(positions) - np.asarray(self.origin)
        return np.asarray(((relative >= 0) & (relative <= self.size)).all(axis=1))

    def wrap(self, positions: np.ndarray) -> np.ndarray:
        """Return positions, (n, 3) [Mpc/h], brought back into a periodic box; one that is not leaves them."""
        if not self.periodic:
            return np.asarray(positions)
        wrapped = np.mod(np.asarray(positions) - np.asarray(self.origin), self.size)
        # Rounding can carry a point that is a hair below the lower face to the upper one, or past it.
        wrapped = np.asarray(self.origin) + wrapped
        return np.where(wrapped - np.asarray(self.origin) >= self.size, self.origin, wrapped)
