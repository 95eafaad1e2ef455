"""What peculiar wrote: a directory's list of its own files, and temporary files of runs that were killed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = ".peculiar.json"
"""The list, inside each directory that peculiar wrote as a whole."""
# Version 0.1.0 had no list: its directories name their package, and hold nothing but files of these names.
_EARLIER_RECORDS = ("provenance.json", ".zattrs", "zarr.json", "run.json")
_EARLIER_NAMES = re.compile(
    r"\.z(attrs|array|group|metadata)|zarr\.json|\d+(\.\d+)*"
    r"|.+\.(ecsv|fits|gz|h5|html|json|md|npz|parquet|pdf|png|toml)"
)


def mark(directory: Path) -> None:
    """Write the list of what a directory holds into it."""
    written = {"package": "peculiar", "files": sorted(_contents(directory))}
    (directory / MARKER).write_text(json.dumps(written) + "\n", encoding="utf-8")


def foreign_file(directory: Path) -> str | None:
    """Return the first file in a directory that peculiar did not write, None where there is none.

    A directory of version 0.1.0, which has no list, is known by its records.
    """
    found = _contents(directory)
    written = _read(directory / MARKER)
    if written.get("package") == "peculiar" and isinstance(written.get("files"), list):
        found -= {MARKER, *map(str, written["files"])}
    elif _is_earlier(directory):
        found = {name for name in found if not _EARLIER_NAMES.fullmatch(name.rpartition("/")[2])}
    return min(found, default=None)


def _contents(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def _is_earlier(directory: Path) -> bool:
    records = (_read(directory / name) for name in _EARLIER_RECORDS)
    return any("peculiar" in _packages(record) for record in records)


def _packages(record: dict[str, Any]) -> list[Any]:
    """Where records of 0.1.0 name their package: fields, provenances, zarr arrays, mocks."""
    mocks = record.get("provenance") if "mocks" in record else None
    places = (record, record.get("attributes"), mocks)
    return [place.get("package") for place in places if isinstance(place, dict)]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


_NAME = re.compile(r"\.(?P<stem>.+)\.(?P<token>[0-9a-f]{8})\.(partial|lock)(?P<suffix>(\.[^.]+)?)")


@dataclass(frozen=True)
class Temporaries:
    """Names beside an output: what is being written, what it replaces, and the lock that says that its run lives."""

    partial: Path
    replaced: Path
    lock: Path


def _temporaries(target: Path, token: str) -> Temporaries:
    names = (f".{target.stem}.{token}.{kind}{target.suffix}" for kind in ("partial", "replaced", "lock"))
    return Temporaries(*(target.with_name(name) for name in names))


def _named(directory: Path, name: re.Match[str]) -> Temporaries:
    return _temporaries(directory / f"{name['stem']}{name['suffix']}", name["token"])


@contextmanager
def temporaries(target: Path) -> Iterator[Temporaries]:
    """Give new names beside an output; whatever has them is removed at the end.

    The lock is the system's, which opens it when the process ends, however it ends: see `clear_leftovers`.
    """
    made = _temporaries(target, uuid.uuid4().hex[:8])
    descriptor = _locked(made.lock)
    try:
        yield made
    finally:
        remove(made.partial)
        remove(made.lock)
        os.close(descriptor)


def _locked(lock: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        with suppress(OSError):  # a file system without locks: nobody takes this one's files for leftovers
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if lock.exists():
            return descriptor
        os.close(descriptor)  # a run that cleared leftovers took it before it was locked


def clear_leftovers(directory: Path) -> None:
    """Remove what killed runs left in a directory, and bring back outputs that stepped aside.

    Living runs keep theirs.
    """
    for path in directory.glob(".*.partial*"):
        # Threads of a run that was told to end may write on after it removed its files, the lock last of them.
        if (name := _NAME.fullmatch(path.name)) and not _named(directory, name).lock.exists():
            remove(path)
    for lock in directory.glob(".*.lock*"):
        name = _NAME.fullmatch(lock.name)
        if name is None:
            continue
        with suppress(OSError), lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = _named(directory, name)
            target = directory / f"{name['stem']}{name['suffix']}"
            if left.replaced.exists() and not target.exists():
                left.replaced.rename(target)
            for path in (left.replaced, left.partial, left.lock):
                remove(path)


@contextmanager
def cleared_after(*directories: Path) -> Iterator[None]:
    """Clear directories when the block ends of what processes that it started and stopped left there."""
    try:
        yield
    finally:
        for directory in directories:
            clear_leftovers(directory)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
