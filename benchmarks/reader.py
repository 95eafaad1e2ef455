"""Train the reader of velocities at objects, on what shipped models reconstruct of simulated boxes.

    peculiar simulate dense ... ; peculiar simulate wide ...    # the runs of general (benchmarks/weights.toml)
    python benchmarks/reader.py dense wide --out reader

Of each box of the seeds 1 to 500 catalogues are drawn at random densities (halos and galaxies, ranked or not, thinned,
plane-parallel and radial) and reconstructed with cells of some sizes by the models; what the fields hold along the
sight lines of the objects is kept beside `--out`, as it is made. Boxes of the seeds 501 to 1000 give the scores of the
card: r of the host's velocity along the sight line before and after, and the rms of pulls.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import peculiar
from peculiar.core import Catalogue, OutOfRangeWarning
from peculiar.core.cosmologies import cosmology_settings
from peculiar.fields.objects import at_objects, sight_of
from peculiar.fields.profiles import profiles
from peculiar.inference.card_range import outside_limits
from peculiar.inference.model_card import save_model
from peculiar.models.reader import SightReader
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs, seed_ranges
from peculiar.training.reader import ObjectSample, fit_reader
from peculiar.training.variants import Variant, observe
from peculiar.workflows.reconstruct import make_reconstructor, settle
from peculiar.workflows.training_range import box_ranges

MODELS = ("general", "residual", "wiener", "iterative")
VARIANTS = (
    Variant(number_density=(1e-4, 4e-3), line_of_sight="z"),
    Variant(number_density=(1e-4, 4e-3), satellite_fraction=(0.1, 0.3), line_of_sight="radial"),
    Variant(number_density=(2e-4, 4e-3), satellite_fraction=(0.0, 0.3), line_of_sight="z", ranked=False),
    Variant(
        number_density=(1e-4, 2e-3),
        satellite_fraction=(0.0, 0.3),
        line_of_sight="radial",
        ranked=False,
        thinned=True,
    ),
    Variant(number_density=(2.5e-3, 4e-3), satellite_fraction=(0.0, 0.3), line_of_sight="z"),
)
COARSER = (1.0, 1.0, 1.5)
"""Sizes of cells, over those of the simulation's mesh."""
VALIDATION = 501
MOST = 20_000  # objects of a catalogue


