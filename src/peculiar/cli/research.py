"""Commands for makers of networks: simulate, train, tune, evaluate, figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from peculiar.cli.app import Axis, Crew, Device, Force, announce, app, cube_side, numbers, ranges, spread


@app.command()
@spread
def simulate(
    out: Annotated[
        Path, typer.Argument(help="Directory: run.json and one box-SEED.h5 or pair-SEED.h5 per seed.")
    ],
    seeds: Annotated[str, typer.Option(help="Seeds, as 1-8,12.")],
    kind: Annotated[
        Literal["boxes", "pairs", "painted"],
        typer.Option(
            help="boxes of dark matter with halos, pairs of Lagrangian and N-body displacements, or boxes of 2LPT "
            "or a few steps with painted halos (seconds each)."
        ),
    ] = "boxes",
    box: Annotated[
        float | None,
        typer.Option(
            help="Side of the box [Mpc/h].",
            parser=cube_side,
            metavar="<float>",
            show_default="225, pairs 128",
        ),
    ] = None,
    particles: Annotated[
        int | None, typer.Option(help="Particles along a side.", show_default="256, pairs 32")
    ] = None,
    cells: Annotated[
        int | None, typer.Option(help="Cells along a side of a box's stored fields.", show_default="96")
    ] = None,
    redshift: Annotated[
        float | None,
        typer.Option(help="Redshift of the output.", show_default="0.59, pairs 0, painted the painter's"),
    ] = None,
    redshifts: Annotated[
        str | None,
        typer.Option(
            help="Epochs of one evolution of boxes, rising, as 0,0.3,0.6: a directory in OUT for each, as z0.600.",
            show_default="one epoch",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Time steps from a = 0.1 to the first epoch. Of the matter of painted boxes, where 5 are enough.",
            show_default="12, pairs 20, painted none: 2LPT",
        ),
    ] = None,
    cosmology: Annotated[
        str | None,
        typer.Option(
            help="A preset, astropy's name, or Omega_m=0.3,h=0.7.",
            show_default="xiao2024, pairs he2019, painted the painter's",
        ),
    ] = None,
    cosmologies: Annotated[
        Literal["latin"] | None,
        typer.Option(
            help="Draw the cosmology of each seed: Omega_m 0.2-0.4, sigma8 0.6-1, h 0.6-0.8, n_s 0.92-1.",
            show_default="one cosmology",
        ),
    ] = None,
    volume_velocity: Annotated[
        bool, typer.Option("--volume-velocity", help="Also store the volume-weighted velocity of boxes.")
    ] = False,
    varied: Annotated[
        float | None, typer.Option(help="Fraction of pairs with Omega_m and A_s drawn at random.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Painter of halos: a name or a .safetensors file.", show_default="painter"),
    ] = None,
    matter: Annotated[
        Path | None,
        typer.Option(help="Run of boxes on whose particle mesh halos are painted, by survey-painter."),
    ] = None,
    host_mass: Annotated[
        float | None,
        typer.Option(help="Lightest painted halo that satellites may live in [Msun/h].", show_default="0"),
    ] = None,
    device: Device = "auto",
    *,
    crew: Crew,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what is there, make the others.")] = False,
    force: Force = False,
) -> None:
    """Simulate boxes of dark matter with halos, pairs of displacements, or boxes with painted halos."""
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.core.errors import InputError
    from peculiar.inference.painted_boxes import PaintedSettings
    from peculiar.simulate.boxes import BoxSettings
    from peculiar.simulate.pairs import PairSettings
    from peculiar.simulate.particle_mesh import Steps
    from peculiar.workflows.simulate import simulate_run

    epochs = numbers("--redshifts", redshifts, (redshifts or "").count(",") + 1)
    if epochs and redshift is not None:
        raise InputError(f"--redshift must not be given with --redshifts, got {redshift:g}: leave one out")
    given: dict[str, Any] = {
        "size": box,
        "particles": particles,
        "cells": cells,
        "redshift": redshift,
        "redshifts": epochs,
        "cosmologies": cosmologies,
        "steps": None if steps is None else Steps(count=steps),
        "varied": varied,
        "volume_velocity": volume_velocity or None,
        "model": model,
        "matter": None if matter is None else str(matter),
        "host_mass": host_mass,
    }
    given = {name: value for name, value in given.items() if value is not None}
    made = {"boxes": BoxSettings, "pairs": PairSettings, "painted": PaintedSettings}[kind]
    if unused := set(given) - {field.name for field in dataclasses.fields(made)}:
        name = min(unused).replace("_", "-")
        raise InputError(f"--{name} must not be given for {kind}: leave it out")
    settings = made(**({"redshift": epochs[0]} if epochs else {}), **given)
    if isinstance(settings, BoxSettings) and epochs:
        to_epochs = ", ".join(f"{count} to z = {z:g}" for z, count in settings.epoch_steps.items())
        announce(f"peculiar: time steps: {to_epochs}")
    chosen = None if cosmology is None else parse_cosmology(cosmology)
    for path in simulate_run(
        out,
        seeds=ranges("--seeds", seeds),
        settings=settings,
        cosmology=chosen,
        device=device,
        workers=crew.chosen(),
        resume=resume,
        force=force,
    ):
        typer.echo(f"{path}")


Recipe = Annotated[str, typer.Argument(help="A recipe of the package, such as residual, or a .toml file.")]
Profile = Annotated[str, typer.Option(help="smoke (seconds), cpu (hours), gpu (minutes) or paper.")]
Run = Annotated[
    list[Path],
    typer.Option(
        help="Directory of simulated boxes; may be repeated, for other redshifts, cosmologies and sizes."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE changes the recipe, as train.lr=1e-4; may be repeated."),
]


@app.command()
def train(
    recipe: Recipe,
    run: Run,
    out: Annotated[
        Path, typer.Option(help="Directory: checkpoints, metrics, NAME.safetensors and its card.")
    ],
    profile: Profile = "cpu",
    change: Changes = None,
    seed: Annotated[int, typer.Option(help="Of weights, crops and symmetries.")] = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start again in a directory that holds a run.")
    ] = False,
) -> None:
    """Train a network on simulated boxes."""
    from peculiar.workflows.train import train as fit

    card = fit(
        recipe,
        profile=profile,
        run=run,
        out=out,
        changes=change or (),
        resume=resume,
        force=force,
        seed=seed,
        device=device,
        announce=announce,
    )
    for name, value in card.metrics.items():
        announce(f"{name}: {value:g}")
    typer.echo(f"{out / card.name}.safetensors")


@app.command()
def tune(
    recipe: Recipe,
    run: Run,
    out: Annotated[Path, typer.Option(help="Directory for the search and its best settings.")],
    profile: Profile = "cpu",
    trials: Annotated[int, typer.Option(help="Sets of values to try.")] = 20,
    repeats: Annotated[int, typer.Option(help="Trainings of each set.")] = 1,
    change: Changes = None,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a search.")] = False,
) -> None:
    """Search learning rate, dropout, number of boxes, channels and batch size."""
    from peculiar.workflows.tune import tune as search

    best = search(
        recipe,
        profile=profile,
        run=run,
        out=out,
        trials=trials,
        repeats=repeats,
        changes=change or (),
        resume=resume,
        seed=seed,
        device=device,
        announce=announce,
    )
    typer.echo(" ".join(f"--set {setting}" for setting in best))


@app.command()
@spread
def evaluate(
    run: Annotated[Path, typer.Argument(help="Directory of `peculiar simulate`, or one box file.")],
    out: Annotated[Path, typer.Option(help="Directory: scores.json, scores.md, arrays.npz, figures/.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A name of `peculiar models` or a .safetensors file; may be repeated.",
            show_default="all that reconstruct, or all for pairs",
        ),
    ] = None,
    boxes: Annotated[
        str | None, typer.Option(help="Seeds, as 1001-1004.", show_default="every box or pair")
    ] = None,
    satellites: Annotated[
        str | None,
        typer.Option(help="Fractions of satellites, one evaluation each.", show_default="0,0.25"),
    ] = None,
    los: Annotated[Axis | None, typer.Option(help="Line of sight: x, y or z.", show_default="z")] = None,
    number_density: Annotated[
        float | None, typer.Option(help="Of the tracers [(h/Mpc)^3].", show_default="3e-3")
    ] = None,
    tune_on: Annotated[
        str | None, typer.Option(help="Seeds of other boxes to tune the baselines on, as 501-504.")
    ] = None,
    tune_run: Annotated[
        Path | None,
        typer.Option(
            help="Run that holds these boxes, for painters and surveys.", show_default="the run itself"
        ),
    ] = None,
    sample: Annotated[
        list[str] | None,
        typer.Option(
            help="How isolated cubes are observed, for networks of surveys (simulation, galaxies, groups, "
            "...), or a .toml file of samples; may be repeated.",
            show_default="every sample",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the satellites.", show_default="0")] = None,
    velocity: Annotated[
        Literal["neighbours", "background", "volume"] | None,
        typer.Option(
            help="True velocity for density-to-velocity models: empty cells from their neighbours or at the "
            "background's, or weighted by volume.",
            show_default="neighbours",
        ),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Also draw the figures.")] = True,
    device: Device = "auto",
    *,
    crew: Crew,
    force: Force = False,
) -> None:
    """Compare models with the truth of simulations, all baselines in one table."""
    from peculiar.workflows.evaluate import evaluate as judge

    directory = judge(
        run,
        out=out,
        models=model,
        seeds=None if boxes is None else ranges("--boxes", boxes),
        tune_on=None if tune_on is None else ranges("--tune-on", tune_on),
        tune_run=tune_run,
        satellite_fraction=numbers("--satellites", satellites, (satellites or "").count(",") + 1),
        line_of_sight=los,
        number_density=number_density,
        seed=seed,
        velocity=velocity,
        samples=sample or None,
        figures=figures,
        device=device,
        workers=crew.chosen(),
        force=force,
    )
    typer.echo((directory / "scores.md").read_text(encoding="utf-8"))
    typer.echo(f"{directory}")


@app.command()
def figures(
    run: Annotated[Path, typer.Argument(help="Directory of `peculiar evaluate`, or zarr of `reconstruct`.")],
    out: Annotated[
        Path, typer.Option(help="Directory: a PDF and a PNG per figure, figures.md with captions.")
    ],
    objects: Annotated[
        Path | None, typer.Option(help="Table of `reconstruct --at-objects`; for a survey.")
    ] = None,
    force: Force = False,
) -> None:
    """Draw every figure of an evaluation or of a reconstructed survey as PDF and PNG."""
    from peculiar.workflows.figures import draw_figures

    typer.echo(f"{draw_figures(run, out=out, objects=objects, force=force)}")
