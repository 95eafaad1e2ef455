"""Anisotropic clustering about a line of sight: P_l(k), P(k, mu), xi_l(r), xi(r_perp, r_par).

The correlation functions are transforms of the power on the mesh, so they need no random points; a bin holds the mesh
separations that fall into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import to_real
from peculiar.statistics.checks import require_edges, require_wavenumber_edges
from peculiar.statistics.modes import (
    Modes,
    Slab,
    bin_shells,
    divide,
    modes_of,
    require_same_modes,
    shell_sums,
    slabs,
)
from peculiar.statistics.power import Edges, cross_unit, product_of_modes

Axis = Literal["x", "y", "z"] | Sequence[float]
UNIT_VECTORS = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True, eq=False)
class PowerMultipoles:
    """Multipoles of the power about a line of sight.

    Attributes
    ----------
    k : (bin,) [h/Mpc]
        Mean wavenumber; NaN where a bin holds no mode.
    orders : tuple of int
        The l of each row.
    power : (order, bin) [unit]
        P_l, shot noise subtracted.
    modes : (bin,)
    edges : (bin + 1,) [h/Mpc]
    unit : str
    shot_noise : float
    """

    k: Float[np.ndarray, " bin"]
    orders: tuple[int, ...]
    power: Float[np.ndarray, "order bin"]
    modes: Float[np.ndarray, " bin"]
    edges: Float[np.ndarray, " edge"]
    unit: str
    shot_noise: float


@dataclass(frozen=True, eq=False)
class PowerWedges:
    """P(k, mu).

    Attributes
    ----------
    k, mu : (k bin, mu bin)
        Means over each bin's modes; NaN where it holds none. k in h/Mpc; mu is |cosine| to the line of sight.
    power : (k bin, mu bin) [unit]
    modes : (k bin, mu bin)
    k_edges, mu_edges : bin edges
    unit : str
    shot_noise : float
    """

    k: Float[np.ndarray, "k mu"]
    mu: Float[np.ndarray, "k mu"]
    power: Float[np.ndarray, "k mu"]
    modes: Float[np.ndarray, "k mu"]
    k_edges: Float[np.ndarray, " k_edge"]
    mu_edges: Float[np.ndarray, " mu_edge"]
    unit: str
    shot_noise: float


@dataclass(frozen=True, eq=False)
class CorrelationMultipoles:
    """Two-point correlation xi_l(r); xi(r) is the row of l = 0.

    Attributes
    ----------
    r : (bin,) [Mpc/h]
        Mean separation; NaN where a bin holds none.
    orders : tuple of int
    correlation : (order, bin) [unit]
    separations : (bin,)
        Mesh separations in the bin.
    edges : (bin + 1,) [Mpc/h]
    unit : str
        "" for an overdensity.
    """

    r: Float[np.ndarray, " bin"]
    orders: tuple[int, ...]
    correlation: Float[np.ndarray, "order bin"]
    separations: Float[np.ndarray, " bin"]
    edges: Float[np.ndarray, " edge"]
    unit: str


@dataclass(frozen=True, eq=False)
class CorrelationPlane:
    """Two-point correlation xi(r_perp, r_par), as in Fig. 13 of Xiao et al. 2024.

    Attributes
    ----------
    correlation : (r_perp bin, r_par bin) [unit]
        NaN where a bin holds no mesh separation.
    separations : (r_perp bin, r_par bin)
    across_edges, along_edges : (bin + 1,) [Mpc/h]
    unit : str
    """

    correlation: Float[np.ndarray, "across along"]
    separations: Float[np.ndarray, "across along"]
    across_edges: Float[np.ndarray, " across_edge"]
    along_edges: Float[np.ndarray, " along_edge"]
    unit: str


def power_multipoles(
    field: Field | Modes,
    other: Field | Modes | None = None,
    *,
    line_of_sight: Axis = "z",
    orders: Sequence[int] = (0, 2, 4),
    edges: Edges | None = None,
) -> PowerMultipoles:
    """Measure P_l(k) = (2l + 1)/2 int dmu P(k, mu) L_l(mu) (Eq. 12 of Xiao et al. 2024) as a mean over modes.

    Parameters
    ----------
    field, other : Field or Modes
        On one periodic box; with `other`, of the cross power.
    line_of_sight : "x", "y", "z" or three numbers
        An axis, or any direction.
    orders : sequence of int
        Which l, even; the mesh's discrete directions mix the orders where a bin holds few modes.
    edges : (bin + 1,) [h/Mpc], optional
        As in `power_spectrum`.

    Raises
    ------
    InputError
        As in `power_spectrum`; or if the line of sight is no direction or an order is no even integer >= 0.
    """
    first, second, noise = _pair(field, other)
    bins = require_wavenumber_edges(edges, first.box)
    axis, chosen = _direction(line_of_sight), _orders(orders)

    def quantities(slab: Slab) -> list[Tensor]:
        # Subtracted mode by mode: a constant leaves something in every order where a bin holds few directions.
        value = (
            product_of_modes(first.data[:, slab.rows], second.data[:, slab.rows]) - noise / first.box.volume
        )
        return _moments(value, slab, axis, chosen)

    sums = _legendre_sums(shell_sums(first.box.mesh, first.data.device, quantities), chosen)
    length = np.sqrt(np.arange(sums.shape[1]))
    *moments, number, k = bin_shells(np.vstack([sums, sums[-1] * length]), first.box.k_fundamental, bins)
    return PowerMultipoles(
        k=divide(k, number) * first.box.k_fundamental,
        orders=chosen,
        power=np.stack([divide(row, number) * first.box.volume for row in moments]),
        modes=number,
        edges=bins,
        unit=f"{cross_unit(first.unit, second.unit)} (Mpc/h)^3".strip(),
        shot_noise=noise,
    )


def power_wedges(
    field: Field | Modes,
    other: Field | Modes | None = None,
    *,
    line_of_sight: Axis = "z",
    mu_edges: Edges = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    edges: Edges | None = None,
) -> PowerWedges:
    """Measure P(k, mu), mu the absolute cosine between k and the line of sight.

    Parameters and errors as in `power_multipoles`; `mu_edges` within [0, 1].
    """
    first, second, noise = _pair(field, other)
    bins = require_wavenumber_edges(edges, first.box)
    wedges = require_edges(mu_edges, "mu_edges", "")
    if wedges[0] < 0 or wedges[-1] > 1:
        raise InputError(f"mu_edges must lie in [0, 1], got {wedges[0]} to {wedges[-1]}")
    axis, device = _direction(line_of_sight), first.data.device
    shape = (len(bins) - 1, len(wedges) - 1)
    unit_edges = torch.as_tensor(bins / first.box.k_fundamental * (1 - 1e-9), device=device)
    # The last wedge includes mu = 1, and a cosine on an edge belongs above it.
    mu_bins = torch.as_tensor(np.where(wedges == 1, 1 + 1e-9, wedges * (1 - 1e-9)), device=device)
    sums = torch.zeros(4, shape[0] * shape[1], dtype=torch.float64, device=device)
    for slab in slabs(first.box.mesh, device):
        length = slab.squared.double().sqrt()
        mu = slab.along(axis).abs() / length.clamp(min=1)
        row = torch.bucketize(length, unit_edges, right=True) - 1
        column = torch.bucketize(mu, mu_bins, right=True) - 1
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1]) & (slab.squared > 0)
        index = (row * shape[1] + column)[inside]
        weight = slab.weight.expand(slab.squared.shape)
        value = product_of_modes(first.data[:, slab.rows], second.data[:, slab.rows])
        for i, quantity in enumerate((value * weight, weight, length * weight, mu * weight)):
            sums[i] += torch.bincount(index, quantity[inside], minlength=sums.shape[1])
    total, number, k, cosine = sums.cpu().numpy().reshape(4, *shape)
    return PowerWedges(
        k=divide(k, number) * first.box.k_fundamental,
        mu=divide(cosine, number),
        power=divide(total, number) * first.box.volume - noise,
        modes=number,
        k_edges=bins,
        mu_edges=wedges,
        unit=f"{cross_unit(first.unit, second.unit)} (Mpc/h)^3".strip(),
        shot_noise=noise,
    )


def correlation_multipoles(
    field: Field | Modes,
    other: Field | Modes | None = None,
    *,
    edges: Edges,
    line_of_sight: Axis = "z",
    orders: Sequence[int] = (0, 2, 4),
) -> CorrelationMultipoles:
    """Measure xi(r) and xi_l(r) = (2l + 1) <delta(x) delta(x + r) L_l(mu)> over cells and mesh separations.

    Parameters
    ----------
    field, other : Field or Modes
        On one periodic box. Modes of a catalogue have their shot noise removed.
    edges : (bin + 1,) [Mpc/h]
        Up to half the box; bins narrower than a cell hold few separations or none.
    line_of_sight, orders
        As in `power_multipoles`; ``orders=(0,)`` for xi(r) alone.

    Raises
    ------
    InputError
        If boxes or channels disagree, a value is not finite, or the bins lie outside the box.
    """
    first, second, noise = _pair(field, other)
    bins = _separation_edges(edges, first.box, "edges")
    axis, chosen = _direction(line_of_sight), _orders(orders)
    mesh, half = _correlation_mesh(first, second, noise), first.box.mesh // 2 + 1

    def quantities(slab: Slab) -> list[Tensor]:
        return _moments(mesh[slab.rows, :, :half].double(), slab, axis, chosen)

    sums = _legendre_sums(shell_sums(first.box.mesh, mesh.device, quantities, keep_zero=True), chosen)
    length = np.sqrt(np.arange(sums.shape[1]))
    *moments, number, r = bin_shells(np.vstack([sums, sums[-1] * length]), first.box.cell_size, bins)
    return CorrelationMultipoles(
        r=divide(r, number) * first.box.cell_size,
        orders=chosen,
        correlation=np.stack([divide(row, number) for row in moments]),
        separations=number,
        edges=bins,
        unit=cross_unit(first.unit, second.unit),
    )


def correlation_plane(
    field: Field | Modes,
    other: Field | Modes | None = None,
    *,
    across_edges: Edges,
    along_edges: Edges,
    line_of_sight: Axis = "z",
) -> CorrelationPlane:
    """Measure xi(r_perp, r_par); r_par is the absolute separation along the line of sight.

    Parameters and errors as in `correlation_multipoles`.
    """
    first, second, noise = _pair(field, other)
    across = _separation_edges(across_edges, first.box, "across_edges")
    along = _separation_edges(along_edges, first.box, "along_edges")
    axis = _direction(line_of_sight)
    mesh, half = _correlation_mesh(first, second, noise), first.box.mesh // 2 + 1
    shape = (len(across) - 1, len(along) - 1)
    cell = first.box.cell_size
    # A separation on an edge belongs above it, whatever the rounding of edge / cell.
    edge = [torch.as_tensor(e / cell - 1e-7, device=mesh.device) for e in (across, along)]
    sums = torch.zeros(2, shape[0] * shape[1], dtype=torch.float64, device=mesh.device)
    for slab in slabs(first.box.mesh, mesh.device):
        parallel = slab.along(axis).abs()
        perpendicular = (slab.squared - parallel**2).clamp(min=0).sqrt()
        row = torch.bucketize(perpendicular, edge[0], right=True) - 1
        column = torch.bucketize(parallel, edge[1], right=True) - 1
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
        index = (row * shape[1] + column)[inside]
        weight = slab.weight.expand(slab.squared.shape)[inside]
        value = mesh[slab.rows, :, :half].double()[inside]
        for i, quantity in enumerate((value * weight, weight)):
            sums[i] += torch.bincount(index, quantity, minlength=sums.shape[1])
    total, number = sums.cpu().numpy().reshape(2, *shape)
    return CorrelationPlane(
        correlation=divide(total, number),
        separations=number,
        across_edges=across,
        along_edges=along,
        unit=cross_unit(first.unit, second.unit),
    )


def _pair(field: Field | Modes, other: Field | Modes | None) -> tuple[Modes, Modes, float]:
    """Both sets of modes, and the shot noise of their power."""
    first = modes_of(field)
    second = first if other is None else modes_of(other, "other")
    require_same_modes(first, second)
    return first, second, first.shot_noise if other is None else 0.0


def _moments(value: Tensor, slab: Slab, axis: Sequence[float], orders: Sequence[int]) -> list[Tensor]:
    """Value times (n . axis)^(2 j), up to what the orders need."""
    result = [value]
    squared = slab.along(axis) ** 2
    for _ in range(max(orders) // 2):
        result.append(result[-1] * squared)
    return result


def _legendre_sums(
    sums: Float[np.ndarray, "moment shell"], orders: Sequence[int]
) -> Float[np.ndarray, "order shell"]:
    """(2 l + 1) sum of value * L_l(mu) over each shell from the sums of `_moments`; the last row is kept."""
    *moments, number = sums
    # |n|^2 is one integer in a shell, so mu^2 is divided out of its sums.
    squared = np.maximum(np.arange(sums.shape[1]), 1.0)
    powers = [row / squared**j for j, row in enumerate(moments)]
    result = []
    for order in orders:
        coefficients = np.polynomial.legendre.leg2poly([0] * order + [1])[::2]
        row = (2 * order + 1) * sum(c * p for c, p in zip(coefficients, powers, strict=False))
        row[0] *= order == 0  # the zero vector belongs to every direction: it is in l = 0 alone
        result.append(row)
    return np.vstack([*result, number])


def _correlation_mesh(first: Modes, second: Modes, noise: float) -> Float[Tensor, "x y z"]:
    """Mean of <a(x) b(x + r)> and <a(x) b(x - r)> at every mesh separation r, r = 0 at [0, 0, 0]."""
    spectrum = (first.data.real * second.data.real + first.data.imag * second.data.imag).sum(dim=0)
    if noise:
        spectrum -= noise / first.box.volume
        spectrum[0, 0, 0] += noise / first.box.volume
    return to_real(torch.complex(spectrum, torch.zeros_like(spectrum)), first.box.mesh) * first.box.mesh**3


def _direction(line_of_sight: Axis) -> tuple[float, ...]:
    if isinstance(line_of_sight, str):
        if line_of_sight not in UNIT_VECTORS:
            raise InputError(f"line_of_sight must be x, y, z or three numbers, got {line_of_sight!r}")
        return UNIT_VECTORS[line_of_sight]
    vector = np.asarray(line_of_sight, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise InputError(
            f"line_of_sight must be x, y, z or three finite numbers, not all 0, got {line_of_sight}"
        )
    return tuple(float(x) for x in vector / np.linalg.norm(vector))


def _orders(orders: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(int(order) for order in orders)
    if not chosen or any(a != b or a < 0 or a % 2 for a, b in zip(chosen, orders, strict=True)):
        raise InputError(f"orders must be even integers >= 0, got {tuple(orders)}")
    return chosen


def _separation_edges(edges: Edges, box: Box, name: str) -> Float[np.ndarray, " edge"]:
    values = require_edges(edges, name, "Mpc/h")
    if values[0] < 0 or values[-1] > box.side / 2 * (1 + 1e-9):
        raise InputError(
            f"{name} must lie in [0, {box.side / 2:.6g}] Mpc/h, half the periodic box, got {values[0]:.4g} to "
            f"{values[-1]:.4g}"
        )
    return values
