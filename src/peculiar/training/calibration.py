"""Transfer functions that make a network's fields unbiased in power, fitted on validation boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.statistics.power import compare_power, helmholtz_power

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
    shells = [(s.k, s.truth.modes, np.array([[s.predicted.power, s.truth.power]])) for s in spectra]
    k, (transfer,) = _transfers(shells, largest=LARGEST_K)
    return k, transfer


def fit_vector_transfer(
    predicted: Sequence[Field], truth: Sequence[Field]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Fit the same for both Helmholtz parts of a vector, to the mesh's Nyquist wavenumber.

    Returns
    -------
    k, potential, rotational : tuples of float
        Wavenumbers, rising [h/Mpc], and factors of the parts along and across k.

    Raises
    ------
    InputError
        If the fields are not one to one, or no vectors.
    """
    if not predicted or len(predicted) != len(truth):
        raise InputError(f"predicted and truth must be one to one, got {len(predicted)} and {len(truth)}")
    found, true = ([helmholtz_power(field) for field in fields] for fields in (predicted, truth))
    shells = [
        (
            b.total.k,
            b.total.modes,
            np.array(
                [(getattr(a, part).power, getattr(b, part).power) for part in ("potential", "rotational")]
            ),
        )
        for a, b in zip(found, true, strict=True)
    ]
    k, (potential, rotational) = _transfers(shells, largest=np.inf)
    return k, potential, rotational


def _transfers(
    shells: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], *, largest: float
) -> tuple[tuple[float, ...], list[tuple[float, ...]]]:
    """Factors in groups of shells, from (k, modes, powers (part, predicted or true, k)) of boxes of any size."""
    k, modes = (np.concatenate([one[i] for one in shells]) for i in (0, 1))
    powers = np.concatenate([power * count for _, count, power in shells], axis=-1)
    use = (k <= max(largest, k.min())) & (modes > 0)
    # Shells of equal k, and then neighbouring ones, are put together until they hold enough modes for a smooth curve.
    each, place = np.unique(np.round(k[use], 9), return_inverse=True)
    total = np.bincount(place, weights=modes[use], minlength=len(each))
    group = np.floor((np.cumsum(total) - total) / FEWEST_MODES).astype(int)[place]
    count, total_k = np.bincount(group, weights=modes[use]), np.bincount(group, weights=(k * modes)[use])
    filled = count > 0
    transfers = []
    for found, true in powers[..., use]:
        sums = [np.bincount(group, weights=power)[filled] for power in (found, true)]
        transfers.append(tuple(map(float, np.sqrt(sums[1] / sums[0]))))
    return tuple(map(float, total_k[filled] / count[filled])), transfers
