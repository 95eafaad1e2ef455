"""The memory that is free to this process, asked for before it is taken."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peculiar.core.errors import InputError

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_LEAST = 1e6
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's mallopt


def free_memory() -> int:
    """Return the memory [bytes] that this process may still take.

    The least of what the machine has available, what the process's limits (``ulimit -v``, ``ulimit -d``) leave and
    what the limits of its control groups (v1 and v2; containers, batch systems) leave. Files in the cache of the disk
    count as free.
    """
    return max(0, min([_available(), *_limits(), *_control_groups()]))


@dataclass(frozen=True)
class Allowance:
    """Memory that work may take: how much [bytes], and how that is said."""

    size: float
    text: str


def allowed_memory(memory: int | str | None = None) -> Allowance:
    """Return what a limit of this process's memory leaves it, and no more than is free.

    Parameters
    ----------
    memory : int or str, optional
        The limit, what the process takes already included [bytes], or in words such as "8GB" and "500 MiB". What is
        free to the process (`free_memory`) where not given.

    Raises
    ------
    InputError
        If it is no size.
    """
    free = free_memory()
    if memory is None:
        return Allowance(free, f"{free / 1e9:.3g} GB free to this process")
    limit, taken = _size(memory), _resident()
    if free < limit - taken:
        return Allowance(free, f"{free / 1e9:.3g} GB free to this process ({limit / 1e9:.3g} GB were given)")
    left = max(0, limit - taken)
    return Allowance(
        left, f"{left / 1e9:.3g} GB left of {limit / 1e9:.3g} GB ({taken / 1e9:.3g} GB are taken already)"
    )


def require_memory(needed: float, *, what: str, remedy: str, allowed: Allowance | None = None) -> None:
    """Refuse work that needs more memory than it may take.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What needs them, as the message begins: "a mesh of 512^3 cells".
    remedy : str
    allowed : Allowance, optional
        What is free to this process where not given.

    Raises
    ------
    InputError
        With both numbers and the remedy.
    """
    allowed = allowed or allowed_memory()
    if needed > allowed.size:
        raise InputError(
            f"{what} must fit in memory, got {needed / 1e9:.3g} GB needed with {allowed.text}: {remedy}"
        )


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the process keep large blocks that it frees, and use them again, while the block runs.

    The C library returns them to the system, which clears every page anew: a third of the time of a network on a large
    mesh. What is not glibc does as it always does.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_TRIM_THRESHOLD, -1)
    library.mallopt(_MMAP_MAX, 0)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, 65536)
        library.mallopt(_MMAP_THRESHOLD, 2**22)
        library.mallopt(_TRIM_THRESHOLD, 2**23)
        library.malloc_trim(0)


def _size(memory: int | str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d+)?)\s*(?:([kMGT]?)(i?)B)?\s*", str(memory), re.IGNORECASE)
    size = 0.0
    if found is not None:
        number, prefix, binary = found.groups(default="")
        size = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if not size or (size < _LEAST and "b" not in str(memory).lower()):
        raise InputError(
            f"memory must be a size > 0 such as 8GB, 500MB or a number of bytes (1e6 at least), got {memory!r}: "
            "name its unit"
        )
    return size


def _resident() -> int:
    try:
        return int((_PROC / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
