"""Kill commands, run them again, and compare what they leave with what an undisturbed run leaves, bit by bit.

    python benchmarks/hard/kills.py                # 128 kills, about half an hour on two cores
    python benchmarks/hard/kills.py --sample 8     # some of them

Signals are SIGKILL, SIGTERM and SIGINT; moments are random, or just before or after the file system is told to rename,
to remove or to flush. A second run, with --resume where the command has it, must end with exit code 0, with the same
arrays, weights, tables and records, and with no other file than the undisturbed run: no temporary file, no lock. No run
prints a traceback, nor what Python says of exceptions that it ignores.
"""

from __future__ import annotations

import argparse
import atexit
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EVENTS = ("replace", "rename", "unlink", "rmdir", "fsync")
PASSING = {"provenance", "created", "minutes", "comments"}
"""Entries of records that say when, and how long, and so differ from run to run."""
UNCOMPARED = (".pdf", ".png")
SIGNS = ("Traceback", "Exception ignored", "never awaited")
"""What no command may print, however it ends."""
DEADLINE = 900.0
"""s of one run: one that takes longer hangs, and is killed."""
LOADED = (
    *("camb", "h5py", "xarray", "zarr", "peculiar.cli", "peculiar.figures.training"),
    *(f"peculiar.workflows.{name}" for name in ("paint", "reconstruct_file", "simulate", "train")),
)
"""Modules that are loaded once, for every fork."""


@dataclass(frozen=True)
class Case:
    """A command, what it needs, and what a second run adds to it."""

    command: str
    again: str
    needs: tuple[str, ...] = ()


BOXES = "simulate boxes --seeds 1,501 --box 60 --particles 48 --cells 32 --redshift 0.59 --steps 3"
PAIRS = "simulate pairs --kind pairs --seeds 1-3 --box 64 --particles 16 --steps 3"
TRAINED = "--set data.train=[1,2] --set data.validation=[3,3] --set data.test=[5,9]"
TRAINED += " --set train.steps=12 --set train.checkpoint_every=3"
CASES = {
    "simulate": Case(
        "simulate run --seeds 1-3 --box 20 --particles 16 --cells 8 --steps 2 --volume-velocity", "--resume"
    ),
    "simulate-epochs": Case(
        "simulate run --seeds 1-2 --box 20 --particles 16 --cells 8 --steps 2 --redshifts 0,0.5,1", "--resume"
    ),
    "simulate-pairs": Case(
        "simulate run --kind pairs --seeds 1-4 --box 64 --particles 16 --steps 3", "--resume"
    ),
    "train": Case(
        f"train displacement --run pairs --out out --profile smoke {TRAINED}",
        "--resume",
        (PAIRS,),
    ),
    "train-cache": Case(
        "train residual --run boxes --out out --profile smoke --set train.checkpoint_every=4",
        "--resume",
        (BOXES,),
    ),
    "train-critic": Case(
        "train ramanah2019 --run boxes --out out --profile smoke --set train.checkpoint_every=2",
        "--resume",
        (BOXES,),
    ),
    "reconstruct": Case(
        "reconstruct halos.csv --box 60 --cells 16 --redshift 0.59 --model iterative --out f.zarr --hdf5 f.h5 "
        "--at-objects o.fits",
        "--force",
    ),
    "paint": Case("paint --box 60 --seed 2 --out halos.h5", "--force"),
}


@dataclass
class Run:
    """How a command ended.

    Parameters
    ----------
    code : int
        Its exit code, negative for a signal.
    said : str
        Its output and errors.
    seconds : float
    events : int
        Moments of `EVENTS`, before and after each.
    """

    code: int
    said: str
    seconds: float
    events: int = 0


@dataclass(frozen=True)
class Moment:
    """When a command is killed, and how."""

    signal: signal.Signals
    seconds: float | None = None
    event: int | None = None

    def __str__(self) -> str:
        when = f"after {self.seconds:.2f} s" if self.event is None else f"at event {self.event}"
        return f"{self.signal.name} {when}"


@dataclass
class Watch:
    """Counts the events of a process, and kills it at one of them."""

    moment: Moment | None
    count: int = 0
    armed: bool = field(default=True)

    def step(self) -> None:
        self.count += self.armed
        if self.moment is not None and self.count == self.moment.event and self.armed:
            self.armed = False
            os.kill(os.getpid(), self.moment.signal)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            self.step()
            result = function(*args, **options)
            self.step()
            return result

        return watched


