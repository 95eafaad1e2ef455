"""Commands for makers of mocks: paint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peculiar.cli.app import Axis, Crew, Device, Force, Space, app, cube_side, ranges, spread


@app.command()
@spread
def paint(
    out: Annotated[
        Path,
        typer.Option(
            help="Catalogue: .h5, .fits, .parquet, .ecsv or .csv; halos-{seed}.h5 for several seeds."
        ),
    ],
    seed: Annotated[
        str,
        typer.Option(help="Of the halos, and of the initial conditions of --box; or several, as 1-8,12."),
    ],
    box: Annotated[
        float | None,
        typer.Option(
            help="Side of a box with its own 2LPT field [Mpc/h].", parser=cube_side, metavar="<float>"
        ),
    ] = None,
    density: Annotated[
        Path | None, typer.Option(help="Zarr with your 'density' and, in most cases, 'velocity' in km/s.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A painter of `peculiar models`, or a .safetensors file.")
    ] = "painter",
    number_density: Annotated[
        float | None,
        typer.Option(help="Keep the most massive halos [(h/Mpc)^3].", show_default="all that are painted"),
    ] = None,
    space: Annotated[Space, typer.Option(help="Positions in real or redshift space.")] = "real",
    line_of_sight: Annotated[
        Axis, typer.Option("--los", "--line-of-sight", help="Line of sight of redshift space.")
    ] = "z",
    cosmology: Annotated[
        str | None,
        typer.Option(help="A preset, astropy's name, or Omega_m=0.3,h=0.7.", show_default="the model's"),
    ] = None,
    redshift: Annotated[float | None, typer.Option(help="Redshift.", show_default="the model's")] = None,
    device: Device = "auto",
    *,
    crew: Crew,
    force: Force = False,
) -> None:
    """Paint halos on a 2LPT density: x, y, z in Mpc/h, vx, vy, vz in km/s and mass in Msun/h."""
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.workflows.paint import PaintOptions, paint_files

    seeds = ranges("--seed", seed)
    options = PaintOptions(
        seed=seeds[0],
        model=model,
        cosmology=None if cosmology is None else parse_cosmology(cosmology),
        redshift=redshift,
        number_density=number_density,
        space=space,
        line_of_sight=line_of_sight,
        device=device,
    )
    for path in paint_files(
        out, options, seeds=seeds, size=box, density=density, workers=crew.chosen(), force=force
    ):
        typer.echo(f"{path}")
