"""Our variant: a residual U-Net that corrects a classical reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from peculiar.core.errors import InputError
from peculiar.models.blocks import ChannelNorm, Conv, Mesh, ResidualBlock, activation, require_divisible
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, MOMENTUM, OUTPUT_CHANNELS, VELOCITY
from peculiar.models.registry import register

LARGEST_LOG_DENSITY = 8.0
"""Keeps the momentum finite early in training; cells of a few Mpc/h reach about 7."""


@dataclass(frozen=True)
class ResidualConfig:
    """Settings of `ResidualUNet`.

    Parameters
    ----------
    in_channels : int
        Input channels.
    width : int
        Channels on the finest level; each level down doubles them.
    levels : int
        Meshes of the U, each half as fine as the one above.
    blocks : tuple of int
        Residual blocks of each level, on the way down and again on the way up. The last entry holds for all
        deeper levels.
    input_scale : tuple of float
        Inputs are divided by these, one per channel; empty for 1.
    output_scale : tuple of float
        Outputs are multiplied by these, one per channel; empty for 1.
    velocity : tuple of int
        Input channels with the velocity over a H f [Mpc/h] that the network corrects.
    act : "silu", "gelu" or "relu"
    dropout : float
        Probability of dropping a channel inside a block.

    Raises
    ------
    InputError
        If a number is out of range or the per-channel tuples have another length.
    """

    in_channels: int
    width: int = 16
    levels: int = 3
    blocks: tuple[int, ...] = (1, 2, 2)
    input_scale: tuple[float, ...] = ()
    output_scale: tuple[float, ...] = ()
    velocity: tuple[int, int, int] = (4, 5, 6)
    act: str = "silu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("in_channels", "width", "levels"):
            if getattr(self, name) < 1:
                raise InputError(f"residual.{name} must be >= 1, got {getattr(self, name)}")
        if not self.blocks or min(self.blocks) < 1:
            raise InputError(f"residual.blocks must hold numbers >= 1, got {self.blocks}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"residual.dropout must lie in [0, 1), got {self.dropout}")
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


@register("residual", ResidualConfig)
class ResidualUNet(nn.Module):
    """U-Net of residual blocks whose skips add, and whose last convolution starts at zero.

    Before training its velocity is that of the inputs. Strided 2^3 convolutions go down, nearest neighbours
    after a 1^3 convolution go up, so only the 3^3 convolutions reach beyond a cell, and those pad circularly.

    Examples
    --------
    >>> network = ResidualUNet(ResidualConfig(in_channels=7, width=4, levels=2))
    >>> network(torch.zeros(1, 7, 8, 8, 8)).shape
    torch.Size([1, 7, 8, 8, 8])
    """

    input_scale: torch.Tensor
    output_scale: torch.Tensor

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.levels)]
        counts = [config.blocks[min(level, len(config.blocks) - 1)] for level in range(config.levels)]

        def chain(level: int) -> nn.ModuleList:
            return nn.ModuleList(
                ResidualBlock(widths[level], act=config.act, dropout=config.dropout)
                for _ in range(counts[level])
            )

        self.stem = Conv(config.in_channels, widths[0])
        self.encoder = nn.ModuleList(chain(level) for level in range(config.levels))
        self.decoder = nn.ModuleList(chain(level) for level in range(config.levels - 1))
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(Conv(coarse, fine, kernel=1) for fine, coarse in pairwise(widths))
        self.act = activation(config.act)
        self.norm = ChannelNorm(widths[0])
        self.head = Conv(widths[0], OUTPUT_CHANNELS).zero()
        scales = (
            ("input_scale", config.input_scale, config.in_channels),
            ("output_scale", config.output_scale, OUTPUT_CHANNELS),
        )
        for name, values, channels in scales:
            scale = torch.tensor(values or (1.0,) * channels).view(1, -1, 1, 1, 1)
            self.register_buffer(name, scale, persistent=False)

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return int(2 ** (self.config.levels - 1))

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side, at most: the halo that tiles need."""
        blocks = self.config.blocks
        cells = 2  # stem and head
        for level in range(self.config.levels):
            passes = 1 if level == self.config.levels - 1 else 2
            cells += 2 * passes * blocks[min(level, len(blocks) - 1)] * 2**level
        return cells + 2 * (self.stride - 1)

    def residual(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Return the correction to the baseline channels, in the outputs' units."""
        require_divisible(inputs, self.stride, name="residual")
        mesh = self.stem(inputs / self.input_scale, periodic=periodic)
        skips = []
        for level, blocks in enumerate(self.encoder):
            if level:
                mesh = self.down[level - 1](mesh)
            for block in cast(nn.ModuleList, blocks):
                mesh = block(mesh, periodic=periodic)
            skips.append(mesh)
        for level in range(self.config.levels - 2, -1, -1):
            mesh = (
                nn.functional.interpolate(self.up[level](mesh), scale_factor=2.0, mode="nearest")
                + skips[level]
            )
            for block in cast(nn.ModuleList, self.decoder[level]):
                mesh = block(mesh, periodic=periodic)
        return self.head(self.act(self.norm(mesh)), periodic=periodic).float() * self.output_scale

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
        outputs = self.residual(inputs, periodic=periodic)
        logarithm = outputs[:, DENSITY]
        velocity = outputs[:, VELOCITY] + inputs[:, list(self.config.velocity)].float()
        rho = logarithm.clamp(max=LARGEST_LOG_DENSITY).exp() - DENSITY_FLOOR
        # The momentum's error is noisy: it teaches its own correction, not the density and velocity.
        momentum = rho.detach() * (velocity.detach() + outputs[:, MOMENTUM])
        return torch.cat([logarithm, velocity, momentum], dim=1)
