"""The multi-tracer Wiener filter whose weights follow from the sample itself: boxes, cut-outs and surveys."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.linear.clustering import (
    Clustering,
    matter_power,
    measure_clustering,
    painted_noise,
    painted_power,
)
from peculiar.linear.iterative import move_back
from peculiar.linear.light_cone import AlongDistance, bias_evolution, on_mesh, velocity_factor
from peculiar.linear.linear_theory import linear_fields
from peculiar.linear.optimal_weights import optimal_weights
from peculiar.linear.overdensity import crop, fourier_box, overdensity, sampling
from peculiar.linear.smoothing import best_smoothing, flow_bias, slowness
from peculiar.linear.surroundings import noise_variance, wiener_weights

EXCESS_SHARE = 0.25
"""Of the measured noise beyond Poisson's, what best counts as noise; the rest is growth. Chosen on the boxes of the fit
of `benchmarks/smoothing.py`, which measures the result on others."""
SPARSEST = 0.01
"""Expected fraction of the mean density below which a cell counts as not observed."""
_TOLERANCE = 1e-3  # of the residual's length: at 1e-2 the variance of the error is up to 4 % another one
_BYTES_PER_CELL, _BYTES_OF_SURVEYS = 44, 48


@dataclass(frozen=True, eq=False)
class WienerEstimate:
    """What the Wiener filter finds.

    Attributes
    ----------
    density : (1, x, y, z)
        Overdensity of matter.
    displacement : (3, x, y, z) [Mpc/h]
        Of matter: velocity over a H f.
    positions : (n, 3) [Mpc/h]
        Of the tracers in real space, see `move_back`.
    bias : float
        Of all tracers together.
    """

    density: Float[torch.Tensor, "1 x y z"]
    displacement: Float[torch.Tensor, "3 x y z"]
    positions: Float[np.ndarray, "n 3"]
    bias: float


@dataclass(frozen=True, eq=False)
class MovedTracers:
    """Tracers in real space, with what is known of their clustering.

    Attributes
    ----------
    catalogue : Catalogue
        In redshift space, weighted with `optimal_weights`.
    positions : (n, 3) [Mpc/h]
        In real space, see `move_back`.
    clustering : Clustering
        Of the weighted tracers.
    bias : float
        Of the weighted tracers.
    evolution : AlongDistance or float
        Of the bias along a light cone, over `bias`.
    bias_of_all : float
        Of all tracers alike.
    """

    catalogue: Catalogue
    positions: Float[np.ndarray, "n 3"]
    clustering: Clustering
    bias: float
    evolution: AlongDistance | float
    bias_of_all: float


@dataclass(frozen=True)
class MultiTracerWiener:
    """The Wiener filter of tracers in bins of mass: the least-squares linear estimate of matter and of its flow.

    Bins are cut at fractions of the sample; with independent noise in each, all that they hold of matter is in the sum
    of the tracers, each weighted with the bias of its bin over its noise (`optimal_weights`). The weighted tracers are
    moved back along the line of sight (`move_back`). Their overdensity d = b m + noise then gives matter as

        S M^T (M S M^T + N)^-1 M d / b

    with S the linear power, M the cells that are observed and N the noise in each. In a periodic box it is
    b P / (b^2 P + N) of each wave; else conjugate gradients invert the bracket (`wiener_weights`), cells that are
    observed sparsely count by their noise, and the result reaches beyond the edge: the flow of what was not seen is in
    it. The flow's waves are those of matter times exp(-k / k_d), as matter falls in more slowly on small scales
    (`best_smoothing`).

    Parameters
    ----------
    bias : float, optional
        Of all tracers together; where not given it is measured (`measure_clustering`).
    evolution : AlongDistance or float, optional
        Of the bias along a light cone, over `bias`. Where neither is given it is measured (`bias_evolution`).
    name : str
        In score tables.

    Raises
    ------
    InputError
        If the bias is not positive.
    """

    bias: float | None = None
    evolution: AlongDistance | float | None = None
    name: str = "Wiener filter"

    def __post_init__(self) -> None:
        if self.bias is not None and not self.bias > 0:
            raise InputError(f"bias must be > 0, got {self.bias}: leave it out to have it measured")

    def fitted(self, catalogue: Catalogue, *, cosmology: Cosmology) -> MultiTracerWiener:
        """Return the method with the bias, and its evolution, that a catalogue is reconstructed with."""
        bias = self.bias or measure_clustering(catalogue, cosmology=cosmology).bias
        return replace(self, bias=bias, evolution=self._evolution(catalogue, cosmology))

    def _evolution(self, catalogue: Catalogue, cosmology: Cosmology) -> AlongDistance | float:
        if self.evolution is not None:
            return self.evolution
        return 1.0 if self.bias is not None else bias_evolution(catalogue, cosmology=cosmology)

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return "density" (overdensity of matter), "velocity" and "momentum" [km/s] on the catalogue's box."""
        found = self.estimate(catalogue, cells=cells, cosmology=cosmology)
        box = catalogue.box.with_cells(cells)
        velocity = found.displacement.mul_(velocity_factor(catalogue, box, cosmology=cosmology))
        return linear_fields(found.density, velocity, box)

    def estimate(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> WienerEstimate:
        """Return what is estimated of matter on the mesh of a catalogue's box, and of the tracers on the way."""
        redshift, box = catalogue.redshift, catalogue.box.with_cells(cells)
        moved = self.moved(catalogue, cells=cells, cosmology=cosmology)
        fourier = fourier_box(box)
        painted = painted_power(fourier, cosmology=cosmology, redshift=redshift)
        filtered_k = to_fourier(_filtered(moved, cells=cells, signal=painted))
        # What was painted is known with the power painted, the matter itself correlates with it by the mean.
        matter = matter_power(fourier, cosmology=cosmology, redshift=redshift)
        filtered_k *= painted.mul_(matter).sqrt_()
        del painted, matter
        density = crop(to_real(filtered_k, fourier.shape)[None], box)
        filtered_k *= k_squared(fourier).sqrt_().mul_(-slowness(cosmology, redshift)).exp_()
        displacement = displacement_from_fourier(filtered_k, fourier, kept=box)
        return WienerEstimate(density, displacement, moved.positions, moved.bias_of_all)

    def moved(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> MovedTracers:
        """Return the weighted tracers of a catalogue, moved back along the line of sight."""
        redshift, evolution = catalogue.redshift, self._evolution(catalogue, cosmology)
        of_all = found = measure_clustering(catalogue, cosmology=cosmology)
        bias_of_all = bias = self.bias or of_all.bias
        weights = optimal_weights(catalogue, bias=bias, cosmology=cosmology)
        weighted = catalogue.replace(weights=weights)
        if weights is not catalogue.weights:
            found = measure_clustering(weighted, cosmology=cosmology)
            bias *= found.bias / of_all.bias
        smoothing = best_smoothing(found.noise, bias=bias, cosmology=cosmology, redshift=redshift)
        positions = move_back(
            weighted,
            cells=cells,
            cosmology=cosmology,
            smoothing=smoothing,
            bias=flow_bias(smoothing, found.noise, bias=bias, cosmology=cosmology, redshift=redshift),
            evolution=evolution,
        )
        return MovedTracers(weighted, positions, found, bias, evolution, bias_of_all)

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that a reconstruction on a mesh takes at most, but for the tracers."""
        each = _BYTES_PER_CELL if box.periodic else _BYTES_OF_SURVEYS
        return each * fourier_box(box).cell_count


def _filtered(
    moved: MovedTracers, *, cells: int, signal: Float[torch.Tensor, "kx ky kz"]
) -> Float[torch.Tensor, "X Y Z"]:
    """Return (M S M^T + N)^-1 of the overdensity of tracers over their bias, on the Fourier mesh."""
    catalogue, found, bias = moved.catalogue, moved.clustering, moved.bias
    grid = sampling(catalogue, cells, sparsest=SPARSEST)
    fourier, covered = grid.fourier, grid.covered
    share = 1 + EXCESS_SHARE * (found.excess - 1)
    bias_here = on_mesh(moved.evolution, fourier)
    delta = overdensity(moved.positions, grid, weights=catalogue.weights)[0].div_(bias_here).div_(bias)
    if covered is None:
        noise = share * found.noise / found.excess / (bias**2 * fourier.cell_size**3)
        return to_real(to_fourier(delta).div_(painted_noise(fourier).mul_(noise).add_(signal)), fourier.shape)
    variance = noise_variance(catalogue, grid, bias=bias).mul_(share)
    variance = variance.div_(bias_here).div_(bias_here)
    del grid, bias_here
    return wiener_weights(delta, covered=covered, signal=signal, noise=variance, tolerance=_TOLERANCE)
