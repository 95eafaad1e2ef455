"""The transfer function that makes a network's density unbiased in power, fitted on validation boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.statistics.power import compare_power

LARGEST_K = 0.6
"""Beyond this wavenumber [h/Mpc] the factor stays what it is there: what a network does not see is not made up."""
FEWEST_MODES = 500
"""Modes, over all meshes, that a bin holds at least."""


def fit_transfer(
    predicted: Sequence[Field], truth: Sequence[Field]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit T(k) = sqrt(P_true / P_predicted), with which T(k) delta(k) has the true power on average.

    A least-square density has the power r(k)^2 P_true; this takes it back without changing r(k).

    Parameters
    ----------
    predicted, truth : sequence of Field
        Overdensities of validation boxes, one to one.

    Returns
    -------
    k, transfer : tuples of float
        Wavenumbers, rising [h/Mpc], and factors.

    Raises
    ------
    InputError
        If the fields are not one to one, or have no power.
    """
    if not predicted or len(predicted) != len(truth):
        raise InputError(f"predicted and truth must be one to one, got {len(predicted)} and {len(truth)}")
    spectra = [compare_power(a, b) for a, b in zip(predicted, truth, strict=True)]
    k, modes = spectra[0].k, spectra[0].truth.modes
    powers = np.stack([(s.predicted.power, s.truth.power) for s in spectra]).mean(axis=0) * modes
    use = k <= max(LARGEST_K, k[0])
    # Neighbouring bins are put together until they hold enough modes for a smooth curve.
    group = np.floor((np.cumsum(modes[use]) - modes[use]) * len(spectra) / FEWEST_MODES).astype(int)
    found, true = (np.bincount(group, weights=power[use]) for power in powers)
    count, total_k = np.bincount(group, weights=modes[use]), np.bincount(group, weights=(k * modes)[use])
    filled = count > 0
    transfer = np.sqrt(true[filled] / found[filled])
    return tuple(map(float, total_k[filled] / count[filled])), tuple(map(float, transfer))
