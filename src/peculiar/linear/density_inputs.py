"""What density-to-velocity networks see of a density."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import field_validator

from peculiar.core import Cosmology, Field, InputError
from peculiar.core.channels import vector
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.conditions import Circumstances, NetworkInputs, condition_channels
from peculiar.fields.fourier import k_squared, to_fourier
from peculiar.fields.smooth import gaussian_window


class DensityInputs(NetworkInputs):
    """Which channels a density-to-velocity network sees; part of its model card.

    ln(rho + 1) with rho = 1 + delta (eq. 1 of Wu et al. 2021), and for each radius the linear velocity over a H f
    [Mpc/h] of the density smoothed by a Gaussian: three channels, made of the whole mesh, that bring what lies beyond
    the network's reach.
    """

    task = "flow"
    with_tracers = False
    kind: Literal["density"] = "density"
    smoothing: tuple[float, ...] = ()

    @field_validator("smoothing")
    @classmethod
    def _not_negative(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        if any(radius < 0 for radius in radii):
            raise ValueError("smoothing must be >= 0 Mpc/h")
        return radii

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels but conditions."""
        linear = (vector(f"linear_{radius:g}") for radius in self.smoothing)
        return ("log_rho", *(name for names in linear for name in names))


def density_inputs(
    density: Field, spec: DensityInputs, *, cosmology: Cosmology, redshift: float
) -> Float[torch.Tensor, "channel x y z"]:
    """Return a network's input channels, as `DensityInputs.names`, of a periodic overdensity.

    Cosmology and redshift are those of its conditions.

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
    given = Circumstances(cosmology, redshift, density.box)
    return torch.cat([*channels, condition_channels(spec.conditions, given, device=delta.device)])


def require_overdensity(density: Field) -> None:
    """Raise InputError unless a field is one channel in a periodic box, at least -1."""
    delta = density.data
    if len(delta) != 1 or not density.box.periodic:
        raise InputError(
            f"density must be one channel in a periodic box, got {len(delta)} channels in {density.box}"
        )
    if float(delta.min()) < -1.001:
        raise InputError(f"density must be an overdensity >= -1, got {float(delta.min()):.4g}: subtract 1?")
