"""Bispectrum and reduced bispectrum by Fourier transforms (Scoccimarro 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import mode_weights, to_real
from peculiar.statistics.checks import require_edges
from peculiar.statistics.modes import Modes, divide, modes_of
from peculiar.statistics.power import Edges

Band = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Bispectrum:
    """Bispectrum of triangles k1 + k2 + k3 = 0.

    Attributes
    ----------
    k : (triangle, 3) [h/Mpc]
        Mean wavenumber of the modes in the band of each side.
    bands : (triangle, 3, 2) [h/Mpc]
        Edges of the bands; the lower one belongs to them.
    theta : (triangle,) [rad], optional
        Angle between k1 and k2 where the triangles were asked for by angle.
    bispectrum : (triangle,) [unit]
        Mean over closed triangles of modes, shot noise subtracted; NaN where there is none.
    reduced : (triangle,)
        Q = B / (P1 P2 + P2 P3 + P3 P1) with the powers of the bands.
    power : (triangle, 3) [(Mpc/h)^3 unit of the field^2]
    triangles : (triangle,)
        Closed triangles of modes in the bands.
    unit : str
    """

    k: Float[np.ndarray, "triangle 3"]
    bands: Float[np.ndarray, "triangle 3 2"]
    theta: Float[np.ndarray, " triangle"] | None
    bispectrum: Float[np.ndarray, " triangle"]
    reduced: Float[np.ndarray, " triangle"]
    power: Float[np.ndarray, "triangle 3"]
    triangles: Float[np.ndarray, " triangle"]
    unit: str


def bispectrum_at_angles(
    field: Field | Modes,
    k1: float,
    k2: float,
    *,
    theta: Sequence[float] | Float[np.ndarray, " angle"] | None = None,
    width: float | None = None,
) -> Bispectrum:
    """Measure B(k1, k2, theta), theta the angle between k1 and k2.

    The third side is ``sqrt(k1^2 + k2^2 + 2 k1 k2 cos(theta))``: folded triangles at 0, squeezed ones at pi.

    Parameters
    ----------
    field : Field or Modes
        One scalar channel in a periodic box.
    k1, k2 : float
        [h/Mpc].
    theta : sequence of float, optional
        [rad] in [0, pi]; default: 20 angles in the middle of equal steps.
    width : float, optional
        Of the bands about the sides [h/Mpc]; default: the fundamental wavenumber.

    Returns
    -------
    Bispectrum

    Raises
    ------
    InputError
        If a band leaves the mesh, an angle lies outside [0, pi], the field is not a scalar, or it has no power.
    """
    modes = _scalar_modes(field)
    step = modes.box.k_fundamental if width is None else width
    if not (math.isfinite(step) and step > 0):
        raise InputError(f"width must be > 0 h/Mpc, got {width}")
    angles = (np.arange(20) + 0.5) * math.pi / 20 if theta is None else np.asarray(theta, dtype=np.float64)
    if angles.ndim != 1 or len(angles) == 0 or not ((angles >= 0) & (angles <= math.pi + 1e-9)).all():
        raise InputError(f"theta must be angles in [0, pi] rad, got {theta}")
    for name, value in (("k1", k1), ("k2", k2)):
        if not step / 2 <= value <= modes.box.k_nyquist - step / 2:
            raise InputError(
                f"{name} must lie within the mesh, {step / 2:.4g} to {modes.box.k_nyquist - step / 2:.4g} h/Mpc for "
                f"bands of {step:.4g} h/Mpc, got {value}"
            )
    k3 = np.sqrt(np.maximum(k1**2 + k2**2 + 2 * k1 * k2 * np.cos(angles), 0))
    if k3.max() > modes.box.k_nyquist - step / 2:
        raise InputError(
            f"k1, k2 and theta must keep the third side within {modes.box.k_nyquist - step / 2:.4g} h/Mpc, got "
            f"{k3.max():.4g}: take shorter sides, larger angles or a finer mesh"
        )
    bands = [(k - step / 2, k + step / 2) for k in (k1, k2)]
    bands += [(max(k - step / 2, 0.0), k + step / 2) for k in k3]
    return _measure(modes, bands, [(0, 1, 2 + i) for i in range(len(k3))], angles)


def bispectrum_in_bins(field: Field | Modes, edges: Edges) -> Bispectrum:
    """Measure the bispectrum in every triple of bins k1 <= k2 <= k3 that can close.

    Parameters
    ----------
    field : Field or Modes
        One scalar channel in a periodic box.
    edges : (bin + 1,) [h/Mpc]
        Of the bins of each side, up to Nyquist. Memory grows by one mesh for every bin.

    Returns
    -------
    Bispectrum
        With `theta` None.

    Raises
    ------
    InputError
        If the edges do not rise or leave the mesh, the field is not a scalar, or it has no power.
    """
    modes = _scalar_modes(field)
    bins = require_edges(edges, "edges", "h/Mpc")
    if bins[0] < 0 or bins[-1] > modes.box.k_nyquist * (1 + 1e-9):
        raise InputError(
            f"edges must lie in [0, {modes.box.k_nyquist:.4g}] h/Mpc, the mesh's Nyquist wavenumber, got "
            f"{bins[0]:.4g} to {bins[-1]:.4g}"
        )
    bands = list(zip(bins[:-1].tolist(), bins[1:].tolist(), strict=True))
    n = len(bands)
    triples = [
        (i, j, k)
        for i in range(n)
        for j in range(i, n)
        for k in range(j, n)
        if bands[k][0] < bands[i][1] + bands[j][1]
    ]
    return _measure(modes, bands, triples, None)


def _measure(
    modes: Modes, bands: list[Band], triples: list[tuple[int, int, int]], theta: np.ndarray | None
) -> Bispectrum:
    """Sum over closed triangles: the mean over a mesh of the product of three band-passed fields."""
    box, unit_k = modes.box, modes.box.k_fundamental
    reach = min(math.floor(max(high for _, high in bands) / unit_k * (1 + 1e-9)), (box.mesh - 1) // 2)
    # A mesh of more than three times the largest component closes no triangle through its periodicity; it is also
    # the smallest that holds these modes, so large fields cost no more than small ones.
    cells = next_fast_len(3 * reach + 1, real=True)
    data, length, weight = _crop(modes, reach, cells)
    masks = [_inside(length, band, unit_k) for band in bands]
    number = np.array([float(weight[mask].sum()) for mask in masks])
    squares = (data.real.square() + data.imag.square()) * weight
    noise = modes.shot_noise
    power = divide(np.array([float(squares[mask].sum()) for mask in masks]), number) * box.volume - noise
    k = divide(np.array([float((length * weight)[mask].sum()) for mask in masks]), number) * unit_k
    counts = _triple_products(torch.ones_like(data), masks, triples, cells)
    sums = _triple_products(data, masks, triples, cells)
    index = np.asarray(triples)
    sides = power[index]
    # Fourier transforms round: what is below half a triangle is none.
    closed = np.where(counts > 0.5, np.round(counts), 0)
    value = divide(sums, closed) * box.volume**2
    value = value - noise * sides.sum(axis=1) - modes.shot_bispectrum
    scale = sides[:, 0] * sides[:, 1] + sides[:, 1] * sides[:, 2] + sides[:, 2] * sides[:, 0]
    if not (power + noise)[number > 0].all():
        raise InputError(
            "field must have power in every band, got zero: check that it is not constant or smoothed away"
        )
    unit = f"({modes.unit})^3 (Mpc/h)^6" if modes.unit else "(Mpc/h)^6"
    return Bispectrum(
        k=k[index],
        bands=np.asarray(bands)[index],
        theta=theta,
        bispectrum=value,
        reduced=value / scale,
        power=sides,
        triangles=closed,
        unit=unit,
    )


def _triple_products(
    data: Tensor, masks: list[Tensor], triples: list[tuple[int, int, int]], cells: int
) -> Float[np.ndarray, " triangle"]:
    """Sum of data * data * data over the closed triangles of each triple of masks."""
    meshes: dict[int, Tensor] = {}
    last_use = {band: position for position, triple in enumerate(triples) for band in triple}
    pair, product = (-1, -1), torch.empty(0)
    result = np.empty(len(triples))
    for position, (i, j, k) in enumerate(triples):
        for band in (i, j, k):
            if band not in meshes:
                meshes[band] = to_real(data * masks[band], cells) * cells**3
        if pair != (i, j):
            pair, product = (i, j), meshes[i] * meshes[j]
        result[position] = float(torch.dot(product.flatten(), meshes[k].flatten())) / cells**3
        for band in {i, j, k}:
            if last_use[band] == position:
                del meshes[band]
    return result


def _crop(modes: Modes, reach: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Modes up to an integer component on a mesh of other size, in double precision, with |n| and multiplicity."""
    device = modes.data.device
    n = torch.arange(-reach, reach + 1, device=device)
    half = torch.arange(reach + 1, device=device)
    data = torch.zeros(cells, cells, cells // 2 + 1, dtype=torch.complex128, device=device)
    old, new = n % modes.box.mesh, n % cells
    data[new[:, None, None], new[None, :, None], half] = modes.data[0][
        old[:, None, None], old[None, :, None], half
    ].to(torch.complex128)
    full = torch.fft.fftfreq(cells, d=1 / cells, dtype=torch.float64, device=device)
    last = full[: cells // 2 + 1].abs()
    length = (full[:, None, None] ** 2 + full[None, :, None] ** 2 + last**2).sqrt()
    # Beyond the reach in any component the crop holds nothing; such modes must not be counted either.
    beyond = (full.abs() > reach)[:, None, None] | (full.abs() > reach)[None, :, None] | (last > reach)
    length = length.masked_fill(beyond, math.inf)
    return data, length, mode_weights(cells, device).expand(data.shape)


def _inside(length: Tensor, band: Band, unit: float) -> Tensor:
    """Modes of a band with its lower edge but never the mean."""
    low, high = (edge / unit * (1 - 1e-9) for edge in band)
    return (length >= low) & (length < high) & (length > 0)


def _scalar_modes(field: Field | Modes) -> Modes:
    modes = modes_of(field)
    if modes.kind != "scalar":
        raise InputError(
            f"field must be a scalar for its bispectrum, got kind {modes.kind!r}: take one component"
        )
    return modes
