"""What the channels of a network's output mean, and the way to and from physical fields.

Velocities inside networks are v / (a H f) in Mpc/h (the linear displacement), so that one network serves other
redshifts and cosmologies to first order; densities are ln(1 + delta + floor), which is finite in empty cells.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

OUTPUT_NAMES = ("log_density", "vx", "vy", "vz", "mx", "my", "mz")
"""Log density, velocity / (a H f) [Mpc/h], momentum (1 + delta) v / (a H f) [Mpc/h]."""

OUTPUT_CHANNELS = len(OUTPUT_NAMES)
OUTPUT_VECTORS = ((1, 2, 3), (4, 5, 6))
"""Channels that are the components of one vector."""

DENSITY, VELOCITY, MOMENTUM = slice(0, 1), slice(1, 4), slice(4, 7)

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
