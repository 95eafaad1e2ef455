"""The bias and the noise of tracers, measured from how strongly they cluster on large scales."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, OutOfRangeWarning
from peculiar.core.catalogue import SELECTION_FLOOR
from peculiar.core.kept import kept
from peculiar.fields.fourier import filter_, k_squared, mode_weights, to_fourier, to_real, wavevectors
from peculiar.fields.paint import paint, window
from peculiar.linear.overdensity import mean_density, overdensity, sampling
from peculiar.linear.spectra import Shells

COARSE_CELL = 10.0
"""Of meshes for large scales alone [Mpc/h]."""
MEASURED = (0.03, 0.15)
"""Wavenumbers at which the bias alone is measured [h/Mpc]: tracers cluster as linear matter, with Poisson noise."""
FINE_CELL = 5.0
FINE = (0.03, 0.4)
"""Cell [Mpc/h] and wavenumbers [h/Mpc] at which bias and noise are measured together."""
MOST_CELLS = 2**24
"""Of that mesh: larger boxes take larger cells, and no waves beyond 0.65 of the Nyquist wavenumber of these."""
_NYQUIST_SHARE = 0.65
_SHELL = 0.01
EXPECTED_BIAS = (1.02, -0.2)
"""b sigma_8 D(z) of the most massive halos of 1e-3 (h/Mpc)^3, and its power of the density.

To 5 % the bias of Tinker et al. 2010 at the masses of Jenkins et al. 2001 (`MassFunction` in
`benchmarks/simulation.py`), from 1e-4 to 1e-2 (h/Mpc)^3 and z = 0 to 1.5.
"""
BIAS_SCATTER = 0.3
"""Of ln b about the expected one: galaxies, groups and random parts of halos have other biases."""
NOISE_SCATTER = 1.0
"""Of the logarithm of the noise over Poisson's, before anything is measured."""
BIAS_RANGE = (0.3, 5.0)
"""What is found is kept within."""
_NOISE_RANGE = (0.3, 30.0)
_UNMEASURED = 0.2
"""Standard error of ln b from which on it is mostly the expected one."""
_FEWEST_CELLS = 8


@dataclass(frozen=True)
class Clustering:
    """How tracers follow matter on large scales: power b^2 P(k) + noise.

    Attributes
    ----------
    bias : float
    error : float
        Relative standard error of the bias.
    noise : float
        Power that does not follow linear matter [(Mpc/h)^3]: 1 / n for Poisson tracers, more where some share a halo.
    excess : float
        That over the power of as many Poisson tracers of the same weights.
    """

    bias: float
    error: float
    noise: float
    excess: float


def expected_bias(number_density: float, *, cosmology: Cosmology, redshift: float) -> float:
    """Return the bias that the most massive halos of a number density [(h/Mpc)^3] have.

    b = 1.02 (n / 1e-3)^-0.2 / (sigma_8 D(z)), see `EXPECTED_BIAS`.

    Examples
    --------
    >>> from peculiar.core import PRESETS
    >>> round(expected_bias(1e-4, cosmology=PRESETS["xiao2024"], redshift=0.59), 1)
    2.6
    """
    amplitude, power = EXPECTED_BIAS
    bias = amplitude * (number_density / 1e-3) ** power / (cosmology.sigma8 * cosmology.growth(redshift))
    return float(np.clip(bias, *BIAS_RANGE))


def coarse_cells(box: Box) -> int:
    """Return how many cells of about `COARSE_CELL` span the longest side of a box, whole ones along each side."""
    return _cells(box, COARSE_CELL)


def fine_cells(box: Box) -> int:
    """Return how many cells span the longest side of the mesh on which bias and noise are measured together."""
    return _cells(box, max(FINE_CELL, (box.volume / MOST_CELLS) ** (1 / 3)))


def _cells(box: Box, cell: float) -> int:
    longest, unit = max(box.sides), box.least_cells
    fewest = _FEWEST_CELLS * longest / min(box.sides)
    return unit * max(round(longest / cell / unit), math.ceil(fewest / unit))


