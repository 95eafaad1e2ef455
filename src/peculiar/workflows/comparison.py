"""What distances say about the velocities of a field, and of several fields on the same objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from peculiar.catalogues.distances import DistanceCatalogue
from peculiar.catalogues.frames import to_galactic, to_galactic_axes
from peculiar.statistics.distances import RadialVelocities, ShellCorrelation
from peculiar.statistics.resampling import Resampling
from peculiar.statistics.velocity_fit import PARAMETERS, VelocityFit


@dataclass(frozen=True, eq=False)
class Agreement:
    """A fit, and how well its predictions agree with measured velocities.

    Attributes
    ----------
    fit : VelocityFit
    velocities : RadialVelocities
    shells, all : ShellCorrelation
        In shells of c z, and of all objects as one shell.
    """

    fit: VelocityFit
    velocities: RadialVelocities
    shells: ShellCorrelation
    all: ShellCorrelation

    @property
    def chi2(self) -> float:
        """Mean of (measured - predicted)^2 / (error^2 + sigma_v^2)."""
        noise = self.velocities.error**2 + self.fit.sigma_v**2
        return float(np.mean((self.velocities.measured - self.velocities.predicted) ** 2 / noise))


@dataclass(frozen=True, eq=False)
class Comparison:
    """What distances say about a field's velocities.

    Attributes
    ----------
    field : str
        What the field is called.
    agreement : Agreement
    without_dipole : Agreement
        Of the fit whose external velocity is held at 0.
    catalogue : DistanceCatalogue
        The objects that are used; its `used` tells which rows of the table they are.
    missing : tuple of str
        Which objects of the catalogue have no velocity of the field, and why: a line for each reason.
    resampling : Resampling
        Blocks of the sky, and the sets of them that the errors are from.
    draws : int
        Of the field, over which each object's likelihood is a mean; 0 for the field alone.
    """

    field: str
    agreement: Agreement
    without_dipole: Agreement
    catalogue: DistanceCatalogue
    missing: tuple[str, ...]
    resampling: Resampling
    draws: int = 0

    @property
    def fit(self) -> VelocityFit:
        """Parameters, V_ext among them."""
        return self.agreement.fit

    @property
    def velocities(self) -> RadialVelocities:
        """Of the objects that are used."""
        return self.agreement.velocities

    @property
    def shells(self) -> ShellCorrelation:
        """Correlations in shells of c z."""
        return self.agreement.shells

    @property
    def dipole(self) -> dict[str, Any]:
        """V_ext: components in celestial and galactic axes, speed and galactic direction, each with its error.

        The speed and its direction are those of the components; noise alone makes the speed positive, so whether there
        is a dipole is told by `chi2`, of 3 degrees of freedom for none.
        """
        vector, samples = self.fit.external, self.fit.samples[:, 1:4]
        speed = float(np.linalg.norm(vector))
        longitude, latitude = (float(angle[0]) for angle in to_galactic(vector[None]))
        along = samples @ (vector / speed)
        sample_l, sample_b = to_galactic(samples)
        turn = (sample_l - longitude + 180) % 360 - 180
        galactic = to_galactic_axes(np.vstack([vector, samples]))
        covariance = np.cov(samples.T)
        return {
            "speed": speed,
            "speed_error": float(along.std(ddof=1)),
            "l": longitude,
            "l_error": float(turn.std(ddof=1)),
            "b": latitude,
            "b_error": float(sample_b.std(ddof=1)),
            "celestial": vector.tolist(),
            "celestial_error": samples.std(axis=0, ddof=1).tolist(),
            "celestial_covariance": covariance.tolist(),
            "galactic": galactic[0].tolist(),
            "galactic_error": galactic[1:].std(axis=0, ddof=1).tolist(),
            "chi2": float(vector @ np.linalg.solve(covariance, vector)),
        }

    def record(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        fit, still = self.fit, self.without_dipole
        hubble = 100 * 10 ** (-fit.zero_point / 5)
        shells, still_shells = _shells(self.shells), _shells(still.shells)
        return {
            "field": self.field,
            "objects": len(self.catalogue),
            "blocks": self.resampling.counts.shape[1],
            "draws": self.draws,
            "missing": list(self.missing),
            "beta": fit.beta,
            "beta_error": float(fit.errors[0]),
            "dipole": self.dipole,
            "sigma_v": fit.sigma_v,
            "sigma_v_error": _number(fit.errors[4]),
            "sigma_v_at_limit": fit.sigma_at_limit,
            "zero_point": fit.zero_point,
            "zero_point_error": float(fit.errors[5]),
            "H0": hubble,
            "H0_error": float(hubble * np.log(10) / 5 * fit.errors[5]),
            "chi2_per_object": self.agreement.chi2,
            "log_likelihood": fit.log_likelihood,
            "log_evidence": fit.log_evidence,
            **_shells(self.agreement.all)[0],
            "shells": shells,
            "without_dipole": {
                "beta": still.fit.beta,
                "sigma_v": still.fit.sigma_v,
                "zero_point": still.fit.zero_point,
                "chi2_per_object": still.chi2,
                "log_likelihood": still.fit.log_likelihood,
                "log_evidence": still.fit.log_evidence,
                **_shells(still.all)[0],
                "shells": still_shells,
            },
            "parameters": list(PARAMETERS),
            "bootstrap_covariance": np.cov(fit.samples.T).tolist(),
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """Several fields, each compared with the same objects.

    Attributes
    ----------
    comparisons : tuple of Comparison
        As the fields were given.
    """

    comparisons: tuple[Comparison, ...]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Places of the fields in `comparisons`, that of the greatest evidence first."""
        evidence = [-one.fit.log_evidence for one in self.comparisons]
        return tuple(int(place) for place in np.argsort(evidence, kind="stable"))

    @property
    def missing(self) -> tuple[str, ...]:
        """Which objects have no velocity in a field, and why: lines that name the field."""
        return tuple(f"{one.field}: {line}" for one in self.comparisons for line in one.missing)

    def difference(self, first: int, second: int) -> dict[str, float | None]:
        """Return how much better the first of two fields is, with errors from the same sets of blocks.

        The errors of the two are of the same objects, and most of both cancels. Parameters are held at each field's
        best; the error of the log-evidence is that of the log-likelihood.
        """
        a, b = self.comparisons[first], self.comparisons[second]
        each = a.fit.log_likelihoods - b.fit.log_likelihoods
        found: dict[str, float | None] = {
            "log_evidence": a.fit.log_evidence - b.fit.log_evidence,
            "log_likelihood": float(each.sum()),
            "log_likelihood_error": a.resampling.error_of_sum(each),
        }
        for name, x, y in (
            ("r", a.agreement.all, b.agreement.all),
            ("r_without_dipole", a.without_dipole.all, b.without_dipole.all),
        ):
            found[name] = _number(x.correlation[0] - y.correlation[0])
            found[f"{name}_error"] = _number(np.nanstd(x.samples[:, 0] - y.samples[:, 0]))
        return found

    def record(self) -> dict[str, Any]:
        """Return everything as JSON holds it; differences are of the best field and each other one."""
        best, *others = self.order
        names = [one.field for one in self.comparisons]
        return {
            "best": names[best],
            "order": [names[place] for place in self.order],
            "differences": [
                {"field": names[best], "other": names[other], **self.difference(best, other)}
                for other in others
            ],
            "fields": [one.record() for one in self.comparisons],
        }


