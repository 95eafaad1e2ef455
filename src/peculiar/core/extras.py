"""Packages that not everyone needs: what needs them, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from peculiar.core.errors import MissingExtraError

Extra = Literal["train", "cluster", "report"]

EXTRAS: dict[Extra, tuple[str, tuple[str, ...]]] = {
    "train": ("`peculiar train` and `peculiar tune` need", ("lightning", "optuna")),
    "cluster": ("`--workers` and `--scheduler` need", ("dask", "dask_jobqueue", "distributed")),
    "report": (
        "`peculiar report`, `figures`, `evaluate` and `demo` need",
        ("jinja2", "matplotlib", "plotly"),
    ),
}
"""What an extra of the installation is for, and the packages that come with it."""


@contextmanager
def extra(name: Extra) -> Iterator[None]:
    """Import packages of an extra inside of it; without them one line says how to get them.

    Raises
    ------
    MissingExtraError
        If a package of the extra is not installed.

    Examples
    --------
    >>> with extra("train"):
    ...     import lightning
    """
    need, packages = EXTRAS[name]
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in packages:
            raise
        raise MissingExtraError(
            f"{need} {' and '.join(packages)}, got no {missing}: pip install 'peculiar[{name}]'"
        ) from None
