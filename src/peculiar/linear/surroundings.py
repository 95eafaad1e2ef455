"""The flow of matter that a survey did not see, as the matter that it saw and the power spectrum tell."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Catalogue, Cosmology
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import to_fourier, to_real
from peculiar.linear.clustering import coarse_cells, mesh_power
from peculiar.linear.overdensity import crop, overdensity, sampling

_LARGEST_STEPS = 100
_TOLERANCE = 1e-3  # of the residual's length, relative to the data's
_CIC_NOISE = (2 / 3) ** 3  # variance of cloud-in-cell counts over that of counts in cells


def surroundings_displacement(
    catalogue: Catalogue,
    positions: Float[np.ndarray, "n 3"],
    *,
    cells: int,
    cosmology: Cosmology,
    bias: float,
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the displacement that matter beyond a survey's edge causes, as far as the survey tells of it.

    Zero padding takes the density outside a survey as the mean, so that flows which enter or leave it are lost. The
    Wiener filter (Zaroubi et al. 1995, ApJ 449, 446) gives the least-squares estimate of the density everywhere,
    d = S M^T (M S M^T + N)^-1 delta / b, with S the linear power spectrum, M the covered cells and N the shot noise;
    conjugate gradients invert the bracket. The density of the covered cells is then left out: their flow is that of
    the tracers themselves.

    Parameters
    ----------
    catalogue : Catalogue
        Survey; of a complete periodic box nothing is unseen.
    positions : (n, 3) [Mpc/h]
        The tracers in real space, see `move_back`.
    cells : int
        Mesh cells along a side of the catalogue's box.
    cosmology : Cosmology
        Gives the power spectrum at the catalogue's redshift.
    bias : float
        Divides the tracer overdensity.

    Returns
    -------
    Tensor (3, x, y, z) [Mpc/h]
        On the catalogue's box; a H f times it is the velocity.
    """
    coarse = sampling(catalogue, coarse_cells(catalogue))
    if coarse.expected is None or coarse.covered is None:
        return torch.zeros(3, cells, cells, cells)
    fourier, covered = coarse.fourier, coarse.covered
    delta = overdensity(positions, coarse, weights=catalogue.weights)[0] / bias
    per_cell = catalogue.number_density * fourier.cell_size**3
    noise = torch.where(covered, _CIC_NOISE / (bias**2 * per_cell * coarse.expected.clamp(min=1e-6)), 0.0)
    signal = mesh_power(fourier, cosmology=cosmology, redshift=catalogue.redshift)

    def smoothed(values: torch.Tensor) -> torch.Tensor:
        return to_real(to_fourier(values).mul_(signal), fourier.mesh)

    weights = torch.zeros_like(delta)
    residual = torch.where(covered, delta, 0.0)
    step, length = residual.clone(), residual.square().sum()
    enough = _TOLERANCE**2 * length
    for _ in range(_LARGEST_STEPS):
        if length <= enough:
            break
        image = torch.where(covered, smoothed(step), 0.0) + noise * step
        factor = length / (step * image).sum()
        weights += factor * step
        residual -= factor * image
        before, length = length, residual.square().sum()
        step = residual + length / before * step
    unseen = torch.where(covered, 0.0, smoothed(weights))
    displacement = crop(displacement_from_fourier(to_fourier(unseen), fourier), coarse.box)
    return torch.nn.functional.interpolate(
        displacement[None], size=(cells,) * 3, mode="trilinear", align_corners=False
    )[0]
