"""The networks of Kodi Ramanah et al. 2019: 2LPT density to counts of halos, and the critic that it is trained against.

What the paper says: two residual Inception blocks of 1^3, 3^3 and 5^3 convolutions with 10 filters each, without
padding (58^3 -> 50^3), 1^3 convolutions before the two larger ones, leaky ReLU of slope 0.1 after the residual sum
only; then four 1^3 convolutions, leaky ReLU after three and ReLU after the last; 31,930 parameters. The 2LPT density
contrast goes in as it is.

What it leaves open, and what is chosen here: biases and the first block's shortcut, from one channel to thirty. With
the contrast added to all thirty, no bias in the 1^3 convolutions before the larger ones nor in the output, the count is
exactly 31,930; so it is with a few other, less plain choices. Initial weights are not printed: TensorFlow's default.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import overdensity
from peculiar.models.registry import register

DENSITY_OFFSET = 1.0
"""The input is ln(2 + delta): `peculiar.models.channels.log_density` with this floor."""

SLOPE = 0.1
REACH = 4
"""Cells that the unpadded convolutions lose at each face: two of each block's 5^3 kernel."""


def _inside(mesh: Mesh, cells: int) -> Mesh:
    inner = slice(cells, -cells)
    return mesh[..., inner, inner, inner]


def _leaky(mesh: Mesh) -> Mesh:
    return functional.leaky_relu(mesh, SLOPE)


def _both(reduce: nn.Conv3d, larger: nn.Conv3d, mesh: Mesh) -> Mesh:
    """Apply a 1^3 convolution without bias and a larger one; of one channel, as the single kernel that they are."""
    if mesh.shape[1] > 1:
        return larger(reduce(mesh))
    kernel = torch.einsum("ocxyz,ci->oixyz", larger.weight, reduce.weight.flatten(1))
    return functional.conv3d(mesh, kernel, larger.bias)


def _tensorflow_start(module: nn.Module) -> None:
    """Glorot's uniform weights, and biases of zero, as TensorFlow's layers start."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv3d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class ResidualInception(nn.Module):
    """Paths of three kernels side by side, added to what came in (fig. 4); the mesh loses two cells at each face.

    Parameters
    ----------
    in_channels : int
        1, which is added to all channels of the paths, or as many as those.
    filters : int
        Of each path.
    """

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        self.one = nn.Conv3d(in_channels, filters, 1)
        self.reduce_three = nn.Conv3d(in_channels, filters, 1, bias=False)
        self.three = nn.Conv3d(filters, filters, 3)
        self.reduce_five = nn.Conv3d(in_channels, filters, 1, bias=False)
        self.five = nn.Conv3d(filters, filters, 5)

    def forward(self, mesh: Mesh) -> Mesh:
        """Map (batch, in_channels, n, n, n) to (batch, 3 filters, n - 4, n - 4, n - 4)."""
        centre = _inside(mesh, 2)
        paths = [
            self.one(centre),
            _both(self.reduce_three, self.three, _inside(mesh, 1)),
            _both(self.reduce_five, self.five, mesh),
        ]
        # In place: at 256^3 cells each copy of the 30 channels would take 2 GB.
        return functional.leaky_relu(torch.cat(paths, dim=1).add_(centre), SLOPE, inplace=True)


@dataclass(frozen=True)
class Ramanah2019Config:
    """Settings of `Ramanah2019`.

    Parameters
    ----------
    bins : int
        Bins of mass that are painted together; 1 as published, where each bin, and all halos, have a network of their
        own.
    filters : int
        Of every convolution, 10 as published.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    bins: int = 1
    filters: int = 10

    def __post_init__(self) -> None:
        for name in ("bins", "filters"):
            if getattr(self, name) < 1:
                raise InputError(f"ramanah2019.{name} must be >= 1, got {getattr(self, name)}")


