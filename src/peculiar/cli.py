"""The command line: options in, one workflow called, errors as one line and exit code 2."""

from __future__ import annotations

import signal
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Sight(StrEnum):
    """Lines of sight."""

    x = "x"
    y = "y"
    z = "z"
    radial = "radial"


class SpaceName(StrEnum):
    """What positions are a function of."""

    redshift = "redshift"
    real = "real"


class RadialName(StrEnum):
    """Kinds of radial selection."""

    flat = "flat"
    measured = "measured"


class Commands(TyperGroup):
    """Commands whose bad input ends in one line on standard error and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; warnings become single lines, `PeculiarError` exit code 2."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except Exception as error:
                errors = sys.modules.get("peculiar.core.errors")  # not loaded: not one of ours
                if errors is None or not isinstance(error, errors.PeculiarError):
                    raise
                typer.echo(f"peculiar: error: {' '.join(str(error).split())}", err=True)
                raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a galaxy or halo catalogue in redshift space to the real-space density, velocity and momentum of dark "
    "matter. Lengths are comoving Mpc/h, velocities peculiar km/s.",
)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    typer.echo(f"peculiar: warning: {' '.join(str(message).split())}", err=True)


def _stop(number: int, _frame: object) -> None:
    # An exception, so that half-written outputs are removed on the way out.
    raise SystemExit(128 + number)


def _version(wanted: bool) -> None:
    if wanted:
        import peculiar

        typer.echo(f"peculiar {peculiar.__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up what every command shares."""
    signal.signal(signal.SIGTERM, _stop)


Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]


@app.command()
def reconstruct(
    catalogue: Annotated[
        Path, typer.Argument(help="FITS, HDF5, Parquet, ECSV or CSV with x, y, z [Mpc/h]; or --sky.")
    ],
    out: Annotated[Path, typer.Option(help="Fields: a zarr directory with density, velocity and momentum.")],
    box: Annotated[float | None, typer.Option(help="Side of the box [Mpc/h].")] = None,
    los: Annotated[Sight, typer.Option(help="Line of sight in the box.")] = Sight.z,
    model: Annotated[
        str | None,
        typer.Option(help="A name of `peculiar models`, or a .safetensors file.", show_default="the best"),
    ] = None,
    at_objects: Annotated[
        Path | None,
        typer.Option(
            help="Also write the catalogue's rows with vx, vy, vz, v_los, delta, x_real, y_real, z_real."
        ),
    ] = None,
    hdf5: Annotated[Path | None, typer.Option(help="Also write the fields as HDF5.")] = None,
    space: Annotated[SpaceName, typer.Option(help="Whether positions hold velocities.")] = SpaceName.redshift,
    redshift: Annotated[
        float | None, typer.Option(help="Effective redshift of a box.", show_default="the model's")
    ] = None,
    cosmology: Annotated[
        str | None,
        typer.Option(
            help="A preset (xiao2024), astropy's name (Planck18), or Omega_m=0.3,h=0.7.",
            show_default="model's",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="NAME=COLUMN where the file's name differs, as x=X_GAL; may be repeated."),
    ] = None,
    sky: Annotated[
        bool, typer.Option("--sky", help="A survey with ra, dec [deg] and z (redshift); needs --mask.")
    ] = False,
    mask: Annotated[Path | None, typer.Option(help="HEALPix map of the survey's completeness.")] = None,
    distances: Annotated[
        str | None, typer.Option(help="LOW,HIGH: comoving limits of the survey [Mpc/h].", metavar="LOW,HIGH")
    ] = None,
    radial: Annotated[RadialName, typer.Option(help="Radial selection of the survey.")] = RadialName.flat,
    periodic: Annotated[bool, typer.Option(help="Whether opposite faces of the box are one.")] = True,
    origin: Annotated[
        str | None, typer.Option(help="Lower corner of the box [Mpc/h].", metavar="X,Y,Z")
    ] = None,
    observer: Annotated[
        str | None, typer.Option(help="Observer, for --los radial [Mpc/h].", metavar="X,Y,Z")
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(help="Mesh cells along a side of a box.", show_default="the model's cell size"),
    ] = None,
    force: Force = False,
) -> None:
    """Reconstruct density, velocity and momentum from a catalogue."""
    from peculiar.core import InputError
    from peculiar.inference.model_card import DEFAULT_MODEL
    from peculiar.workflows.cosmologies import parse_cosmology
    from peculiar.workflows.reconstruct_file import CatalogueOptions, reconstruct_file

    if sky != (mask is not None):
        raise InputError("--sky and --mask must be given together: a survey is read with its mask")
    options = CatalogueOptions(
        box_size=box,
        origin=_numbers("--origin", origin, 3),
        periodic=periodic,
        line_of_sight=los.value,
        observer=_numbers("--observer", observer, 3),
        space=space.value,
        redshift=redshift,
        columns=_pairs("--column", column),
        mask=mask,
        distance_range=_numbers("--distances", distances, 2),
        radial=radial.value,
    )
    summary = reconstruct_file(
        catalogue,
        out=out,
        options=options,
        model=model or DEFAULT_MODEL,
        cells=cells,
        cosmology=None if cosmology is None else parse_cosmology(cosmology),
        objects=at_objects,
        hdf5=hdf5,
        force=force,
    )
    if summary.outside:
        typer.echo(
            f"peculiar: {summary.outside} of {summary.objects} objects lie outside the fields: NaN in {at_objects}",
            err=True,
        )
    for path in summary.written:
        typer.echo(f"{path}")


