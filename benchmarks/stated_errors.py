"""How large errors are over what a network tells, on boxes that it did not learn from, and the factor that mends it.

    python benchmarks/stated_errors.py general dense:503-508 boxes:501-504 --test held-out:1001-1004 --docs PAGE
    python benchmarks/stated_errors.py general --test held-out:1001-1004

Each run may have several redshifts. Samples differ in density, satellites, whether they are the most massive or
thinned, and in what is known of masses, as in `benchmarks/residuals.py`. Of each the rms of pulls of `velocity_error`
in cells is measured; its logarithm is fitted by a linear function of what
`peculiar.inference.reconstructor.sample_numbers` tells, by least squares, which goes into the card (`ErrorFactor`).
What the factor leaves is printed: of each box left out of its fit; of boxes of `--test`, which take no part in it, at
objects too. It fills what
stands between `<!-- stated errors: begin -->` and `<!-- stated errors: end -->` of a page. Without runs to fit on the
card keeps its factor. Rows are kept in a file (`--rows`) by the checksum of the weights, with pulls as they are without
a factor.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reproduction import replace_between
from residual_factors import factor_fitted, mended
from residuals import rows_of, samples

from peculiar.cli.app import ranges
from peculiar.core import Catalogue, OutOfRangeWarning
from peculiar.core.output import atomic_output
from peculiar.fields.objects import ERROR
from peculiar.inference.card_values import ErrorFactor
from peculiar.inference.model_card import find_model
from peculiar.inference.reconstruction import Reconstruction
from peculiar.inference.reconstructor import NeuralReconstructor, sample_numbers
from peculiar.inference.residuals import MatterPower, answered_share
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs, seed_of
from peculiar.workflows.reconstruct import reconstructed

QUANTILES = np.linspace(0.4, 0.9, 51)
SAME = 1e-4
DENSEST = 0.5  # "dense" of `sample_numbers`
KINDS = ("ranked", "no masses", "thinned, no masses", "thinned, ranked", "all")


class Told(NamedTuple):
    """What a factor leaves of some samples: roots of mean squares, and shares within one error."""

    samples: int
    before: float
    now: float
    uncertain: float
    within: float
    objects: float
    objects_within: float
    drawn: float

    def __str__(self) -> str:
        """As a line."""
        return (
            f"{self.samples} samples: pulls {self.before:.2f}, with the factor {self.now:.2f} +- {self.uncertain:.2f} "
            f"({self.within:.2f} within); at objects {self.objects:.2f} ({self.objects_within:.2f}); error over that "
            f"of draws {self.drawn:.2f}"
        )


def row_of(
    model: NeuralReconstructor, box: SimulatedBox, catalogue: Catalogue, hosts: np.ndarray
) -> dict[str, Any]:
    """Reconstruct a sample and return its circumstances and pulls: in cells without a factor, at objects with it."""
    cosmology = box.cosmology
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        fields = model.reconstruct(catalogue, cells=box.box.mesh, cosmology=cosmology)
    known = sample_numbers(catalogue, cosmology=cosmology)
    factor = factor_of(model, known)
    made = reconstructed(catalogue, fields, by=model, cosmology=cosmology)
    left = (made["velocity"].data - box.velocity.data).square()
    told = made[ERROR].data.square()
    pulls = (left / told).sqrt()
    at, sight = made.at_objects(), catalogue.sight_lines()
    assert at.v_los_error is not None
    apart = at.v_los - (hosts * sight).sum(axis=1)
    total = np.hypot(at.v_los_error, at.v_los_scatter)
    return {
        "known": known,
        "factor": factor,
        "pull": factor * float(pulls.square().mean().sqrt()),
        "quantiles": (factor * np.quantile(pulls.numpy(), QUANTILES)).tolist(),
        "error": float(left.mean().sqrt()),
        "drawn": drawn_error(made, float(told.mean().sqrt()), box, known),
        "objects": [float(np.sqrt(np.mean((apart / total) ** 2))), float(np.mean(np.abs(apart) < total))],
    }


def factor_of(model: NeuralReconstructor, known: Mapping[str, float]) -> float:
    """Return the factor of a card for a sample."""
    factors = model.card.error_factor
    return 1.0 if factors is None else factors.of(known)


def drawn_error(made: Reconstruction, level: float, box: SimulatedBox, known: Mapping[str, float]) -> float:
    """Return the rms error of a velocity component that draws have [km/s], from that which is told."""
    cosmology, table = box.cosmology, made.residuals
    assert table is not None
    factor = cosmology.velocity_factor(box.redshift)
    power = MatterPower(box.box, cosmology, box.redshift)
    sample = table.chosen(known).at(
        level=level / factor,
        amplitude=cosmology.sigma8 * cosmology.growth(box.redshift),
        cell_size=box.box.cell_size,
        share=answered_share(power, power.of(made["density_least_squares"].data[0])),
    )
    return factor * sample.error


def fitted(rows: Sequence[Mapping[str, Any]]) -> ErrorFactor:
    """Return the least squares of the logarithm of pulls."""
    return factor_fitted([row["known"] for row in rows], np.log([row["pull"] for row in rows]))


def left_out(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return ln of pulls of each kind of sample, and of dense ones, with a factor that their box took no part in."""
    apart = [
        {"seed": seed_of(Path(name.split(": ")[0])), "numbers": row["known"]} for name, row in rows.items()
    ]
    pulls = np.log([row["pull"] for row in rows.values()])
    after = mended("pulls", apart, pulls, np.ones(len(pulls)))[1]
    kinds = np.array([kind_of(name) for name in rows])
    dense = np.array([row["known"]["dense"] > DENSEST for row in rows.values()])
    found = {kind: after[kinds == kind] for kind in sorted(set(kinds))} | {"all": after}
    return found | {f"{kind}, dense": after[dense & (kinds == kind)] for kind in sorted(set(kinds[dense]))}