def run(command: str, folder: Path, moment: Moment | None = None) -> Run:
    """Run a command in a fork, in a folder, and perhaps kill it."""
    log = folder.with_suffix(".log")
    began = time.monotonic()
    # Until the fork is the command: stopped before, it would clean up here and remove the parent's folder.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    child = os.fork()
    if child == 0:
        _command(command.split(), folder, log, moment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    deadline = began + DEADLINE
    if moment is not None and moment.seconds is not None:
        time.sleep(moment.seconds)
        with suppress(ProcessLookupError):
            os.kill(child, moment.signal)
    ended, status = 0, 0
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    said = log.read_text(errors="replace") if log.exists() else ""
    text, _, events = said.rpartition("EVENTS ")
    return Run(
        os.waitstatus_to_exitcode(status),
        text if events else said,
        time.monotonic() - began,
        int(events) if events.strip().isdigit() else 0,
    )


def _command(arguments: list[str], folder: Path, log: Path, moment: Moment | None) -> None:
    """Be the command: never returns."""
    from peculiar.cli import app

    code = 1
    watch = Watch(moment)
    try:
        os.chdir(folder)
        screen = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        for name in EVENTS:
            setattr(os, name, watch.around(getattr(os, name)))
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        app(arguments, prog_name="peculiar")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()  # as at the end of any process
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(1, f"EVENTS {watch.count}".encode())
        os._exit(code)


def contents(folder: Path) -> dict[str, str]:
    """Return what a folder holds, each file by a checksum of what must not differ."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(_essence(path)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def _essence(path: Path) -> bytes:
    if path.suffix in UNCOMPARED:
        return b""
    if path.suffix == ".json" or path.name in (".zattrs", ".zmetadata"):
        return json.dumps(_lasting(json.loads(path.read_text())), sort_keys=True).encode()
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return repr([_lasting(row) for row in csv.DictReader(file)]).encode()
    if path.suffix == ".h5":
        return _hdf5(path)
    if path.suffix == ".fits":
        from astropy.io import fits

        with fits.open(path) as units:
            return b"".join(b"" if unit.data is None else np.asarray(unit.data).tobytes() for unit in units)
    if path.suffix == ".ckpt":
        import torch

        state = torch.load(path, weights_only=True)
        named = {k: v for part in state.values() if isinstance(part, dict) for k, v in part.items()}
        tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
        return b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(tensors.items()))
    return path.read_bytes()


def _hdf5(path: Path) -> bytes:
    import h5py

    parts: list[bytes] = []

    def look(name: str, item: Any) -> None:
        attributes = {key: str(value) for key, value in item.attrs.items() if key not in PASSING}
        parts.append(repr((name, sorted(attributes.items()))).encode())
        if isinstance(item, h5py.Dataset) and "__table_column_meta__" not in name:  # which holds comments
            parts.append(np.asarray(item[()]).tobytes())

    with h5py.File(path) as file:
        look("", file)
        file.visititems(look)
    return b"".join(parts)


def _lasting(record: Any) -> Any:
    if isinstance(record, dict):
        return {key: _lasting(value) for key, value in record.items() if key not in PASSING}
    return [_lasting(value) for value in record] if isinstance(record, list) else record


def prepare(case: Case, folder: Path, made: Path) -> None:
    """Fill a folder with what a case needs; simulations are made once."""
    for command in case.needs:
        name = command.split()[1]
        if not (made / name).exists():
            made.mkdir(exist_ok=True)
            done = run(command, made)
            assert done.code == 0, done.said
        shutil.copytree(made / name, folder / name)
    rng = np.random.default_rng(5)
    rows = np.column_stack([rng.uniform(0, 60, (600, 3)), rng.uniform(1, 100, 600)])
    np.savetxt(folder / "halos.csv", rows, delimiter=",", header="x,y,z,mass", comments="")


def faults(case: Case, moment: Moment, folder: Path, whole: dict[str, str]) -> list[str]:
    """Kill a command, run it again, and say what is wrong then."""
    found = []
    killed = run(case.command, folder, moment)
    again = run(f"{case.command} {case.again}", folder)
    for done, when in ((killed, "when killed"), (again, "of the second run")):
        found += [f"{sign} {when}: {done.said[-2000:]}" for sign in SIGNS if sign in done.said]
    if killed.seconds > DEADLINE:
        found.append("does not end when killed")
    if again.code:
        found.append(f"exit code {again.code} of the second run: {again.said[-2000:]}")
    if found:
        return found
    now = contents(folder)
    found += [f"left over: {name}" for name in sorted(now.keys() - whole.keys())]
    found += [f"missing: {name}" for name in sorted(whole.keys() - now.keys())]
    found += [f"other contents: {name}" for name in sorted(whole) if name in now and now[name] != whole[name]]
    return found


def main() -> int:
    """Run the kills, a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=128, help="how many kills")
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="only these commands")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"  # before torch and numba are loaded
    for name in LOADED:
        import_module(name)

    names = options.case or list(CASES)
    moments = random.Random(options.seed)
    bad = 0
    base = Path(tempfile.mkdtemp(prefix="kills-"))  # which no child removes when it ends
    try:
        undisturbed: dict[str, tuple[Run, dict[str, str]]] = {}
        for number in range(options.sample):
            name = names[number % len(names)]
            case = CASES[name]
            if name not in undisturbed:
                folder = base / name
                folder.mkdir()
                prepare(case, folder, base / "made")
                done = run(case.command, folder)
                assert done.code == 0, done.said
                undisturbed[name] = done, contents(folder)
            done, whole = undisturbed[name]
            how = SIGNALS[number % len(SIGNALS)]
            if moments.random() < 0.5:
                moment = Moment(how, seconds=moments.uniform(0, done.seconds))
            else:
                moment = Moment(how, event=moments.randint(1, max(done.events, 1)))
            folder = base / f"{name}-{number}"
            folder.mkdir()
            prepare(case, folder, base / "made")
            found = faults(case, moment, folder, whole)
            shutil.rmtree(folder)
            bad += bool(found)
            print(f"{name}: {moment}: {'; '.join(found) or 'same'}", flush=True)
    finally:
        shutil.rmtree(base)
    print(f"{options.sample - bad} of {options.sample} the same")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
