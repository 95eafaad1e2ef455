"""Luminosity functions of flux-limited samples, and the radial selection that follows from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import ConfigDict

from peculiar.catalogues.selection import RadialSelection
from peculiar.core import Cosmology, InputError

_STEP = 0.01  # magnitudes, of the grid on which luminosity functions are integrated
_FEWEST = 50
_MISSED = (
    0.05  # of the galaxies, which n(r) of a Schechter function may have at other distances than they are
)
_NOISE = 2.0  # over the root of their number: four times what noise alone makes of that fraction


@dataclass(frozen=True)
class FluxLimit:
    """What makes a flux-limited sample, and how its absolute magnitudes are computed.

    Absolute magnitudes are ``M = m - 5 log10(d_L) - 25 - K(z) + E(z)`` with the luminosity distance d_L in Mpc/h, so
    that they stand for M - 5 log10(h), ``K(z) = k_correction * z`` and ``E(z) = evolution * z`` (galaxies were
    brighter).

    Parameters
    ----------
    faintest : float
        Apparent magnitude to which the sample is complete.
    absolute : (2,)
        Brightest and faintest absolute magnitude of the galaxies that are used. A fainter end takes more galaxies near
        the observer and changes nothing far away.
    k_correction, evolution : float [magnitudes per unit redshift]

    Raises
    ------
    InputError
        If the absolute magnitudes are not in order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # survey files are checked with it

    faintest: float
    absolute: tuple[float, float] = (-24.0, -17.0)
    k_correction: float = 0.0
    evolution: float = 0.0

    def __post_init__(self) -> None:
        if not self.absolute[0] < self.absolute[1]:
            raise InputError(
                f"absolute must be the brightest and the faintest magnitude, in this order, got {self.absolute}"
            )

    def offset(self, redshift: Float[np.ndarray, " n"], *, cosmology: Cosmology) -> Float[np.ndarray, " n"]:
        """Return m - M at cosmological redshifts."""
        redshift = np.asarray(redshift, dtype=np.float64)
        luminosity_distance = (1 + redshift) * cosmology.comoving_distance(redshift)
        modulus = 5 * np.log10(np.maximum(luminosity_distance, 1e-10)) + 25
        return modulus + (self.k_correction - self.evolution) * redshift

    def faint_end(
        self, redshift: Float[np.ndarray, " n"], *, cosmology: Cosmology
    ) -> Float[np.ndarray, " n"]:
        """Return the faintest absolute magnitude in the sample at each redshift."""
        return np.minimum(self.faintest - self.offset(redshift, cosmology=cosmology), self.absolute[1])


@dataclass(frozen=True)
class Schechter:
    """Shape of a luminosity function (Schechter 1976, ApJ 203, 297), with the errors of its fit.

    phi(M) is proportional to x^(alpha + 1) exp(-x), x = 10^(0.4 (M_star - M)).

    Parameters
    ----------
    M_star : float
        Characteristic absolute magnitude, M - 5 log10(h).
    alpha : float
        Slope of the faint end.
    errors : (2,)
        Standard errors of `M_star` and `alpha`; NaN where it was not fitted.
    """

    M_star: float
    alpha: float
    errors: tuple[float, float] = (float("nan"), float("nan"))

    def integral(
        self, bright: float, faint: Float[np.ndarray, "..."], *, luminosity: bool = False
    ) -> Float[np.ndarray, "..."]:
        """Return the integral of phi over magnitudes from `bright` to each of `faint`, in units of phi_star.

        With `luminosity` each magnitude counts with its luminosity over that of `M_star`. 0 where `faint` is the
        brighter one.
        """
        faint = np.asarray(faint, dtype=np.float64)
        end = float(np.max(faint, initial=bright + 1.0))
        grid = np.linspace(bright, end, max(int((end - bright) / _STEP), 64))
        x = 10 ** (0.4 * (self.M_star - grid))
        phi = 0.4 * np.log(10) * x ** (self.alpha + 1 + luminosity) * np.exp(-x)
        total = np.concatenate([[0.0], np.cumsum((phi[1:] + phi[:-1]) / 2) * (grid[1] - grid[0])])
        return np.interp(faint, grid, total, left=0.0)


