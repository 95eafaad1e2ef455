"""What work needs of the machine's memory, refused before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from peculiar.core import InputError

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_memory() -> int:
    """Return the memory [bytes] that this process may use: the machine's, or a smaller limit of its container."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return min(sizes)


def require_memory(size: float, *, what: str, remedy: str) -> None:
    """Refuse work that needs more memory than there is.

    Raises
    ------
    InputError
        With both numbers and the remedy.
    """
    there = machine_memory()
    if size > there:
        raise InputError(
            f"{what} must fit in memory, got {size / 1e9:.3g} GB needed with {there / 1e9:.3g} GB on this machine: "
            f"{remedy}"
        )
