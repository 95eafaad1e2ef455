"""The network of Wang et al. 2024: tracers in redshift space to the velocity of dark matter.

The paper (section 2.2, fig. 1) names the layers: convolution, group normalisation, PReLU, addition, max-pooling and
dropout on the way down, upsampling and the earlier features on the way up, a linear output of three channels. Its text
tells no kernel sizes, channels or groups. Here kernels are 3^3, shortcuts 1^3, channels double at each coarser mesh,
and a 1^3 convolution halves what is upsampled: both halves of the concatenation have equally many channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from peculiar.core.channels import Channels, vector
from peculiar.core.errors import InputError
from peculiar.models.blocks import Conv, Mesh, require_divisible
from peculiar.models.registry import register


@dataclass(frozen=True, kw_only=True)
class Wang2024Config:
    """Settings of `Wang2024`.

    Parameters
    ----------
    in_channels : int
        1 as published: the density or overdensity of tracers.
    channels : tuple of int
        Of the meshes, finest first; each mesh has half as many cells along a side as the one before.
    groups : int
        Of the group normalisation; a divisor of all channels.
    dropout : float
        Fraction of values that training sets to zero after each block on the way down: 0 for simulations, 0.2 for
        surveys.
    velocity_scale : float
        Typical velocity over a H f [Mpc/h]: the network gives velocities in these units.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    in_channels: int = 1
    channels: tuple[int, ...] = (32, 64, 128)
    groups: int = 8
    dropout: float = 0.0
    velocity_scale: float = 4.0

    def __post_init__(self) -> None:
        if self.in_channels < 1 or len(self.channels) < 2 or min(self.channels) < 1:
            raise InputError(
                "wang2024.in_channels must be >= 1 and channels at least two numbers >= 1, got "
                f"{self.in_channels} and {self.channels}"
            )
        if self.groups < 1 or any(number % self.groups for number in self.channels):
            raise InputError(f"wang2024.groups must divide all channels {self.channels}, got {self.groups}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"wang2024.dropout must lie in [0, 1), got {self.dropout}")
        if self.velocity_scale <= 0:
            raise InputError(f"wang2024.velocity_scale must be > 0 Mpc/h, got {self.velocity_scale}")


class GroupNorm(nn.GroupNorm):
    """Group normalisation over the whole mesh; torch's kernel for the CPU is slow on channels-last memory only."""

    def forward(self, mesh: Mesh) -> Mesh:
        """Normalise."""
        return super().forward(mesh.contiguous()).contiguous(memory_format=torch.channels_last_3d)


class PReLU(nn.PReLU):
    """A slope of its own for each channel's negative values; made of two ReLUs, which the CPU does much faster."""

    def forward(self, mesh: Mesh) -> Mesh:
        """Bend."""
        slope = self.weight.view(-1, 1, 1, 1).to(mesh.dtype)
        return functional.relu(mesh) - slope * functional.relu(-mesh)


class ConvAdd(nn.Module):
    """Two convolutions with group normalisation, added to what came in (through a 1^3 convolution), then PReLU.

    The shortcut is not normalised: normalisation takes a mesh's amplitude away, and velocities depend on it.
    """

    def __init__(self, in_channels: int, out_channels: int, *, groups: int) -> None:
        super().__init__()
        self.conv1 = Conv(in_channels, out_channels)
        self.norm1 = GroupNorm(groups, out_channels)
        self.act1 = PReLU(out_channels)
        self.conv2 = Conv(out_channels, out_channels)
        self.norm2 = GroupNorm(groups, out_channels)
        self.shortcut = Conv(in_channels, out_channels, kernel=1)
        self.act2 = PReLU(out_channels)

    def forward(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Map (batch, in_channels, x, y, z) to (batch, out_channels, x, y, z)."""
        inner = self.act1(self.norm1(self.conv1(mesh, periodic=periodic)))
        inner = self.norm2(self.conv2(inner, periodic=periodic))
        return self.act2(inner + self.shortcut(mesh, periodic=periodic))


@register("wang2024", Wang2024Config)
class Wang2024(nn.Module):
    """U-Net of residual blocks, from tracers to velocity over a H f [Mpc/h].

    Before training its velocity is zero. Group normalisation takes means over the mesh: the network has no `reach`, and
    tiles would not equal the whole.

    Examples
    --------
    >>> network = Wang2024(Wang2024Config(channels=(4, 8), groups=2))
    >>> network(torch.zeros(1, 1, 8, 8, 8)).shape
    torch.Size([1, 3, 8, 8, 8])
    """

    outputs = Channels(vector("velocity"))

    def __init__(self, config: Wang2024Config) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        ins = (config.in_channels, *widths[:-1])
        self.down = nn.ModuleList(
            ConvAdd(i, o, groups=config.groups) for i, o in zip(ins, widths, strict=True)
        )
        self.shrink = nn.ModuleList(Conv(coarse, fine, kernel=1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(ConvAdd(2 * fine, fine, groups=config.groups) for fine in widths[:-1])
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.output = Conv(widths[0], 3, kernel=1).zero()

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return 2 ** (len(self.config.channels) - 1)

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Map (batch, in_channels, x, y, z) to (batch, 3, x, y, z) float32 [Mpc/h]; sides are multiples of `stride`."""
        require_divisible(inputs, self.stride, name="wang2024")
        meshes: list[torch.Tensor] = []
        mesh = inputs
        for block in self.down:
            if meshes:
                mesh = functional.max_pool3d(mesh, 2)
            mesh = self.dropout(block(mesh, periodic=periodic))
            meshes.append(mesh)
        for level in reversed(range(len(self.up))):
            mesh = functional.interpolate(self.shrink[level](mesh), scale_factor=2, mode="nearest")
            mesh = self.up[level](torch.cat([mesh, meshes[level]], dim=1), periodic=periodic)
        return self.config.velocity_scale * self.output(mesh).float()
