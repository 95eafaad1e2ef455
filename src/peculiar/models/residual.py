"""Our variant: a residual U-Net that corrects a classical reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, MOMENTUM, OUTPUT_CHANNELS, VELOCITY
from peculiar.models.registry import register
from peculiar.models.unet import ResidualUNet, UNetShape

LARGEST_LOG_DENSITY = 8.0
"""Keeps the momentum finite early in training; cells of a few Mpc/h reach about 7."""


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(UNetShape):
    """Settings of `ResidualReconstructor`, beside those of `UNetShape`.

    Parameters
    ----------
    in_channels : int
        Input channels.
    input_scale : tuple of float
        Inputs are divided by these, one per channel; empty for 1.
    output_scale : tuple of float
        Outputs are multiplied by these, one per channel; empty for 1.
    velocity : tuple of int
        Input channels with the velocity over a H f [Mpc/h] that the network corrects.
    gains : tuple of int
        First channels of input vectors that are also multiplied by an output each and added to the velocity: the
        amplitude of a classical flow depends on tracers that it does not know.

    Raises
    ------
    InputError
        If a number is out of range or the per-channel tuples have another length.
    """

    in_channels: int
    input_scale: tuple[float, ...] = ()
    output_scale: tuple[float, ...] = ()
    velocity: tuple[int, int, int] = (4, 5, 6)
    gains: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_channels < 1:
            raise InputError(f"residual.in_channels must be >= 1, got {self.in_channels}")
        for name, length in (
            ("input_scale", self.in_channels),
            ("output_scale", OUTPUT_CHANNELS),
        ):
            values = getattr(self, name)
            if values and len(values) != length:
                raise InputError(f"residual.{name} must have {length} entries or none, got {len(values)}")
        if any(scale <= 0 for scale in (*self.input_scale, *self.output_scale)):
            raise InputError("residual.input_scale and output_scale must be > 0")
        if len(self.velocity) != 3 or not all(0 <= channel < self.in_channels for channel in self.velocity):
            raise InputError(
                f"residual.velocity must be three of the {self.in_channels} input channels, got {self.velocity}"
            )
        if not all(0 <= channel <= self.in_channels - 3 for channel in self.gains):
            raise InputError(
                f"residual.gains must be first channels of vectors among the {self.in_channels} input channels, got "
                f"{self.gains}"
            )


@register("residual", ResidualConfig)
class ResidualReconstructor(ResidualUNet):
    """`ResidualUNet` from tracers' channels to density, velocity and momentum.

    Before training its velocity is that of the inputs.

    Examples
    --------
    >>> network = ResidualReconstructor(ResidualConfig(in_channels=7, width=4, levels=2))
    >>> network(torch.zeros(1, 7, 8, 8, 8)).shape
    torch.Size([1, 7, 8, 8, 8])
    """

    input_scale: torch.Tensor
    output_scale: torch.Tensor

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(config.in_channels, OUTPUT_CHANNELS + len(config.gains), config)
        self.config = config
        scales = (
            ("input_scale", config.input_scale, config.in_channels),
            ("output_scale", config.output_scale, OUTPUT_CHANNELS),
        )
        for name, values, channels in scales:
            scale = torch.tensor(values or (1.0,) * channels).view(1, -1, 1, 1, 1)
            self.register_buffer(name, scale, persistent=False)

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Reconstruct density, velocity and momentum.

        The velocity is that of the inputs plus a correction; the momentum is the density times the velocity plus a
        correction for their small-scale correlation.

        Parameters
        ----------
        inputs : (batch, in_channels, x, y, z)
            Unscaled; sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop).

        Returns
        -------
        (batch, 7, x, y, z) float32, as `peculiar.models.channels.OUTPUT_NAMES`.
        """
        outputs = self.correction(inputs / self.input_scale, periodic=periodic)
        outputs, gains = outputs[:, :OUTPUT_CHANNELS] * self.output_scale, outputs[:, OUTPUT_CHANNELS:]
        logarithm = outputs[:, DENSITY]
        velocity = outputs[:, VELOCITY] + inputs[:, list(self.config.velocity)].float()
        for i, first in enumerate(self.config.gains):
            velocity = velocity + gains[:, i : i + 1] * inputs[:, first : first + 3].float()
        rho = logarithm.clamp(max=LARGEST_LOG_DENSITY).exp() - DENSITY_FLOOR
        # The momentum's error is noisy: it teaches its own correction, not the density and velocity.
        momentum = rho.detach() * (velocity.detach() + outputs[:, MOMENTUM])
        return torch.cat([logarithm, velocity, momentum], dim=1)
