"""A network that reads the velocity of an object's host off the fields along its line of sight."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.errors import InputError
from peculiar.fields.objects import DENSITIES, DISPERSION
from peculiar.models.registry import register

_SPEED, _SCATTER = 300.0, 100.0
"""About the spread of velocities, and of their errors [km/s]."""
_LARGEST_LOG_VARIANCE = 5.0
"""Of errors over `_SCATTER`, and less the least: 8 to 1200 km/s."""


KINDS = {"general": 0, "residual": 0, "Wiener filter": 1, "iterative FFT": 2}
"""Kinds of fields that are read, by the model that made them: how they fall short differs."""
_KINDS = max(KINDS.values()) + 1


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """Settings of `SightReader`.

    Parameters
    ----------
    places : int
        On each line of sight; odd, the middle is where the object is seen.
    reach : float
        Of places to either side [km/s].
    width : int
        Numbers in each of the two hidden layers.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    places: int = 33
    reach: float = 1600.0
    width: int = 96

    def __post_init__(self) -> None:
        if self.places < 3 or self.places % 2 == 0:
            raise InputError(f"reader.places must be odd and at least 3, got {self.places}")
        if not 0 < self.reach < inf:
            raise InputError(f"reader.reach must be > 0 and finite, got {self.reach}")
        if self.width < 1:
            raise InputError(f"reader.width must be at least 1, got {self.width}")


class Read(NamedTuple):
    """What is read of n objects along their lines of sight.

    Parameters
    ----------
    host : (n,) [km/s]
        Velocity of the halos that they live in.
    rest : (n,) [km^2/s^2]
        Its variance that is no error of the fields.
    own : (n,) [km/s]
        Their own velocity, which moves them to where they are seen.
    own_variance : (n,) [km^2/s^2]
        All of its variance.
    """

    host: Float[torch.Tensor, " n"]
    rest: Float[torch.Tensor, " n"]
    own: Float[torch.Tensor, " n"]
    own_variance: Float[torch.Tensor, " n"]


@register("reader", ReaderConfig)
class SightReader(nn.Module):
    """Velocity and density along lines of sight to the velocities of the objects seen there, and their errors.

    It corrects the means over the possible places (`peculiar.fields.objects.mean_along_sight`). Seen the other way
    round a line gives the same velocities with the other sign.

    Examples
    --------
    >>> network = SightReader(ReaderConfig(places=3, width=4))
    >>> network(torch.zeros(5, 3, 2), torch.tensor([[80.0, 2.3, 1.0]]).expand(5, 3)).own.shape
    torch.Size([5])
    """

    needed: torch.Tensor

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        # By NumPy: on the meta device, where networks are checked, torch's own imports its compiler for a second.
        needed = torch.tensor(np.linspace(config.reach, -config.reach, config.places), dtype=torch.float32)
        self.register_buffer("needed", needed, persistent=False)
        last = nn.Linear(config.width, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(2 * config.places + 7 + _KINDS, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            last,
        )

    def mean(self, profile: Float[torch.Tensor, "n place 2"]) -> Read:
        """Return the means over the possible places, and their variances there."""
        speed, log_density = profile.unbind(dim=2)
        growth = log_density.exp().clamp(*DENSITIES)
        missing = (self.needed - speed).square() / (2 * DISPERSION**2 * growth)
        weight = (log_density - 0.5 * growth.log() - missing).softmax(dim=1)
        found = []
        for velocity in (speed, self.needed.expand_as(speed)):
            mean = (weight * velocity).sum(dim=1)
            found += [mean, (weight * (velocity - mean[:, None]).square()).sum(dim=1)]
        return Read(*found)

    def forward(self, profile: Float[torch.Tensor, "n place 2"], told: Float[torch.Tensor, "n 3"]) -> Read:
        """Return the velocities along the lines of sight, and their variances.

        Parameters
        ----------
        profile : (n, place, 2)
            Velocity along the line of sight [km/s] and ln(1 + delta), as `peculiar.fields.profiles.profiles` has them.
        told : (n, 3)
            Error of the fields [km/s], NaN where they tell none, the size of the cells [Mpc/h], and the kind of the
            fields, of `KINDS`.
        """
        error, cell, kind = told.unbind(dim=1)
        start = self.mean(profile)
        known = torch.isfinite(error).to(start.host)
        of_fields = torch.where(known > 0, error, _SCATTER).clamp(min=1)
        spread = [(one.clamp(min=1) / _SCATTER**2).log() / 2 for one in (start.rest, start.own_variance)]
        kinds = nn.functional.one_hot(kind.long(), _KINDS).T.to(start.host)
        even = torch.stack([*spread, (of_fields / _SCATTER).log(), known, cell.log(), *kinds], dim=1)
        speed, log_density = profile.unbind(dim=2)
        means = torch.stack([start.host, start.own], dim=1)
        here = self.layers(torch.cat([torch.cat([speed, means], dim=1) / _SPEED, log_density, even], dim=1))
        back = torch.cat([speed.flip(1), means], dim=1) / -_SPEED
        there = self.layers(torch.cat([back, log_density.flip(1), even], dim=1))
        odd = _SPEED * (here[:, ::2] - there[:, ::2]) / 2
        log_variance = ((here[:, 1::2] + there[:, 1::2]) / 2).clamp(
            -_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE
        )
        rest, own_variance = (_SCATTER**2 * log_variance.exp()).unbind(dim=1)
        return Read(start.host + odd[:, 0], rest, start.own + odd[:, 1], own_variance)
