r"""Whether draws cover the truth: ranks, intervals, bulk flows and power on boxes that no model learned from.

    peculiar simulate held-out --seeds 1001 --redshifts 0,0.59
    python benchmarks/draw_coverage.py held-out/z0.000 held-out/z0.590 --docs docs/results/coverage.md

Samples are those of `benchmarks/general.py`. Of each: the rms of pulls (truth less mean of the draws, over their
scatter) and the share of ranks of the truth among the draws in their central 68 %, in cells (one component of the
velocity), at objects (line of sight, against the halo's), of bulk flows in spheres; the true squared error over the
draws' variance in the fifths of cells where the model tells the least and the greatest error; the power of draws over
the truth's, of density and of velocity, in all waves to k = 0.3 h/Mpc and at its worst in bins, with the rms of pulls
in bins (the truth's power less the draws' mean over their scatter), and the correlation of a draw with the truth less
that of two draws in the last bin. What stands between `<!-- coverage MODEL: begin -->` and its end in a page
is filled, with all that is kept, and figures go beside the page.

    python benchmarks/draw_coverage.py held-out/z0.590 large boxes --cubes 150 --seeds 1001 1002 \
        --scores cubes.json --docs docs/results/coverage.md

compares cubes with open faces that are cut out of boxes of several sizes, at four corners, as they are and with a flow
that is the same in all of a cube, for waves longer than the box: draws have these, and no box has them.
It fills `<!-- coverage cubes: begin -->`.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cut_outs import corners
from general import Sample, Scores, add_only, cut_out, is_wanted, samples
from ranks import covered, covered_with, flows_of, together
from reproduction import replace_between

from peculiar.core import Box, OutOfRangeWarning
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.objects import ERROR, LOCAL_ERROR
from peculiar.inference.draws import draws
from peculiar.inference.object_draws import ObjectSums
from peculiar.linear.reliability import long_wave_dispersion
from peculiar.linear.spectra import Shells
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.workflows.reconstruct import reconstruct

RADII = (20.0, 50.0, 100.0, 150.0)  # Mpc/h; as far as spheres fit into the box
SPHERES, CELLS = 200, 20_000
OF_CUBES = 1e-3
"""Density of halos in cubes that are cut out [(h/Mpc)^3]."""
K = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
HEADER = (
    "| sample, (h/Mpc)^3 | cells: pulls, within | error / variance: least, greatest fifth | objects: pulls, within "
    "| spheres, Mpc/h: pulls, within | power of density; velocity: to 0.3, worst bin (pulls) "
    "| r with truth less r of draws |\n"
    "| --- |" + " ---: |" * 6
)


def spheres(modes: torch.Tensor, box: Box, radius: float) -> torch.Tensor:
    """Return the mean velocity in spheres about every cell of a periodic box, from its transform."""
    x = (k_squared(box).sqrt() * radius).clamp(min=1e-3).double()
    window = (3 * (x.sin() - x * x.cos()) / x**3).float()
    return to_real(modes * window, box.shape)


class Spectra:
    """Powers in bins of k, and cross powers."""

    def __init__(self, box: Box) -> None:
        self.shells = Shells.of(box, K)

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
        """Return the cross power of two transforms with their channels summed."""
        return self.shells.mean((first * second.conj()).real.sum(dim=0))


def cubes(box: SimulatedBox, side: float) -> Iterator[Sample]:
    """Yield cubes of a box whose faces are open."""
    catalogue = box.catalogue(OF_CUBES, satellite_fraction=0.0, seed=77)
    hosts = box.halos.velocities[box.galaxies(OF_CUBES, satellite_fraction=0.0, seed=77).host]
    for corner in corners(box.box.mesh):
        label = f"halos, {OF_CUBES:g}, from {corner}"
        yield cut_out(box, label, catalogue, hosts, cells=round(side / box.box.cell_size), corner=corner)


def longer_waves(box: SimulatedBox) -> float:
    """Return the rms of a component of the flow of waves longer than a box [km/s]."""
    return long_wave_dispersion(box.box, cosmology=box.cosmology, redshift=box.redshift)


def measure(box: SimulatedBox, sample: Sample, *, model: str, number: int) -> dict[str, Any]:
    """Return what the table says of a model's draws of a sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        made = reconstruct(sample.catalogue, model=model, cells=sample.cells, cosmology=box.cosmology)
    random = np.random.default_rng(5)
    inside = torch.ones(made.box.shape, dtype=torch.bool) if sample.counts is None else sample.counts
    cells = torch.from_numpy(random.choice(np.flatnonzero(inside.numpy()), CELLS))
    whole = made.box.periodic
    radii = [radius for radius in RADII if whole and 2 * radius < box.box.side]
    centres = torch.from_numpy(random.choice(made.box.cell_count, SPHERES))
    spectra = Spectra(made.box)
    density, truth = box.density.data, sample.truth
    true_modes = (to_fourier(density), to_fourier(truth)) if whole else None

    def chosen(mesh: torch.Tensor, places: torch.Tensor) -> np.ndarray:
        return mesh.reshape(len(mesh), -1)[:, places].numpy().ravel()

    velocities, bulk, powers, firsts, last = [], {radius: [] for radius in radii}, [], [], None
    objects = ObjectSums(made, seed=0)
    for draw in draws(made, number, seed=1):
        velocity = draw["velocity"].data
        velocities.append(chosen(velocity, cells))
        objects.add(draw)
        if true_modes is not None:
            modes = (to_fourier(draw["density"].data), to_fourier(velocity))
            for radius in radii:
                bulk[radius].append(chosen(spheres(modes[1], made.box, radius), centres))
            pairs = [
                (spectra(a, a), spectra(a, t), spectra(t, t)) for a, t in zip(modes, true_modes, strict=True)
            ]
            powers.append(pairs)
            if last is not None:
                firsts.append([spectra(a, b) for a, b in zip(modes, last, strict=True)])
            last = modes
    drawn, true = np.array(velocities), chosen(truth, cells)
    at = objects.result()
    seen = np.isfinite(at.v_los).all(axis=0)
    sight = sample.catalogue.sight_lines()
    host = (sample.hosts * sight).sum(axis=1)
    variance = drawn.var(axis=0, ddof=1) * (1 + 1 / number)
    error = (true - drawn.mean(axis=0)) ** 2
    told = made.get(ERROR if whole else LOCAL_ERROR)
    fifths: list[np.ndarray] = []
    if told is not None:  # the draws' own variance is too noisy to choose by
        expected = chosen(told.data.expand(3, -1, -1, -1), cells)
        least, most = np.quantile(expected, [0.2, 0.8])
        fifths = [expected < least, expected > most]
    found: dict[str, Any] = {
        "cells": covered(true, drawn),
        "objects": covered(host[seen], at.v_los[:, seen]),
        "variance": [float(error[some].mean() / variance[some].mean()) for some in fifths],
        "bulk": {
            f"{radius:g}": covered(chosen(spheres(true_modes[1], made.box, radius), centres), np.array(flows))
            for radius, flows in (bulk.items() if true_modes else ())
        },
    }
    if not whole:
        added = np.repeat(flows_of(longer_waves(box), seed=len(sample.catalogue)), CELLS, axis=1)
        found["with longer waves"] = covered_with(true, drawn, added)
    if powers:
        of_each = np.moveaxis(np.array(powers), 2, 0)
        auto, cross, of_truth = of_each.mean(axis=1)
        scatter = of_each[0].std(axis=0, ddof=1) * np.sqrt(1 + 1 / number)
        between, modes_of = np.array(firsts).mean(axis=0), spectra.shells.modes
        found["power"] = (auto / of_truth).tolist()
        found["whole power"] = (auto @ modes_of / (of_truth @ modes_of)).tolist()
        found["power pull"] = np.sqrt((((of_truth - auto) / scatter) ** 2).mean(axis=1)).tolist()
        found["r truth"] = (cross / np.sqrt(auto * of_truth)).tolist()
        found["r draws"] = (between / auto).tolist()
    return found


