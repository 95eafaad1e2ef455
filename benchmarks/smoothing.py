"""The smoothing of the iterative FFT as a function of noise and bias, and how close to tuned ones it comes.

    peculiar simulate wide --seeds 1-4 --box 450 --particles 192 --cells 96 --redshift 0.59
    peculiar simulate deep --seeds 1-4 --box 225 --particles 256 --cells 80 --redshift 0.59
    python benchmarks/smoothing.py wide deep ... --fit 1,2 --check 3,4 --docs docs/results/smoothing.md

Runs of any box, redshift and cosmology serve: of each box the densities are taken that it resolves, ranked (halos, and
galaxies with 25 % satellites) and thinned at random from the densest. For every sample the velocity's variance is
measured on a grid of smoothing and bias; its least value is that of the FFT tuned on that very sample. `--fit` seeds
give `RADIUS_SHARE` of `peculiar.linear.smoothing`, at each sample's best bias, then `FLOW_SHARE`; samples are weighted
by how well they tell their bias (a small box measures it with an error that no formula mends); without it the two are
those in use. On `--check` seeds the ratio of variances is printed for what `IterativeFFT()` does with these two, for
its smoothing with the best bias, and for the Wiener filter of `MultiTracerWiener()`, with the slope of the true
velocity on its.
What stands between `<!-- smoothing: begin -->` and `<!-- smoothing: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from reproduction import replace_between
from scipy.interpolate import RectBivariateSpline

from peculiar.core import Catalogue, Cosmology, Field
from peculiar.fields.paint import paint
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.linear import IterativeFFT, MultiTracerWiener
from peculiar.linear.clustering import Clustering, measure_clustering
from peculiar.linear.smoothing import FLOW_SHARE, RADIUS_SHARE, flow_bias, theory_smoothing
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.statistics.power import compare_power

DENSITIES = (1e-4, 2e-4, 5e-4, 1e-3, 3e-3, 1e-2)
FEWEST = 1000  # objects of a sample
SATELLITES = 0.25
LARGE = 0.1  # h/Mpc, scales of the true bias
SURE = 0.03  # standard error of the bias in a box that is large enough
SMOOTHING = (0.65, 0.88, 1.18, 1.6)  # over the formula's
BIAS = (0.77, 0.93, 1.12, 1.35)  # over the formula's
SHARES = np.arange(0.7, 1.0, 0.01)
FACTORS = np.arange(0.85, 1.1, 0.005)


@dataclass(frozen=True)
class Sample:
    """A catalogue, with the velocity's variance left by the iterative FFT at any smoothing and bias."""

    label: str
    theory: tuple[float, Callable[[float], float]]
    clustering: Clustering
    true_bias: float
    wiener: float
    slope: float
    surface: RectBivariateSpline

    def variance(self, smoothing: float, bias: float) -> float:
        """Return it at a smoothing [Mpc/h] and a bias, (km/s)^2."""
        return float(np.exp(self.surface(np.log(smoothing), np.log(bias))[0, 0]))

    def least(self, smoothing: float | None = None) -> float:
        """Return the least variance, at one smoothing or at any."""
        return least_variance(self.surface, smoothing)


def catalogues(box: SimulatedBox) -> Iterator[tuple[str, Catalogue]]:
    """Yield the samples of a box: labels and catalogues in real space."""
    most = len(box.halos) / box.box.volume
    usual = [n for n in DENSITIES if n <= most and n * box.box.volume >= FEWEST]
    for density in usual:
        yield "halos, ranked", box.catalogue(density, space="real")
        yield (
            "25 % satellites, ranked",
            box.catalogue(density, satellite_fraction=SATELLITES, space="real"),
        )
    full = box.catalogue(usual[-1], space="real")
    for density in usual[:-1]:
        chosen = np.random.default_rng(box.seed).permutation(len(full))[: round(density * box.box.volume)]
        yield (
            "halos, thinned",
            full.replace(positions=full.positions[chosen], velocities=full.velocities[chosen], masses=None),
        )


def cross_bias(box: SimulatedBox, real: Catalogue) -> float:
    """Return the cross power of tracers and matter over the power of matter, at k below `LARGE`."""
    mesh = paint(real.positions, box.box)
    tracers = Field(mesh / mesh.mean() - 1, box.box, ("tracers",))
    both = compare_power(
        tracers, box.density, edges=[box.box.k_fundamental / 2, LARGE]
    )  # one window, so it cancels
    return float(both.cross.power[0] / both.truth.power[0])


def variance_surface(
    catalogue: Catalogue, variance: Callable[[torch.Tensor], float], *, cells: int, cosmology: Cosmology
) -> RectBivariateSpline:
    """Return ln of the velocity's variance left by the iterative FFT, as a function of ln smoothing and ln bias."""
    fitted = IterativeFFT().fitted(catalogue, cosmology=cosmology)
    assert fitted.smoothing is not None
    assert fitted.bias is not None
    radii = [factor * fitted.smoothing for factor in SMOOTHING]
    biases = [factor * fitted.bias for factor in BIAS]
    found = np.empty((len(radii), len(biases)))
    for i, smoothing in enumerate(radii):
        for j, divisor in enumerate(biases):
            fields = IterativeFFT(smoothing, divisor).reconstruct(catalogue, cells=cells, cosmology=cosmology)
            found[i, j] = variance(fields["velocity"].data)
    return RectBivariateSpline(np.log(radii), np.log(biases), np.log(found))


