"""The light cone of an observer in a box that was simulated at several epochs, with the box's periodic copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class LightCone:
    """Boxes of one evolution; what is seen at a distance is that of the box nearest to its epoch.

    Parameters
    ----------
    boxes : sequence of SimulatedBox
        Of one seed, by rising redshift.

    Raises
    ------
    InputError
        If the boxes are not of one seed, size, mesh and cosmology at rising redshifts.
    """

    boxes: Sequence[SimulatedBox]

    def __post_init__(self) -> None:
        first = self.boxes[0]
        for box in self.boxes:
            if (box.seed, box.box, box.cosmology) != (first.seed, first.box, first.cosmology):
                raise InputError(
                    f"epochs must share one seed, size, mesh and cosmology, got {box.path} beside {first.path}"
                )
        if any(later.redshift <= earlier.redshift for earlier, later in pairwise(self.boxes)):
            raise InputError("epochs must have rising redshifts, got two that do not: give each once")

    @property
    def seed(self) -> int:
        """Of the evolution."""
        return self.boxes[0].seed

    @property
    def box(self) -> Box:
        """The periodic box, the same at every epoch."""
        return self.boxes[0].box

    @property
    def cosmology(self) -> Cosmology:
        """Of the evolution, and of distances."""
        return self.boxes[0].cosmology

    @cached_property
    def edges(self) -> Float[np.ndarray, " shell"]:
        """Distances at which each box takes over from the one before, and the ends, 0 and infinity [Mpc/h].

        Half way between two epochs in the scale factor.
        """
        scale = np.array([1 / (1 + box.redshift) for box in self.boxes])
        between = 2 / (scale[1:] + scale[:-1]) - 1
        return np.concatenate([[0.0], self.cosmology.comoving_distance(between), [np.inf]])

    def shells(self, near: float, far: float) -> Iterator[tuple[SimulatedBox, tuple[float, float]]]:
        """Yield the boxes that are seen between two distances [Mpc/h], opened anew, each with its own limits."""
        for box, (low, high) in zip(self.boxes, pairwise(self.edges), strict=True):
            if low < far and high > near:
                yield SimulatedBox.open(box.path), (max(low, near), min(high, far))

    def steps(self, near: float, far: float) -> dict[str, float]:
        """Return the largest change at a boundary between two distances, of linear growth and of linear velocities.

        Those of D and of a H f D, relative.
        """
        seen = [box.redshift for box, _ in self.shells(near, far)]
        growth = np.array([self.cosmology.growth(z) for z in seen])
        velocity = growth * [self.cosmology.velocity_factor(z) for z in seen]
        return {
            name: float(np.abs(np.diff(np.log(values))).max(initial=0.0))
            for name, values in (("growth", growth), ("velocity", velocity))
        }

    def fields(self, region: Box, *, at: Triple) -> dict[str, Field]:
        """Return matter's "density" and "velocity" [km/s] on a region's mesh, each cell of its own epoch.

        Parameters
        ----------
        region : Box
            With the box's cells, the observer at (0, 0, 0); it may be wider than the box, which repeats.
        at : (3,) int
            Cell of the box that is the region's lower corner.
        """
        squares = [region.coordinates(axis) ** 2 for axis in range(3)]
        rows = [
            torch.from_numpy((np.arange(count) + start) % self.box.mesh)
            for count, start in zip(region.shape, at, strict=True)
        ]
        data = torch.zeros(4, *region.shape)
        definition = ""
        nearest, farthest = (np.sqrt(sum(end(square) for square in squares)) for end in (np.min, np.max))
        for box, (low, high) in self.shells(float(nearest), float(farthest) * (1 + 1e-9)):
            of_epoch, definition = torch.cat([box.density.data, box.velocity.data]), box.velocity.definition
            for plane, (row, square) in enumerate(zip(rows[0], squares[0], strict=True)):
                distance = np.sqrt(square + squares[1][:, None] + squares[2])
                y, z = np.nonzero((distance >= low) & (distance < high))
                data[:, plane, y, z] = of_epoch[:, row, rows[1][y], rows[2][z]]
        return {
            "density": Field(data[:1], region, ["density"]),
            "velocity": Field(data[1:], region, "xyz", "km/s", kind="vector", definition=definition),
        }


def open_light_cones(run: str | Path, seeds: Sequence[int] | None = None) -> list[LightCone]:
    """Return the light cones of a run of several epochs, one a seed.

    Raises
    ------
    InputError
        If the run has one epoch, or its epochs have not the same seeds.
    """
    epochs = run_epochs(run)
    if len(epochs) < 2:
        raise InputError(
            f"a light cone needs a run of several epochs, got {run}: make one with `peculiar simulate --redshifts`"
        )
    boxes = [[SimulatedBox.open(path) for path in open_run(epoch, seeds)] for epoch in epochs]
    found = {tuple(box.seed for box in several) for several in boxes}
    if len(found) > 1:
        raise InputError(
            f"epochs must have boxes of the same seeds, got others in {run}: make them with `peculiar simulate "
            "--resume`, or choose seeds that are there"
        )
    return [LightCone(several) for several in zip(*boxes, strict=True)]


@dataclass(frozen=True, eq=False)
class Copies:
    """Periodic copies of a box's objects in a shell around the observer.

    Attributes
    ----------
    rows : (m,) int
        Of the objects.
    positions : (m, 3) [Mpc/h]
        With the observer at (0, 0, 0).
    images : set of three int
        Copies of the box that some of them are in, by their place in the lattice.
    """

    rows: Int[np.ndarray, " m"]
    positions: Float[np.ndarray, "m 3"]
    images: set[Triple]


def copies(
    positions: Float[np.ndarray, "n 3"],
    side: float,
    *,
    origin: Float[np.ndarray, " 3"],
    limits: tuple[float, float],
    between: tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]],
    seen: Callable[[Float[np.ndarray, "m 3"]], Bool[np.ndarray, " m"]],
) -> Copies:
    """Return every periodic copy of objects that an observer at (0, 0, 0) sees.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
        In the periodic box.
    side : float
        Of the box [Mpc/h].
    origin : (3,) [Mpc/h]
        Where the box's lower corner lies.
    limits : (2,) [Mpc/h]
        Nearest and farthest distance.
    between : two of (3,) [Mpc/h]
        Lower and upper corner of what is looked at.
    seen : callable
        Which directions are looked at.
    """
    low, high = between
    first, last = (np.floor((corner - origin) / side).astype(int) for corner in (low, high))
    rows, places = [np.zeros(0, np.int64)], [np.zeros((0, 3))]
    images: set[Triple] = set()
    x, y, z = (range(a, b + 1) for a, b in zip(first, last, strict=True))
    for image in product(x, y, z):
        corner = origin + np.asarray(image) * side
        nearest = np.linalg.norm(np.clip(0.0, corner, corner + side))
        farthest = np.linalg.norm(np.maximum(np.abs(corner), np.abs(corner + side)))
        if nearest > limits[1] or farthest < limits[0]:
            continue
        points = positions + corner
        distance = np.linalg.norm(points, axis=1)
        inside = np.flatnonzero(
            (distance >= limits[0])
            & (distance < limits[1])
            & (points >= low).all(axis=1)
            & (points <= high).all(axis=1)
        )
        inside = inside[seen(points[inside])]
        if len(inside):
            images.add(image)
        rows.append(inside)
        places.append(points[inside])
    return Copies(np.concatenate(rows), np.concatenate(places), images)
