"""The smoothing of the iterative FFT as a function of density and bias, and how close to tuned ones it comes.

    peculiar simulate wide --seeds 1-4 --box 450 --particles 192 --cells 192 --redshift 0.59
    peculiar simulate deep --seeds 1-4 --box 187.5 --particles 192 --cells 80 --redshift 0.59
    python benchmarks/smoothing.py wide deep ... --fit 1,2 --check 3,4 --docs docs/results/smoothing.md

Runs of any box, redshift and cosmology serve: of each box the densities are taken that it resolves, ranked (halos, and
galaxies with 25 % satellites) and thinned at random from the densest. For every sample the velocity's variance is
measured on a grid of smoothing and bias; its least value is that of the FFT tuned on that very sample. `--fit` seeds
give `NOISE_SHARE` and `NONLINEAR` of `peculiar.linear.smoothing`, at each sample's best bias (a small box measures its
own bias with an error that no smoothing mends), then `FLOW_BIAS`; on `--check` seeds the ratio of variances is printed
for what `IterativeFFT()` does, and for its smoothing with the best bias. What stands between
`<!-- smoothing: begin -->` and `<!-- smoothing: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from reproduction import replace_between
from scipy.interpolate import RectBivariateSpline

from peculiar.core import Catalogue
from peculiar.linear import IterativeFFT
from peculiar.linear.clustering import linear_bias
from peculiar.linear.smoothing import FLOW_BIAS, NOISE_SHARE, NONLINEAR, best_settings, linear_smoothing
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run

DENSITIES = (1e-4, 2e-4, 5e-4, 1e-3, 3e-3, 1e-2)
FEWEST = 300  # objects of a sample
SATELLITES = 0.25
SMOOTHING = (0.55, 0.75, 1.0, 1.35, 1.8)  # over the formula's
SHARES = np.arange(0.4, 1.01, 0.05)
LEAST = np.arange(1.4, 3.01, 0.1)
FACTORS = np.arange(0.95, 1.2, 0.01)
SLOPES = np.arange(0.0, 0.05, 0.005)
BIAS = (0.85, 1.0, 1.15, 1.35, 1.6)  # over the measured one


@dataclass(frozen=True)
class Sample:
    """A catalogue, with the velocity's variance left by the iterative FFT at any smoothing and bias."""

    label: str
    linear: float
    bias: float
    fitted: tuple[float, float]
    surface: RectBivariateSpline

    def variance(self, smoothing: float, bias: float) -> float:
        """Return it at a smoothing [Mpc/h] and a bias, (km/s)^2."""
        return float(np.exp(self.surface(np.log(smoothing), np.log(bias))[0, 0]))

    def least(self, smoothing: float | None = None) -> float:
        """Return the least variance, at one smoothing or at any."""
        x, y = self.surface.get_knots()
        biases = np.linspace(y[0], y[-1], 80)
        radii = np.linspace(x[0], x[-1], 120) if smoothing is None else np.log([smoothing])
        return float(np.exp(self.surface(radii, biases).min()))


def catalogues(box: SimulatedBox) -> Iterator[tuple[str, Catalogue]]:
    """Yield the samples of a box: labels and catalogues in redshift space."""
    most = len(box.halos) / box.box.volume
    usual = [n for n in DENSITIES if n <= most and n * box.box.volume >= FEWEST]
    for density in usual:
        yield "halos, ranked", box.catalogue(density)
        yield "25 % satellites, ranked", box.catalogue(density, satellite_fraction=SATELLITES)
    full = box.catalogue(usual[-1])
    for density in usual[:-1]:
        chosen = np.random.default_rng(box.seed).permutation(len(full))[: round(density * box.box.volume)]
        yield "halos, thinned", full.replace(positions=full.positions[chosen], velocities=None, masses=None)


