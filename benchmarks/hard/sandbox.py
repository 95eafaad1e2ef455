"""One case of bad input: a fresh directory, a forked child that runs the command, and what came of it."""

from __future__ import annotations

import hashlib
import os
import resource
import select
import shutil
import signal
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NoReturn

from finite import not_finite
from material import put

Expected = Literal["right", "refused", "either"]
CPU_LIMIT = 60  # s of processor time for one case
WALL_FACTOR = 10  # a busy machine gives a process its share only
MEMORY = 4 << 30  # bytes beyond what the server has mapped
LATE = 5.0  # s of processor time after which a refusal is no longer early
ACCEPTED = ("right", "refused")


@dataclass(frozen=True)
class Case:
    """A command on changed inputs, and what must come of it.

    Parameters
    ----------
    name : str
        Place and change, with slashes between.
    command : tuple of str
        Arguments of `peculiar`; paths are below the case's directory.
    needs : tuple of str
        Right inputs that are copied there (see `material`).
    change : callable
        What is done to the directory then.
    expected : "right", "refused" or "either"
        "right": exit 0 with finite outputs. "refused": exit 2, one line, nothing written. "either": one of the two.
    nan : bool
        Outputs may hold NaN, as for objects outside the field.
    changes : tuple of str
        Patterns of inputs that the command may write to, such as the run that it goes on with.
    own : tuple of str
        Columns of the user that hold NaN: no command reads them, and they come back as they were.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    change: Callable[[Path], None] = lambda _directory: None
    expected: Expected = "refused"
    nan: bool = False
    changes: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a case: "right", "refused", or a kind of defect, with the line that tells."""

    name: str
    expected: str
    verdict: str
    detail: str
    seconds: float


def run_case(case: Case) -> Outcome:
    """Run a case in a directory of its own, which is removed."""
    place = Path(tempfile.mkdtemp(prefix="peculiar-case-"))
    directory = place / "work"
    directory.mkdir()
    try:
        put(directory, *case.needs)
        case.change(directory)
        before = snapshot(directory)
        status, seconds = _fork(case, directory, place)
        verdict, detail = judge(case, directory, place, before=before, status=status, seconds=seconds)
    except Exception:  # a fault of the harness, told as such
        verdict, detail, seconds = "harness", traceback.format_exc().strip().replace("\n", " | ")[-600:], 0.0
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Outcome(case.name, case.expected, verdict, detail.replace(str(place), ""), round(seconds, 2))


def snapshot(directory: Path) -> dict[str, str]:
    """Return what lies below a directory: name -> kind and checksum."""
    found = {}
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(directory))
        if stat.S_ISREG(mode):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = (
                f"link to {os.readlink(path)}" if stat.S_ISLNK(mode) else f"kind {stat.S_IFMT(mode)}"
            )
    return found


def _fork(case: Case, directory: Path, place: Path) -> tuple[int, float]:
    """Run the command in a child; return its wait status and its processor time."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _run(case, directory, place)
    handle = os.pidfd_open(child)
    if not select.select([handle], [], [], WALL_FACTOR * CPU_LIMIT)[0]:
        os.killpg(child, signal.SIGKILL)
    os.close(handle)
    _, status, usage = os.wait4(child, 0)
    return status, usage.ru_utime + usage.ru_stime


def _run(case: Case, directory: Path, place: Path) -> NoReturn:
    code, touched = 1, []
    try:
        os.setsid()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        memory = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(directory)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT), number)
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        here = str(directory)

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event == "os.mkdir" or (
                event == "open" and isinstance(arguments[2], int) and arguments[2] & writing
            ):
                path = arguments[0]
                if not isinstance(path, str | os.PathLike) or os.path.isdir(path):
                    return  # a file without a name tells whether others can be made there
                if os.path.abspath(path).startswith(here):
                    touched.append(os.path.abspath(path))

        sys.addaudithook(watch)
        from peculiar.cli import app

        try:
            app(list(case.command), prog_name="peculiar")
            code = 0
        except SystemExit as error:
            code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        (place / "touched").write_text("\n".join(touched))
    finally:
        os._exit(code)


def judge(
    case: Case, directory: Path, place: Path, *, before: dict[str, str], status: int, seconds: float
) -> tuple[str, str]:
    """Return the verdict on a case that ran, and the line that tells."""
    text = (place / "stderr").read_text(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    after = snapshot(directory)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        timed = number in (signal.SIGXCPU, signal.SIGKILL)
        return ("time" if timed else "killed"), f"signal {number}: {last}"
    code = os.WEXITSTATUS(status)
    if "MemoryError" in text or "not enough memory" in text or "DefaultCPUAllocator" in text:
        return "memory", last
    if "Traceback" in text:
        return "traceback", f"{last} [{_origin(lines)}]"
    if code == 2:
        return _judge_refusal(case, lines, before, after, place, seconds)
    if code != 0:
        return "exit code", f"{code}: {last}"
    if case.expected == "refused":
        return "accepted", last
    kept = {
        name: kind for name, kind in before.items() if not any(fnmatch(name, item) for item in case.changes)
    }
    if damaged := [name for name, kind in kept.items() if after.get(name) != kind]:
        return "input changed", damaged[0]
    if partial := [name for name in after if ".partial" in name or ".replaced" in name]:
        return "files left", partial[0]
    if not case.nan:
        for name in after:
            if after[name] != before.get(name) and (found := not_finite(directory / name, apart=case.own)):
                return "NaN written", found
    return "right", ""


def _judge_refusal(
    case: Case, lines: list[str], before: dict[str, str], after: dict[str, str], place: Path, seconds: float
) -> tuple[str, str]:
    errors = [line for line in lines if line.startswith("peculiar: error: ")]
    told = errors[0][17:320] if errors else lines[-1][:300] if lines else ""
    if after != before:
        names = sorted({name for name in {*before, *after} if before.get(name) != after.get(name)})
        return "files left", f"{names[0]}: {told}"
    if len(errors) != 1 or lines[-1] != errors[0]:
        return "not one line", told
    if case.expected == "right":
        return "refused wrongly", told
    if seconds > LATE:
        return "late", f"{seconds:.0f} s: {told}"
    touched = (place / "touched").read_text().splitlines()
    if touched:
        return "late", f"wrote {Path(touched[0]).name} before: {told}"
    return "refused", told


def _origin(lines: list[str]) -> str:
    """Return the last line of the package in a traceback."""
    own = [line.strip() for line in lines if "/peculiar/" in line and line.strip().startswith("File ")]
    if not own:
        return "?"
    path, number, *_ = own[-1].removeprefix("File ").split(", ")
    return f"{path.strip(chr(34)).rpartition('/peculiar/')[2]}:{number.removeprefix('line ')}"
