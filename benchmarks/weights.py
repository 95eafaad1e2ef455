"""`make weights`: every shipped network from nothing, its simulations included.

    make weights                                  # all of them, one after the other
    make weights MODEL=he2019                     # one, with what it needs
    make weights MODEL=he2019 PROFILE=gpu         # its GPU profile
    python benchmarks/weights.py he2019 --dry-run # the commands alone

`benchmarks/weights.toml` says what each is made of and how long that takes. A run that was stopped goes on. Weights,
card and ``metrics.csv`` are in OUT/NAME.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_suffix(".toml")
ALL = "all"


def steps(names: Sequence[str], table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return runs and models that names rest on and the names themselves, each after what it needs."""
    ordered: dict[str, None] = {}
    for name in names:
        entry = table["runs"].get(name) or table["models"][name]
        ordered |= dict.fromkeys([*steps(entry.get("needs", ()), table), name])
    return list(ordered)


def command(name: str, table: Mapping[str, Mapping[str, Any]], *, out: Path, profile: str) -> list[str]:
    """Return the command that makes a run or a model, or goes on with it."""
    peculiar = str(Path(sys.executable).with_name("peculiar"))
    if name in table["runs"]:
        run = table["runs"][name]
        wanted = run["simulate"] if profile == "cpu" else run.get("gpu", run["simulate"])
        options = shlex.split(wanted.format(out=out))
        return [peculiar, "simulate", str(out / name), *options, "--resume"]
    entry = table["models"][name]
    if "script" in entry:
        runs = [str(out / run) for run in entry["needs"]]
        return [sys.executable, str(TABLE.with_name(entry["script"])), *runs, "--out", str(out / name)]
    runs = [word for run in entry["needs"] for word in ("--run", str(out / run))]
    changes = [word for change in entry.get("set", ()) for word in ("--set", change) if profile == "cpu"]
    ends = ["--profile", profile, "--seed", str(entry.get("seed", 0)), *changes, "--resume"]
    return [peculiar, "train", name, *runs, "--out", str(out / name), *ends]


def plan(
    names: Sequence[str], table: Mapping[str, Mapping[str, Any]], *, out: Path, profile: str
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield name, minutes and command of everything that is not there yet."""
    for name in steps(names, table):
        if not (out / name / f"{name}.safetensors").exists():
            minutes = (table["runs"].get(name) or table["models"][name])["minutes"]
            yield name, minutes, command(name, table, out=out, profile=profile)


def main() -> None:
    """Run the commands, one after the other."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=[ALL, *table["models"]], help="which network")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/weights"), help="directory of runs and networks"
    )
    parser.add_argument("--profile", default="cpu", choices=["smoke", "cpu", "gpu", "paper"])
    parser.add_argument("--dry-run", action="store_true", help="show the commands alone")
    options = parser.parse_args()
    names = list(table["models"]) if options.model == ALL else [options.model]
    todo = list(plan(names, table, out=options.out, profile=options.profile))
    if options.profile == "cpu":
        minutes = sum(one for _, one, _ in todo)
        print(f"{len(todo)} steps, about {minutes // 60} h {minutes % 60} min", file=sys.stderr)
    for _, _, arguments in todo:
        print(shlex.join(arguments), flush=True)
        if options.dry_run:
            continue
        done = subprocess.run(arguments, check=False)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
