"""Cases of options: every option of every command, with values that are no values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox import Case, Expected

SKY = "--sky --mask mask.fits --cell-size 8 --model iterative --out out.zarr"
SIMULATED = "--box 64 --particles 16 --cells 16 --steps 2"
BASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "reconstruct": (
        "halos.fits --box 40 --cells 8 --model iterative --redshift 0.5 --out out.zarr",
        ("halos.fits", "mask.fits", "randoms.fits"),
    ),
    "reconstruct sky": (f"survey.fits {SKY}", ("survey.fits", "mask.fits", "randoms.fits")),
    "groups": ("survey.fits --mask mask.fits --distances 10,60 --out out.fits",
        ("survey.fits", "mask.fits", "randoms.fits")),
    "query": ("field.zarr --ra 10 --dec 20 --z 0.01", ("field.zarr", "survey.fits")),
    "compare": ("distances.fits --field field.zarr --frame cmb --out out --bootstraps 10",
        ("field.zarr", "distances.fits")),
    "report": ("field.zarr --out out.html", ("field.zarr", "objects.fits")),
    "figures": ("field.zarr --objects objects.fits --out out", ("field.zarr", "objects.fits")),
    "simulate": (f"out --seeds 7 {SIMULATED}", ()),
    "simulate pairs": ("out --seeds 7 --kind pairs --box 64 --particles 8 --steps 2", ()),
    "train": ("residual --run run --out out --profile smoke --set data.variants=[{number_density=2e-4}] "
              "--set train.steps=2 "
              "--set train.crop=8 --set loss.margin=1", ("run",)),
    "tune": ("residual --run run --out out --profile smoke --trials 1 "
             "--set data.variants=[{number_density=2e-4}] "
             "--set train.steps=2 --set train.crop=8 --set loss.margin=1", ("run",)),
    "evaluate": ("run --out out --boxes 1001 --model iterative --number-density 2e-4 --satellites 0 --no-figures",
        ("run",)),
    "mock": ("run --out out --pattern axis --cube 32 --number-density 1e-4", ("run", "mask.fits", "survey.fits")),
    "paint": ("--box 60 --seed 1 --out out.fits", ("density.zarr",)),
    "flow": ("density.zarr --out out.zarr", ("density.zarr",)),
    "emulate": ("--box 64 --particles 8 --seed 1 --out out.h5", ()),
}  # fmt: skip
FLOATS = ("", "abc", "nan", "inf", "-inf", "-1", "0", "1e30", "1e-30", "1e400", "1,2")
INTEGERS = ("", "abc", "1.5", "-1", "0", "99999999999999999999", "2000000000", "nan")
WORDS = ("", "nonsense", "x" * 300, "café ☕", "../..", "\x01")
INPUTS = ("", "nowhere", ".", "/dev/null", "y" * 300, "empty.fits", "\x01")
OUTPUTS = (
    "",
    "taken.txt",
    "taken",
    "taken.txt/out.fits",
    "y" * 300 + ".fits",
    "/proc/nowhere/out.fits",
    "out.nonsense",
    ".",
    "/",
    "/dev/null",
)
BESIDE = ("taken", ".")
"""Directories with files of others: simulations and trainings stand beside them."""
SEVERAL = ("", "abc", ",", "1", "1,2,3,4", "nan,nan,nan", "2,1", "inf,1", "-5,-1", "1;2")

EITHER_ZERO = {
    "seed",
    "redshift",
    "least-mass",
    "host-mass",
    "magnitude-limit",
    "satellites",
    "density-bias",
    "sigma-v",
    "varied",
    "complete-above",
    "padding",
    "number-density",
}
"""Options that 0 may be the right value of."""
EITHER: dict[str, tuple[str, ...]] = {
    "redshift": ("-1", "1e-30"),
    "seed": ("2000000000", "-1", "99999999999999999999"),
    "magnitude-limit": ("-1", "0", "1e-30", "1e30", "inf"),
    "least-mass": ("1e30", "1e-30"),
    "host-mass": ("1e30", "1e-30"),
    "density-bias": ("-1", "1e-30"),
    "sigma-v": ("1e-30",),
    "complete-above": ("1e-30",),
    "padding": ("1e-30",),
    "varied": ("1e-30",),
    "bootstraps": (),
    "title": WORDS,
    "observer": ("nan",),
    "boxes": ("1",),
    "satellites": ("1e-30",),
}
LISTS = {
    "--origin",
    "--observer",
    "--distances",
    "--linking",
    "--cz",
    "--shells",
    "--ra",
    "--dec",
    "--z",
    "--seeds",
    "--boxes",
    "--tune-on",
    "--satellites",
}
LISTS_EITHER = {
    ("--ra", "-5,-1"), ("--ra", "1"), ("--dec", "1"), ("--z", "1"), ("--ra", "2,1"), ("--dec", "2,1"),
    ("--seeds", "1"), ("--seeds", "1,2,3,4"), ("--boxes", "1"),
    ("--tune-on", "1"), ("--satellites", "1"), ("--shells", "1"), ("--shells", "1,2,3,4"), ("--linking", "2,1"),
    ("--seeds", "2,1"), ("--boxes", "2,1"), ("--tune-on", "2,1"),
    ("--ra", "1,2,3,4"), ("--dec", "1,2,3,4"), ("--dec", "-5,-1"),
    ("--z", "1,2,3,4"), ("--z", "2,1"),
}  # fmt: skip
"""Lists that may be right: query takes one direction with several redshifts, and the other way round."""


def _command(name: str) -> Any:
    import typer.main

    from peculiar.cli import app

    return typer.main.get_command(app).commands[name.split()[0]]  # type: ignore[attr-defined]


def _taken(directory: Path) -> None:
    (directory / "taken.txt").write_text("mine")
    (directory / "taken").mkdir()
    (directory / "taken" / "thesis.tex").write_text("mine")
    (directory / "empty.fits").write_text("")


def _values(option: str, parameter: Any) -> tuple[tuple[str, ...], str]:
    kind = getattr(parameter.type_descriptor.annotation, "__name__", "")
    if option in LISTS:
        return SEVERAL, "several"
    if option == "--box":  # of reconstruct three numbers, or one
        return (*FLOATS, "1,2,3,4", "10,,10", "40,40,nan"), "float"
    if option in ("--out", "--at-objects", "--hdf5", "--members"):
        return OUTPUTS, "output"
    if kind.endswith("Path"):
        return INPUTS, "input"
    if kind == "float":
        return FLOATS, "float"
    if kind == "int":
        return INTEGERS, "integer"
    return WORDS, "word"


def _expected(name: str, option: str, value: str, kind: str) -> Expected:
    plain = option.removeprefix("--")
    if value in EITHER.get(plain, ()) or (value in ("0", "1e-30") and plain in EITHER_ZERO):
        return "either"
    if kind == "several" and (option, value) in LISTS_EITHER:
        return "either"
    if kind == "output" and value == "out.nonsense":
        return "either"
    if name in ("train", "tune") and value in BESIDE:
        return "either"
    if value == "." and option in ("--run", "--tune-run"):
        return "refused"
    return "refused"


def option_cases() -> Iterator[Case]:
    """Each option with values of its kind that cannot be right, and arguments in place of the first."""
    for name, (words, needs) in BASES.items():
        base = words.split()
        yield Case(f"options/{name}/as it is", (name.split()[0], *base), needs, _taken, "right", nan=True)
        for parameter in _command(name).params:
            option = max(parameter.opts, key=len)
            if option == "--help":
                continue
            if parameter.param_type_name == "argument":
                out = name.startswith("simulate")
                for value in OUTPUTS if out else INPUTS:
                    if value in (
                        "out.nonsense",
                        "/",
                    ):  # as a directory the first is right, the second not ours
                        continue
                    yield Case(
                        f"options/{name}/first argument {_show(value)}",
                        (name.split()[0], value, *base[1:]),
                        needs,
                        _taken,
                        "right" if out and value in BESIDE else "refused",
                    )
                continue
            if parameter.is_flag:
                yield Case(
                    f"options/{name}/{option}",
                    (name.split()[0], *base, option),
                    needs,
                    _taken,
                    "either",
                    nan=True,
                )
                continue
            values, kind = _values(option, parameter)
            for value in values:
                yield Case(
                    f"options/{name}/{option} {_show(value)}",
                    (name.split()[0], *_without(base, option), f"{option}={value}"),
                    needs,
                    _taken,
                    _expected(name, option, value, kind),
                    nan=True,
                )
        yield Case(f"options/{name}/--nonsense", (name.split()[0], *base, "--nonsense"), needs, _taken)
        yield Case(
            f"options/{name}/one argument too many",
            (name.split()[0], *base, "nonsense", "more"),
            needs,
            _taken,
        )


def _show(value: str) -> str:
    return repr(value if len(value) < 30 else value[:5] + "...")


def _without(words: list[str], option: str) -> list[str]:
    found = []
    skip = False
    for word in words:
        if skip or word == option:
            skip = not skip and word == option
            continue
        found.append(word)
    return found