def cases(runs: list[Path]) -> Iterator[tuple[str, Path, Variant, str, float, int]]:
    """Yield a name, a box, how it is observed, by what it is reconstructed, the size of cells, and a seed."""
    paths = [path for run in runs for epoch in run_epochs(run) for path in open_run(epoch)]
    for number, path in enumerate(paths):
        seed = int(path.stem.split("-")[-1])
        if seed > 1000:
            continue
        for which in range(2):
            place = 2 * number + which
            variant = place % len(VARIANTS)
            models = MODELS[:2] if variant == 4 else (MODELS[0], MODELS[2 + (place // 5) % 2])
            coarser = COARSER[(place // len(VARIANTS)) % len(COARSER)]
            for model in models:
                if model == "residual":
                    coarser = 1.0
                name = f"{path.parent.parent.name}-{path.parent.name}-{seed}-{variant}-{model}-{coarser:g}"
                yield name, path, VARIANTS[variant], model, coarser, 900 + variant


def sample(box: SimulatedBox, catalogue: Catalogue, model: str, coarser: float) -> ObjectSample | None:
    """Return what a reader sees of a catalogue's objects; None where a model does not answer."""
    reconstructor, card = make_reconstructor(model)
    cells = 4 * round(box.box.mesh / coarser / 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        if model == "residual" and outside_limits(card, catalogue, cells=cells, cosmology=box.cosmology):
            return None
        by, _ = settle(reconstructor, card, catalogue, cells=cells, cosmology=box.cosmology)
        fields = by.reconstruct(catalogue, cells=cells, cosmology=box.cosmology)
    mean = at_objects(catalogue, fields, cosmology=box.cosmology)
    sight = sight_of(catalogue.geometry, catalogue.positions, cosmology=box.cosmology)
    profile = profiles(fields["velocity"], fields["density"], sight)
    error = np.full(len(catalogue), np.nan) if mean.v_los_error is None else mean.v_los_error
    cell = np.full(len(catalogue), fields["velocity"].box.cell_size)
    told = np.column_stack([error, cell])
    host = (catalogue.velocities * catalogue.sight_lines()).sum(axis=1)
    rows = np.random.default_rng(0).permutation(len(host))[:MOST]
    return ObjectSample(profile[rows], told[rows].astype(np.float32), host[rows].astype(np.float32))


def kept(path: Path, name: str, *made: object) -> ObjectSample | None:
    """Return a sample from its file, which is made where it is not there."""
    file = path / f"{name}.npz"
    if not file.exists():
        box_path, variant, model, coarser, seed = made
        box = SimulatedBox.open(box_path)
        found = sample(box, observe(box, variant, seed=seed), model, coarser)
        np.savez(file, **({} if found is None else vars(found)))
        print(name, 0 if found is None else len(found.host), flush=True)
    with np.load(file) as stored:
        return ObjectSample(**stored) if stored.files else None


def main() -> None:
    """Gather, train, score and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--out", type=Path, required=True, help="directory for reader.safetensors and its card"
    )
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--gather-only", action="store_true")
    given = parser.parse_args()
    folder = given.out / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    split: dict[bool, dict[str, ObjectSample]] = {False: {}, True: {}}
    paths: dict[bool, set[Path]] = {False: set(), True: set()}
    for name, path, *how in cases(given.runs):
        if (found := kept(folder, name, path, *how)) is not None:
            held_out = int(path.stem.split("-")[-1]) >= VALIDATION
            split[held_out][name] = found
            paths[held_out].add(path)
    if given.gather_only:
        return
    started = time.monotonic()
    network = fit_reader(list(split[False].values()), steps=given.steps)
    minutes = round((time.monotonic() - started) / 60, 2)
    metrics = {"steps": given.steps, "minutes": minutes, **scores(network, split[True])}
    print(json.dumps(metrics, indent=1))
    boxes = [SimulatedBox.open(path) for path in sorted(paths[False])]
    cells = [float(one.told[0, 1]) for one in split[False].values()]
    densities = [variant.bounds("number_density") for variant in VARIANTS]
    save_model(
        network,
        given.out,
        task="read",
        name="reader",
        package_version=peculiar.__version__,
        architecture="reader",
        configuration=vars(network.config),
        models=tuple(make_reconstructor(model)[0].name for model in MODELS),
        cosmology=cosmology_settings(boxes[0].cosmology),
        **box_ranges(boxes) | {"cell_size_range": (min(cells), max(cells))},
        number_density_range=(min(low for low, _ in densities), max(high for _, high in densities)),
        notes="friends-of-friends halos, with and without satellites, ranked by mass or not, thinned or not",
        velocity_definition="of the halo that an object lives in",
        metrics=metrics,
        seeds={"training": 0},
        splits={"train": seed_ranges(sorted(paths[False])), "validation": seed_ranges(sorted(paths[True]))},
    )


def scores(network: SightReader, samples: dict[str, ObjectSample]) -> dict[str, float]:
    """Return means over validation samples, by model: r before and after, slope, rms of pulls, share within one."""
    rows: dict[str, list[list[float]]] = {}
    for name, one in samples.items():
        with torch.no_grad():
            profile = torch.from_numpy(one.profile)
            along, rest = (x.numpy() for x in network(profile, torch.from_numpy(one.told)))
            mean = network.mean(profile)[0].numpy()
        error = np.sqrt(rest + np.nan_to_num(one.told[:, 0]) ** 2)
        pull = (along - one.host) / error
        values = [
            np.corrcoef(mean, one.host)[0, 1],
            np.corrcoef(along, one.host)[0, 1],
            (along * one.host).sum() / (along**2).sum(),
            np.sqrt((pull**2).mean()),
            (np.abs(pull) < 1).mean(),
        ]
        print(f"{name:50s} {len(mean):6d} " + " ".join(f"{v:.3f}" for v in values), flush=True)
        rows.setdefault(name.split("-")[4], []).append([float(v) for v in values])
    return {
        f"{model} {what}": round(float(value), 4)
        for model, values in rows.items()
        for what, value in zip(
            ("r of the mean", "r", "slope", "pull", "within"), np.mean(values, axis=0), strict=True
        )
    }


if __name__ == "__main__":
    main()