def row(name: str, found: dict[str, Any]) -> str:
    """Return a line of the table."""

    def pair(one: dict[str, Any]) -> str:
        return f"{one['pull']:.2f}, {one['within']:.2f}"

    bulk = "; ".join(f"{radius}: {pair(one)}" for radius, one in found["bulk"].items())
    power = apart = ""
    if "power" in found:
        worst = [max(values, key=lambda value: abs(value - 1)) for values in found["power"]]
        power = "; ".join(
            f"{all_waves:.2f}, {bin_of:.2f} ({pull:.1f})"
            for all_waves, bin_of, pull in zip(found["whole power"], worst, found["power pull"], strict=True)
        )
        apart = ", ".join(
            f"{np.subtract(truth, drawn)[-1]:+.3f}"
            for truth, drawn in zip(found["r truth"], found["r draws"], strict=True)
        )
    variance = ", ".join(f"{value:.2f}" for value in found["variance"])
    return f"| {name} | {pair(found['cells'])} | {variance} | {pair(found['objects'])} | {bulk} | {power} | {apart} |"


def cube_lines(kept: Mapping[str, Mapping[str, Any]], models: Sequence[str]) -> list[str]:
    """Return the table of cubes: those of a kind of box together."""
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, found in kept.items():
        rows[name.split(" | ")[1]].append(found)

    columns = [(model, what) for model in models for what in ("cells", "with longer waves")]
    heads = [f"`{model}`{', with longer waves' if what != 'cells' else ''}" for model, what in columns]
    return [
        f"| cubes, pulls and within in cells | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * len(heads),
        *(
            f"| {len(some)} {row} | "
            + " | ".join(together([one[model][what] for one in some]) for model, what in columns)
            + " |"
            for row, some in rows.items()
        ),
    ]


