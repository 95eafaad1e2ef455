"""Make simulated boxes or pairs of displacements: one directory a run, one file a seed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from peculiar.core.cosmology import PRESETS, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.hdf5 import is_whole
from peculiar.core.limits import choose_device, require_seeds
from peculiar.core.memory import require_memory
from peculiar.core.output import atomic_output, check_output, refuse_inputs
from peculiar.core.provenance import provenance
from peculiar.core.records import Record, StoredCosmology, checked, read_json
from peculiar.inference.painted_boxes import PaintedSettings, paint_box, prepared_painter
from peculiar.simulate.initial import require_particles
from peculiar.simulate.mocks import BoxSettings, SimulatedBox, simulate_box
from peculiar.simulate.pairs import DisplacementPair, PairSettings, simulate_pair
from peculiar.workflows.progress import progress_bar


def simulate_run(
    out: str | Path,
    *,
    seeds: Sequence[int],
    settings: BoxSettings | PairSettings | PaintedSettings | None = None,
    cosmology: Cosmology | None = None,
    device: str | None = None,
    resume: bool = False,
    force: bool = False,
) -> list[Path]:
    """Simulate one box, or one pair of displacements, per seed into a run directory.

    Parameters
    ----------
    out : path
        Directory; `run.json` holds the settings, `box-SEED.h5` one box, `pair-SEED.h5` one pair.
    seeds : sequence of int
    settings : BoxSettings, PairSettings or PaintedSettings, optional
        What is made. Default: boxes of 225 Mpc/h, 256^3 particles, 96^3 mesh, z = 0.59, 12 steps.
    cosmology : Cosmology, optional
        Default: that of Xiao et al. 2024 for boxes, of He et al. 2019 for pairs, of the painter for painted halos.
    device : str, optional
        "cpu" or "cuda"; default: a GPU if torch sees one.
    resume : bool
        Keep boxes that are there and make the others; the run must have the same settings.
    force : bool
        Make boxes again that are there.

    Returns
    -------
    list of Path, one per seed.

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
    chosen = choose_device(device)
    plan: dict[str, Any] = {}
    painter = None
    if isinstance(settings, PaintedSettings):
        refuse_inputs(out, {"--matter": settings.matter}, option="out")
        painter, settings, cosmology = prepared_painter(settings, cosmology, seeds=seeds, device=chosen)
        plan["painter"] = {"name": painter.card.name, "weights_sha256": painter.card.weights_sha256}
    cosmology = cosmology or PRESETS["he2019" if pairs else "xiao2024"]
    require_particles(cosmology)
    require_memory(settings.memory, what=settings.what, remedy="take fewer particles or cells")
    cosmology.linear_power(np.array([0.1]))  # CAMB refuses what it cannot compute
    if isinstance(settings, PairSettings):
        settings.check_cosmologies(cosmology)
    plan |= {"settings": dataclasses.asdict(settings), "cosmology": dataclasses.asdict(cosmology)}
    paths = [out / f"{'pair' if pairs else 'box'}-{seed:05d}.h5" for seed in seeds]
    record = out / "run.json"
    earlier: list[int] = []
    if os.path.lexists(record):
        found = _read_record(record)
        # What is younger than the run has its default there.
        stored = dataclasses.asdict(type(settings)()) | found.settings
        made = any(out.glob("box-*.h5")) or any(out.glob("pair-*.h5"))  # else the record binds nobody
        if made and found.model_dump() | {"settings": stored} != found.model_dump() | plan:
            raise InputError(
                f"{out} must hold boxes of one kind, but {record} has other settings: use another directory"
            )
        if not made and found.provenance.package != "peculiar":
            raise InputError(
                f"{out} must hold a run or no run.json, got another {record}: use another directory"
            )
        earlier = found.provenance.seed if made else []
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
    check_output(record, overwrite=True)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_output(record, overwrite=True) as temporary:
        temporary.write_text(
            json.dumps(plan | {"provenance": provenance(plan, seed=sorted({*earlier, *seeds}))}, indent=1)
        )
    todo = [(seed, path) for seed, path in zip(seeds, paths, strict=True) if force or not _is_whole(path)]
    if isinstance(settings, PairSettings):
        with progress_bar("pairs", total=len(todo)) as advance:
            for seed, path in todo:
                simulate_pair(path, settings, cosmology, seed=seed, device=chosen, overwrite=True)
                advance(1)
        return paths
    if isinstance(settings, PaintedSettings):
        assert painter is not None
        with progress_bar("boxes", total=len(todo)) as advance:
            for seed, path in todo:
                paint_box(path, settings, painter, cosmology, seed=seed, overwrite=True)
                advance(1)
        return paths
    units = settings.steps.count + 2
    with progress_bar("boxes", total=units * len(todo)) as advance:
        for seed, path in todo:
            simulate_box(
                path,
                settings,
                cosmology,
                seed=seed,
                device=chosen,
                overwrite=True,
                progress=lambda _done, _steps: advance(1),
            )
            advance(1)
    return paths


def run_cosmology(run: str | Path) -> Cosmology:
    """Return the cosmology that a run was started with; single pairs may have drawn their own.

    Raises
    ------
    InputError
        If the directory has no record.
    """
    record = Path(run) / "run.json"
    if not record.is_file():
        raise InputError(f"run must hold run.json, got {run}: make it with `peculiar simulate`")
    return _read_record(record).cosmology


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


def _is_whole(path: Path) -> bool:
    try:
        (DisplacementPair if path.name.startswith("pair") else SimulatedBox).open(path)
    except InputError:
        return False
    return is_whole(path)
