"""Velocities of a field fitted to measured distances by a forward likelihood.

The likelihood is that of a distance modulus given the redshift (the redshift-space, or "forward", variant of VELMOD:
Strauss & Willick 1995, Willick et al. 1997; with fields as in Carrick et al. 2015 and Boruah et al. 2020),

    P(mu | z) = int dr p(r) N(v(r; z) | beta v_field(r) + V_ext . n, sigma_v) N(mu | mu(r) + zero point, sigma_mu)
                / int dr p(r) N(v(r; z) | beta v_field(r) + V_ext . n, sigma_v)

with v(r; z) the radial velocity that gives an object at r its redshift, and p(r) ~ r^2 (1 + delta)^bias n(r). It is
not changed by any selection on redshift and direction, and p(r) is the correction for Malmquist bias.

A field that is known by draws of it alone has the mean of both integrals over them, so that a draw counts by how likely
it makes the redshift: sigma_v is then that of motions about the true field, without the field's own error. Errors of a
field go together at neighbouring objects, so that objects drawn anew say too little of what they do to the parameters:
each draw stands for the truth in turn, and moduli as it gives them are fitted by all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.fields.sight import SightLines, distance_modulus
from peculiar.statistics.distances import DistanceSample, RadialVelocities, log_distance_velocities
from peculiar.statistics.resampling import Resampling

PARAMETERS = ("beta", "V_x", "V_y", "V_z", "sigma_v", "zero_point")
SIGMA_RANGE = (50.0, 1000.0)
"""Where sigma_v is looked for [km/s]; the lower end is the step of `sight_lines` for which the integrals hold."""
REACH = 3000.0
"""How far from the observed redshift objects are looked for [km/s]: fast fields, dipoles and 3 sigma_v together."""
_SCALES = np.array(
    [1.0, 100.0, 100.0, 100.0, 1.0, 0.1]
)  # of the minimiser's variables, sigma_v as its logarithm
_NEWTON_STEPS = 8
_SIGMA = 4  # its place among the parameters
_EXTERNAL = (1, 2, 3)
PRIOR_WIDTHS = np.array([4.0, 2000.0, 2000.0, 2000.0, np.log(SIGMA_RANGE[1] / SIGMA_RANGE[0]), 2.0])
"""Of the flat priors of the evidence: beta, V_ext [km/s], ln sigma_v, zero point [mag]."""


@dataclass(frozen=True, eq=False)
class VelocityFit:
    """Parameters of greatest likelihood.

    Attributes
    ----------
    values, errors : (6,)
        `PARAMETERS`: beta; the external velocity V_ext [km/s] in the axes of the field; sigma_v [km/s]; zero point
        [mag]. The errors are the scatter of the bootstrap samples, or from `covariance` where there are none.
    covariance : (6, 6)
        Inverse of the observed information; zero for what was held or a sigma_v at an end of its range.
    samples : (bootstrap, 6)
        Fits to objects drawn with replacement.
    sigma_at_limit : bool
        Whether sigma_v is at an end of `SIGMA_RANGE`, so that it has no error.
    log_likelihoods : (n,)
        ln P(mu | z) of each object at the maximum.
    """

    values: Float[np.ndarray, "6"]
    errors: Float[np.ndarray, "6"]
    covariance: Float[np.ndarray, "6 6"]
    samples: Float[np.ndarray, "bootstrap 6"]
    sigma_at_limit: bool
    log_likelihoods: Float[np.ndarray, " n"]

    @property
    def log_likelihood(self) -> float:
        """Sum of ln P(mu | z) at the maximum."""
        return float(self.log_likelihoods.sum())

    @property
    def log_evidence(self) -> float:
        """Log of the mean likelihood over flat priors of `PRIOR_WIDTHS`, the likelihood taken as Gaussian (Laplace).

        Parameters that were held, and a sigma_v at an end of its range, have no prior.
        """
        free = np.diag(self.covariance) > 0
        unit = np.ones(len(self.values))
        unit[_SIGMA] = self.sigma_v  # of ln sigma_v
        covariance = (self.covariance / np.outer(unit, unit))[np.ix_(free, free)]
        volume = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1] - np.log(PRIOR_WIDTHS[free]).sum()
        return float(self.log_likelihood + volume)

    @property
    def beta(self) -> float:
        """Scale of the field's velocities."""
        return float(self.values[0])

    @property
    def external(self) -> Float[np.ndarray, "3"]:
        """V_ext [km/s]."""
        return self.values[1:4]

    @property
    def sigma_v(self) -> float:
        """Scatter of radial velocities about the prediction [km/s]."""
        return float(self.values[_SIGMA])

    @property
    def zero_point(self) -> float:
        """Offset of the measured distance moduli from those for H0 = 100 km/s/Mpc [mag]."""
        return float(self.values[5])


