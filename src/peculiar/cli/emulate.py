"""Commands for makers of mocks: emulate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peculiar.cli.app import Force, app


@app.command()
def emulate(
    out: Annotated[Path, typer.Option(help="HDF5 file: position, displacement, velocity of each particle.")],
    seed: Annotated[int, typer.Option(help="Of the initial conditions.")],
    box: Annotated[float, typer.Option(help="Side of the box [Mpc/h].")] = 128.0,
    particles: Annotated[int, typer.Option(help="Particles along a side.")] = 32,
    model: Annotated[
        str, typer.Option(help="An emulator of `peculiar models`, or a .safetensors file.")
    ] = "displacement",
    cosmology: Annotated[
        str | None,
        typer.Option(help="A preset, astropy's name, or Omega_m=0.3,A_s=2e-9.", show_default="the model's"),
    ] = None,
    redshift: Annotated[float | None, typer.Option(help="Redshift.", show_default="the model's")] = None,
    symmetries: Annotated[
        int | None,
        typer.Option(
            help="Symmetries of the cube to average over: less error, so many times the time.",
            show_default="the model's",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda.", show_default="cuda where torch sees a GPU")
    ] = None,
    force: Force = False,
) -> None:
    """Emulate an N-body run: positions in Mpc/h and velocities in km/s of its particles."""
    from peculiar.workflows.cosmologies import parse_cosmology
    from peculiar.workflows.emulate import emulate_file

    path = emulate_file(
        out,
        size=box,
        particles=particles,
        seed=seed,
        model=model,
        cosmology=None if cosmology is None else parse_cosmology(cosmology),
        redshift=redshift,
        symmetries=symmetries,
        device=device,
        force=force,
    )
    typer.echo(f"{path}")
