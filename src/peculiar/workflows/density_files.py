"""Densities of the user's, in zarr directories or simulated boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from peculiar.core import Cosmology, Field, InputError
from peculiar.fields.files import FieldAttributes, read_attributes, read_fields
from peculiar.simulate.mocks import SimulatedBox


@dataclass(frozen=True, eq=False)
class StatedDensity:
    """An overdensity, and the cosmology and redshift that its file states."""

    density: Field
    cosmology: Cosmology | None
    redshift: float | None


def read_stated_density(path: str | Path) -> StatedDensity:
    """Read the density of a box of `peculiar simulate` (.h5), or that of a zarr directory of fields.

    Raises
    ------
    InputError
        If it is neither, or holds no overdensity that `require_density` takes.
    """
    if Path(path).suffix in (".h5", ".hdf5"):
        box = SimulatedBox.open(Path(path))
        return StatedDensity(require_density(box.density, path), box.cosmology, box.redshift)
    density = pick_density(read_fields(path), path)
    stated = read_attributes(path, FieldAttributes)
    cosmology, redshift = stated.get("cosmology"), stated.get("redshift")
    return StatedDensity(
        density,
        None if cosmology is None else Cosmology(**json.loads(cosmology)),
        None if redshift is None else float(redshift),
    )


def pick_density(fields: Mapping[str, Field], path: str | Path) -> Field:
    """Return the overdensity among the fields of a file; see `require_density` for errors."""
    if "density" not in fields:
        raise InputError(f"density must hold the scalar 'density', got {', '.join(fields)} in {path}")
    return require_density(fields["density"], path)


def require_density(density: Field, source: object = "the field") -> Field:
    """Return a density that is a finite scalar in real space.

    Raises
    ------
    InputError
        If it is not.
    """
    if len(density.data) != 1:
        raise InputError(
            f"density must hold the scalar 'density', got {len(density.data)} channels in {source}"
        )
    if density.space != "real":
        raise InputError(f"density must be in real space, got {density.space} space in {source}")
    if not torch.isfinite(density.data).all():
        raise InputError(f"density must be finite, got cells that are not in {source}: repair them")
    return density
