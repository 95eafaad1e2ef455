"""The residual U-Net that our own networks share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from peculiar.core.errors import InputError
from peculiar.models.blocks import ChannelNorm, Conv, Mesh, ResidualBlock, activation, require_divisible


@dataclass(frozen=True, kw_only=True)
class UNetShape:
    """Settings of `ResidualUNet` that do not depend on what it maps.

    Parameters
    ----------
    width : int
        Channels on the finest level; each level down doubles them.
    levels : int
        Meshes of the U, each half as fine as the one above.
    blocks : tuple of int
        Residual blocks of each level, on the way down and again on the way up. The last entry holds for all
        deeper levels.
    act : "silu", "gelu" or "relu"
    dropout : float
        Probability of dropping a channel inside a block.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    width: int = 16
    levels: int = 3
    blocks: tuple[int, ...] = (1, 2, 2)
    act: str = "silu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "levels"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.blocks or min(self.blocks) < 1:
            raise InputError(f"blocks must hold numbers >= 1, got {self.blocks}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {self.dropout}")

    def blocks_at(self, level: int) -> int:
        """Residual blocks of a level, on one way."""
        return self.blocks[min(level, len(self.blocks) - 1)]


class VectorMix(nn.Module):
    """Learned sums of vectors, the same number for all three components, so that turning them turns the sum.

    Parameters
    ----------
    start : tuple of tuple of float
        Weights at the start of training: for each vector that comes out, one per vector that goes in.
    """

    def __init__(self, start: tuple[tuple[float, ...], ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start))

    def forward(self, vectors: Mesh) -> Mesh:
        """Map (batch, 3 n, x, y, z) to (batch, 3 m, x, y, z), float32."""
        parts = vectors.float().unflatten(1, (-1, 3))
        return torch.einsum("oi,bicxyz->bocxyz", self.weight.float(), parts).flatten(1, 2)


class ResidualUNet(nn.Module):
    """U-Net of residual blocks whose skips add, and whose last convolution starts at zero.

    Strided 2^3 convolutions go down, nearest neighbours after a 1^3 convolution go up, so only the 3^3 convolutions
    reach beyond a cell, and those pad circularly.
    """

    def __init__(self, in_channels: int, out_channels: int, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        widths = [shape.width * 2**level for level in range(shape.levels)]

        def chain(level: int) -> nn.ModuleList:
            return nn.ModuleList(
                ResidualBlock(widths[level], act=shape.act, dropout=shape.dropout)
                for _ in range(shape.blocks_at(level))
            )

        self.stem = Conv(in_channels, widths[0])
        self.encoder = nn.ModuleList(chain(level) for level in range(shape.levels))
        self.decoder = nn.ModuleList(chain(level) for level in range(shape.levels - 1))
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(Conv(coarse, fine, kernel=1) for fine, coarse in pairwise(widths))
        self.act = activation(shape.act)
        self.norm = ChannelNorm(widths[0])
        self.head = Conv(widths[0], out_channels).zero()

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return int(2 ** (self.shape.levels - 1))

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side, at most: the halo that tiles need."""
        cells = 2  # stem and head
        for level in range(self.shape.levels):
            passes = 1 if level == self.shape.levels - 1 else 2
            cells += 2 * passes * self.shape.blocks_at(level) * 2**level
        return cells + 2 * (self.stride - 1)

    def correction(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Return the U's output, float32: zero before training.

        Parameters
        ----------
        inputs : (batch, in_channels, x, y, z)
            Of order one; sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop).
        """
        require_divisible(inputs, self.stride, name=type(self).__name__)
        mesh = self.stem(inputs, periodic=periodic)
        skips = []
        for level, blocks in enumerate(self.encoder):
            if level:
                mesh = self.down[level - 1](mesh)
            for block in cast(nn.ModuleList, blocks):
                mesh = block(mesh, periodic=periodic)
            skips.append(mesh)
        for level in range(self.shape.levels - 2, -1, -1):
            mesh = (
                nn.functional.interpolate(self.up[level](mesh), scale_factor=2.0, mode="nearest")
                + skips[level]
            )
            for block in cast(nn.ModuleList, self.decoder[level]):
                mesh = block(mesh, periodic=periodic)
        return self.head(self.act(self.norm(mesh)), periodic=periodic).float()
