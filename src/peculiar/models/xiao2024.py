"""The networks of Xiao et al. 2024: density first, then magnitude and direction of velocity and momentum.

The paper prints no kernel sizes and no channel numbers (Optuna chose them). Here the "init" convolution is 7^3, all
others are 3^3, and N1, N2, N3 are the channels of the three meshes, finest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from peculiar.core.channels import Channels, require_vector
from peculiar.core.errors import InputError
from peculiar.models.blocks import Conv, ConvNormAct, Mesh, require_divisible
from peculiar.models.channels import log_density
from peculiar.models.registry import register

HALOS = "abundance"
"""Name of the input channels with halos in bins."""
STAGES = ("density", "velocity", "momentum")
"""Order of training; the later two need the first one's density."""


class PublishedUNet(nn.Module):
    """The U-Net of fig. 2 of Xiao et al. 2024: three meshes, skips that concatenate, a final block with dropout."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: tuple[int, int, int],
        dropout: float,
        init_kernel: int,
    ) -> None:
        super().__init__()
        n1, n2, n3 = channels
        self.init = ConvNormAct(in_channels, n1, kernel=init_kernel)
        self.conv1 = ConvNormAct(n1, n1)
        self.down2 = ConvNormAct(n1, n2, stride=2)
        self.conv2 = ConvNormAct(n2, n2)
        self.down3 = ConvNormAct(n2, n3, stride=2)
        self.conv3 = ConvNormAct(n3, n3)
        self.up2 = ConvNormAct(n3, n2, up=True)
        self.merge2 = ConvNormAct(2 * n2, n2)
        self.up1 = ConvNormAct(n2, n1, up=True)
        self.merge1 = ConvNormAct(2 * n1, n1)
        self.final = ConvNormAct(n1, n1, dropout=dropout)
        self.output = Conv(n1, out_channels, kernel=1)

    def forward(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Map (batch, in, x, y, z) to (batch, out, x, y, z)."""
        fine = self.conv1(self.init(mesh, periodic=periodic), periodic=periodic)
        middle = self.conv2(self.down2(fine, periodic=periodic), periodic=periodic)
        coarse = self.conv3(self.down3(middle, periodic=periodic), periodic=periodic)
        up = self.up2(coarse, periodic=periodic)
        up = self.merge2(torch.cat([up, middle], dim=1), periodic=periodic)
        up = self.up1(up, periodic=periodic)
        up = self.merge1(torch.cat([up, fine], dim=1), periodic=periodic)
        return self.output(self.final(up, periodic=periodic), periodic=periodic)


