"""From counts of halos in cells to a catalogue: masses, positions and velocities measured on simulated halos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.readout import readout
from peculiar.fields.calculus import gradient
from peculiar.fields.smooth import gaussian
from peculiar.simulate.matter import MatterFields
from peculiar.simulate.placement import place, sharpen
from peculiar.simulate.satellites import Members

MEMBER_MASS = 1e13
"""Of the halo that spread and dispersion of members are given for [Msun/h]."""
INFALL_SMOOTHING = 0.4
"""Of the density that halos fall along the gradient of [cells]."""


class HaloProperties(BaseModel):
    """What halos have beyond their number in a cell; part of a painter's model card.

    Masses in Msun/h, velocities in km/s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mass_quantiles: tuple[tuple[float, ...], ...] = Setting(
        description="for each bin, the lightest first: masses at equal steps of the cumulative distribution"
    )
    position_exponent: tuple[float, ...] = Setting(
        description="for each bin: power of 1 + delta that places in a cell are drawn in proportion to"
    )
    log_density: tuple[float, ...] = Setting(description="nodes of ln(2 + delta) of the 2LPT density")
    velocity_slope: tuple[float, ...] = Setting(description="halos' velocity over that of 2LPT, at the nodes")
    velocity_infall: tuple[float, ...] = Setting(
        description="velocity over the gradient of ln(1 + delta), at the nodes [km/s Mpc/h]"
    )
    velocity_dispersion: tuple[float, ...] = Setting(
        description="standard deviation of a component of the rest, at the nodes [km/s]"
    )
    velocity_coherence: float = Setting(
        ge=0, le=1, description="correlation of the rest between halos closer than half a cell"
    )

    member_spread: float = Setting(
        ge=0, description="standard deviation of a component of members' distances in a halo of 1e13 [Mpc/h]"
    )
    member_dispersion: float = Setting(
        ge=0, description="standard deviation of a component of members' velocities in such a halo [km/s]"
    )

    @model_validator(mode="after")
    def _usable(self) -> HaloProperties:
        if any(len(masses) < 2 or any(b < a for a, b in pairwise(masses)) for masses in self.mass_quantiles):
            raise ValueError("mass_quantiles must hold at least two masses for each bin, and rise")
        if len(self.position_exponent) != len(self.mass_quantiles):
            raise ValueError("position_exponent must hold one number for each bin of mass_quantiles")
        nodes = (self.log_density, self.velocity_slope, self.velocity_infall, self.velocity_dispersion)
        if len({len(values) for values in nodes}) != 1 or not self.log_density:
            raise ValueError(
                "log_density, velocity_slope, velocity_infall and velocity_dispersion must have one length, at least 1"
            )
        if any(b <= a for a, b in pairwise(self.log_density)):
            raise ValueError("log_density must rise")
        return self

    def moved(self, flow: float, motion: float) -> Self:
        """Return the properties with velocities by other factors: those of halos, and those in halos."""
        update = {
            "velocity_infall": tuple(flow * value for value in self.velocity_infall),
            "velocity_dispersion": tuple(flow * value for value in self.velocity_dispersion),
            "member_dispersion": motion * self.member_dispersion,
        }
        return self.model_copy(update=update)


def flow_scale(cosmology: Cosmology, redshift: float) -> float:
    """Velocity that halos' velocities are measured by, a H f sigma8(z) [km/s per Mpc/h]."""
    return cosmology.velocity_factor(redshift) * cosmology.sigma8 * cosmology.growth(redshift)


def motion_scale(cosmology: Cosmology, redshift: float) -> float:
    """Velocity in halos of one mass and one mean density over that of matter, but for a constant."""
    return cosmology.Omega_m ** (1 / 6) * (1 + redshift) ** 0.5


