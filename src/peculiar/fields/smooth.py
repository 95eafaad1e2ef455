"""Smoothing of fields with isotropic windows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import k_squared, to_fourier, to_real, with_empty_cells

GAUSSIAN_REACH = 5.0  # radii: a Gaussian falls to 4e-6 of its peak there


def gaussian(field: Field, radius: float) -> Field:
    """Smooth with a Gaussian of the given radius (standard deviation) [Mpc/h], exp(-k^2 R^2 / 2).

    A box that is not periodic is taken to hold zeros beyond its faces: smooth overdensities there, not densities.

    Raises
    ------
    InputError
        If the radius is negative or not finite. 0 returns the field as it is.
    """
    return _smooth(field, radius, GAUSSIAN_REACH * radius, gaussian_window)


def tophat(field: Field, radius: float) -> Field:
    """Average over spheres of the given radius [Mpc/h], 3 (sin kR - kR cos kR) / (kR)^3.

    Zeros beyond the faces and errors as in `gaussian`.
    """
    return _smooth(field, radius, radius, tophat_window)


def gaussian_window(k2: Float[Tensor, "..."], radius: float) -> Float[Tensor, "..."]:
    """Return exp(-k^2 R^2 / 2) for squared wavenumbers [(h/Mpc)^2] and a radius [Mpc/h]."""
    return torch.exp(-0.5 * radius**2 * k2)


def tophat_window(k2: Float[Tensor, "..."], radius: float) -> Float[Tensor, "..."]:
    """Return 3 (sin x - x cos x) / x^3 with x = k R, for squared wavenumbers [(h/Mpc)^2], radius [Mpc/h]."""
    x = radius * torch.sqrt(k2)
    safe = x.clamp(min=0.5)
    window = 3 * (torch.sin(safe) - safe * torch.cos(safe)) / safe**3
    # The series below x = 0.5: there the closed form cancels, in single precision down to nothing.
    return torch.where(x < 0.5, 1 - x**2 / 10 + x**4 / 280 - x**6 / 15120, window)


def _smooth(field: Field, radius: float, reach: float, window: Callable[[Tensor, float], Tensor]) -> Field:
    if not (math.isfinite(radius) and radius >= 0):
        raise InputError(
            f"radius must be >= 0 Mpc/h, got {radius}: give the smoothing scale in comoving Mpc/h"
        )
    if radius == 0:
        return field
    box, (nx, ny, nz) = field.box, field.box.shape
    # Beyond a full side of zeros, nothing can wrap round.
    reached = 0 if box.periodic else math.ceil(reach / box.cell_size)
    x, y, z = (min(n, reached) for n in (nx, ny, nz))
    padded = box.extended((x, y, z))
    transfer = window(k_squared(padded, field.data.device, dtype=field.data.dtype), radius)
    data = torch.empty_like(field.data)
    for channel, values in enumerate(field.data):
        values_k = to_fourier(with_empty_cells(values, padded))
        data[channel] = to_real(values_k.mul_(transfer), padded.shape)[:nx, :ny, :nz]
    return field.replace(data=data)
