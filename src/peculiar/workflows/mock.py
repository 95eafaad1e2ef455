"""`peculiar mock`: mock surveys, and isolated cubes, from simulated boxes."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.catalogues import Survey, write_table
from peculiar.catalogues.survey import SurveyBox
from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.output import atomic_output, check_output, require_space
from peculiar.core.provenance import provenance
from peculiar.core.workers import Advance, Workers, crew
from peculiar.fields.files import write_fields
from peculiar.simulate.light_cone import LightCone, open_light_cones
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import TracerSettings, box_tracers
from peculiar.simulate.runs import open_run
from peculiar.workflows.mock_cubes import isolated_cube, mock_cube
from peculiar.workflows.mock_light_cone import (
    cone_memory,
    described_cone,
    observe_cone,
    random_points,
    require_cone,
    seen_limits,
)
from peculiar.workflows.mock_settings import CUBE, MockSettings
from peculiar.workflows.mock_survey import observe_sky, plan_survey, survey_text
from peculiar.workflows.mock_table import SurveyPlan
from peculiar.workflows.progress import progress_bar

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True)
class MockSummary:
    """What `make_mocks` wrote: the directory, and the number of objects in each catalogue by its file's name.

    `told` are lines on the light cones that were observed.
    """

    out: Path
    objects: dict[str, int]
    told: tuple[str, ...] = ()


def make_mocks(
    run: str | Path,
    *,
    out: str | Path,
    settings: MockSettings | None = None,
    survey: Survey | None = None,
    galaxies: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    workers: Workers = None,
    force: bool = False,
) -> MockSummary:
    """Observe the boxes of a run and write one catalogue and its truth per box, all or none.

    Parameters
    ----------
    run : path
        Directory of `peculiar simulate`, or one box file; for a light cone a run of several epochs.
    out : path
        Directory: ``mock-SEED.fits``, ``mock-SEED.zarr`` (true fields) and ``run.json``; of a survey also
        ``survey.toml`` and its mask, and with randoms ``randoms.fits``.
    settings : MockSettings
    survey : Survey, optional
        For the pattern "survey", and only for it.
    galaxies : path, optional
        The survey's own catalogue, see `plan_survey`; the one that the survey names where not given.
    seeds : sequence of int, optional
        Boxes to observe; all where not given.
    workers : int or str, optional
        Processes of this machine, or the address of a dask scheduler whose workers see `run` and `out`: each observes
        and writes whole boxes (`peculiar.core.workers.crew`).
    force : bool
        Replace an earlier output.

    Raises
    ------
    InputError
        For bad input, before the work starts where it can be known; nothing is then left behind.
    OutputExistsError
        If the output is there and not to be replaced.
    """
    settings = settings or MockSettings()
    named = None if survey is None else survey.galaxies
    own = Path(galaxies) if galaxies else named
    if (settings.pattern == "survey") != (survey is not None):
        raise InputError(
            "a survey (--survey, or --mask with limits) belongs to the pattern survey, and only to it, got "
            f"{'one' if survey is not None else 'none'} for the pattern {settings.pattern}"
        )
    if survey is None and galaxies is not None:
        problem = f"must not be given for a cube, which has no n(r), got {galaxies}: leave it out"
        raise InputError(f"galaxies {problem}", command=f"--sky {problem}")
    cones = open_light_cones(run, seeds) if settings.light_cone else []
    paths = [box.path for cone in cones for box in cone.boxes] or open_run(run, seeds)
    inputs = [*paths, *(Path(p) for p in (own, survey and survey.mask) if p)]
    check_output(
        out,
        overwrite=force,
        inputs={"run": run, "--sky": own, "--mask": survey.mask if survey else None},
    )
    first = SimulatedBox.open(paths[0])
    for path in paths:
        if (other := SimulatedBox.open(path)).cosmology != first.cosmology or other.box != first.box:
            raise InputError(f"boxes must share one size, mesh and cosmology, got {path} beside {paths[0]}")
    if survey is not None:
        plan = plan_survey(
            survey,
            first,
            galaxies=own,
            number_density=settings.number_density,
            light_cone=settings.light_cone,
        )
        region = plan.region
        if cones:
            require_cone(plan, cones[0])
            paths = [box.path for cone in cones for box, _ in cone.shells(*seen_limits(plan))]
    else:
        plan, region = None, isolated_cube(CUBE if settings.cube is None else settings.cube, first.box)
        if settings.number_density is not None and settings.number_density * region.volume < 1:
            raise InputError(
                f"number density must give at least one object in {region.volume:.4g} (Mpc/h)^3, got "
                f"{settings.number_density:g} (h/Mpc)^3: ask for more, or a larger --cube"
            )
    scenes: Sequence[LightCone | SimulatedBox] = cones or [SimulatedBox.open(path) for path in paths]
    require_space(out, size=len(scenes) * 8 * 4 * region.cell_count)
    density = settings.number_density if plan is None else plan.footprint.n_of_r.peak
    for path in paths:  # a box of too few halos is told before the work
        _tracers(SimulatedBox.open(path), settings, density)

    objects: dict[str, int] = {}
    made: dict[str, Any] = {}
    described = asdict(settings) | {"satellites": settings.satellite_fraction}
    described["cosmology"] = cosmology_settings(first.cosmology)
    if survey is not None:
        described["survey"] = survey.model_dump(mode="json", exclude_none=True)
    record = provenance(described, inputs=inputs, seed=[scene.seed for scene in scenes])
    with (
        crew(
            workers,
            tasks=len(scenes),
            memory=cone_memory(plan) if cones and plan is not None else 0,
            what="a light cone",
            remedy="take boxes with larger cells (--cells), or narrow the limits",
        ) as hands,
        atomic_output(out, overwrite=force) as temporary,
        progress_bar("mocks", total=len(scenes)) as advance,
    ):
        temporary.mkdir()
        write = partial(
            _write_mock,
            directory=temporary,
            settings=settings,
            plan=plan,
            region=region,
            density=density,
            record=record,
        )
        tasks = {f"seed {scene.seed}": scene for scene in scenes}
        for name, facts in hands.each(write, tasks, advance=advance, sees=temporary):
            objects[name], made[name] = facts["objects"], facts
        if plan is not None:
            _write_survey(temporary, plan)
            if settings.random_share:
                number = math.ceil(settings.random_share * sum(objects.values()) / len(objects))
                points = random_points(plan, number, seed=settings.seed)
                write_table(temporary / "randoms.fits", points, kind="fits", provenance=record)
        (temporary / "run.json").write_text(
            json.dumps({"mocks": made, "provenance": record}, indent=1) + "\n", encoding="utf-8"
        )
    told = [described_cone(facts) for facts in made.values() if "epochs" in facts]
    return MockSummary(Path(out), objects, tuple(told))


def _write_mock(
    scene: LightCone | SimulatedBox,
    advance: Advance,
    *,
    directory: Path,
    settings: MockSettings,
    plan: SurveyPlan | None,
    region: Box,
    density: float | None,
    record: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """Observe one box, or its epochs, and write the catalogue and its truth; return its name and what is told of it."""
    name = f"mock-{scene.seed:05d}.fits"
    simulated = scene.boxes[0] if isinstance(scene, LightCone) else SimulatedBox.open(scene.path)
    if plan is not None:
        seen = scene if isinstance(scene, LightCone) else simulated
        table, fields, facts = _observe_survey(seen, plan, settings)
    else:
        assert settings.pattern != "survey"
        table, fields, facts = mock_cube(
            simulated,
            _tracers(simulated, settings, density),
            region,
            pattern=settings.pattern,
            masses=settings.masses,
            seed=settings.seed,
        )
    facts["halos"] = _origin_of_halos(simulated.path)
    write_fields(
        directory / f"{Path(name).stem}.zarr",
        fields,
        attributes=_attributes(simulated, facts, record),
        overwrite=True,
    )
    (directory / name).unlink(missing_ok=True)  # of a worker that was killed
    write_table(directory / name, table, kind="fits", provenance=record)
    advance(1)
    return name, facts | {"objects": len(table)}


def _tracers(simulated: SimulatedBox, settings: MockSettings, density: float | None) -> Catalogue:
    """Return the objects of a whole box, to a number density [(h/Mpc)^3], in real space."""
    if settings.choice == "massive":
        assert density is not None
        centrals = len(simulated.halos) / simulated.box.volume
        if (1 - settings.satellite_fraction) * density > centrals:
            raise InputError(
                f"number density must be at most what the box holds, got {density:.4g} (h/Mpc)^3 and "
                f"{centrals / (1 - settings.satellite_fraction):.4g} of {len(simulated.halos)} halos and their "
                f"satellites in {simulated.path}: lower it (--number-density, or farther limits), or make boxes with "
                "lighter halos"
            )
        chosen = TracerSettings(
            "massive", number_density=density, satellite_fraction=settings.satellite_fraction
        )
        return box_tracers(simulated, chosen, seed=settings.seed)
    tracers = box_tracers(simulated, TracerSettings("all", least_mass=settings.least_mass))
    if density is None:
        return tracers
    share = density / tracers.number_density
    if share > 1:
        raise InputError(
            f"number density must be at most that of the box's halos, got {density:.4g} (h/Mpc)^3 and "
            f"{tracers.number_density:.4g} above {settings.least_mass:g} Msun/h in {simulated.path}: lower it "
            "(--number-density, or farther limits), lower --least-mass, or make boxes with lighter halos"
        )
    rng = np.random.default_rng([simulated.seed, settings.seed, 12])
    kept = rng.random(len(tracers)) < share  # here, and not in the region: boxes hold millions of halos
    assert tracers.velocities is not None
    assert tracers.masses is not None
    return tracers.replace(
        positions=tracers.positions[kept], velocities=tracers.velocities[kept], masses=tracers.masses[kept]
    )


def _observe_survey(
    scene: SimulatedBox | LightCone, plan: SurveyPlan, settings: MockSettings
) -> tuple[Table, dict[str, Field], dict[str, Any]]:
    """Return a survey's table, its true fields, and what is told of it."""

    def tracers(simulated: SimulatedBox) -> Catalogue:
        return _tracers(simulated, settings, plan.footprint.n_of_r.peak)

    how: dict[str, Any] = {
        "by_mass": settings.choice == "massive",
        "masses": settings.masses,
        "seed": settings.seed,
    }
    told: dict[str, Any] = {}
    if isinstance(scene, LightCone):
        mock, told = observe_cone(scene, tracers, plan, **how)
    else:
        mock = observe_sky(scene, tracers(scene), plan, **how)
    facts = {
        "pattern": "survey",
        "frame": plan.frame,
        "line_of_sight": "radial",
        "observer": [0.0, 0.0, 0.0],
        "number_density": plan.footprint.n_of_r.peak,
        "covered_width": plan.width.tolist(),
        "box_origin_cell": list(mock.corner),
    }
    return mock.table, mock.fields, facts | told


