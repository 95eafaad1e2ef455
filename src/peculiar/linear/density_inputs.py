"""What density-to-velocity networks see of a density."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, field_validator

from peculiar.core import Field, InputError
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import k_squared, to_fourier
from peculiar.fields.smooth import gaussian_window


class DensityInputs(BaseModel):
    """Which channels a density-to-velocity network sees; part of its model card.

    ln(rho + 1) with rho = 1 + delta (eq. 1 of Wu et al. 2021), and for each radius the linear velocity over a H f
    [Mpc/h] of the density smoothed by a Gaussian: three channels, made of the whole mesh, that bring what lies beyond
    the network's reach.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["density"] = "density"
    smoothing: tuple[float, ...] = ()

    @field_validator("smoothing")
    @classmethod
    def _not_negative(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        if any(radius < 0 for radius in radii):
            raise ValueError("smoothing must be >= 0 Mpc/h")
        return radii

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("log_rho", *(f"linear_{radius:g}_{axis}" for radius in self.smoothing for axis in "xyz"))

    @property
    def vectors(self) -> tuple[tuple[int, int, int], ...]:
        """Channels that are the components of one vector."""
        return tuple((3 * i + 1, 3 * i + 2, 3 * i + 3) for i in range(len(self.smoothing)))


def density_inputs(density: Field, spec: DensityInputs) -> Float[torch.Tensor, "channel x y z"]:
    """Return a network's input channels, as `DensityInputs.names`, of a periodic overdensity.

    Raises
    ------
    InputError
        If the field has more than one channel, its box is not periodic, or it is below -1.
    """
    require_overdensity(density)
    delta = density.data
    channels = [torch.log1p((1 + delta).clamp(min=0))]
    if spec.smoothing:
        delta_k, k2 = to_fourier(delta[0]), k_squared(density.box, delta.device)
        channels += [
            displacement_from_fourier(delta_k * gaussian_window(k2, radius), density.box)
            for radius in spec.smoothing
        ]
    return torch.cat(channels)


def require_overdensity(density: Field) -> None:
    """Raise InputError unless a field is one channel in a periodic box, at least -1."""
    delta = density.data
    if len(delta) != 1 or not density.box.periodic:
        raise InputError(
            f"density must be one channel in a periodic box, got {len(delta)} channels in {density.box}"
        )
    if float(delta.min()) < -1.001:
        raise InputError(f"density must be an overdensity >= -1, got {float(delta.min()):.4g}: subtract 1?")
