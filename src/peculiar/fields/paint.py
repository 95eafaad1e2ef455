"""Particles onto meshes, and the windows that this leaves in Fourier space.

On the CPU numba kernels do the work (`peculiar.fields.kernels`), elsewhere torch does, with the same result to
rounding. Cells are those of `peculiar.core.readout`, which reads a mesh at particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex, Float, Int, UInt64
from torch import Tensor

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.readout import Scheme, cloud_corners, flat_index, position_tensor, scheme_order
from peculiar.fields.fourier import to_fourier, wavevectors
from peculiar.fields.kernels import paint_kernel

ABUNDANCES = (1e-4, 1e-3, 2e-3, 3e-3)
"""Cumulative abundances [(h/Mpc)^3] that cut the mass bins of Xiao et al. 2024."""


def paint(
    positions: Float[np.ndarray, "n 3"] | Float[Tensor, "n 3"],
    box: Box,
    *,
    weights: Float[np.ndarray, "n ..."] | Float[Tensor, "n ..."] | None = None,
    scheme: Scheme = "cic",
    shift: float = 0.0,
    onto: Float[Tensor, "channel x y z"] | None = None,
) -> Float[Tensor, "channel x y z"]:
    """Sum particle weights onto a mesh.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
        NumPy or torch. A periodic box wraps them; otherwise what falls beyond its faces is dropped.
    box : Box
        With its mesh.
    weights : (n,) or (n, channel), optional
        One mesh for each channel; ones where not given.
    scheme : "ngp", "cic" or "tsc"
        Nearest grid point, cloud in cell, triangular-shaped cloud.
    shift : float
        Move the mesh by this many cells along each axis (1/2 for the second mesh of an interlaced pair).
    onto : Tensor (channel, x, y, z) float32, optional
        The mesh that is added to, and returned: what was painted before of the same particles, some at a time.

    Returns
    -------
    Tensor (channel, x, y, z) float32, on the device of the positions.

    Raises
    ------
    InputError
        If a shape is wrong, a position is not finite, or the scheme is unknown.
    """
    order = scheme_order(scheme)
    points = position_tensor(positions)
    values = _weights(weights, points)
    if points.device.type == "cpu":
        painted = paint_kernel(
            points.numpy(),
            None if values is None else values.numpy(),
            box.shape,
            size=box.sides[0],
            origin=box.origin,
            order=order,
            shift=shift,
            periodic=box.periodic,
            onto=None if onto is None else onto.numpy(),
        )
        return torch.from_numpy(painted)
    mesh = _paint_with_torch(points, box, values, order, shift)
    return mesh if onto is None else onto.add_(mesh)


def paint_interlaced_fourier(
    positions: Float[np.ndarray, "n 3"] | Float[Tensor, "n 3"],
    box: Box,
    *,
    weights: Float[np.ndarray, "n ..."] | Float[Tensor, "n ..."] | None = None,
    scheme: Scheme = "cic",
) -> Complex[Tensor, "channel x y half"]:
    """Paint particles on two meshes half a cell apart, combine them in Fourier space and undo the window.

    The combination cancels the odd aliases (Hockney and Eastwood 1981; Sefusatti et al. 2016), the division the
    smoothing of the scheme. On the Nyquist planes, where the two phases are not defined, the first mesh stands alone.

    Returns
    -------
    Tensor (channel, x, y, cells // 2 + 1)
        Transform of the sum of weights per cell, in the layout and the phases of ``to_fourier(paint(...))``: divide
        by the mean weight per cell for that of 1 + delta. Shot noise is in it: sum(w^2) over the number of cells in
        each |.|^2 over it.

    Notes
    -----
    Fourier space is periodic, so the particles are wrapped even where the box is not: leave room around a survey.
    """
    wrapped = replace(box, periodic=True)
    first = to_fourier(paint(positions, wrapped, weights=weights, scheme=scheme))
    second = to_fourier(paint(positions, wrapped, weights=weights, scheme=scheme, shift=0.5))
    for k in wavevectors(wrapped, first.device):
        second *= torch.polar(torch.ones_like(k), -0.5 * box.cell_size * k)
    for axis, n in enumerate(box.shape, start=1):
        if n % 2 == 0:
            second.narrow(axis, n // 2, 1).copy_(first.narrow(axis, n // 2, 1))
    return deconvolve(first.add_(second).mul_(0.5), wrapped, scheme=scheme)


def window(k: Float[Tensor, "..."], cell_size: float, *, scheme: Scheme = "cic") -> Float[Tensor, "..."]:
    """Return the window of a scheme along one axis, sinc(k cell / 2)^p; k [h/Mpc], cell [Mpc/h].

    The window of the mesh is the product over the axes; p is 1 for NGP, 2 for CIC and 3 for TSC.
    """
    return torch.sinc(k * (cell_size / (2 * torch.pi))) ** scheme_order(scheme)


def deconvolve(
    data_k: Complex[Tensor, "... x y half"], box: Box, *, scheme: Scheme = "cic"
) -> Complex[Tensor, "... x y half"]:
    """Divide a transform by the window of the scheme that painted it."""
    inverse = [
        torch.reciprocal(window(k, box.cell_size, scheme=scheme))
        for k in wavevectors(box, data_k.device, dtype=data_k.real.dtype)
    ]
    return (data_k * inverse[0]).mul_(inverse[1]).mul_(inverse[2])


def mass_bins(
    masses: Float[np.ndarray, " n"],
    positions: Float[np.ndarray, "n 3"],
    *,
    volume: float,
    abundances: Sequence[float] = ABUNDANCES,
) -> Int[np.ndarray, " n"]:
    """Assign objects to bins of cumulative abundance, the most massive first.

    Parameters
    ----------
    masses : (n,)
        Mass, or whatever else ranks the objects.
    positions : (n, 3)
        Rank equal masses, as of halos with equally many particles; see `ranks`.
    volume : float
        Volume that the objects fill [(Mpc/h)^3].
    abundances : sequence of float
        Cumulative abundance at the lower edge of each bin [(h/Mpc)^3], rising.

    Returns
    -------
    (n,) int
        0 for the most massive; what is rarer than the last abundance allows joins the last bin.

    Raises
    ------
    InputError
        If the abundances do not rise or the volume is not positive.
    """
    edges = np.asarray(abundances, dtype=np.float64)
    if edges.ndim != 1 or len(edges) == 0 or edges[0] <= 0 or (np.diff(edges) <= 0).any():
        raise InputError(f"abundances must be positive and rise, got {tuple(abundances)}")
    if not volume > 0:
        raise InputError(f"volume must be > 0 (Mpc/h)^3, got {volume}")
    return np.minimum(np.searchsorted(edges * volume, ranks(masses, positions), side="right"), len(edges) - 1)


def ranks(masses: Float[np.ndarray, " n"], positions: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Return the rank of objects by mass, 0 for the most massive.

    Equal masses are ranked by a hash of the coordinates: neither a place, nor the order of the rows, nor the names of
    the axes decide.
    """
    n = len(masses)
    coordinates = np.ascontiguousarray(positions, dtype=np.float64)
    chance = _scrambled(coordinates.view(np.uint64)).sum(axis=1)  # wraps, as hashes may
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((chance, -np.asarray(masses)))] = np.arange(n)
    return rank