@dataclass(frozen=True)
class Guides:
    """What tells halos their places and velocities: fields on a mesh and what follows from them.

    Parameters
    ----------
    fields : MatterFields
    sharp : Field
        The density as `sharpen` gives it.
    pull : Field
        Gradient of ln(1 + delta), delta smoothed by 0.4 cells and at least -0.9 [h/Mpc].
    """

    fields: MatterFields
    sharp: Field
    pull: Field

    @classmethod
    def of(cls, fields: MatterFields) -> Guides:
        """Derive them from the fields of a periodic box with an even mesh."""
        density = fields.density
        smooth = gaussian(density, INFALL_SMOOTHING * density.box.cell_size)
        logarithm = torch.log1p(smooth.data.clamp(min=-0.9))
        return cls(fields, sharpen(density), gradient(density.replace(data=logarithm)))

    def at(
        self, positions: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3 2"]]:
        """Return ln(2 + delta), and the velocity [km/s] beside the pull [h/Mpc], at positions [Mpc/h]."""
        box = self.fields.density.box
        density, velocity, pull = (
            readout(field.data, positions, box).numpy()
            for field in (self.fields.density, self.fields.velocity, self.pull)
        )
        return np.log1p(np.maximum(1 + density[:, 0], 0)), np.stack([velocity, pull], axis=2)


def populate(
    counts: Float[torch.Tensor, "bins x y z"],
    fields: MatterFields,
    properties: HaloProperties,
    *,
    seed: int,
    redshift: float,
) -> Catalogue:
    """Give halos counted in cells masses, positions and velocities, in real space.

    A mass is drawn from the simulated halos of its bin. A position is drawn in the cell, in proportion to a power of
    the density, see `place`. A velocity is that of 2LPT times a slope, plus an infall along the gradient of
    ln(1 + delta), plus a Gaussian part; their strengths depend on the density, and a share of the Gaussian part is
    common to neighbours.

    Parameters
    ----------
    counts : (bins, x, y, z)
        Whole numbers, on the mesh of the fields; bins as in `properties`, the lightest first.
    fields : MatterFields
        Density and velocity of the periodic box that was painted, with an even mesh.
    properties : HaloProperties
    seed : int
    redshift : float

    Raises
    ------
    InputError
        If counts and properties differ in their bins, or there is no halo.
    """
    if len(counts) != len(properties.mass_quantiles):
        raise InputError(
            f"counts must have {len(properties.mass_quantiles)} mass bins like the properties, got {len(counts)}"
        )
    box = fields.density.box
    random = np.random.default_rng([seed, 2019])
    numbers = counts.cpu().numpy().astype(np.int64).reshape(len(counts), -1)
    if not numbers.any():
        raise InputError(
            f"counts must hold at least one halo, got none in a box of {box.side:g} Mpc/h at z = {redshift:g}: take a "
            "larger box or a lower redshift"
        )
    steps = np.linspace(0, 1, len(properties.mass_quantiles[0]))
    cells = [np.repeat(np.arange(box.mesh**3), row) for row in numbers]
    masses = [
        np.exp(np.interp(random.random(len(row)), steps, np.log(quantiles)))
        for row, quantiles in zip(cells, properties.mass_quantiles, strict=True)
    ]
    exponents = np.repeat(properties.position_exponent, [len(row) for row in cells])
    guides = Guides.of(fields)
    positions = place(np.concatenate(cells), exponents, guides.sharp, random=random)
    mean, rest = halo_velocities(positions, guides, properties, random)
    return Catalogue(
        positions=positions,
        box=Box(box.side, origin=box.origin),
        redshift=redshift,
        space="real",
        velocities=mean + rest,
        masses=np.concatenate(masses),
    )


def draw_members(
    masses: Float[np.ndarray, " n"],
    properties: HaloProperties,
    *,
    seed: int,
    lightest: float = 0.0,
    fewest: int = 4,
    most: int = 512,
) -> Members:
    """Draw particles that satellites can stand on, for halos of given masses.

    Distances and velocities are Gaussian and grow with mass^(1/3). Their numbers are those of `sample_members`.

    Parameters
    ----------
    masses : (n,) [Msun/h]
    properties : HaloProperties
    seed : int
    lightest : float
        Lightest halo that gets members [Msun/h].
    fewest, most : int
        Members of a halo; those of a halo of mass M are M over the smallest such mass where that is between.
    """
    random = np.random.default_rng([seed, 1991])
    hosts = masses >= lightest
    number = np.clip(np.floor(masses / max(masses.min(), lightest)), fewest, most).astype(np.int64) * hosts
    host = np.repeat(np.arange(len(masses), dtype=np.int32), number)
    scale = np.cbrt(masses / MEMBER_MASS)[host, None]
    displacements, velocities = (
        (width * scale * random.standard_normal((len(host), 3))).astype(np.float16)
        for width in (properties.member_spread, properties.member_dispersion)
    )
    return Members(displacements, velocities, host)


def halo_velocities(
    positions: Float[np.ndarray, "n 3"],
    guides: Guides,
    properties: HaloProperties,
    random: np.random.Generator,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Return the part of halos' velocities that the fields say, and the part that is drawn [km/s]."""
    velocity = guides.fields.velocity
    box = velocity.box
    log, features = guides.at(positions)
    strengths = at_nodes(log, properties.log_density, [properties.velocity_slope, properties.velocity_infall])
    dispersion = np.interp(log, properties.log_density, properties.velocity_dispersion)
    noise = random.standard_normal((3, *(box.mesh,) * 3), dtype=np.float32)
    common = readout(torch.from_numpy(noise), positions, box).numpy()
    # Interpolated noise has the variance of the sum of its squared weights.
    part = ((positions - np.asarray(box.origin)) / box.cell_size - 0.5) % 1
    common /= np.sqrt(((1 - part) ** 2 + part**2).prod(axis=1))[:, None]
    share = properties.velocity_coherence
    rest = np.sqrt(share) * common + np.sqrt(1 - share) * random.standard_normal(positions.shape, np.float32)
    return np.einsum("nij,nj->ni", features, strengths), dispersion[:, None] * rest


def at_nodes(
    log: Float[np.ndarray, " n"],
    nodes: Sequence[float] | np.ndarray,
    values: Iterable[Sequence[float] | np.ndarray],
) -> Float[np.ndarray, "n row"]:
    """Interpolate rows of values at nodes of ln(2 + delta), each row its own column."""
    return np.stack([np.interp(log, nodes, row) for row in values], axis=1)
