"""Train the reader of velocities at objects, on what shipped models reconstruct of simulated boxes.

    peculiar simulate dense ... ; peculiar simulate wide ...    # the runs of general (benchmarks/weights.toml)
    peculiar simulate light ...                                 # and epochs of a light cone
    python benchmarks/reader.py dense wide light --out reader

Of each box of the seeds 1 to 500 catalogues are drawn at random densities (halos and galaxies, ranked or not,
thinned, plane-parallel and radial) and reconstructed with cells of some sizes by the models; what the fields hold
along the sight lines of the objects is kept beside `--out`, as it is made. Blocks with open faces and cones that thin
with distance are among them: their objects move without the flow of unseen matter, which is also that of another sky
in the box, but for what linear theory expects of it (`peculiar.training.variants.isolated_velocity`). Boxes of the
seeds 501 to 1000 give the scores of the card: r of the velocities along the sight line (the host's and the object's
own) before and after, slopes, pulls.
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
from peculiar.fields.objects import at_objects, error_to_read, sight_of
from peculiar.fields.profiles import profiles
from peculiar.inference.card_range import outside_limits
from peculiar.inference.model_card import save_model
from peculiar.models.reader import KINDS, SightReader
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs, seed_ranges
from peculiar.training.reader import ObjectSample, fit_reader
from peculiar.training.variants import Variant, isolated_velocity, observe
from peculiar.workflows.reconstruct import make_reconstructor, settle
from peculiar.workflows.training_range import box_ranges

MODELS = ("general", "residual", "wiener", "iterative")
ANY = ("general", "wiener", "iterative")
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
OPEN = (
    Variant(number_density=(2e-4, 4e-3), satellite_fraction=(0.0, 0.3), line_of_sight="z", region="faces"),
    Variant(
        number_density=(2e-4, 4e-3), satellite_fraction=(0.0, 0.3), line_of_sight="radial", region="survey"
    ),
    Variant(
        number_density=(2e-4, 4e-3),
        satellite_fraction=(0.0, 0.3),
        line_of_sight="radial",
        region="survey",
        ranked=False,
    ),
)
"""Seen in part, one of every second box."""
COARSER = (1.0, 1.5, 1.0, 2.0)
"""Sizes of cells, over those of the simulation's mesh."""
LARGE, COARSEST = 4.0, (1.5, 2.0)
"""Boxes of cells from that on [Mpc/h] are rare and quick: they are observed in all ways, and with these sizes."""
VALIDATION = 501
MOST = 20_000  # objects of a catalogue


