"""The bias of tracers, measured from how strongly they cluster on large scales."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology
from peculiar.core.catalogue import SELECTION_FLOOR
from peculiar.fields.fourier import k_squared, mode_weights, to_fourier, to_real, wavevectors
from peculiar.fields.paint import paint, window
from peculiar.linear.overdensity import overdensity, sampling

COARSE_CELL = 10.0
"""Of meshes for large scales alone [Mpc/h]."""
MEASURED = (0.03, 0.15)
"""Wavenumbers at which the bias is measured [h/Mpc]."""
TYPICAL_BIAS = (1.3, 0.5)
"""Mean and scatter of biases of halos and galaxies: what is known before anything is measured."""
BIAS_RANGE = (0.3, 5.0)
"""What is found is kept within."""
_FEWEST_CELLS = 8


def coarse_cells(box: Box) -> int:
    """Return how many cells of about `COARSE_CELL` span the longest side of a box, whole ones along each side."""
    longest, unit = max(box.sides), box.least_cells
    fewest = _FEWEST_CELLS * longest / min(box.sides)
    return unit * max(round(longest / COARSE_CELL / unit), math.ceil(fewest / unit))


def matter_power(box: Box, *, cosmology: Cosmology, redshift: float) -> Float[torch.Tensor, "kx ky kz"]:
    """Return the linear power spectrum of matter as the variance of a mesh's modes.

    In units of the cell's volume, for the mode layout of `to_fourier`.
    """
    k = k_squared(box).sqrt()
    power = cosmology.linear_power(k.numpy().astype(np.float64), redshift)
    return torch.from_numpy((power / box.cell_size**3).astype(np.float32))


def painted_power(box: Box, *, cosmology: Cosmology, redshift: float) -> Float[torch.Tensor, "kx ky kz"]:
    """Return `matter_power` of matter that is painted with clouds in cells."""
    return matter_power(box, cosmology=cosmology, redshift=redshift) * _window_squared(box)


def _window_squared(box: Box) -> torch.Tensor:
    product = torch.ones(())
    for component in wavevectors(box):
        product = product * window(component, box.cell_size, scheme="cic").square()
    return product


def linear_bias(catalogue: Catalogue, *, cosmology: Cosmology) -> float:
    """Return the bias of a catalogue's tracers: their power over that of linear matter in the same survey.

    The power of the overdensity on a mesh of 10 Mpc/h, less shot noise, is compared with that of linear theory through
    the survey's mask (the correlation function times the mask's autocorrelation), over 0.03 < k < 0.15 h/Mpc with
    maximum-likelihood weights. In redshift space the boost of the monopole, b^2 + 2 f b / 3 + f^2 / 5 (Kaiser 1987,
    MNRAS 227, 1), is solved for b. A cube of 300 Mpc/h gives the bias to a few per cent; where few modes or tracers
    tell little, the result tends to 1.3 (`TYPICAL_BIAS`).

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
    grid = sampling(catalogue, coarse_cells(catalogue.box))
    box, covered = grid.fourier, grid.covered
    mask = torch.ones(box.shape) if covered is None else covered.float()
    delta_k = to_fourier(overdensity(catalogue.positions, grid, weights=catalogue.weights)[0])
    own = np.ones(len(catalogue)) if catalogue.weights is None else catalogue.weights
    counts, squares = paint(catalogue.positions, box, weights=np.stack([own, own**2], axis=1), scheme="cic")
    expected = mask if grid.expected is None else grid.expected.clamp_min(SELECTION_FLOOR)
    mean = (counts * mask).sum() / (expected * mask).sum()
    noise = (squares * mask / (mean * expected).square()).sum() * _window_squared(box)

    correlation = to_real(
        painted_power(box, cosmology=cosmology, redshift=catalogue.redshift) + 0j, box.shape
    )
    overlap = to_real(to_fourier(mask).abs().square() + 0j, box.shape)
    matter = to_fourier(correlation * overlap).real
    k = k_squared(box).sqrt()
    used = (k > MEASURED[0]) & (k < MEASURED[1])
    # A mode and its conjugate are one; modes of a mask depend on each other.
    weight = torch.where(used, matter / (matter + noise).square(), 0.0) * mode_weights(box.shape[2]) / 2
    information = float((weight * matter).sum() * mask.mean())
    measured = float((weight * (delta_k.abs().square() - noise)).sum() * mask.mean())
    growth = cosmology.growth_rate(catalogue.redshift) if catalogue.space == "redshift" else 0.0
    typical, scatter = TYPICAL_BIAS
    before = (2 * typical * scatter) ** -2
    boosted = typical**2 + 2 * growth * typical / 3 + growth**2 / 5
    ratio = (measured + before * boosted) / (information + before)
    bias = -growth / 3 + max(ratio - growth**2 * (1 / 5 - 1 / 9), 0.0) ** 0.5
    return float(np.clip(bias, *BIAS_RANGE))
