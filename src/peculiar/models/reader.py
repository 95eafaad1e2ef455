"""A network that reads the velocity of an object's host off the fields along its line of sight."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.errors import InputError
from peculiar.models.registry import register

_SPEED, _SCATTER = 300.0, 100.0
"""About the spread of velocities, and of their errors [km/s]."""
_LARGEST_LOG_VARIANCE = 5.0
"""Of errors over `_SCATTER`, and less the least: 8 to 1200 km/s."""


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """Settings of `SightReader`.

    Parameters
    ----------
    places : int
        On each line of sight; odd, the middle is where the object is seen.
    width : int
        Numbers in each of the two hidden layers.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    places: int = 33
    width: int = 96

    def __post_init__(self) -> None:
        if self.places < 3 or self.places % 2 == 0:
            raise InputError(f"reader.places must be odd and at least 3, got {self.places}")
        if not 1 <= self.width < inf:
            raise InputError(f"reader.width must be at least 1, got {self.width}")


@register("reader", ReaderConfig)
class SightReader(nn.Module):
    """Velocity and density along lines of sight to the velocity of the hosts of the objects seen there, and its error.

    A correction to the mean over the possible places, which it is told. Seen the other way round a line gives the same
    velocity with the other sign.

    Examples
    --------
    >>> network = SightReader(ReaderConfig(places=3, width=4))
    >>> along, variance = network(torch.zeros(5, 3, 2), torch.zeros(5, 4))
    >>> along.shape, variance.shape
    (torch.Size([5]), torch.Size([5]))
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        last = nn.Linear(config.width, 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(2 * config.places + 5, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            last,
        )

    def forward(
        self, profile: Float[torch.Tensor, "n place 2"], told: Float[torch.Tensor, "n 4"]
    ) -> tuple[Float[torch.Tensor, " n"], Float[torch.Tensor, " n"]]:
        """Return the velocity along the line of sight [km/s], and the variance that is no error of the fields.

        Parameters
        ----------
        profile : (n, place, 2)
            Velocity along the line of sight [km/s] and ln(1 + delta), as `peculiar.fields.profiles.profiles` has them.
        told : (n, 4)
            Mean velocity over the possible places, its scatter, the error of the fields there (NaN where they tell
            none) [km/s], and the size of the cells [Mpc/h].
        """
        mean, scatter, error, cell = told.unbind(dim=1)
        known = torch.isfinite(error).to(mean)
        of_fields = torch.where(known > 0, error, _SCATTER).clamp(min=1)
        even = torch.stack(
            [(scatter.clamp(min=1) / _SCATTER).log(), (of_fields / _SCATTER).log(), known, cell.log()], dim=1
        )
        speeds = torch.cat([profile[..., 0], mean[:, None]], dim=1) / _SPEED
        density = profile[..., 1]
        here = self.layers(torch.cat([speeds, density, even], dim=1))
        back = torch.cat([-profile.flip(1)[..., 0], -mean[:, None]], dim=1) / _SPEED
        there = self.layers(torch.cat([back, density.flip(1), even], dim=1))
        along = mean + _SPEED * (here[:, 0] - there[:, 0]) / 2
        log_variance = ((here[:, 1] + there[:, 1]) / 2).clamp(-_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        return along, _SCATTER**2 * log_variance.exp()
