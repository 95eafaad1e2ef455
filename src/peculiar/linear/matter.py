"""Linear theory from the matter density itself: the comparison of Wu et al. 2021."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peculiar.core import Field, InputError
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.linear.classical import linear_fields
from peculiar.linear.linear_theory import require_scales, smoothed_fourier

LARGEST_SMOOTHING = 8.0  # Mpc/h; far beyond what serves at any redshift


def linear_flow(density: Field, *, velocity_factor: float, smoothing: float = 0.0) -> dict[str, Field]:
    """Return the velocity of linear theory, and the momentum (1 + delta) v with the density as it is [km/s].

    v(k) = a H f i k / k^2 delta(k), delta smoothed by a Gaussian.

    Parameters
    ----------
    density : Field
        Overdensity of matter, one channel, periodic.
    velocity_factor : float
        a H f [km/s per Mpc/h].
    smoothing : float
        Gaussian radius [Mpc/h]; Wu et al. 2021 have none.

    Returns
    -------
    dict with "velocity" and "momentum".

    Raises
    ------
    InputError
        If the density has several channels or the smoothing is negative.

    Examples
    --------
    >>> import torch
    >>> from peculiar.core import Box
    >>> density = Field(torch.zeros(1, 8, 8, 8), Box(16.0, 8), ["density"])
    >>> linear_flow(density, velocity_factor=50.0)["velocity"].unit
    'km/s'
    """
    if density.data.shape[0] != 1:
        raise InputError(f"density must have one channel, got {density.data.shape[0]}")
    require_scales(smoothing, 1.0)
    delta = density.data
    delta_k = smoothed_fourier(delta[0], density.box, smoothing=smoothing, bias=1.0)
    shift = displacement_from_fourier(delta_k, density.box)
    fields = linear_fields(delta, velocity_factor * shift, density.box)
    return {name: fields[name] for name in ("velocity", "momentum")}


def tune_smoothing(pairs: Sequence[tuple[Field, Field]], *, velocity_factor: float) -> float:
    """Return the smoothing [Mpc/h] of least rms velocity error, to 0.01 Mpc/h.

    Parameters
    ----------
    pairs : sequence of (density, velocity)
        Overdensity of matter and its true velocity [km/s], boxes of one kind.
    velocity_factor : float
        a H f [km/s per Mpc/h].

    Raises
    ------
    InputError
        If there are no pairs.
    """
    from scipy.optimize import minimize_scalar

    if not pairs:
        raise InputError("pairs must hold at least one density with its velocity, got none")

    def error(smoothing: float) -> float:
        squares = []
        for density, velocity in pairs:
            predicted = linear_flow(density, velocity_factor=velocity_factor, smoothing=smoothing)["velocity"]
            squares.append(float((predicted.data - velocity.data).double().square().mean()))
        return float(np.mean(squares))

    found = minimize_scalar(error, bounds=(0.0, LARGEST_SMOOTHING), method="bounded", options={"xatol": 0.01})
    return round(float(found.x), 2)
