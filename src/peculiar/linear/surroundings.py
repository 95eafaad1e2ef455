"""The flow of matter that a survey did not see, as the matter that it saw and the power spectrum tell."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Catalogue, Cosmology, Field
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import to_fourier, to_real_
from peculiar.fields.paint import paint
from peculiar.linear.clustering import coarse_cells, painted_power
from peculiar.linear.linear_theory import smoothed_fourier
from peculiar.linear.overdensity import (
    Sampling,
    box_sampling,
    crop_finer,
    overdensity,
    pad,
    sampling,
)

_LARGEST_STEPS = 100
_TOLERANCE = 1e-4  # of the residual's length, relative to the data's: 5e-4 of the flow, after 5 to 14 steps
_WEIGHT_SMOOTHING = 20.0  # Mpc/h; weights change slowly, with distance
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
    coarse = sampling(catalogue, coarse_cells(catalogue.box))
    if coarse.expected is None or coarse.covered is None:
        return torch.zeros(3, *catalogue.box.with_cells(cells).shape)
    delta = overdensity(positions, coarse, weights=catalogue.weights)[0] / bias
    return _expected_displacement(
        delta,
        coarse,
        noise=_CIC_NOISE * noise_variance(catalogue, coarse, bias=bias),
        cosmology=cosmology,
        redshift=catalogue.redshift,
        cells=cells,
    )


def matter_surroundings(
    density: Field, *, cosmology: Cosmology, redshift: float
) -> Float[torch.Tensor, "3 x y z"]:
    """Return what `surroundings_displacement` would be of a cube whose matter is known without noise [Mpc/h].

    No estimate from inside the cube that is linear in the density tells more of the flow from outside.

    Parameters
    ----------
    density : Field
        Overdensity of matter in a cube that is not periodic.
    cosmology : Cosmology
    redshift : float
    """
    coarse = box_sampling(density.box.with_cells(coarse_cells(density.box)))
    averaged = torch.nn.functional.adaptive_avg_pool3d(density.data, coarse.box.shape)
    delta = pad(averaged, coarse.box)[0]
    return _expected_displacement(
        delta,
        coarse,
        noise=torch.zeros_like(delta),
        cosmology=cosmology,
        redshift=redshift,
        cells=max(density.box.shape),
    )


def _expected_displacement(
    delta: Float[torch.Tensor, "X Y Z"],
    grid: Sampling,
    *,
    noise: Float[torch.Tensor, "X Y Z"],
    cosmology: Cosmology,
    redshift: float,
    cells: int,
) -> Float[torch.Tensor, "3 x y z"]:
    fourier, covered = grid.fourier, grid.covered
    assert covered is not None
    signal = painted_power(fourier, cosmology=cosmology, redshift=redshift)
    weights = wiener_weights(delta, covered=covered, signal=signal, noise=noise)
    unseen = to_real_(to_fourier(weights).mul_(signal), fourier.shape).masked_fill_(covered, 0.0)
    return crop_finer(displacement_from_fourier(to_fourier(unseen), fourier), grid.box, cells)


def noise_variance(catalogue: Catalogue, grid: Sampling, *, bias: float) -> Float[torch.Tensor, "X Y Z"]:
    """Return the variance that shot noise gives the density of matter in each cell of a survey's Fourier mesh.

    That of counts in cells, which is also the noise of large scales however the tracers are painted: of weighted
    tracers it is sum w^2 / (sum w)^2, with the ratio of sum w^2 to sum w about each cell (a Gaussian of 20 Mpc/h), and
    the expected sum w. 0 in cells that are not covered: nothing is measured there.
    """
    assert grid.expected is not None
    assert grid.covered is not None
    per_cell = catalogue.number_density * grid.fourier.cell_size**3
    noise = _mean_weight(catalogue, grid) / grid.expected.clamp(min=1e-6).mul_(bias**2 * per_cell)
    return noise.masked_fill_(~grid.covered, 0.0)


def even_share(catalogue: Catalogue, *, cells: int) -> Float[torch.Tensor, "x y z"] | float:
    """Return by what the completeness of each cell of a survey is multiplied to have the shot noise of even weights.

    It is sum w^2 / sum w of all tracers over that of those about the cell: of a flux-limited survey far above 1 nearby,
    where many faint ones have little weight each. 1 where tracers have no weights.
    """
    if catalogue.weights is None:
        return 1.0
    grid, own = (
        sampling(catalogue, coarse_cells(catalogue.box)),
        np.asarray(catalogue.weights, dtype=np.float64),
    )
    here = _mean_weight(catalogue, grid)
    assert isinstance(here, torch.Tensor)
    return crop_finer(float((own**2).sum() / own.sum()) / here[None], grid.box, cells)[0]


def _mean_weight(catalogue: Catalogue, grid: Sampling) -> Float[torch.Tensor, "X Y Z"] | float:
    """Return sum w^2 / sum w of the tracers about each cell; far from all of them, that of the catalogue."""
    if catalogue.weights is None:
        return 1.0
    own = np.asarray(catalogue.weights, dtype=np.float64)
    box = grid.fourier
    painted = paint(catalogue.positions, box, weights=np.stack([own, own**2], axis=1), scheme="cic")
    total, squares = (
        to_real_(smoothed_fourier(one, box, smoothing=_WEIGHT_SMOOTHING, bias=1.0), box.shape).clamp_(min=0)
        for one in painted
    )
    del painted
    little = 1e-3 * total.mean()
    return squares.add_(little * float((own**2).sum() / own.sum())).div_(total.add_(little))


def wiener_weights(
    density: Float[torch.Tensor, "X Y Z"],
    *,
    covered: Bool[torch.Tensor, "X Y Z"],
    signal: Float[torch.Tensor, "kx ky kz"],
    noise: Float[torch.Tensor, "X Y Z"],
    tolerance: float = _TOLERANCE,
) -> Float[torch.Tensor, "X Y Z"]:
    """Return (M S M^T + N)^-1 of the density in the covered cells, by conjugate gradients; 0 in the other cells.

    S M^T times it is the Wiener-filtered density of the whole mesh. D M (S + n)^-1 M^T D, the inverse if every cell was
    covered and had the noise n, preconditions the steps: without noise some 10 suffice, in place of 300. n is the mean
    of N where 1 / N counts, and D^2 = (s + n) / (s + N), with the signal's variance s in a cell, weighs noisier cells
    down: cells at a survey's edge can be a hundred times as noisy, and without D take 60 steps and more, with it 7.

    Parameters
    ----------
    density : Tensor (X, Y, Z)
        Of matter; what it holds in cells that are not covered does not matter. It is used up.
    covered : Tensor (X, Y, Z)
        M: the cells where it was measured.
    signal : Tensor (kx, ky, kz)
        S: the variance of the mesh's modes, see `painted_power`.
    noise : Tensor (X, Y, Z)
        N, see `noise_variance`.
    tolerance : float
        Length of the residual over that of the data at which the steps end.
    """
    mesh = (density.shape[0], density.shape[1], density.shape[2])

    def filtered(values: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return to_real_(to_fourier(values).mul_(by), mesh).mul_(covered)

    variance = signal.mean()
    usual = covered.sum() / noise[covered].reciprocal().sum()
    inverse = torch.where(signal > 0, signal, signal.max()).add_(usual).reciprocal_()

    def evened(values: torch.Tensor) -> torch.Tensor:
        return values * (noise + variance).reciprocal_().mul_(variance + usual).sqrt_()

    residual = density.mul_(covered)
    weights, step = torch.zeros_like(residual), torch.zeros_like(residual)
    length = torch.ones(())
    enough = tolerance**2 * _product(residual, residual)
    for _ in range(_LARGEST_STEPS):
        if _product(residual, residual) <= enough:
            break
        near = evened(filtered(evened(residual), inverse))
        before, length = length, _product(residual, near)
        step.mul_(length / before).add_(near)
        del near
        image = filtered(step, signal).addcmul_(noise, step)
        factor = float(length / _product(step, image))
        weights.add_(step, alpha=factor)
        residual.add_(image, alpha=-factor)
        del image
    return weights


def _product(first: Float[torch.Tensor, "X Y Z"], second: Float[torch.Tensor, "X Y Z"]) -> torch.Tensor:
    return torch.dot(first.flatten(), second.flatten())
