"""What objectives share that train a whole network in one stage."""

from __future__ import annotations

from torch import nn

from peculiar.training.losses import Mesh, interior


class WholeNetwork:
    """A single stage that trains the whole network."""

    name = "all"
    margin: int

    def trained(self, network: nn.Module) -> nn.Module:
        """Return the whole network."""
        return network

    def _apply(
        self, network: nn.Module, inputs: Mesh, targets: Mesh, *, periodic: bool
    ) -> tuple[Mesh, Mesh, Mesh]:
        """Outputs, targets and inputs where they count."""
        margin = 0 if periodic else self.margin
        outputs = network(inputs, periodic=periodic)
        return interior(outputs, margin), interior(targets, margin), interior(inputs, margin)