def fit_schechter(
    magnitudes: Float[np.ndarray, " n"],
    faint_ends: Float[np.ndarray, " n"],
    *,
    bright_end: float,
    weights: Float[np.ndarray, " n"] | None = None,
) -> Schechter:
    """Fit a Schechter function by the maximum likelihood of Sandage, Tammann & Yahil (1979, ApJ 232, 352).

    The probability of a galaxy's magnitude given its redshift is phi(M) over the integral of phi to the faintest
    magnitude that could be seen there: the density along the line of sight drops out, and with it all structure.

    Parameters
    ----------
    magnitudes : (n,)
        Absolute, see `FluxLimit`.
    faint_ends : (n,)
        Faintest absolute magnitude in the sample at each galaxy's redshift.
    bright_end : float
        Brightest absolute magnitude of the sample.
    weights : (n,), optional
        Of each galaxy's logarithm of the probability. Errors are those of unit weights on average.

    Raises
    ------
    InputError
        If there are fewer than 50 galaxies, some lie beyond the limits, or the magnitudes hold no knee to be fitted.
    """
    from scipy.optimize import minimize

    magnitudes, faint_ends = np.asarray(magnitudes, np.float64), np.asarray(faint_ends, np.float64)
    if len(magnitudes) < _FEWEST:
        raise InputError(
            f"a luminosity function needs at least {_FEWEST} galaxies with magnitudes within the limits, got "
            f"{len(magnitudes)}: check the magnitude limit and the absolute magnitudes"
        )
    beyond = (magnitudes > faint_ends) | (magnitudes < bright_end)
    if beyond.any():
        raise InputError(
            f"magnitudes must lie within the limits, got {int(beyond.sum())} beyond: leave them out"
        )
    each = np.ones(len(magnitudes)) if weights is None else np.asarray(weights, np.float64)
    each = each / each.mean()

    def negative(parameters: Float[np.ndarray, " 2"]) -> float:
        shape = Schechter(float(parameters[0]), float(parameters[1]))
        exponent = 0.4 * np.log(10) * (shape.M_star - magnitudes)
        log_phi = (shape.alpha + 1) * exponent - np.exp(exponent)
        # Far from the maximum nothing may be left of the integral.
        norm = np.maximum(shape.integral(bright_end, faint_ends), 1e-300)
        return float(-(each * (log_phi - np.log(norm))).sum())

    start = np.array([np.quantile(magnitudes, 0.3), -1.0])
    bounds = [(bright_end - 1, float(faint_ends.max()) + 1), (-2.5, 1.5)]
    found = minimize(
        negative, start, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-4, "fatol": 1e-3}
    )
    curvature = _hessian(negative, found.x, step=np.array([0.02, 0.02]))
    determinant = float(np.linalg.det(curvature))
    at_edge = any(
        min(value - low, high - value) < 1e-3 for value, (low, high) in zip(found.x, bounds, strict=True)
    )
    if at_edge or not (determinant > 0 and curvature[0, 0] > 0):
        raise InputError(
            f"magnitudes must tell M_star and alpha, got a best fit of {found.x[0]:.2f} and {found.x[1]:.2f} at the "
            "edge of what is possible: take a wider range of absolute magnitudes, or radial = 'measured'"
        )
    errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    return Schechter(float(found.x[0]), float(found.x[1]), (float(errors[0]), float(errors[1])))