@register("ramanah2019", Ramanah2019Config)
class Ramanah2019(nn.Module):
    """ln(2 + delta) of 2LPT to halos per cell, 31,930 parameters as published.

    Examples
    --------
    >>> network = Ramanah2019(Ramanah2019Config())
    >>> sum(p.numel() for p in network.parameters())
    31930
    >>> network(torch.zeros(1, 1, 12, 12, 12)).shape
    torch.Size([1, 1, 12, 12, 12])
    """

    def __init__(self, config: Ramanah2019Config) -> None:
        super().__init__()
        self.config = config
        filters = config.filters
        self.blocks = nn.ModuleList([ResidualInception(1, filters), ResidualInception(3 * filters, filters)])
        widths = (3 * filters, filters, filters, filters)
        self.hidden = nn.ModuleList([nn.Conv3d(a, b, 1) for a, b in pairwise(widths)])
        self.output = nn.Conv3d(filters, config.bins, 1, bias=False)
        _tensorflow_start(self)

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return 1

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side, at most: the halo that tiles need."""
        return REACH

    def unpadded(self, inputs: Mesh) -> Mesh:
        """Map a patch, (batch, 1, n, n, n), to the counts of its inside, (batch, bins, n - 8, n - 8, n - 8)."""
        return self._counts(overdensity(inputs, floor=DENSITY_OFFSET))

    def _counts(self, mesh: Mesh) -> Mesh:
        for layer in (*self.blocks, *self.hidden):
            mesh = layer(mesh) if isinstance(layer, ResidualInception) else _leaky(layer(mesh))
        # Single precision: in bfloat16 the counts would come in steps of up to 0.8 percent.
        with torch.autocast(mesh.device.type, enabled=False):
            return functional.relu(self.output(mesh.float()))

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Paint halos.

        Parameters
        ----------
        inputs : (batch, 1, x, y, z)
            ln(2 + delta); sides of at least 4 cells.
        periodic : bool
            Whether what lies beyond the faces is the far side (a whole periodic box), or matter at the mean density
            (a crop, whose outer `reach` cells do not count).

        Returns
        -------
        (batch, bins, x, y, z) float32: halos per cell.
        """
        if min(inputs.shape[-3:]) < REACH:
            raise InputError(
                f"mesh of model 'ramanah2019' must have sides of at least {REACH} cells, got "
                f"{tuple(inputs.shape[-3:])}: choose another number of cells"
            )
        delta = overdensity(inputs, floor=DENSITY_OFFSET)
        mode = "circular" if periodic else "constant"
        return self._counts(functional.pad(delta, (REACH,) * 6, mode=mode)).float()


class Critic(nn.Module):
    """A number for a patch of counts: how much it looks like the true ones (fig. 6). 67,505 parameters for 50^3 cells.

    Four convolutions of 7^3, 5^3, 3^3 and 1^3, the first and the third of stride 2, here without padding.

    Parameters
    ----------
    side : int
        Cells along a side of a patch, at least 19.
    bins : int
        Channels of a patch.
    widths : (int, int, int, int)
        Filters of the convolutions.

    Raises
    ------
    InputError
        If the patch is too small for the convolutions.

    Examples
    --------
    >>> Critic(50)(torch.zeros(2, 1, 50, 50, 50)).shape
    torch.Size([2])
    """

    def __init__(
        self, side: int, *, bins: int = 1, widths: tuple[int, int, int, int] = (8, 16, 32, 64)
    ) -> None:
        super().__init__()
        if side < 19:
            raise InputError(f"side of the critic's patch must be at least 19 cells, got {side}")
        first, second, third, fourth = widths
        self.convolutions = nn.ModuleList(
            [
                nn.Conv3d(bins, first, 7, stride=2),
                nn.Conv3d(first, second, 5),
                nn.Conv3d(second, third, 3, stride=2),
                nn.Conv3d(third, fourth, 1),
            ]
        )
        left = (((side - 7) // 2 + 1 - 4) - 3) // 2 + 1
        self.dense = nn.Linear(fourth * left**3, 1)
        _tensorflow_start(self)

    def forward(self, counts: Mesh) -> torch.Tensor:
        """Map (batch, bins, side, side, side) halos per cell to (batch,)."""
        for convolution in self.convolutions:
            counts = _leaky(convolution(counts))
        return self.dense(counts.flatten(1))[:, 0]
