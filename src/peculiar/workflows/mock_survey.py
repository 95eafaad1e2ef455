"""Mocks of surveys on the sky: a survey's footprint and n(r) laid into a simulated box."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tomli_w
from jaxtyping import Float

from peculiar.catalogues import Survey, read_footprint
from peculiar.catalogues.sky import ORIGIN
from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey, observe_region
from peculiar.workflows.mock_table import Objects, SurveyPlan, ranks, sky_table

if TYPE_CHECKING:
    from astropy.table import Table

LARGEST_SHARE = 0.75  # of the box's side; a wider survey meets its own periodic images across the gap
REDSHIFT_MARGIN = 0.1


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
    light_cone: bool = False,
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
        The largest n(r) [(h/Mpc)^3] in place of the survey's own; needed without galaxies or a table of n(z).
    light_cone : bool
        Whether the box repeats, so that the survey may be wider.

    Raises
    ------
    InputError
        If the survey has no footprint or density, or does not fit into the box.
    """
    cosmology, box = simulated.cosmology, simulated.box
    footprint = read_footprint(survey, cosmology=cosmology, galaxies=galaxies)
    if galaxies is None and number_density is None and survey.n_of_z is None:
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
    if light_cone:
        region = whole = _region(survey, box, low=low, high=high, repeated=True)
    else:
        _require_room(width, (near, far), simulated, cosmology)
        region = _region(survey, box, low=low, high=high)
        corner = np.asarray(region.origin)
        steps = np.round(((low + high) / 2 - box.side / 2 - corner) / box.cell_size)
        whole = Box(box.side, box.mesh, origin=_triple(corner + steps * box.cell_size), periodic=False)
    limits = {} if survey.distances or survey.redshifts else {"distances": (near, far)}
    return SurveyPlan(
        survey=survey.with_changes(limits).model_copy(update={"galaxies": None}),
        frame=survey.frame or "cmb",
        cosmology=cosmology,
        footprint=footprint,
        region=region,
        whole=whole,
        width=width,
    )


def _require_room(
    width: Float[np.ndarray, " 3"],
    limits: tuple[float, float],
    simulated: SimulatedBox,
    cosmology: Cosmology,
) -> None:
    """Refuse a survey that is wider than the box, and warn of one that fills it or lies at another redshift."""
    box, (near, far) = simulated.box, limits
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
            stacklevel=4,
        )
    first, last = (float(cosmology.redshift_at(distance)) for distance in (near, far))
    if not first - REDSHIFT_MARGIN <= simulated.redshift <= last + REDSHIFT_MARGIN:
        warnings.warn(
            f"the boxes are at z = {simulated.redshift:g} and the survey at z = {first:.3g} to {last:.3g}: velocities "
            "and clustering are those of the boxes",
            stacklevel=4,
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
    velocities, halo_masses = around.catalogue.velocities, around.catalogue.masses
    assert velocities is not None
    assert halo_masses is not None
    objects = Objects(
        around.positions_real,
        velocities,
        halo_masses,
        ranks(tracers, halo_masses, rng) if by_mass else rng.random(len(halo_masses)),
    )
    table = sky_table(objects, plan, masses=masses, rng=rng, source=simulated.path)
    return SkyMock(table, _fields(around, plan), (i, j, k))


def survey_text(survey: Survey) -> str:
    """Return a survey as the text of a survey file, without settings that have their default."""
    settings = survey.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return tomli_w.dumps(settings)


def _region(
    survey: Survey,
    box: Box,
    *,
    low: Float[np.ndarray, " 3"],
    high: Float[np.ndarray, " 3"],
    repeated: bool = False,
) -> Box:
    """Return the survey's own box, or the cube around what it covers, in cells of the simulated box.

    Where that repeats, the smallest box around it, of any size.
    """
    cell = box.cell_size
    if repeated:
        if survey.box is not None:
            low, sides = np.asarray(survey.box.origin), np.asarray(survey.box.box().sides)
            count = np.maximum(np.ceil(sides / cell - 1e-6), 2).astype(int)
            corner = low
        else:
            count = 8 * np.ceil((high - low + 2 * survey.padding) / cell / 8).astype(int)
            corner = (low + high - count * cell) / 2
        x, y, z = (int(number) for number in count)
        return Box((x * cell, y * cell, z * cell), (x, y, z), origin=_triple(corner), periodic=False)
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
