"""The network of He et al. 2019 (D3M): Zel'dovich displacements to N-body displacements on the Lagrangian lattice.

15 convolutions, periodic everywhere: two meshes down, two up with skips that concatenate, batch normalisation and ReLU
after all but the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from peculiar.core.channels import Channels, vector
from peculiar.core.errors import InputError
from peculiar.models.blocks import Conv, ConvNormAct, Mesh, chain, require_divisible
from peculiar.models.registry import register


@dataclass(frozen=True)
class He2019Config:
    """Settings of `He2019`.

    Parameters
    ----------
    in_channels, out_channels : int
        Components of the displacement that goes in, and of that which comes out.
    widths : (int, int, int)
        Channels of the three meshes, finest first.
    scale : float
        Unit of displacement inside the network [Mpc/h]: inputs are divided by it, outputs multiplied.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    in_channels: int = 3
    out_channels: int = 3
    widths: tuple[int, int, int] = (64, 128, 256)
    scale: float = 5.0

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) < 1:
                raise InputError(f"he2019.{name} must be >= 1, got {getattr(self, name)}")
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise InputError(f"he2019.widths must be three numbers >= 1, got {self.widths}")
        if not self.scale > 0:
            raise InputError(f"he2019.scale must be > 0 Mpc/h, got {self.scale}")


@register("he2019", He2019Config)
class He2019(nn.Module):
    """Displacements [Mpc/h] to displacements [Mpc/h], 8,410,368 weights of convolutions as published.

    Examples
    --------
    >>> network = He2019(He2019Config(widths=(4, 4, 4)))
    >>> network(torch.zeros(1, 3, 8, 8, 8)).shape
    torch.Size([1, 3, 8, 8, 8])
    """

    outputs = Channels(vector("displacement"))

    def __init__(self, config: He2019Config) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        self.fine = nn.ModuleList([ConvNormAct(config.in_channels, fine), ConvNormAct(fine, fine)])
        self.down_middle = ConvNormAct(fine, middle, stride=2)
        self.middle = nn.ModuleList([ConvNormAct(middle, middle), ConvNormAct(middle, middle)])
        self.down_coarse = ConvNormAct(middle, coarse, stride=2)
        self.coarse = nn.ModuleList([ConvNormAct(coarse, coarse), ConvNormAct(coarse, coarse)])
        self.up_middle = ConvNormAct(coarse, middle, up=True)
        self.merge_middle = nn.ModuleList([ConvNormAct(2 * middle, middle), ConvNormAct(middle, middle)])
        self.up_fine = ConvNormAct(middle, fine, up=True)
        self.merge_fine = nn.ModuleList([ConvNormAct(2 * fine, fine), ConvNormAct(fine, fine)])
        self.output = Conv(fine, config.out_channels, kernel=1)

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return 4

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side, at most: the halo that tiles need."""
        # Each line: cells of that mesh, of the convolution that makes it, and of the one that leaves it.
        fine = 2 + 2
        middle = 1 + 2 * (2 + 2) + 2
        coarse = 2 + 4 * 2 + 4
        return fine + middle + coarse

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Map (batch, in_channels, x, y, z) [Mpc/h] to (batch, out_channels, x, y, z) [Mpc/h], float32.

        Parameters
        ----------
        inputs : (batch, in_channels, x, y, z) [Mpc/h]
            Displacements at the lattice points; sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a tile).
        """
        require_divisible(inputs, self.stride, name="he2019")
        fine = chain(self.fine, inputs / self.config.scale, periodic=periodic)
        middle = chain(self.middle, self.down_middle(fine, periodic=periodic), periodic=periodic)
        coarse = chain(self.coarse, self.down_coarse(middle, periodic=periodic), periodic=periodic)
        up = torch.cat([self.up_middle(coarse, periodic=periodic), middle], dim=1)
        up = chain(self.merge_middle, up, periodic=periodic)
        up = torch.cat([self.up_fine(up, periodic=periodic), fine], dim=1)
        up = chain(self.merge_fine, up, periodic=periodic)
        return self.output(up, periodic=periodic).float() * self.config.scale
