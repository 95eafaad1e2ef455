"""How large errors are over what a network tells, on boxes that it did not learn from, and the factor that mends it.

    python benchmarks/stated_errors.py general runs/dense:501-502 runs/test:501-502
    python benchmarks/stated_errors.py general runs/test:1001-1004 --test

Each run may have several redshifts. Samples differ in density, satellites, whether they are the most massive or
thinned, and in what is known of masses; of those that a box holds every second is taken, from one on which moves with
seed and redshift. Of each the rms of pulls of `velocity_error` in cells is measured; its logarithm is fitted by a
linear function of what `peculiar.inference.reconstructor.sample_numbers` tells, by least squares, which goes into the
card (`ErrorFactor`). Rows are kept in a file (`--rows`), with pulls as they are without a factor, by the checksum of
the weights. What the factor leaves is printed; `--test` takes the card's and fits none.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from residuals import rows_of

from peculiar.cli.app import ranges
from peculiar.core import Catalogue, OutOfRangeWarning
from peculiar.core.output import atomic_output
from peculiar.fields.objects import ERROR
from peculiar.inference.card_values import ErrorFactor
from peculiar.inference.model_card import find_model
from peculiar.inference.reconstruction import Reconstruction
from peculiar.inference.reconstructor import NeuralReconstructor, error_factor, sample_numbers
from peculiar.inference.residuals import MatterPower, answered_share
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs, seed_of
from peculiar.training.variants import chosen
from peculiar.workflows.reconstruct import reconstructed

SATELLITES = (0.0, 0.25)
SAMPLES = (  # (h/Mpc)^3, masses, thinned
    (1e-4, True, True),
    (1e-3, False, True),
    (3e-4, True, False),
    (3e-4, True, True),
    (3e-3, False, False),
    (1e-3, True, False),
    (1e-3, True, True),
    (3e-4, False, True),
    (3e-3, True, False),
    (1e-4, False, True),
    (1e-4, True, False),
    (1e-3, False, False),
)
QUANTILES = np.linspace(0.4, 0.9, 51)
TOP = 3e-3  # that samples are thinned from
FEWEST = 600
RIDGE = 0.5  # samples' worth of no dependence


def samples(box: SimulatedBox, *, step: int) -> Iterator[tuple[str, Catalogue, np.ndarray]]:
    """Yield every second of the samples that a box holds, with a name and the velocities of the hosts."""
    volume = box.box.volume
    top = min(TOP, len(box.halos) / volume)
    held = [one for one in SAMPLES if one[0] * volume >= FEWEST and one[0] <= 1.01 * top]
    for place, (density, masses, thinned) in enumerate(held):
        if (place + step) % 2:
            continue
        satellites = SATELLITES[(place // 2 + step // 2) % 2]
        drawn = {"satellite_fraction": satellites, "seed": 70 + step}
        number = top if thinned or density > top else density
        catalogue = box.catalogue(number, **drawn)
        hosts = box.halos.velocities[box.galaxies(number, **drawn).host]
        if thinned:
            random = np.random.default_rng([box.seed, step, place])
            rows = random.permutation(len(catalogue))[: round(density * volume)]
            catalogue, hosts = chosen(catalogue, rows), hosts[rows]
        how = ("thinned, " if thinned else "") + ("ranked" if masses else "no masses")
        name = f"{how}, {density:g}, satellites {satellites:g}"
        yield name, catalogue if masses else catalogue.replace(masses=None), hosts


def row_of(
    model: NeuralReconstructor, box: SimulatedBox, catalogue: Catalogue, hosts: np.ndarray
) -> dict[str, Any]:
    """Reconstruct a sample and return its circumstances and pulls, in cells (as without factors) and at objects."""
    cosmology = box.cosmology
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        fields = model.reconstruct(catalogue, cells=box.box.mesh, cosmology=cosmology)
        factor = error_factor(model.card, catalogue, cosmology=cosmology)
    made = reconstructed(catalogue, fields, by=model, cosmology=cosmology)
    left = (made["velocity"].data - box.velocity.data).square()
    told = made[ERROR].data.square()
    pulls = (left / told).sqrt()
    at, sight = made.at_objects(), catalogue.sight_lines()
    assert at.v_los_error is not None
    apart = at.v_los - (hosts * sight).sum(axis=1)
    total = np.hypot(at.v_los_error, at.v_los_scatter)
    return {
        "known": sample_numbers(catalogue, cosmology=cosmology),
        "pull": factor * float(pulls.square().mean().sqrt()),
        "quantiles": (factor * np.quantile(pulls.numpy(), QUANTILES)).tolist(),
        "error": float(left.mean().sqrt()),
        "drawn": drawn_error(made, float(told.mean().sqrt()), box),
        "objects": [float(np.sqrt(np.mean((apart / total) ** 2))), float(np.mean(np.abs(apart) < total))],
    }


def drawn_error(made: Reconstruction, level: float, box: SimulatedBox) -> float:
    """Return the rms error of a velocity component that draws have [km/s], from that which is told."""
    cosmology, table = box.cosmology, made.residuals
    assert table is not None
    factor = cosmology.velocity_factor(box.redshift)
    power = MatterPower(box.box, cosmology, box.redshift)
    sample = table.at(
        level=level / factor,
        amplitude=cosmology.sigma8 * cosmology.growth(box.redshift),
        cell_size=box.box.cell_size,
        share=answered_share(power, power.of(made["density_least_squares"].data[0])),
    )
    return factor * sample.error


def fitted(rows: Sequence[Mapping[str, Any]]) -> ErrorFactor:
    """Return the least squares of the logarithm of pulls."""
    names = list(rows[0]["known"])
    known = np.array([[row["known"][name] for name in names] for row in rows])
    mean, scale = known.mean(axis=0), known.std(axis=0)
    unit = np.column_stack([np.ones(len(rows)), (known - mean) / scale])
    normal = unit.T @ unit + np.diag([0.0, *[RIDGE] * len(mean)])
    found = np.linalg.solve(normal, unit.T @ np.log([row["pull"] for row in rows]))
    slopes = found[1:] / scale

    def named(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.round(4).tolist(), strict=True))

    return ErrorFactor(
        constant=round(float(found[0] - slopes @ mean), 4),
        slopes=named(slopes),
        least=named(known.min(axis=0)),
        most=named(known.max(axis=0)),
    )


def told(rows: Mapping[str, Mapping[str, Any]], factors: ErrorFactor | None) -> Iterator[str]:
    """Yield what factors leave of each kind of sample, and of all."""
    kinds: dict[str, list[tuple[float, ...]]] = {}
    for name, row in rows.items():
        kind = name.split(": ")[1].rsplit(", ", 2)[0]
        factor = 1.0 if factors is None else factors.of(row["known"])
        within = np.interp(factor, row["quantiles"], QUANTILES)
        drawn = row["error"] / row["drawn"]
        found = (row["pull"], row["pull"] / factor, within, row["objects"][0], row["objects"][1], drawn)
        for one in (kind, "all"):
            kinds.setdefault(one, []).append(found)
    for kind in sorted(kinds):
        found = np.array(kinds[kind])
        before, now, within, objects, objects_within, drawn = found.T
        uncertain = now.std() / np.sqrt(max(len(now) - 1, 1))
        yield (
            f"{kind} ({len(found)}): pulls {root(before):.2f}, with the factor {root(now):.2f} +- {uncertain:.2f} "
            f"({within.mean():.2f} within); at objects {root(objects):.2f} ({objects_within.mean():.2f}); error over "
            f"that of draws {root(drawn):.2f}"
        )


def root(values: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument(
        "runs", nargs="+", help="with the seeds that the model did not learn from, RUN:501-502"
    )
    parser.add_argument("--rows", type=Path, help="kept from call to call; errors-MODEL-CHECKSUM.json")
    parser.add_argument(
        "--test", action="store_true", help="tell of the card's factor, and leave the card as it is"
    )
    given = parser.parse_args()
    model = NeuralReconstructor.load(given.model)
    file = given.rows or Path(f"errors-{rows_of(given.model).name.removeprefix('residuals-')}")
    kept: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    used = {}
    paths = []
    for run, _, seeds in (one.rpartition(":") for one in given.runs):
        wanted = ranges("seeds", seeds)
        paths += [one for epoch in run_epochs(run) for one in open_run(epoch) if seed_of(one) in wanted]
    for path in paths:
        box = SimulatedBox.open(path)
        for label, catalogue, hosts in samples(box, step=box.seed + round(2 * box.redshift)):
            name = f"{path}: {label}"
            if name not in kept:
                kept[name] = row_of(model, box, catalogue, hosts)
                with atomic_output(file, overwrite=True) as new:
                    new.write_text(json.dumps(kept), encoding="utf-8")
                row = kept[name]
                print(f"{name}: pulls {row['pull']:.2f}, objects {row['objects'][0]:.2f}", flush=True)
            used[name] = kept[name]
    factors = model.card.error_factor if given.test else fitted(list(used.values()))
    print("\n".join(told(used, factors)))
    if given.test:
        return
    path = find_model(given.model)
    text = model.card.model_copy(update={"error_factor": factors}).model_dump_json(indent=1)
    with atomic_output(path, overwrite=True) as new:
        new.write_text(text + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