def kind_of(name: str) -> str:
    """Return how the objects of a sample were chosen, from its name."""
    return name.split(": ")[1].rsplit(", ", 2)[0]


def told(rows: Mapping[str, Mapping[str, Any]], factors: ErrorFactor) -> dict[str, Told]:
    """Return what factors leave of each kind of sample, and of all."""
    kinds: dict[str, list[tuple[float, ...]]] = {}
    for name, row in rows.items():
        kind = kind_of(name)
        factor = factors.of(row["known"])
        within = np.interp(factor, row["quantiles"], QUANTILES)
        found = (row["pull"], row["pull"] / factor, within, *row["objects"], row["error"] / row["drawn"])
        for one in (kind, "all"):
            kinds.setdefault(one, []).append(found)
    result = {}
    for kind in sorted(kinds):
        before, now, within, objects, objects_within, drawn = np.array(kinds[kind]).T
        uncertain = float(now.std() / np.sqrt(max(len(now) - 1, 1)))
        shares = float(within.mean()), float(objects_within.mean())
        result[kind] = Told(
            len(now), root(before), root(now), uncertain, shares[0], root(objects), shares[1], root(drawn)
        )
    return result


def root(values: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def measured(
    model: NeuralReconstructor, runs: Sequence[str], file: Path, *, objects: bool
) -> dict[str, dict[str, Any]]:
    """Return the rows of the samples of runs such as RUN:501-502, measuring those that the file does not have.

    With `objects` those are measured anew, too, whose objects had another factor than the card's.
    """
    kept: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    used, paths = {}, []
    for run, _, seeds in (one.rpartition(":") for one in runs):
        wanted = ranges("seeds", seeds)
        paths += [one for epoch in run_epochs(run) for one in open_run(epoch) if seed_of(one) in wanted]
    for path in paths:
        box = SimulatedBox.open(path)
        for label, catalogue, hosts in samples(box):
            name = f"{path}: {label}"
            row = kept.get(name)
            if row is None or (objects and abs(row["factor"] - factor_of(model, row["known"])) > SAME):
                row = kept[name] = row_of(model, box, catalogue, hosts)
                with atomic_output(file, overwrite=True) as new:
                    new.write_text(json.dumps(kept), encoding="utf-8")
                print(f"{name}: pulls {row['pull']:.2f}, objects {row['objects'][0]:.2f}", flush=True)
            used[name] = row
    return used


def table(fit: Mapping[str, Told], test: Mapping[str, Told]) -> str:
    """Return the page's table."""
    lines = [
        "| sample | validation: pulls before, with the factor | held out: before, with the factor, within "
        "| objects: pulls, within |",
        "| --- | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        a, b = fit[kind], test[kind]
        lines.append(
            f"| {kind} | {a.before:.2f}, {a.now:.2f} ± {a.uncertain:.2f} | {b.before:.2f}, "
            f"{b.now:.2f} ± {b.uncertain:.2f}, {b.within:.2f} | {b.objects:.2f}, {b.objects_within:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument(
        "runs", nargs="*", help="to fit on, with seeds that the model did not learn from, RUN:501-502"
    )
    parser.add_argument("--test", nargs="+", default=[], help="held-out runs, RUN:1001-1002")
    parser.add_argument("--rows", type=Path, help="kept from call to call; errors-MODEL-CHECKSUM.json")
    parser.add_argument("--docs", type=Path, help="a page with the marks; needs both kinds of runs")
    given = parser.parse_args()
    if given.docs and not (given.runs and given.test):
        parser.error("--docs needs runs to fit on and --test")
    model = NeuralReconstructor.load(given.model)
    file = given.rows or Path(f"errors-{rows_of(given.model).name.removeprefix('residuals-')}")
    found = {}
    if given.runs:
        rows = measured(model, given.runs, file, objects=False)
        factors = fitted(list(rows.values()))
        card = model.card.model_copy(update={"error_factor": factors})
        model = NeuralReconstructor(model.module, card)
        found["validation"] = told(rows, factors)
        for kind, left in left_out(rows).items():
            print(
                f"left out, {kind}: mean of ln pulls {left.mean():.3f}, rms {np.sqrt(np.mean(left**2)):.3f}"
            )
        path = find_model(given.model)
        with atomic_output(path, overwrite=True) as new:
            new.write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(path, factors)
    if given.test:
        factors = model.card.error_factor
        if factors is None:
            parser.error(
                f"model must have a factor, got {given.model!r}, whose card has none: give runs to fit it on"
            )
        found["held out"] = told(measured(model, given.test, file, objects=True), factors)
    for what, kinds in found.items():
        print("\n".join(f"{what}, {kind}: {one}" for kind, one in kinds.items()))
    if given.docs:
        replace_between(given.docs, {"stated errors": table(found["validation"], found["held out"])})


if __name__ == "__main__":
    main()
