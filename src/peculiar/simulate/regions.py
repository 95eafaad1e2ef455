"""Regions of simulated boxes as a survey sees them: isolated, incomplete, in redshift space, with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue, LineOfSight
from peculiar.core.compiled import compiled
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.limits import require_density
from peculiar.fields.symmetry import IDENTITY, Symmetry, apply_symmetry, turn_vectors
from peculiar.simulate.mocks import SimulatedBox

FARTHEST_SHIFT = 60.0
"""Beyond a region's faces, from where redshift-space distortions may bring objects in [Mpc/h]: 6000 km/s."""


@dataclass(frozen=True)
class TracerSettings:
    """Which objects of a box are observed.

    Parameters
    ----------
    choice : "all" or "massive"
        Every halo above `least_mass`, or the most massive objects to `number_density`.
    number_density : float, optional
        Of "massive" [(h/Mpc)^3].
    least_mass : float
        Of "all" [Msun/h].
    satellite_fraction : float
        Of "massive": share of objects on members of their halos.
    masses : bool
        Whether the catalogue tells masses.

    Raises
    ------
    InputError
        If a setting is out of its range, or belongs to the other choice.
    """

    choice: Literal["all", "massive"] = "all"
    number_density: float | None = None
    least_mass: float = 0.0
    satellite_fraction: float = 0.0
    masses: bool = True

    def __post_init__(self) -> None:
        if (self.choice == "massive") != (self.number_density is not None):
            raise InputError(
                "TracerSettings.number_density must be given for choice 'massive' alone, got "
                f"{self.number_density} for {self.choice!r}"
            )
        require_density(self.number_density)
        if not 0 <= self.satellite_fraction < 1 or (self.choice == "all" and self.satellite_fraction):
            raise InputError(
                "TracerSettings.satellite_fraction must lie in [0, 1), and be 0 for choice 'all', got "
                f"{self.satellite_fraction}"
            )
        if self.least_mass < 0 or (self.choice == "massive" and self.least_mass):
            raise InputError(
                "TracerSettings.least_mass must be >= 0 Msun/h, and 0 for choice 'massive', got "
                f"{self.least_mass:g}"
            )


def box_tracers(simulated: SimulatedBox, settings: TracerSettings, *, seed: int = 0) -> Catalogue:
    """Return the objects of a whole periodic box in real space, with velocities, and masses where they are told.

    Raises
    ------
    InputError
        If the box holds too few halos.
    """
    if settings.choice == "massive":
        assert settings.number_density is not None
        galaxies = simulated.catalogue(
            settings.number_density, satellite_fraction=settings.satellite_fraction, space="real", seed=seed
        )
        return galaxies if settings.masses else galaxies.replace(masses=None)
    halos = simulated.halos
    kept = halos.masses >= settings.least_mass
    if not kept.any():
        raise InputError(
            f"least_mass must be at most the mass of the largest halo, got {settings.least_mass:g} Msun/h for "
            f"{simulated.path}"
        )
    return Catalogue(
        positions=halos.positions[kept],
        box=Box(simulated.box.side),
        redshift=simulated.redshift,
        space="real",
        velocities=halos.velocities[kept],
        masses=halos.masses[kept] if settings.masses else None,
    )


@dataclass(frozen=True, eq=False)
class MockSurvey:
    """What a survey sees of a region, and the truth.

    Parameters
    ----------
    catalogue : Catalogue
        In redshift space, with velocities [km/s] and completeness, in a box that is not periodic: the region.
    positions_real : (n, 3) [Mpc/h]
        Where the objects are, in the region's coordinates; some may lie outside it.
    density, velocity : Field
        Matter's overdensity and velocity [km/s] on the region's mesh.
    inner : Box
        The region without its margin, with its mesh.
    rows : three arrays of int
        Cells of the simulated box, along each of its axes, that the region's cells are before the turn.
    turn : Symmetry
        By which the box was turned about the region's centre.
    """

    catalogue: Catalogue
    positions_real: Float[np.ndarray, "n 3"]
    density: Field
    velocity: Field
    inner: Box
    rows: tuple[Int[np.ndarray, " x"], Int[np.ndarray, " y"], Int[np.ndarray, " z"]]
    turn: Symmetry = IDENTITY

    @cached_property
    def momentum(self) -> Field:
        """(1 + delta) v [km/s]."""
        return self.velocity.replace(data=self.velocity.data * (1 + self.density.data))

    @property
    def margin(self) -> int:
        """Cells of the region on each side of its inner cube."""
        return (self.density.box.mesh - self.inner.mesh) // 2


def with_margin(inner: Box, margin: int) -> Box:
    """Return a cube that is larger by some cells on each side, not periodic."""
    origin = tuple(corner - margin * inner.cell_size for corner in inner.origin)
    return Box(
        inner.cell_size * (inner.mesh + 2 * margin),
        inner.mesh + 2 * margin,
        origin=(origin[0], origin[1], origin[2]),
        periodic=False,
    )