def cumulative_luminosity_function(
    magnitudes: Float[np.ndarray, " n"], faint_ends: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the cumulative luminosity function without a model, by the C- method of Lynden-Bell (1971, MNRAS 155, 95).

    Of the C(M) galaxies brighter than M that would be in the sample if they had magnitude M, one more makes
    Phi grow by (C + 1) / C. Structure along the line of sight drops out here too.

    Returns
    -------
    (n,), (n,), (n,)
        Magnitudes in order, ln Phi(<= M) with 0 at the faintest, and its standard error.
    """
    order = np.argsort(magnitudes, kind="stable")
    ordered = np.asarray(magnitudes, np.float64)[order]
    limits = np.sort(np.asarray(faint_ends, np.float64))
    # A galaxy whose limit is brighter than M is itself brighter than M.
    brighter = np.arange(len(ordered)) - np.searchsorted(limits, ordered, side="left")
    comparable = np.maximum(brighter, 1)
    growth = np.log1p(1 / comparable)
    variance = 1 / (comparable * (comparable + 1.0))
    return (
        ordered,
        -np.concatenate([np.cumsum(growth[:0:-1])[::-1], [0.0]]),
        np.sqrt(np.concatenate([np.cumsum(variance[:0:-1])[::-1], [0.0]])),
    )


def missed_fraction(
    shape: Schechter,
    limit: FluxLimit,
    magnitudes: Float[np.ndarray, " n"],
    faint_ends: Float[np.ndarray, " n"],
    *,
    cosmology: Cosmology,
    distance_range: tuple[float, float],
) -> float:
    """Return the fraction of the galaxies that n(r) of a Schechter function has at other distances than they are.

    Half the integral of |n - n'| over the volume, where n' follows from the C- estimate without a model and both have
    one integral. The noise of the estimate alone makes about 0.5 / sqrt(n) of it.
    """
    ordered, logarithm, _ = cumulative_luminosity_function(magnitudes, faint_ends)
    distance = np.linspace(*distance_range, 513)
    faint = limit.faint_end(cosmology.redshift_at(distance), cosmology=cosmology)
    model = shape.integral(limit.absolute[0], faint) * distance**2
    free = np.exp(np.interp(faint, ordered, logarithm, left=-np.inf)) * distance**2
    return float(np.abs(model / model.sum() - free / free.sum()).sum() / 2)


def selection_from_luminosity(
    shape: Schechter,
    limit: FluxLimit,
    *,
    cosmology: Cosmology,
    distance_range: tuple[float, float],
    solid_angle: float,
    total: float,
) -> RadialSelection:
    """Return the n(r) of a flux-limited sample: the luminosity function down to the faintest magnitude seen at r.

    Parameters
    ----------
    shape, limit
        The luminosity function, and what is seen of it.
    cosmology : Cosmology
        Gives the distances.
    distance_range : (2,) [Mpc/h]
        Limits of the sample.
    solid_angle : float
        Area of the survey, weighted with the completeness [steradian].
    total : float
        Weighted number of galaxies within the limits: it sets the amplitude (Davis & Huchra 1982, ApJ 254, 437, their
        n_3), which the fit leaves free.

    Raises
    ------
    InputError
        If no galaxy could be seen in the range.
    """
    low, high = distance_range
    distance = np.linspace(low, high, 513)
    redshift = cosmology.redshift_at(distance)
    bright, _ = limit.absolute
    density = shape.integral(bright, limit.faint_end(redshift, cosmology=cosmology))
    volume = solid_angle * np.trapezoid(density * distance**2, distance)
    if not volume > 0:
        raise InputError(
            f"a sample to magnitude {limit.faintest:g} must reach {low:.4g} Mpc/h, got no absolute magnitude from "
            f"{bright:g} on that is seen there: check the magnitude limit"
        )
    return RadialSelection(distance, density * total / volume)


def _hessian(
    function: object, point: Float[np.ndarray, " 2"], *, step: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "2 2"]:
    """Second derivatives by central differences."""
    assert callable(function)
    moves = np.diag(step)
    result = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            values = [
                function(point + first * moves[i] + second * moves[j])
                for first in (1, -1)
                for second in (1, -1)
            ]
            result[i, j] = (values[0] - values[1] - values[2] + values[3]) / (4 * step[i] * step[j])
    return result


def refuse_fainter(magnitudes: Float[np.ndarray, " n"], limit: FluxLimit) -> None:
    """Refuse a magnitude limit that the sample does not have."""
    fainter = int((magnitudes > limit.faintest).sum())
    if fainter > 0.5 * len(magnitudes):
        raise InputError(
            f"flux_limit.faintest must be the magnitude to which the sample is complete, got {limit.faintest:g} with "
            f"{fainter} of {len(magnitudes)} objects fainter: check the limit, the band and the column"
        )
    brightest = float(magnitudes.min())
    if float(np.quantile(magnitudes, 0.999)) < limit.faintest - 0.5:
        raise InputError(
            f"flux_limit.faintest must be the magnitude to which the sample is complete, got {limit.faintest:g} for "
            f"magnitudes from {brightest:.4g} to {magnitudes.max():.4g}: take the sample's own limit, or radial = "
            "'flat' if it is volume-limited"
        )


def luminosity_function_of(
    given: Schechter | None,
    limit: FluxLimit,
    absolute: Float[np.ndarray, " n"],
    faint: Float[np.ndarray, " n"],
    *,
    weights: Float[np.ndarray, " n"] | None,
    cosmology: Cosmology,
    limits: tuple[float, float],
) -> Schechter:
    """Return or fit the luminosity function, and warn where its n(r) is not that of the estimate without a model."""
    shape = given or fit_schechter(absolute, faint, bright_end=limit.absolute[0], weights=weights)
    missed = missed_fraction(shape, limit, absolute, faint, cosmology=cosmology, distance_range=limits)
    if missed > max(_MISSED, _NOISE / np.sqrt(len(absolute))):
        warnings.warn(
            f"n(r) of the Schechter function (M* {shape.M_star:.2f}, alpha {shape.alpha:.2f}) has {missed:.0%} "
            "of the galaxies at other distances than the luminosity function without a model (C-): check the magnitude "
            "limit, or narrow the absolute magnitudes",
            stacklevel=3,
        )
    return shape
