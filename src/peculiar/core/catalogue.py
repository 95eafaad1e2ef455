"""Catalogues of halos or galaxies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from peculiar.core.box import Box
from peculiar.core.errors import InputError, require_kind
from peculiar.core.field import Field, Space

LineOfSight = Literal["x", "y", "z", "radial"]
Observer = tuple[float, float, float]
AXES = {"x": 0, "y": 1, "z": 2}

SELECTION_FLOOR = 0.3
"""Expected fraction of the mean density below which a cell tells nothing: its overdensity is set to 0."""
FEWEST_OBJECTS = 100
"""Of a reconstruction: the shot noise of fewer exceeds the flow, whatever the volume."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """From where, along what and in what the objects of a catalogue are seen; see `Catalogue` for each."""

    box: Box
    redshift: float
    line_of_sight: LineOfSight
    space: Space
    observer: Observer | None = None
    completeness: Field | None = None

    @property
    def survey(self) -> bool:
        """Whether each object has a redshift of its own, as a survey has it; a box has one for all."""
        return self.line_of_sight == "radial" and self.completeness is not None

    def positions_of(self, catalogue: Catalogue) -> Float[np.ndarray, "n 3"]:
        """Return the positions of objects that are seen so; InputError where a catalogue's are seen otherwise."""
        for name in ("space", "line_of_sight", "observer"):
            own, other = getattr(self, name), getattr(catalogue, name)
            if name == "observer":
                alike = self.line_of_sight != "radial" or bool(np.allclose(own, other))
            else:
                alike = own == other
            if not alike:
                raise InputError(
                    f"objects must be seen as those that the fields were made of, {name} {own!r}, got {other!r}: "
                    "give such a catalogue, or positions as they would be seen"
                )
        return catalogue.positions

    def sight_lines(self, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return the unit vector from the observer to each position."""
        points = np.asarray(positions, dtype=np.float64)
        if self.line_of_sight != "radial":
            unit = np.zeros(3)
            unit[AXES[self.line_of_sight]] = 1.0
            return np.broadcast_to(unit, points.shape)
        separation = points - np.asarray(self.observer)
        return separation / np.maximum(np.linalg.norm(separation, axis=1, keepdims=True), 1e-10)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Halos or galaxies with their geometry.

    Parameters
    ----------
    positions : (n, 3) [comoving Mpc/h]
        In box coordinates.
    box : Box
        The region; its mesh, if any, is not used.
    redshift : float
        Effective redshift; H and f are taken there, but for a light cone.
    line_of_sight : "x", "y", "z" or "radial"
        Plane-parallel axis, or radial from `observer`.
    space : "redshift" or "real"
        Whether the positions hold peculiar velocities.
    velocities : (n, 3) [km/s], optional
    masses : (n,) [Msun/h or any quantity that ranks], optional
        Equal masses rank nothing: they become None, with a warning.
    weights : (n,), optional
        Completeness weights >= 0; 1 where not given.
    observer : (3,) [Mpc/h], optional
        Needed for a radial line of sight.
    completeness : Field, optional
        One channel: the expected fraction of the mean density in each cell of a survey, 0 outside the mask.
    light_cone : bool
        Whether each place has the epoch of its distance from the observer, as a survey on the sky; H, f and the growth
        are taken there.
    flux_limited : bool
        Whether the faintest objects are missing where fewer are expected, so that those that are seen cluster more.

    Raises
    ------
    InputError
        If shapes disagree, values are not finite, weights are negative or all 0, the completeness is 0 everywhere, or
        positions lie outside the box.
    """

    positions: Float[np.ndarray, "n 3"]
    box: Box
    redshift: float
    line_of_sight: LineOfSight = "z"
    space: Space = "redshift"
    velocities: Float[np.ndarray, "n 3"] | None = None
    masses: Float[np.ndarray, " n"] | None = None
    weights: Float[np.ndarray, " n"] | None = None
    observer: Observer | None = None
    completeness: Field | None = None
    light_cone: bool = False
    flux_limited: bool = False

    def __post_init__(self) -> None:
        require_kind(
            self.box, Box, name="Catalogue.box", remedy="give Box(SIDE) with the side in comoving Mpc/h"
        )
        positions = np.asarray(self.positions, dtype=np.float64)
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise InputError(f"Catalogue.positions must have shape (n, 3), got {positions.shape}")
        if len(positions) == 0:
            raise InputError("Catalogue.positions must hold at least one object, got an empty catalogue")
        object.__setattr__(self, "positions", self.box.settled(positions))
        for name, shape in (("positions", (3,)), ("velocities", (3,)), ("masses", ()), ("weights", ())):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.asarray(values)
            if values.shape != (len(positions), *shape):
                raise InputError(
                    f"Catalogue.{name} must have shape {(len(positions), *shape)}, got {values.shape}"
                )
            bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            if bad.any():
                raise InputError(
                    f"Catalogue.{name} must be finite, got {int(bad.sum())} rows that are not (first: row "
                    f"{int(bad.argmax())}): remove or repair them"
                )
        if self.weights is not None and not (np.min(self.weights) >= 0 and np.max(self.weights) > 0):
            raise InputError(
                f"Catalogue.weights must be >= 0 and not all 0, got {np.min(self.weights):g} to "
                f"{np.max(self.weights):g}: repair them, or leave them out"
            )
        if self.completeness is not None and not (self.completeness.data > 0).any():
            raise InputError(
                "Catalogue.completeness must be > 0 in some cell, got 0 in all "
                f"{self.completeness.data.numel()} of them: take smaller cells, or a survey that holds the objects"
            )
        if self.masses is not None and len(positions) > 1 and np.ptp(self.masses) == 0:
            warnings.warn(
                f"all {len(positions)} masses are {float(np.ravel(self.masses)[0]):g}: they rank nothing, and are "
                "taken as none",
                stacklevel=3,
            )
            object.__setattr__(self, "masses", None)
        inside = self.box.contains(self.positions)
        if not inside.all():
            row = int((~inside).argmax())
            raise InputError(
                f"Catalogue.positions must lie in the box of {self.box.extent} at {self.box.origin}, got "
                f"{int((~inside).sum())} objects outside (first: row {row} at {positions[row]}): check the units "
                "(Mpc/h) and the box size"
            )
        if self.line_of_sight not in ("x", "y", "z", "radial"):
            raise InputError(f"line_of_sight must be x, y, z or radial, got {self.line_of_sight!r}")
        if self.line_of_sight == "radial" and self.observer is None:
            raise InputError("Catalogue.observer must be given for a radial line of sight, got None")
        if self.observer is not None and not np.isfinite(self.observer).all():
            raise InputError(f"Catalogue.observer must be finite, got {self.observer}")
        if self.light_cone and self.observer is None:
            raise InputError("Catalogue.observer must be given for a light cone, got None")

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def geometry(self) -> Geometry:
        """How the objects are seen, without the objects."""
        return Geometry(
            self.box, self.redshift, self.line_of_sight, self.space, self.observer, self.completeness
        )

    @property
    def covered_volume(self) -> float:
        """Volume of the box, weighted with the completeness [(Mpc/h)^3]."""
        covered = 1.0 if self.completeness is None else float(self.completeness.data.double().mean())
        return self.box.volume * covered

    @property
    def number_density(self) -> float:
        """Objects, each counted with its weight, per covered volume: the density where the completeness is 1."""
        count = float(len(self)) if self.weights is None else float(np.sum(self.weights, dtype=np.float64))
        return count / self.covered_volume

    def require_objects(self) -> None:
        """Raise InputError where there are too few objects, or their weights leave too few of them, for any flow."""
        weights = np.ones(len(self)) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        weights = weights / weights.max()
        effective = weights.sum() ** 2 / (weights**2).sum()
        if effective < FEWEST_OBJECTS:
            same = (
                ""
                if round(effective) == len(self)
                else f", whose weights count as {effective:.3g} equal ones"
            )
            raise InputError(
                f"a reconstruction must have at least {FEWEST_OBJECTS} objects, got {len(self)}{same}: the shot noise "
                "of fewer exceeds any flow"
            )

    def replace(self, **changes: object) -> Catalogue:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def sight_lines(self, positions: Float[np.ndarray, "n 3"] | None = None) -> Float[np.ndarray, "n 3"]:
        """Return the unit vector from the observer to each position (default: the objects' own)."""
        return self.geometry.sight_lines(self.positions if positions is None else positions)
