"""Simulated boxes on disk, and the catalogues drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from pydantic import Field as Setting

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue, LineOfSight
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field, Space
from peculiar.core.limits import require_redshift
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.fields.velocity import from_momentum
from peculiar.simulate.box_files import SCHEMA, VOLUME_VELOCITY
from peculiar.simulate.halos import Halos
from peculiar.simulate.satellites import Galaxies, Members, count_galaxies, draw_satellites
from peculiar.simulate.stored import Attributes, read_array, read_attributes

_MESH = ("cells", "cells", "cells")
_SHAPES: dict[str, tuple[int | str, ...]] = {
    "density": _MESH,
    "velocity": (3, *_MESH),
    "linear_density": _MESH,
    "halos/position": ("halos", 3),
    "halos/velocity": ("halos", 3),
    "halos/mass": ("halos",),
    "halos/count": ("halos",),
    "members/displacement": ("members", 3),
    "members/velocity": ("members", 3),
    "members/host": ("members",),
}
_TIES = 7  # with the seed of a box, of the order of halos of equal masses

VelocityRule = Literal["neighbours", "background", "volume"]


class _Attributes(Attributes):
    cells: int = Setting(ge=2)
    velocity_definition: str


@dataclass(frozen=True)
class SimulatedBox:
    """A simulated box on disk; arrays are read when asked for.

    Parameters
    ----------
    path : Path
        HDF5 file from `simulate_box`.

    Examples
    --------
    >>> box = SimulatedBox.open("boxes/box-00001.h5")  # doctest: +SKIP
    >>> galaxies = box.catalogue(satellite_fraction=0.2)  # doctest: +SKIP
    """

    path: Path
    seed: int
    redshift: float
    box: Box
    cosmology: Cosmology
    velocity_definition: str

    @classmethod
    def open(cls, path: str | Path) -> SimulatedBox:
        """Open a file; InputError if it is not a simulated box of this schema."""
        path = Path(path)
        found = read_attributes(
            path, _Attributes, what="simulated box", schema=SCHEMA, shapes=_SHAPES, lengths="cells"
        )
        require_redshift(found.redshift)
        return cls(
            path=path,
            seed=found.seed,
            redshift=found.redshift,
            box=Box(found.box_size, found.cells),
            cosmology=found.cosmology,
            velocity_definition=found.velocity_definition,
        )

    def __reduce__(self) -> tuple[Callable[[Path], SimulatedBox], tuple[Path]]:
        return SimulatedBox.open, (self.path,)  # other processes read the arrays that they need

    def _read(self, name: str) -> np.ndarray:
        return read_array(self.path, name)

    @property
    def particles(self) -> int:
        """Particles along a side; InputError if the box does not tell, as painted ones, whose halos have none."""
        import h5py

        with h5py.File(self.path) as file:
            if "painter" in file.attrs:
                raise InputError(
                    f"simulated box must have halos of particles, got painted ones in {self.path}: make it with "
                    "`peculiar simulate --kind boxes`"
                )
            if "particles" not in file.attrs:
                raise InputError(
                    f"simulated box must tell its particles, got {self.path} without: make it with `peculiar simulate`"
                )
            return int(file.attrs["particles"])

    @cached_property
    def density(self) -> Field:
        """Dark-matter overdensity, CIC, real space."""
        data = torch.from_numpy(self._read("density").astype(np.float32))[None]
        return Field(data, self.box, ["density"])

    @cached_property
    def linear_density(self) -> Field:
        """The realisation's own linear density at the box's redshift."""
        data = torch.from_numpy(self._read("linear_density").astype(np.float32))[None]
        return Field(data, self.box, ["linear_density"])

    @cached_property
    def velocity(self) -> Field:
        """Dark-matter velocity, momentum over density [km/s]."""
        data = torch.from_numpy(self._read("velocity").astype(np.float32))
        return Field(data, self.box, "xyz", "km/s", kind="vector", definition=self.velocity_definition)

    @cached_property
    def volume_velocity(self) -> Field:
        """Dark-matter velocity, volume weighted [km/s]; InputError if the box was made without it."""
        import h5py

        with h5py.File(self.path) as file:
            if VOLUME_VELOCITY not in file:
                raise InputError(
                    f"volume_velocity must be stored in the box, got {self.path} without it: "
                    "make the box again with `peculiar simulate --volume-velocity`"
                )
            definition = str(file[VOLUME_VELOCITY].attrs["definition"])
        data = torch.from_numpy(self._read(VOLUME_VELOCITY).astype(np.float32))
        return self.velocity.replace(data=data, definition=definition)

    def velocity_by(self, rule: VelocityRule) -> Field:
        """Dark-matter velocity by a rule [km/s].

        Parameters
        ----------
        rule : "neighbours", "background" or "volume"
            Momentum over density, where empty cells take the mean of their neighbours (as stored) or of the whole box
            (Wu et al. 2021); or volume weighted, see `volume_velocity`.

        Raises
        ------
        InputError
            If the rule is unknown, or the box holds no volume-weighted velocity.
        """
        if rule == "neighbours":
            return self.velocity
        if rule == "volume":
            return self.volume_velocity
        if rule == "background":
            return from_momentum(self.density, self.momentum, empty_cells="background")
        raise InputError(f"rule must be one of {', '.join(get_args(VelocityRule))}, got {rule!r}")

    @cached_property
    def momentum(self) -> Field:
        """(1 + delta) v [km/s]."""
        return self.velocity.replace(data=self.velocity.data * (1 + self.density.data))

    @cached_property
    def halos(self) -> Halos:
        """Friends-of-friends halos, without their members, descending in mass; equal masses in random order."""
        positions = self._read("halos/position")
        if outside := int((~self.box.contains(positions)).sum()):
            raise InputError(
                f"halos/position must lie in the box of {self.box.size:g} Mpc/h, got {outside} outside in {self.path}: "
                "make it again"
            )
        rows = self._rows
        return Halos(
            positions=positions[rows],
            velocities=self._read("halos/velocity")[rows],
            masses=self._read("halos/mass")[rows],
            counts=self._read("halos/count")[rows],
            members=np.empty(0, np.int64),
            offsets=np.zeros(len(rows) + 1, np.int64),
        )

    @cached_property
    def _rows(self) -> np.ndarray:
        """Stored rows of halos, descending in mass, those of equal masses in random order.

        Halos of as many particles are stored from one face of the box to the other: of those that just make it into a
        sample, in that order, a sample would have more on one side.
        """
        masses = self._read("halos/mass")
        return np.lexsort((np.random.default_rng([self.seed, _TIES]).random(len(masses)), -masses))

    @cached_property
    def members(self) -> Members:
        """Stored member particles of the halos."""
        host = self._read("members/host")
        if host.dtype.kind == "f" or (len(host) and not 0 <= host.min() <= host.max() < len(self.halos)):
            raise InputError(
                f"members/host must be rows of the {len(self.halos)} halos, got others in {self.path}: make it again"
            )
        place = np.empty(len(self._rows), np.int32)
        place[self._rows] = np.arange(len(place), dtype=np.int32)
        order = np.argsort(place[host], kind="stable")
        return Members(
            displacements=self._read("members/displacement")[order],
            velocities=self._read("members/velocity")[order],
            host=place[host][order],
        )

    def require_catalogue(self, number_density: float, *, satellite_fraction: float = 0.0) -> None:
        """Refuse what `catalogue` refuses, and draw nothing."""
        number = self._number(number_density)
        count_galaxies(self.halos, self.members, fraction=satellite_fraction, number=number)

    def catalogue(
        self,
        number_density: float = 3e-3,
        *,
        satellite_fraction: float = 0.0,
        line_of_sight: LineOfSight = "z",
        observer: tuple[float, float, float] | None = None,
        space: Space = "redshift",
        seed: int = 0,
    ) -> Catalogue:
        """Draw an abundance-ranked catalogue.

        Parameters
        ----------
        number_density : float
            [(h/Mpc)^3]; the most massive objects are taken.
        satellite_fraction : float
            Fraction of objects that are satellites, on member particles of their halos.
        line_of_sight, observer : as in `Catalogue`
        space : "redshift" or "real"
        seed : int
            Of the satellites (mixed with the box's own seed).
        """
        galaxies = self.galaxies(number_density, satellite_fraction=satellite_fraction, seed=seed)
        return self.observed(galaxies, line_of_sight=line_of_sight, observer=observer, space=space)

    def observed(
        self,
        galaxies: Galaxies,
        *,
        line_of_sight: LineOfSight = "z",
        observer: tuple[float, float, float] | None = None,
        space: Space = "redshift",
    ) -> Catalogue:
        """Return the catalogue of objects of `galaxies`, in their order; the rest as in `catalogue`."""
        real = Catalogue(
            positions=galaxies.positions,
            box=Box(self.box.side),
            redshift=self.redshift,
            line_of_sight=line_of_sight,
            space="real",
            velocities=galaxies.velocities,
            masses=galaxies.masses,
            observer=observer,
        )
        return to_redshift_space(real, self.cosmology) if space == "redshift" else real

    def galaxies(
        self, number_density: float = 3e-3, *, satellite_fraction: float = 0.0, seed: int = 0
    ) -> Galaxies:
        """Draw the objects of `catalogue`, in its order, with the halos that they live in."""
        return draw_satellites(
            self.halos,
            self.members,
            box_size=self.box.side,
            fraction=satellite_fraction,
            number=self._number(number_density),
            seed=self.seed * 1_000_003 + seed,
        )

    def _number(self, number_density: float) -> int:
        if not 0 < number_density < np.inf:
            raise InputError(f"number_density must be > 0 and finite, got {number_density}: give (h/Mpc)^3")
        return round(number_density * self.box.volume)