def summary(result: Comparison | Ranking) -> str:
    """Say in a few lines what a comparison found."""
    return _ranked(result) if isinstance(result, Ranking) else _single(result)


def _single(result: Comparison) -> str:
    record, dipole = result.record(), result.dipole
    limit, still = result.fit.sigma_at_limit, record["without_dipole"]
    sigma = _pm(record["sigma_v"], None if limit else record["sigma_v_error"])
    lines = [
        f"objects     {record['objects']} in {record['blocks']} blocks of the sky"
        + (f", each a mean over {result.draws} draws" if result.draws else ""),
        f"beta        {record['beta']:.3f} +- {record['beta_error']:.3f}",
        f"dipole      {_pm(dipole['speed'], dipole['speed_error'])} km/s towards l = {dipole['l']:.0f}, b = "
        f"{dipole['b']:.0f} (chi2 of none: {dipole['chi2']:.1f}, 3 degrees of freedom)",
        f"sigma_v     {sigma} km/s" + (", at the end of its range" if limit else ""),
        f"zero point  {record['zero_point']:.4f} +- {record['zero_point_error']:.4f} mag (H0 = {record['H0']:.2f} +- "
        f"{record['H0_error']:.2f} km/s/Mpc if the distances are absolute)",
        f"chi2        {record['chi2_per_object']:.2f} an object",
        f"evidence    {record['log_evidence']:.1f}, without the dipole {still['log_evidence']:.1f} (natural logarithm)",
        f"r           {_r(record)}; without the dipole {_r(still)}",
    ]
    for shell, other in zip(record["shells"], still["shells"], strict=True):
        low, high = shell["cz"]
        lines.append(
            f"r           {_r(shell)}, without {_r(other)} at cz = {low:.0f} to {high:.0f} km/s ({shell['objects']} "
            "objects)"
        )
    return "\n".join(lines)


