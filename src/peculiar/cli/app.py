"""The program: errors as one line and exit code 2, and how options of several values are read."""

from __future__ import annotations

import inspect
import io
import math
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Literal, get_type_hints

import typer
from typer.core import TyperGroup

from peculiar.cli.stop import listen, signal_behind

Axis = Literal["x", "y", "z"]
Sight = Literal["x", "y", "z", "radial"]
Space = Literal["real", "redshift"]


_UsageError: Any = typer.BadParameter.__base__  # typer has no public name for it


class Commands(TyperGroup):
    """Commands whose bad input ends in one line on standard error and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; warnings become single lines, `PeculiarError` exit code 2."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", UserWarning)
                warnings.showwarning = partial(_show_warning, set())
                _refuse_empty(ctx.args)
                return super().invoke(ctx)
        except BaseException as error:
            if stop := signal_behind(error):
                warnings.simplefilter("ignore")  # tasks that were cut short go with the traceback
                raise stop from None
            if (line := _of_the_user(error)) is None:
                raise
            typer.echo(f"peculiar: error: {' '.join(line.split())}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a galaxy or halo catalogue in redshift space to the real-space density, velocity and momentum of dark "
    "matter. Lengths are comoving Mpc/h, velocities peculiar km/s.",
)


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse an argument without a text: as a path it would be the working directory, as an option none given."""
    for before, argument in pairwise(["the command", *arguments]):
        if argument == "" or (argument.startswith("--") and argument.endswith("=")):
            from peculiar.core.errors import InputError

            raise InputError(
                f"arguments must not be empty, got '' after {argument[:-1] or before}: leave it out"
            )


def _of_the_user(error: BaseException) -> str | None:
    """What to tell of an error that the user's input or machine causes; None of a fault of ours."""
    errors = sys.modules.get("peculiar.core.errors")  # not loaded: not one of ours
    if errors is not None and isinstance(error, errors.PeculiarError):
        return str(getattr(error, "command", error))
    if isinstance(error, _UsageError):  # an option or a choice that there is not, or none where one must be
        help_of = error.ctx.command_path if error.ctx else "peculiar"
        told = error.format_message().replace("Value error, ", "").rstrip(".")
        return f"{told}: see `{help_of} --help`"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename} cannot be used, got '{error.strerror}': choose another name or place"
    if isinstance(error, RuntimeError) and str(error).startswith(
        "Symlink loop"
    ):  # of Path.resolve, before Python 3.13
        return f"a path must not link to itself, got '{error}': choose another name"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return (
            f"the work must fit in memory, got '{error or 'none left'}': take fewer cells, particles or rows"
        )
    return None


def _show_warning(
    told: set[str], message: Warning | str, category: type[Warning], *_: Any, **__: Any
) -> None:
    text = " ".join(str(getattr(message, "command", message)).split())
    if text not in told:  # what is looked at twice is told once
        told.add(text)
        typer.echo(f"peculiar: warning: {text}", err=True)


def announce(line: str) -> None:
    """Show a line of progress on standard error."""
    typer.echo(line, err=True)


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
    listen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without Greek letters shows them by number
            stream.reconfigure(errors="backslashreplace")


_DIGITS = re.compile(r"[0-9]{1,18}")
_MOST = 1_000_000

Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]


def _seen(device: Literal["auto", "cpu", "cuda"]) -> str:
    """Refuse a GPU that is not there before anything else is read."""
    if device == "cuda":
        from peculiar.core.limits import choose_device

        choose_device(device)
    return device


Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(
        help="What networks and meshes are computed on; auto takes a GPU where torch sees one.",
        callback=_seen,
    ),
]


@dataclass(frozen=True)
class Crew:
    """Options of commands whose work others may do."""

    workers: Annotated[
        int | None,
        typer.Option(help="Processes that share the work and this machine's cores.", show_default="none"),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Dask scheduler whose workers do the work, as tcp://host:8786; they see the same files.",
            show_default="none",
        ),
    ] = None

    def chosen(self) -> int | str | None:
        """Return who works."""
        if self.workers is not None and self.scheduler is not None:
            from peculiar.core.errors import InputError

            raise InputError(
                f"--workers must not be given with --scheduler, whose workers work, got {self.workers} and "
                f"{self.scheduler}: leave one out"
            )
        return self.scheduler if self.workers is None else self.workers


def ranges(option: str, text: str) -> list[int]:
    """Return the integers of a text such as 1-8,12."""
    from peculiar.core.errors import InputError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (_DIGITS.fullmatch(first) and _DIGITS.fullmatch(last)) or int(last) < int(first):
            raise InputError(f"{option} must be numbers and ranges such as 1-8,12, got {text!r}")
        if len(found) + int(last) - int(first) >= _MOST:
            raise InputError(f"{option} must name at most {_MOST} numbers, got {text!r}: name fewer")
        found += range(int(first), int(last) + 1)
    return found


def cube_side(text: str | float) -> float:
    """Return the side of a box that is a cube; the `parser` of such an option."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be one number [Mpc/h], as the box is a cube, got {text!r}") from None


def numbers(option: str, text: str | None, *counts: int) -> Any:
    """Return the comma-separated numbers of an option."""
    if text is None:
        return None
    from peculiar.core.errors import InputError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in counts or not all(map(math.isfinite, values)):
        wanted = " or ".join("one number" if count == 1 else f"{count} numbers" for count in counts)
        rule = f"{wanted} that is finite" if counts == (1,) else f"{wanted} with commas between, all finite"
        raise InputError(f"{option} must be {rule}, got {text!r}")
    return values


def pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """Return the mapping of a repeated NAME=VALUE option."""
    from peculiar.core.errors import InputError

    split = [item.partition("=") for item in items or []]
    if not all(name and value for name, _, value in split):
        raise InputError(f"{option} must be NAME=VALUE, got {', '.join(items or [])}")
    return {name: value for name, _, value in split}


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the fields of its dataclasses as options, in their place: typer knows functions only."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        group = parameter.annotation
        if not (isinstance(group, type) and is_dataclass(group)):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[name] = group
        hints = get_type_hints(group, include_extras=True)
        parameters += [
            parameter.replace(name=item.name, default=item.default, annotation=hints[item.name])
            for item in fields(group)
        ]

    def run(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{item.name: options.pop(item.name) for item in fields(group)})
        command(**options)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
