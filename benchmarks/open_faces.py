"""How large errors at objects are in boxes with open faces, beside those that `--errors` states.

    peculiar simulate large --box 337.5 --cells 144 --seeds 1001-1002
    python benchmarks/open_faces.py large --cubes 150 --docs docs/results/general.md

Whole boxes are told that their faces are open, and cubes are cut out of them at four corners. "stated" is
`v_los_error` and `v_los_scatter` in quadrature, "error" that of `v_los` against the objects' halos, both roots of mean
squares. Waves longer than the simulated box move no object in it, but are in what is stated: "box lacks" is their
velocity (`peculiar.linear.reliability.long_wave_dispersion`), "without" what is stated less that.
What stands between `<!-- open faces: begin -->` and `<!-- open faces: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from cut_outs import corners
from general import cut_out
from reproduction import replace_between

import peculiar
from peculiar.core import Catalogue, OutOfRangeWarning
from peculiar.linear.reliability import long_wave_dispersion
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run

HEADER = """| boxes | model | error, stated [km/s] | box lacks, without [km/s] | pulls |
| --- | --- | ---: | ---: | ---: |"""


def opened(
    box: SimulatedBox, density: float, sizes: list[float]
) -> Iterator[tuple[str, Catalogue, np.ndarray, int]]:
    """Yield a name, a catalogue with open faces, the velocities of its objects' halos, and its cells."""
    catalogue, cell = box.catalogue(density, seed=77), box.box.cell_size
    hosts = box.halos.velocities[box.galaxies(density, seed=77).host]
    what = f"halos, {density:g}, z = {box.redshift:g}"
    whole = catalogue.replace(box=replace(catalogue.box, periodic=False))
    yield f"whole, {box.box.size:g} Mpc/h, {what}", whole, hosts, box.box.mesh
    for size in sizes:
        name = f"cubes of {size:g} out of {box.box.size:g} Mpc/h, {what}"
        for corner in corners(box.box.mesh):
            sample = cut_out(box, name, catalogue, hosts, cells=round(size / cell), corner=corner)
            yield name, sample.catalogue, sample.hosts, sample.cells


def measured(
    box: SimulatedBox, catalogue: Catalogue, hosts: np.ndarray, *, cells: int, model: str
) -> tuple[float, ...]:
    """Return mean squares: of the error, of what is stated, of what the box lacks, and of pulls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        made = peculiar.reconstruct(catalogue, model=model, cells=cells, cosmology=box.cosmology)
        at = made.with_errors().at_objects()
    assert at.v_los_error is not None
    apart = (at.v_los - (hosts * catalogue.sight_lines()).sum(axis=1)) ** 2
    stated = at.v_los_error**2 + at.v_los_scatter**2
    lacking = long_wave_dispersion(box.box, cosmology=box.cosmology, redshift=box.redshift) ** 2
    return float(apart.mean()), float(stated.mean()), lacking, float((apart / stated).mean())


def main() -> None:
    """Measure, print and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", help="of boxes, all where not given")
    parser.add_argument("--cubes", default="", help="sides in Mpc/h, to the cell")
    parser.add_argument("--density", type=float, default=1e-3, help="of halos in (h/Mpc)^3")
    parser.add_argument("--models", default="wiener,general")
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    sizes = [float(size) for size in given.cubes.split(",") if size]
    found = defaultdict(list)
    for path in [one for run in given.runs for one in open_run(run, given.seeds)]:
        box = SimulatedBox.open(path)
        for name, catalogue, hosts, cells in opened(box, given.density, sizes):
            for model in given.models.split(","):
                found[name, model].append(measured(box, catalogue, hosts, cells=cells, model=model))
                print(f"{path.name}, {name}, {model}: {np.sqrt(found[name, model][-1]).round(2)}", flush=True)
    lines = [HEADER]
    for (name, model), rows in found.items():
        error, stated, lacking, pull = np.mean(rows, axis=0)
        without = max(stated - lacking, 0) ** 0.5
        lines.append(
            f"| {len(rows)}, {name} | `{model}` | {error**0.5:.0f}, {stated**0.5:.0f} "
            f"| {lacking**0.5:.0f}, {without:.0f} | {pull**0.5:.2f} |"
        )
    print("\n".join(lines))
    if given.docs:
        replace_between(given.docs, {"open faces": "\n".join(lines)})


if __name__ == "__main__":
    main()
