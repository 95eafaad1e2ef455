"""`peculiar groups`: from a catalogue of galaxies to a catalogue of groups."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.catalogues import Groups, Survey, read_survey, to_sky, write_table
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.randoms import refuse_as_randoms
from peculiar.catalogues.sample import columns_used
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.tables import table_files, table_format
from peculiar.catalogues.write import write_rows
from peculiar.core import PRESETS, Cosmology, InputError
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True)
class GroupSummary:
    """What `find_groups_file` wrote: paths, and the numbers of groups, galaxies, groups of two or more, members."""

    written: tuple[Path, ...]
    groups: int
    galaxies: int
    several: int
    largest: int


def find_groups_file(
    source: Path | str,
    *,
    out: Path | str,
    survey: Survey,
    cosmology: Cosmology = PRESETS["xiao2024"],
    members: Path | str | None = None,
    force: bool = False,
) -> GroupSummary:
    """Find the groups of a survey and write them, all outputs or none.

    Parameters
    ----------
    source : path
        See `peculiar.catalogues.read_survey`.
    out : path
        Table of groups (FITS, HDF5, Parquet, ECSV or CSV), by decreasing number of members: ``group``, ``ra``, ``dec``
        [deg], ``z`` (mean, frame of the CMB), ``distance`` [Mpc/h], ``members``, ``dispersion`` [km/s] and ``mass``
        (what ranks: total luminosity if there is one, else members).
    survey : Survey
    cosmology : Cosmology
        Gives distances.
    members : path, optional
        The rows and columns of the input with ``group``; -1 for rows that take no part. A column of that name is kept
        as ``group_in``.
    force : bool
        Replace outputs that are there.

    Raises
    ------
    InputError
        For bad input, before the work starts where it can be known.
    """
    source = Path(source)
    randoms = [file for path in survey.randoms for file in table_files(path)]
    read = {"galaxies": [source, *table_files(source)], "--randoms": randoms, "--mask": survey.mask}
    inputs = [*table_files(source), *randoms, *([survey.mask] if survey.mask else [])]
    refuse_as_randoms(source, randoms)
    options = {"--out": out, "--members": members}
    outputs = [Path(path) for path in options.values() if path is not None]
    for option, path in options.items():
        if path is not None:
            table_format(path)
            check_output(path, overwrite=force, inputs=read, option=option)
    if len({path.expanduser().resolve() for path in outputs}) < len(outputs):
        raise InputError("--out and --members must be files of their own, got one name twice")
    rows = None if members is None else TableRows(source)
    if rows is not None and members is not None:
        require_held(rows.sample, members, added=("group",))
    table = source if rows is None else rows.opened(columns_used(survey))
    sample = read_survey(table, survey, cosmology=cosmology)
    groups = sample.groups()
    record = provenance(
        {"survey": survey.model_dump(mode="json"), "cosmology": cosmology_settings(cosmology)}, inputs=inputs
    )
    with ExitStack() as stack:  # every output is whole under its temporary name before the first is renamed
        temporary = stack.enter_context(atomic_output(out, overwrite=force))
        write_table(
            temporary, _group_table(groups, cosmology=cosmology), kind=table_format(out), provenance=record
        )
        if rows is not None and members is not None:
            own = np.full(len(sample.kept), -1)
            own[sample.kept] = groups.group
            temporary = stack.enter_context(atomic_output(members, overwrite=force))
            write_rows(temporary, rows, {"group": own}, kind=table_format(members), provenance=record)
    return GroupSummary(
        written=tuple(outputs),
        groups=len(groups),
        galaxies=int(groups.members.sum()),
        several=int((groups.members > 1).sum()),
        largest=int(groups.members.max()),
    )


def _group_table(groups: Groups, *, cosmology: Cosmology) -> Table:
    """One row per group."""
    from astropy.table import Table

    ra, dec, _ = to_sky(groups.positions, cosmology=cosmology)
    return Table(
        {
            "group": np.arange(len(groups)),
            "ra": ra,
            "dec": dec,
            "z": groups.redshifts,
            "distance": np.linalg.norm(groups.positions, axis=1),
            "members": groups.members,
            "dispersion": groups.dispersions,
            "mass": groups.mass_proxy,
        },
        units={"ra": "deg", "dec": "deg", "distance": "Mpc / h", "dispersion": "km / s"},
        descriptions={
            "z": "mean redshift, frame of the CMB",
            "distance": "mean comoving distance",
            "dispersion": "velocity dispersion along the line of sight (gapper), NaN for groups of one",
            "mass": "proxy that ranks: total luminosity, or number of members",
        },
    )