@app.command()
def models() -> None:
    """List what `reconstruct --model` takes."""
    from peculiar.inference.model_card import DEFAULT_MODEL, WEIGHTS, available_models, read_card
    from peculiar.workflows.reconstruct import CLASSICAL

    for name in CLASSICAL:
        typer.echo(f"{name:16}  classical, no weights")
    for name in available_models():
        card = read_card(WEIGHTS / f"{name}.json")
        low, high = card.number_density_range
        typer.echo(
            f"{name:16}  {card.architecture}, z = {card.redshift:g}, {low:g} to {high:g} (h/Mpc)^3, "
            f"cells of {card.cell_size:g} Mpc/h{' (default)' if name == DEFAULT_MODEL else ''}"
        )


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Directory: run.json and one box-SEED.h5 per seed.")],
    seeds: Annotated[str, typer.Option(help="Seeds, as 1-8,12.")],
    box: Annotated[float, typer.Option(help="Side of the box [Mpc/h].")] = 225.0,
    particles: Annotated[int, typer.Option(help="Particles along a side.")] = 256,
    cells: Annotated[int, typer.Option(help="Cells along a side of the stored fields.")] = 96,
    redshift: Annotated[float, typer.Option(help="Redshift of the output.")] = 0.59,
    steps: Annotated[int, typer.Option(help="Time steps from a = 0.1.")] = 12,
    cosmology: Annotated[
        str, typer.Option(help="A preset, astropy's name, or Omega_m=0.3,h=0.7.")
    ] = "xiao2024",
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep boxes that are there, make the others.")
    ] = False,
    force: Force = False,
) -> None:
    """Simulate boxes of dark matter with halos, on the CPU."""
    from peculiar.simulate.mocks import BoxSettings
    from peculiar.simulate.particle_mesh import Steps
    from peculiar.workflows.cosmologies import parse_cosmology
    from peculiar.workflows.simulate import simulate as run

    settings = BoxSettings(
        size=box, particles=particles, cells=cells, redshift=redshift, steps=Steps(count=steps)
    )
    chosen = parse_cosmology(cosmology)
    for path in run(
        out, seeds=_ranges("--seeds", seeds), settings=settings, cosmology=chosen, resume=resume, force=force
    ):
        typer.echo(f"{path}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Directory of `peculiar simulate`, or one box file.")],
    out: Annotated[Path, typer.Option(help="Directory: scores.json, scores.md, arrays.npz, figures/.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A name of `peculiar models` or a .safetensors file; may be repeated.", show_default="all"
        ),
    ] = None,
    boxes: Annotated[str | None, typer.Option(help="Seeds, as 1001-1004.", show_default="every box")] = None,
    satellites: Annotated[str, typer.Option(help="Fractions of satellites, one evaluation each.")] = "0,0.25",
    los: Annotated[Sight, typer.Option(help="Line of sight: x, y or z.")] = Sight.z,
    number_density: Annotated[float, typer.Option(help="Of the tracers [(h/Mpc)^3].")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Of the satellites.")] = 0,
    figures: Annotated[bool, typer.Option(help="Also draw the figures.")] = True,
    force: Force = False,
) -> None:
    """Compare reconstructions of simulated boxes with their truth, all baselines in one table."""
    from peculiar.inference.model_card import available_models
    from peculiar.workflows.evaluate import evaluate as compare
    from peculiar.workflows.reconstruct import CLASSICAL

    directory = compare(
        run,
        out=out,
        models=model or [*available_models(), *CLASSICAL],
        boxes=None if boxes is None else _ranges("--boxes", boxes),
        satellite_fraction=_numbers("--satellites", satellites, satellites.count(",") + 1),
        line_of_sight=los.value,
        number_density=number_density,
        seed=seed,
        figures=figures,
        force=force,
    )
    typer.echo((directory / "scores.md").read_text(encoding="utf-8"))
    typer.echo(f"{directory}")


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
) -> None:
    """Reconstruct the SDSS DR7 example and a simulated box, and write a report."""
    from peculiar.workflows.demo import demo as show

    made = show(out)
    for line in made.headlines:
        typer.echo(line)
    typer.echo(f"{made.report}")


def _ranges(option: str, text: str) -> list[int]:
    """Return the integers of a text such as 1-8,12."""
    from peculiar.core.errors import InputError

    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InputError(f"{option} must be numbers and ranges such as 1-8,12, got {text!r}")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _numbers(option: str, text: str | None, count: int) -> Any:
    """Return the comma-separated numbers of an option."""
    if text is None:
        return None
    from peculiar.core.errors import InputError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(f"{option} must be {count} numbers with commas between, got {text!r}")
    return values


def _pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """Return the mapping of a repeated NAME=VALUE option."""
    from peculiar.core.errors import InputError

    pairs = [item.partition("=") for item in items or []]
    if not all(name and value for name, _, value in pairs):
        raise InputError(f"{option} must be NAME=VALUE, got {', '.join(items or [])}")
    return {name: value for name, _, value in pairs}
