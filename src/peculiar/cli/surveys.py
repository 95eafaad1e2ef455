"""Options that describe a survey, and the command for its groups."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from peculiar.cli.app import Force, app, numbers, pairs, spread

if TYPE_CHECKING:
    from peculiar.catalogues import Survey


Frame = Literal["heliocentric", "cmb", "local-group"]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="NAME=COLUMN where the file's name differs, as x=X_GAL; may be repeated."),
]


@dataclass(frozen=True)
class SurveyOptions:
    """Options that describe a survey."""

    survey: Annotated[
        str | None,
        typer.Option(
            help="Survey file (.toml), or one of the package: sdss_dr7, desi_lrg, boss_cmass ...; the options below "
            "win over it.",
            metavar="FILE",
        ),
    ] = None
    frame: Annotated[
        Frame | None, typer.Option(help="Rest frame of the redshifts; they are converted to cmb.")
    ] = None
    mask: Annotated[Path | None, typer.Option(help="HEALPix map of the survey's completeness.")] = None
    complete_above: Annotated[
        float | None,
        typer.Option(help="Completeness from which on the mask counts as 1, for a noisy map."),
    ] = None
    distances: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH: comoving limits of the survey [Mpc/h].", metavar="LOW,HIGH"),
    ] = None
    radial: Annotated[
        Literal["flat", "measured", "nz", "flux-limited", "tabulated"] | None,
        typer.Option(help="Radial selection of the survey; nz is a column.", show_default="flat"),
    ] = None
    magnitude_limit: Annotated[
        float | None, typer.Option(help="Faintest apparent magnitude of a flux-limited survey.")
    ] = None

    def resolve(self, columns: list[str] | None) -> Survey | None:
        """Return the survey that the options describe; None where none of them is given."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        given |= {
            "distances": numbers("--distances", self.distances, 2),
            "columns": pairs("--column", columns) or None,
        }
        given |= {name: given.get(name) or None for name in ("randoms", "weights", "random_weights")}
        if all(value is None for value in given.values()):
            return None
        from peculiar.catalogues.survey import resolve_survey

        return resolve_survey(given.pop("survey"), **given)


@dataclass(frozen=True)
class WithRandoms(SurveyOptions):
    """Options of a survey whose footprint random points may give."""

    randoms: Annotated[
        list[Path] | None,
        typer.Option(
            help="Random points with the survey's selection: ra, dec, z; several files, or 'ran_*.fits', are one."
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            help="Columns that weigh the objects: 'WEIGHT * WEIGHT_FKP', 'SYSTOT * (CP + NOZ - 1)'; repeated ones "
            "multiply.",
            show_default="weight, or those of BOSS and eBOSS",
        ),
    ] = None
    random_weights: Annotated[
        list[str] | None,
        typer.Option("--random-weight", help="Of the randoms.", show_default="as the objects"),
    ] = None


@dataclass(frozen=True)
class WithMargin(SurveyOptions):
    """Options of a survey that is put into a box."""

    padding: Annotated[
        float | None, typer.Option(help="Empty margin around the survey [Mpc/h].", show_default="25")
    ] = None


@app.command()
@spread
def groups(
    galaxies: Annotated[
        Path,
        typer.Argument(help="FITS, HDF5, Parquet, ECSV or CSV with ra, dec in degrees and z (redshift)."),
    ],
    out: Annotated[Path, typer.Option(help="Groups: ra, dec, z, members, velocity dispersion, mass proxy.")],
    *,
    members: Annotated[
        Path | None, typer.Option(help="Also write the galaxies' rows with their group (-1 where unused).")
    ] = None,
    footprint: WithRandoms,
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
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.workflows.groups import find_groups_file

    described = footprint.resolve(column)
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
