"""Models for surveys beside each other in single isolated cubes, without the baselines that `evaluate` tunes.

    python benchmarks/one_model.py boxes/box-01001.h5 --cubes 0 --docs docs/survey-networks.md

Each sample of `peculiar evaluate --sample` is observed in some cubes of one box, and reconstructed by each model in the
cells that the cube has. Scores are those of `peculiar evaluate`, over all cells and in the centre; they are kept in a
file (`--scores`) so that what was measured is not measured again. What stands between `<!-- one model: begin -->` and
`<!-- one model: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from general import Scores
from reproduction import replace_between

from peculiar.core import OutOfRangeWarning
from peculiar.evaluation.cubes.measure import CENTRE, EVERYWHERE, parts_of, velocity_scores
from peculiar.evaluation.cubes.samples import choose_samples
from peculiar.linear.isolated import inner_field
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey, box_tracers
from peculiar.training.survey_cubes import observe_cube
from peculiar.workflows.reconstruct import make_reconstructor

SAMPLES = ("simulation", "galaxies", "groups", "volume-limited")
MODELS = ("survey", "general", "wiener")
SHOWN = {
    "slope": "{:.3f}",
    "within_residual": "{:.3f}",
    "cosine": "{:.3f}",
    "coherence": "{:.3f}",
    "rms_error": "{:.1f}",
}


def score(model: str, mock: MockSurvey, box: SimulatedBox) -> dict[str, dict[str, float]]:
    """Return the scores of a model in a cube, by part."""
    reconstructor, _ = make_reconstructor(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        fields = reconstructor.reconstruct(
            mock.catalogue, cells=mock.density.box.mesh, cosmology=box.cosmology
        )
    found, truth = (inner_field(one, mock.margin) for one in (fields["velocity"], mock.velocity))
    found = truth.replace(data=found.data.float())
    parts = parts_of(np.ones(truth.box.shape, dtype=bool))
    return {part: velocity_scores(found, truth, parts[part]) for part in (EVERYWHERE, CENTRE)}


def main() -> None:
    """Score, print and fill the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("box", type=Path)
    parser.add_argument("--cubes", type=int, nargs="+", default=list(range(8)))
    parser.add_argument("--samples", nargs="+", default=list(SAMPLES))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--scores", type=Path, default=Path("one-model.json"))
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    models, kept, box = given.models.split(","), Scores(given.scores), SimulatedBox.open(given.box)
    lines = [
        "| sample | model | slope | share within 200 km/s | mean cos θ | coherence | rms error [km/s] | centre |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for sample, variant in choose_samples(given.samples).items():
        names = {f"{sample}, seed {box.seed}, cube {number}": number for number in given.cubes}
        if any(model not in kept.found.get(name, {}) for name in names for model in models):
            tracers = box_tracers(box, variant.tracers(), seed=box.seed)
            for name, number in names.items():
                mock = observe_cube(box, variant, number=number, tracers=tracers)
                for model in models:
                    kept.of(name, model, lambda by=model, of=mock: score(by, of, box))
        for model in models:
            cubes = [kept.found[name][model] for name in names]
            everywhere = {key: np.mean([cube[EVERYWHERE][key] for cube in cubes]) for key in SHOWN}
            told = [pattern.format(everywhere[key]) for key, pattern in SHOWN.items()]
            centre = np.mean([cube[CENTRE]["rms_error"] for cube in cubes])
            lines.append(f"| {sample} | `{model}` | {' | '.join(told)} | {centre:.1f} |")
            print(lines[-1], flush=True)
    if given.docs:
        replace_between(given.docs, {"one model": "\n".join(lines)})


if __name__ == "__main__":
    main()
