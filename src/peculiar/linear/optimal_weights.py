"""Weights with which tracers of different mass tell most of matter, as their own clustering says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.core import Catalogue, Cosmology
from peculiar.fields.fourier import to_fourier
from peculiar.fields.paint import ranks
from peculiar.linear.clustering import (
    boosted_power,
    fine_cells,
    painted_noise,
    painted_power,
    redshift_growth,
)
from peculiar.linear.halo_model import MOST_COMPANIONS, companions, halo_volume, second_moment
from peculiar.linear.overdensity import mean_density, overdensity, sampling
from peculiar.linear.spectra import Shells

FRACTIONS = (0.03, 0.1, 0.3, 1.0)
"""Cumulative fractions of a sample, the most massive first, that cut its bins: none is empty."""
FEWEST = 400
"""Objects of a sample below which its bins are not told apart."""
SHELL_OBJECTS, MOST_SHELLS = 2000, 16
"""Least objects, and most shells, of distances in each of which objects of a survey are ranked by themselves."""
_SIGNAL, _NOISE = (0.03, 0.2), (0.15, 0.4)
"""Wavenumbers at which the biases of bins are compared, and at which their noise is measured [h/Mpc]."""
_SHELL = 0.01
_SCATTER = 0.5
"""Of the bias of a bin over that of all, before it is measured."""
_MOST_MASS = 0.8
"""Share of matter that halos of tracers are taken to hold at most, each with its bias."""
_TOP = 2.0
"""Weight of the most massive objects over that of the middle of their bin, at most."""
_NOISE_RANGE = (0.4, 3.0)
"""Noise over Poisson's, within which it is kept: halos that keep apart have less, those that share one more."""


@dataclass(frozen=True)
class TracerBins:
    """Bins of a sample and what they tell of matter.

    Attributes
    ----------
    place : (n,)
        Which fraction of objects is more massive than each, see `places`.
    index : (n,) int
        Bin of each object, 0 for the most massive.
    fractions : (bin,)
        Share of the objects.
    bias : (bin,)
    noise : (bin,)
        Power that does not follow matter, over that of as many Poisson tracers.
    """

    place: Float[np.ndarray, " n"]
    index: Int[np.ndarray, " n"]
    fractions: Float[np.ndarray, " bin"]
    bias: Float[np.ndarray, " bin"]
    noise: Float[np.ndarray, " bin"]


class Weighting(NamedTuple):
    """Weights of objects (None: all alike), the noise of the weighted sum over Poisson's, and the bin of each object.

    Bins are cut at `FRACTIONS`; all objects are in the last one where `ranked` says no.
    """

    weights: Float[np.ndarray, " n"] | None
    noise: float
    bins: Int[np.ndarray, " n"]


def optimal_weights(catalogue: Catalogue, *, bias: float, cosmology: Cosmology) -> Weighting:
    """Return the catalogue's weights times those of mass; its own where `ranked` says no.

    Those of bins follow from their bias, noise and mass (`bin_weights`), the mass from the bias (`halo_volume`). Where
    tracers share halos, massive ones count more than once already, and mass weighs less (`companions`). Between the
    middles of bins, and beyond, weights go on in the logarithm of an object's place.

    Parameters
    ----------
    catalogue : Catalogue
    bias : float
        Of all objects, see `measure_clustering`.
    cosmology : Cosmology
    """
    if not ranked(catalogue):
        return Weighting(catalogue.weights, 1.0, np.full(len(catalogue), len(FRACTIONS) - 1))
    bins = measure_bins(catalogue, bias=bias, cosmology=cosmology)
    number_density = mean_density(catalogue)
    density = number_density * bins.fractions
    volume = halo_volume(bins.bias, cosmology=cosmology, redshift=catalogue.redshift)
    share = max(1 - companions(catalogue) / MOST_COMPANIONS, 0.0)
    at = np.log(bins.place)
    mass = _between(np.log(volume), bins.index, at)
    weights = _between(np.log(bin_weights(density, bins, volume, share=share)), bins.index, at)
    weights /= np.average(weights, weights=catalogue.weights)

    def summed(values: Float[np.ndarray, " n"]) -> float:
        return number_density * float(np.average(values, weights=catalogue.weights))

    of_bias, of_mass = summed(weights * bins.bias[bins.index]), summed(weights * mass)
    poisson = summed(weights**2 * bins.noise[bins.index])
    of_halos = of_bias * (of_bias * second_moment(cosmology, catalogue.redshift) - 2 * of_mass) / poisson
    noise = float(np.clip(1 + share * of_halos, *_NOISE_RANGE))
    weights = weights if catalogue.weights is None else weights * catalogue.weights
    return Weighting(weights, noise, bins.index)


