"""The network of Wu et al. 2021: dark-matter density to velocity, and the same network again to momentum.

What the paper says: 3^3 filters; two convolutions and one of stride 2 at 128 channels, the same at 256, two at 512;
a transposed convolution to 256, a convolution at 256, a transposed one to 128; six convolutions without padding
(32^3 -> 20^3); an output of 3 filters; batch normalisation and ReLU after each convolution; skips that concatenate
after each transposed convolution; 48,690,307 parameters.

What it leaves open, and what is chosen here: the channels of the six unpadded convolutions. With 512, 512, 512, 256,
256, 256, a bias in every layer, batch normalisation everywhere but in the output, and 1^3 filters in the output, Keras
counts exactly 48,690,307 (it counts the running means and variances of batch normalisation too). So do a few other
orders of such numbers; 3^3 filters in the output, as the text has it, would be 19,968 more. The skips leave each mesh
before its strided convolution. Normalisations, loss and learning rate are not printed; rho is in units of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from peculiar.core.errors import InputError
from peculiar.models.blocks import Conv, ConvNormAct, Mesh, chain, require_divisible
from peculiar.models.channels import FLOW_OUTPUTS
from peculiar.models.registry import register

DENSITY_OFFSET = 1.0
"""Of eq. 1, ln(rho + 1) = ln(2 + delta): `peculiar.models.channels.log_density` with this floor gives the input."""

UNPADDED = (4, 4, 4, 2, 2, 2)
"""Channels of the six unpadded convolutions, in units of the width."""


class DensityToVector(nn.Module):
    """The published U-Net: one channel to the three components of a vector, 15 convolutions, 2 transposed, 1 output.

    The six unpadded convolutions are written as padded ones: their outermost `Wu2021.margin` cells are what the
    published network does not put out, the others are the same numbers.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

        def layer(in_channels: int, out_channels: int, *, stride: int = 1, up: bool = False) -> ConvNormAct:
            return ConvNormAct(in_channels * width, out_channels * width, stride=stride, up=up, bias=True)

        first = ConvNormAct(1, width, bias=True)
        self.fine = nn.ModuleList([first, layer(1, 1)])
        self.middle = nn.ModuleList([layer(1, 1, stride=2), layer(1, 2), layer(2, 2)])
        self.coarse = nn.ModuleList([layer(2, 2, stride=2), layer(2, 4), layer(4, 4)])
        self.up_middle = layer(4, 2, up=True)
        self.merge_middle = layer(4, 2)
        self.up_fine = layer(2, 1, up=True)
        channels = (2, *UNPADDED)
        self.unpadded = nn.ModuleList([layer(*pair) for pair in zip(channels, UNPADDED, strict=False)])
        self.output = Conv(UNPADDED[-1] * width, 3, kernel=1)

    def features(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Return what the six unpadded convolutions work on: (batch, 2 width, x, y, z)."""
        fine = chain(self.fine, mesh, periodic=periodic)
        middle = chain(self.middle, fine, periodic=periodic)
        coarse = chain(self.coarse, middle, periodic=periodic)
        up = torch.cat([self.up_middle(coarse, periodic=periodic), middle], dim=1)
        up = self.merge_middle(up, periodic=periodic)
        return torch.cat([self.up_fine(up, periodic=periodic), fine], dim=1)

    def forward(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Map (batch, 1, x, y, z) to (batch, 3, x, y, z)."""
        mesh = self.features(mesh, periodic=periodic)
        for layer in self.unpadded:
            mesh = layer(mesh, periodic=periodic)
        return self.output(mesh, periodic=periodic)


@dataclass(frozen=True)
class Wu2021Config:
    """Settings of `Wu2021`.

    Parameters
    ----------
    width : int
        Channels of the first convolutions, 128 as published; the other layers have 1, 2 and 4 times as many.
    velocity_scale, momentum_scale : float
        Root mean square of a component of v and (1 + delta) v over a H f [Mpc/h]: the networks put out multiples of
        these.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    width: int = 128
    velocity_scale: float = 3.5
    momentum_scale: float = 14.0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"wu2021.width must be >= 1, got {self.width}")
        if not (self.velocity_scale > 0 and self.momentum_scale > 0):
            raise InputError(
                f"wu2021.velocity_scale and momentum_scale must be > 0 Mpc/h, got {self.velocity_scale} and "
                f"{self.momentum_scale}"
            )


@register("wu2021", Wu2021Config)
class Wu2021(nn.Module):
    """Two networks of one shape: ln(2 + delta) to velocity, and to momentum, both over a H f [Mpc/h].

    Examples
    --------
    >>> network = Wu2021(Wu2021Config(width=4))
    >>> network(torch.zeros(1, 1, 8, 8, 8)).shape
    torch.Size([1, 6, 8, 8, 8])
    """

    outputs = FLOW_OUTPUTS

    def __init__(self, config: Wu2021Config) -> None:
        super().__init__()
        self.config = config
        self.velocity = DensityToVector(config.width)
        self.momentum = DensityToVector(config.width)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """Networks that share nothing: the gradient of each is limited by itself."""
        return self.velocity, self.momentum

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return 4

    @property
    def margin(self) -> int:
        """Outermost cells of a crop that the published network does not put out, and a loss leaves out."""
        return len(UNPADDED)

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side, at most: the halo that tiles need."""
        # Each line: cells of that mesh, of the convolution that makes it, and of the one that leaves it.
        fine = 2 + len(UNPADDED)
        middle = 1 + 2 * 2 + 2 + 2
        coarse = 2 + 4 * 2 + 4
        return fine + middle + coarse

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Predict velocity and momentum.

        Parameters
        ----------
        inputs : (batch, 1, x, y, z)
            ln(2 + delta); sides are multiples of `stride`.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop, whose outer `margin` cells do not count).

        Returns
        -------
        (batch, 6, x, y, z) float32: velocity / (a H f), then momentum (1 + delta) v / (a H f) [Mpc/h].
        """
        require_divisible(inputs, self.stride, name="wu2021")
        velocity = self.velocity(inputs, periodic=periodic).float() * self.config.velocity_scale
        momentum = self.momentum(inputs, periodic=periodic).float() * self.config.momentum_scale
        return torch.cat([velocity, momentum], dim=1)