def figure(kept: dict[str, Any], model: str, path: Path) -> None:
    """Draw the histograms of ranks of all samples, in cells, at objects and of bulk flows, and the powers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown, axes = pyplot.subplots(1, 4, figsize=(15, 3.4), layout="constrained")
    tenths = np.linspace(0.05, 0.95, 10)
    for name, models in kept.items():
        if model not in models:
            continue
        found = models[model]
        colour = "C0" if "power" in found else "C1"
        style = {"color": colour, "alpha": 0.5, "lw": 1}
        axes[0].plot(tenths, found["cells"]["ranks"], label=name, **style)
        axes[1].plot(tenths, found["objects"]["ranks"], **style)
        for one in found["bulk"].values():
            axes[2].plot(tenths, one["ranks"], **style)
        if "power" in found:
            middles = (K[1:] + K[:-1]) / 2
            for values, line in zip(found["power"], ("-", "--"), strict=True):
                axes[3].plot(middles, values, line, **style)
    for axis, title in zip(axes, ("cells", "objects", "spheres", "power of draws / truth"), strict=True):
        axis.set_title(title)
        axis.axhline(1, color="k", lw=0.8)
        axis.set_xlabel("rank of the truth among the draws" if axis is not axes[3] else "k [h/Mpc]")
    axes[3].axhspan(0.95, 1.05, color="0.9")
    axes[3].set_ylim(0.8, 1.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="*", help="none to write what is kept")
    parser.add_argument("--models", default="general,wiener")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", help="of boxes, all where not given")
    parser.add_argument("--scores", type=Path, default=Path("coverage.json"), help="kept from call to call")
    parser.add_argument(
        "--cubes", type=float, help="side of cubes with open faces, cut out of each box [Mpc/h]"
    )
    add_only(parser)
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args(arguments)
    kept = Scores(given.scores)
    print(HEADER)
    models = given.models.split(",")
    for path in [one for run in given.runs for one in open_run(run, given.seeds)]:
        box = SimulatedBox.open(path)
        for sample in cubes(box, given.cubes) if given.cubes else samples(box):
            if not is_wanted(sample.label, given.only):
                continue
            where = f"z = {box.redshift:g}, Omega_m {box.cosmology.Omega_m:g}"
            name = f"{sample.label}, {where}, seed {box.seed}"
            if given.cubes:
                lacks = f"lacks waves of {longer_waves(box):.0f} km/s"
                name += f" | of {given.cubes:g} Mpc/h of a box of {box.box.size:g}, z = {box.redshift:g}, which {lacks}"
            for model in models:
                found = kept.of(
                    name,
                    model,
                    lambda one=sample, of=box, by=model: measure(of, one, model=by, number=given.draws),
                )
                print(row(f"{model}: {name}", found), flush=True)
    if given.cubes:
        text = "\n".join(cube_lines(kept.found, models))
        print(text)
    if not given.docs:
        return
    if given.cubes:
        replace_between(given.docs, {"coverage cubes": text})
        return
    parts = {}
    for model in models:
        rows = [row(name, found[model]) for name, found in kept.found.items() if model in found]
        parts[f"coverage {model}"] = "\n".join([HEADER, *rows])
        figure(kept.found, model, given.docs.parent / "coverage" / f"{model}.png")
    replace_between(given.docs, parts)


if __name__ == "__main__":
    main()
