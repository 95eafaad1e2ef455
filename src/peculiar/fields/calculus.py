"""Derivatives and potentials of periodic fields, exact for every mode that the mesh holds.

Every function multiplies by i k in Fourier space, with the Nyquist planes of odd derivatives zeroed. A box that is
not periodic is differentiated as its own periodic continuation, which rings next to its faces: pad it first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import (
    filter_,
    inverse_k_squared,
    inverse_square,
    to_fourier,
    to_real,
    to_real_,
    wavevectors,
)

COMPONENTS = ("x", "y", "z")


def gradient(field: Field) -> Field:
    """Return the gradient of a one-channel field, a vector field [unit per Mpc/h].

    Raises
    ------
    InputError
        If the field has more than one channel.
    """
    if field.data.shape[0] != 1:
        raise InputError(f"gradient needs a field of one channel, got {field.data.shape[0]}: pick one")
    box = field.box
    data_k = to_fourier(field.data[0])
    data = torch.empty((3, *field.data.shape[1:]), dtype=field.data.dtype, device=field.data.device)
    for axis, k in enumerate(wavevectors(box, data.device, dtype=data.dtype, odd=True)):
        data[axis] = to_real(1j * k * data_k, box.shape)
    names = [f"d_{component} {field.names[0]}" for component in COMPONENTS]
    return field.replace(data=data, names=names, unit=_per_length(field.unit), kind="vector")


def divergence(field: Field) -> Field:
    """Return the divergence of a vector field, one channel [unit per Mpc/h]; InputError unless it is a vector."""
    _require_vector(field, "divergence")
    data = to_real(_divergence_k(field.data, field.box), field.box.shape)[None]
    return field.replace(data=data, names=("divergence",), unit=_per_length(field.unit), kind="scalar")


def curl(field: Field) -> Field:
    """Return the curl of a vector field, a vector field [unit per Mpc/h]; InputError unless it is a vector."""
    _require_vector(field, "curl")
    box = field.box
    k = wavevectors(box, field.data.device, dtype=field.data.dtype, odd=True)
    v_k = to_fourier(field.data)
    data = torch.empty_like(field.data)
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        data[axis] = to_real(1j * (k[i] * v_k[j] - k[j] * v_k[i]), box.shape)
    names = [f"curl_{component}" for component in COMPONENTS]
    return field.replace(data=data, names=names, unit=_per_length(field.unit), kind="vector")


def displacement(delta: Float[Tensor, "x y z"], box: Box) -> Float[Tensor, "3 x y z"]:
    """Return the linear displacement of an overdensity, i k / k^2 delta(k) [Mpc/h].

    Its divergence is -delta, so matter moves into overdensities, and the linear peculiar velocity is
    ``cosmology.velocity_factor(z) * displacement(delta, box)``: Eq. 2 of Xiao et al. 2024 for beta = 1. The mean of
    delta does not matter.

    Parameters
    ----------
    delta : Tensor (x, y, z)
        Overdensity.
    box : Box
        With the mesh of `delta`.

    Examples
    --------
    >>> box = Box(100.0, 16)
    >>> x = torch.as_tensor(box.coordinates()).float().reshape(-1, 1, 1)
    >>> delta = torch.cos(box.k_fundamental * x) * torch.ones(16, 16, 16)
    >>> bool(displacement(delta, box)[0, 2, 0, 0] < 0)  # towards the crest at x = 0
    True
    """
    if tuple(delta.shape) != box.shape:
        raise InputError(f"delta must have the shape of its box, {box.shape}, got {tuple(delta.shape)}")
    return displacement_from_fourier(to_fourier(delta), box)


def displacement_from_fourier(
    delta_k: Complex[Tensor, "X Y half"], box: Box, *, kept: Box | None = None
) -> Float[Tensor, "3 x y z"]:
    """Return the linear displacement [Mpc/h] of an overdensity that is in Fourier space already.

    `kept` is the box at the lower corner of the mesh that is wanted alone; the whole mesh where not given. The same to
    the last bit with any number of threads, as simulations must be; `displacement_component` takes less memory.
    """
    x, y, z = (kept or box).shape
    data = torch.empty((3, x, y, z), dtype=delta_k.real.dtype, device=delta_k.device)
    for axis in range(3):
        data[axis] = to_real(_component(delta_k.clone(), box, axis), box.shape)[:x, :y, :z]
    return data


def displacement_component(
    delta_k: Complex[Tensor, "X Y half"],
    box: Box,
    axis: int,
    *,
    factor: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    out: Float[Tensor, "x y z"] | None = None,
    used_up: bool = False,
) -> Float[Tensor, "x y z"]:
    """Return one component of the linear displacement of an overdensity [Mpc/h], in little memory.

    With another number of threads it differs by rounding.

    Parameters
    ----------
    delta_k : Tensor (X, Y, half)
    box : Box
        With its mesh.
    axis : int
    factor : callable, optional
        Of modes, see `filter_`.
    out : Tensor (x, y, z), optional
        See `to_real_`.
    used_up : bool
        Whether `delta_k` may be overwritten, which saves a copy of it.
    """
    modes = delta_k if used_up else delta_k.clone()
    return to_real_(_component(modes, box, axis, factor=factor), box.shape, out=out)


def _component(
    delta_k: Complex[Tensor, "X Y half"],
    box: Box,
    axis: int,
    *,
    factor: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Complex[Tensor, "X Y half"]:
    """Turn the modes of an overdensity into those of one component of its displacement, in place."""

    def slope(*k: Tensor) -> Tensor:
        found = 1j * k[axis] * inverse_square(*k)
        return found if factor is None else found.mul_(factor(*k))

    filter_(delta_k, box, slope)
    nyquist, rest = divmod(box.shape[axis], 2)
    if not rest:
        delta_k.narrow(axis, nyquist, 1).zero_()
    return delta_k


def helmholtz(field: Field) -> tuple[Field, Field]:
    """Split a vector field into a part without curl and a part without divergence.

    The two sum to the field. A uniform flow is both; it goes into the potential part.

    Returns
    -------
    potential, rotational : Field
        Named after the field's channels.

    Raises
    ------
    InputError
        Unless the field is a vector.
    """
    _require_vector(field, "helmholtz")
    box, data = field.box, field.data
    source_k = _divergence_k(data, box)
    source_k *= inverse_k_squared(box, data.device, dtype=data.dtype, odd=True)
    potential = torch.empty_like(data)
    for axis, k in enumerate(wavevectors(box, data.device, dtype=data.dtype, odd=True)):
        potential[axis] = to_real(-1j * k * source_k, box.shape)
    potential += data.mean(dim=(1, 2, 3), keepdim=True)
    return (
        field.replace(data=potential, names=[f"{name} (potential)" for name in field.names]),
        field.replace(data=data - potential, names=[f"{name} (rotational)" for name in field.names]),
    )


def _divergence_k(data: Float[Tensor, "3 x y z"], box: Box) -> Complex[Tensor, "x y half"]:
    k = wavevectors(box, data.device, dtype=data.dtype, odd=True)
    total = to_fourier(data[0]).mul_(1j * k[0])
    for axis in (1, 2):  # one component at a time keeps the peak memory at two transforms
        total.add_(to_fourier(data[axis]).mul_(1j * k[axis]))
    return total


def _require_vector(field: Field, operation: str) -> None:
    if field.kind != "vector":
        raise InputError(
            f"{operation} needs a vector field, got kind {field.kind!r} with {tuple(field.names)}"
        )


def _per_length(unit: str) -> str:
    return f"{unit} / (Mpc/h)" if unit else "1 / (Mpc/h)"