@dataclass(frozen=True)
class Xiao2024Config:
    """Settings of `Xiao2024`.

    Parameters
    ----------
    inputs : tuple of str
        Names of the input channels: halos in four mass bins ("abundance"), and v_lin (eq. 2) and m_lin (eq. 3) over
        a H f [Mpc/h] ("linear_velocity", "linear_momentum").
    channels : (N1, N2, N3)
        Channels of the three meshes, finest first.
    dropout : float
        Of the final block.
    init_kernel : int
        Side of the first convolution, odd.
    velocity_scale, momentum_scale : float
        Mean |v| and |m| over a H f [Mpc/h]: the networks see and give magnitudes in these units.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    inputs: tuple[str, ...]
    channels: tuple[int, int, int] = (32, 64, 128)
    dropout: float = 0.1
    init_kernel: int = 7
    velocity_scale: float = 4.5
    momentum_scale: float = 4.5

    def __post_init__(self) -> None:
        if len(self.channels) != 3 or min(self.channels) < 1:
            raise InputError(f"xiao2024.channels must be three numbers >= 1, got {self.channels}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"xiao2024.dropout must lie in [0, 1), got {self.dropout}")
        if self.init_kernel < 1 or self.init_kernel % 2 == 0:
            raise InputError(f"xiao2024.init_kernel must be odd, got {self.init_kernel}")
        if self.velocity_scale <= 0 or self.momentum_scale <= 0:
            raise InputError("xiao2024.velocity_scale and momentum_scale must be > 0 Mpc/h")
        names = Channels(self.inputs)
        names.of(HALOS)
        for stage in STAGES[1:]:
            require_vector(names, f"linear_{stage}")


@register("xiao2024", Xiao2024Config)
class Xiao2024(nn.Module):
    """Five U-Nets: density from halos; then |v|, direction of v, |m| and direction of m from eight channels each.

    Examples
    --------
    >>> from peculiar.core.channels import vector
    >>> inputs = ("abundance_0.003", *vector("linear_velocity"), *vector("linear_momentum"))
    >>> network = Xiao2024(Xiao2024Config(inputs=inputs, channels=(4, 4, 4), init_kernel=3))
    >>> network(torch.zeros(1, 7, 8, 8, 8)).shape
    torch.Size([1, 7, 8, 8, 8])
    """

    def __init__(self, config: Xiao2024Config) -> None:
        super().__init__()
        self.config = config
        self.names = Channels(config.inputs)
        halos = len(config.inputs[self.names.of(HALOS)])

        def unet(in_channels: int, out_channels: int) -> PublishedUNet:
            return PublishedUNet(
                in_channels,
                out_channels,
                channels=config.channels,
                dropout=config.dropout,
                init_kernel=config.init_kernel,
            )

        self.density = unet(halos, 1)
        self.velocity = nn.ModuleDict({"magnitude": unet(halos + 4, 1), "direction": unet(halos + 4, 3)})
        self.momentum = nn.ModuleDict({"magnitude": unet(halos + 4, 1), "direction": unet(halos + 4, 3)})
        for stage in (self.velocity, self.momentum):
            # Magnitudes start at their scale: those that start below zero would be cut and learn nothing.
            nn.init.ones_(stage.get_parameter("magnitude.output.conv.bias"))

    @property
    def stride(self) -> int:
        """Cells by which the input may be shifted for the output to shift along."""
        return 4

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side, at most: the halo that tiles need."""
        # One network: 7^3 and 3^3 before, two and two (merge, final) after, then the two coarser meshes.
        single = self.config.init_kernel // 2 + 1 + 2 + (1 + 2 + 2 + 2) + (2 + 4 + 4)
        return 2 * single  # the second stage looks at the first one's density

    def stage(self, inputs: Mesh, name: str, *, density: Mesh | None = None, periodic: bool = True) -> Mesh:
        """Run one stage.

        Parameters
        ----------
        inputs : (batch, channel, x, y, z)
            As `Xiao2024Config.inputs`.
        name : "density", "velocity" or "momentum"
        density : (batch, 1, x, y, z), optional
            The first stage's 1 + delta; needed by the others.
        periodic : bool

        Returns
        -------
        (batch, 1, x, y, z): 1 + delta; or (batch, 4, x, y, z): magnitude in units of its scale, then a direction
        that is not yet of unit length.
        """
        halos = inputs[:, self.names.of(HALOS)]
        if name == "density":
            return self.density(halos, periodic=periodic).float()
        if density is None:
            raise InputError(f"density must be given for stage {name!r} of xiao2024, got None")
        scale = self.config.velocity_scale if name == "velocity" else self.config.momentum_scale
        linear = inputs[:, self.names.of(f"linear_{name}")]
        seen = torch.cat([halos, density.to(halos.dtype), linear / scale], dim=1)
        networks = self.velocity if name == "velocity" else self.momentum
        parts = [networks[part](seen, periodic=periodic).float() for part in ("magnitude", "direction")]
        return torch.cat(parts, dim=1)

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Run all stages and put the results together as `peculiar.models.channels.OUTPUTS`."""
        require_divisible(inputs, self.stride, name="xiao2024")
        density = self.stage(inputs, "density", periodic=periodic)
        outputs = [log_density(density - 1)]
        for name, scale in (
            ("velocity", self.config.velocity_scale),
            ("momentum", self.config.momentum_scale),
        ):
            parts = self.stage(inputs, name, density=density, periodic=periodic)
            direction = functional.normalize(parts[:, 1:], dim=1, eps=1e-6)
            outputs.append(scale * parts[:, :1].clamp(min=0) * direction)
        return torch.cat(outputs, dim=1)