def fit_velocities(
    sample: DistanceSample,
    sight: SightLines,
    *,
    log_prior: Float[np.ndarray, "n m"] | None = None,
    drawn: Sequence[tuple[SightLines, Float[np.ndarray, "n m"]]] = (),
    sigma_v: float | None = None,
    external: bool = True,
    blocks: Int[np.ndarray, " n"] | None = None,
    bootstraps: int = 100,
    seed: int = 0,
) -> VelocityFit:
    """Fit the scale of a field's velocities, an external velocity, the scatter and the zero point of distances.

    Parameters
    ----------
    sample : DistanceSample
    sight : SightLines
        Of the same objects, from `sight_lines` with a reach of `REACH` and a step of at most 50 km/s.
    log_prior : (n, m), optional
        ln p(r); by default that of objects that follow the matter, `SightLines.log_prior`.
    drawn : sequence of (SightLines, (n, m))
        Draws of the field, at the same places, each with its ln p(r): the integrals are means over them.
    sigma_v : float, optional
        Held at this value [km/s]; fitted where not given.
    external : bool
        Whether there is an external velocity; none is held at 0.
    blocks : (n,) int, optional
        Objects that are drawn together, see `peculiar.statistics.resampling`; by default each alone.
    bootstraps : int
        Sets of objects drawn with replacement for the errors, or with `drawn` sets of moduli as one draw after the
        other gives them; 0 takes the errors from the likelihood's curvature.
    seed : int
        Of those sets.

    Raises
    ------
    InputError
        If there are fewer than 20 objects, shapes differ, or sigma_v lies outside `SIGMA_RANGE`.
    """
    if len(sample) < 20:
        raise InputError(f"distances must hold at least 20 objects for six parameters, got {len(sample)}")
    if len(sight.distances) != len(sample):
        raise InputError(f"sight must have one line per object ({len(sample)}), got {len(sight.distances)}")
    if bootstraps == 1 or bootstraps < 0:
        raise InputError(f"bootstraps must be 0 or at least 2, got {bootstraps}")
    low, high = SIGMA_RANGE
    if sigma_v is not None and not low <= sigma_v <= high:
        raise InputError(f"sigma_v must lie in [{low:g}, {high:g}] km/s, got {sigma_v}")
    likelihood = _Likelihood(
        sample, drawn or [(sight, sight.log_prior() if log_prior is None else log_prior)]
    )
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * 6
    bounds[_SIGMA] = (np.log(sigma_v or low), np.log(sigma_v or high))
    if not external:
        bounds[1:4] = [(0.0, 0.0)] * 3
    start = np.array([1.0, 0.0, 0.0, 0.0, np.log(sigma_v or 200.0), likelihood.guess() / _SCALES[5]])
    best = _maximise(likelihood, start, np.ones(len(sample)), bounds)
    at_limit = sigma_v is None and not low * 1.001 < np.exp(best[_SIGMA]) < high / 1.001
    held = () if external else _EXTERNAL
    if sigma_v is not None or at_limit:
        held = (*held, _SIGMA)
    free = [i for i in range(6) if i not in held]
    covariance = _covariance(likelihood, best, free)
    sets: Iterable[tuple[_Likelihood, np.ndarray]]
    if len(drawn) > 1:
        random = np.random.default_rng(seed)
        same = np.ones(len(sample))
        sets = ((likelihood.of_truth(best, one % len(drawn), random), same) for one in range(bootstraps))
    else:
        alone = np.arange(len(sample)) if blocks is None else blocks
        sets = ((likelihood, w) for w in Resampling.draw(alone, sets=bootstraps, seed=seed).weights())
    samples = np.array([_physical(_maximise_near(one, best, w, covariance, bounds)) for one, w in sets])
    errors = samples.std(axis=0, ddof=1) if bootstraps else np.sqrt(np.diag(covariance))
    errors[list(held)] = np.nan
    each, _ = likelihood.terms(best)
    return VelocityFit(_physical(best), errors, covariance, samples.reshape(-1, 6), at_limit, each)


