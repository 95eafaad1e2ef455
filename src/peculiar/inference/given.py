"""Reconstructions that are given as themselves or by their paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from peculiar.core import Cosmology
from peculiar.core.catalogue import Observer
from peculiar.inference.reconstruction import Reconstruction


def reconstruction(
    given: Reconstruction | Path | str,
    *,
    observer: Observer | None = None,
    cosmology: Cosmology | None = None,
) -> Reconstruction:
    """Return a reconstruction that is given itself or as its path, with another observer or cosmology where given."""
    made = given if isinstance(given, Reconstruction) else Reconstruction.open(given)
    return replace(made, observer=observer or made.observer, cosmology=cosmology or made.cosmology)


def field_name(given: Reconstruction | Path | str) -> str:
    """Return what a record calls a reconstruction: its path, or its model if it is no file."""
    return given.model if isinstance(given, Reconstruction) else str(given)


def field_files(given: Reconstruction | Path | str) -> list[Path]:
    """Return the path of a reconstruction that is given as one."""
    return [] if isinstance(given, Reconstruction) else [Path(given)]
