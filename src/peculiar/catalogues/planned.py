"""What a survey file may say of a survey without its data: patches of the sky, and n(z) as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from peculiar.catalogues.selection import RadialSelection
from peculiar.catalogues.sky import SkyMask, directions
from peculiar.core import Cosmology, InputError

_NSIDE = 256  # of masks made of patches
_FINER = 2  # along a side of their pixels, for those that an edge cuts
_LEAST_SHARE = 1e-3
_SHELLS = 8
_LARGEST_RATIO = 2.5


def _range(low: float, high: float) -> AfterValidator:
    def inside(values: tuple[float, float]) -> tuple[float, float]:
        if not all(low <= value <= high for value in values):
            raise ValueError(f"must lie in [{low:g}, {high:g}]")
        return values

    return AfterValidator(inside)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SkyPatch(_Frozen):
    """A rectangle of the sky, without what lies too near to the plane of the Galaxy."""

    ra: Annotated[tuple[float, float], _range(0, 360)] = Field(
        (0.0, 360.0), description="from west to east [deg]; across 0 where the first is the larger one"
    )
    dec: Annotated[tuple[float, float], _range(-90, 90)] = Field((-90.0, 90.0), description="[deg]")
    galactic_latitude: float = Field(0.0, ge=0, lt=90, description="least distance from the plane [deg]")
    completeness: float = Field(1.0, gt=0, le=1, description="share of the objects that are seen")

    @model_validator(mode="after")
    def _ordered(self) -> SkyPatch:
        if not self.dec[0] < self.dec[1] or self.ra[0] == self.ra[1]:
            raise ValueError(f"dec must rise and ra not be one number, got {self.dec} and {self.ra}")
        return self


def patches_mask(patches: Sequence[SkyPatch]) -> SkyMask:
    """Return patches as a mask with pixels of 0.23 degrees; where they overlap the most complete one counts.

    Raises
    ------
    InputError
        If they cover nothing.
    """
    import healpy

    nside = _NSIDE * _FINER
    ra, dec = healpy.pix2ang(nside, np.arange(12 * nside**2), nest=True, lonlat=True)
    up = directions(ra, dec) @ healpy.Rotator(coord=["C", "G"]).mat.T[:, 2]
    latitude = np.degrees(np.arcsin(np.clip(up, -1, 1)))
    values = np.zeros(len(ra), dtype=np.float32)
    for patch in patches:
        east = (ra - patch.ra[0]) % 360 <= (patch.ra[1] - patch.ra[0] - 1e-9) % 360
        inside = east & (dec >= patch.dec[0]) & (dec <= patch.dec[1])
        inside &= np.abs(latitude) >= patch.galactic_latitude
        values[inside] = np.maximum(values[inside], patch.completeness)
    coarse = values.reshape(-1, _FINER**2).mean(axis=1)
    coarse[coarse < _LEAST_SHARE] = 0
    return SkyMask(healpy.reorder(coarse.astype(np.float64), n2r=True))


class RedshiftTable(_Frozen):
    """A number density at redshifts: linear between them, 0 beyond."""

    redshift: tuple[float, ...] = Field(description="of the CMB's frame, rising")
    density: tuple[float, ...] = Field(description="[(h/Mpc)^3], as the survey's own cosmology has it")

    @model_validator(mode="after")
    def _whole(self) -> RedshiftTable:
        if len(self.redshift) != len(self.density) or len(self.redshift) < 2:
            raise ValueError(
                f"needs as many densities as redshifts, at least 2, got {len(self.density)} and {len(self.redshift)}"
            )
        if self.redshift[0] < 0 or (np.diff(self.redshift) <= 0).any():
            raise ValueError("redshift must be >= 0 and rise")
        if min(self.density) < 0 or max(self.density) == 0:
            raise ValueError("density must be >= 0, and above 0 somewhere")
        return self

    def selection(
        self, cosmology: Cosmology, *, limits: tuple[float, float] | None = None
    ) -> RadialSelection:
        """Return n(r) between limits [Mpc/h], or over the whole table.

        Raises
        ------
        InputError
            If the limits reach beyond the table, or it has nothing between them.
        """
        distances = cosmology.comoving_distance(np.array(self.redshift))
        low, high = limits or (float(distances[0]), float(distances[-1]))
        if low < distances[0] - 1 or high > distances[-1] + 1:
            first, last = (float(cosmology.redshift_at(distance)) for distance in (low, high))
            raise InputError(
                f"n_of_z must reach over the survey's limits, got a table of z = {self.redshift[0]:g} to "
                f"{self.redshift[-1]:g} for a survey of {first:.3g} to {last:.3g}: lengthen the table, or narrow the "
                "limits"
            )
        inner = distances[(distances > low) & (distances < high)]
        nodes = np.concatenate([[low], inner, [high]])
        density = np.interp(nodes, distances, self.density)
        if not density.any():
            raise InputError(
                f"n_of_z must be above 0 between the survey's limits, got none from {low:.4g} to {high:.4g} Mpc/h"
            )
        return RadialSelection(nodes, density)


def selection_from_table(
    table: RedshiftTable,
    distances: np.ndarray,
    *,
    cosmology: Cosmology,
    limits: tuple[float, float],
    solid_angle: float,
    weights: np.ndarray | None = None,
) -> RadialSelection:
    """Return a table's n(r) with the weighted number of a survey's objects.

    Parameters
    ----------
    table : RedshiftTable
    distances : (n,) [Mpc/h]
        Of the objects, within the limits.
    cosmology : Cosmology
    limits : (2,) [Mpc/h]
    solid_angle : float
        Area of the survey, weighted with the completeness [steradian].
    weights : (n,), optional

    Raises
    ------
    InputError
        If the objects' density over the table's changes by more than 2.5 times along the line of sight.
    """
    shape = table.selection(cosmology, limits=limits)
    grid = np.linspace(*limits, 4097)
    cumulative = shape.cumulative(grid) * solid_angle
    edges = np.interp(np.linspace(0, cumulative[-1], _SHELLS + 1), cumulative, grid)
    counts, _ = np.histogram(distances, edges, weights=weights)
    if len(distances) >= 100 * _SHELLS and counts.max() > _LARGEST_RATIO * counts.min():
        inner = ", ".join(f"{count:.0f}" for count in counts)
        raise InputError(
            f"n_of_z must be that of the survey, got {inner} objects in {_SHELLS} shells from {limits[0]:.4g} to "
            f"{limits[1]:.4g} Mpc/h in which it has equal numbers: correct the table, or measure n(r) "
            "(radial = 'measured')"
        )
    return shape.scaled(float(counts.sum()) / float(cumulative[-1]))
