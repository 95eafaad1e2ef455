"""Conditions: numbers that tell a network under what circumstances its other channels were made.

A condition is one entry of `CONDITIONS`. Recipes name it in ``inputs.conditions``; training and use make its channel in
the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_validator

from peculiar.core import Box, Cosmology
from peculiar.core.channels import Channels
from peculiar.core.spheres import log_sigma

Task = Literal["reconstruct", "displace", "flow", "paint"]
"""What networks are for: tracers to fields, Lagrangian to N-body displacements, density to flow, density to halos."""


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What conditions are computed from.

    Parameters
    ----------
    cosmology : Cosmology
    redshift : float
    box : Box
        With its mesh; of particles one cell each.
    number_density : float, optional
        Of tracers, where the completeness is 1 [(h/Mpc)^3].
    completeness : (1, x, y, z), optional
        Expected fraction of that density; 1 where not given.
    bias : callable, optional
        Gives the bias of the tracers, measured when it is asked for.
    ranked : callable, optional
        Says whether the tracers' masses tell them apart.
    light_cone : callable, optional
        Gives a function of redshift at the epoch of each cell, (x, y, z); all cells have `redshift` where not given.
    """

    cosmology: Cosmology
    redshift: float
    box: Box
    number_density: float = 0.0
    completeness: Float[torch.Tensor, "1 x y z"] | None = None
    bias: Callable[[], float] = lambda: 1.0
    ranked: Callable[[], bool] = lambda: False
    light_cone: Callable[[Callable[[float], float]], Value] | None = None

    def at_epoch(self, function: Callable[[float], float]) -> Value:
        """Return a function of redshift at the epoch of each cell."""
        return function(self.redshift) if self.light_cone is None else self.light_cone(function)


Value = float | Float[torch.Tensor, "..."]


@dataclass(frozen=True)
class Condition:
    """A number of order one that is the same in every cell, or a mesh; `of_tracers` where matter alone has none."""

    value: Callable[[Circumstances], Value]
    of_tracers: bool = False


def _matter_density(given: Circumstances) -> Value:
    """Omega_m at the redshift, less 0.3."""
    return given.at_epoch(lambda z: given.cosmology.matter_share(z) - 0.3)


def _growth(given: Circumstances) -> Value:
    """Logarithm of sigma8 times the growth factor: the linear amplitude at the redshift."""
    cosmology = given.cosmology
    return given.at_epoch(lambda z: math.log(cosmology.sigma8 * cosmology.growth(z)))


def _density(given: Circumstances) -> Value:
    """ln(1 + tracers expected in a cell)."""
    fraction = torch.ones(1, 1, 1, 1) if given.completeness is None else given.completeness
    return torch.log1p(given.number_density * given.box.cell_size**3 * fraction)


def _peak(given: Circumstances) -> Value:
    """ln of the rms linear density in spheres of 10^13 Msun/h, over 0.3: it tells how biased halos are."""
    return given.at_epoch(lambda z: float(log_sigma(1e13, given.cosmology, z)) / 0.3)


def _steepness(given: Circumstances) -> Value:
    """ln of the ratio of that rms at 10^12 to that at 10^14 Msun/h, less 0.82, over 0.05: its spread, as 0.3 above."""
    ratio = log_sigma(1e12, given.cosmology, 0.0) - log_sigma(1e14, given.cosmology, 0.0)
    return (float(ratio) - 0.82) / 0.05


CONDITIONS: Mapping[str, Condition] = {
    "redshift": Condition(lambda given: given.at_epoch(float)),
    "Omega_m": Condition(_matter_density),
    "growth": Condition(_growth),
    "peak": Condition(_peak),
    "steepness": Condition(_steepness),
    "cell": Condition(lambda given: math.log(given.box.cell_size)),  # ln(Mpc/h)
    "density": Condition(_density, of_tracers=True),
    "bias": Condition(lambda given: math.log(given.bias()), of_tracers=True),
    "ranked": Condition(lambda given: float(given.ranked()), of_tracers=True),
}


class NetworkInputs(BaseModel):
    """Which channels a network sees; part of its model card. Its `conditions` come after all others."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: ClassVar[Task]
    with_tracers: ClassVar[bool] = True
    conditions: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels that are not named in `conditions`."""
        raise NotImplementedError

    @property
    def names(self) -> Channels:
        """Names of all channels."""
        return Channels((*self.own, *self.conditions))

    @property
    def vectors(self) -> tuple[tuple[int, int, int], ...]:
        """Channels that are the components of one vector."""
        return self.names.vectors

    @property
    def tables(self) -> dict[str, str]:
        """Checksums of the tables of numbers that the channels are made with, by name."""
        return {}

    @model_validator(mode="after")
    def _conditions(self) -> Self:
        known = [name for name, one in CONDITIONS.items() if self.with_tracers or not one.of_tracers]
        for name in self.conditions:
            if name not in known:
                raise ValueError(
                    f"conditions must be among {', '.join(known)} for these inputs, got {name!r}"
                )
            if self.names.count(name) > 1:
                raise ValueError(f"conditions must be channels that are not there yet, got {name!r} again")
        return self


def condition_channels(
    names: tuple[str, ...], given: Circumstances, *, device: torch.device | str | None = None
) -> Float[torch.Tensor, "condition x y z"]:
    """Return the channels of conditions on the mesh of a box.

    Examples
    --------
    >>> given = Circumstances(Cosmology(Omega_m=0.3), redshift=0.5, box=Box(100.0, 4))
    >>> condition_channels(("redshift", "cell"), given)[:, 0, 0, 0]
    tensor([0.5000, 3.2189])
    """
    shape = (1, *given.box.shape)
    values = [torch.as_tensor(CONDITIONS[name].value(given), dtype=torch.float32) for name in names]
    return torch.cat([torch.empty(0, *shape[1:]), *(value.expand(shape) for value in values)]).to(device)
