"""Make simulated boxes or pairs of displacements: one directory a run, one file a seed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from peculiar.core.cosmology import PRESETS, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.hdf5 import is_whole
from peculiar.core.limits import Device, choose_device, require_seeds
from peculiar.core.output import atomic_output, check_output, refuse_inputs
from peculiar.core.own_files import cleared_after
from peculiar.core.provenance import provenance
from peculiar.core.records import Record, StoredCosmology, checked, read_json
from peculiar.core.workers import Advance, Workers, crew
from peculiar.inference.painted_boxes import PaintedSettings, paint_box, prepared_painter
from peculiar.inference.painting import HaloPainter
from peculiar.simulate.boxes import BoxSettings, simulate_box
from peculiar.simulate.initial import require_particles
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import DisplacementPair, PairSettings, simulate_pair
from peculiar.simulate.runs import epoch_directory
from peculiar.workflows.progress import progress_bar

RECORD = "run.json"
_SIMULATIONS = ("box-*.h5", "pair-*.h5", "z*/box-*.h5")


def simulate_run(
    out: str | Path,
    *,
    seeds: Sequence[int],
    settings: BoxSettings | PairSettings | PaintedSettings | None = None,
    cosmology: Cosmology | None = None,
    device: Device = "auto",
    workers: Workers = None,
    resume: bool = False,
    force: bool = False,
) -> list[Path]:
    """Simulate one box, or one pair of displacements, per seed into a run directory.

    Parameters
    ----------
    out : path
        Directory; `run.json` holds the settings, `box-SEED.h5` one box, `pair-SEED.h5` one pair. With
        `settings.redshifts` it holds a directory of this kind for each epoch, as `z0.600`.
    seeds : sequence of int
    settings : BoxSettings, PairSettings or PaintedSettings, optional
        What is made. Default: boxes of 225 Mpc/h, 256^3 particles, 96^3 mesh, z = 0.59, 12 steps.
    cosmology : Cosmology, optional
        Default: that of Xiao et al. 2024 for boxes, of He et al. 2019 for pairs, of the painter for painted halos.
    device : "auto", "cpu" or "cuda"
        "auto" takes a GPU where torch sees one.
    workers : int or str, optional
        Processes of this machine, or the address of a dask scheduler whose workers see `out`: each makes and writes
        whole files (`peculiar.core.workers.crew`), which are the same whoever makes them.
    resume : bool
        Keep boxes that are there and make the others; the run must have the same settings.
    force : bool
        Make boxes again that are there.

    Returns
    -------
    list of Path, one per seed; of several epochs one each, the earliest time first.

    Raises
    ------
    InputError
        If boxes exist and neither `resume` nor `force` is given, the run has other settings, or a box does not fit
        the painter's cells.

    Notes
    -----
    Memory 2.5 GB for boxes of 256^3 particles, 0.5 GB for pairs of 32^3; see `paint_box` for painted halos.
    """
    out = Path(out)
    settings = settings or BoxSettings()
    pairs = isinstance(settings, PairSettings)
    require_seeds(seeds)
    if not isinstance(workers, str):  # whose workers have devices of their own
        choose_device(device)
    plan: dict[str, Any] = {}
    painter = None
    if isinstance(settings, PaintedSettings):
        refuse_inputs(out, {"--matter": settings.matter}, option="out")
        painter, settings, cosmology = prepared_painter(settings, cosmology, seeds=seeds)
        plan["painter"] = {"name": painter.card.name, "weights_sha256": painter.card.weights_sha256}
    cosmology = cosmology or PRESETS["he2019" if pairs else "xiao2024"]
    require_particles(cosmology)
    cosmology.linear_power(np.array([0.1]))  # CAMB refuses what it cannot compute
    if not isinstance(settings, PaintedSettings):
        settings.check_cosmologies(cosmology)
    plan |= {"settings": dataclasses.asdict(settings), "cosmology": dataclasses.asdict(cosmology)}
    assert settings.redshift is not None
    plans, directories = {out: plan}, {settings.redshift: out}
    if isinstance(settings, BoxSettings) and settings.redshifts:
        plan["steps_to_epochs"] = {f"{redshift:g}": count for redshift, count in settings.epoch_steps.items()}
        directories = {redshift: epoch_directory(out, redshift) for redshift in settings.epochs}
        plans |= {
            directories[redshift]: plan | {"settings": dataclasses.asdict(epoch)}
            for redshift, epoch in settings.epochs.items()
        }
    earlier = {one: _earlier_seeds(one, planned, settings) for one, planned in plans.items()}
    name = "pair" if pairs else "box"
    files = {
        seed: {redshift: one / f"{name}-{seed:05d}.h5" for redshift, one in directories.items()}
        for seed in seeds
    }
    paths = [path for made in files.values() for path in made.values()]
    existing = [path for path in paths if os.path.lexists(path)]
    if odd := [path for path in existing if not path.is_file()]:
        raise InputError(
            f"simulations must be files, got another {odd[0]}: remove it, or use another directory"
        )
    if existing and not (resume or force):
        raise InputError(
            f"{out} must not hold these seeds yet, got {len(existing)} of them (first {existing[0].name}): "
            "use --resume to keep them or --force to make them again"
        )
    for one in plans:
        check_output(one / RECORD, overwrite=True)
    todo = {
        f"seed {seed}": (seed, missing)
        for seed, made in files.items()
        if (missing := {redshift: path for redshift, path in made.items() if force or not _is_whole(path)})
    }
    units = sum(settings.epoch_steps.values()) + 2 if isinstance(settings, BoxSettings) else 1
    make = partial(_make, settings=settings, cosmology=cosmology, painter=painter, device=device)
    with (
        cleared_after(*plans),
        crew(
            workers,
            tasks=len(todo),
            memory=settings.memory,
            what=settings.what,
            remedy="take fewer particles or cells",
        ) as hands,
    ):
        for one, planned in plans.items():
            one.mkdir(parents=True, exist_ok=True)
            known = sorted({*earlier[one], *seeds})
            with atomic_output(one / RECORD, overwrite=True) as temporary:
                temporary.write_text(
                    json.dumps(planned | {"provenance": provenance(planned, seed=known)}, indent=1)
                )
        with progress_bar("pairs" if pairs else "boxes", total=units * len(todo)) as advance:
            for _ in hands.each(make, todo, units=units, advance=advance, sees=out):
                pass
    return paths


def _make(
    task: tuple[int, Mapping[float, Path]],
    advance: Advance,
    *,
    settings: BoxSettings | PairSettings | PaintedSettings,
    cosmology: Cosmology,
    painter: HaloPainter | None,
    device: Device,
) -> None:
    """Make the files of one seed, by redshift, on the device of whoever does."""
    seed, paths = task
    chosen = choose_device(device)
    if isinstance(settings, BoxSettings):
        simulate_box(
            paths,
            settings,
            cosmology,
            seed=seed,
            device=chosen,
            overwrite=True,
            progress=lambda _done, _steps: advance(1),
        )
        advance(1)
        return
    (path,) = paths.values()
    if isinstance(settings, PairSettings):
        simulate_pair(path, settings, cosmology, seed=seed, device=chosen, overwrite=True)
    else:
        assert painter is not None
        painter.module.to(chosen)
        paint_box(path, settings, painter, cosmology, seed=seed, overwrite=True)
    advance(1)


def run_cosmology(run: str | Path) -> Cosmology:
    """Return the cosmology that a run was started with; single pairs may have drawn their own.

    Raises
    ------
    InputError
        If the directory has no record.
    """
    return _record_of(run).cosmology


def require_of_run(run: str | Path, simulations: Iterable[SimulatedBox | DisplacementPair]) -> None:
    """Refuse simulations that are not what the record of their run tells.

    Raises
    ------
    InputError
        If the directory has no record, or the size, mesh, redshift or cosmology of one is another.
    """
    record = _record_of(run)
    told = record.settings
    own_cosmologies = told.get("cosmologies") or told.get("varied")
    for one in simulations:
        mesh = "particles" if isinstance(one, DisplacementPair) else "cells"
        found: dict[str, Any] = {"size": one.box.side, mesh: one.box.mesh, "redshift": one.redshift}
        wanted: dict[str, Any] = {name: told.get(name, value) for name, value in found.items()}
        if not own_cosmologies:
            found |= dataclasses.asdict(one.cosmology)
            wanted |= dataclasses.asdict(record.cosmology)
        if different := [name for name, value in found.items() if value != wanted[name]]:
            raise InputError(
                f"simulations of a run must be what its {RECORD} tells, got "
                f"{', '.join(f'{name} = {found[name]:g} in place of {wanted[name]:g}' for name in different)} in "
                f"{one.path}: put it into a run of its own"
            )


def _record_of(run: str | Path) -> _Run:
    record = Path(run) / RECORD
    if not record.is_file():
        raise InputError(f"run must hold {RECORD}, got {run}: make it with `peculiar simulate`")
    return _read_record(record)


class _Provenance(Record):
    package: str = ""
    seed: list[int] = Field(default_factory=list)


class _Run(Record):
    """What `run.json` of a run of boxes or pairs holds."""

    settings: dict[str, Any]
    cosmology: StoredCosmology
    provenance: _Provenance


def _read_record(record: Path) -> _Run:
    remedy = "use another directory"
    entries = read_json(record, what="record of a run", remedy=remedy)
    return checked(_Run, entries, where=str(record), remedy=remedy)


def _earlier_seeds(
    out: Path, plan: Mapping[str, Any], settings: BoxSettings | PairSettings | PaintedSettings
) -> list[int]:
    """Return the seeds that a directory's record names; InputError if the directory holds another run."""
    record = out / RECORD
    if not os.path.lexists(record):
        return []
    found = _read_record(record)
    # What is younger than the run has its default there.
    stored = dataclasses.asdict(type(settings)()) | found.settings
    made = any(any(out.glob(kind)) for kind in _SIMULATIONS)  # else the record binds nobody
    there, here = found.model_dump() | {"settings": stored}, found.model_dump() | _in_json(plan)
    if made and there != here:
        raise InputError(
            f"{out} must hold boxes of one kind, but {record} has other settings{_difference(there, here)}: use "
            "another directory"
        )
    if not made and found.provenance.package != "peculiar":
        raise InputError(f"{out} must hold a run or no run.json, got another {record}: use another directory")
    return found.provenance.seed if made else []


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Return what differs of two records, in brackets; nothing of runs of another kind."""
    told = []
    for part in ("settings", "cosmology"):
        if there[part].keys() == here[part].keys():
            told += [
                f"{name} {there[part][name]} there, {value} here"
                for name, value in here[part].items()
                if there[part][name] != value
            ]
    return f" ({'; '.join(told)})" if told else ""


def _in_json(values: Any) -> Any:
    """Return values as they are read again."""
    return json.loads(json.dumps(values))


def _is_whole(path: Path) -> bool:
    try:
        (DisplacementPair if path.name.startswith("pair") else SimulatedBox).open(path)
    except InputError:
        return False
    return is_whole(path)
