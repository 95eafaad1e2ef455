"""What classical and neural reconstructors have in common."""

from __future__ import annotations

from typing import Protocol

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.field import Field


class Reconstructor(Protocol):
    """Anything that turns a catalogue into real-space fields on a mesh."""

    @property
    def name(self) -> str:
        """Name in score tables."""
        ...

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return "density" (overdensity), "velocity" and "momentum" [km/s] on the box of the catalogue.

        `cells` are those along the longest side.
        """
        ...

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that a reconstruction on the mesh of a box takes at most, but for the tracers."""
        ...
