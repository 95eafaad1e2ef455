"""The table of a mock survey: the objects that its mask and n(r) keep, in redshift space, with the truth beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from peculiar.catalogues import Footprint, Survey, directions, to_sky
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.core import Box, Catalogue, Cosmology, InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from astropy.table import Table

MEANINGS = {
    "ra": ("deg", "right ascension"),
    "dec": ("deg", "declination"),
    "mass": ("Msun / h", "mass of the halo, of satellites of the subhalo"),
    "halo_mass": ("Msun / h", "true: mass of the halo, of satellites of the subhalo"),
    "x": ("Mpc / h", "comoving position in redshift space"),
    "y": ("Mpc / h", "comoving position in redshift space"),
    "z_cosmological": ("", "true: redshift of the distance"),
    "v_los": ("km / s", "true: peculiar velocity along the line of sight, positive away from the observer"),
    "vx": ("km / s", "true: peculiar velocity along x"),
    "vy": ("km / s", "true: peculiar velocity along y"),
    "vz": ("km / s", "true: peculiar velocity along z"),
    "x_real": ("Mpc / h", "true: comoving position in real space"),
    "y_real": ("Mpc / h", "true: comoving position in real space"),
    "z_real": ("Mpc / h", "true: comoving position in real space"),
}
"""Units and meanings of a mock's columns; the h of Mpc / h is the Hubble parameter."""


def documented_table(columns: dict[str, Any]) -> Table:
    """Return a table whose columns have their units and meanings."""
    from astropy.table import Table

    units = {name: MEANINGS[name][0] for name in columns if name in MEANINGS and MEANINGS[name][0]}
    return Table(
        columns,
        units=units,
        descriptions={name: MEANINGS[name][1] for name in columns if name in MEANINGS},
    )


@dataclass(frozen=True, eq=False)
class SurveyPlan:
    """A survey as it lies about an observer at (0, 0, 0), before any box is observed.

    Attributes
    ----------
    survey : Survey
        With its limits stated.
    frame : "heliocentric", "cmb" or "local-group"
        In which redshifts are written.
    cosmology : Cosmology
        Of the boxes: the survey's distances are taken in it.
    footprint : Footprint
        Whose n(r) is that of the mocks.
    region : Box
        Whose true fields are written: a cube, or on a light cone the smallest box, with a mesh of the boxes' cells.
    whole : Box
        The periodic box about the covered region, cells in line with those of `region`, which it is on a light cone.
    width : (3,) [Mpc/h]
        Of the covered region, along each axis.
    """

    survey: Survey
    frame: RedshiftFrame
    cosmology: Cosmology
    footprint: Footprint
    region: Box
    whole: Box
    width: Float[np.ndarray, " 3"]


@dataclass(frozen=True, eq=False)
class Objects:
    """What a survey may see, in real space.

    Attributes
    ----------
    positions : (n, 3) [Mpc/h]
        With the observer at (0, 0, 0).
    velocities : (n, 3) [km/s]
    masses : (n,) [Msun/h]
    ranks : (n,)
        0 to 1: one is seen where n(r) over its largest value is above.
    """

    positions: Float[np.ndarray, "n 3"]
    velocities: Float[np.ndarray, "n 3"]
    masses: Float[np.ndarray, " n"]
    ranks: Float[np.ndarray, " n"]


def sky_table(
    objects: Objects, plan: SurveyPlan, *, masses: bool, rng: np.random.Generator, source: Path
) -> Table:
    """Return what a survey sees of objects: those that its mask and n(r) keep, in redshift space, with the truth.

    Raises
    ------
    InputError
        If it sees none of them.
    """
    ra, dec, z_cosmological = to_sky(objects.positions, cosmology=plan.cosmology)
    sight = directions(ra, dec)
    v_los = np.einsum("ij,ij->i", objects.velocities.astype(np.float64), sight)
    z = (1 + z_cosmological) * (1 + v_los / SPEED_OF_LIGHT) - 1
    n_of_r = plan.footprint.n_of_r
    share = n_of_r.at(plan.cosmology.comoving_distance(np.maximum(z, 0))) / n_of_r.peak
    kept = (z > 0) & (objects.ranks < share) & (rng.random(len(z)) < plan.footprint.mask.at(sight))
    if not kept.any():
        raise InputError(
            f"the survey must see objects of the box, got none of {len(z)} in {source}: raise the number "
            "density, or widen the limits"
        )
    columns: dict[str, Any] = {
        "ra": ra[kept],
        "dec": dec[kept],
        "z": convert_redshift(z[kept], sight[kept], source="cmb", target=plan.frame),
        "weight": np.ones(int(kept.sum())),
    }
    if masses:
        columns["mass"] = objects.masses[kept]
    if plan.footprint.luminosity_function is not None:
        columns["magnitude"] = _magnitudes(plan, z[kept], objects.ranks[kept] / share[kept])
    truth = {
        "z_cosmological": z_cosmological[kept],
        "v_los": v_los[kept],
        **dict(zip(("vx", "vy", "vz"), objects.velocities[kept].T, strict=True)),
        **dict(zip(("x_real", "y_real", "z_real"), objects.positions[kept].T, strict=True)),
        "halo_mass": objects.masses[kept],
    }
    named = {plan.survey.columns.get(name, name): values for name, values in columns.items()}
    if clash := set(named) & set(truth):
        raise InputError(
            f"columns of the survey must not have the names of true values, got {', '.join(sorted(clash))}: rename "
            "them in [columns]"
        )
    return documented_table(named | truth)


def ranks(
    tracers: Catalogue, masses: Float[np.ndarray, " n"], rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Return the fraction of all tracers that are more massive; equal masses are in random order."""
    assert tracers.masses is not None
    ordered = np.sort(-np.asarray(tracers.masses))
    first, last = (np.searchsorted(ordered, -masses, side=side) for side in ("left", "right"))
    return (first + (last - first) * rng.random(len(masses))) / len(ordered)


def _magnitudes(
    plan: SurveyPlan, z: Float[np.ndarray, " n"], rank: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return apparent magnitudes from the luminosity function; rank 0 is the brightest that is seen, 1 the faintest."""
    limit, shape = plan.survey.flux_limit, plan.footprint.luminosity_function
    assert limit is not None
    assert shape is not None
    bright = limit.absolute[0]
    faint = limit.faint_end(z, cosmology=plan.cosmology)
    grid = np.linspace(bright, float(faint.max()), 4097)
    cumulative = shape.integral(bright, grid)
    absolute = np.interp(rank * np.interp(faint, grid, cumulative), cumulative, grid)
    return np.minimum(absolute, faint) + limit.offset(z, cosmology=plan.cosmology)
