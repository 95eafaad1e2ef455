"""Our density-to-velocity network: what linear theory leaves out of velocity and momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.registry import register
from peculiar.models.unet import ResidualUNet, UNetShape, VectorMix

OUTPUT_CHANNELS = 6
"""Velocity and momentum over a H f [Mpc/h]."""


def rho_of(inputs: Mesh) -> Mesh:
    """1 + delta, (batch, 1, x, y, z), from the first input channel ln(rho + 1)."""
    return torch.expm1(inputs[:, :1].float())


@dataclass(frozen=True, kw_only=True)
class FlowConfig(UNetShape):
    """Settings of `FlowUNet`, beside those of `UNetShape`.

    Parameters
    ----------
    in_channels : int
        ln(rho + 1), then the components of the vectors.
    start : tuple of float
        Weights of the input vectors in the velocity before training.
    scale : float
        Typical velocity / (a H f) [Mpc/h]: the U sees vectors over it.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    in_channels: int
    start: tuple[float, ...] = (1.0,)
    scale: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.start or self.in_channels != 1 + 3 * len(self.start):
            raise InputError(
                f"flow.in_channels must be 1 + 3 for each of the {len(self.start)} vectors, got {self.in_channels}"
            )
        if self.scale <= 0:
            raise InputError(f"flow.scale must be > 0 Mpc/h, got {self.scale}")


@register("flow", FlowConfig)
class FlowUNet(ResidualUNet):
    """A learned sum of linear velocities plus a residual U-Net's correction; momentum is (1 + delta) times a flow.

    Examples
    --------
    >>> network = FlowUNet(FlowConfig(in_channels=4, width=4, levels=2))
    >>> network(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 6, 8, 8, 8])
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__(config.in_channels, OUTPUT_CHANNELS, config)
        self.config = config
        # The mass-weighted flow may differ from the velocity where that is volume weighted.
        self.mix = VectorMix((config.start, config.start))

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Find velocity and momentum.

        Parameters
        ----------
        inputs : (batch, in_channels, x, y, z)
            ln(rho + 1), then linear velocities over a H f [Mpc/h]; sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop).

        Returns
        -------
        (batch, 6, x, y, z) float32 [Mpc/h]: velocity and momentum over a H f.
        """
        vectors = inputs[:, 1:]
        seen = torch.cat([inputs[:, :1], vectors / self.config.scale], dim=1)
        flows = self.mix(vectors) + self.correction(seen, periodic=periodic)
        return torch.cat([flows[:, :3], rho_of(inputs) * flows[:, 3:]], dim=1)