def radial_velocities(
    sample: DistanceSample,
    sight: SightLines,
    fit: VelocityFit,
    *,
    cosmology: Cosmology,
    log_prior: Float[np.ndarray, "n m"] | None = None,
) -> RadialVelocities:
    """Return the velocities that distances measure and those that a fitted field predicts.

    Each object's prediction is the mean over its places r with the weights p(r) N(v(r; z) | ...) of the likelihood,
    which know its redshift and not its distance.
    """
    measured, error = log_distance_velocities(sample, cosmology=cosmology, zero_point=fit.zero_point)
    external = sample.directions @ fit.external
    residual = sight.needed - fit.beta * sight.velocity - external[:, None]
    log_weight = (sight.log_prior() if log_prior is None else log_prior) - residual**2 / (2 * fit.sigma_v**2)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    predicted = (weight * sight.needed).sum(axis=1) / weight.sum(axis=1)
    return RadialVelocities(measured, error, predicted, external)


class _Likelihood:
    """Minus the log-likelihood of objects with weights, and its gradient, in the minimiser's variables."""

    def __init__(self, sample: DistanceSample, fields: Sequence[tuple[SightLines, np.ndarray]]) -> None:
        self.sample, self.fields = sample, fields
        sight = fields[0][0]
        # Behind the observer p(r) is 0, whatever the modulus there.
        modulus = distance_modulus(sight.distances, sample.redshift[:, None])
        self.modulus = np.where(np.isfinite(modulus), modulus, 0.0)
        self.excess = sample.modulus[:, None] - self.modulus
        self.precision = (1 / sample.modulus_error**2)[:, None]

    def guess(self) -> float:
        """Return a zero point to start from: the median excess at the places of the redshifts."""
        return float(np.median(self.excess[:, self.excess.shape[1] // 2]))

    def of_truth(self, x: np.ndarray, truth: int, random: np.random.Generator) -> _Likelihood:
        """Return that of moduli as one of the fields gives them, by all other fields."""
        places, _ = self._places(x, *self.fields[truth])
        steps = _normalise(places)[1].cumsum(axis=1)
        chosen = (steps < random.random((len(steps), 1))).sum(axis=1).clip(max=steps.shape[1] - 1)
        noise = self.sample.modulus_error * random.standard_normal(len(steps))
        modulus = self.modulus[np.arange(len(steps)), chosen] + _physical(x)[5] + noise
        others = [one for place, one in enumerate(self.fields) if place != truth]
        return _Likelihood(replace(self.sample, modulus=modulus), others)

    def __call__(self, x: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        each, gradients = self.terms(x)
        return -float(weights @ each), -(weights @ gradients)

    def terms(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each object's log-likelihood, (n,), and its gradient in the minimiser's variables, (n, 6)."""
        before, after = zip(*(self._terms(x, *one) for one in self.fields), strict=True)
        (log_b, by_b), (log_a, by_a) = _mean_of_draws(before), _mean_of_draws(after)
        constant = np.log(2 * np.pi * self.sample.modulus_error**2) / 2
        return log_a - log_b - constant, (by_a - by_b) * _SCALES

    def _terms(
        self, x: np.ndarray, sight: SightLines, log_prior: np.ndarray
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Return ln P(z) and ln P(mu, z) of each object by one field, each with its gradient, (n,) and (n, 6)."""
        sigma, zero_point = _physical(x)[[_SIGMA, 5]]
        before, u = self._places(x, sight, log_prior)
        t = self.excess - zero_point
        after = before - self.precision * t**2 / 2  # given the distance modulus too

        def integral(log_weight: np.ndarray, by_zero_point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            total, share = _normalise(log_weight)
            by_u = (share * u).sum(axis=1) / sigma
            by_beta = (share * u * sight.velocity).sum(axis=1) / sigma
            others = ((share * u**2).sum(axis=1), (share * by_zero_point).sum(axis=1))
            return total, np.column_stack([by_beta, by_u[:, None] * self.sample.directions, *others])

        return integral(before, np.zeros_like(t)), integral(after, t * self.precision)

    def _places(
        self, x: np.ndarray, sight: SightLines, log_prior: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the logarithm of how likely places are, given the redshift, and their motions over sigma_v."""
        values = _physical(x)
        external = (self.sample.directions @ values[1:4])[:, None]
        u = (sight.needed - values[0] * sight.velocity - external) / values[_SIGMA]
        return log_prior - u**2 / 2, u


def _normalise(log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    peak = log_weight.max(axis=1, keepdims=True)
    weight = np.exp(log_weight - peak)
    total = weight.sum(axis=1, keepdims=True)
    return (peak + np.log(total))[:, 0], weight / total


def _mean_of_draws(terms: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the mean of what has these logarithms, (n,) of each draw, and its gradient (n, 6)."""
    logarithms, gradients = (np.array(one) for one in zip(*terms, strict=True))
    log_sum, share = _normalise(logarithms.T)
    return log_sum - np.log(len(logarithms)), np.einsum("nd,dnp->np", share, gradients)


def _physical(x: np.ndarray) -> np.ndarray:
    values = x * _SCALES
    values[_SIGMA] = np.exp(x[_SIGMA])
    return values


def _maximise(likelihood: _Likelihood, start: np.ndarray, weights: np.ndarray, bounds: list) -> np.ndarray:
    from scipy.optimize import minimize

    found = minimize(
        likelihood,
        start,
        args=(weights,),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-10},
    )
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        raise InputError(
            "the likelihood of the distances must have a maximum, got none: check moduli and errors"
        )
    return np.asarray(found.x)


def _maximise_near(
    likelihood: _Likelihood, best: np.ndarray, weights: np.ndarray, covariance: np.ndarray, bounds: list
) -> np.ndarray:
    """Maximise for other weights: Newton steps with the known curvature, the minimiser where they do not settle."""
    scale = _unit_of_variables(best)
    curvature = covariance / np.outer(scale, scale)
    tolerance = 0.02 * np.sqrt(np.diag(curvature)) + 1e-12
    x = best
    for _ in range(_NEWTON_STEPS):
        step = -curvature @ likelihood(x, weights)[1]
        x = x + step
        x[_SIGMA] = np.clip(x[_SIGMA], *bounds[_SIGMA])
        if (np.abs(step) < tolerance).all():
            return x
    return _maximise(likelihood, best, weights, bounds)


def _unit_of_variables(x: np.ndarray) -> np.ndarray:
    """Return what one unit of each of the minimiser's variables is in the parameters' units."""
    scale = _SCALES.copy()
    scale[_SIGMA] = np.exp(x[_SIGMA])
    return scale


def _covariance(likelihood: _Likelihood, best: np.ndarray, free: list[int]) -> np.ndarray:
    """Return the inverse of the information, from differences of the gradient, in physical units."""
    weights, step = np.ones(len(likelihood.sample)), 1e-3
    information = np.zeros((6, 6))
    for index in free:
        shift = step * np.eye(6)[index]
        information[index] = (likelihood(best + shift, weights)[1] - likelihood(best - shift, weights)[1]) / (
            2 * step
        )
    information = (information + information.T) / 2
    scale = _unit_of_variables(best)
    covariance = np.zeros((6, 6))
    inside = np.ix_(free, free)
    if not np.isfinite(information).all() or np.linalg.cond(information[inside]) > 1 / np.finfo(float).eps:
        raise InputError(
            "the distances must tell of the flow, got a likelihood that some parameter does not change: check the "
            "field's velocities, moduli and errors"
        )
    covariance[inside] = np.linalg.inv(information[inside]) * np.outer(scale, scale)[inside]
    return covariance
