"""Our emulator of what a few steps of a particle mesh leave out of each particle's displacement and velocity."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.channels import Channels, require_vector
from peculiar.core.errors import InputError
from peculiar.models.blocks import Mesh
from peculiar.models.channels import DISPLACEMENT_OUTPUTS
from peculiar.models.registry import register
from peculiar.models.unet import ResidualUNet, UNetShape

_GAIN = 0.1
"""Of the weights of vectors: known to a hundredth, they would move particles by more than these are to be corrected."""


@dataclass(frozen=True, kw_only=True)
class FewStepsConfig(UNetShape):
    """Settings of `FewSteps`, beside those of `UNetShape`.

    Parameters
    ----------
    inputs : tuple of str
        Names of the input channels: the vectors "moved" and "moving" [Mpc/h], others, and numbers of order one, among
        them "growth".
    slopes : dict of float
        How the logarithm of the particle mesh's error goes with the numbers, by their names.
    correction_scale : float
        That error where the numbers are zero [Mpc/h].
    scale, difference_scale : float
        Typical displacement, and difference of a vector from it, where "growth" is zero [Mpc/h]; they go as D and D^2.

    Raises
    ------
    InputError
        If a vector or number is missing, a scale is not > 0, or a slope is of no number.
    """

    inputs: tuple[str, ...]
    slopes: dict[str, float] = field(default_factory=dict)
    correction_scale: float = 1.0
    scale: float = 6.0
    difference_scale: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        names = Channels(self.inputs)
        for name in ("moved", "moving"):
            require_vector(names, name)
        numbers = [names[channel] for channel in names.scalars]
        if "growth" not in numbers or not set(self.slopes) <= set(numbers):
            raise InputError(
                f"few-steps.slopes and 'growth' must be of the numbers {', '.join(numbers) or 'none'}, got "
                f"{', '.join(self.slopes) or 'no slopes'}"
            )
        if not min(self.scale, self.difference_scale, self.correction_scale) > 0:
            raise InputError("few-steps.scale, difference_scale and correction_scale must be > 0 Mpc/h")


@register("few-steps", FewStepsConfig)
class FewSteps(ResidualUNet):
    """Displacement and velocity of a few steps, weighted differences of the vectors, and a residual U-Net's correction.

    The weights are linear in the input numbers, and the U's output is multiplied by the size that the error has. The U
    sees the same differences from what is corrected, which half precision would lose. Before training, the steps stay
    as they are.

    Examples
    --------
    >>> from peculiar.core.channels import vector
    >>> inputs = (*vector("moved"), *vector("moving"), "steps", "growth")
    >>> FewSteps(FewStepsConfig(inputs=inputs, slopes={"steps": -1.5}, width=4))(torch.zeros(1, 8, 8, 8, 8)).shape
    torch.Size([1, 6, 8, 8, 8])
    """

    outputs = DISPLACEMENT_OUTPUTS
    slopes: torch.Tensor

    def __init__(self, config: FewStepsConfig) -> None:
        super().__init__(len(config.inputs), len(DISPLACEMENT_OUTPUTS), config)
        self.config = config
        names = Channels(config.inputs)
        self.moved, self.moving = names.of("moved"), names.of("moving")
        self.others = [
            channel for found in names.vectors if found[0] != self.moved.start for channel in found
        ]
        self.numbers, self.growth = names.scalars, names.index("growth")
        self.weight = nn.Parameter(torch.zeros(len(self.numbers) + 1, 2, len(self.others) // 3))
        slopes = [config.slopes.get(names[channel], 0.0) for channel in self.numbers]
        self.register_buffer("slopes", torch.tensor(slopes), persistent=False)

    def _differences(self, inputs: Mesh) -> Mesh:
        return inputs[:, self.others] - inputs[:, self.moved].repeat(1, len(self.others) // 3, 1, 1, 1)

    def seen(self, inputs: Mesh) -> Mesh:
        """Return the displacement and the others' differences from it, over their scales, and numbers."""
        growth = inputs[:, self.growth : self.growth + 1].exp()
        first = inputs[:, self.moved] / (self.config.scale * growth)
        others = self._differences(inputs) / (self.config.difference_scale * growth.square())
        return torch.cat([first, others, inputs[:, self.numbers]], dim=1)

    def completed(self, inputs: Mesh, correction: Mesh) -> Mesh:
        """Return displacement, and velocity over a H f [Mpc/h]."""
        numbers, differences = inputs[:, self.numbers].float(), self._differences(inputs).float()
        parts = []
        for output, start in enumerate((self.moved, self.moving)):
            part = inputs[:, start].float()
            for i, (constant, *rest) in enumerate(self.weight[:, output].unbind(1)):
                weight = _GAIN * (constant + _summed(numbers, torch.stack(rest)))
                part = part + weight * differences[:, 3 * i : 3 * i + 3]
            parts.append(part)
        size = self.config.correction_scale * _summed(numbers, self.slopes).exp()
        return torch.cat(parts, dim=1) + size * correction


def _summed(numbers: Mesh, weights: Float[torch.Tensor, " number"]) -> Mesh:
    """Return the weighted sum of channels in float32, one channel."""
    return (numbers * weights.float()[:, None, None, None]).sum(dim=1, keepdim=True)
