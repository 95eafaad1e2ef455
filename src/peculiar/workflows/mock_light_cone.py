"""Mock surveys on the light cone of a run of several epochs, and random points with a mock's selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.catalogues import to_sky
from peculiar.catalogues.frames import convert_redshift
from peculiar.core import Catalogue, InputError
from peculiar.core.memory import require_memory
from peculiar.simulate.light_cone import LightCone, Triple, copies
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import FARTHEST_SHIFT
from peculiar.workflows.mock_survey import REDSHIFT_MARGIN, SkyMock
from peculiar.workflows.mock_table import Objects, SurveyPlan, documented_table, ranks, sky_table

if TYPE_CHECKING:
    from astropy.table import Table

MOST_COPIES = 2000
"""Of the box, in the cuboid around a survey: deeper ones see the same structure too often."""
_BYTES_PER_CELL = 60
_BYTES_PER_OBJECT = 200


def require_cone(plan: SurveyPlan, cone: LightCone) -> None:
    """Refuse a survey that the epochs or the copies of the box do not hold; call it before the work.

    Raises
    ------
    InputError
        If the survey reaches more than 0.1 in redshift beyond the epochs, needs more than 2000 copies of the box, or
        its fields or objects do not fit in memory.
    """
    limits = plan.footprint.limits
    near, far = (float(plan.cosmology.redshift_at(distance)) for distance in limits)
    first, last = cone.boxes[0].redshift, cone.boxes[-1].redshift
    if near < first - REDSHIFT_MARGIN or far > last + REDSHIFT_MARGIN:
        raise InputError(
            f"epochs must cover the survey to {REDSHIFT_MARGIN:g} in redshift, got z = {first:g} to {last:g} for a "
            f"survey of {near:.3g} to {far:.3g}: simulate more epochs (--redshifts), or narrow the limits"
        )
    number = int(np.prod(np.floor(plan.width / cone.box.side) + 2))
    if number > MOST_COPIES:
        raise InputError(
            f"a survey must need at most {MOST_COPIES} copies of the box, got up to {number} for "
            f"{plan.width.max():.0f} Mpc/h and boxes of {cone.box.side:g} Mpc/h: simulate larger boxes, or narrow the "
            "limits (--distances)"
        )
    require_memory(
        cone_memory(plan),
        what=f"a light cone of {plan.region.cell_count:.3g} cells",
        remedy="take boxes with larger cells (--cells), or narrow the limits",
    )


def cone_memory(plan: SurveyPlan) -> int:
    """Return what a mock of a light cone takes [bytes]."""
    objects = plan.footprint.n_of_r.peak * _covered(plan)
    return round(_BYTES_PER_CELL * plan.region.cell_count + _BYTES_PER_OBJECT * objects)


def seen_limits(plan: SurveyPlan) -> tuple[float, float]:
    """Return the distances between which a survey sees objects, wherever their velocities show them [Mpc/h]."""
    near, far = plan.footprint.limits
    return max(near - FARTHEST_SHIFT, 0.0), far + FARTHEST_SHIFT


def observe_cone(
    cone: LightCone,
    tracers: Callable[[SimulatedBox], Catalogue],
    plan: SurveyPlan,
    *,
    by_mass: bool,
    masses: bool,
    seed: int,
) -> tuple[SkyMock, dict[str, Any]]:
    """Observe the boxes of an evolution with a survey laid at a random place of them; see `observe_sky`.

    Parameters
    ----------
    cone : LightCone
    tracers : callable
        Returns the objects of a whole box in real space, as dense as the largest n(r).
    plan : SurveyPlan
    by_mass, masses, seed : as in `observe_sky`

    Returns
    -------
    SkyMock, dict
        The mock, and what is told of it: the epochs, the copies of the box, its volume against the survey's, and the
        steps between epochs.
    """
    rng = np.random.default_rng([cone.seed, seed, 11])
    i, j, k = (int(cell) for cell in rng.integers(0, cone.box.mesh, 3))
    limits = seen_limits(plan)
    low, high = plan.footprint.extent
    found: list[Objects] = []
    images: set[Triple] = set()
    epochs = []
    for box, shell in cone.shells(*limits):
        every = tracers(box)
        assert every.velocities is not None
        assert every.masses is not None
        there = copies(
            every.positions,
            cone.box.side,
            origin=np.asarray(plan.region.origin) - np.array([i, j, k]) * cone.box.cell_size,
            limits=shell,
            between=(low - FARTHEST_SHIFT, high + FARTHEST_SHIFT),
            seen=lambda points: plan.footprint.mask.at(points) > 0,
        )
        heavy = every.masses[there.rows]
        rank = ranks(every, heavy, rng) if by_mass else rng.random(len(heavy))
        found.append(Objects(there.positions, every.velocities[there.rows], heavy, rank))
        images |= there.images
        epochs.append({"redshift": box.redshift, "distances": list(shell)})
    objects = Objects(
        *(
            np.concatenate([getattr(one, field.name) for one in found])
            for field in dataclasses.fields(Objects)
        )
    )
    table = sky_table(objects, plan, masses=masses, rng=rng, source=cone.boxes[0].path)
    fields = cone.fields(plan.region, at=(i, j, k))
    velocity = fields["velocity"]
    fields["momentum"] = velocity.replace(data=velocity.data * (1 + fields["density"].data))
    fields["completeness"] = plan.footprint.covers(plan.region)
    facts = {
        "redshift": float(np.median(table["z_cosmological"])),
        "epochs": epochs,
        "copies": len(images),
        "volume_in_boxes": _covered(plan) / cone.box.volume,
        "steps_between_epochs": cone.steps(*limits),
    }
    return SkyMock(table, fields, (i, j, k)), facts


def described_cone(facts: Mapping[str, Any]) -> str:
    """Return what is told of a mock of a light cone, as a line."""
    redshifts = [epoch["redshift"] for epoch in facts["epochs"]]
    steps = facts["steps_between_epochs"]
    return (
        f"a light cone of {len(redshifts)} epoch{'s' * (len(redshifts) > 1)}, z = {redshifts[0]:g} to "
        f"{redshifts[-1]:g}, in {facts['copies']} copies of the box (the survey has {facts['volume_in_boxes']:.3g} "
        f"times its volume); between epochs linear growth steps by up to {steps['growth']:.1%}, linear velocities by "
        f"{steps['velocity']:.1%}"
    )


def random_points(plan: SurveyPlan, number: int, *, seed: int) -> Table:
    """Return random points with a survey's mask and n(r), as a table that its readers read."""
    rng = np.random.default_rng([seed, 13])
    sight, distance = plan.footprint.draw(number, rng)
    ra, dec, _ = to_sky(sight, cosmology=plan.cosmology)
    z = convert_redshift(plan.cosmology.redshift_at(distance), sight, source="cmb", target=plan.frame)
    columns = {"ra": ra, "dec": dec, "z": z, "weight": np.ones(number)}
    return documented_table({plan.survey.columns.get(name, name): values for name, values in columns.items()})


def _covered(plan: SurveyPlan) -> float:
    """Return the volume of a survey [(Mpc/h)^3]."""
    near, far = plan.footprint.limits
    return plan.footprint.mask.solid_angle * (far**3 - near**3) / 3
