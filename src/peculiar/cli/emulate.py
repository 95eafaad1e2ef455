"""Commands that stand in for a simulation: emulate, flow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peculiar.cli.app import Device, Force, app, cube_side


@app.command()
def emulate(
    out: Annotated[Path, typer.Option(help="HDF5 file: position, displacement, velocity of each particle.")],
    seed: Annotated[int, typer.Option(help="Of the initial conditions.")],
    box: Annotated[
        float, typer.Option(help="Side of the box [Mpc/h].", parser=cube_side, metavar="<float>")
    ] = 128.0,
    particles: Annotated[int, typer.Option(help="Particles along a side.")] = 32,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Of the particle mesh that the model corrects: 1, 3 or 5, or 0 for 2LPT.",
            show_default="the most that the model knows: 5",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="An emulator of `peculiar models`, or a .safetensors file.",
            show_default="few-steps; with --steps 0 displacement",
        ),
    ] = None,
    cosmology: Annotated[
        str | None,
        typer.Option(help="A preset, astropy's name, or Omega_m=0.3,A_s=2e-9.", show_default="the model's"),
    ] = None,
    redshift: Annotated[
        float | None, typer.Option(help="Redshift.", show_default="the lowest that the model knows: 0")
    ] = None,
    symmetries: Annotated[
        int | None,
        typer.Option(
            help="Symmetries of the cube to average over: less error, so many times the time.",
            show_default="the model's",
        ),
    ] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Emulate an N-body run: positions in Mpc/h and velocities in km/s of its particles."""
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.workflows.emulate import emulate_file

    path = emulate_file(
        out,
        size=box,
        particles=particles,
        seed=seed,
        steps=steps,
        model=model,
        cosmology=None if cosmology is None else parse_cosmology(cosmology),
        redshift=redshift,
        symmetries=symmetries,
        device=device,
        force=force,
    )
    typer.echo(f"{path}")


@app.command()
def flow(
    density: Annotated[
        Path,
        typer.Argument(help="Zarr with the overdensity 'density', or a box of `peculiar simulate` (.h5)."),
    ],
    out: Annotated[Path, typer.Option(help="Zarr: density, velocity and momentum in km/s; or .h5.")],
    model: Annotated[
        str, typer.Option(help="A model of `peculiar models` for flows, or a .safetensors file.")
    ] = "flow",
    cosmology: Annotated[
        str | None,
        typer.Option(
            help="A preset, astropy's name, or Omega_m=0.3,h=0.7.",
            show_default="the file's, else the model's",
        ),
    ] = None,
    redshift: Annotated[
        float | None, typer.Option(help="Redshift.", show_default="the file's, else the model's")
    ] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Velocity and momentum of a density of dark matter in a periodic box."""
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.workflows.flow import flow_file

    path = flow_file(
        density,
        out=out,
        model=model,
        cosmology=None if cosmology is None else parse_cosmology(cosmology),
        redshift=redshift,
        device=device,
        force=force,
    )
    typer.echo(f"{path}")
