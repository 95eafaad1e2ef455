"""The memory that is free to this process, asked for before it is taken."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from peculiar.core.errors import InputError

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Return the memory [bytes] that this process may still take.

    The least of what the machine has available, what the process's limits (``ulimit -v``, ``ulimit -d``) leave and
    what the limits of its control groups (v1 and v2; containers, batch systems) leave. Files in the cache of the disk
    count as free.
    """
    return max(0, min([_available(), *_limits(), *_control_groups()]))


def require_memory(needed: float, *, what: str, remedy: str) -> None:
    """Refuse work that needs more memory than is free to this process.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What needs them, as the message begins: "a mesh of 512^3 cells".
    remedy : str

    Raises
    ------
    InputError
        With both numbers and the remedy.
    """
    free = free_memory()
    if needed > free:
        raise InputError(
            f"{what} must fit in memory, got {needed / 1e9:.3g} GB needed with {free / 1e9:.3g} GB free to this "
            f"process: {remedy}"
        )


def _available() -> int:
    found = _numbers(_PROC / "meminfo").get("MemAvailable:")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if found is None else 1024 * found


def _limits() -> Iterator[int]:
    try:
        pages = [int(word) for word in (_PROC / "self/statm").read_text().split()]
    except OSError:  # not Linux
        return
    for limit, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            yield most - used * os.sysconf("SC_PAGE_SIZE")


def _control_groups() -> Iterator[int]:
    """What each limit of this process's groups, and of the groups around them, leaves."""
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = _CGROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = root / path.lstrip("/")
        for place in (group, *group.parents[: len(group.parts) - len(root.parts)]):
            try:
                most, used = (int((place / name).read_text()) for name in names[:2])
            except (OSError, ValueError):  # no limit here ("max"), or a group outside this container
                continue
            yield most - used + _numbers(place / "memory.stat").get(names[2], 0)


def _numbers(path: Path) -> dict[str, int]:
    """Names and first numbers of the lines of a file of the system; empty if it is not there."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
