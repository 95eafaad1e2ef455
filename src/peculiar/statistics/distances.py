"""Measured distances: their radial velocities, and how well those correlate with predicted ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.fields.sight import distance_modulus
from peculiar.statistics.resampling import Resampling


@dataclass(frozen=True, eq=False)
class DistanceSample:
    """Objects with measured distances.

    Parameters
    ----------
    directions : (n, 3)
        From the observer, of length 1, in the axes of the field.
    redshift : (n,)
        In the frame of the field's velocities, that of the cosmic microwave background.
    modulus, modulus_error : (n,) [mag]
        Distance moduli with any common zero point, and their Gaussian errors, intrinsic scatter included.

    Raises
    ------
    InputError
        If shapes differ, values are not finite, or redshifts or errors are not positive.
    """

    directions: Float[np.ndarray, "n 3"]
    redshift: Float[np.ndarray, " n"]
    modulus: Float[np.ndarray, " n"]
    modulus_error: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        n = len(self.redshift)
        for name, shape in (
            ("directions", (n, 3)), ("redshift", (n,)), ("modulus", (n,)), ("modulus_error", (n,))
        ):  # fmt: skip
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != shape or not np.isfinite(values).all():
                raise InputError(f"{name} must be finite and of shape {shape}, got shape {values.shape}")
            if name in ("redshift", "modulus_error") and not (values > 0).all():
                row = int((values <= 0).argmax())
                raise InputError(f"{name} must be > 0, got {values[row]:.6g} at row {row}: leave the row out")
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.redshift)


@dataclass(frozen=True, eq=False)
class RadialVelocities:
    """Measured and predicted radial velocities of the same objects [km/s], each (n,).

    Attributes
    ----------
    measured, error : (n,)
        Log-distance estimator with the fitted zero point, and its Gaussian error.
    predicted : (n,)
        Mean, over an object's possible places, of the velocity that gives it its redshift there.
    external : (n,)
        The part of V_ext in it.
    """

    measured: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    predicted: Float[np.ndarray, " n"]
    external: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class ShellCorrelation:
    """Weighted correlation of measured and predicted velocities in shells of redshift, each (shell,).

    Attributes
    ----------
    edges : (shell + 1,) [km/s]
        In c z.
    counts : (shell,)
    correlation, error : (shell,)
        Pearson's, and the scatter of it over objects drawn with replacement; NaN with fewer than 5 objects.
    expected : (shell,)
        Mean correlation if the prediction were right up to sigma_v and the distance errors as stated.
    samples : (bootstrap, shell)
        The correlation of objects drawn with replacement.
    """

    edges: Float[np.ndarray, " edge"]
    counts: Float[np.ndarray, " shell"]
    correlation: Float[np.ndarray, " shell"]
    error: Float[np.ndarray, " shell"]
    expected: Float[np.ndarray, " shell"]
    samples: Float[np.ndarray, "bootstrap shell"]


def log_distance_velocities(
    sample: DistanceSample, *, cosmology: Cosmology, zero_point: float = 0.0
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Radial velocities from distances, with Gaussian errors: v = H D / (1 + z) ln(D / r).

    D is the comoving distance of the observed redshift and r the measured one. At small z this is c z ln(c z / (H0 r)),
    the estimator of Watkins & Feldman (2015), whose expansion c z_mod of D is not needed here. A distance modulus with
    a Gaussian error gives a Gaussian error of ln r, and of v; c z - H0 r has neither that nor a mean without bias.

    Returns
    -------
    velocity, error : (n,) [km/s]
    """
    expected = cosmology.comoving_distance(sample.redshift)
    per_log = _velocity_per_log_distance(sample.redshift, cosmology)
    excess = sample.modulus - zero_point - distance_modulus(expected, sample.redshift)
    to_log = np.log(10) / 5
    return -per_log * to_log * excess, per_log * to_log * sample.modulus_error


def shell_correlation(
    velocities: RadialVelocities,
    cz: Float[np.ndarray, " n"],
    *,
    edges: Float[np.ndarray, " edge"],
    sigma_v: float,
    blocks: Int[np.ndarray, " n"] | None = None,
    bootstraps: int = 100,
    seed: int = 0,
) -> ShellCorrelation:
    """Correlate measured and predicted velocities in shells, weights 1 / (error^2 + sigma_v^2).

    Parameters
    ----------
    velocities : RadialVelocities
    cz : (n,) [km/s]
    edges : (shell + 1,) [km/s], increasing
        The last shell includes its upper edge.
    sigma_v : float
        Scatter about the prediction [km/s].
    blocks : (n,) int, optional
    bootstraps, seed : int
        As in `fit_velocities`.
    """
    edges = np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"shells must be two or more increasing limits in km/s, got {edges.tolist()}")
    alone = np.arange(len(cz)) if blocks is None else blocks
    resampling = Resampling.draw(alone, sets=bootstraps, seed=seed)
    shell = np.searchsorted(edges, cz, side="right") - 1
    shell[cz == edges[-1]] = len(edges) - 2
    rows = []
    samples = np.full((bootstraps, len(edges) - 1), np.nan)
    for index in range(len(edges) - 1):
        chosen = np.flatnonzero(shell == index)
        if len(chosen) < 5:
            rows.append((len(chosen), np.nan, np.nan, np.nan))
            continue
        x, y = velocities.predicted[chosen], velocities.measured[chosen]
        noise = velocities.error[chosen] ** 2 + sigma_v**2
        with np.errstate(invalid="ignore", divide="ignore"):  # a set may hold too few objects of the shell
            samples[:, index] = [weighted_correlation(x, y, w[chosen] / noise) for w in resampling.weights()]
        found = samples[:, index][np.isfinite(samples[:, index])]
        signal = np.average((x - np.average(x, weights=1 / noise)) ** 2, weights=1 / noise)
        mean_noise = len(chosen) / (1 / noise).sum()
        expected = np.sqrt(signal / (signal + mean_noise))
        error = float(found.std()) if len(found) > 1 else np.nan
        rows.append((len(chosen), float(weighted_correlation(x, y, 1 / noise)), error, expected))
    counts, correlation, error, expected = np.array(rows, dtype=np.float64).T
    return ShellCorrelation(edges, counts, correlation, error, expected, samples)


def weighted_correlation(
    x: Float[np.ndarray, "... n"], y: Float[np.ndarray, "... n"], weights: Float[np.ndarray, "... n"]
) -> Float[np.ndarray, "..."]:
    """Pearson correlation with weights, over the last axis."""
    total = weights.sum(axis=-1, keepdims=True)
    x, y = (a - (weights * a).sum(axis=-1, keepdims=True) / total for a in (x, y))
    xx, yy, xy = ((weights * a * b).sum(axis=-1) for a, b in ((x, x), (y, y), (x, y)))
    return xy / np.sqrt(xx * yy)


def _velocity_per_log_distance(redshift: np.ndarray, cosmology: Cosmology) -> np.ndarray:
    """H D / (1 + z) [km/s]."""
    return 100 * cosmology.efunc(redshift) * cosmology.comoving_distance(redshift) / (1 + redshift)
