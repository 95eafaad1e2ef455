"""The files of a run: boxes or pairs, by their seeds, and the epochs of a run that has several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from peculiar.core.errors import InputError
from peculiar.simulate.mocks import SimulatedBox


def epoch_directory(run: str | Path, redshift: float) -> Path:
    """Return where a run of several epochs has the boxes of one: a run of its own.

    Examples
    --------
    >>> epoch_directory("boxes", 0.6).name
    'z0.600'
    """
    return Path(run) / f"z{redshift:.3f}"


def run_epochs(run: str | Path) -> list[Path]:
    """Return the epochs of a run by rising redshift, each a run of its own, or the run itself where it has one."""
    epochs = [
        path
        for path in Path(run).glob("z*")
        if re.fullmatch(r"z\d+\.\d{3}", path.name) and any(path.glob("box-*.h5"))
    ]
    return sorted(epochs, key=lambda path: float(path.name[1:])) or [Path(run)]


def open_run(run: str | Path, seeds: Sequence[int] | None = None) -> list[Path]:
    """Return the boxes of a run, sorted by seed, or those with these seeds, in their order.

    Parameters
    ----------
    run : path
        Directory of `peculiar simulate`, or one box file.
    seeds : sequence of int, optional

    Raises
    ------
    InputError
        If there are no boxes, or seeds are not distinct ones of them.
    """
    paths = [Path(run)] if Path(run).is_file() else sorted(Path(run).glob("box-*.h5"))
    if not paths and (epochs := run_epochs(run)) != [Path(run)]:
        raise InputError(
            f"run must be of one epoch, got {run} with {', '.join(path.name for path in epochs)}: give one of them, "
            f"as {epochs[0]}"
        )
    if not paths:
        raise InputError(
            f"run must be a directory with box-*.h5 files, got {run}: make it with `peculiar simulate`"
        )
    if seeds is None:
        return paths
    found = {SimulatedBox.open(path).seed: path for path in paths}
    missing = [seed for seed in seeds if seed not in found]
    if missing or not seeds or len(set(seeds)) < len(seeds):
        raise InputError(
            f"seeds must be those of boxes in {run}, each once and at least one, got {missing or list(seeds)}: "
            f"choose from {sorted(found)}"
        )
    return [found[seed] for seed in seeds]


def open_pairs(run: str | Path) -> list[Path]:
    """Return the pairs of a run directory, sorted by seed.

    Raises
    ------
    InputError
        If the directory holds none.
    """
    paths = sorted(Path(run).glob("pair-*.h5"))
    if not paths:
        raise InputError(
            f"run must be a directory with pair-*.h5 files, got {run}: make it with `peculiar simulate --kind pairs`"
        )
    return paths


def seed_of(path: Path) -> int:
    """Return the seed in a simulation's file name, -1 if there is none."""
    found = re.search(r"(\d+)$", path.stem)
    return int(found.group(1)) if found else -1


def seed_ranges(paths: Sequence[Path]) -> str:
    """Return the seeds of files as text.

    Examples
    --------
    >>> seed_ranges([Path("box-1.h5"), Path("box-2.h5"), Path("box-3.h5"), Path("box-7.h5")])
    '1-3, 7'
    """
    seeds = sorted({seed_of(path) for path in paths})
    texts = []
    for _, group in groupby(enumerate(seeds), lambda item: item[1] - item[0]):
        run = [seed for _, seed in group]
        texts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}")
    return ", ".join(texts)