def matter_power(box: Box, *, cosmology: Cosmology, redshift: float) -> Float[torch.Tensor, "kx ky kz"]:
    """Return the linear power spectrum of matter as the variance of a mesh's modes.

    In units of the cell's volume, for the mode layout of `to_fourier`.
    """
    x, y, z = box.shape
    of_planes = partial(matter_at, cell_size=box.cell_size, cosmology=cosmology, redshift=redshift)
    return filter_(torch.ones(x, y, z // 2 + 1), box, of_planes)


def painted_power(box: Box, *, cosmology: Cosmology, redshift: float) -> Float[torch.Tensor, "kx ky kz"]:
    """Return `matter_power` of matter that is painted with clouds in cells."""
    matter = matter_power(box, cosmology=cosmology, redshift=redshift)
    return matter.mul_(window_at(*wavevectors(box), cell_size=box.cell_size))


def painted_noise(box: Box) -> Float[torch.Tensor, "kx ky kz"]:
    """Return the power of Poisson tracers painted with clouds in cells, aliases included.

    Over that of counts in cells (Jing 2005, ApJ 620, 559, eq. 20).
    """
    return noise_at(*wavevectors(box), cell_size=box.cell_size)


def matter_at(
    *k: Float[torch.Tensor, "..."], cell_size: float, cosmology: Cosmology, redshift: float
) -> Float[torch.Tensor, "kx ky kz"]:
    """Return `matter_power` at wavevectors that broadcast (`wavevectors`)."""
    length = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).sqrt_()
    power = cosmology.linear_power(length.numpy().astype(np.float64), redshift)
    return torch.from_numpy((power / cell_size**3).astype(np.float32))


def window_at(*k: Float[torch.Tensor, "..."], cell_size: float) -> Float[torch.Tensor, "kx ky kz"]:
    """Return the square of what painting with clouds in cells leaves of modes."""
    x, y, z = (window(one, cell_size, scheme="cic").square() for one in k)
    return x * y * z


def noise_at(*k: Float[torch.Tensor, "..."], cell_size: float) -> Float[torch.Tensor, "kx ky kz"]:
    """Return `painted_noise` at wavevectors."""
    x, y, z = (1 - 2 / 3 * (one * cell_size / 2).sin().square() for one in k)
    return x * y * z


@dataclass(frozen=True, eq=False)
class _Power:
    """Squared modes of a catalogue's overdensity, and what linear matter and Poisson noise would give."""

    box: Box
    observed: Float[torch.Tensor, "kx ky kz"]
    matter: Float[torch.Tensor, "kx ky kz"]
    noise: Float[torch.Tensor, "kx ky kz"]
    seen: float
    """Share of the mesh that is covered: modes of a mask depend on each other."""


def _power(catalogue: Catalogue, cells: int, *, cosmology: Cosmology) -> _Power:
    """Compare a catalogue on a mesh with matter in the same survey: its correlation times the mask's own."""
    grid = sampling(catalogue, cells)
    box, covered = grid.fourier, grid.covered
    mask = torch.ones(box.shape) if covered is None else covered.float()
    # The meshes are the largest of all of a wide survey: each is gone as soon as it can be.
    observed = to_fourier(overdensity(catalogue.positions, grid, weights=catalogue.weights)[0])
    observed = observed.abs().square_()
    own = catalogue.weights
    counts = paint(catalogue.positions, box, weights=own, scheme="cic")[0]
    expected = mask if grid.expected is None else grid.expected.clamp_min(SELECTION_FLOOR)
    mean = counts.mul_(mask).sum() / (expected * mask).sum()
    if own is not None:
        counts = paint(catalogue.positions, box, weights=own**2, scheme="cic")[0].mul_(mask)
    shot = counts.div_((expected * mean).square_()).sum()
    del counts, expected
    correlation = to_real(
        painted_power(box, cosmology=cosmology, redshift=catalogue.redshift) + 0j, box.shape
    )
    correlation *= to_real(to_fourier(mask).abs().square_() + 0j, box.shape)
    matter = to_fourier(correlation).real.contiguous()
    return _Power(box, observed, matter, shot * painted_noise(box), float(mask.mean()))


def redshift_growth(catalogue: Catalogue, cosmology: Cosmology) -> float:
    """Return f of the distortions that a catalogue shows: 0 of one in real space."""
    return cosmology.growth_rate(catalogue.redshift) if catalogue.space == "redshift" else 0.0


def boosted_power(bias: float | np.ndarray, growth: float) -> float | np.ndarray:
    """Return the monopole over that of matter in real space (Kaiser 1987, MNRAS 227, 1)."""
    return bias**2 + 2 * growth * bias / 3 + growth**2 / 5


def linear_bias(catalogue: Catalogue, *, cosmology: Cosmology) -> float:
    """Return the bias of a catalogue's tracers: their power over that of linear matter in the same survey.

    The power of the overdensity on a mesh of 10 Mpc/h, less Poisson noise, is compared with that of linear theory
    through the survey's mask (the correlation function times the mask's autocorrelation), over 0.03 < k < 0.15 h/Mpc
    with maximum-likelihood weights. In redshift space the boost of the monopole, b^2 + 2 f b / 3 + f^2 / 5 (Kaiser
    1987, MNRAS 227, 1), is solved for b. A cube of 300 Mpc/h gives the bias to a few per cent; where few modes or
    tracers tell little, the result tends to `expected_bias`. It is what networks for surveys read.

    Parameters
    ----------
    catalogue : Catalogue
    cosmology : Cosmology
        Gives the power spectrum and the growth rate at the catalogue's redshift.

    Returns
    -------
    float
        Within 0.3 to 5.
    """
    power = _power(catalogue, coarse_cells(catalogue.box), cosmology=cosmology)
    growth = redshift_growth(catalogue, cosmology)
    typical = expected_bias(catalogue.number_density, cosmology=cosmology, redshift=catalogue.redshift)
    boosted = float(boosted_power(typical, growth))
    k = k_squared(power.box).sqrt()
    used = (k > MEASURED[0]) & (k < MEASURED[1])
    # A mode and its conjugate are one.
    likely = power.matter / (boosted * power.matter + power.noise).square()
    weight = torch.where(used, likely, 0.0) * mode_weights(power.box.shape[2]) / 2
    information = float((weight * power.matter).sum() * power.seen)
    measured = float((weight * (power.observed - power.noise)).sum() * power.seen)
    before = (2 * boosted * BIAS_SCATTER) ** -2
    ratio = (measured + before * boosted) / (information + before)
    bias = -growth / 3 + max(ratio - growth**2 * (1 / 5 - 1 / 9), 0.0) ** 0.5
    return float(np.clip(bias, *BIAS_RANGE))


def measure_clustering(catalogue: Catalogue, *, cosmology: Cosmology) -> Clustering:
    """Return the bias and the noise of a catalogue's tracers, as they fit its power together.

    The mean square of the modes in each shell of wavenumbers, 0.03 < k < 0.4 h/Mpc on a mesh of 5 Mpc/h, is taken as
    that of Gaussian modes with the power (b^2 + 2 f b / 3 + f^2 / 5) P(k) + N: linear matter seen through the survey's
    mask, with the boost of the monopole in redshift space (Kaiser 1987), and a constant. N is Poisson's noise, what
    satellites of one halo add to it and halos that keep apart take off, and what non-linear growth adds at high k. What
    is known before is the `expected_bias` to 30 %, and Poisson's noise to a factor of e.

    Parameters
    ----------
    catalogue : Catalogue
    cosmology : Cosmology
        Gives the power spectrum and the growth rate at the catalogue's redshift.

    Returns
    -------
    Clustering
        Means over the likelihood, of ln b and ln N.

    Warns
    -----
    OutOfRangeWarning
        If the catalogue tells the bias less well than its number density does.
    """
    found = _measured(catalogue, cosmology=cosmology)
    if found.error > _UNMEASURED:
        typical = expected_bias(catalogue.number_density, cosmology=cosmology, redshift=catalogue.redshift)
        warnings.warn(
            f"bias of {len(catalogue)} objects is taken as {found.bias:.2f} +- {100 * found.error:.0f} %: their "
            f"clustering tells little of it, and the most massive halos of their density have {typical:.2f} (taken to "
            f"{100 * BIAS_SCATTER:.0f} %); state a bias that is known",
            OutOfRangeWarning,
            stacklevel=2,
        )
    return found


@kept
def _measured(catalogue: Catalogue, *, cosmology: Cosmology) -> Clustering:
    power = _power(catalogue, fine_cells(catalogue.box), cosmology=cosmology)
    most = min(FINE[1], _NYQUIST_SHARE * power.box.k_nyquist)
    edges = np.arange(FINE[0], most + _SHELL / 2, _SHELL)
    shells = Shells.of(power.box, edges)
    some = shells.modes > 0
    observed, matter, noise = (
        shells.mean(each)[some] for each in (power.observed, power.matter, power.noise)
    )
    # A mode and its conjugate are one.
    modes = shells.modes[some] * power.seen / 2
    log_bias, log_noise = _logarithms(BIAS_RANGE, 300), _logarithms(_NOISE_RANGE, 150)
    expected = expected_bias(catalogue.number_density, cosmology=cosmology, redshift=catalogue.redshift)
    boosted = boosted_power(np.exp(log_bias), redshift_growth(catalogue, cosmology))
    likelihood = -0.5 * ((log_bias - np.log(expected)) / BIAS_SCATTER)[:, None] ** 2
    likelihood = likelihood - 0.5 * (log_noise / NOISE_SCATTER) ** 2
    for count, found, linear, poisson in zip(modes, observed, matter, noise, strict=True):
        model = np.asarray(boosted)[:, None] * linear + np.exp(log_noise) * poisson
        likelihood -= count * (np.log(model) + found / model)
    weight = np.exp(likelihood - likelihood.max())
    weight /= weight.sum()
    mean = float((weight.sum(axis=1) * log_bias).sum())
    error = float((weight.sum(axis=1) * (log_bias - mean) ** 2).sum() ** 0.5)
    excess = float((weight.sum(axis=0) * log_noise).sum())
    own = np.ones(len(catalogue)) if catalogue.weights is None else np.asarray(catalogue.weights, np.float64)
    poisson = float(np.sum(own**2) / np.sum(own)) / mean_density(catalogue)
    return Clustering(
        bias=float(np.exp(mean)),
        error=error,
        noise=float(np.exp(excess)) * poisson,
        excess=float(np.exp(excess)),
    )


def monopole_bias(catalogue: Catalogue, *, cosmology: Cosmology) -> float:
    """Return the root of the power of tracers where they stand over that of matter in real space, on large scales.

    It is the beta of eq. 4 of Xiao et al. 2024 without its shot noise, from the tracers alone: the measured bias with
    Kaiser's boost.
    """
    bias = measure_clustering(catalogue, cosmology=cosmology).bias
    return float(boosted_power(bias, redshift_growth(catalogue, cosmology)) ** 0.5)


def _logarithms(ends: tuple[float, float], count: int) -> Float[np.ndarray, " value"]:
    return np.linspace(np.log(ends[0]), np.log(ends[1]), count)
