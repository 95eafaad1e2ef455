"""The program: errors as one line and exit code 2, and how options of several values are read."""

from __future__ import annotations

import signal
import sys
import warnings
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Sight(StrEnum):
    """Lines of sight."""

    x = "x"
    y = "y"
    z = "z"
    radial = "radial"


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
                message = str(getattr(error, "command", error))
                typer.echo(f"peculiar: error: {' '.join(message.split())}", err=True)
                raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a galaxy or halo catalogue in redshift space to the real-space density, velocity and momentum of dark "
    "matter. Lengths are comoving Mpc/h, velocities peculiar km/s.",
)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    text = str(getattr(message, "command", message))
    typer.echo(f"peculiar: warning: {' '.join(text.split())}", err=True)


def announce(line: str) -> None:
    """Show a line of progress on standard error."""
    typer.echo(line, err=True)


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


def ranges(option: str, text: str) -> list[int]:
    """Return the integers of a text such as 1-8,12."""
    from peculiar.core.errors import InputError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InputError(f"{option} must be numbers and ranges such as 1-8,12, got {text!r}")
        found += range(int(first), int(last or first) + 1)
    return found


def numbers(option: str, text: str | None, count: int) -> Any:
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


def pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """Return the mapping of a repeated NAME=VALUE option."""
    from peculiar.core.errors import InputError

    split = [item.partition("=") for item in items or []]
    if not all(name and value for name, _, value in split):
        raise InputError(f"{option} must be NAME=VALUE, got {', '.join(items or [])}")
    return {name: value for name, _, value in split}
