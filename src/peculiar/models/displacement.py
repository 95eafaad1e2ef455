"""Our emulator: what 2LPT leaves out of the displacement and velocity of each particle of a lattice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from peculiar.core.channels import Channels
from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import DISPLACEMENT_OUTPUTS
from peculiar.models.registry import register
from peculiar.models.unet import ResidualUNet, UNetShape, VectorMix


@dataclass(frozen=True, kw_only=True)
class DisplacementConfig(UNetShape):
    """Settings of `DisplacementUNet`, beside those of `UNetShape`.

    Parameters
    ----------
    start : tuple of two tuples of float
        Weights of the input vectors in displacement and in velocity / (a H f) before training.
    inputs : tuple of str
        Names of the input channels: vectors [Mpc/h], and numbers of order one.
    scale : float
        Typical displacement [Mpc/h]: the U sees vectors over it.
    correction_scale : float
        Typical error of 2LPT [Mpc/h]: the U's output is multiplied by it.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    inputs: tuple[str, ...]
    start: tuple[tuple[float, ...], ...] = ((1.0, 1.0, 0.0), (1.0, 2.0, 0.0))
    scale: float = 5.0
    correction_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.start) != 2 or len(self.start[0]) != len(self.start[1]) or not self.start[0]:
            raise InputError(
                f"displacement.start must hold two tuples of one number per vector, got {self.start}"
            )
        if len(Channels(self.inputs).vectors) != len(self.start[0]):
            raise InputError(
                f"displacement.start must hold a number for each vector of {', '.join(self.inputs)}, got {self.start}"
            )
        if self.scale <= 0 or self.correction_scale <= 0:
            raise InputError("displacement.scale and correction_scale must be > 0 Mpc/h")


@register("displacement", DisplacementConfig)
class DisplacementUNet(ResidualUNet):
    """A learned sum of the input vectors plus a residual U-Net's correction.

    Examples
    --------
    >>> from peculiar.core.channels import vector
    >>> config = DisplacementConfig(inputs=(*vector("zeldovich"), "growth"), start=((1.0,), (1.0,)), width=4)
    >>> network = DisplacementUNet(config)
    >>> network(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 6, 8, 8, 8])
    """

    outputs = DISPLACEMENT_OUTPUTS

    def __init__(self, config: DisplacementConfig) -> None:
        super().__init__(len(config.inputs), len(DISPLACEMENT_OUTPUTS), config)
        self.config = config
        names = Channels(config.inputs)
        self.vectors = [channel for found in names.vectors for channel in found]
        self.scalars = names.scalars
        self.mix = VectorMix(config.start)

    def seen(self, inputs: Mesh) -> Mesh:
        """Return vectors over their scale, and numbers."""
        vectors, numbers = inputs[:, self.vectors], inputs[:, self.scalars]
        return torch.cat([vectors / self.config.scale, numbers], dim=1)

    def completed(self, inputs: Mesh, correction: Mesh) -> Mesh:
        """Return displacement, and velocity over a H f [Mpc/h]."""
        return self.mix(inputs[:, self.vectors]) + self.config.correction_scale * correction
