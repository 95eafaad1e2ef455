"""Tracer overdensity of boxes and surveys, on a mesh that a Fourier transform may take as periodic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.core.catalogue import SELECTION_FLOOR
from peculiar.fields.fourier import with_empty_cells
from peculiar.fields.paint import ABUNDANCES, mass_bins, paint

PADDING = 0.5
"""Empty cells beyond a non-periodic box, of its side along each axis (at least this much)."""
FAR, FARTHEST = 100.0, 400.0
"""How far images of a box shall be along its shorter sides, and how far they need to be along any [Mpc/h]."""

Weighting = Literal["number", "mass"]


def fourier_box(box: Box) -> Box:
    """Return the periodic box that stands for a box in Fourier transforms.

    A periodic box is its own. A non-periodic one keeps its lower corner and its cell size, and gets empty cells beyond
    its upper faces: along each axis at least half its side (`PADDING`) or 400 Mpc/h (`FARTHEST`), whichever is less,
    and half its longest side or 100 Mpc/h (`FAR`), up to the next even size that transforms fast, so that no structure
    pulls on its own periodic image from next door.
    """
    if box.periodic:
        return box
    from scipy.fft import next_fast_len

    least, most = min(PADDING * max(box.shape), FAR / box.cell_size), FARTHEST / box.cell_size
    empty = (max(min(PADDING * n, most), least) for n in box.shape)
    x, y, z = (
        2 * next_fast_len(math.ceil((n + more) / 2), real=True) - n
        for n, more in zip(box.shape, empty, strict=True)
    )
    return box.extended((x, y, z))


def pad(data: Float[torch.Tensor, "channel x y z"], box: Box) -> Float[torch.Tensor, "channel X Y Z"]:
    """Fill up with zeros from the mesh of a box to that of its `fourier_box`."""
    return with_empty_cells(data, fourier_box(box))


def crop(data: Float[torch.Tensor, "channel X Y Z"], box: Box) -> Float[torch.Tensor, "channel x y z"]:
    """Cut back from the mesh of the `fourier_box` to that of the box."""
    x, y, z = box.shape
    return data[:, :x, :y, :z].contiguous()


def crop_finer(
    data: Float[torch.Tensor, "channel X Y Z"], box: Box, cells: int
) -> Float[torch.Tensor, "channel x y z"]:
    """Cut back like `crop`, then interpolate between cell centres to a mesh of more cells along a side."""
    inside = crop(data, box)[None]
    finer = box.with_cells(cells).shape
    return torch.nn.functional.interpolate(inside, size=finer, mode="trilinear", align_corners=False)[0]


@dataclass(frozen=True, eq=False)
class Sampling:
    """Where and how densely a catalogue samples the mesh that it is painted on.

    Attributes
    ----------
    box : Box
        The catalogue's box with its mesh.
    fourier : Box
        The periodic box of the transforms (`fourier_box`): tracers are painted here.
    expected : Tensor (X, Y, Z) or None
        Expected fraction of the mean density in each cell of `fourier`, after the mass assignment; None where it is 1
        everywhere.
    covered : Tensor (X, Y, Z) of bool or None
        Cells whose overdensity is measured; None where all are.
    """

    box: Box
    fourier: Box
    expected: Float[torch.Tensor, "X Y Z"] | None
    covered: Bool[torch.Tensor, "X Y Z"] | None


def sampling(catalogue: Catalogue, cells: int, *, sparsest: float | None = None) -> Sampling:
    """Return how a catalogue samples a mesh.

    The expected fraction is the catalogue's completeness (interpolated where its mesh is another one), or 1 within the
    faces of a non-periodic box, spread by the cloud-in-cell assignment as the tracers are.

    Parameters
    ----------
    catalogue : Catalogue
    cells : int
        Mesh cells along a side of the catalogue's box.
    sparsest : float, optional
        Cells within the survey whose own completeness exceeds this are covered; where not given, those of which more
        than 0.3 is expected after the assignment (`SELECTION_FLOOR`).

    Raises
    ------
    InputError
        If no cell is covered.
    """
    return box_sampling(catalogue.box.with_cells(cells), catalogue.completeness, sparsest=sparsest)


def box_sampling(box: Box, completeness: Field | None = None, *, sparsest: float | None = None) -> Sampling:
    """Return how the mesh of a box is sampled by what has this completeness; see `sampling`."""
    fourier = fourier_box(box)
    if box.periodic and completeness is None:
        return Sampling(box, fourier, None, None)
    fraction = pad(_on_mesh(completeness, box)[None], box)[0]
    covered = None if sparsest is None else fraction > sparsest
    for axis in range(3):
        # The tracers of a cell, spread evenly over it, reach 1/8 into either neighbour under CIC.
        neighbours = fraction.roll(1, axis).add_(fraction.roll(-1, axis)).mul_(0.125)
        fraction = (0.75 * fraction).add_(neighbours)
    if covered is None:
        covered = fraction > SELECTION_FLOOR
    if not bool(covered.any()):
        raise InputError(
            f"Catalogue.completeness must exceed {SELECTION_FLOOR} somewhere, got at most {float(fraction.max()):.3g}: "
            "give the expected fraction of the mean density, 1 where the survey is complete"
        )
    return Sampling(box, fourier, fraction, covered)


def _on_mesh(field: Field | None, box: Box) -> Float[torch.Tensor, "x y z"]:
    """Expected fraction of the mean density on the mesh of the box."""
    if field is None:
        return torch.ones(box.shape)
    if replace(field.box, periodic=box.periodic) == box:
        return field.data[0].float()
    values = np.nan_to_num(field.at(box.centres())[:, 0])
    return torch.as_tensor(values.reshape(box.shape), dtype=torch.float32)


def larger_box(box: Box, margin: int) -> Box:
    """Return a box that is not periodic with some more cells beyond each face."""
    if box.periodic or not margin:
        return box
    wide = margin * box.cell_size
    x, y, z = (side + 2 * wide for side in box.sides)
    left, front, bottom = (corner - wide for corner in box.origin)
    return Box((x, y, z), max(box.shape) + 2 * margin, origin=(left, front, bottom), periodic=False)


def surrounded(catalogue: Catalogue, *, cells: int, margin: int) -> Catalogue:
    """Return a catalogue in a larger box, of which it sees nothing beyond its own.

    Parameters
    ----------
    catalogue : Catalogue
        In a box that is not periodic.
    cells : int
        Mesh cells along its longest side.
    margin : int
        Cells beyond each face.
    """
    box = catalogue.box.with_cells(cells)
    larger = larger_box(box, margin)
    inside = _on_mesh(catalogue.completeness, box)[None]
    seen = torch.nn.functional.pad(inside, (margin,) * 6)
    completeness = Field(seen, larger, ("completeness",), space="redshift")
    return catalogue.replace(box=larger, completeness=completeness)


def overdensity(
    positions: Float[np.ndarray, "n 3"],
    grid: Sampling,
    *,
    weights: Float[np.ndarray, "n channel"] | Float[np.ndarray, " n"] | None = None,
) -> Float[torch.Tensor, "channel X Y Z"]:
    """Paint tracers (CIC) and return n / (nbar W) - 1 on the Fourier mesh.

    nbar is the mean over the covered cells, for each channel of weights; cells that are not covered,
    and channels without tracers, are 0.
    """
    count = paint(positions, grid.fourier, weights=weights, scheme="cic")
    covered = grid.covered
    if grid.expected is None or covered is None:
        mean = count.mean(dim=(1, 2, 3), keepdim=True)
        return count.div_(mean.clamp_min(1e-30)).sub_(1).masked_fill_(mean <= 0, 0.0)
    mean = (count * covered).sum(dim=(1, 2, 3), keepdim=True) / (grid.expected * covered).sum()
    expected = grid.expected.clamp_min(1e-3)
    for channel, mean_count in zip(count, mean.flatten().tolist(), strict=True):
        channel.div_((mean_count * expected).clamp_min_(1e-30)).sub_(1)
    return count.masked_fill_(~covered | (mean <= 0), 0.0)


def mean_density(catalogue: Catalogue) -> float:
    """Return the mean density of what a catalogue expects where it sees anything [(h/Mpc)^3]."""
    if catalogue.completeness is None:
        return catalogue.number_density
    fraction = catalogue.completeness.data.float()
    return catalogue.number_density * float(fraction[fraction > 0].mean())


def tracer_weights(catalogue: Catalogue, weighting: Weighting = "number") -> Float[np.ndarray, " n"] | None:
    """Return each tracer's weight: completeness weight, times mass over mean mass for "mass"; None where all are 1.

    Raises
    ------
    InputError
        If mass weighting is wanted of a catalogue without masses.
    """
    if weighting not in ("number", "mass"):
        raise InputError(f"weighting must be 'number' or 'mass', got {weighting!r}")
    if weighting == "number":
        return catalogue.weights
    if catalogue.masses is None:
        raise InputError(
            "Catalogue.masses must be given for weighting='mass', got None: use weighting='number'"
        )
    masses = catalogue.masses / catalogue.masses.mean()
    return masses if catalogue.weights is None else masses * catalogue.weights


def binned_weights(
    catalogue: Catalogue, abundances: tuple[float, ...] = ABUNDANCES
) -> Float[np.ndarray, "n channel"]:
    """Return weights that paint each tracer into the channel of its abundance bin, most massive first.

    A catalogue without masses or ranks gets one channel for all tracers.
    """
    own = np.ones(len(catalogue)) if catalogue.weights is None else catalogue.weights
    if catalogue.masses is None:
        return np.asarray(own, dtype=np.float32)[:, None]
    volume = catalogue.covered_volume
    index = mass_bins(catalogue.masses, catalogue.positions, volume=volume, abundances=abundances)
    weights = np.zeros((len(catalogue), len(abundances)), dtype=np.float32)
    weights[np.arange(len(catalogue)), index] = own
    return weights
