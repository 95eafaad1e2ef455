"""The multi-tracer Wiener filter whose weights follow from the sample itself: boxes, cut-outs and surveys."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.core import Box, Catalogue, Cosmology, InputError
from peculiar.fields.fourier import filter_, to_fourier
from peculiar.linear.classical import Classical, EstimatedMatter
from peculiar.linear.clustering import (
    Clustering,
    matter_at,
    measure_clustering,
    noise_at,
    painted_power,
    window_at,
)
from peculiar.linear.iterative import move_back
from peculiar.linear.light_cone import AlongDistance, bias_evolution, of_epoch, on_mesh
from peculiar.linear.optimal_weights import optimal_weights
from peculiar.linear.overdensity import fourier_box, overdensity, sampling
from peculiar.linear.smoothing import best_smoothing, flow_bias, slowness
from peculiar.linear.surroundings import noise_variance, wiener_weights

EXCESS_SHARE = 0.25
"""Of the measured noise beyond Poisson's, what best counts as noise; the rest is growth. Chosen on the boxes of the fit
of `benchmarks/smoothing.py`, which measures the result on others."""
SPARSEST = 0.01
"""Expected fraction of the mean density below which a cell counts as not observed."""
_TOLERANCE = 1e-3  # of the residual's length: at 1e-2 the variance of the error is up to 4 % another one
_BYTES_OF_SURVEYS = 40


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
    noise : float
        Of the weighted tracers over Poisson's, as halos have it (`optimal_weights`).
    index : (n,) int
        Bin of each tracer by its mass, 0 for the most massive (`optimal_weights`).
    """

    catalogue: Catalogue
    positions: Float[np.ndarray, "n 3"]
    clustering: Clustering
    bias: float
    evolution: AlongDistance | float
    bias_of_all: float
    noise: float
    index: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class MultiTracerWiener(Classical):
    """The Wiener filter of tracers in bins of mass: the least-squares linear estimate of matter and of its flow.

    Bins are cut at fractions of the sample; with independent noise in each, all that they hold of matter is in the sum
    of the tracers, each weighted with the bias of its bin over its noise (`optimal_weights`). The weighted tracers are
    moved back along the line of sight (`move_back`). Their overdensity d = b m + noise then gives matter as

        S M^T (M S M^T + N)^-1 M d / b

    with S the linear power, M the cells that are observed and N the noise in each. In a periodic box it is
    b P / (b^2 P + N) of each wave; else conjugate gradients invert the bracket (`wiener_weights`), cells that are
    observed sparsely count by their noise, and the result reaches beyond the edge: the flow of what was not seen is in
    it. On a light cone b holds the growth of waves since the median epoch, by which the result is then multiplied. The
    flow's waves are those of matter times exp(-k / k_d), as matter falls in more slowly on small scales
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

    def matter(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> EstimatedMatter:
        """Return what is estimated of matter on the mesh of a catalogue's box."""
        moved = self.moved(catalogue, cells=cells, cosmology=cosmology)
        return self.matter_of(moved, cells=cells, cosmology=cosmology)

    def matter_of(self, moved: MovedTracers, *, cells: int, cosmology: Cosmology) -> EstimatedMatter:
        """Return what is estimated of matter once the tracers are moved back."""
        catalogue, found, bias = moved.catalogue, moved.clustering, moved.bias
        grid = sampling(catalogue, cells, sparsest=SPARSEST)
        fourier, covered = grid.fourier, grid.covered
        share = moved.noise * (1 + EXCESS_SHARE * (found.excess - 1))
        then = cosmology.growth(catalogue.redshift)
        growth = of_epoch(catalogue, lambda z: cosmology.growth(z) / then, cosmology=cosmology)
        bias_here = on_mesh(moved.evolution, fourier) * on_mesh(growth, fourier)
        delta = overdensity(moved.positions, grid, weights=catalogue.weights)[0].div_(bias_here).div_(bias)
        noise: float | None = None
        if covered is None:
            noise = share * found.noise / found.excess / (bias**2 * fourier.cell_size**3)
        else:
            variance = noise_variance(catalogue, grid, bias=bias).mul_(share)
            variance = variance.div_(bias_here).div_(bias_here)
            del grid, bias_here
            signal = painted_power(fourier, cosmology=cosmology, redshift=catalogue.redshift)
            delta = wiener_weights(
                delta, covered=covered, signal=signal, noise=variance, tolerance=_TOLERANCE
            )
            del signal, variance
        modes = to_fourier(delta)
        del delta
        cell = fourier.cell_size

        def weight(*k: torch.Tensor) -> torch.Tensor:
            # What was painted is known with the power painted, the matter itself correlates with it by the mean.
            matter = matter_at(*k, cell_size=cell, cosmology=cosmology, redshift=catalogue.redshift)
            painted = window_at(*k, cell_size=cell).mul_(matter)
            cross = matter.mul_(painted).sqrt_()
            if noise is None:
                return cross
            return cross.div_(noise_at(*k, cell_size=cell).mul_(noise).add_(painted))

        filter_(modes, fourier, weight)
        return EstimatedMatter(
            modes,
            fourier,
            catalogue.box.with_cells(cells),
            slowness(cosmology, catalogue.redshift),
            growth=growth,
        )

    def moved(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> MovedTracers:
        """Return the weighted tracers of a catalogue, moved back along the line of sight."""
        redshift, evolution = catalogue.redshift, self._evolution(catalogue, cosmology)
        of_all = found = measure_clustering(catalogue, cosmology=cosmology)
        bias_of_all = bias = self.bias or of_all.bias
        weights, less, index = optimal_weights(catalogue, bias=bias, cosmology=cosmology)
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
        return MovedTracers(weighted, positions, found, bias, evolution, bias_of_all, less, index)

    def flow_memory(self, box: Box) -> int:
        """See `Classical.flow_memory`."""
        return super().flow_memory(box) if box.periodic else _BYTES_OF_SURVEYS * fourier_box(box).cell_count
