"""Outputs that are whole or not there: a temporary name beside the target, renamed at the end."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from peculiar.core.errors import InputError, OutputExistsError
from peculiar.core.own_files import clear_leftovers, foreign_file, mark, remove, temporaries

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)

Inputs = Mapping[str, Path | str | Iterable[Path | str] | None]
"""Name of an option ("--field") or argument ("run") -> what is read for it: one or several, or None."""


def check_output(
    path: Path | str, *, overwrite: bool = False, inputs: Inputs | None = None, option: str = "--out"
) -> Path:
    """Return the resolved path of an output that can be written; call it before the work starts.

    What runs that were killed left beside it is cleared.

    Parameters
    ----------
    path : path
        The output: a file or a directory.
    overwrite : bool
        Replace an existing file, or an existing directory that holds nothing but what peculiar wrote.
    inputs, option
        What is read, and the output's option: see `refuse_inputs`.

    Raises
    ------
    OutputExistsError
        If the output exists and was not to be overwritten.
    InputError
        If it is an input, cannot be replaced (a directory with files of others, a device), or its place cannot be
        written to.
    """
    target = refuse_inputs(path, inputs or {}, option=option)
    clear_leftovers(target.parent)
    if target.exists():
        if not overwrite:
            problem = f"Output must not exist, got {path}"
            raise OutputExistsError(
                f"{problem}: replace it with force=True (overwrite=True where that is its name), or give another name",
                command=f"{problem}: give --force to replace it, or another name",
            )
        if target.is_dir():
            if foreign := foreign_file(target):
                raise OutputExistsError(
                    f"Output must be a file or a directory that peculiar wrote, got the directory {path} with other "
                    f"contents ({foreign}): choose another name (--force does not replace it)"
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
    try:
        with TemporaryFile(dir=place):  # what modes say does not bind root, nor a file system such as /proc
            pass
    except OSError as error:
        if error.errno not in _FULL:
            raise InputError(
                f"Output must lie where you may write, got {path}: choose a directory other than {place}"
            ) from None
    return target


def refuse_inputs(path: Path | str, inputs: Inputs, *, option: str = "--out") -> Path:
    """Return the resolved path of an output that is no input, holds none and lies in none.

    Links are followed, and what the file system holds once is one thing, whatever its names are.

    Parameters
    ----------
    path : path
        The output.
    inputs : mapping
        Files and directories that are read, by option or argument; what is not there (the name of a model) is left out.
    option : str
        Of the output.

    Raises
    ------
    InputError
        With both names, the input and the remedy.
    """
    target = Path(path).expanduser().resolve()
    for name, found in inputs.items():
        for given in [found] if found is None or isinstance(found, Path | str) else found:
            if given is None or not Path(given).expanduser().exists():
                continue
            source = Path(given).expanduser().resolve()
            if _lies_in(source, target) or _lies_in(target, source):
                rule, remedy = "Output must not hold an input, be one or lie in one", "choose another place"
                in_python = [one.lstrip("-").replace("-", "_") for one in (option, name)]
                in_command = [one if one.startswith("-") else one.upper() for one in (option, name)]
                raise InputError(
                    f"{rule}, got {in_python[0]}={path} with {in_python[1]}={given}: {remedy}",
                    command=f"{rule}, got {in_command[0]} {path} with {in_command[1]} {given}: {remedy}",
                )
    return target


def _lies_in(inner: Path, outer: Path) -> bool:
    if not outer.exists():
        return False
    there = outer.stat()
    return any(os.path.samestat(one.stat(), there) for one in (inner, *inner.parents) if one.exists())


def require_space(path: Path | str, *, size: int) -> None:
    """Raise InputError unless the disk of an output has room for a number of bytes; call it before long work."""
    place = Path(path).expanduser().resolve().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size:
        raise InputError(
            f"Output needs {size / 1e6:.4g} MB, got {free / 1e6:.4g} MB left on the disk of {path}: ask for less, free "
            "some space or choose another disk"
        )


@contextmanager
def atomic_output(path: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside an output; put it in place when the block ends, remove it when the block fails.

    The block writes a file or a directory to the temporary path, which has the output's suffix; a directory gets a list
    of what is in it. Missing parent directories are made (and removed again on failure). An old output stays until the
    new one is whole.

    Parameters
    ----------
    path : path
        The output: a file or a directory.
    overwrite : bool
        As in `check_output`.

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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporaries(target) as names:
            yield names.partial
            _finish(names.partial, path)
            check_output(path, overwrite=overwrite)  # it may have appeared meanwhile
            _put_in_place(names.partial, target, aside=names.replaced)
    except BaseException as error:
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        remedy = None if isinstance(error, InputError) else _disk_trouble(error, target)
        if remedy is None:
            raise
        raise InputError(f"Output must be written whole, got {remedy[0]} at {path}: {remedy[1]}") from error


def _finish(temporary: Path, path: Path | str) -> None:
    if not temporary.exists():
        raise FileNotFoundError(f"nothing was written to {temporary} for {path}")
    if temporary.is_dir():
        mark(temporary)
        return
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # a disk may tell only now that it is full


def _put_in_place(temporary: Path, target: Path, *, aside: Path) -> None:
    if not (target.is_dir() or (temporary.is_dir() and target.exists())):
        os.replace(temporary, target)
        return
    # A directory cannot be replaced in one step: the old one steps aside, and comes back if the new one cannot enter.
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(aside, target)
        raise
    remove(aside)


def _disk_trouble(error: BaseException, target: Path) -> tuple[str, str] | None:
    """What went wrong with the disk and what helps, or None if something else failed.

    Writers wrap the system's error, or (HDF5) keep only its text, so the whole chain is searched.
    """
    ours = str(target.with_name(f".{target.stem}."))
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        number = link.errno if isinstance(link, OSError) else None
        if number in _FULL or any(os.strerror(full) in str(link) for full in _FULL):
            return "a full disk", "free some space or choose another disk; nothing was left behind"
        if number in _REFUSED and isinstance(link, OSError) and str(link.filename).startswith(ours):
            return f"'{link.strerror}'", "choose a place where you may write; nothing was left behind"
        link = link.__cause__ or link.__context__
    return None
