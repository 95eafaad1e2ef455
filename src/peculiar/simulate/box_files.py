"""The HDF5 files that hold simulated boxes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.hdf5 import add_array, new_hdf5
from peculiar.simulate.halos import Halos
from peculiar.simulate.satellites import Members

SCHEMA = 1
VOLUME_VELOCITY = "volume_velocity"
"""An array that a box may hold or not."""


def refuse_broken(paths: Iterable[str | Path]) -> None:
    """Read every array of simulated boxes or pairs; call it before long work.

    Raises
    ------
    InputError
        If an array cannot be read, or holds what is not finite.
    """
    import h5py

    def check(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and not np.isfinite(item[()]).all():
            raise InputError(
                f"simulation must be finite, got NaN or infinite {name!r} in {path}: make it again"
            )

    for path in paths:
        try:
            with h5py.File(path) as file:
                file.visititems(check)
        except OSError as error:
            raise InputError(
                f"simulation must be a whole HDF5 file, got {path} ({error}): make it again"
            ) from error


def write_box(
    path: Path,
    cosmology: Cosmology,
    *,
    seed: int,
    redshift: float,
    fields: Mapping[str, Field],
    halos: Halos,
    members: Members,
    attributes: Mapping[str, Any],
) -> None:
    """Write the HDF5 file that `SimulatedBox` opens.

    Parameters
    ----------
    path : Path
        A new file.
    cosmology : Cosmology
    seed : int
    redshift : float
    fields : mapping of str to Field
        "density", "velocity", "linear_density" and perhaps "volume_velocity" on one mesh.
    halos : Halos
        The most massive first; their own members are not written.
    members : Members
    attributes : mapping
        What else the file says of itself.
    """
    box, velocity = fields["density"].box, fields["velocity"]
    with new_hdf5(path) as file:
        file.attrs.update(
            schema=SCHEMA,
            seed=seed,
            redshift=redshift,
            box_size=box.side,
            cells=box.mesh,
            cosmology=json.dumps(dataclasses.asdict(cosmology)),
            velocity_definition=velocity.definition,
            **attributes,
        )
        for name, data, unit in (
            ("density", fields["density"].numpy()[0], ""),
            ("velocity", velocity.numpy(), "km/s"),
            ("linear_density", fields["linear_density"].numpy()[0], ""),
            ("halos/position", halos.positions, "Mpc/h"),
            ("halos/velocity", halos.velocities, "km/s"),
            ("halos/mass", halos.masses, "Msun/h"),
            ("halos/count", halos.counts, ""),
            ("members/displacement", members.displacements, "Mpc/h"),
            ("members/velocity", members.velocities, "km/s"),
            ("members/host", members.host, ""),
        ):
            add_array(file, name, data, unit=unit)
        if VOLUME_VELOCITY in fields:
            volume = fields[VOLUME_VELOCITY]
            add_array(file, VOLUME_VELOCITY, volume.numpy(), unit="km/s", definition=volume.definition)
