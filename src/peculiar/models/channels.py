"""What the channels of a network's output mean, and the way to and from physical fields.

Velocities inside networks are v / (a H f) in Mpc/h (the linear displacement), so that one network serves other
redshifts and cosmologies to first order; densities are ln(1 + delta + floor), which is finite in empty cells.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.channels import Channels, vector

OUTPUTS = Channels(("log_density", *vector("velocity"), *vector("momentum")))
"""Log density, velocity / (a H f) [Mpc/h], momentum (1 + delta) v / (a H f) [Mpc/h]."""

LIKELIHOOD_OUTPUTS = Channels((*OUTPUTS, "log_variance_along", "log_variance_across"))
"""Those, with the logarithm of the velocity's variance along the line of sight and along each axis across it."""

FLOW_OUTPUTS = Channels((*vector("velocity"), *vector("momentum")))
"""The same of networks that are given the density."""
DISPLACEMENT_OUTPUTS = Channels((*vector("displacement"), *vector("velocity")))
"""Displacement and velocity / (a H f) of particles [Mpc/h]."""
LOG_RHO = "log_rho"
"""Name of the input channel ln(rho + 1) with rho = 1 + delta."""

LOG_VARIANCE = LIKELIHOOD_OUTPUTS.of("log_variance")
DENSITY, VELOCITY, MOMENTUM = (OUTPUTS.of(name) for name in ("log_density", "velocity", "momentum"))

DENSITY_FLOOR = 0.05
"""Added to 1 + delta before the logarithm: about one particle per cell at 20 particles per cell."""


def log_density(
    delta: Float[torch.Tensor, "..."], *, floor: float = DENSITY_FLOOR
) -> Float[torch.Tensor, "..."]:
    """ln(1 + delta + floor) of an overdensity; 1 + delta below zero counts as empty."""
    return torch.log((1 + delta).clamp(min=0) + floor)


def overdensity(
    logarithm: Float[torch.Tensor, "..."], *, floor: float = DENSITY_FLOOR
) -> Float[torch.Tensor, "..."]:
    """Overdensity of a log density, never below -1; the inverse of `log_density`."""
    return (torch.exp(logarithm) - floor).clamp(min=0) - 1


def outputs_of(network: nn.Module) -> Channels:
    """Return the names of a network's output channels: what it says, or `OUTPUTS`."""
    found = getattr(network, "outputs", OUTPUTS)
    assert isinstance(found, Channels)
    return found


def rho_of(inputs: Float[torch.Tensor, "batch channel x y z"], names: Channels) -> torch.Tensor:
    """1 + delta, (batch, 1, x, y, z), from the input channel ln(rho + 1)."""
    return torch.expm1(inputs[:, names.of(LOG_RHO)].float())


def encode(
    delta: Float[torch.Tensor, "1 x y z"],
    velocity: Float[torch.Tensor, "3 x y z"],
    momentum: Float[torch.Tensor, "3 x y z"],
    *,
    velocity_factor: float,
    floor: float = DENSITY_FLOOR,
) -> Float[torch.Tensor, "7 x y z"]:
    """Turn physical fields into a network's target channels.

    Parameters
    ----------
    delta : (1, x, y, z)
        Overdensity.
    velocity, momentum : (3, x, y, z) [km/s]
    velocity_factor : float
        a H f [km/s per Mpc/h].
    floor : float
        See `log_density`.
    """
    return torch.cat(
        [log_density(delta, floor=floor), velocity / velocity_factor, momentum / velocity_factor]
    )


def decode(
    outputs: Float[torch.Tensor, "7 x y z"], *, velocity_factor: float, floor: float = DENSITY_FLOOR
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Turn a network's output channels into overdensity, velocity [km/s] and momentum [km/s]; inverts `encode`."""
    return (
        overdensity(outputs[DENSITY], floor=floor),
        outputs[VELOCITY] * velocity_factor,
        outputs[MOMENTUM] * velocity_factor,
    )
