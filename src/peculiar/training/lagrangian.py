"""Pairs of displacements as a displacement network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from peculiar.simulate.lagrangian import LagrangianInputs, lagrangian_inputs
from peculiar.simulate.pairs import DisplacementPair
from peculiar.training.dataset import Pair


@dataclass(frozen=True)
class LagrangianPair:
    """One pair: inputs as `LagrangianInputs.names`; targets are displacement, velocity / (a H f), and `moved`.

    Parameters
    ----------
    pair : DisplacementPair
    spec : LagrangianInputs
    steps : int
        Of the particle mesh that is corrected.
    """

    pair: DisplacementPair
    spec: LagrangianInputs
    steps: int = 0

    @property
    def cells(self) -> int:
        """Particles along a side."""
        return self.pair.box.mesh

    @property
    def velocity_factor(self) -> float:
        """A H f of the box [km/s per Mpc/h]."""
        return self.pair.velocity_factor

    @property
    def periodic(self) -> bool:
        """Whether opposite faces are one: always."""
        return True

    def crop(self, corner: Sequence[int], size: int) -> Pair:
        """Cut a cube out of the periodic lattice; size 0 takes the whole, rolled by the corner.

        Returns
        -------
        inputs (channel, size, size, size) and targets (9, size, size, size), float32 [Mpc/h].
        """
        theory = self.pair.theory(self.steps)
        displacement, velocity = self.pair.read("displacement", "velocity")
        inputs = lagrangian_inputs(
            theory, self.pair.box, self.pair.cosmology, redshift=self.pair.redshift, spec=self.spec
        )
        targets = torch.cat([displacement, velocity / self.velocity_factor, theory.moved])
        inner = slice(0, size or self.cells)
        shifts = [-start for start in corner]
        return tuple(mesh.roll(shifts, (1, 2, 3))[:, inner, inner, inner] for mesh in (inputs, targets))  # type: ignore[return-value]
