"""Networks in parts: each makes one mesh of others, and sees no farther than its own layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

INPUTS, OUTPUTS = "inputs", "outputs"
"""Names of a network's own meshes; the others stand between its parts."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A part of a network of local layers, which may go in tiles by itself.

    Parameters
    ----------
    reads : tuple of str
        Meshes that it is made of.
    writes : str
        The mesh that it makes.
    channels : int, optional
        Of that mesh; None where an evaluation has to tell.
    coarseness : int
        Cells of the network along a side of one of that mesh's.
    unit : int
        Cells of the network that tiles are a multiple of.
    reach : int
        Cells of the network that a cell sees to each side, at most.
    numbers : float
        Numbers of float32 that the evaluation holds at once for each cell of the network.
    apply : callable
        Of what it reads, (batch, channel, x, y, z) each, and `periodic` by name.
    """

    reads: tuple[str, ...]
    writes: str
    channels: int | None
    coarseness: int
    unit: int
    reach: int
    numbers: float
    apply: Callable[..., torch.Tensor]

    @property
    def halo(self) -> int:
        """Cells of the network around a tile that its inside depends on."""
        return -(-self.reach // self.unit) * self.unit
