"""Transforms of real meshes and the wavevectors that belong to them.

Convention: the half-complex layout of ``torch.fft.rfftn`` over the last three axes, nothing on the way there and
one over the number of cells on the way back, so ``to_real(to_fourier(x), x.shape)`` is x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from peculiar.core.box import Box, Shape

AXES = (-3, -2, -1)
_MODES_AT_ONCE = 2**17
"""Of planes that are worked on together: they stay in the cache."""


def to_fourier(data: Float[Tensor, "... x y z"]) -> Complex[Tensor, "... x y half"]:
    """Transform real meshes over their last three axes."""
    return torch.fft.rfftn(data, dim=AXES)


def to_real(data_k: Complex[Tensor, "... x y half"], cells: int | Shape) -> Float[Tensor, "... x y z"]:
    """Transform back to real meshes of `cells` along each side, the inverse of `to_fourier`."""
    return torch.fft.irfftn(data_k, s=(cells,) * 3 if isinstance(cells, int) else cells, dim=AXES)


def to_real_(
    data_k: Complex[Tensor, "X Y half"], cells: int | Shape, *, out: Float[Tensor, "x y z"] | None = None
) -> Float[Tensor, "x y z"]:
    """Transform back like `to_real`, and use the modes up: no third mesh is in memory.

    Parameters
    ----------
    data_k : Tensor (X, Y, half)
        Holds nothing of use afterwards.
    cells : int or (X, Y, Z)
        Of the whole mesh.
    out : Tensor (x, y, z), optional
        Gets the mesh, or as much of its lower corner as it has room for.
    """
    whole = (cells,) * 3 if isinstance(cells, int) else cells
    if out is None:
        out = torch.empty(whole, dtype=data_k.real.dtype, device=data_k.device)
    x, y, z = out.shape
    for rows in _some(whole[1], of=data_k):
        data_k[:, rows] = torch.fft.ifft(data_k[:, rows], dim=0)
    for rows in _some(x, of=data_k):
        out[rows] = torch.fft.irfft2(data_k[:x][rows], s=whole[1:])[:, :y, :z]
    return out


def filter_(
    data_k: Complex[Tensor, "x y half"],
    box: Box,
    factor: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Complex[Tensor, "x y half"]:
    """Multiply modes by a function of kx, ky and kz in place, some planes at a time: no mesh of factors is made.

    Parameters
    ----------
    data_k : Tensor (x, y, half)
    box : Box
        With its mesh.
    factor : callable
        Of wavevectors that broadcast, see `wavevectors`.
    """
    kx, ky, kz = wavevectors(box, data_k.device, dtype=data_k.real.dtype)
    for rows in _some(len(kx), of=data_k):
        data_k[rows].mul_(factor(kx[rows], ky, kz))
    return data_k


def _some(count: int, *, of: Tensor) -> Iterator[slice]:
    """Divide `count` planes of a mesh of modes into slices that are worked on together."""
    most = max(1, _MODES_AT_ONCE * count // of.numel())
    return (slice(start, min(start + most, count)) for start in range(0, count, most))


def with_empty_cells(data: Float[Tensor, "... x y z"], larger: Box) -> Float[Tensor, "... X Y Z"]:
    """Fill meshes up with zeros, beyond their upper faces, to the mesh of a larger box; of that size they stay."""
    x, y, z = (wanted - n for wanted, n in zip(larger.shape, data.shape[-3:], strict=True))
    return torch.nn.functional.pad(data, (0, z, 0, y, 0, x)) if x or y or z else data


def mode_weights(
    cells: int, device: torch.device | str | None = None, *, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "1 1 half"]:
    """Return how many modes of the whole mesh each stored one stands for, shaped as `wavevectors` gives kz.

    `cells` is the mesh's last side.

    2 where the conjugate at -k is not stored, else 1. Every sum, mean, fit or histogram over the layout of `to_fourier`
    takes these weights; without them it depends on which axis is called z.
    """
    weights = torch.ones(1, 1, cells // 2 + 1, dtype=dtype, device=device)
    weights[..., 1 : (cells + 1) // 2] = 2.0
    return weights


def wavevectors(
    box: Box,
    device: torch.device | str | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    odd: bool = False,
) -> tuple[Float[Tensor, "x 1 1"], Float[Tensor, "1 y 1"], Float[Tensor, "1 1 half"]]:
    """Return kx, ky and kz [h/Mpc], shaped to broadcast in the layout of `to_fourier`.

    Parameters
    ----------
    box : Box
        With its mesh.
    device, dtype
        Of the result.
    odd : bool
        Set the Nyquist wavenumber of an even mesh to zero. An odd power of k there would make the field complex:
        +k_Nyquist and -k_Nyquist are one mode. Use it for first derivatives and for whatever is built from them.
    """
    frequencies = (torch.fft.fftfreq, torch.fft.fftfreq, torch.fft.rfftfreq)
    components = []
    for axis, (n, of) in enumerate(zip(box.shape, frequencies, strict=True)):
        k = 2 * math.pi * of(n, d=box.cell_size, dtype=torch.float64)
        if odd and n % 2 == 0:
            k[n // 2] = 0.0
        components.append(
            k.to(device=device, dtype=dtype).reshape([-1 if i == axis else 1 for i in range(3)])
        )
    return components[0], components[1], components[2]


def k_squared(
    box: Box,
    device: torch.device | str | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    odd: bool = False,
) -> Float[Tensor, "x y half"]:
    """Return |k|^2 [(h/Mpc)^2] in the layout of `to_fourier`; `odd` as in `wavevectors`."""
    kx, ky, kz = wavevectors(box, device, dtype=dtype, odd=odd)
    return kx**2 + ky**2 + kz**2


def inverse_square(
    kx: Float[Tensor, "x 1 1"], ky: Float[Tensor, "1 y 1"], kz: Float[Tensor, "1 1 half"]
) -> Float[Tensor, "x y half"]:
    """Return 1/|k|^2 of wavevectors that broadcast, 0 where k is 0."""
    k2 = kx**2 + ky**2 + kz**2
    inverse = torch.reciprocal(k2)
    return inverse.masked_fill_(k2 == 0, 0.0)


def inverse_k_squared(
    box: Box,
    device: torch.device | str | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    odd: bool = False,
) -> Float[Tensor, "x y half"]:
    """Return 1/|k|^2 [(Mpc/h)^2] in the layout of `to_fourier`, 0 where k is 0; `odd` as in `wavevectors`."""
    return inverse_square(*wavevectors(box, device, dtype=dtype, odd=odd))
