"""Our variant: a residual U-Net that corrects a classical reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import torch

from peculiar.core.channels import Channels, require_vector
from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, MOMENTUM, OUTPUTS, VELOCITY
from peculiar.models.registry import register
from peculiar.models.unet import ResidualUNet, UNetShape

LARGEST_LOG_DENSITY = 8.0
"""Keeps the momentum finite early in training; cells of a few Mpc/h reach about 7."""


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(UNetShape):
    """Settings of `ResidualReconstructor`, beside those of `UNetShape`.

    Parameters
    ----------
    inputs : tuple of str
        Names of the input channels.
    input_scale : dict of float
        Input channels are divided by these; 1 where not given. A name stands for a channel or a vector.
    output_scale : dict of float
        Output channels are multiplied by these; 1 where not given.
    velocity : str
        Input vector with the velocity over a H f [Mpc/h] that the network corrects.
    gains : tuple of str
        Input vectors that are also multiplied by an output each and added to the velocity: the amplitude of a
        classical flow depends on tracers that it does not know.

    Raises
    ------
    InputError
        If a number is out of range, or a name is that of no channel.
    """

    inputs: tuple[str, ...]
    input_scale: dict[str, float] = field(default_factory=dict)
    output_scale: dict[str, float] = field(default_factory=dict)
    velocity: str = "wiener_velocity"
    gains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 < scale < inf for scale in (*self.input_scale.values(), *self.output_scale.values())):
            raise InputError("residual.input_scale and output_scale must be > 0 and finite")
        names = Channels(self.inputs)
        names.values(self.input_scale, default=1.0)
        OUTPUTS.values(self.output_scale, default=1.0)
        for name in (self.velocity, *self.gains):
            require_vector(names, name)


@register("residual", ResidualConfig)
class ResidualReconstructor(ResidualUNet):
    """`ResidualUNet` from tracers' channels to density, velocity and momentum.

    Before training its velocity is that of the inputs.

    Examples
    --------
    >>> from peculiar.core.channels import vector
    >>> inputs = ("tracers", *vector("flow"))
    >>> network = ResidualReconstructor(ResidualConfig(inputs=inputs, velocity="flow", width=4, levels=2))
    >>> network(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 7, 8, 8, 8])
    """

    input_scale: torch.Tensor
    output_scale: torch.Tensor

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(len(config.inputs), len(OUTPUTS) + len(config.gains), config)
        self.config = config
        names = Channels(config.inputs)
        self.velocity, *self.gains = (names.of(name) for name in (config.velocity, *config.gains))
        for scale, channels, given in (
            ("input_scale", names, config.input_scale),
            ("output_scale", OUTPUTS, config.output_scale),
        ):
            values = torch.tensor(channels.values(given, default=1.0)).view(1, -1, 1, 1, 1)
            self.register_buffer(scale, values, persistent=False)

    def seen(self, inputs: Mesh) -> Mesh:
        """Return the inputs over their scales."""
        return inputs / self.input_scale

    def completed(self, inputs: Mesh, correction: Mesh) -> Mesh:
        """Return density, velocity and momentum, as `peculiar.models.channels.OUTPUTS`.

        The velocity is that of the inputs plus a correction; the momentum is the density times the velocity plus a
        correction for their small-scale correlation.
        """
        outputs, gains = correction[:, : len(OUTPUTS)] * self.output_scale, correction[:, len(OUTPUTS) :]
        logarithm = outputs[:, DENSITY]
        velocity = outputs[:, VELOCITY] + inputs[:, self.velocity].float()
        for i, vector_of_inputs in enumerate(self.gains):
            velocity = velocity + gains[:, i : i + 1] * inputs[:, vector_of_inputs].float()
        rho = logarithm.clamp(max=LARGEST_LOG_DENSITY).exp() - DENSITY_FLOOR
        # The momentum's error is noisy: it teaches its own correction, not the density and velocity.
        momentum = rho.detach() * (velocity.detach() + outputs[:, MOMENTUM])
        return torch.cat([logarithm, velocity, momentum], dim=1)
