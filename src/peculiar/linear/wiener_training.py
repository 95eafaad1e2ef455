"""Learning a Wiener filter from simulated boxes, one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.fields.fourier import to_fourier, wavevectors
from peculiar.fields.paint import ABUNDANCES
from peculiar.linear.iterative import move_back
from peculiar.linear.overdensity import binned_weights, overdensity, sampling
from peculiar.linear.spectra import Shells
from peculiar.linear.wiener import WienerFilter

SHELL_WIDTH = 0.02
"""Width of the shells of |k| in which weights are solved for [h/Mpc]."""

MODES_PER_WEIGHT = 30
"""Shells are merged, from the largest scale on, until each has this many modes for every tracer bin."""


@dataclass(frozen=True, eq=False)
class Spectra:
    """Auto and cross spectra of tracers and matter, summed over the modes of shells and over boxes.

    The last tracer channel holds all tracers together, the others the bins; the targets are the matter overdensity
    and -div v / (a H f). Spectra of several boxes add, so that one box at a time needs to be in memory.

    Attributes
    ----------
    edges : (shell + 1,) [h/Mpc]
    modes, k : (shell,)
        Modes, and the sum of their wavenumbers [h/Mpc].
    tracers : (shell, channel, channel)
        Sum of Re delta_b delta_c*.
    targets : (shell, channel, 2)
        Sum of Re delta_b target*.
    summary : dict
        Number of boxes, and sums over them of what else describes the training.
    """

    edges: Float[np.ndarray, " edge"]
    modes: Float[np.ndarray, " shell"]
    k: Float[np.ndarray, " shell"]
    tracers: Float[np.ndarray, "shell channel channel"]
    targets: Float[np.ndarray, "shell channel 2"]
    summary: dict[str, float]

    @classmethod
    def of(
        cls,
        tracers: Float[torch.Tensor, "channel x y z"],
        density: Float[torch.Tensor, "x y z"],
        displacement: Float[torch.Tensor, "3 x y z"],
        box: Box,
        *,
        summary: dict[str, float] | None = None,
    ) -> Spectra:
        """Return the spectra of one periodic box.

        Parameters
        ----------
        tracers : Tensor (channel, x, y, z)
            Overdensities of the bins, then of all tracers.
        density : Tensor (x, y, z)
            True matter overdensity.
        displacement : Tensor (3, x, y, z) [Mpc/h]
            True v / (a H f).
        box : Box
        summary : dict, optional
            What describes the training, to be averaged over boxes.

        Raises
        ------
        InputError
            If the box is not periodic.
        """
        if not box.periodic:
            raise InputError(
                "Box.periodic must be true to learn a Wiener filter, got a survey: use simulated boxes"
            )
        edges = np.arange(0.0, box.k_nyquist * 3**0.5 + SHELL_WIDTH, SHELL_WIDTH)
        shells = Shells.of(box, edges)
        converging = torch.zeros(())
        for k, component in zip(wavevectors(box, odd=True), displacement, strict=True):
            converging = converging - 1j * k * to_fourier(component)
        targets_k = (to_fourier(density), converging)
        tracers_k = to_fourier(tracers)
        auto = np.empty((len(shells.modes), len(tracers), len(tracers)))
        cross = np.empty((len(shells.modes), len(tracers), len(targets_k)))
        for i, first in enumerate(tracers_k):
            for j, second in enumerate(tracers_k[: i + 1]):
                auto[:, i, j] = auto[:, j, i] = shells.sum((first * second.conj()).real)
            for j, second in enumerate(targets_k):
                cross[:, i, j] = shells.sum((first * second.conj()).real)
        return cls(
            edges, shells.modes, shells.k * shells.modes, auto, cross, {"boxes": 1.0, **(summary or {})}
        )

    def __add__(self, other: Spectra) -> Spectra:
        if self.tracers.shape != other.tracers.shape:
            raise InputError(
                f"Spectra must share shells and channels to add, got {self.tracers.shape} and "
                f"{other.tracers.shape}: use boxes of one cell size"
            )
        return Spectra(
            self.edges,
            self.modes + other.modes,
            self.k + other.k,
            self.tracers + other.tracers,
            self.targets + other.targets,
            {name: self.summary[name] + other.summary[name] for name in self.summary},
        )


def accumulate(
    catalogue: Catalogue,
    density: Field,
    velocity: Field,
    *,
    cosmology: Cosmology,
    abundances: tuple[float, ...] = ABUNDANCES,
    smoothing: float = 3.0,
    bias: float = 1.4,
    iterations: int = 6,
) -> Spectra:
    """Return the spectra of one simulated box, its tracers moved back (`move_back`, whose settings these are).

    Parameters
    ----------
    catalogue : Catalogue
        Tracers with masses.
    density, velocity : Field
        True matter overdensity, and true velocity [km/s], on the mesh to paint the tracers on.
    cosmology : Cosmology
    abundances : tuple of float
        Cumulative abundances that cut the bins [(h/Mpc)^3].
    smoothing, bias, iterations
        Of `move_back`.

    Raises
    ------
    InputError
        If the catalogue has no masses, the box is not periodic or the meshes disagree.
    """
    density.require_same_box(velocity)
    if catalogue.masses is None:
        raise InputError("Catalogue.masses must be given to learn weights of abundance bins, got None")
    cells = max(density.box.shape)
    positions = move_back(
        catalogue, cells=cells, cosmology=cosmology, smoothing=smoothing, bias=bias, iterations=iterations
    )
    grid = sampling(catalogue, cells)
    binned = overdensity(positions, grid, weights=binned_weights(catalogue, abundances))
    total = overdensity(positions, grid, weights=catalogue.weights)
    return Spectra.of(
        torch.cat([binned, total]),
        density.data[0],
        velocity.data / cosmology.velocity_factor(catalogue.redshift),
        density.box,
        summary={
            "cell_size": density.box.cell_size,
            "redshift": catalogue.redshift,
            "number_density": catalogue.number_density,
        },
    )


def solve(
    spectra: Spectra,
    *,
    abundances: tuple[float, ...] = ABUNDANCES,
    smoothing: float = 3.0,
    bias: float = 1.4,
    iterations: int = 6,
) -> WienerFilter:
    """Return the least-squares filter, W = C_bb^-1 C_bm in each shell.

    Shells with few modes are merged with the next ones, so that W is smooth on the largest scales.

    Parameters
    ----------
    spectra : Spectra
        Sum over the training boxes.
    abundances, smoothing, bias, iterations
        What the tracers were binned and moved back with; they travel with the filter.

    Raises
    ------
    InputError
        If the spectra do not have one channel for each abundance and one for all tracers.
    """
    bins = len(abundances)
    if spectra.tracers.shape[1] != bins + 1:
        raise InputError(
            f"Spectra must have {bins} bins and all tracers, got {spectra.tracers.shape[1]} channels"
        )
    groups = _merged(spectra.modes, MODES_PER_WEIGHT * bins)
    modes, k, auto, cross = (
        np.add.reduceat(values[: groups[-1]], groups[:-1], axis=0)
        for values in (spectra.modes, spectra.k, spectra.tracers, spectra.targets)
    )
    # The pseudo-inverse gives a bin without tracers no weight.
    inverse = np.linalg.pinv(auto[:, :bins, :bins], rcond=1e-10, hermitian=True)
    binned = inverse @ cross[:, :bins]
    total = cross[:, bins:] / np.maximum(auto[:, bins:, bins:], 1e-300)
    boxes = spectra.summary["boxes"]
    return WienerFilter(
        k=k / modes,
        weights_density=binned[..., 0],
        weights_velocity=binned[..., 1],
        total_density=total[..., 0],
        total_velocity=total[..., 1],
        k_max=float(spectra.edges[groups[-1]]),
        abundances=abundances,
        smoothing=smoothing,
        bias=bias,
        iterations=iterations,
        training={
            name: value if name == "boxes" else value / boxes for name, value in spectra.summary.items()
        },
    )


def fit_wiener(
    boxes: Iterable[tuple[Catalogue, Field, Field]],
    *,
    cosmology: Cosmology,
    abundances: tuple[float, ...] = ABUNDANCES,
    smoothing: float = 3.0,
    bias: float = 1.4,
    iterations: int = 6,
) -> WienerFilter:
    """Learn a Wiener filter from simulated boxes.

    Parameters
    ----------
    boxes : iterable of (catalogue, density, velocity)
        As `accumulate` takes them, on meshes of one cell size. A generator keeps one box in memory at a time.
    cosmology, abundances, smoothing, bias, iterations
        As in `accumulate`.

    Raises
    ------
    InputError
        If there is no box, or one is as `accumulate` cannot use it.
    """
    spectra = [
        accumulate(
            catalogue,
            density,
            velocity,
            cosmology=cosmology,
            abundances=abundances,
            smoothing=smoothing,
            bias=bias,
            iterations=iterations,
        )
        for catalogue, density, velocity in boxes
    ]
    if not spectra:
        raise InputError("boxes must hold at least one simulated box to learn a Wiener filter from, got none")
    return solve(
        reduce(add, spectra), abundances=abundances, smoothing=smoothing, bias=bias, iterations=iterations
    )


def _merged(modes: Float[np.ndarray, " shell"], least: float) -> list[int]:
    """Return the starts of groups of shells with at least so many modes each, and the end of the last group.

    What is left over beyond the last full group (the corners of the mesh) is in none.
    """
    starts, held = [0], 0.0
    for shell, count in enumerate(modes):
        held += count
        if held >= least:
            starts.append(shell + 1)
            held = 0.0
    return starts if len(starts) > 1 else [0, len(modes)]
