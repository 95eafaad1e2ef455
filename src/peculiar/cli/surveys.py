"""Options that describe a survey, and the command for its groups."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peculiar.cli.app import Force, app, numbers, pairs

if TYPE_CHECKING:
    from peculiar.catalogues import Survey


class FrameName(StrEnum):
    """Rest frames of redshifts."""

    heliocentric = "heliocentric"
    cmb = "cmb"
    local_group = "local-group"


class RadialName(StrEnum):
    """Kinds of radial selection."""

    flat = "flat"
    measured = "measured"
    flux_limited = "flux-limited"


class GroupName(StrEnum):
    """What is done with groups before painting."""

    ignore = "ignore"
    collapse = "collapse"
    by_group = "replace"


SurveyFile = Annotated[
    str | None,
    typer.Option(help="Survey file (.toml), or sdss_dr7; the options below win over it.", metavar="FILE"),
]
Frame = Annotated[
    FrameName | None, typer.Option(help="Rest frame of the redshifts; they are converted to cmb.")
]
Mask = Annotated[Path | None, typer.Option(help="HEALPix map of the survey's completeness.")]
CompleteAbove = Annotated[
    float | None, typer.Option(help="Completeness from which on the mask counts as 1, for a noisy map.")
]
Randoms = Annotated[
    list[Path] | None,
    typer.Option(
        help="Random points with the survey's selection: ra, dec, z; several files are read as one."
    ),
]
Distances = Annotated[
    str | None, typer.Option(help="LOW,HIGH: comoving limits of the survey [Mpc/h].", metavar="LOW,HIGH")
]
Radial = Annotated[
    RadialName | None, typer.Option(help="Radial selection of the survey.", show_default="flat")
]
MagnitudeLimit = Annotated[
    float | None, typer.Option(help="Faintest apparent magnitude of a flux-limited survey.")
]
GroupUse = Annotated[
    GroupName | None,
    typer.Option(
        help="Collapse fingers of God, or replace galaxies by their groups, before painting.",
        show_default="ignore",
    ),
]
Padding = Annotated[
    float | None, typer.Option(help="Empty margin around the survey [Mpc/h].", show_default="25")
]
CellSize = Annotated[
    float | None, typer.Option(help="Side of a survey's mesh cell [Mpc/h].", show_default="the model's")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="NAME=COLUMN where the file's name differs, as x=X_GAL; may be repeated."),
]


def survey_from(
    *, survey: str | None, distances: str | None, columns: dict[str, str] | None, **options: Any
) -> Survey | None:
    """Return the survey that the options describe; None where none of them is given."""
    given = {"distances": numbers("--distances", distances, 2), "columns": columns, **options}
    if survey is None and all(value is None for value in given.values()):
        return None
    from peculiar.workflows.surveys import resolve_survey

    plain: dict[str, Any] = {
        name: value.value if isinstance(value, StrEnum) else value for name, value in given.items()
    }
    return resolve_survey(survey, **plain)


@app.command()
def groups(
    galaxies: Annotated[
        Path,
        typer.Argument(help="FITS, HDF5, Parquet, ECSV or CSV with ra, dec in degrees and z (redshift)."),
    ],
    out: Annotated[Path, typer.Option(help="Groups: ra, dec, z, members, velocity dispersion, mass proxy.")],
    members: Annotated[
        Path | None, typer.Option(help="Also write the galaxies' rows with their group (-1 where unused).")
    ] = None,
    survey: SurveyFile = None,
    frame: Frame = None,
    mask: Mask = None,
    complete_above: CompleteAbove = None,
    randoms: Randoms = None,
    distances: Distances = None,
    radial: Radial = None,
    magnitude_limit: MagnitudeLimit = None,
    linking: Annotated[
        str | None,
        typer.Option(
            help="Linking lengths across and along the line of sight, in mean separations.",
            metavar="ACROSS,ALONG",
            show_default="0.14,0.75",
        ),
    ] = None,
    column: Columns = None,
    cosmology: Annotated[
        str,
        typer.Option(help="Gives distances: a preset, astropy's name (Planck18), or Omega_m=0.3,h=0.7."),
    ] = "xiao2024",
    force: Force = False,
) -> None:
    """Find groups of galaxies by friends of friends in redshift space."""
    from peculiar.core import InputError
    from peculiar.workflows.cosmologies import parse_cosmology
    from peculiar.workflows.groups import find_groups_file

    described = survey_from(
        survey=survey,
        frame=frame,
        mask=mask,
        complete_above=complete_above,
        randoms=randoms or None,
        distances=distances,
        radial=radial,
        magnitude_limit=magnitude_limit,
        columns=pairs("--column", column) or None,
    )
    if described is None:
        raise InputError("groups need the survey's footprint: give --survey, --mask or --randoms, got none")
    if linking is not None:
        across, along = numbers("--linking", linking, 2)
        described = described.with_changes({"linking": {"perpendicular": across, "parallel": along}})
    summary = find_groups_file(
        galaxies,
        out=out,
        survey=described,
        cosmology=parse_cosmology(cosmology),
        members=members,
        force=force,
    )
    typer.echo(
        f"peculiar: {summary.groups} groups of {summary.galaxies} galaxies, {summary.several} of two or more, "
        f"{summary.largest} in the largest",
        err=True,
    )
    for path in summary.written:
        typer.echo(f"{path}")
