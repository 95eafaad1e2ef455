"""The residual U-Net that our own networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.models.blocks import (
    ChannelNorm,
    Conv,
    Mesh,
    ResidualBlock,
    activation,
    chain,
    lowered,
    require_divisible,
)
from peculiar.models.channels import outputs_of
from peculiar.models.stages import INPUTS, OUTPUTS, Stage


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


EMBEDDED = 16
"""Channels that conditions are mapped to before they modulate blocks."""


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
        # Half precision would round what a correction is small beside.
        with torch.autocast("cuda" if vectors.is_cuda else "cpu", enabled=False):
            return torch.einsum("oi,bicxyz->bocxyz", self.weight.float(), parts).flatten(1, 2)


class ResidualUNet(nn.Module):
    """U-Net of residual blocks whose skips add, and whose last convolution starts at zero.

    Strided 2^3 convolutions go down, nearest neighbours after a 1^3 convolution go up, so only the 3^3 convolutions
    reach beyond a cell, and those pad circularly. A network says what the U sees of its inputs (`seen`), and what comes
    out (`completed`).

    Some of what is seen may be conditions, at these places: they modulate every block of the coarser meshes (Perez et
    al. 2018, arXiv 1709.07871), whose last channels they are.
    """

    def __init__(
        self, in_channels: int, out_channels: int, shape: UNetShape, *, conditions: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.shape = shape
        self.in_channels = in_channels
        self.conditions = list(conditions)
        widths = [shape.width * 2**level for level in range(shape.levels)]
        embedded = EMBEDDED if conditions else 0

        def blocks(level: int) -> nn.ModuleList:
            return nn.ModuleList(
                ResidualBlock(
                    widths[level], act=shape.act, dropout=shape.dropout, conditions=embedded if level else 0
                )
                for _ in range(shape.blocks_at(level))
            )

        self.stem = Conv(in_channels, widths[0])
        self.embed = Conv(len(conditions), embedded, kernel=1) if conditions else None
        self.encoder = nn.ModuleList(blocks(level) for level in range(shape.levels))
        self.decoder = nn.ModuleList(blocks(level) for level in range(shape.levels - 1))
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
        passes = [1 if level == self.shape.levels - 1 else 2 for level in range(self.shape.levels)]
        blocks = sum(n * self._reach_at(level) for level, n in enumerate(passes))
        return 2 + blocks + 2 * (self.stride - 1)  # 2: stem and head

    def seen(self, inputs: Mesh) -> Mesh:
        """Return what the U sees of a network's inputs: channels of order one."""
        raise NotImplementedError

    def completed(self, inputs: Mesh, correction: Mesh) -> Mesh:
        """Return a network's outputs from its inputs and what the U says of them."""
        raise NotImplementedError

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Return a network's outputs.

        Parameters
        ----------
        inputs : (batch, channel, x, y, z)
            As the network's configuration names them; sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop).

        Returns
        -------
        (batch, channel, x, y, z) float32, as the network's `outputs`.
        """
        return self.completed(inputs, self.correction(self.seen(inputs), periodic=periodic))

    def correction(self, seen: Mesh, *, periodic: bool = True) -> Mesh:
        """Return the U's output, float32: zero before training.

        Parameters
        ----------
        seen : (batch, in_channels, x, y, z)
            Of order one; sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop).
        """
        require_divisible(seen, self.stride, name=type(self).__name__)
        # Meshes of the finest level are the largest: none is kept that is not read any more.
        told = self._halved(seen[:, self.conditions])
        seen = lowered(seen)
        skips = [self._enter(seen, periodic=periodic)]
        del seen
        mesh = self._below(0, skips[0], told) if self.shape.levels > 1 else skips.pop()
        for level in range(1, self.shape.levels):
            mesh = self._refine(level, mesh, periodic=periodic)
            if level < self.shape.levels - 1:
                skips.append(mesh)
                mesh = self._descend(level, mesh)
        while skips:
            mesh = self._ascend(len(skips) - 1, skips.pop(), mesh, periodic=periodic)
        return self._leave(mesh, periodic=periodic)

    def stages(self) -> tuple[Stage, ...]:
        """Return the network in parts, none of which reaches beyond the blocks of one level on one way.

        The finest level is evaluated on the way down and again on the way up: its mesh is the largest by far.
        """
        width, deepest, told = self.shape.width, self.shape.levels - 1, len(self.conditions)
        fine = 3 * self.in_channels + 6 * width  # numbers for each cell of the finest level
        outputs = len(outputs_of(self))
        if deepest == 0:
            return (Stage((INPUTS,), OUTPUTS, outputs, 1, 1, self.reach, fine, self),)

        def first(inputs: Mesh, *, periodic: bool) -> Mesh:
            seen = self.seen(inputs)
            told = self._halved(seen[:, self.conditions])
            seen = lowered(seen)
            return self._below(0, self._enter(seen, periodic=periodic), told)

        def deeper(finer: Mesh, *, level: int, periodic: bool) -> Mesh:
            return self._refine(level, self._descend(level - 1, finer), periodic=periodic)

        def last(inputs: Mesh, coarser: Mesh, *, periodic: bool) -> Mesh:
            skip = self._enter(lowered(self.seen(inputs)), periodic=periodic)
            mesh = self._ascend(0, skip, coarser, periodic=periodic)
            return self.completed(inputs, self._leave(mesh, periodic=periodic))

        def add(reads: tuple[str, ...], writes: str, level: int, apply: Callable[..., Mesh]) -> str:
            finest = level - 1 if level > 1 and len(reads) == 1 else level  # of what is read
            numbers = 6 * width / 4**level + 4 * width / 4**finest
            unit = 2 ** min(level + (len(reads) > 1), deepest)  # up from a coarser mesh
            channels = width * 2**level + told
            made.append(Stage(reads, writes, channels, 2**level, unit, self._reach_at(level), numbers, apply))
            return writes

        made = [Stage((INPUTS,), "entered", 2 * width + told, 2, 2, 1 + self._reach_at(0), fine, first)]
        skips = [add(("entered",), "skip 1", 1, partial(self._refine, 1))]
        for level in range(2, deepest + 1):
            skips.append(add((skips[-1],), f"skip {level}", level, partial(deeper, level=level)))
        mesh = skips.pop()
        for level in range(deepest - 1, 0, -1):
            mesh = add((skips.pop(), mesh), f"up {level}", level, partial(self._ascend, level))
        reach = 2 + 2 * self._reach_at(0)  # 2: stem and head
        return (*made, Stage((INPUTS, mesh), OUTPUTS, outputs, 1, 2, reach, fine + 3 * width, last))

    def _reach_at(self, level: int) -> int:
        """Cells of the finest mesh that the blocks of a level see to each side, on one way."""
        return 2 * self.shape.blocks_at(level) * 2**level

    def _enter(self, seen: Mesh, *, periodic: bool) -> Mesh:
        return chain(self._blocks(self.encoder, 0), self.stem(seen, periodic=periodic), periodic=periodic)

    def _halved(self, conditions: Mesh) -> Mesh:
        """Take conditions to the next coarser mesh."""
        return functional.avg_pool3d(conditions, 2) if self.conditions else conditions

    def _below(self, level: int, mesh: Mesh, conditions: Mesh) -> Mesh:
        """Begin the next coarser mesh, with its conditions."""
        return self._joined(self.down[level](mesh), conditions)

    def _descend(self, level: int, mesh: Mesh) -> Mesh:
        """Begin the next coarser mesh below one that has conditions of its own."""
        own, conditions = self._parted(mesh)
        return self._below(level, own, self._halved(conditions))

    def _refine(self, level: int, mesh: Mesh, *, periodic: bool) -> Mesh:
        """Apply the blocks of a coarser mesh on the way down."""
        return self._applied(self._blocks(self.encoder, level), *self._parted(mesh), periodic=periodic)

    def _ascend(self, level: int, skip: Mesh, coarser: Mesh, *, periodic: bool) -> Mesh:
        # An empty view would hold the mesh that it is of.
        skip, conditions = self._parted(skip) if level else (skip, skip[:, []])
        rising = self.up[level](self._parted(coarser)[0])
        mesh = functional.interpolate(rising, scale_factor=2.0, mode="nearest") + skip
        del skip, coarser, rising
        return self._applied(self._blocks(self.decoder, level), mesh, conditions, periodic=periodic)

    def _applied(self, blocks: nn.ModuleList, mesh: Mesh, conditions: Mesh, *, periodic: bool) -> Mesh:
        told = None
        if self.embed is not None and conditions.shape[1]:
            told = functional.silu(self.embed(conditions))
        for block in blocks:
            mesh = block(mesh, told, periodic=periodic)
        return self._joined(mesh, conditions)

    def _parted(self, mesh: Mesh) -> tuple[Mesh, Mesh]:
        """Part a coarser mesh from its conditions."""
        own = mesh.shape[1] - len(self.conditions)
        return mesh[:, :own], mesh[:, own:]

    @staticmethod
    def _joined(mesh: Mesh, conditions: Mesh) -> Mesh:
        return torch.cat([mesh, conditions.to(mesh.dtype)], dim=1) if conditions.shape[1] else mesh

    def _leave(self, mesh: Mesh, *, periodic: bool) -> Mesh:
        return cast(Mesh, self.head(self.act(self.norm(mesh)), periodic=periodic).float())

    @staticmethod
    def _blocks(way: nn.ModuleList, level: int) -> nn.ModuleList:
        return cast(nn.ModuleList, way[level])
