"""Mocks of surveys on the sky: a survey's footprint and n(r) laid into a simulated box."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
from jaxtyping import Float

from peculiar.catalogues import Footprint, Survey, directions, read_footprint, to_sky
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.catalogues.sky import ORIGIN
from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey, observe_region

if TYPE_CHECKING:
    from astropy.table import Table

LARGEST_SHARE = 0.75  # of the box's side; a wider survey meets its own periodic images across the gap
REDSHIFT_MARGIN = 0.1


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
        The cube whose true fields are written, with a mesh of the boxes' cells.
    whole : Box
        The periodic box about the covered region, cells in line with those of `region`.
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
class SkyMock:
    """What a survey sees of a box: a table for `read_survey`, the fields of its region, and where it was laid.

    Attributes
    ----------
    table : astropy Table
    fields : dict of Field
        "density", "velocity", "momentum" in real space and "completeness", on the plan's region.
    corner : (3,) int
        Cell of the box at the lower corner of the plan's `whole`.
    """

    table: Table
    fields: dict[str, Field]
    corner: tuple[int, int, int]


def plan_survey(
    survey: Survey,
    simulated: SimulatedBox,
    *,
    galaxies: Path | None = None,
    number_density: float | None = None,
) -> SurveyPlan:
    """Measure a survey and find its place in boxes like a given one.

    Parameters
    ----------
    survey : Survey
    simulated : SimulatedBox
        Gives the cosmology, the size and the mesh.
    galaxies : path, optional
        The survey's own catalogue, whose n(r) the mocks have. Without it the survey is a planned one
        (`read_footprint`).
    number_density : float, optional
        The largest n(r) [(h/Mpc)^3] in place of the survey's own; needed without galaxies.

    Raises
    ------
    InputError
        If the survey has no footprint or density, or does not fit into the box.
    """
    cosmology, box = simulated.cosmology, simulated.box
    footprint = read_footprint(survey, cosmology=cosmology, galaxies=galaxies)
    if galaxies is None and number_density is None:
        raise InputError(
            "a mock needs the survey's own galaxies for its number density, or one, got neither: give galaxies or "
            "number_density",
            command="a mock needs the survey's own galaxies for its number density (--sky galaxies.fits), or "
            "--number-density, got neither",
        )
    if number_density is not None:
        scaled = footprint.n_of_r.scaled(number_density / footprint.n_of_r.peak)
        footprint = replace(footprint, n_of_r=scaled)
    (near, far), (low, high) = footprint.limits, footprint.extent
    width = high - low
    if width.max() + box.cell_size > box.side:
        raise InputError(
            f"the survey must fit into the simulated box, got a covered region {_show(width)} Mpc/h wide (x, y, z; "
            f"{near:.4g} to {far:.4g} Mpc/h) and boxes of {box.side:g} Mpc/h: simulate larger boxes, or narrow the "
            "limits (--distances)"
        )
    if width.max() > LARGEST_SHARE * box.side:
        warnings.warn(
            f"the survey is {_show(width)} Mpc/h wide and fills more than {LARGEST_SHARE:g} of the boxes' side of "
            f"{box.side:g} Mpc/h: few flows from outside are there, and opposite edges are neighbours",
            stacklevel=3,
        )
    first, last = (float(cosmology.redshift_at(distance)) for distance in (near, far))
    if not first - REDSHIFT_MARGIN <= simulated.redshift <= last + REDSHIFT_MARGIN:
        warnings.warn(
            f"the boxes are at z = {simulated.redshift:g} and the survey at z = {first:.3g} to {last:.3g}: velocities "
            "and clustering are those of the boxes",
            stacklevel=3,
        )
    region = _region(survey, box, low=low, high=high)
    centre, corner = (low + high) / 2, np.asarray(region.origin)
    steps = np.round((centre - box.side / 2 - corner) / box.cell_size)
    limits = {} if survey.distances or survey.redshifts else {"distances": (near, far)}
    return SurveyPlan(
        survey=survey.with_changes(limits).model_copy(update={"galaxies": None}),
        frame=survey.frame or "cmb",
        cosmology=cosmology,
        footprint=footprint,
        region=region,
        whole=Box(box.side, box.mesh, origin=_triple(corner + steps * box.cell_size), periodic=False),
        width=width,
    )


def observe_sky(
    simulated: SimulatedBox, tracers: Catalogue, plan: SurveyPlan, *, by_mass: bool, masses: bool, seed: int
) -> SkyMock:
    """Observe a box with a survey laid at a random place of it.

    An object at real distance r with radial velocity v has 1 + z = (1 + z(r)) (1 + v / c), and stands at the distance
    of that redshift for mask and n(r).

    Parameters
    ----------
    simulated : SimulatedBox
    tracers : Catalogue
        Of the whole box in real space, as dense as the largest n(r).
    plan : SurveyPlan
    by_mass : bool
        Where n(r) is below its largest value, whether the most massive tracers are seen, or random ones.
    masses : bool
        Whether the table has a column "mass", which readers use.
    seed : int
        Of the place and the objects.

    Raises
    ------
    InputError
        If the survey sees none of the tracers.
    """
    rng = np.random.default_rng([simulated.seed, seed, 11])
    i, j, k = (int(cell) for cell in rng.integers(0, simulated.box.mesh, 3))
    around = observe_region(
        simulated, tracers, plan.whole, at=(i, j, k), line_of_sight="radial", observer=ORIGIN, seed=seed
    )
    real, velocities = around.positions_real, around.catalogue.velocities
    halo_masses = around.catalogue.masses
    assert velocities is not None
    assert halo_masses is not None
    ra, dec, z_cosmological = to_sky(real, cosmology=plan.cosmology)
    sight = directions(ra, dec)
    v_los = np.einsum("ij,ij->i", velocities.astype(np.float64), sight)
    z = (1 + z_cosmological) * (1 + v_los / SPEED_OF_LIGHT) - 1
    n_of_r = plan.footprint.n_of_r
    share = n_of_r.at(plan.cosmology.comoving_distance(np.maximum(z, 0))) / n_of_r.peak
    rank = _ranks(tracers, halo_masses, rng) if by_mass else rng.random(len(z))
    kept = (z > 0) & (rank < share) & (rng.random(len(z)) < plan.footprint.mask.at(sight))
    if not kept.any():
        raise InputError(
            f"the survey must see objects of the box, got none of {len(z)} in {simulated.path}: raise the number "
            "density, or widen the limits"
        )
    columns: dict[str, Any] = {
        "ra": ra[kept],
        "dec": dec[kept],
        "z": convert_redshift(z[kept], sight[kept], source="cmb", target=plan.frame),
        "weight": np.ones(int(kept.sum())),
    }
    if masses:
        columns["mass"] = halo_masses[kept]
    if plan.footprint.luminosity_function is not None:
        columns["magnitude"] = _magnitudes(plan, z[kept], rank[kept] / share[kept])
    truth = {
        "z_cosmological": z_cosmological[kept],
        "v_los": v_los[kept],
        **dict(zip(("vx", "vy", "vz"), velocities[kept].T, strict=True)),
        **dict(zip(("x_real", "y_real", "z_real"), real[kept].T, strict=True)),
        "halo_mass": halo_masses[kept],
    }
    named = {plan.survey.columns.get(name, name): values for name, values in columns.items()}
    if clash := set(named) & set(truth):
        raise InputError(
            f"columns of the survey must not have the names of true values, got {', '.join(sorted(clash))}: rename "
            "them in [columns]"
        )
    table = documented_table(named | truth)
    return SkyMock(table, _fields(around, plan), (i, j, k))


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


def survey_text(survey: Survey) -> str:
    """Return a survey as the text of a survey file, without settings that have their default."""
    settings = survey.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return tomli_w.dumps(settings)


def _region(survey: Survey, box: Box, *, low: Float[np.ndarray, " 3"], high: Float[np.ndarray, " 3"]) -> Box:
    """Return the survey's own box, or the cube around what it covers, in cells of the simulated box."""
    cell = box.cell_size
    if survey.box is not None:
        own = survey.box.box()
        cells = int(np.ceil(own.side / cell - 1e-6))
        if cells > box.mesh:
            raise InputError(
                f"box of the survey must fit into the simulated box, got {own.extent} and {box.extent}: simulate "
                "larger boxes"
            )
        return Box(max(cells, 2) * cell, max(cells, 2), origin=own.origin, periodic=False)
    wanted = (float((high - low).max()) + 2 * survey.padding) / cell
    cells = min(8 * int(np.ceil(wanted / 8)), box.mesh)  # transforms and networks like multiples of 8
    return Box(cells * cell, cells, origin=_triple((low + high) / 2 - cells * cell / 2), periodic=False)


def _ranks(
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


def _fields(around: MockSurvey, plan: SurveyPlan) -> dict[str, Field]:
    """The true fields and the completeness on the plan's region."""
    region, whole = plan.region, plan.whole
    steps = np.round((np.asarray(region.origin) - np.asarray(whole.origin)) / whole.cell_size).astype(int)
    n = region.mesh

    def cut(field: Field) -> Field:
        moved = field.data.roll(tuple((-steps).tolist()), dims=(1, 2, 3))  # the simulated box is periodic
        return field.replace(data=moved[:, :n, :n, :n].contiguous(), box=region)

    fields = {"density": around.density, "velocity": around.velocity, "momentum": around.momentum}
    seen = plan.footprint.covers(region)
    return {name: cut(field) for name, field in fields.items()} | {"completeness": seen}


def _show(values: Float[np.ndarray, " 3"]) -> str:
    return " x ".join(f"{value:.0f}" for value in values)


def _triple(values: Float[np.ndarray, " 3"]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