def bin_weights(
    density: Float[np.ndarray, " bin"], bins: TracerBins, volume: Float[np.ndarray, " bin"], *, share: float
) -> Float[np.ndarray, " bin"]:
    """Return with what objects of bins weigh, so that their sum holds all that the bins hold of matter.

    Halos have not Poisson's noise, for all of them together are all of matter: that of bins i and j is

        noise_i delta_ij / n_i - b_i V_j - V_i b_j + b_i b_j S

    (Hamaus et al. 2010, PRD 82, 043515), with V the mass over the mean density. Its inverse times b weighs an object by

        (b + V sum(n b^2 / noise) / (1 - sum(n b V / noise))) / noise

    whatever S: the second moment of all halos.

    Parameters
    ----------
    density : (bin,)
        Objects of each bin [(h/Mpc)^3].
    bins : TracerBins
    volume : (bin,)
        That holds as much mass as a halo, at the mean density [(Mpc/h)^3].
    share : float
        Of what mass adds: 0 where tracers follow it by their number.
    """
    signal = float(np.sum(density * bins.bias**2 / bins.noise))
    held = float(np.sum(density * bins.bias * volume / bins.noise))
    return (bins.bias + share * signal / (1 - min(held, _MOST_MASS)) * volume) / bins.noise


def _between(
    of_bins: Float[np.ndarray, " bin"], index: Int[np.ndarray, " n"], at: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return exp of what bins have on average, read on straight lines between their middles and beyond."""
    middles = np.bincount(index, weights=at) / np.bincount(index)
    slopes = np.diff(of_bins) / np.diff(middles)
    found = np.interp(at, middles, of_bins)
    found += np.clip(slopes[0] * np.minimum(at - middles[0], 0), 0, np.log(_TOP))
    found += slopes[-1] * np.maximum(at - middles[-1], 0)
    return np.exp(found)


def ranked(catalogue: Catalogue) -> bool:
    """Whether a catalogue has masses, or whatever else ranks its objects, and enough of them to be told apart."""
    return catalogue.masses is not None and len(catalogue) >= FEWEST


def measure_bins(catalogue: Catalogue, *, bias: float, cosmology: Cosmology) -> TracerBins:
    """Cut a catalogue at fractions of its objects and measure bias and noise of each bin.

    The bias follows from the cross power of a bin with all objects over their own, both less the noise that the bin
    shares with them, at 0.03 < k < 0.2 h/Mpc in redshift space; before, that ratio is 1 to 50 %. The noise is
    what the power of the bin has above that of linear matter, at 0.15 < k < 0.4 h/Mpc.

    Parameters
    ----------
    catalogue : Catalogue
        With masses. A survey's objects are ranked among those at like distances.
    bias : float
        Of all objects.
    cosmology : Cosmology
    """
    place = places(catalogue)
    index = np.searchsorted(FRACTIONS, place)
    count = len(FRACTIONS)
    own = np.ones(len(catalogue)) if catalogue.weights is None else catalogue.weights
    fractions = np.bincount(index, weights=own, minlength=count) / np.sum(own)
    grid = sampling(catalogue, fine_cells(catalogue.box))
    box = grid.fourier
    total = to_fourier(overdensity(catalogue.positions, grid, weights=catalogue.weights)[0])
    shells = Shells.of(box, np.arange(_SIGNAL[0], min(_NOISE[1], 0.65 * box.k_nyquist) + _SHELL / 2, _SHELL))
    some = shells.modes > 0

    def mean(values: torch.Tensor) -> np.ndarray:
        return shells.mean(values)[some]

    cross, auto = np.empty((2, count, int(some.sum())))
    for one in range(count):
        chosen = index == one
        weights = None if catalogue.weights is None else catalogue.weights[chosen]
        modes = to_fourier(overdensity(catalogue.positions[chosen], grid, weights=weights)[0])
        auto[one] = mean(modes.abs().square_())
        cross[one] = mean(modes.mul_(total.conj()).real)
    seen = 1.0 if grid.covered is None else float(grid.covered.double().mean())
    cross, auto = cross.T / seen, auto.T / seen
    whole = cross @ fractions
    matter = mean(painted_power(box, cosmology=cosmology, redshift=catalogue.redshift)) * box.cell_count
    effective = np.bincount(index, weights=own**2, minlength=count) / np.bincount(index, weights=own) ** 2
    # A bin and all objects together share the objects of the bin.
    volume = catalogue.covered_volume / box.cell_size**3
    poisson = mean(painted_noise(box).expand(total.shape))[:, None] * volume * effective * box.cell_count
    k, number = shells.k[some], shells.modes[some] * seen / 2

    weight = np.where(k < _SIGNAL[1], number * matter / whole**2, 0.0)[:, None]
    shared = poisson * fractions
    reference = float((weight * (whole[:, None] - (shared @ fractions)[:, None])).sum())
    ratio = (weight * (cross - shared)).sum(axis=0) / max(reference, 1e-300)
    scatter = np.maximum(auto * whole[:, None] - cross**2, 0.0) / np.maximum(number, 1)[:, None]
    error = np.sqrt((weight**2 * scatter).sum(axis=0)) / max(reference, 1e-300)
    known = _SCATTER**2 / (_SCATTER**2 + error**2) if reference > 0 else np.zeros(count)
    growth = redshift_growth(catalogue, cosmology)
    # Kaiser 1987: the monopole of two kinds of tracers is b_1 b_2 + f (b_1 + b_2) / 3 + f^2 / 5.
    boosted = float(boosted_power(bias, growth)) * (1 + known * (ratio - 1))
    of_bins = (boosted - growth * bias / 3 - growth**2 / 5) / (bias + growth / 3)
    of_bins = np.clip(of_bins, 0.3 * bias, 5 * bias)

    signal = matter[:, None] * boosted_power(of_bins, growth)
    weight = np.where(k > _NOISE[0], number, 0.0)[:, None]
    excess = (weight * (auto - signal) / poisson).sum(axis=0) / max(float(weight.sum()), 1e-300)
    noise = np.clip(excess, *_NOISE_RANGE) if weight.any() else np.ones(count)
    return TracerBins(place, index, fractions, of_bins, noise)


def places(catalogue: Catalogue) -> Float[np.ndarray, " n"]:
    """Return which fraction of objects is more massive than each; in a survey of those in a shell of distances."""
    assert catalogue.masses is not None
    number = len(catalogue)
    shells = np.zeros(number, dtype=np.int64)
    if catalogue.completeness is not None and catalogue.observer is not None:
        count = min(max(number // SHELL_OBJECTS, 1), MOST_SHELLS)
        distance = np.linalg.norm(catalogue.positions - np.asarray(catalogue.observer), axis=1)
        shells = np.searchsorted(np.quantile(distance, np.linspace(0, 1, count + 1)[1:-1]), distance)
    order = ranks(catalogue.masses, catalogue.positions)
    place = np.empty(number)
    for shell in range(int(shells.max()) + 1):
        inside = np.flatnonzero(shells == shell)
        place[inside[np.argsort(order[inside])]] = (np.arange(len(inside)) + 0.5) / len(inside)
    return place
