"""Our density-to-velocity network: what linear theory leaves out of velocity and momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from peculiar.core.channels import Channels
from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import FLOW_OUTPUTS, LOG_RHO, rho_of
from peculiar.models.registry import register
from peculiar.models.unet import ResidualUNet, UNetShape, VectorMix


@dataclass(frozen=True, kw_only=True)
class FlowConfig(UNetShape):
    """Settings of `FlowUNet`, beside those of `UNetShape`.

    Parameters
    ----------
    inputs : tuple of str
        Names of the input channels: "log_rho", vectors, and numbers of order one.
    start : tuple of float
        Weights of the input vectors in the velocity before training.
    scale : float
        Typical velocity / (a H f) [Mpc/h]: the U sees vectors over it.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    inputs: tuple[str, ...]
    start: tuple[float, ...] = (1.0,)
    scale: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        names = Channels(self.inputs)
        names.of(LOG_RHO)
        if len(names.vectors) != len(self.start):
            raise InputError(
                f"flow.start must hold a number for each vector of {', '.join(names)}, got {self.start}"
            )
        if self.scale <= 0:
            raise InputError(f"flow.scale must be > 0 Mpc/h, got {self.scale}")


@register("flow", FlowConfig)
class FlowUNet(ResidualUNet):
    """A learned sum of linear velocities plus a residual U-Net's correction; momentum is (1 + delta) times a flow.

    Examples
    --------
    >>> from peculiar.core.channels import vector
    >>> network = FlowUNet(FlowConfig(inputs=("log_rho", *vector("linear_2")), width=4, levels=2))
    >>> network(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 6, 8, 8, 8])
    """

    outputs = FLOW_OUTPUTS

    def __init__(self, config: FlowConfig) -> None:
        super().__init__(len(config.inputs), len(FLOW_OUTPUTS), config)
        self.config = config
        self.names = Channels(config.inputs)
        self.vectors = [channel for found in self.names.vectors for channel in found]
        # The mass-weighted flow may differ from the velocity where that is volume weighted.
        self.mix = VectorMix((config.start, config.start))

    def seen(self, inputs: Mesh) -> Mesh:
        """Return scalars, and vectors over their scale."""
        vectors, scalars = inputs[:, self.vectors], inputs[:, self.names.scalars]
        return torch.cat([scalars, vectors / self.config.scale], dim=1)

    def completed(self, inputs: Mesh, correction: Mesh) -> Mesh:
        """Return velocity and momentum over a H f [Mpc/h]; the vectors of the inputs are velocities over it."""
        flows = self.mix(inputs[:, self.vectors]) + correction
        velocity, momentum = (flows[:, FLOW_OUTPUTS.of(name)] for name in ("velocity", "momentum"))
        return torch.cat([velocity, rho_of(inputs, self.names) * momentum], dim=1)
