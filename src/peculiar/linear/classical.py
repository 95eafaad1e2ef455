"""What classical reconstructors share: estimated modes of matter become fields, at once or one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex, Float

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.fields.calculus import displacement_component
from peculiar.fields.fourier import to_real_
from peculiar.linear.light_cone import AlongDistance, on_mesh, velocity_factor
from peculiar.linear.overdensity import fourier_box

COMPONENTS = ("x", "y", "z")
# A cell of a periodic box: the velocity, and the modes or the density; and all fields.
_FLOW_BYTES, _BYTES = 17, 29
# Of others, a cell of the box and one of its transforms.
_FIELD_BYTES, _TRANSFORM_BYTES = 28, 30


@dataclass(frozen=True, eq=False)
class EstimatedMatter:
    """The overdensity of matter as it is estimated, and its flow.

    Attributes
    ----------
    modes : Tensor (X, Y, half)
        Of the overdensity on the Fourier mesh.
    fourier : Box
    box : Box
        That is kept of it.
    slowness : float [Mpc/h]
        The flow's modes are those of the overdensity times exp(-k slowness).
    surroundings : Tensor (3, x, y, z), optional
        Displacement [Mpc/h] that other matter adds.
    growth : AlongDistance or float
        By which both are multiplied: of waves along a light cone, over that at the epoch of the modes.
    """

    modes: Complex[torch.Tensor, "X Y half"]
    fourier: Box
    box: Box
    slowness: float = 0.0
    surroundings: Float[torch.Tensor, "3 x y z"] | None = None
    growth: AlongDistance | float = 1.0

    def density(self, *, used_up: bool = False) -> Float[torch.Tensor, "1 x y z"]:
        """Return the overdensity, `used_up` as in `displacement`."""
        out = torch.empty(1, *self.box.shape)
        to_real_(self.modes if used_up else self.modes.clone(), self.fourier.shape, out=out[0])
        return self._grown(out)

    def displacement(
        self, axis: int, *, out: Float[torch.Tensor, "x y z"] | None = None, used_up: bool = False
    ) -> Float[torch.Tensor, "x y z"]:
        """Return one component of the displacement, velocity over a H f [Mpc/h].

        Parameters
        ----------
        axis : int
        out : Tensor (x, y, z), optional
            Gets it.
        used_up : bool
            Whether the modes may be overwritten, which saves a copy of them.
        """

        def slowed(kx: torch.Tensor, ky: torch.Tensor, kz: torch.Tensor) -> torch.Tensor:
            return (kx**2 + ky**2 + kz**2).sqrt_().mul_(-self.slowness).exp_()

        out = torch.empty(self.box.shape) if out is None else out
        displacement_component(
            self.modes,
            self.fourier,
            axis,
            factor=slowed if self.slowness else None,
            out=out,
            used_up=used_up,
        )
        self._grown(out)
        return out if self.surroundings is None else out.add_(self.surroundings[axis])

    def _grown(self, mesh: torch.Tensor) -> torch.Tensor:
        return mesh if self.growth == 1.0 else mesh.mul_(on_mesh(self.growth, self.box))


class Classical(ABC):
    """A reconstructor that estimates matter from the whole mesh."""

    name: str

    @abstractmethod
    def matter(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> EstimatedMatter:
        """Return what is estimated of matter on the mesh of a catalogue's box."""

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return "density" (overdensity of matter), "velocity" and "momentum" [km/s] on the catalogue's box."""
        return dict(self.fields(catalogue, cells=cells, cosmology=cosmology))

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that a reconstruction on a mesh takes at most, but for the tracers."""
        return max(_BYTES * box.cell_count, self.flow_memory(box))

    def flow_memory(self, box: Box) -> int:
        """Return what it takes at most of fields that are made one at a time, but for the tracers."""
        cells, transformed = box.cell_count, fourier_box(box).cell_count
        if box.periodic:
            return _FLOW_BYTES * cells
        return max(_FIELD_BYTES * cells + 12 * transformed, 12 * cells + _TRANSFORM_BYTES * transformed)

    def fields(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology, scratch: Path | None = None
    ) -> Iterator[tuple[str, Field]]:
        """Make what `reconstruct` returns one field at a time.

        Parameters
        ----------
        catalogue : Catalogue
        cells : int
        cosmology : Cosmology
        scratch : path, optional
            Directory where the density lies while the velocity is made, which the momentum then overwrites: for those
            who are done with a field when they take the next.
        """
        matter = self.matter(catalogue, cells=cells, cosmology=cosmology)
        box = matter.box
        density = matter.density()
        yield "density", Field(density, box, names=("density",))
        known = density.numpy() if scratch is None else _stored(density, scratch / "density.npy")
        del density
        velocity = torch.empty(3, *box.shape)
        for axis, component in enumerate(velocity):
            matter.displacement(axis, out=component, used_up=axis == 2)
        del matter, component
        velocity *= velocity_factor(catalogue, box, cosmology=cosmology)
        yield "velocity", _vector(velocity, box)
        momentum = velocity if scratch is not None else velocity.clone()
        for place, plane in enumerate(known[0]):
            momentum[:, place] *= 1 + torch.tensor(plane)
        yield "momentum", _vector(momentum, box)


@dataclass(frozen=True, eq=False)
class OneByOne:
    """A classical reconstructor whose fields are taken one at a time."""

    method: Classical

    @property
    def name(self) -> str:
        """Name in score tables."""
        return self.method.name

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return what the method's `reconstruct` does."""
        return self.method.reconstruct(catalogue, cells=cells, cosmology=cosmology)

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that `fields` takes at most, but for the tracers."""
        return self.method.flow_memory(box)

    def scratch(self, box: Box) -> int:
        """Return the room [bytes] that temporary meshes take on the disk."""
        return 4 * box.cell_count

    def fields(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology, scratch: Path
    ) -> Iterator[tuple[str, Field]]:
        """See `Classical.fields`."""
        return self.method.fields(catalogue, cells=cells, cosmology=cosmology, scratch=scratch)


def linear_fields(
    density: Float[torch.Tensor, "1 x y z"], velocity: Float[torch.Tensor, "3 x y z"], box: Box
) -> dict[str, Field]:
    """Name an estimate of the overdensity and of the velocity [km/s] as the three fields, with m = (1 + delta) v."""
    return {
        "density": Field(density, box, names=("density",)),
        "velocity": _vector(velocity, box),
        "momentum": _vector((1 + density) * velocity, box),
    }


def _vector(values: torch.Tensor, box: Box) -> Field:
    definition = "curl-free estimate of the velocity of matter"
    return Field(values, box, names=COMPONENTS, unit="km/s", kind="vector", definition=definition)


def _stored(mesh: torch.Tensor, path: Path) -> np.ndarray:
    """Write a mesh to the disk, and return it as an array that lies there."""
    np.save(path, mesh.numpy())
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