def _scrambled(bits: UInt64[np.ndarray, "n 3"]) -> UInt64[np.ndarray, "n 3"]:
    """Return the hash of SplitMix64 (Steele, Lea & Flood 2014): the one of pandas, whose import takes half a second."""
    bits = (bits ^ (bits >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> 27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> 31)


def paint_bins(
    catalogue: Catalogue,
    cells: int,
    *,
    positions: Float[np.ndarray, "n 3"] | None = None,
    weighting: Literal["number", "mass"] = "number",
    scheme: Scheme = "cic",
    abundances: Sequence[float] = ABUNDANCES,
) -> Field:
    """Paint a catalogue in bins of abundance, one channel each, in units of each bin's own mean.

    The input of Xiao et al. 2024, "without mass" (`weighting` "number") and "with mass" ("mass"). Completeness
    weights count in both.

    Parameters
    ----------
    catalogue : Catalogue
        Without masses, every object goes into the last bin.
    cells : int
        Mesh cells along a side.
    positions : (n, 3) [Mpc/h], optional
        Paint the objects there in place of their own positions.
    weighting : "number" or "mass"
        One per object, or its mass over the mean mass of its bin.
    scheme, abundances
        As in `paint` and `mass_bins`.

    Returns
    -------
    Field
        Weight per cell over the bin's mean weight per cell, averaged over the covered volume of a survey: 1 on
        average there. A bin without objects is 0 everywhere.

    Raises
    ------
    InputError
        If the weighting is unknown, or is "mass" and the catalogue has no positive masses.
    """
    if weighting not in ("number", "mass"):
        raise InputError(f"weighting must be 'number' or 'mass', got {weighting!r}")
    masses = catalogue.masses
    if weighting == "mass" and (masses is None or not (np.asarray(masses) > 0).all()):
        raise InputError("catalogue.masses must all be > 0 for weighting='mass': use weighting='number'")
    covered = 1.0 if catalogue.completeness is None else float(catalogue.completeness.data.float().mean())
    bins = (
        np.full(len(catalogue), len(abundances) - 1)
        if masses is None
        else mass_bins(
            masses, catalogue.positions, volume=catalogue.box.volume * covered, abundances=abundances
        )
    )
    values = (
        np.ones(len(catalogue)) if catalogue.weights is None else np.asarray(catalogue.weights, np.float64)
    )
    if weighting == "mass" and masses is not None:
        values = values * masses
    total = np.bincount(bins, weights=values, minlength=len(abundances))
    box = catalogue.box.with_cells(cells)
    weights = np.zeros((len(catalogue), len(abundances)), dtype=np.float32)
    weights[np.arange(len(catalogue)), bins] = values
    data = paint(catalogue.positions if positions is None else positions, box, weights=weights, scheme=scheme)
    # Divided after painting: sums of ones are exact in single precision, sums of their fractions are not.
    mean = np.where(total > 0, total, 1.0) / (box.cell_count * covered)
    data /= torch.from_numpy(mean).to(data)[:, None, None, None]
    names = [f"abundance_{abundance:g}" for abundance in abundances]
    return Field(data, box, names, space=catalogue.space)


def _weights(weights: np.ndarray | Tensor | None, points: Tensor) -> Float[Tensor, "n channel"] | None:
    if weights is None:
        return None
    values = torch.as_tensor(weights, device=points.device).detach().to(torch.float32)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != len(points):
        raise InputError(
            f"weights must have shape ({len(points)},) or ({len(points)}, channel), got {weights.shape}"
        )
    return values


def _paint_with_torch(
    points: Tensor, box: Box, weights: Tensor | None, order: int, shift: float
) -> Float[Tensor, "channel x y z"]:
    shape = torch.tensor(box.shape, device=points.device)
    channels = 1 if weights is None else weights.shape[1]
    mesh = torch.zeros(channels, box.cell_count, device=points.device)
    for rows, index, share in cloud_corners(points, box, order, shift):
        if not box.periodic:
            share = share * ((index >= 0) & (index < shape)).all(dim=1)
        flat = flat_index(index.remainder(shape), box.shape)
        if weights is None:
            mesh[0].index_add_(0, flat, share)
        else:
            for channel in range(channels):
                mesh[channel].index_add_(0, flat, share * weights[rows, channel])
    return mesh.reshape(channels, *box.shape)
