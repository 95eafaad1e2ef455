"""The Gaussian smoothing, and the bias, that fit how densely tracers sample the flow."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from peculiar.core import Cosmology, InputError

RADIUS_SHARE = 0.85
FLOW_SHARE = 0.95
"""Best radius and best bias of the flow over those of theory (`benchmarks/smoothing.py`)."""
_LEAST = 1.0
"""Radius [Mpc/h] of the mesh's own smoothing."""
_RADII = np.geomspace(0.3, 60.0, 200)
_WAVENUMBERS = np.geomspace(1e-3, 10.0, 400)


def best_smoothing(noise: float, *, bias: float, cosmology: Cosmology, redshift: float) -> float:
    """Return the Gaussian radius [Mpc/h] with which an iterative FFT has the least velocity error.

    With a window W = exp(-k^2 R^2 / 2), tracers whose power is b^2 P + N correlate best with the flow where

        (int dk W P T)^2 / int dk W^2 (P + N / b^2)

    is greatest. T = exp(-k / k_d) is how slowly matter falls in, for its density, on small scales (`slowness`).
    Distortions and the rest of non-linear motion
    make `RADIUS_SHARE` of that radius best, for halos and galaxies of 1e-4 to 3e-3 (h/Mpc)^3 at z = 0 to 1
    (`benchmarks/smoothing.py`).

    Parameters
    ----------
    noise : float
        Power N of the tracers that does not follow matter [(Mpc/h)^3], see `measure_clustering`.
    bias : float
        Of the tracers' clustering.
    cosmology : Cosmology
        Gives the linear power P(k).
    redshift : float

    Raises
    ------
    InputError
        If the noise or the bias is not positive.

    Examples
    --------
    >>> from peculiar.core import PRESETS
    >>> round(best_smoothing(1.1e4, bias=2.4, cosmology=PRESETS["xiao2024"], redshift=0.59), 1)
    5.7
    """
    return RADIUS_SHARE * theory_smoothing(noise, bias=bias, cosmology=cosmology, redshift=redshift)


def theory_smoothing(noise: float, *, bias: float, cosmology: Cosmology, redshift: float) -> float:
    """Return the radius [Mpc/h] of greatest correlation; parameters and errors as in `best_smoothing`."""
    observed, flow = _spectra(noise, bias=bias, cosmology=cosmology, redshift=redshift)
    window = _window(_RADII[:, None])
    correlation = _integral(window * flow) ** 2 / _integral(window**2 * observed)
    return float(_RADII[correlation.argmax()])


def flow_bias(smoothing: float, noise: float, *, bias: float, cosmology: Cosmology, redshift: float) -> float:
    """Return the bias by which smoothed tracers are divided for the flow of least error.

    Noise that a Gaussian lets in, and flows that are slower than linear ones, raise it above the bias of the
    clustering, in theory to

        b int dk W^2 (P + N / b^2) / int dk W P T

    of which `FLOW_SHARE` is best.

    Parameters
    ----------
    smoothing : float
        Gaussian radius of W [Mpc/h].
    noise, bias, cosmology, redshift
        And errors, as in `best_smoothing`.

    Examples
    --------
    >>> from peculiar.core import PRESETS
    >>> round(flow_bias(5.5, 1.1e4, bias=2.4, cosmology=PRESETS["xiao2024"], redshift=0.59), 1)
    2.9
    """
    observed, flow = _spectra(noise, bias=bias, cosmology=cosmology, redshift=redshift)
    window = _window(max(smoothing, _LEAST))
    return float(FLOW_SHARE * bias * _integral(window**2 * observed) / _integral(window * flow))


def _spectra(
    noise: float, *, bias: float, cosmology: Cosmology, redshift: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """P + N / b^2, and P T."""
    if not (noise > 0 and bias > 0):
        raise InputError(f"noise and bias must be > 0, got {noise:g} and {bias:g}")
    power = cosmology.linear_power(_WAVENUMBERS, redshift)
    return power + noise / bias**2, power * np.exp(-_WAVENUMBERS * slowness(cosmology, redshift))


def slowness(cosmology: Cosmology, redshift: float) -> float:
    """Return 1 / k_d [Mpc/h]: matter of small scales falls in by exp(-k / k_d) more slowly than its density says.

    1.496 sigma_8(z)^2 - 0.017 (Bel et al. 2019, A&A 622, A109).
    """
    return max(1.496 * (cosmology.sigma8 * cosmology.growth(redshift)) ** 2 - 0.017, 0.0)


def _window(radius: Float[np.ndarray, "radius 1"] | float) -> Float[np.ndarray, ...]:
    return np.asarray(np.exp(-((_WAVENUMBERS * radius) ** 2) / 2))


def _integral(values: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.trapezoid(values, _WAVENUMBERS, axis=-1))