def cases(runs: list[Path]) -> Iterator[tuple[str, Path, Variant, str, float, int]]:
    """Yield a name, a box, how it is observed, by what it is reconstructed, the size of cells, and a seed."""
    paths = [path for run in runs for epoch in run_epochs(run) for path in open_run(epoch)]
    for number, path in enumerate(paths):
        seed = int(path.stem.split("-")[-1])
        if seed > 1000:
            continue
        cell_size = SimulatedBox.open(path).box.cell_size
        rounds, sizes = (2, COARSER) if cell_size < LARGE else (2 * len(VARIANTS), COARSEST)
        for which in range(rounds):
            place = rounds * number + which
            variant = place % len(VARIANTS)
            models = MODELS[:2] if variant == 4 else ANY
            coarser = sizes[(place // len(VARIANTS)) % len(sizes)]
            for model in models:
                if model == "residual":
                    coarser = 1.0
                name = f"{path.parent.parent.name}-{path.parent.name}-{seed}-{variant}-{model}-{coarser:g}"
                yield name, path, VARIANTS[variant], model, coarser, 900 + variant
        if number % 2 == 0:
            variant = number // 2 % len(OPEN)
            for model in ANY:
                name = f"{path.parent.parent.name}-{path.parent.name}-{seed}-open{variant}-{model}-1"
                yield name, path, OPEN[variant], model, 1.0, 950 + variant


def sample(
    box: SimulatedBox, catalogue: Catalogue, own: Catalogue, model: str, coarser: float
) -> ObjectSample | None:
    """Return what a reader sees of a catalogue's objects; None where a model does not answer.

    Of two catalogues, alike but for the velocities: the hosts' and the objects' own.
    """
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
    error = error_to_read(mean, fields["velocity"].box)
    known = (fields["velocity"].box.cell_size, KINDS[reconstructor.name])
    told = np.column_stack([error, *(np.full(len(catalogue), value) for value in known)])
    rows = np.random.default_rng(0).permutation(len(catalogue))[:MOST]
    other = 0.0 if catalogue.completeness is None else other_flow(box, catalogue)
    along = (((one.velocities - other) * catalogue.sight_lines()).sum(axis=1) for one in (catalogue, own))
    return ObjectSample(*(one[rows].astype(np.float32) for one in (profile, told, *along)))


def other_flow(box: SimulatedBox, catalogue: Catalogue) -> np.ndarray:
    """Return the velocity that unseen matter gives objects, less what linear theory expects of it, (n, 3) [km/s]."""
    reconstructor, _ = make_reconstructor("wiener")
    fields = reconstructor.reconstruct(catalogue, cells=box.box.mesh, cosmology=box.cosmology)
    isolated = isolated_velocity(box, catalogue, fields["density"].data)
    return box.velocity.replace(data=box.velocity.data - isolated).at(catalogue.positions)


def gather(folder: Path, name: str, path: Path, variant: Variant, *how: object) -> None:
    """Write a sample, where it is not there; an empty file where there is none."""
    file = folder / f"{name}.npz"
    if file.exists():
        return
    model, coarser, seed = how
    box = SimulatedBox.open(path)
    seen = (observe(box, variant, seed=seed, velocities=which) for which in ("host", "own"))
    found = sample(box, *seen, model, coarser)
    np.savez(file, **({} if found is None else vars(found)))
    print(name, 0 if found is None else len(found.host), flush=True)


def gathered(folder: Path) -> dict[bool, dict[str, ObjectSample]]:
    """Return what a folder holds by name, of boxes of training and of held-out ones (True)."""
    split: dict[bool, dict[str, ObjectSample]] = {False: {}, True: {}}
    for file in sorted(folder.glob("*.npz")):
        seed = int(file.stem.split("-")[-4])
        with np.load(file) as stored:
            if stored.files:
                split[seed >= VALIDATION][file.stem] = ObjectSample(**stored)
    return split


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
    parser.add_argument("--gathered", action="store_true", help="Make no more samples than there are.")
    given = parser.parse_args()
    folder = given.out / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[bool, set[Path]] = {False: set(), True: set()}
    for name, path, *how in cases(given.runs):
        if not given.gathered:
            gather(folder, name, path, *how)
        paths[int(path.stem.split("-")[-1]) >= VALIDATION].add(path)
    if given.gather_only:
        return
    split = gathered(folder)
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
        models=tuple(KINDS),
        cosmology=cosmology_settings(boxes[0].cosmology),
        **box_ranges(boxes) | {"cell_size_range": (min(cells), max(cells))},
        number_density_range=(min(low for low, _ in densities), max(high for _, high in densities)),
        notes="friends-of-friends halos, with and without satellites, ranked by mass or not, thinned or not",
        velocity_definition="of the halo that an object lives in, and its own",
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
            read = network(profile, torch.from_numpy(one.told))
            mean = network.mean(profile)
        field = torch.from_numpy(np.nan_to_num(one.told[:, 0]))
        values = [
            *score(mean.host, read.host, (read.rest + field**2).sqrt(), one.host),
            *score(mean.own, read.own, read.own_variance.sqrt(), one.own),
        ]
        print(f"{name:50s} {len(one.host):6d} " + " ".join(f"{v:.3f}" for v in values), flush=True)
        kind = ", open" if "-open" in name else ""
        rows.setdefault(name.split("-")[-2] + kind, []).append(values)
    names = [f"{which}: {what}" for which in ("host", "own") for what in SCORES]
    return {
        f"{model} {what}": round(float(value), 4)
        for model, values in rows.items()
        for what, value in zip(names, np.mean(values, axis=0), strict=True)
    }


SCORES = ("r of the mean", "r", "slope", "pull", "within")


def score(mean: torch.Tensor, found: torch.Tensor, error: torch.Tensor, truth: np.ndarray) -> list[float]:
    """Return `SCORES`."""
    along = found.numpy()
    pull = (along - truth) / error.numpy()
    return [
        float(np.corrcoef(mean.numpy(), truth)[0, 1]),
        float(np.corrcoef(along, truth)[0, 1]),
        float((along * truth).sum() / (along**2).sum()),
        float(np.sqrt((pull**2).mean())),
        float((np.abs(pull) < 1).mean()),
    ]


if __name__ == "__main__":
    main()
