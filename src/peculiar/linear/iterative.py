"""Iterative FFT reconstruction with redshift-space distortions removed, as surveys run it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Float, Int

from peculiar.core import Box, Catalogue, Cosmology, InputError
from peculiar.core.catalogue import AXES
from peculiar.core.readout import readout
from peculiar.fields.calculus import displacement_component
from peculiar.fields.fourier import to_fourier
from peculiar.linear.classical import Classical, EstimatedMatter
from peculiar.linear.clustering import measure_clustering
from peculiar.linear.light_cone import (
    AlongDistance,
    at_places,
    bias_evolution,
    of_epoch,
    on_mesh,
)
from peculiar.linear.linear_theory import require_scales, smoothed
from peculiar.linear.overdensity import Sampling, overdensity, sampling
from peculiar.linear.smoothing import best_smoothing, flow_bias
from peculiar.linear.surroundings import surroundings_displacement


@dataclass(frozen=True)
class IterativeFFT(Classical):
    """Iterative FFT reconstruction: tracers moved back along the line of sight, then linear theory.

    The scheme of Burden et al. 2015 on particles, as survey pipelines run it: see `move_back`. The fields then come
    from the tracers at their estimated real-space positions: delta is the smoothed overdensity over the bias, and
    v = a H f Psi.

    Parameters
    ----------
    smoothing : float, optional
        Gaussian radius [Mpc/h]. Where not given it follows from the tracers' noise and bias (`best_smoothing`).
    bias : float, optional
        Divides the tracer overdensity; `tune` finds the bias and smoothing of least velocity error. Where not given it
        follows from the tracers' clustering (`measure_clustering`, `flow_bias`).
    evolution : AlongDistance or float, optional
        Of the bias along a light cone, over `bias`. Where neither is given it is measured (`bias_evolution`).
    iterations : int
        Times that the tracers are moved.
    surroundings : bool
        Of a survey: add the flow of the matter that is expected beyond its edge (`surroundings_displacement`).
    name : str
        In score tables.

    Raises
    ------
    InputError
        If the smoothing is negative, the bias is not positive or there is no iteration.
    """

    smoothing: float | None = None
    bias: float | None = None
    evolution: AlongDistance | float | None = None
    iterations: int = 6
    surroundings: bool = False
    name: str = "iterative FFT"

    def __post_init__(self) -> None:
        require_scales(
            0.0 if self.smoothing is None else self.smoothing, 1.0 if self.bias is None else self.bias
        )
        require_iterations(self.iterations)

    def fitted(self, catalogue: Catalogue, *, cosmology: Cosmology) -> IterativeFFT:
        """Return the method with the smoothing and the bias that a catalogue is reconstructed with."""
        if self.evolution is None:
            given = self.bias is not None
            evolution = 1.0 if given else bias_evolution(catalogue, cosmology=cosmology)
            return replace(self, evolution=evolution).fitted(catalogue, cosmology=cosmology)
        if self.smoothing is not None and self.bias is not None:
            return self
        redshift = catalogue.redshift
        found = measure_clustering(catalogue, cosmology=cosmology)
        smoothing = self.smoothing
        if smoothing is None:
            smoothing = best_smoothing(
                found.noise, bias=self.bias or found.bias, cosmology=cosmology, redshift=redshift
            )
        bias = self.bias or flow_bias(
            smoothing, found.noise, bias=found.bias, cosmology=cosmology, redshift=redshift
        )
        return replace(self, smoothing=smoothing, bias=bias)

    def matter(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> EstimatedMatter:
        """Return the smoothed overdensity of the tracers in real space over their bias."""
        fitted = self.fitted(catalogue, cosmology=cosmology)
        smoothing, bias, evolution = fitted.smoothing, fitted.bias, fitted.evolution
        assert smoothing is not None
        assert bias is not None
        assert evolution is not None
        positions = move_back(
            catalogue,
            cells=cells,
            cosmology=cosmology,
            smoothing=smoothing,
            bias=bias,
            evolution=evolution,
            iterations=self.iterations,
        )
        grid = sampling(catalogue, cells)
        delta_k = matter_density(
            catalogue, positions, grid, smoothing=smoothing, bias=bias, evolution=evolution
        )
        surroundings = None
        if self.surroundings and grid.covered is not None:
            surroundings = surroundings_displacement(
                catalogue, positions, cells=cells, cosmology=cosmology, bias=bias
            )
        return EstimatedMatter(delta_k, grid.fourier, grid.box, surroundings=surroundings)


def matter_density(
    catalogue: Catalogue,
    positions: Float[np.ndarray, "n 3"],
    grid: Sampling,
    *,
    smoothing: float,
    bias: float,
    evolution: AlongDistance | float = 1.0,
) -> Complex[torch.Tensor, "X Y half"]:
    """Return the smoothed overdensity of a catalogue's tracers over their bias, in Fourier space.

    Parameters
    ----------
    catalogue : Catalogue
        Gives the weights.
    positions : (n, 3) [Mpc/h]
        Of its tracers, as `move_back` gives them.
    grid : Sampling
        Of the catalogue.
    smoothing, bias, evolution
        As in `move_back`.
    """
    delta = overdensity(positions, grid, weights=catalogue.weights)[0].div_(on_mesh(evolution, grid.fourier))
    delta_k = to_fourier(delta)
    del delta
    return smoothed(delta_k, grid.fourier, smoothing=smoothing, bias=bias)


def move_back(
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    smoothing: float = 3.0,
    bias: float = 1.4,
    evolution: AlongDistance | float = 1.0,
    iterations: int = 6,
) -> Float[np.ndarray, "n 3"]:
    """Move tracers from redshift space to their estimated real-space positions.

    Each iteration paints the tracers (CIC) where they are estimated to be, smooths, divides by the bias, takes the
    displacement Psi(k) = i k / k^2 delta(k), and moves every tracer from its redshift-space position by
    -f (Psi . los) los with Psi at its estimated position. A catalogue in real space keeps its positions. A tracer
    never moves past a radial observer. A non-periodic box is zero-padded (`fourier_box`).

    Parameters
    ----------
    catalogue : Catalogue
        Periodic box or survey; plane-parallel or radial line of sight.
    cells : int
        Mesh cells along a side of the catalogue's box.
    cosmology : Cosmology
        Gives f at the catalogue's redshift, on a light cone at that of each object.
    smoothing : float
        Gaussian radius [Mpc/h].
    bias : float
        Divides the tracer overdensity.
    evolution : AlongDistance or float
        Of the bias along a light cone, over `bias`.
    iterations : int
        At least 1.

    Returns
    -------
    (n, 3) [Mpc/h]
        In real space; in a periodic box wrapped into it, else they may lie outside its faces.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """
    require_scales(smoothing, bias)
    require_iterations(iterations)
    if catalogue.space == "real":
        return catalogue.positions
    grid = sampling(catalogue, cells)
    box = grid.fourier
    order = _by_planes(catalogue.positions, box)
    observed, sight_lines = catalogue.positions[order], catalogue.sight_lines()[order]
    weights = None if catalogue.weights is None else catalogue.weights[order]
    growth_rate = at_places(of_epoch(catalogue, cosmology.growth_rate, cosmology=cosmology), observed)
    axis = AXES.get(catalogue.line_of_sight)
    positions, over_mean = observed, on_mesh(evolution, box)
    for _ in range(iterations):
        delta = overdensity(positions, grid, weights=weights)[0].div_(over_mean)
        delta_k = to_fourier(delta)
        del delta
        smoothed(delta_k, box, smoothing=smoothing, bias=bias)
        # One component at a time, and along a fixed axis that one alone.
        shift = np.zeros(len(positions))
        for i in range(3) if axis is None else (axis,):
            psi = displacement_component(delta_k, box, i, used_up=i in (2, axis))
            shift += growth_rate * readout(psi[None], positions, box).numpy()[:, 0] * sight_lines[:, i]
            del psi
        del delta_k
        if axis is None:
            shift = np.minimum(shift, np.linalg.norm(observed - np.asarray(catalogue.observer), axis=1))
        positions = observed - shift[:, None] * sight_lines
        if catalogue.box.periodic:
            positions = catalogue.box.wrap(positions)
    found = np.empty_like(positions)
    found[order] = positions
    return found


def _by_planes(positions: Float[np.ndarray, "n 3"], box: Box) -> Int[np.ndarray, " n"]:
    """Return the order of objects by the plane of cells that they lie in: a mesh is read and painted faster so."""
    plane = (positions[:, 0] - box.origin[0]) / box.cell_size
    return np.argsort(plane.astype(np.int16), kind="stable")


def require_iterations(iterations: int) -> None:
    """Raise InputError unless there is at least one iteration."""
    if iterations != int(iterations) or iterations < 1:
        raise InputError(
            f"iterations must be an integer >= 1, got {iterations}: 6 converge to the mesh's noise"
        )
