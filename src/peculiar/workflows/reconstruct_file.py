"""`peculiar reconstruct`: from a catalogue file to files of fields and of objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.catalogues.added import TOLD_COLUMNS
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.read import has_units, position_columns
from peculiar.catalogues.tables import table_files, table_format
from peculiar.catalogues.write import write_pieces, write_rows
from peculiar.core import PRESETS, Cosmology, InputError, Reconstructor
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.core.limits import Device
from peculiar.core.memory import allowed_memory
from peculiar.core.output import atomic_output, check_output, require_space
from peculiar.core.provenance import provenance
from peculiar.core.workers import Workers, require_workers
from peculiar.fields.files import HDF5
from peculiar.inference.model_card import DEFAULT_MODEL
from peculiar.inference.query_result import (
    VPEC_COLUMNS,
    Unseen,
    require_unseen,
    value_columns,
    vpec_columns,
    warn_no_error,
)
from peculiar.linear import MultiTracerWiener
from peculiar.linear.reliability import require_edges
from peculiar.workflows.bao import BaoOptions, shifted_tables
from peculiar.workflows.catalogue_options import CatalogueOptions, read_with
from peculiar.workflows.drawing import DrawOptions
from peculiar.workflows.field_files import InPieces, save_pieces, save_whole
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.reconstruct import (
    CELL_SIZE,
    asked_for,
    fitting,
    mesh_cells,
    reconstructed,
    settle,
    tuned,
)

if TYPE_CHECKING:
    from peculiar.linear.reliability import Amplitude


@dataclass(frozen=True)
class Summary:
    """What `reconstruct_file` wrote: the paths, how many objects lie outside the fields (NaN), what was assumed."""

    written: tuple[Path, ...]
    objects: int
    outside: int
    cells: int
    notes: tuple[str, ...] = ()


def reconstruct_file(
    source: Path | str,
    *,
    out: Path | str,
    options: CatalogueOptions,
    model: str | Path | None = None,
    cells: int | None = None,
    cosmology: Cosmology | None = None,
    objects: Path | str | None = None,
    carry: Sequence[str] | None = None,
    hdf5: Path | str | None = None,
    errors: bool = False,
    amplitude: Amplitude = "mean",
    memory: int | str | None = None,
    unseen: Unseen = "keep",
    vpec: bool = False,
    shifted: BaoOptions | None = None,
    drawn: DrawOptions | None = None,
    device: Device = "auto",
    workers: Workers = None,
    force: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Summary:
    """Reconstruct the fields of a catalogue file and write them, all outputs or none.

    Parameters
    ----------
    source : path
        FITS, HDF5, Parquet, ECSV or CSV.
    out : path
        zarr directory with density, velocity and momentum.
    options : CatalogueOptions
        How the file is to be read.
    model : str or path, optional
        See `make_reconstructor`; by default "general", outside its range "wiener" (`settle`).
    cells : int, optional
        Mesh cells along a side of a box; by default those of the model's cell size.
    cosmology : Cosmology, optional
        By default the model's training cosmology.
    objects : path, optional
        Table of the input's rows and columns with what was reconstructed at each.
    carry : sequence of str, optional
        Columns of the input that tables of its objects get, beside the positions; all where not given.
    hdf5 : path, optional
        The fields as HDF5 as well.
    errors : bool
        Add the fields "velocity_error" and "known_fraction", and the columns "v_los_error" and "known_fraction" to the
        objects; see `with_reliability`.
    amplitude : "mean" or "unbiased"
        Of the velocity: the model's posterior mean, or that divided by the known fraction.
    memory : int or str, optional
        What the process may take [bytes], or "8GB"; what is free where not given. Where a model does not fit whole each
        field is written as it is made, and a network goes in tiles; with errors or an amplitude all are in memory.
    unseen : "keep" or "nan"
        Whether objects of a survey that lie where it saw nothing, in the box but not in the mask and the limits, get
        what the fields extrapolate there; the column "unseen" says which they are.
    vpec : bool
        Add the columns "VPEC", "VPEC_ERR" and "zHD" to a survey's objects; see `vpec_columns`.
    shifted : BaoOptions, optional
        Positions shifted for baryon acoustic oscillations to write.
    drawn : DrawOptions, optional
        Draws of density and velocity to write into `out`, with a column for each in the table of objects.
    device : "auto", "cpu" or "cuda"
        Of networks: "auto" takes a GPU where torch sees one.
    workers : int or str, optional
        Who shares a network's tiles: processes of this machine, or a dask scheduler's, which see the place of `out`.
    force : bool
        Replace outputs that are there.
    announce : callable, optional
        Is told in a line what was assumed of the input.

    Raises
    ------
    InputError
        For bad input, before the work starts where it can be known; nothing is then left behind.
    """
    source, shifted, drawn = Path(source), shifted or BaoOptions(), drawn or DrawOptions()
    outputs = _check_outputs(
        source,
        out=out,
        tables={"--at-objects": objects, **shifted.outputs},
        hdf5=hdf5,
        inputs=options.inputs,
        force=force,
    )
    if cells is not None and options.survey is not None:
        raise InputError(
            "a survey (--sky) takes no --cells: its mesh has the model's cell size, or --cell-size"
        )
    require_unseen(unseen)
    require_workers(workers)
    allowed_memory(memory)  # its own error
    if vpec and (options.survey is None or objects is None):
        raise InputError("--vpec needs a survey (--sky) and --at-objects, whose table gets its columns")
    if vpec and not errors:
        warn_no_error()
    assessed = errors or amplitude != "mean"
    if assessed:
        require_edges(options.survey is None and options.periodic)
    drawn.require_mean(amplitude)
    opened, rows = options.opened(source, carry=carry, travels=objects is not None or bool(shifted.outputs))
    randoms = None if rows is None else shifted.check(rows, options.survey)
    if rows is not None and objects is not None:
        of_field = ["v_los_error", *(["known_fraction"] if assessed else [])]
        flags = [] if options.survey is None else ["unseen", *(VPEC_COLUMNS if vpec else ())]
        require_held(rows.sample, objects, added=(*TOLD_COLUMNS, *of_field, *flags, *drawn.columns))
    named, card = asked_for(model, device=device)
    if named is not None:
        drawn.require(named)
    cosmology = cosmology or (card.training_cosmology if card else PRESETS["xiao2024"])
    # Surveys are wide: of the cells that a network knows they have the largest.
    known = (card.cell_size, card.cell_size_range[1]) if card else (CELL_SIZE, CELL_SIZE)
    cell_size = known[options.survey is not None]
    catalogue, made, limits = read_with(
        options,
        opened,
        cosmology=cosmology,
        cell_size=cell_size,
        # A default network hands over where it was not measured to win: the least that is taken is what this takes.
        reconstructor=MultiTracerWiener() if named is None else named,
        memory=memory,
    )
    catalogue.require_objects()
    positions = catalogue.positions if made is None else made.positions
    if announce is not None and options.survey is None:
        names = position_columns(opened, options.columns)
        if not has_units(opened, names):
            announce(
                f"peculiar: {', '.join(names)} without a unit are taken as comoving Mpc/h: "
                f"{catalogue.number_density:.3g} objects per (Mpc/h)^3"
            )
    del opened  # columns that are not written are used no more
    if cells is None:
        has_mesh = catalogue.box.cells is not None
        cells = max(catalogue.box.shape) if has_mesh else mesh_cells(catalogue.box, cell_size=cell_size)
    mesh = catalogue.box.with_cells(cells)
    reconstructor, outside_range = settle(
        named,
        card,
        catalogue,
        cells=cells,
        cosmology=cosmology,
        device=device,
        drawn=bool(drawn),
    )
    fitted = fitting(reconstructor, mesh, memory=memory, workers=workers, in_pieces=not assessed)
    pieces = fitted if isinstance(fitted, InPieces) else None
    for path in outputs:
        require_space(path, size=drawn.space(mesh) + (pieces.scratch(mesh) if pieces else 0))
    with progress_bar("reconstruct", total=3) as advance:
        made_by = provenance(
            _settings(
                options,
                limits=limits,
                cosmology=cosmology,
                cells=cells,
                model=str(model or DEFAULT_MODEL),
                reconstructor=reconstructor,
                outside_range=outside_range,
                amplitude=amplitude,
                shifted=shifted,
            )
            | drawn.settings,
            inputs=[*table_files(source), *chain.from_iterable(options.inputs.values())],
        )
        result_of = partial(
            reconstructed,
            catalogue,
            by=reconstructor,
            cosmology=cosmology,
            warnings=outside_range,
            record={"provenance": made_by} | ({} if made is None else made.attributes),
        )
        whole = None
        if pieces is None or assessed:
            whole = result_of(fitted.reconstruct(catalogue, cells=cells, cosmology=cosmology))
            advance(1)
        outside = unseen_rows = 0
        # Every output is whole under its temporary name before the first is renamed.
        with ExitStack() as stack:
            paths = [stack.enter_context(atomic_output(path, overwrite=force)) for path in outputs]
            if whole is not None:
                told = whole.with_errors(amplitude=amplitude, errors=errors) if assessed else whole
                result = save_whole(told, paths)
            elif pieces is not None:
                result = save_pieces(
                    pieces, catalogue, cells=cells, cosmology=cosmology, result=result_of, paths=paths
                )
                advance(1)
            asked = None if objects is None else positions
            of_draws = drawn.save(whole or result, paths[0], positions=asked, unseen=unseen)
            advance(1)
            if objects is not None and rows is not None:
                values = result.at_objects(positions)
                outside = values.outside
                if values.unseen is not None:
                    unseen_rows = int(values.unseen.sum())
                    values = values.without(values.unseen) if unseen == "nan" else values
                added: dict[str, np.ndarray] = {**value_columns(values), **of_draws}
                if values.unseen is not None:
                    added["unseen"] = values.unseen
                if made is not None and vpec:
                    added |= vpec_columns(
                        values, (1 + made.redshifts) / (1 + values.v_los_own / SPEED_OF_LIGHT) - 1
                    )
                temporary = stack.enter_context(atomic_output(objects, overwrite=force))
                write_rows(temporary, rows, added, kind=table_format(objects), provenance=made_by)
            if rows is not None:
                for path, sample, moved in shifted_tables(
                    shifted,
                    rows,
                    catalogue,
                    cells=cells,
                    cosmology=cosmology,
                    columns=options.columns,
                    survey=options.survey,
                    made=made,
                    randoms=randoms,
                ):
                    temporary = stack.enter_context(atomic_output(path, overwrite=force))
                    write_pieces(temporary, moved, sample=sample, kind=table_format(path), provenance=made_by)
        advance(1)
    written = (*outputs, *([] if objects is None else [Path(objects)]), *shifted.outputs.values())
    notes = [] if made is None else [str(made), *filter(None, [made.weighting])]
    if unseen_rows:
        values_are = "NaN" if unseen == "nan" else "extrapolated (column unseen)"
        notes.append(
            f"{unseen_rows} of {len(positions)} objects lie where the survey saw nothing: values are {values_are}"
        )
    return Summary(written, objects=len(positions), outside=outside, cells=cells, notes=tuple(notes))


def _check_outputs(
    source: Path,
    *,
    out: Path | str,
    tables: Mapping[str, Path | str | None],
    hdf5: Path | str | None,
    inputs: Mapping[str, list[Path]],
    force: bool,
) -> tuple[Path, ...]:
    """Refuse outputs that cannot be written or are one another or an input; return those of the fields."""
    if hdf5 is not None and Path(hdf5).suffix not in HDF5:
        raise InputError(f"--hdf5 must end in .h5 or .hdf5, got {hdf5}")
    if Path(out).suffix != ".zarr":
        raise InputError(f"--out must end in .zarr, got {out}: give --hdf5 FILE for HDF5 as well")
    for path in tables.values():
        if path is not None:
            table_format(path)
    read = {"catalogue": [source, *table_files(source)], **inputs}
    taken = {
        path.expanduser().resolve(): f"the {name.lstrip('-')}"
        for name, paths in read.items()
        for path in paths
    }
    for name, path in {"--out": out, "--hdf5": hdf5, **tables}.items():
        if path is None:
            continue
        resolved = Path(path).expanduser().resolve()
        if resolved in taken:
            raise InputError(f"{name} must be a file of its own, got {path}, which is {taken[resolved]}")
        taken[resolved] = name
        check_output(path, overwrite=force, inputs=read, option=name)
    return tuple(Path(path) for path in (out, hdf5) if path is not None)


def _settings(
    options: CatalogueOptions,
    *,
    limits: tuple[float, float] | None,
    cosmology: Cosmology,
    cells: int,
    model: str,
    reconstructor: Reconstructor,
    outside_range: Sequence[str],
    amplitude: Amplitude,
    shifted: BaoOptions,
) -> dict[str, Any]:
    """Return the resolved settings."""
    survey = None if options.survey is None else options.survey.model_dump(mode="json")
    settings: dict[str, Any] = asdict(replace(options, survey=None)) if survey is None else {"survey": survey}
    return settings | {
        "distance_range": limits,
        "cells": cells,
        "model": model,
        "reconstructed_by": reconstructor.name,
        "outside_range": list(outside_range),
        "amplitude": amplitude,
        **(asdict(shifted) if shifted.outputs else {}),
        "cosmology": cosmology_settings(cosmology),
        **tuned(reconstructor),
    }
