"""Whether draws of surveys on the sky cover the truth, for docs/results/coverage.md.

    python benchmarks/coverage_sky.py boxes --scratch mocks --docs docs/results/coverage.md

`boxes` are those of `benchmarks/whole_sky.py`. Two surveys are laid into each from several places: all of the sky with
a flux limit, seen from inside, and a part of it to a distance with an even density. Scores are those of
`benchmarks/draw_coverage.py`: of the flow of matter along the line of sight where objects are, by distance; in cells
that the survey saw and that it did not; and of the mean velocity of spheres, about the observer or about places of the
survey. The true flow of each observer gets ten more, one at a time, that are the same everywhere and stand for a
Gaussian one of waves longer than the box, which draws have and the box lacks. What is far wrong is so in all of a sky,
so that errors are of the scatter from observer to observer. What stands between `<!-- coverage sky: begin -->` and its
end in a page is filled.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from general import Scores
from ranks import covered_with, flows_of, together
from reproduction import replace_between
from whole_sky import DENSITY, Sky, observe, result_of

from peculiar.catalogues import Survey, load_survey
from peculiar.core import Box
from peculiar.inference.draws import draws
from peculiar.inference.object_draws import ObjectSums
from peculiar.linear.reliability import long_wave_dispersion
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run

MODELS = ("general", "wiener")
DRAWS = 20
CELLS = 3000
NEAR = {"distances": (80.0, 240.0)}
"""Of SDSS what fits into boxes of 600 Mpc/h with room about it [Mpc/h]."""
GRID = 5.0
"""Distance of the points that a sphere's mean is over [Mpc/h]."""


@dataclass(frozen=True)
class Laid:
    """A survey, its largest density [(h/Mpc)^3], and the parts of it that are looked at [Mpc/h].

    With `places` spheres are about so many places of the survey, else about the observer.
    """

    survey: Survey
    density: float
    shells: tuple[float, ...]
    radii: tuple[float, ...]
    places: int = 0

    @property
    def parts(self) -> dict[str, tuple[float, float]]:
        """Ranges of distance by name."""
        ends = zip(self.shells[:-1], self.shells[1:], strict=True)
        return {f"{low:g} to {high:g}": (low, high) for low, high in ends}


SURVEYS = {
    "2MRS": Laid(load_survey("two_mrs"), DENSITY, (5, 50, 100, 150, 200), (20, 50, 100, 150)),
    "SDSS": Laid(load_survey("sdss_dr7").with_changes(NEAR), 3e-3, (80, 160, 240), (20, 50), places=20),
}


def sphere(radius: float) -> np.ndarray:
    """Return points of a grid that lie in a sphere about the origin, (n, 3) [Mpc/h]."""
    side = np.arange(-radius, radius + GRID / 2, GRID)
    points = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[np.linalg.norm(points, axis=1) < radius]


def within(box: Box, points: np.ndarray, margin: float) -> np.ndarray:
    """Return which points lie so far inside a box [Mpc/h]."""
    low = np.asarray(box.origin) + margin
    return ((points > low) & (points < low + np.asarray(box.sides) - 2 * margin)).all(axis=1)


