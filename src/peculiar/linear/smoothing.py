"""The Gaussian smoothing, and the bias, that fit how densely tracers sample the flow."""

from __future__ import annotations

import numpy as np

from peculiar.core import Cosmology, InputError

NOISE_SHARE = 0.7
NONLINEAR = 2.3
"""Share of linear theory's radius, and the radius [Mpc/h] below which tracers do not follow linear theory."""
FLOW_BIAS = (1.0, 0.03)
"""Best bias of the flow over that of the clustering, and how it rises with linear theory's radius [per Mpc/h].

On small scales matter falls in more slowly than linear theory has it, and a Gaussian damps noisy waves too little."""
_RADII = np.geomspace(0.3, 60.0, 200)
_WAVENUMBERS = np.geomspace(1e-3, 10.0, 400)


def best_settings(
    number_density: float, *, bias: float, cosmology: Cosmology, redshift: float
) -> tuple[float, float]:
    """Return the Gaussian radius [Mpc/h] and the bias with which an iterative FFT has the least velocity error.

    R^2 = (`NOISE_SHARE` R_lin)^2 + `NONLINEAR`^2, with linear theory's radius R_lin (`linear_smoothing`); the bias of
    the tracers' clustering is multiplied by a number near 1 (`FLOW_BIAS`). All four numbers are the best of halos and
    galaxies of 1e-4 to 6e-3 (h/Mpc)^3, ranked and thinned, at z = 0 to 1 (`benchmarks/smoothing.py`).

    Parameters
    ----------
    number_density : float
        Of the tracers [(h/Mpc)^3].
    bias : float
        Of the tracers' clustering.
    cosmology : Cosmology
        Gives the linear power P(k).
    redshift : float

    Raises
    ------
    InputError
        If the density or the bias is not positive.

    Examples
    --------
    >>> from peculiar.core import PRESETS
    >>> smoothing, flow_bias = best_settings(1e-4, bias=2.4, cosmology=PRESETS["xiao2024"], redshift=0.59)
    >>> round(smoothing, 1), round(flow_bias, 1)
    (5.5, 2.9)
    """
    radius = linear_smoothing(number_density, bias=bias, cosmology=cosmology, redshift=redshift)
    least, slope = FLOW_BIAS
    return float(np.hypot(NOISE_SHARE * radius, NONLINEAR)), bias * (least + slope * radius)


def linear_smoothing(number_density: float, *, bias: float, cosmology: Cosmology, redshift: float) -> float:
    """Return the radius [Mpc/h] of least velocity error in linear theory.

    With a window W = exp(-k^2 R^2 / 2), the velocity's variance that is lost and the shot noise that is let in are
    proportional to

        int dk [(1 - W)^2 P(k) + W^2 / (n b^2)]

    Parameters and errors as in `best_settings`.
    """
    if not (number_density > 0 and bias > 0):
        raise InputError(f"number_density and bias must be > 0, got {number_density:g} and {bias:g}")
    power = cosmology.linear_power(_WAVENUMBERS, redshift)
    window = np.exp(-((_WAVENUMBERS * _RADII[:, None]) ** 2) / 2)
    error = (1 - window) ** 2 * power + window**2 / (number_density * bias**2)
    return float(_RADII[np.trapezoid(error, _WAVENUMBERS, axis=1).argmin()])
