"""What halos of a bias weigh, and how many tracers share one: what the clustering of tracers says of mass."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from peculiar.core import Catalogue, Cosmology
from peculiar.core.cosmology import CRITICAL_DENSITY
from peculiar.core.kept import kept
from peculiar.core.spheres import log_sigma
from peculiar.fields.neighbours import close_pairs
from peculiar.linear.overdensity import mean_density

COLLAPSE = 1.686
"""Linear overdensity of matter that collapses."""
OF_ONE_HALO = (1.0, 8.0)
"""Separation across and along the line of sight within which tracers may share a halo [Mpc/h]."""
NEIGHBOURS = (0.25, 1.35)
"""Excess of neighbours that halos of 3e-3 (h/Mpc)^3 have of their own, each its halo, and its power of the density."""
MOST_COMPANIONS = 0.35
"""Above that many companions of a tracer the share of mass in its weight is none."""
_MOST = 50_000
"""Objects whose neighbours are counted."""
_LOG_MASS = np.linspace(9, 16.3, 400) * np.log(10)


def halo_bias(peak: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """Return the large-scale bias of halos, eq. 6 and table 2 of Tinker et al. 2010, for 200 times the mean density.

    Parameters
    ----------
    peak : array
        nu = 1.686 / sigma(M, z).
    """
    y = np.log10(200.0)
    near = np.exp(-((4 / y) ** 4))
    a_big, a = 1 + 0.24 * y * near, 0.44 * y - 0.88
    c_big = 0.019 + 0.107 * y + 0.19 * near
    return 1 - a_big * peak**a / (peak**a + COLLAPSE**a) + 0.183 * peak**1.5 + c_big * peak**2.4


def multiplicity(log_inverse: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """Return the share of matter in friends-of-friends halos per ln(1 / sigma), of it: Jenkins et al. 2001, eq. 9."""
    return 0.315 * np.exp(-(np.abs(log_inverse + 0.61) ** 3.8))


def second_moment(cosmology: Cosmology, redshift: float) -> float:
    """Return the sum of the squares of the volumes that halos hold at the mean density, per volume [(Mpc/h)^3].

    Halos are as many as `multiplicity` says.

    Examples
    --------
    >>> from peculiar.core import PRESETS
    >>> round(second_moment(PRESETS["xiao2024"], 0.59), -1)
    120.0
    """
    log_inverse = -log_sigma(np.exp(_LOG_MASS), cosmology, redshift)
    share = multiplicity(log_inverse) * np.gradient(log_inverse, _LOG_MASS)
    volume = np.exp(_LOG_MASS) / (CRITICAL_DENSITY * cosmology.Omega_m)
    return float(np.trapezoid(share * volume, _LOG_MASS))


def halo_volume(
    bias: Float[np.ndarray, ...], *, cosmology: Cosmology, redshift: float
) -> Float[np.ndarray, ...]:
    """Return the volume [(Mpc/h)^3] that holds, at the mean density, as much mass as halos of a bias (`halo_bias`).

    Examples
    --------
    >>> from peculiar.core import PRESETS
    >>> halo_volume(np.array([1.0, 2.0, 3.0]), cosmology=PRESETS["xiao2024"], redshift=0.59).round(-1)
    array([ 10., 280., 930.])
    """
    peak = COLLAPSE / np.exp(log_sigma(np.exp(_LOG_MASS), cosmology, redshift))
    found = halo_bias(peak)
    rising = np.arange(len(found)) >= found.argmin()
    mass = np.exp(np.interp(bias, found[rising], _LOG_MASS[rising]))
    return mass / (CRITICAL_DENSITY * cosmology.Omega_m)


@kept
def companions(catalogue: Catalogue) -> float:
    """Return how many others share the halo of an object, as far as close pairs say.

    Pairs nearer than `OF_ONE_HALO` are counted, less those that the pairs at two to four times that separation across
    the line of sight let expect, and less what halos have of their own (`NEIGHBOURS`).

    Parameters
    ----------
    catalogue : Catalogue
        Of many objects those about their middle count.
    """
    chosen = _about_the_middle(catalogue)
    positions = catalogue.positions[chosen]
    across, along = OF_ONE_HALO
    pairs = close_pairs(positions, max(4 * across, along))
    apart = positions[pairs[:, 0]] - positions[pairs[:, 1]]
    sight = catalogue.sight_lines((positions[pairs[:, 0]] + positions[pairs[:, 1]]) / 2)
    parallel = np.einsum("ij,ij->i", apart, sight)
    square = np.einsum("ij,ij->i", apart, apart) - parallel**2
    depth = (parallel / along) ** 2

    def within(factor: float) -> float:
        return 2 * float(np.count_nonzero(square / (factor * across) ** 2 + depth < 1)) / len(positions)

    expected = (within(4) - within(2)) / (4**2 - 2**2)
    amplitude, power = NEIGHBOURS
    own = amplitude * (mean_density(catalogue) / 3e-3) ** power
    return max(within(1) - expected - own, 0.0)


def _about_the_middle(catalogue: Catalogue) -> Int[np.ndarray, " some"]:
    positions = catalogue.positions
    if len(positions) <= _MOST:
        return np.arange(len(positions))
    apart = np.square(positions - positions.mean(axis=0)).sum(axis=1)
    return np.argpartition(apart, _MOST)[:_MOST]