def least_variance(surface: RectBivariateSpline, smoothing: float | None = None) -> float:
    """Return the least variance of a surface, at one smoothing or at any."""
    x, y = surface.get_knots()
    biases = np.linspace(y[0], y[-1], 80)
    radii = np.linspace(x[0], x[-1], 120) if smoothing is None else np.log([smoothing])
    return float(np.exp(surface(radii, biases).min()))


def measure(box: SimulatedBox, label: str, real: Catalogue) -> Sample:
    """Measure the variance over the grid."""
    catalogue = to_redshift_space(real, box.cosmology)
    found = measure_clustering(catalogue, cosmology=box.cosmology)
    surface = variance_surface(
        catalogue,
        lambda velocity: float((velocity - box.velocity.data).square().mean()),
        cells=box.box.mesh,
        cosmology=box.cosmology,
    )
    linear = MultiTracerWiener().reconstruct(catalogue, cells=box.box.mesh, cosmology=box.cosmology)[
        "velocity"
    ]
    wiener = float((linear.data - box.velocity.data).square().mean())
    slope = float((linear.data * box.velocity.data).sum() / linear.data.square().sum())
    matter = {"noise": found.noise, "bias": found.bias, "cosmology": box.cosmology, "redshift": box.redshift}
    theory = (
        theory_smoothing(**matter),
        lambda smoothing: flow_bias(smoothing, **matter) / FLOW_SHARE,
    )
    text = f"{label}, {catalogue.number_density:.1g}, z = {box.redshift:g}, {box.box.size:g} Mpc/h, seed {box.seed}"
    return Sample(text, theory, found, cross_bias(box, real), wiener, slope, surface)


def fit_shares(samples: list[Sample]) -> tuple[float, float]:
    """Return `RADIUS_SHARE`, of the least mean ratio of variances at each sample's best bias, then `FLOW_SHARE`."""
    weights = [one.clustering.error**-2 for one in samples]

    def at_best_bias(share: float) -> float:
        ratios = [one.least(share * one.theory[0]) / one.least() for one in samples]
        return float(np.average(ratios, weights=weights))

    share = float(min(SHARES, key=at_best_bias))

    def with_formula(factor: float) -> float:
        ratios = []
        for one in samples:
            radius, bias = one.theory
            ratios.append(one.variance(share * radius, factor * bias(share * radius)) / one.least())
        return float(np.average(ratios, weights=weights))

    return share, float(min(FACTORS, key=with_formula))


def main() -> None:
    """Fit, check and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--fit", default="", help="seeds, as 1,2; without the shares are those in use")
    parser.add_argument("--check", required=True, help="seeds, as 3,4")
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    sets: dict[str, list[Sample]] = {}
    for use in ("fit", "check"):
        seeds = {int(seed) for seed in getattr(given, use).split(",") if seed}
        sets[use] = []
        for run in given.runs:
            for path in open_run(run):
                box = SimulatedBox.open(path)
                if box.seed in seeds:
                    for label, catalogue in catalogues(box):
                        sets[use].append(measure(box, label, catalogue))
                        print(use, sets[use][-1].label, flush=True)
    share, factor = fit_shares(sets["fit"]) if sets["fit"] else (RADIUS_SHARE, FLOW_SHARE)
    print(
        f"{len(sets['fit'])} samples: {share:.2f}, {factor:.3f}; in use: {RADIUS_SHARE:.2f}, {FLOW_SHARE:.3f}"
    )
    lines = [
        "| sample, (h/Mpc)^3 | true bias | measured | smoothing [Mpc/h], bias | tuned FFT, rms [km/s] | "
        "`iterative`, variance over it | with the best bias | `wiener` | slope of truth on it |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    sure = []
    for one in sets["check"]:
        smoothing = share * one.theory[0]
        bias = factor * one.theory[1](smoothing)
        ratio = one.variance(smoothing, bias) / one.least()
        if one.clustering.error < SURE:
            sure.append(ratio)
        lines.append(
            f"| {one.label} | {one.true_bias:.2f} | {one.clustering.bias:.2f} +- {100 * one.clustering.error:.0f} % | "
            f"{smoothing:.1f}, {bias:.2f} | {one.least() ** 0.5:.1f} | {ratio:.3f} | "
            f"{one.least(smoothing) / one.least():.3f} | {one.wiener / one.least():.3f} | {one.slope:.3f} |"
        )
    lines.append(
        f"| mean, and worst, of {len(sure)} with a bias to {100 * SURE:.0f} % | | | | | "
        f"{np.mean(sure):.3f}, {max(sure):.3f} | | | |"
    )
    wiener = [one.wiener / one.least() for one in sets["check"]]
    slopes = [one.slope for one in sets["check"]]
    lines.append(
        f"| mean, and worst, of all {len(wiener)} | | | | | | | {np.mean(wiener):.3f}, {max(wiener):.3f} | "
        f"{np.mean(slopes):.3f} +- {np.std(slopes):.3f} |"
    )
    print("\n".join(lines))
    if given.docs:
        replace_between(given.docs, {"smoothing": "\n".join(lines)})


if __name__ == "__main__":
    main()
