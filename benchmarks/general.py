"""How networks do at any density, redshift and cosmology, beside an iterative FFT tuned on the very sample.

    peculiar simulate held-out --seeds 1001 --redshifts 0,0.3,0.59,1,1.5
    python benchmarks/general.py held-out other-run --models general,residual --docs docs/results/general.md

Of each box the densities are taken that it resolves, ranked (halos, and galaxies with 25 % satellites), the densest
also without masses, thinned at random with and without them, as a cut-out with open faces and as a cone that thins with
distance. The velocity's variance in cells is given over the least one of an iterative FFT on a grid of smoothing and
bias for that sample; with it the slope of the true velocity on the estimated, r of the line-of-sight velocity at the
objects with the object's own and with its halo's, and of stated errors the rms of pulls and the share of cells, and of
objects, within them (wanted: 1, 0.68).
What stands between `<!-- SECTION: begin -->` and `<!-- SECTION: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reproduction import replace_between
from smoothing import FEWEST, least_variance, variance_surface

from peculiar.core import Box, Catalogue, OutOfRangeWarning
from peculiar.fields.objects import LOCAL_ERROR
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs
from peculiar.training.variants import Variant, chosen, observe
from peculiar.workflows.reconstruct import make_reconstructor, reconstructed

DENSITIES = (1e-4, 3e-4, 5e-4, 1e-3, 3e-3, 1e-2)
SATELLITES = 0.25
CUT = 2 / 3  # of a box's side


@dataclass(frozen=True)
class Sample:
    """A catalogue, the velocities of the halos that its objects live in, and the true flow where it counts."""

    label: str
    catalogue: Catalogue
    hosts: np.ndarray
    truth: torch.Tensor
    counts: torch.Tensor | None = None

    @property
    def cells(self) -> int:
        """Along a side."""
        return self.truth.shape[-1]

    def among(self, mesh: torch.Tensor) -> torch.Tensor:
        """Return a mesh where it counts."""
        return mesh if self.counts is None else mesh[..., self.counts]


def samples(box: SimulatedBox) -> Iterator[Sample]:
    """Yield what is observed of a box, in redshift space."""
    volume, truth = box.box.volume, box.velocity.data
    usual = [n for n in DENSITIES if n <= len(box.halos) / volume and n * volume >= FEWEST]
    for satellites in (0.0, SATELLITES):
        kind = "25 % satellites" if satellites else "halos"
        for density in usual:
            drawn = {"satellite_fraction": satellites, "seed": 77}
            catalogue = box.catalogue(density, **drawn)
            hosts = box.halos.velocities[box.galaxies(density, **drawn).host]
            yield Sample(f"{kind}, ranked, {density:g}", catalogue, hosts, truth)
            if density == usual[-1]:
                yield Sample(f"{kind}, no masses, {density:g}", catalogue.replace(masses=None), hosts, truth)
                for fewer in usual[:-1]:
                    rows = np.random.default_rng(box.seed).permutation(len(catalogue))
                    rows = rows[: round(fewer * volume)]
                    thinned = chosen(catalogue, rows)
                    yield Sample(f"{kind}, thinned, ranked, {fewer:g}", thinned, hosts[rows], truth)
                    bare = thinned.replace(masses=None)
                    yield Sample(f"{kind}, thinned, {fewer:g}", bare, hosts[rows], truth)
                cells = round(CUT * box.box.mesh)
                yield cut_out(box, f"{kind}, {density:g}", catalogue, hosts, cells=cells)
        dense = Variant(
            number_density=usual[-1], satellite_fraction=satellites, region="survey", line_of_sight="radial"
        )
        seen = observe(box, dense, seed=78)
        assert seen.completeness is not None
        counts = seen.completeness.data[0] > 0
        yield Sample(f"{kind}, cone, {usual[-1]:g} at most", seen, seen.velocities, truth, counts)


def cut_out(
    box: SimulatedBox,
    label: str,
    catalogue: Catalogue,
    hosts: np.ndarray,
    *,
    cells: int,
    corner: tuple[int, int, int] = (0, 0, 0),
) -> Sample:
    """Return a cube cut out of a periodic box from the cell `corner` on, whose faces are open."""
    inner = Box(cells * box.box.cell_size, cells, periodic=False)
    positions = box.box.wrap(catalogue.positions - np.asarray(corner) * box.box.cell_size)
    rows = inner.contains(positions)
    turned = torch.roll(box.velocity.data, tuple(-cell for cell in corner), (1, 2, 3))
    cut = chosen(catalogue.replace(positions=positions), rows).replace(box=inner)
    return Sample(
        f"cut-out of {inner.size:.0f} Mpc/h, {label}", cut, hosts[rows], turned[:, :cells, :cells, :cells]
    )


def is_wanted(label: str, only: Sequence[str]) -> bool:
    """Whether a sample's label holds all words of one of several texts such as "halos,0.001"."""
    return any(all(word in label for word in one.split(",")) for one in only)


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses samples."""
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        help="words that the labels of samples must hold, as halos,0.001; several for any of them",
    )


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's r."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def score(box: SimulatedBox, model: str, sample: Sample) -> dict[str, float]:
    """Return what the table says of a model on a sample."""
    reconstructor, _ = make_reconstructor(model)
    catalogue = sample.catalogue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        fields = reconstructor.reconstruct(catalogue, cells=sample.cells, cosmology=box.cosmology)
    found = reconstructed(catalogue, fields, by=reconstructor, cosmology=box.cosmology)
    if LOCAL_ERROR in found:
        found = found.with_errors()
    velocity, truth = sample.among(found["velocity"].data), sample.among(sample.truth)
    at = found.at_objects()
    sight = catalogue.sight_lines()
    host = (sample.hosts * sight).sum(axis=1)
    values = {
        "variance": float((velocity - truth).square().mean()),
        "slope": float((velocity * truth).sum() / velocity.square().sum()),
        "own": correlation(at.v_los_own, (catalogue.velocities * sight).sum(axis=1)),
        "host": correlation(at.v_los, host),
    }
    if "velocity_error" in found:
        pull = ((velocity - truth) / sample.among(found["velocity_error"].data)).numpy()
        values |= {"pull": float(np.sqrt(np.mean(pull**2))), "within": float(np.mean(np.abs(pull) < 1))}
    if at.v_los_error is not None:
        pull = (at.v_los - host) / np.hypot(at.v_los_error, at.v_los_scatter)
        values |= {"object pull": float(np.sqrt(np.mean(pull**2)))}
        values |= {"objects within": float(np.mean(np.abs(pull) < 1))}
    return values


def tuned(box: SimulatedBox, sample: Sample) -> float:
    """Return the least variance of an iterative FFT on a grid of smoothing and bias."""

    def variance(velocity: torch.Tensor) -> float:
        return float((sample.among(velocity) - sample.among(sample.truth)).square().mean())

    return least_variance(
        variance_surface(sample.catalogue, variance, cells=sample.cells, cosmology=box.cosmology)
    )


class Scores:
    """Scores by sample and model, kept in a file so that what was measured is not measured again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, sample: str, model: str, measure: Callable[[], Any]) -> Any:
        """Return a model's scores on a sample, measuring them where they are not there."""
        scores = self.found.setdefault(sample, {})
        if model not in scores:
            scores[model] = measure()
            self.path.write_text(json.dumps(self.found, indent=1))
        return scores[model]


