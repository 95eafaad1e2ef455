"""Fields that others have published, by the names of their files, turned from galactic to celestial axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.catalogues.frames import from_galactic_axes, to_galactic_axes
from peculiar.core import Box, Cosmology, Field, InputError
from peculiar.core.provenance import provenance
from peculiar.core.records import DAMAGED

Mesh = Float[np.ndarray, "x y z"]
RADIUS = 200.0
"""Of the sphere about the observer that all of them fill [Mpc/h]."""
_ORDER = 3  # of the splines: trilinear interpolation takes power from small scales


@dataclass(frozen=True)
class Release:
    """How a published field is stored: on a cube of 400 Mpc/h in galactic axes, the observer in the middle.

    Attributes
    ----------
    name : str
    files : mapping of str to str
        Of "velocity" or "vx", "vy", "vz", "density", and "ex", "ey", "ez" of errors where there are any: patterns of
        the files' names.
    read : callable
        Gives what a file holds as (channel, x, y, z).
    ends : "centres" or "faces"
        What stands 200 Mpc/h from the observer along an axis: the outermost cell's centre, or its face.
    mean_density : float
        What the density file holds at the mean: 0 of an overdensity.
    density_scale : float
        What an overdensity is multiplied with.
    cosmology : Cosmology
    velocity, density : str
        Definitions.
    """

    name: str
    files: Mapping[str, str]
    read: Callable[[Path], Float[np.ndarray, "channel x y z"]]
    ends: Literal["centres", "faces"]
    mean_density: float
    density_scale: float
    cosmology: Cosmology
    velocity: str
    density: str


def released(path: Path | str) -> dict[str, Any] | None:
    """Read a published field, as parameters of a `Reconstruction`; None if the path is none of `RELEASES`.

    Parameters
    ----------
    path : path
        Directory of the release's files, or one of them.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another shape, or several releases lie in the directory.
    """
    found = _find(Path(path))
    if found is None:
        return None
    release, files = found
    meshes = {
        name: _load(release, file, channels=3 if name == "velocity" else 1) for name, file in files.items()
    }
    shape = meshes["density"].shape[1:]
    bad = {name: mesh.shape for name, mesh in meshes.items() if mesh.shape[1:] != shape}
    if bad or len(set(shape)) != 1 or shape[0] < 2:
        raise InputError(
            f"files of {release.name} must hold cubes of one mesh, got {dict(density=shape, **bad)} in {path}: "
            "give them as they were published"
        )
    vector = ("velocity",) if "velocity" in meshes else ("vx", "vy", "vz")
    velocity = np.concatenate([meshes[name] for name in vector])
    density = (meshes["density"] - release.mean_density) * release.density_scale
    rows = [*velocity, *density]
    if "ex" in meshes:
        rows.append(np.sqrt(np.mean([meshes[name][0] ** 2 for name in ("ex", "ey", "ez")], axis=0)))
    cells = shape[0]
    cell = 2 * RADIUS / (cells if release.ends == "faces" else cells - 1)
    box = Box(cells * cell, cells, origin=(-cells * cell / 2,) * 3, periodic=False)
    turned, seen = _turned(rows, box)
    flow = from_galactic_axes(np.moveaxis(turned[:3], 0, -1))
    fields = {
        "velocity": Field(
            _tensor(np.moveaxis(flow, -1, 0)), box, "xyz", "km/s", kind="vector", definition=release.velocity
        ),
        "density": Field(_tensor(turned[3:4]), box, ["density"], definition=release.density),
        "completeness": Field(_tensor(seen[None]), box, ["completeness"], space="redshift"),
    }
    if "ex" in meshes:
        fields["velocity_error"] = Field(
            _tensor(np.maximum(turned[4:5], 0.0)), box, ["velocity_error"], "km/s"
        )
    return {
        "fields": fields,
        "cosmology": release.cosmology,
        "redshift": 0.0,
        "line_of_sight": "radial",
        "observer": (0.0, 0.0, 0.0),
        "catalogue_space": "redshift",
        "model": release.name,
        "record": {
            "provenance": provenance({"survey": release.name, "files": list(map(str, files.values()))})
        },
    }


def _find(path: Path) -> tuple[Release, dict[str, Path]] | None:
    """Return the release that a directory, or a file of it, is of, and its files by what they hold."""
    directory = path if path.is_dir() else path.parent
    if not path.exists():
        return None
    for release in RELEASES:
        found = {name: sorted(directory.glob(pattern)) for name, pattern in release.files.items()}
        if path.is_file():
            if not any(path in files for files in found.values()):
                continue
            found = {name: _partners(files, path) for name, files in found.items()}
        elif not found["density"] or not any(found[name] for name in found if name[0] == "v"):
            continue
        wrong = {
            name: files for name, files in found.items() if len(files) != 1 and (files or name[0] != "e")
        }
        if wrong:
            name, files = next(iter(wrong.items()))
            raise InputError(
                f"{path} must hold one file {release.files[name]} of {release.name}, got "
                f"{', '.join(file.name for file in files) or 'none'}: give the path of one velocity file"
            )
        single = {name: one[0] for name, one in found.items() if one}
        return release, single if {"ex", "ey", "ez"} <= set(single) else _without_errors(single)
    return None


def _partners(files: list[Path], path: Path) -> list[Path]:
    """Return those that differ from a path in what they hold alone: velocity_zLG.dat and density_zLG.dat."""
    if len(files) < 2:
        return files
    stem = path.name.replace("velocity", "*").replace("density", "*")
    return [file for file in files if file.name.replace("velocity", "*").replace("density", "*") == stem]


def _without_errors(files: Mapping[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if name[0] != "e"}


def _load(release: Release, file: Path, *, channels: int) -> Float[np.ndarray, "channel x y z"]:
    try:
        values = np.asarray(release.read(file), dtype=np.float32)
    except DAMAGED as error:
        raise InputError(
            f"a file of {release.name} must be readable, got {file} ({' '.join(str(error).split())[:200]}): "
            "fetch it again"
        ) from None
    if values.ndim != 4 or len(values) != channels:
        raise InputError(
            f"{file} must hold {'three components' if channels == 3 else 'one value'} on a cube, got shape "
            f"{values.shape}: give the file as it was published"
        )
    return values


def _turned(
    rows: list[Mesh], box: Box
) -> tuple[Float[np.ndarray, "channel x y z"], Float[np.ndarray, "x y z"]]:
    """Interpolate meshes of galactic axes at the cells of celestial ones, and tell which of those they reach."""
    from scipy.ndimage import map_coordinates, spline_filter

    known = np.asarray(np.isfinite(rows).all(axis=0))
    splines = [spline_filter(np.where(known, row, 0.0), _ORDER, np.float32, mode="nearest") for row in rows]
    found = np.empty((len(rows), *box.shape), dtype=np.float32)
    seen = np.empty(box.shape, dtype=np.float32)
    centres = [box.coordinates(axis) for axis in range(3)]
    y, z = np.meshgrid(centres[1], centres[2], indexing="ij")
    for place, x in enumerate(centres[0]):  # a layer at a time bounds the temporaries
        points = np.stack([np.full_like(y, x), y, z], axis=-1).reshape(-1, 3)
        index = ((to_galactic_axes(points) - np.asarray(box.origin)) / box.cell_size - 0.5).T
        for channel, spline in enumerate(splines):
            layer = map_coordinates(spline, index, order=_ORDER, mode="nearest", prefilter=False)
            found[channel, place] = layer.reshape(y.shape)
        seen[place] = _reached(known, index, np.linalg.norm(points, axis=1)).reshape(y.shape)
    return found, seen


def _reached(
    known: Bool[np.ndarray, "x y z"], index: Float[np.ndarray, "3 n"], distance: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    cells = np.clip(np.round(index).astype(int), 0, len(known) - 1)
    return known[tuple(cells)] & (distance <= RADIUS)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _array(file: Path) -> Float[np.ndarray, "channel x y z"]:
    values = np.load(file, allow_pickle=False)
    return values if values.ndim == 4 else values[None]


def _text(file: Path) -> Float[np.ndarray, "channel x y z"]:
    rows = np.loadtxt(file, dtype=np.float32, ndmin=2)
    cells = round(len(rows) ** (1 / 3))
    return rows.T.reshape(-1, cells, cells, cells)


_PLANCK = Cosmology(Omega_m=0.3153, Omega_b=0.0493, h=0.6736, n_s=0.9649, sigma8=0.8111)
RELEASES = (
    Release(
        "2M++ (Carrick et al. 2015)",
        {"velocity": "*twompp_velocity*.npy", "density": "*twompp_density*.npy"},
        _array,
        ends="centres",
        mean_density=0.0,
        density_scale=1.0,
        cosmology=Cosmology(Omega_m=0.3, Omega_b=0.045, h=0.7, n_s=0.96, sigma8=0.8),
        velocity="linear theory with beta* = 0.43; V_ext = (89, -131, 17) km/s of galactic axes is in it",
        density="luminosity of galaxies, smoothed by a Gaussian of 4 Mpc/h",
    ),
    Release(
        "CORAS 2MRS (Lilow & Nusser 2021)",
        {"velocity": "cartesian_grid_velocity*.dat*", "density": "cartesian_grid_density*.dat*"},
        _text,
        ends="centres",
        mean_density=0.0,
        density_scale=_PLANCK.sigma8,
        cosmology=_PLANCK,
        velocity="linear theory with f sigma8 = 0.402; V_ext = (107, -124, -1) km/s of galactic axes is in it",
        density="Wiener filter, smoothed by a Gaussian of 5 Mpc/h",
    ),
    Release(
        "2MRS neural network (Lilow et al. 2024)",
        {
            **{f"v{axis}": f"{axis}Velocity.npy" for axis in "xyz"},
            "density": "density.npy",
            **{f"e{axis}": f"{axis}Velocity_error.npy" for axis in "xyz"},
        },
        _array,
        ends="faces",
        mean_density=1.0,
        density_scale=1.0,
        cosmology=Cosmology(Omega_m=0.3175, Omega_b=0.049, h=0.6711, n_s=0.9624, sigma8=0.834),
        velocity="a network's mean, smoothed by a Gaussian of 3 Mpc/h",
        density="a network's mean, smoothed by a Gaussian of 3 Mpc/h",
    ),
)
"""What is known: files as their authors give them (cosmicflows.iap.fr, github.com/rlilow)."""