def measure(sky: Sky, laid: Laid, model: str, longer: np.ndarray) -> dict[str, Any]:
    """Return the coverage of a model's draws at objects by distance, in cells, and of spheres.

    Parameters
    ----------
    sky, laid, model
    longer : (flow, 3) [km/s]
        Flows of waves longer than the box, each of which is added to the truth.
    """
    made = result_of(sky, model)
    random = np.random.default_rng(5)
    truth, centres = sky.truth["velocity"], made.box.centres()
    seen = made["completeness"].data[0].numpy().ravel() > 0
    inside = within(truth.box, centres, GRID) & within(made.box, centres, GRID)
    cells = {
        name: random.choice(centres[part & inside], CELLS)
        for name, part in (("seen", seen), ("unseen", ~seen))
    }
    middles = np.zeros((1, 3))
    if laid.places:
        room = within(truth.box, centres, max(laid.radii)) & within(made.box, centres, max(laid.radii))
        middles = random.choice(centres[seen & room], laid.places)
    spheres = {f"{radius:g}": middles[:, None] + sphere(radius) for radius in laid.radii}

    def read(velocity: Any) -> dict[str, np.ndarray]:
        flows = {
            name: velocity.at(points.reshape(-1, 3)).reshape(points.shape).mean(axis=1).ravel()
            for name, points in spheres.items()
        }
        return {name: velocity.at(points).ravel() for name, points in cells.items()} | flows

    some = draws(made, DRAWS, seed=1)
    objects, drawn = ObjectSums(made, seed=some.seed), []
    for draw in some:  # each is made once
        objects.add(draw)
        drawn.append(read(draw["velocity"]))
    at, positions = objects.result().v_los, sky.made.catalogue.positions
    found = {
        name: covered_with(true, np.array([each[name] for each in drawn]), np.tile(longer, len(true) // 3))
        for name, true in read(truth).items()
    }
    along = longer @ sky.made.catalogue.sight_lines().T
    distance = np.linalg.norm(positions, axis=1)
    for name, (low, high) in laid.parts.items():
        part = (distance >= low) & (distance < high) & np.isfinite(at).all(axis=0)
        found[name] = covered_with(sky.v_los["flow"][part], at[:, part], along[:, part])
    return found


def lines_of(kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table: a row for each part of each survey, a column for each model."""
    lines = [
        f"| survey, part | {' | '.join(f'`{model}`: pulls, within' for model in MODELS)} |",
        "| --- |" + " ---: |" * len(MODELS),
    ]
    for survey, laid in SURVEYS.items():
        skies = [models for name, models in kept.items() if name.startswith(f"{survey},")]
        if not skies:
            continue
        centre = f"{laid.places} places of the survey" if laid.places else "the observer"
        labels = {part: f"flow at objects, {part} Mpc/h" for part in laid.parts}
        labels |= {"seen": "cells that it saw", "unseen": "cells that it did not see"}
        labels |= {
            f"{radius:g}": f"mean of spheres of {radius:g} Mpc/h about {centre}" for radius in laid.radii
        }
        for part, label in labels.items():
            texts = [together([one[model][part] for one in skies if model in one]) for model in MODELS]
            lines.append(f"| {survey}, {len(skies)} observers: {label} | {' | '.join(texts)} |")
    return lines


def main() -> None:
    """Measure, print and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="a directory for the mocks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1001, 1002], help="of boxes")
    parser.add_argument("--observers", type=int, default=3, help="in each box")
    parser.add_argument("--surveys", nargs="+", choices=SURVEYS, default=list(SURVEYS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--scores", type=Path, default=Path("coverage_sky.json"), help="kept from call to call"
    )
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    kept = Scores(given.scores)
    box = SimulatedBox.open(open_run(given.run, given.seeds)[0])
    lacking = long_wave_dispersion(box.box, cosmology=box.cosmology, redshift=box.redshift)
    print(f"waves longer than the box: {lacking:.0f} km/s")
    for survey in given.surveys:
        laid = SURVEYS[survey]
        for seed in given.seeds:
            for place in range(given.observers):
                name = f"{survey}, seed {seed}, observer {place}"
                mock = (laid.survey, laid.density)
                sky = observe(given.run, seed, place, given.scratch, laid=mock)
                longer = flows_of(lacking, seed=[seed, place])
                for model in given.models:
                    found = kept.of(name, model, partial(measure, sky, laid, model, longer))
                    told = ", ".join(f"{part}: {together([one])}" for part, one in found.items())
                    print(f"{name}, {model}: {told}", flush=True)
    text = "\n".join(lines_of(kept.found))
    print(text)
    if given.docs:
        replace_between(given.docs, {"coverage sky": text})


if __name__ == "__main__":
    main()