def observe_region(
    simulated: SimulatedBox,
    tracers: Catalogue,
    inner: Box,
    *,
    at: tuple[int, int, int],
    margin: int = 0,
    number_density: float | None = None,
    completeness: Field | None = None,
    line_of_sight: LineOfSight = "radial",
    observer: tuple[float, float, float] | None = None,
    turn: Symmetry = IDENTITY,
    seed: int,
) -> MockSurvey:
    """Observe a cube of a periodic box, without its surroundings.

    Parameters
    ----------
    simulated : SimulatedBox
    tracers : Catalogue
        Of `box_tracers`: the whole box in real space.
    inner : Box
        The cube in the survey's coordinates, with a mesh of the box's cell size.
    at : (3,)
        Cell of the box that the cube's lower corner lies in; the box wraps.
    margin : int
        Cells of the region on each side of the cube: no objects there, but a mesh and its truth.
    number_density : float, optional
        Of objects where the completeness is 1 [(h/Mpc)^3], chosen at random; all where not given.
    completeness : Field, optional
        Expected fraction of that density on the region's mesh; 1 in the cube where not given. In the margin it is 0.
        Where it is above 1 there are as many more objects, with weights that bring them back to 1: near the observer
        of a flux-limited survey.
    line_of_sight, observer : as in `Catalogue`
        In the survey's coordinates.
    turn : Symmetry
        By which matter and objects are turned about the cube's centre before they are observed.
    seed : int
        Of the objects that are chosen.

    Raises
    ------
    InputError
        If the cells differ from the box's, the cube is wider than the box, the completeness has another mesh, no object
        is seen, or there are fewer objects than the number density asks for.
    """
    cell = simulated.box.cell_size
    if abs(inner.cell_size / cell - 1) > 1e-6:
        raise InputError(
            f"region must have the box's cells of {cell:g} Mpc/h, got {inner.cell_size:g}: change its mesh"
        )
    if inner.mesh > simulated.box.mesh:
        raise InputError(
            f"region must fit into the simulated box of {simulated.box.side:g} Mpc/h, got {inner.side:g}: simulate a "
            "larger box"
        )
    region = with_margin(inner, margin)
    expected = _inside(region, margin) if completeness is None else completeness.data[0].float()
    if expected.shape != (region.mesh,) * 3:
        raise InputError(
            f"completeness must be on the region's mesh of {region.mesh}^3 cells, got {tuple(expected.shape)}"
        )
    expected = expected * _inside(region, margin)
    share = 1.0 if number_density is None else number_density / tracers.number_density
    if share * float(expected.max()) > 1 + 1e-3:
        raise InputError(
            f"number_density must be at most that of the box's objects, {tracers.number_density:.4g} (h/Mpc)^3, got "
            f"{share * float(expected.max()) * tracers.number_density:.4g}: take lighter halos"
        )

    assert tracers.velocities is not None
    start = np.asarray(at, dtype=np.float64) * cell
    centre = inner.side / 2
    side = simulated.box.side
    near = _near(tracers.positions, (start + centre) % side, side, centre + FARTHEST_SHIFT)
    # Of the periodic images of an object, the one nearest to the cube's centre.
    relative = (tracers.positions[near] - start - centre + side / 2) % side - side / 2
    real = turn_vectors(relative, turn) + centre + np.asarray(inner.origin)
    velocities = turn_vectors(tracers.velocities[near], turn)
    # Of one object: a catalogue checks all that it is given, and millions take longer than the rest.
    one = {"positions": tracers.positions[:1], "velocities": None, "masses": None, "weights": None}
    sight = tracers.replace(**one, line_of_sight=line_of_sight, observer=observer).sight_lines(real)
    factor = simulated.cosmology.redshift_space_factor(simulated.redshift)
    along = np.einsum("ij,ij->i", velocities, sight) * factor
    observed = real + along[:, None] * sight

    index = np.floor((observed - np.asarray(region.origin)) / cell).astype(np.int64)
    inside = ((index >= 0) & (index < region.mesh)).all(axis=1)
    fraction = np.zeros(len(observed))
    fraction[inside] = expected.numpy()[tuple(index[inside].T)]
    random = np.random.default_rng([simulated.seed, seed, 7])
    seen = random.random(len(observed)) < share * fraction
    if not seen.any():
        raise InputError(
            "completeness and number_density must leave objects in the region, got none: raise them, or move the region"
        )
    catalogue = Catalogue(
        positions=observed[seen],
        box=region,
        redshift=simulated.redshift,
        line_of_sight=line_of_sight,
        space="redshift",
        velocities=velocities[seen],
        masses=None if tracers.masses is None else tracers.masses[near][seen],
        weights=1 / np.maximum(fraction[seen], 1.0) if bool((expected > 1).any()) else None,
        observer=observer,
        completeness=Field(expected.clamp(max=1.0)[None], region, ["completeness"], space="redshift"),
    )
    x, y, z = ((np.arange(region.mesh) + corner - margin) % simulated.box.mesh for corner in at)
    rows = (x, y, z)
    density, velocity = (_cut(field, rows, region, turn) for field in (simulated.density, simulated.velocity))
    return MockSurvey(catalogue, real[seen], density, velocity, inner, rows, turn)


@compiled()
def _near(positions: np.ndarray, centre: np.ndarray, side: float, reach: float) -> np.ndarray:
    """Rows of a periodic box that lie closer to a place than a reach along each axis."""
    rows = np.empty(len(positions), np.int64)
    found = 0
    for row in range(len(positions)):
        near = True
        for axis in range(3):
            away = abs(positions[row, axis] - centre[axis])
            near = near and min(away, side - away) < reach
        rows[found] = row
        found += near
    return rows[:found]


def _inside(region: Box, margin: int) -> torch.Tensor:
    """1 in the inner cube, 0 in the margin."""
    inside = torch.zeros((region.mesh,) * 3)
    rows = slice(margin, region.mesh - margin)
    inside[rows, rows, rows] = 1.0
    return inside


def _cut(field: Field, rows: tuple[np.ndarray, ...], region: Box, turn: Symmetry) -> Field:
    x, y, z = (torch.from_numpy(index) for index in np.ix_(*rows))
    data = apply_symmetry(field.data[:, x, y, z], turn, vectors=[(0, 1, 2)] if field.kind == "vector" else ())
    return Field(
        data.contiguous(), region, field.names, field.unit, kind=field.kind, definition=field.definition
    )