def _ranked(result: Ranking) -> str:
    best = result.order[0]
    names = [one.field for one in result.comparisons]
    width = max(map(len, names))
    first = result.comparisons[0]
    lines = [
        f"{len(first.catalogue)} objects in {first.resampling.counts.shape[1]} blocks of the sky; ln evidence is "
        "relative to the best",
        f"{'field':{width}}  ln evidence (error)    beta             sigma_v  r        without dipole",
    ]
    for place in result.order:
        one = result.comparisons[place]
        lost = result.difference(place, best)
        fit = one.fit
        beta = f"{fit.beta:.3f} +- {fit.errors[0]:.3f}"
        evidence = (
            f"{lost['log_evidence']:.1f} ({lost['log_likelihood_error']:.1f})" if place != best else "0"
        )
        r, still = one.agreement.all.correlation[0], one.without_dipole.all.correlation[0]
        lines.append(
            f"{one.field:{width}}  {evidence:21}  {beta:15}  {fit.sigma_v:7.0f}  {r:7.3f}  {still:7.3f}"
        )
    for other in result.order[1:]:
        found = result.difference(best, other)
        lines.append(
            f"{names[best]} - {names[other]}: r {found['r']:+.3f} +- {found['r_error']:.3f}, without the dipole "
            f"{found['r_without_dipole']:+.3f} +- {found['r_without_dipole_error']:.3f}, ln likelihood "
            f"{found['log_likelihood']:+.1f} +- {found['log_likelihood_error']:.1f}"
        )
    return "\n".join(lines)


def _shells(shells: ShellCorrelation) -> Sequence[dict[str, Any]]:
    return [
        {
            "cz": [float(shells.edges[i]), float(shells.edges[i + 1])],
            "objects": int(shells.counts[i]),
            "r": _number(shells.correlation[i]),
            "r_error": _number(shells.error[i]),
            "r_expected": _number(shells.expected[i]),
        }
        for i in range(len(shells.counts))
    ]


def _r(shell: dict[str, Any]) -> str:
    if shell["r"] is None:
        return "of too few"
    error = "" if shell["r_error"] is None else f" +- {shell['r_error']:.3f}"
    return f"{shell['r']:.3f}{error} (expected {shell['r_expected']:.3f})"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _pm(value: float, error: float | None) -> str:
    return f"{value:.0f}" if error is None else f"{value:.0f} +- {error:.0f}"