def _origin_of_halos(path: Path) -> str:
    """Say whether a box's halos were found in its simulation or painted, and by which painter."""
    import h5py

    with h5py.File(path) as file:
        painter = file.attrs.get("painter")
    return "of the simulation" if painter is None else f"painted by {painter}"


def _attributes(
    simulated: SimulatedBox, facts: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes of the true fields, those of `peculiar reconstruct` where they have the same meaning."""
    attributes: dict[str, Any] = {
        "title": "True fields of matter in real space",
        "redshift": facts.get("redshift", simulated.redshift),
        "line_of_sight": facts["line_of_sight"],
        "number_density": facts["number_density"],
        "halos": facts["halos"],
        "cosmology": cosmology_settings(simulated.cosmology),
        "provenance": record,
    }
    return attributes | ({"observer": facts["observer"]} if "observer" in facts else {})


def _write_survey(directory: Path, plan: SurveyPlan) -> None:
    """Write the survey file that mocks are read with, on the mesh of their true fields, and the mask that it names."""
    region, mask = plan.region, plan.survey.mask
    changes: dict[str, Any] = {
        "frame": plan.frame,
        "cell_size": region.cell_size,
        "box": SurveyBox(size=region.size, origin=region.origin),
    }
    if mask is not None:
        changes["mask"] = Path("mask.fits.gz" if mask.name.endswith(".gz") else "mask.fits")
        shutil.copyfile(mask, directory / changes["mask"])
    described = plan.survey.with_changes(changes)
    note = "# Made by peculiar mock: reads the catalogues beside it on the mesh of their true fields.\n"
    (directory / "survey.toml").write_text(note + survey_text(described), encoding="utf-8")
