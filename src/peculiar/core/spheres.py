"""How much linear matter scatters in spheres that hold a mass on average: what halos of that mass grow from."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from peculiar.core.cosmology import CRITICAL_DENSITY, Cosmology

HEAVIEST = 2e16
"""Mass of the largest spheres [Msun/h]."""


class Spheres(NamedTuple):
    """ln of masses [Msun/h], of the rms of the linear density of today in spheres of them, and the latter's slope."""

    log_mass: Float[np.ndarray, " m"]
    log_sigma: Float[np.ndarray, " m"]
    slope: Float[np.ndarray, " m"]


@lru_cache(maxsize=64)
def spheres(cosmology: Cosmology) -> Spheres:
    """Return the rms of the linear density of today in spheres, by the mass that they hold on average."""
    k = np.geomspace(1e-4, 49, 1500)
    power = cosmology.linear_power(k) * k**3 / (2 * np.pi**2)
    log_mass = np.linspace(np.log(1e10), np.log(HEAVIEST), 120)
    radius = np.cbrt(3 * np.exp(log_mass) / (4 * np.pi * CRITICAL_DENSITY * cosmology.Omega_m))
    x = np.maximum(k * radius[:, None], 1e-2)
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    log_sigma = np.log(np.trapezoid(power * window**2, np.log(k), axis=1)) / 2
    return Spheres(log_mass, log_sigma, np.gradient(log_sigma, log_mass))


def log_sigma(
    mass: Float[np.ndarray, ...] | float, cosmology: Cosmology, redshift: float
) -> Float[np.ndarray, ...]:
    """Return ln of the rms of the linear density in spheres that hold a mass [Msun/h], at a redshift."""
    found = spheres(cosmology)
    return np.interp(np.log(mass), found.log_mass, found.log_sigma) + np.log(cosmology.growth(redshift))
