"""Three-point correlation multipoles by Fourier transforms (Slepian and Eisenstein 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import sph_harm_y
from torch import Tensor

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import to_fourier, to_real
from peculiar.statistics.checks import require_edges, require_finite, require_scalar
from peculiar.statistics.power import Edges

CELLS_AT_ONCE = 1 << 21


@dataclass(frozen=True, eq=False)
class ThreePoint:
    """Multipoles of zeta(r1, r2, cos) = <delta(x) delta(x + r1) delta(x + r2)> = sum_l zeta_l(r1, r2) P_l(cos).

    Attributes
    ----------
    r : (bin,) [Mpc/h]
        Mean separation in each bin.
    edges : (bin + 1,) [Mpc/h]
    multipoles : (order, bin, bin) [unit]
        zeta_l for l = 0, 1, ...; symmetric in the bins. Equal bins include r1 = r2 as one and the same point.
    separations : (bin,)
        Mesh separations in each bin.
    unit : str
    """

    r: Float[np.ndarray, " bin"]
    edges: Float[np.ndarray, " edge"]
    multipoles: Float[np.ndarray, "order bin bin"]
    separations: Float[np.ndarray, " bin"]
    unit: str


def three_point_multipoles(field: Field, edges: Edges, *, max_order: int = 8) -> ThreePoint:
    """Measure zeta_l(r1, r2) = (2l + 1) <delta(x) delta(x + r1) delta(x + r2) P_l(r1 . r2)> over cells.

    The sum over pairs of separations factorises by the addition theorem into products of the field convolved with
    spherical harmonics on shells, so the cost is (max_order + 1)^2 transforms for each bin. The result is the sum over
    all cells and mesh separations, to rounding; He et al. 2019 take l = 0 to 8 and 10 bins of 5 Mpc/h.

    Parameters
    ----------
    field : Field
        Overdensity, one channel, in a periodic box.
    edges : (bin + 1,) [Mpc/h]
        Of the separations, up to half the box; the zero separation never counts.
    max_order : int
        Largest l.

    Returns
    -------
    ThreePoint

    Raises
    ------
    InputError
        If the field is not scalar, periodic and finite, the edges leave the box, or a bin holds no mesh separation.
    """
    require_scalar(field, "field")
    require_finite(field, "field")
    box, bins = field.box, require_edges(edges, "edges", "Mpc/h")
    if not box.periodic:
        raise InputError(
            "field.box must be periodic for correlations by Fourier transform, got periodic=False"
        )
    if bins[0] < 0 or bins[-1] > box.side / 2 * (1 + 1e-9):
        raise InputError(
            f"edges must lie in [0, {box.side / 2:.6g}] Mpc/h, half the box, got {bins[0]:.4g} to {bins[-1]:.4g}"
        )
    if max_order < 0 or int(max_order) != max_order:
        raise InputError(f"max_order must be an integer >= 0, got {max_order}")
    offsets, shell = _shells(box.mesh, bins / box.cell_size)
    number = np.bincount(shell, minlength=len(bins) - 1).astype(np.float64)
    if not number.all():
        i = int(np.argmin(number))
        raise InputError(
            f"edges must leave a mesh separation in each bin, got none in {bins[i]:.4g} to {bins[i + 1]:.4g} Mpc/h: "
            f"take bins wider than the cell of {box.cell_size:.4g} Mpc/h"
        )
    length = np.linalg.norm(offsets, axis=1)
    data = field.data[0] if field.data.dtype == torch.float64 else field.data[0].float()
    data_k, flat = to_fourier(data), data.flatten()
    result = np.zeros((max_order + 1, len(number), len(number)))
    for order in range(max_order + 1):
        for m in range(-order, order + 1):
            values = _real_harmonic(order, m, offsets, length) / number[shell]
            convolved = _convolve(data_k, offsets, shell, values, len(number), box.mesh)
            result[order] += _weighted_products(flat, convolved)
        result[order] *= 4 * math.pi / flat.numel()
    r = np.bincount(shell, length) / number * box.cell_size
    return ThreePoint(r, bins, result, number, f"({field.unit})^3" if field.unit else "")


def three_point_residual(predicted: ThreePoint, truth: ThreePoint) -> float:
    """Mean of |zeta_l - zeta_l,true| / |zeta_l,true| over orders and bins r1 <= r2 (Eq. 8 of He et al. 2019).

    Raises
    ------
    InputError
        If bins or orders differ, or a true multipole is zero.
    """
    if predicted.multipoles.shape != truth.multipoles.shape or not np.array_equal(
        predicted.edges, truth.edges
    ):
        raise InputError(
            f"three-point functions must share bins and orders, got shapes {predicted.multipoles.shape} and "
            f"{truth.multipoles.shape}"
        )
    upper = np.triu_indices(truth.multipoles.shape[1])
    p, t = predicted.multipoles[:, upper[0], upper[1]], truth.multipoles[:, upper[0], upper[1]]
    if not t.all():
        raise InputError(
            "truth must have no multipole that is exactly zero, got one: the residual is relative to it"
        )
    return float(np.mean(np.abs(p - t) / np.abs(t)))


def _shells(cells: int, edges: Float[np.ndarray, " edge"]) -> tuple[np.ndarray, np.ndarray]:
    """Mesh offsets (n, 3) in cells that fall into bins (edges in cells), and the bin of each."""
    reach = min(int(np.ceil(edges[-1])), cells // 2)
    axis = (
        np.arange(-reach, reach + 1) if 2 * reach < cells else np.arange(-((cells - 1) // 2), cells // 2 + 1)
    )
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.sqrt((grid**2).sum(axis=1))
    # An offset on an edge belongs above it, whatever the rounding of edge / cell.
    shell = np.searchsorted(edges * (1 - 1e-9), length, side="right") - 1
    keep = (shell >= 0) & (shell < len(edges) - 1) & (length > 0)
    return grid[keep], shell[keep]


def _real_harmonic(order: int, m: int, offsets: np.ndarray, length: np.ndarray) -> Float[np.ndarray, " n"]:
    """Real spherical harmonic of directions; the set over m is orthonormal."""
    polar = np.arccos(np.clip(offsets[:, 2] / length, -1, 1))
    azimuth = np.arctan2(offsets[:, 1], offsets[:, 0])
    value = sph_harm_y(order, abs(m), polar, azimuth)
    if m == 0:
        return np.asarray(value.real)
    return np.asarray(math.sqrt(2) * (value.real if m > 0 else value.imag))


def _convolve(
    data_k: Tensor, offsets: np.ndarray, shell: np.ndarray, values: np.ndarray, bins: int, cells: int
) -> Float[Tensor, "bin cell"]:
    """Sum over each shell's offsets d of values * field(x + d), at every cell x."""
    device, real = data_k.device, data_k.real.dtype
    wrapped = torch.as_tensor(offsets % cells, device=device)
    index = (wrapped[:, 0] * cells + wrapped[:, 1]) * cells + wrapped[:, 2]
    kernel = torch.zeros(bins, cells**3, dtype=real, device=device)
    kernel[torch.as_tensor(shell, device=device), index] = torch.as_tensor(values, dtype=real, device=device)
    kernel_k = to_fourier(kernel.reshape(bins, cells, cells, cells))
    return to_real(kernel_k.conj_physical_().mul_(data_k), cells).reshape(bins, -1)


def _weighted_products(weight: Tensor, fields: Float[Tensor, "bin cell"]) -> Float[np.ndarray, "bin bin"]:
    """Sum over cells of weight * field_i * field_j, in double precision."""
    total = torch.zeros(len(fields), len(fields), dtype=torch.float64, device=fields.device)
    step = max(1, CELLS_AT_ONCE // len(fields))
    for start in range(0, fields.shape[1], step):
        part = fields[:, start : start + step].double()
        total += (part * weight[start : start + step]) @ part.T
    return total.cpu().numpy()
