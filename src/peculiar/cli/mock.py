"""The command for mock surveys: mock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from peculiar.cli.app import Crew, Force, app, ranges, spread
from peculiar.cli.surveys import Columns, WithMargin


@app.command()
@spread
def mock(
    run: Annotated[
        Path, typer.Argument(help="Directory of `peculiar simulate`; boxes of 600 Mpc/h or more.")
    ],
    out: Annotated[
        Path, typer.Option(help="Directory: mock-SEED.fits, mock-SEED.zarr (truth), survey.toml, run.json.")
    ],
    *,
    footprint: WithMargin,
    sky: Annotated[
        Path | None,
        typer.Option(
            help="The survey's own galaxies, for n(r).", show_default="those that the survey file names"
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Boxes, as 1001-1002.", show_default="every box of the run")
    ] = None,
    pattern: Annotated[
        Literal["survey", "axis", "centre", "random"],
        typer.Option(help="A survey; or a cube seen along z, from its centre, or from a random observer."),
    ] = "survey",
    choice: Annotated[
        Literal["massive", "random"], typer.Option(help="The most massive objects, or halos at random.")
    ] = "massive",
    number_density: Annotated[
        float | None,
        typer.Option(help="Largest n(r), or density of a cube [(h/Mpc)^3].", show_default="the survey's own"),
    ] = None,
    satellites: Annotated[
        float | None, typer.Option(help="Share of satellites, for massive.", show_default="0.25")
    ] = None,
    least_mass: Annotated[float, typer.Option(help="Of halos, for random [Msun/h].")] = 0.0,
    masses: Annotated[bool, typer.Option("--masses", help="Write a column mass that readers use.")] = False,
    cube: Annotated[float | None, typer.Option(help="Side of a cube [Mpc/h].", show_default="300")] = None,
    light_cone: Annotated[
        bool,
        typer.Option(
            "--light-cone",
            help="RUN has several epochs: each distance sees the nearest, and the box repeats.",
        ),
    ] = False,
    randoms: Annotated[
        float | None,
        typer.Option(
            help="Random points of a survey, times its objects: randoms.fits.",
            show_default="10 on a light cone, else none",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of places, observers and objects.")] = 0,
    column: Columns = None,
    crew: Crew,
    force: Force = False,
) -> None:
    """Make mock surveys, or isolated cubes in redshift space, from simulated boxes, with their truth."""
    from peculiar.workflows.mock import make_mocks
    from peculiar.workflows.mock_settings import MockSettings

    summary = make_mocks(
        run,
        out=out,
        settings=MockSettings(
            pattern=pattern,
            choice=choice,
            number_density=number_density,
            satellites=satellites,
            least_mass=least_mass,
            masses=masses,
            cube=cube,
            seed=seed,
            light_cone=light_cone,
            randoms=randoms,
        ),
        survey=footprint.resolve(column),
        galaxies=sky,
        seeds=None if seeds is None else ranges("--seeds", seeds),
        workers=crew.chosen(),
        force=force,
    )
    for line in summary.told:
        typer.echo(f"peculiar: {line}", err=True)
    for name, count in summary.objects.items():
        typer.echo(f"peculiar: {count} objects in {name}", err=True)
        typer.echo(f"{summary.out / name}")