def measure(box: SimulatedBox, label: str, catalogue: Catalogue) -> Sample:
    """Measure the variance over the grid."""
    bias = linear_bias(catalogue, cosmology=box.cosmology)
    theory = {"bias": bias, "cosmology": box.cosmology, "redshift": box.redshift}
    own = best_settings(catalogue.number_density, **theory)
    radii = [factor * own[0] for factor in SMOOTHING]
    biases = [factor * bias for factor in BIAS]
    variance = np.empty((len(radii), len(biases)))
    for i, smoothing in enumerate(radii):
        for j, divisor in enumerate(biases):
            velocity = IterativeFFT(smoothing, divisor).reconstruct(
                catalogue, cells=box.box.mesh, cosmology=box.cosmology
            )["velocity"]
            variance[i, j] = float((velocity.data - box.velocity.data).square().mean())
    linear = linear_smoothing(catalogue.number_density, **theory)
    surface = RectBivariateSpline(np.log(radii), np.log(biases), np.log(variance))
    text = f"{label}, {catalogue.number_density:.1g}, z = {box.redshift:g}, {box.box.size:g} Mpc/h, seed {box.seed}"
    return Sample(text, linear, bias, own, surface)


def fit_smoothing(samples: list[Sample]) -> tuple[float, float]:
    """Return `NOISE_SHARE` and `NONLINEAR`: the least mean ratio of variances, at each sample's best bias."""

    def mean_ratio(share: float, least: float) -> float:
        return float(
            np.mean([one.least(float(np.hypot(share * one.linear, least))) / one.least() for one in samples])
        )

    return min(product(SHARES, LEAST), key=lambda pair: mean_ratio(*pair))


def fit_bias(samples: list[Sample], share: float, least: float) -> tuple[float, float]:
    """Return `FLOW_BIAS`: the least mean ratio of variances with that smoothing."""

    def mean_ratio(factor: float, slope: float) -> float:
        ratios = [
            one.variance(float(np.hypot(share * one.linear, least)), one.bias * (factor + slope * one.linear))
            / one.least()
            for one in samples
        ]
        return float(np.mean(ratios))

    return min(product(FACTORS, SLOPES), key=lambda pair: mean_ratio(*pair))


def main() -> None:
    """Fit, check and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--fit", required=True, help="seeds, as 1,2")
    parser.add_argument("--check", required=True, help="seeds, as 3,4")
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    sets: dict[str, list[Sample]] = {}
    for use in ("fit", "check"):
        seeds = {int(seed) for seed in getattr(given, use).split(",")}
        sets[use] = []
        for run in given.runs:
            for path in open_run(run):
                box = SimulatedBox.open(path)
                if box.seed in seeds:
                    for label, catalogue in catalogues(box):
                        sets[use].append(measure(box, label, catalogue))
                        print(use, sets[use][-1].label, flush=True)
    share, least = fit_smoothing(sets["fit"])
    factor, slope = fit_bias(sets["fit"], share, least)
    print(f"{len(sets['fit'])} samples: {share:.2f}, {least:.1f} Mpc/h, ({factor:.3f}, {slope:.3f})")
    print(f"in use: {NOISE_SHARE:.2f}, {NONLINEAR:.1f} Mpc/h, {FLOW_BIAS}")
    lines = [
        "| sample, (h/Mpc)^3 | smoothing [Mpc/h], bias | tuned FFT, rms [km/s] | "
        "variance over it | with the best bias |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for one in sets["check"]:
        smoothing, bias = one.fitted
        ratio = one.variance(smoothing, bias) / one.least()
        lines.append(
            f"| {one.label} | {smoothing:.1f}, {bias:.2f} | {one.least() ** 0.5:.1f} | {ratio:.3f} | "
            f"{one.least(smoothing) / one.least():.3f} |"
        )
    print("\n".join(lines))
    if given.docs:
        replace_between(given.docs, {"smoothing": "\n".join(lines)})


if __name__ == "__main__":
    main()
