"""Our network for any catalogue: a residual U-Net that corrects the Wiener filter, and knows how well it can."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import torch

from peculiar.core.channels import Channels, require_vector
from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import (
    DENSITY,
    DENSITY_FLOOR,
    LIKELIHOOD_OUTPUTS,
    LOG_VARIANCE,
    MOMENTUM,
    VELOCITY,
)
from peculiar.models.registry import register
from peculiar.models.residual import LARGEST_LOG_DENSITY
from peculiar.models.unet import ResidualUNet, UNetShape

LARGEST_LOG_VARIANCE = 6.0
"""Of velocities over a H f, ln (Mpc/h)^2, and less the least: errors lie between 0.05 and 20 Mpc/h."""


@dataclass(frozen=True, kw_only=True)
class GeneralConfig(UNetShape):
    """Settings of `GeneralReconstructor`, beside those of `UNetShape`.

    Parameters
    ----------
    inputs : tuple of str
        Names of the input channels.
    input_mean, input_scale : dict of float
        Input channels are seen less the former, 0 where not given, over the latter, 1 where not given. A name stands
        for a channel or a vector.
    output_scale : dict of float
        Output channels are multiplied by these; 1 where not given.
    velocity : str
        Input vector with the velocity over a H f [Mpc/h] that the network corrects.
    conditions : tuple of str
        Input channels that modulate the blocks of the coarser meshes.

    Raises
    ------
    InputError
        If a number is out of range, or a name is that of no channel.
    """

    inputs: tuple[str, ...]
    input_mean: dict[str, float] = field(default_factory=dict)
    input_scale: dict[str, float] = field(default_factory=dict)
    output_scale: dict[str, float] = field(default_factory=dict)
    velocity: str = "wiener_velocity"
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 < scale < inf for scale in (*self.input_scale.values(), *self.output_scale.values())):
            raise InputError("general.input_scale and output_scale must be > 0 and finite")
        names = Channels(self.inputs)
        names.values(self.input_mean, default=0.0)
        names.values(self.input_scale, default=1.0)
        LIKELIHOOD_OUTPUTS.values(self.output_scale, default=1.0)
        require_vector(names, self.velocity)
        for name in self.conditions:
            names.of(name)


@register("general", GeneralConfig)
class GeneralReconstructor(ResidualUNet):
    """`ResidualUNet` from tracers and a linear estimate to density, velocity and momentum, with their errors.

    Before training its velocities are that of the inputs, with an error of 1 Mpc/h.

    Examples
    --------
    >>> from peculiar.core.channels import vector
    >>> inputs = ("tracers", *vector("wiener_velocity"))
    >>> network = GeneralReconstructor(GeneralConfig(inputs=inputs, width=4, levels=2))
    >>> network(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 9, 8, 8, 8])
    """

    outputs = LIKELIHOOD_OUTPUTS
    input_mean: torch.Tensor
    input_scale: torch.Tensor
    output_scale: torch.Tensor

    def __init__(self, config: GeneralConfig) -> None:
        names = Channels(config.inputs)
        conditions = [names.index(name) for name in config.conditions]
        super().__init__(len(config.inputs), len(LIKELIHOOD_OUTPUTS), config, conditions=conditions)
        self.config = config
        self.velocity = names.of(config.velocity)
        for name, values in (
            ("input_mean", names.values(config.input_mean, default=0.0)),
            ("input_scale", names.values(config.input_scale, default=1.0)),
            ("output_scale", LIKELIHOOD_OUTPUTS.values(config.output_scale, default=1.0)),
        ):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1, 1), persistent=False)

    def seen(self, inputs: Mesh) -> Mesh:
        """Return the inputs less their means, over their scales."""
        return torch.sub(inputs, self.input_mean).div_(self.input_scale)

    def completed(self, inputs: Mesh, correction: Mesh) -> Mesh:
        """Return what `peculiar.models.channels.LIKELIHOOD_OUTPUTS` names.

        The velocity is that of the inputs plus a correction; the momentum is the density times the velocity plus a
        correction for their small-scale correlation.
        """
        found = correction * self.output_scale
        velocity = found[:, VELOCITY] + inputs[:, self.velocity].float()
        rho = found[:, DENSITY].clamp(max=LARGEST_LOG_DENSITY).exp() - DENSITY_FLOOR
        # Momentum is noisy: it teaches its own correction, not the density and velocity.
        momentum = rho.detach() * (velocity.detach() + found[:, MOMENTUM])
        variance = found[:, LOG_VARIANCE].clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        return torch.cat([found[:, DENSITY], velocity, momentum, variance], dim=1)
