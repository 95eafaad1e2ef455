"""Cubes with open faces, cut out of boxes that are larger than they are, beside an iterative FFT tuned on each.

    peculiar simulate large --box 337.5 --cells 144 --seeds 1001-1002
    python benchmarks/cut_outs.py large --docs docs/results/general.md

What moves a cut-out as a whole lies outside it. So its box must hold waves longer than the cut-out, and of one box
several cubes are taken: at four corners, half a side apart along two axes. Errors are told together: the variance of
the velocity's error in cells of all cubes, over that of the FFT whose smoothing and bias are tuned on each very cube.

"unseen" is the flow of the matter outside, and "best" what is left of it by the Wiener filter of all matter inside,
known without noise (`matter_surroundings`): what no estimate linear in the density inside can know.
What stands between `<!-- cut-outs: begin -->` and `<!-- cut-outs: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from general import SATELLITES, Scores, cut_out, score, tuned
from reproduction import replace_between

from peculiar.core import Box, Field
from peculiar.linear.isolated import outside_flow
from peculiar.linear.surroundings import matter_surroundings
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.training.variants import UNSEEN_SMOOTHING


def corners(mesh: int) -> Iterator[tuple[int, int, int]]:
    """Yield the cells at which cubes of a periodic box begin."""
    half = mesh // 2
    yield from ((0, 0, 0), (0, half, half), (half, 0, half), (half, half, 0))


def outside(box: SimulatedBox, corner: tuple[int, int, int], cells: int) -> dict[str, float]:
    """Return the variance of the flow of matter beyond a cube, and of what is left of it at best."""
    cosmology, redshift = box.cosmology, box.redshift
    factor = cosmology.velocity_factor(redshift)
    x, y, z = ((np.arange(cells) + start) % box.box.mesh for start in corner)
    unseen = outside_flow(box.density, (x, y, z), velocity_factor=factor, smoothing=UNSEEN_SMOOTHING)
    inner = Box(cells * box.box.cell_size, cells, periodic=False)
    density = Field(box.density.data[:, *np.ix_(x, y, z)], inner, ["density"])
    expected = factor * matter_surroundings(density, cosmology=cosmology, redshift=redshift)
    return {
        name: float(flow.square().mean())
        for name, flow in {"unseen": unseen, "best": unseen - expected}.items()
    }


def main() -> None:
    """Score, print and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--sizes", default="150,225", help="of cubes in Mpc/h, to the cell")
    parser.add_argument("--densities", default="0.001", help="of objects in (h/Mpc)^3")
    parser.add_argument("--models", default="iterative,wiener,general")
    parser.add_argument("--seeds", type=int, nargs="+", help="of boxes, all where not given")
    parser.add_argument("--scores", type=Path, default=Path("cut-outs.json"), help="kept from call to call")
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    models = given.models.split(",")
    kept, found = Scores(given.scores), defaultdict(lambda: defaultdict(list))
    for path in [one for run in given.runs for one in open_run(run, given.seeds)]:
        box = SimulatedBox.open(path)
        for size, density, satellites in product(
            map(float, given.sizes.split(",")), map(float, given.densities.split(",")), (0.0, SATELLITES)
        ):
            drawn = {"satellite_fraction": satellites, "seed": 77}
            catalogue = box.catalogue(density, **drawn)
            hosts = box.halos.velocities[box.galaxies(density, **drawn).host]
            cells = round(size / box.box.cell_size)
            kind = f"{satellites * 100:.0f} % satellites" if satellites else "halos"
            side = f"{cells * box.box.cell_size:.0f} Mpc/h of {box.box.size:g}"
            row = f"{side}, {kind}, {density:g}, z = {box.redshift:g}"
            for corner in corners(box.box.mesh):
                sample = cut_out(box, row, catalogue, hosts, cells=cells, corner=corner)
                name = f"{row}, seed {box.seed}, from {corner}"
                place = (
                    f"{side}, z = {box.redshift:g}, seed {box.seed}, from {corner}"  # whatever its objects
                )
                one = kept.of(place, "outside", lambda at=corner, of=box, n=cells: outside(of, at, n))
                one = one | {"tuned": kept.of(name, "tuned FFT", lambda of=box, s=sample: tuned(of, s))}
                for model in models:
                    scores = kept.of(name, model, lambda of=box, by=model, s=sample: score(of, by, s))
                    one |= {model: scores["variance"], f"{model} slope": scores["slope"]}
                    if "pull" in scores:
                        one |= {"pull": scores["pull"] ** 2, "within": scores["within"]}
                print(name, {what: round(value**0.5, 1) for what, value in one.items()}, flush=True)
                for what, value in one.items():
                    found[row][what].append(value)
    lines = [
        "| cubes | unseen, best [km/s] | tuned FFT [km/s] | "
        + " | ".join(f"`{model}`: variance over it (cubes), slope" for model in models)
        + " | errors: pulls, within |",
        "| --- | ---: | ---: |" + " ---: |" * (len(models) + 1),
    ]
    for row, values in found.items():
        mean = {what: float(np.mean(ones)) for what, ones in values.items()}
        cells = []
        for model in models:
            ratios = np.divide(values[model], values["tuned"])
            cells.append(
                f"{mean[model] / mean['tuned']:.3f} ({ratios.min():.2f} to {ratios.max():.2f}), "
                f"{mean[f'{model} slope']:.2f}"
            )
        errors = f"{mean['pull'] ** 0.5:.2f}, {mean['within']:.2f}" if "pull" in mean else ""
        lines.append(
            f"| {len(values['tuned'])} of {row} | {mean['unseen'] ** 0.5:.0f}, {mean['best'] ** 0.5:.0f} "
            f"| {mean['tuned'] ** 0.5:.1f} | {' | '.join(cells)} | {errors} |"
        )
    print("\n".join(lines))
    if given.docs:
        replace_between(given.docs, {"cut-outs": "\n".join(lines)})


if __name__ == "__main__":
    main()