def main() -> None:
    """Score, print and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--models", default="iterative,wiener,general")
    parser.add_argument("--seeds", type=int, nargs="+", help="of boxes, all where not given")
    parser.add_argument("--scores", type=Path, default=Path("scores.json"), help="kept from call to call")
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    parser.add_argument("--section", default="general", help="of the page, by the name in its marks")
    add_only(parser)
    given = parser.parse_args()
    models = given.models.split(",")
    kept = Scores(given.scores)
    lines = [
        "| sample, (h/Mpc)^3 | tuned FFT [km/s] | "
        + " | ".join(f"`{Path(model).stem}`: variance over it, slope, r own, r host" for model in models)
        + " | errors: pulls, within; objects |",
        "| --- | ---: |" + " ---: |" * (len(models) + 1),
    ]
    print("\n".join(lines))
    for run in given.runs:
        for path in [one for epoch in run_epochs(run) for one in open_run(epoch, given.seeds)]:
            box = SimulatedBox.open(path)
            matter = f"Omega_m {box.cosmology.Omega_m:.3g}, sigma8 {box.cosmology.sigma8:.3g}"
            where = f"z = {box.redshift:g}, {box.box.size:g} Mpc/h, {matter}, seed {box.seed}"
            for sample in samples(box):
                if not is_wanted(sample.label, given.only):
                    continue
                name = f"{sample.label}, {where}"
                least = kept.of(name, "tuned FFT", lambda one=sample, of=box: tuned(of, one))
                cells, errors = [], ""
                for model in models:
                    found = kept.of(name, model, lambda one=sample, of=box, by=model: score(of, by, one))
                    told = ", ".join(f"{found[what]:.2f}" for what in ("slope", "own", "host"))
                    cells.append(f"{found['variance'] / least:.3f}, {told}")
                    if "pull" in found:
                        errors = f"{found['pull']:.2f}, {found['within']:.2f}"
                        errors += f"; {found['object pull']:.2f}, {found['objects within']:.2f}"
                lines.append(f"| {name} | {least**0.5:.1f} | {' | '.join(cells)} | {errors} |")
                print(lines[-1], flush=True)
    if given.docs:
        replace_between(given.docs, {given.section: "\n".join(lines)})


if __name__ == "__main__":
    main()
