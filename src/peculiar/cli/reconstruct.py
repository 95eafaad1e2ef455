"""Commands for users of a catalogue: reconstruct, models, report, demo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from peculiar.cli.app import Crew, Device, Force, Sight, Space, announce, app, numbers, pairs, spread
from peculiar.cli.surveys import Columns, WithMargin, WithRandoms


@dataclass(frozen=True)
class Sample(WithMargin, WithRandoms):
    """Options of a survey that is reconstructed."""

    groups: Annotated[
        Literal["ignore", "collapse", "replace"] | None,
        typer.Option(
            help="Collapse fingers of God, or replace galaxies by their groups, before painting.",
            show_default="ignore",
        ),
    ] = None
    cell_size: Annotated[
        float | None,
        typer.Option(help="Side of a survey's mesh cell [Mpc/h].", show_default="the model's"),
    ] = None


@dataclass(frozen=True)
class Shifted:
    """Options of positions that are shifted for baryon acoustic oscillations."""

    bao: Annotated[
        Path | None, typer.Option(help="Also write the catalogue with positions shifted for BAO.")
    ] = None
    bao_randoms: Annotated[
        Path | None,
        typer.Option(help="Also write the randoms so: those of --randoms, of a box 20 an object."),
    ] = None
    bao_smoothing: Annotated[
        float, typer.Option(help="Gaussian smoothing scale of the displacement [Mpc/h].")
    ] = 15.0
    bao_convention: Annotated[
        Literal["recsym", "reciso"],
        typer.Option(help="Randoms move with the growth rate along the line of sight, or without."),
    ] = "recsym"
    bao_bias: Annotated[
        float | None,
        typer.Option(help="Linear bias of the objects, for the displacement.", show_default="measured"),
    ] = None


@dataclass(frozen=True)
class Drawn:
    """Options of draws."""

    draws: Annotated[
        int,
        typer.Option(help="Draws of density and velocity, into OUT/draws, and v_los_draw_000... of objects."),
    ] = 0
    seed: Annotated[int | None, typer.Option(help="Of the draws.", show_default="0")] = None


@app.command()
@spread
def reconstruct(
    catalogue: Annotated[
        Path,
        typer.Argument(
            help="FITS, HDF5, Parquet or text with x, y, z [Mpc/h], or --sky; FILE[PART] for a part of it."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Fields: a zarr directory with density, velocity and momentum.")],
    *,
    box: Annotated[
        str | None, typer.Option(help="Side of the box, or its three sides [Mpc/h].", metavar="SIZE|X,Y,Z")
    ] = None,
    los: Annotated[
        Sight | None,
        typer.Option(help="Line of sight in the box.", show_default="what the file states, else z"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A name of `peculiar models`, or a .safetensors file.",
            show_default="general, residual in its range; wiener outside both",
        ),
    ] = None,
    at_objects: Annotated[
        Path | None,
        typer.Option(
            help="Also write the catalogue's rows with vx, vy, vz, v_los (km/s), delta, x_real, y_real, z_real [Mpc/h]."
        ),
    ] = None,
    carry: Annotated[
        str | None,
        typer.Option(
            help="Columns of the catalogue that --at-objects and --bao get, beside the positions.",
            metavar="NAME,NAME",
            show_default="all",
        ),
    ] = None,
    hdf5: Annotated[Path | None, typer.Option(help="Also write the fields as HDF5.")] = None,
    errors: Annotated[
        bool,
        typer.Option(
            "--errors",
            help="Of a survey: add velocity_error (km/s) to the fields, v_los_error to the objects.",
        ),
    ] = False,
    amplitude: Annotated[
        Literal["mean", "unbiased"],
        typer.Option(help="Of a survey's velocity: posterior mean, or divided by the share that is known."),
    ] = "mean",
    unseen: Annotated[
        Literal["keep", "nan"],
        typer.Option(
            help="Of a survey's objects where it saw nothing: what the fields extrapolate, or none."
        ),
    ] = "keep",
    vpec: Annotated[
        bool, typer.Option("--vpec", help="Of a survey: add VPEC, VPEC_ERR (km/s) and zHD to the objects.")
    ] = False,
    space: Annotated[
        Space | None,
        typer.Option(
            help="Space of the positions: with redshift-space distortions, or real.",
            show_default="what the file states, else redshift",
        ),
    ] = None,
    redshift: Annotated[
        float | None,
        typer.Option(
            help="Effective redshift of a box, or one epoch for all of a survey.",
            show_default="what the file states, else needed; of a survey that of each distance",
        ),
    ] = None,
    cosmology: Annotated[
        str | None,
        typer.Option(
            help="A preset (xiao2024), astropy's name (Planck18), or Omega_m=0.3,h=0.7.",
            show_default="model's",
        ),
    ] = None,
    column: Columns = None,
    sky: Annotated[
        bool,
        typer.Option(
            "--sky",
            help="A survey with ra, dec in degrees and z (redshift); needs --survey, --mask or --randoms.",
        ),
    ] = False,
    sample: Sample,
    shifted: Shifted,
    drawn: Drawn,
    periodic: Annotated[bool, typer.Option(help="Whether opposite faces of the box are one.")] = True,
    origin: Annotated[
        str | None, typer.Option(help="Lower corner of the box [Mpc/h].", metavar="X,Y,Z")
    ] = None,
    observer: Annotated[
        str | None, typer.Option(help="Observer, for --los radial [Mpc/h].", metavar="X,Y,Z")
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(
            help="Mesh cells along the longest side of a box.", show_default="the model's cell size"
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What it may take; a network that does not fit whole goes in tiles, with meshes on the disk.",
            metavar="8GB",
            show_default="what is free",
        ),
    ] = None,
    device: Device = "auto",
    crew: Crew,
    force: Force = False,
) -> None:
    """Reconstruct density, velocity and momentum from a catalogue."""
    from peculiar.core import InputError
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.workflows.bao import BaoOptions
    from peculiar.workflows.catalogue_options import CatalogueOptions
    from peculiar.workflows.drawing import DrawOptions
    from peculiar.workflows.reconstruct_file import reconstruct_file

    described = sample.resolve(column if sky else None)
    if sky != (described is not None):
        raise InputError(
            "--sky must come with --survey, --mask or --randoms, and these only with --sky, got "
            + ("--sky alone" if sky else "options of a survey without --sky")
        )
    sides = numbers("--box", box, 1, 3)
    options = CatalogueOptions(
        box_size=sides[0] if sides is not None and len(sides) == 1 else sides,
        origin=numbers("--origin", origin, 3),
        periodic=periodic,
        line_of_sight=los,
        observer=numbers("--observer", observer, 3),
        space=space,
        redshift=redshift,
        columns=None if sky else pairs("--column", column) or None,
        survey=described,
    )
    summary = reconstruct_file(
        catalogue,
        out=out,
        options=options,
        model=model,
        cells=cells,
        cosmology=None if cosmology is None else parse_cosmology(cosmology),
        objects=at_objects,
        carry=None if carry is None else [name.strip() for name in carry.split(",")],
        hdf5=hdf5,
        errors=errors,
        amplitude=amplitude,
        memory=memory,
        unseen=unseen,
        vpec=vpec,
        shifted=BaoOptions(**asdict(shifted)),
        drawn=DrawOptions(**asdict(drawn)),
        device=device,
        workers=crew.chosen(),
        force=force,
        announce=announce,
    )
    for note in summary.notes:
        announce(f"peculiar: {note}")
    if summary.outside:
        typer.echo(
            f"peculiar: {summary.outside} of {summary.objects} objects lie outside the fields: NaN in {at_objects}",
            err=True,
        )
    for path in summary.written:
        typer.echo(f"{path}")


@app.command()
def models() -> None:
    """List the models: what `reconstruct --model` takes, the emulators and the painters."""
    from peculiar.inference.card_range import card_limits
    from peculiar.inference.model_card import (
        DEFAULT_MODEL,
        SPECIALIST,
        WEIGHTS,
        ModelCard,
        available_models,
        parameter_count,
        read_card,
    )
    from peculiar.workflows.reconstruct import CLASSICAL

    for name in CLASSICAL:
        typer.echo(f"{name:16}  reconstruct: classical, no weights")
    for name in available_models(None):
        card = read_card(WEIGHTS / f"{name}.json")
        weights = f"{parameter_count(WEIGHTS / f'{name}.safetensors'):,} weights"
        if not isinstance(card, ModelCard):
            first, last = card.redshift_range
            epochs = f"{first:g}" if first == last else f"{first:g} to {last:g}"
            typer.echo(f"{name:16}  {card.task}: z = {epochs}, cells of {card.cell_size:g} Mpc/h, {weights}")
            continue
        limits = card_limits(card)
        (low, high), (near, far) = limits["number density"], limits["redshift"]
        default = {DEFAULT_MODEL: " (default)", SPECIALIST: " (default in its range, without masses)"}.get(
            name, ""
        )
        typer.echo(
            f"{name:16}  reconstruct: {card.architecture}, z = {near:.2g} to {far:.2g}, {low:.2g} to {high:.2g} "
            f"(h/Mpc)^3, cells of {card.cell_size:g} Mpc/h, {weights}{default}"
        )


@app.command()
def cite(
    result: Annotated[
        str,
        typer.Argument(
            help="Output of `reconstruct`, `flow`, `emulate`, `evaluate` or `simulate` (a file), or a model: a "
            "name or its file."
        ),
    ],
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print BibTeX.")] = False,
) -> None:
    """Name the papers and codes that a result rests on."""
    from peculiar.workflows.cite import cite as references

    for reference in references(result):
        typer.echo(reference.bibtex() if bibtex else str(reference))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Outputs of `reconstruct` (zarr) and of `evaluate`.")],
    out: Annotated[Path, typer.Option(help="One HTML file that needs no other.")],
    objects: Annotated[Path | None, typer.Option(help="Table of `reconstruct --at-objects`.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    force: Force = False,
) -> None:
    """Write an HTML report about reconstructions and evaluations."""
    from peculiar.workflows.report import report as write

    typer.echo(f"{write(runs, out=out, objects=objects, title=title, force=force)}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Directory; an earlier demo there is replaced.")] = Path(
        "runs/demo"
    ),
    device: Device = "auto",
) -> None:
    """Reconstruct the SDSS DR7 example and a simulated box, and write a report."""
    from peculiar.workflows.demo import demo as show

    made = show(out, device=device)
    for line in made.headlines:
        typer.echo(line)
    typer.echo(f"{made.report}")
