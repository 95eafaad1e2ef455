"""Gaussian initial conditions whose large scales do not depend on the resolution."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Complex, Float

from peculiar.core.box import Box
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError

_WAVES = (1e-5, 50.0)  # h/Mpc, where the linear power is known
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def _mix(x: torch.Tensor) -> torch.Tensor:
    """SplitMix64 (Steele, Lea & Flood 2014) on int64, whose products wrap as unsigned ones do."""
    x = x + _GOLDEN
    x = (x ^ ((x >> 30) & (2**34 - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & (2**37 - 1))) * _MIX_2
    return x ^ ((x >> 31) & (2**33 - 1))


def _uniform(x: torch.Tensor) -> torch.Tensor:
    """53 of the bits as float64 in (0, 1)."""
    return (((x >> 11) & (2**53 - 1)).to(torch.float64) + 0.5) * 2.0**-53


def integer_modes(
    cells: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the integer wavevectors of an rfftn mesh, broadcastable to (cells, cells, cells // 2 + 1)."""
    full = torch.fft.fftfreq(cells, 1.0 / cells, device=device).round().long()
    half = torch.arange(cells // 2 + 1, device=device)
    return full[:, None, None], full[None, :, None], half[None, None, :]


def white_noise(
    cells: int, seed: int, *, device: torch.device | str = "cpu"
) -> Complex[torch.Tensor, "x y z"]:
    """Hermitian white noise in Fourier space, one pair of normal numbers per integer wavevector.

    Each mode is a hash of the seed and its integer wavevector alone, so a mesh of another size has the same modes.
    Modes on the Nyquist planes and the mean are zero.

    Returns
    -------
    (cells, cells, cells // 2 + 1) complex64 with mean square 1.
    """
    kx, ky, kz = integer_modes(cells, device)
    # On the plane kz = 0 a mode and its opposite are conjugate: both take the number of the one with ky > 0, or
    # ky = 0 and kx > 0.
    flip = (kz == 0) & ((ky < 0) | ((ky == 0) & (kx < 0)))
    sign = torch.where(flip, -1, 1)
    key = ((kx * sign + 2**20) << 42) + ((ky * sign + 2**20) << 21) + kz
    key = _mix(key ^ _mix(torch.tensor(seed, device=device)))
    radius = torch.sqrt(-torch.log(_uniform(key)))
    angle = 2 * torch.pi * _uniform(_mix(key))
    noise = torch.complex((radius * torch.cos(angle)).float(), (radius * torch.sin(angle) * sign).float())
    nyquist = (kx.abs() == cells // 2) | (ky.abs() == cells // 2) | (kz == cells // 2)
    noise[nyquist.expand_as(noise)] = 0
    noise[0, 0, 0] = 0
    return noise


def require_waves(box: Box) -> None:
    """Refuse a mesh with longer or shorter waves than those whose linear power is known.

    Raises
    ------
    InputError
        With the sides of box and cell, and their limits [Mpc/h].
    """
    longest, shortest = 2 * np.pi / _WAVES[0], np.sqrt(3) * np.pi / _WAVES[1]
    if box.side > longest or box.cell_size < shortest:
        raise InputError(
            f"box must be at most {longest:.3g} Mpc/h, its cells or particles at least {shortest:.3g} Mpc/h apart (the "
            f"linear power is known there), got {box.side:g} and {box.cell_size:.3g}: choose another side or number"
        )


def require_particles(cosmology: Cosmology) -> None:
    """Raise InputError if a cosmology has matter that particles do not stand for: massive neutrinos."""
    if cosmology.m_nu > 0:
        raise InputError(
            f"cosmology.m_nu must be 0 eV for simulations, got {cosmology.m_nu:g}: neutrinos are no particles here, "
            "give m_nu=0"
        )


def linear_density(
    box: Box, cosmology: Cosmology, *, seed: int, device: torch.device | str = "cpu"
) -> Complex[torch.Tensor, "x y z"]:
    """Fourier modes of the linear density at z = 0 on the box's mesh.

    The phases are those of values at cell centres, so the inverse FFT is the field at the centres whatever the mesh.

    Parameters
    ----------
    box : Box
        Periodic, with an even mesh.
    seed : int
        The same seed gives the same modes on every mesh.

    Returns
    -------
    (cells, cells, cells // 2 + 1) complex64, in the convention of torch.fft.rfftn (forward, unnormalised).

    Raises
    ------
    InputError
        If the mesh is odd, or the cosmology has massive neutrinos.
    """
    require_particles(cosmology)
    cells = box.mesh
    if cells % 2:
        raise InputError(f"Box.cells must be even for initial conditions, got {cells}")
    require_waves(box)
    kx, ky, kz = integer_modes(cells, device)
    squares = np.arange(3 * (cells // 2) ** 2 + 1)
    power = cosmology.linear_power(box.k_fundamental * np.sqrt(squares))
    amplitude = torch.as_tensor(np.sqrt(power / box.volume) * cells**3, dtype=torch.float32, device=device)
    modes = white_noise(cells, seed, device=device)
    modes *= amplitude[kx**2 + ky**2 + kz**2]
    half = box.cell_size / 2
    for k in (kx, ky, kz):
        modes *= torch.polar(torch.ones_like(k, dtype=torch.float32), k * (box.k_fundamental * half))
    return modes


def linear_field(
    box: Box, cosmology: Cosmology, *, seed: int, redshift: float, device: torch.device | str = "cpu"
) -> Float[torch.Tensor, "x y z"]:
    """Linear density contrast at a redshift on the box's mesh."""
    cells = box.mesh
    modes = linear_density(box, cosmology, seed=seed, device=device)
    return torch.fft.irfftn(modes, s=(cells, cells, cells)) * cosmology.growth(redshift)
