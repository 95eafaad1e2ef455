"""Outputs that are whole or not there: a temporary name beside the target, renamed at the end."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peculiar.core.errors import InputError, OutputExistsError

# A directory is replaced only if one of these files in it names peculiar: a slip must not cost a home directory.
MARKERS = ("zarr.json", ".zattrs", "run.json", "provenance.json")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def is_own_directory(path: Path | str) -> bool:
    """Whether a directory is empty or was written by peculiar (a marker file in it names the package)."""
    path = Path(path)
    if not any(path.iterdir()):
        return True
    for marker in MARKERS:
        try:
            if "peculiar" in (path / marker).read_text(encoding="utf-8"):
                return True
        except (OSError, UnicodeDecodeError):
            continue
    return False


def check_output(path: Path | str, *, overwrite: bool = False) -> Path:
    """Return the resolved path of an output that can be written; call it before the work starts.

    Raises
    ------
    OutputExistsError
        If the output exists and was not to be overwritten.
    InputError
        If it cannot be replaced (a directory that peculiar did not write, a device), or its place cannot be written to.
    """
    target = Path(path).expanduser().resolve()
    if target.exists():
        if not overwrite:
            raise OutputExistsError(
                f"Output must not exist, got {path}: give --force to replace it, or another name"
            )
        if target.is_dir():
            if not is_own_directory(target):
                raise OutputExistsError(
                    f"Output must be a file or a directory that peculiar wrote, got the directory {path} with other "
                    "contents: choose another name (--force does not replace it)"
                )
        elif not target.is_file():
            raise InputError(
                f"Output must be a file or a directory, got {path}, which is a device: choose another name"
            )
    place = target.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(
            f"Output must lie in a directory, got {path}, where {place} is a file: choose another place"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"Output must lie where you may write, got {path}: choose a directory other than {place}"
        )
    return target


def require_space(path: Path | str, *, size: int) -> None:
    """Raise InputError unless the disk of an output has room for a number of bytes; call it before long work."""
    place = Path(path).expanduser().resolve().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size:
        raise InputError(
            f"Output needs {size / 1e6:.4g} MB, got a full disk at {path} with {free / 1e6:.4g} MB left: free some "
            "space or choose another disk"
        )


@contextmanager
def atomic_output(path: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside an output; put it in place when the block ends, remove it when the block fails.

    The block writes a file or a directory to the temporary path, which has the output's suffix. Missing parent
    directories are made (and removed again on failure). An old output stays until the new one is whole.

    Parameters
    ----------
    path : path
        The output: a file or a directory.
    overwrite : bool
        Replace an existing file, or an existing directory that peculiar wrote.

    Yields
    ------
    Path
        Where to write; nothing is there yet.

    Raises
    ------
    OutputExistsError
        If the output exists and was not to be overwritten.
    InputError
        If the disk is full, or the place cannot be written to.

    Examples
    --------
    >>> with atomic_output("power.json") as temporary:  # doctest: +SKIP
    ...     temporary.write_text("{}")
    """
    target = check_output(path, overwrite=overwrite)
    made = [parent for parent in target.parents if not parent.exists()]
    temporary = target.parent / f".{target.stem}.{uuid.uuid4().hex[:8]}.partial{target.suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"nothing was written to {temporary} for {path}")
        check_output(path, overwrite=overwrite)  # it may have appeared meanwhile
        _put_in_place(temporary, target)
    except BaseException as error:
        _remove(temporary)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        remedy = None if isinstance(error, InputError) else _disk_trouble(error, temporary)
        if remedy is None:
            raise
        raise InputError(f"Output must be written whole, got {remedy[0]} at {path}: {remedy[1]}") from error


def _put_in_place(temporary: Path, target: Path) -> None:
    if not (target.is_dir() or (temporary.is_dir() and target.exists())):
        os.replace(temporary, target)
        return
    # A directory cannot be replaced in one step: the old one steps aside, and comes back if the new one cannot enter.
    aside = target.parent / f".{target.stem}.{uuid.uuid4().hex[:8]}.replaced{target.suffix}"
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(aside, target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _disk_trouble(error: BaseException, temporary: Path) -> tuple[str, str] | None:
    """What went wrong with the disk and what helps, or None if something else failed.

    Writers wrap the system's error, or (HDF5) keep only its text, so the whole chain is searched.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        number = link.errno if isinstance(link, OSError) else None
        if number in _FULL or os.strerror(errno.ENOSPC) in str(link):
            return "a full disk", "free some space or choose another disk; nothing was left behind"
        if number in _REFUSED and isinstance(link, OSError) and str(link.filename).startswith(str(temporary)):
            return f"'{link.strerror}'", "choose a place where you may write; nothing was left behind"
        link = link.__cause__ or link.__context__
    return None
