"""How many halos of which mass there are in any cosmology at any epoch, fitted to simulated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from peculiar.core.cosmology import CRITICAL_DENSITY, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.spheres import HEAVIEST, log_sigma, spheres

if TYPE_CHECKING:
    from peculiar.simulate.mocks import SimulatedBox

NOTHING = 1e-12
"""Halos per (Mpc/h)^3 where there are none: their logarithm is finite."""
_POINTS = 400
_INTERVALS = 60  # of particle numbers, in which halos are counted for a fit
_UNKNOWN = 0.02  # relative error of the form itself
_LEAST = 100  # halos
_FREE = 0.5  # by which few halos may move the parameters from the start
_START = {
    "amplitude": -1.5,
    "slope": 1.7,
    "scale": -0.8,
    "cutoff": 1.15,
    "matter": -0.1,
    "lost": 1.5,
    "fading": 0.3,
    "tilt": -0.1,
    "excess": 1.7,
}


class MassFunction(BaseModel):
    """Number density of friends-of-friends halos, as simulations hold them whose particles stand `spacing` apart.

    With sigma the rms linear density in spheres that hold the mass, at the redshift, and N the halo's particles,

        dn/dlnM = f rho / M |dln sigma / dlnM| (1 - lost N^-fading (1 + tilt ln sigma)),
        f = exp(amplitude + matter (Omega_m(z) - 1/2)) [(exp(scale) sigma)^-slope + 1] exp(-cutoff / sigma^2):

    the form of Tinker et al. 2008, near which friends-of-friends halos lie in all cosmologies and epochs, for a mass
    that is (1 - excess N^-0.6) of the one found (Warren et al. 2006), less the light halos that a mesh of forces loses.

    Examples
    --------
    >>> form = {"amplitude": -1.5, "slope": 1.7, "scale": -0.8, "cutoff": 1.15, "matter": -0.1}
    >>> resolution = {"lost": 1.5, "fading": 0.3, "tilt": -0.1, "excess": 1.7, "spacing": 0.88, "fewest": 12}
    >>> MassFunction(**form, **resolution).density((1e13, 1e14, 1e15), Cosmology(), 0.0).round(7).tolist()
    [0.000401, 3.16e-05]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    amplitude: float
    slope: float
    scale: float
    cutoff: float
    matter: float
    lost: float
    fading: float
    tilt: float
    excess: float
    spacing: float = Setting(
        gt=0, description="of particles, in the simulations whose halos are meant [Mpc/h]"
    )
    fewest: int = Setting(gt=0, description="particles of a halo")

    @classmethod
    def fitted(cls, boxes: Sequence[SimulatedBox]) -> Self:
        """Fit the form to the halos of boxes of any size, resolution, cosmology and redshift, by their likelihood.

        `spacing` becomes the smallest of theirs.

        Raises
        ------
        InputError
            If boxes are painted, or hold fewer halos than the form needs.
        """
        from scipy.optimize import least_squares

        spacings = [box.box.side / box.particles for box in boxes]
        fewest = min(int(box.halos.counts.min()) for box in boxes if len(box.halos)) if boxes else 1
        edges = np.unique(np.round(np.geomspace(fewest, 1e6, _INTERVALS))) - 0.5
        true = np.stack([np.histogram(box.halos.counts, edges)[0] for box in boxes]) if boxes else np.zeros(1)
        if true.sum() < _LEAST:
            raise InputError(
                f"boxes must hold at least {_LEAST} halos for a mass function, got {int(true.sum())}: simulate more or "
                "larger ones"
            )

        resolved: dict[str, Any] = {"spacing": min(spacings), "fewest": fewest}

        def deviances(values: Float[np.ndarray, " value"]) -> Float[np.ndarray, " one"]:
            form = cls(**dict(zip(_START, values.tolist(), strict=True)), **resolved)
            expected = np.stack(
                [
                    form._in_intervals(edges, box.cosmology, box.redshift, spacing) * box.box.volume
                    for box, spacing in zip(boxes, spacings, strict=True)
                ]
            )
            excess = true - expected
            surprise = np.maximum(true * np.log(np.maximum(true, 1) / expected) - excess, 0)
            off = np.sign(excess) * np.sqrt(2 * surprise / (1 + _UNKNOWN**2 * expected))
            return np.append(off.ravel(), (values - start) / _FREE)

        start = np.array(list(_START.values()))
        found = least_squares(deviances, start, x_scale=0.1, max_nfev=200).x
        return cls(**dict(zip(_START, found.round(5).tolist(), strict=True)), **resolved)

    def density(
        self,
        mass_edges: Sequence[float],
        cosmology: Cosmology,
        redshift: float,
        *,
        spacing: float | None = None,
    ) -> Float[np.ndarray, " bin"]:
        """Return the number density of halos in bins of mass [(h/Mpc)^3].

        Parameters
        ----------
        mass_edges : sequence of float
            Edges of the bins [Msun/h]. Masses are whole numbers of particles, as in simulations.
        cosmology : Cosmology
        redshift : float
        spacing : float, optional
            Of other simulations [Mpc/h]. Default: its own.
        """
        grid, above, particle = self._above(cosmology, redshift, spacing)
        numbers = np.maximum(np.ceil(np.asarray(mass_edges) / particle), self.fewest) - 0.5
        found = np.interp(np.log(numbers), grid, above)
        return np.maximum(found[:-1] - found[1:], 0.0)

    def mass_quantiles(
        self, mass_edges: Sequence[float], cosmology: Cosmology, redshift: float, *, steps: int
    ) -> tuple[tuple[float, ...], ...]:
        """Return masses [Msun/h] at equal steps of the cumulative distribution of each bin."""
        grid, above, particle = self._above(cosmology, redshift, None)
        bins = []
        for low, high in pairwise(mass_edges):
            log = np.linspace(np.log(low), np.log(high), 200)
            # A bin that is not resolved has no distribution: any will do.
            n = np.interp(log - np.log(particle), grid, above) * (1 - 1e-6 * np.linspace(0, 1, 200))
            # Nor has the last one an end: what is drawn beyond it is left out.
            shares = n[0] + (n[-1] - n[0]) * np.append(np.linspace(0, 1, steps)[:-1], 1 - 0.1 / steps)
            bins.append(tuple(np.exp(np.interp(-shares, -n, log)).tolist()))
        return tuple(bins)

    def _above(
        self, cosmology: Cosmology, redshift: float, spacing: float | None
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], float]:
        """Return ln N, the density of halos of more particles, and the mass of one [Msun/h]."""
        spacing = self.spacing if spacing is None else spacing
        particle = CRITICAL_DENSITY * cosmology.Omega_m * spacing**3
        last = max(HEAVIEST / particle, 2.0 * self.fewest)
        edges = np.geomspace(self.fewest - 0.5, last, _POINTS)
        inside = self._in_intervals(edges, cosmology, redshift, spacing)
        return np.log(edges), np.append(inside[::-1].cumsum()[::-1], 0.0), particle

    def _in_intervals(
        self, edges: Float[np.ndarray, " edge"], cosmology: Cosmology, redshift: float, spacing: float
    ) -> Float[np.ndarray, " interval"]:
        """Integrate over intervals of particle numbers by Simpson's rule [(h/Mpc)^3]."""
        ends = np.log(edges)
        middles = (ends[1:] + ends[:-1]) / 2
        at_ends, at_middles = (self._slope(ln, cosmology, redshift, spacing) for ln in (ends, middles))
        found = (at_ends[1:] + at_ends[:-1] + 4 * at_middles) / 6 * np.diff(ends)
        return np.maximum(found, NOTHING)

    def _slope(
        self, log_number: Float[np.ndarray, " n"], cosmology: Cosmology, redshift: float, spacing: float
    ) -> Float[np.ndarray, " n"]:
        """dn / dlnN."""
        mean = CRITICAL_DENSITY * cosmology.Omega_m
        excess = self.excess * np.exp(-0.6 * log_number)
        true = np.maximum(1 - excess, 0.05)
        log_mass = log_number + np.log(mean * spacing**3) + np.log(true)
        log_rms = log_sigma(np.exp(log_mass), cosmology, redshift)
        found = spheres(cosmology)
        falling = -np.interp(log_mass, found.log_mass, found.slope)
        # Limits keep a fit that has gone astray finite.
        lost = self.lost * np.exp(-self.fading * log_number) * (1 + self.tilt * log_rms)
        form = self.amplitude + self.matter * (cosmology.matter_share(redshift) - 0.5)
        form = form - self.cutoff * np.exp(-2 * log_rms)
        form = form + np.log1p(np.exp(np.clip(-self.slope * (self.scale + log_rms), -50, 50)))
        per_found = 1 + 0.6 * excess / true  # dlnM / dlnN
        f = np.exp(np.clip(form, -100, 50)) * np.maximum(1 - lost, 1e-3)
        return f * mean / np.exp(log_mass) * falling * per_found
