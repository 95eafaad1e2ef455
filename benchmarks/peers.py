"""Reconstructors on the same mocks: in cells, at objects, against mock distances, with their time and memory.

    peculiar simulate held-out --seeds 1001 --redshifts 0,0.59
    peculiar simulate other --seeds 501 --box 187.5 --particles 192 --cells 80 --redshifts 0,0.6
    python -m venv bao && bao/bin/python -m pip install baorecon==0.7.0
    python benchmarks/peers.py held-out --tune-on other --baorecon bao/bin/python --docs docs/results/peers.md

baorecon has the bias that we measure of the sample; a factor on it, its smoothing and, in cut-outs, its solver are
those of the least variance of the velocity in the same sample of the box to tune on, of the nearest epoch. Ours tune
themselves. Every reconstruction runs in a process of its own. Scores are kept in `--scores`, a JSON file from which the
tables are made anew without a run. What stands
between `<!-- peers: begin -->` and `<!-- peers: end -->` of a page is filled.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baorecon_peer import PEER, Baorecon, tuned
from distances import look
from general import Sample, Scores, correlation, samples
from reproduction import replace_between

from peculiar.core import Cosmology, Field, Reconstructor
from peculiar.inference.card_range import outside_limits
from peculiar.inference.reconstruction import Reconstruction
from peculiar.linear import MultiTracerWiener
from peculiar.simulate.distances import DistanceMockSettings, mock_distances
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs
from peculiar.statistics.distances import DistanceSample
from peculiar.statistics.velocity_fit import fit_velocities
from peculiar.workflows.reconstruct import asked_for, make_reconstructor, reconstructed, settle

DEFAULT = "default"
MODELS = ("general", "residual", "survey", "xiao2024", "wiener", "iterative", "linear")
SAMPLES = (
    "halos, ranked, 0.003",
    "25 % satellites, ranked, 0.003",
    "25 % satellites, ranked, 0.0005",
    "cut-out, 25 % satellites, 0.003",
    "25 % satellites, cone, 0.003 at most",
)
DISTANCE_MOCKS, DISTANCES = 5, 600


def key(label: str) -> str:
    """Return a sample's label without the size of a cut-out."""
    return re.sub(r" of \d+ Mpc/h", "", label)


def chosen_samples(box: SimulatedBox, only: str = "") -> Iterator[Sample]:
    """Yield the samples of the table, or those whose labels hold some words."""
    for sample in samples(box):
        if key(sample.label) in SAMPLES and all(
            word in sample.label for word in filter(None, only.split(","))
        ):
            yield sample


def run_model(model: str | Reconstructor, sample: Sample, box: SimulatedBox) -> dict[str, Any] | None:
    """Return a model's scores on a sample, None where it does not apply."""
    catalogue, cosmology, cells = sample.catalogue, box.cosmology, sample.cells
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        card = None
        if isinstance(model, str):
            cells = survey_cells(sample) if model == "survey" else cells
            method, card = make_reconstructor(model)
        else:
            method = model
        start, used = time.perf_counter(), time.process_time()
        if card is not None and (
            (card.periodic_training and not catalogue.box.periodic)
            or outside_limits(card, catalogue, cells=cells, cosmology=cosmology)
        ):
            return None
        if isinstance(method, Baorecon):
            fields, cost = method.measured(catalogue, cells=cells, cosmology=cosmology)
        else:
            fields = method.reconstruct(catalogue, cells=cells, cosmology=cosmology)
            cost = {
                "seconds": time.perf_counter() - start,
                "processor": time.process_time() - used,
                "memory": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            }
        result = reconstructed(catalogue, fields, by=method, cosmology=cosmology)
    return {
        **in_cells(result, sample),
        **at_objects(result, sample),
        **in_distances(result, sample, box),
        **cost,
    }


def answering(sample: Sample, cosmology: Cosmology) -> str:
    """Return the name of the model that answers where none is named."""
    default = asked_for(None, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method, _ = settle(*default, sample.catalogue, cells=sample.cells, cosmology=cosmology)
    return "wiener" if isinstance(method, MultiTracerWiener) else method.name


def survey_cells(sample: Sample) -> int:
    """Return the cells of 5 Mpc/h along a side."""
    return round(sample.catalogue.box.side / 5)


def in_cells(result: Reconstruction, sample: Sample) -> dict[str, float]:
    """Return the rms error of a velocity component [km/s], and the slope of the true one on it, where it counts."""
    velocity = result["velocity"]
    if velocity.box.mesh != sample.cells:
        places = sample.catalogue.box.with_cells(sample.cells).centres()
        read = torch.from_numpy(velocity.at(places).T.astype(np.float32))
        velocity = velocity.replace(
            data=read.reshape(sample.truth.shape), box=velocity.box.with_cells(sample.cells)
        )
    found, truth = (sample.among(mesh).double() for mesh in (velocity.data, sample.truth))
    return {
        "rms": float((found - truth).square().mean().sqrt()),
        "slope": float((found * truth).sum() / found.square().sum()),
    }


def at_objects(result: Reconstruction, sample: Sample) -> dict[str, float]:
    """Return what is known of the line-of-sight velocity at objects, and of it where they are seen."""
    catalogue = sample.catalogue
    sight = catalogue.sight_lines()
    own, host = ((values * sight).sum(axis=1) for values in (catalogue.velocities, sample.hosts))
    found = result.at_objects().v_los
    there = (result["velocity"].at(catalogue.positions) * sight).sum(axis=1)
    return {
        "r": correlation(found, own),
        "sigma": float(np.std(found - own)),
        "r there": correlation(there, own),
        "sigma there": float(np.std(there - own)),
        "r ksz": float((found * host).sum() / np.sqrt((found**2).sum() * (host**2).sum())),
        "sigma ksz": float(np.sqrt(np.mean(found**2) / np.mean(host**2))),
        "slope ksz": float((found * host).sum() / (found**2).sum()),
    }


def in_distances(result: Reconstruction, sample: Sample, box: SimulatedBox) -> dict[str, float]:
    """Return beta and sigma_v that mock distances give, means over mocks, and the error of the mean of beta."""
    if box.redshift > 0 or sample.counts is not None:
        return {}
    region = sample.catalogue.box.with_cells(sample.cells)
    n = sample.cells
    truth = result["velocity"].replace(data=sample.truth, box=region)
    density = Field(box.density.data[:, :n, :n, :n].contiguous(), region, names=("density",))
    middle = region.side / 2
    observer = (middle, middle, middle)
    settings = DistanceMockSettings(
        count=DISTANCES, observer=observer, cz_range=(1000.0, 150.0 * middle), modulus_error=(0.05, 0.2)
    )
    fits = []
    for seed in range(DISTANCE_MOCKS):
        mock = mock_distances(truth, density, settings, cosmology=box.cosmology, seed=seed)
        seen = DistanceSample(mock.directions, mock.redshift, mock.modulus, mock.modulus_error)
        sight = look(mock, result["velocity"], result["density"], observer=observer, cosmology=box.cosmology)
        fit = fit_velocities(seen, sight, bootstraps=0)
        fits.append((fit.beta, fit.sigma_v))
    beta, sigma = np.mean(fits, axis=0)
    return {
        "beta": float(beta),
        "beta error": float(np.std(fits, axis=0, ddof=1)[0] / np.sqrt(len(fits))),
        "sigma_v": float(sigma),
    }


def in_own_process(model: str | Reconstructor, sample: Sample, box: SimulatedBox) -> dict[str, Any] | None:
    """Return `run_model` of a process of its own, whose memory is measured."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(run_model, model, sample, box).result()


def peer(
    python: Path, sample: Sample, box: SimulatedBox, like: Sample, other: SimulatedBox
) -> dict[str, Any]:
    """Return baorecon's scores on a sample, tuned on one like it of another box."""
    method = tuned(python, like, other)
    setting = f"{method.smoothing:g} Mpc/h, bias x {method.factor:g}, {method.solver}"
    return {**(in_own_process(method, sample, box) or {}), "setting": setting}


def lines(scores: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the tables, one a sample."""
    for sample, found in scores.items():
        yield from (f"**{sample}**", "")
        measured = any("beta" in one for one in found.values() if isinstance(one, dict))
        more = " beta, sigma_v [km/s] |" if measured else ""
        yield (
            "| | cells: rms error [km/s], slope | objects: r, sigma [km/s] | read where seen | "
            f"kSZ: r, sigma ratio, slope |{more} processor [s] | memory [MB] |"
        )
        yield "| --- |" + " ---: |" * (6 + measured)
        for model in (*MODELS, PEER):
            one = found.get(model)
            if one is None:
                continue
            label = f"`{model}`"
            if model == PEER:
                label += f" ({one['setting']})"
            elif model == found[DEFAULT]:
                label += " (default)"
            distances = ""
            if measured:
                distances = f" {one['beta']:.3f} ± {one['beta error']:.3f}, {one['sigma_v']:.0f} |"
            yield (
                f"| {label} | {one['rms']:.1f}, {one['slope']:.2f} | {one['r']:.3f}, {one['sigma']:.0f} | "
                f"{one['r there']:.3f}, {one['sigma there']:.0f} | "
                f"{one['r ksz']:.3f}, {one['sigma ksz']:.2f}, {one['slope ksz']:.2f} |{distances} "
                f"{one['processor']:.1f} | {one['memory'] / 1e6:.0f} |"
            )
        yield ""


def measure(given: argparse.Namespace, kept: Scores) -> None:
    """Tune and score what is not kept yet."""
    epochs = [one for one in run_epochs(given.run) if not given.epochs or one.name in given.epochs.split(",")]
    others = []
    if given.baorecon is not None:
        others = [
            SimulatedBox.open(path)
            for one in run_epochs(given.tune_on)
            for path in open_run(one, [given.tune_seed])
        ]
    for epoch in epochs:
        (path,) = open_run(epoch, [given.seed])
        box = SimulatedBox.open(path)
        other = min(others, key=lambda one: abs(one.redshift - box.redshift), default=None)
        to_tune_on = (
            {} if other is None else {key(one.label): one for one in chosen_samples(other, given.only)}
        )
        for sample in chosen_samples(box, given.only):
            name = f"{sample.label}, z = {box.redshift:g}"
            kept.of(name, DEFAULT, partial(answering, sample, box.cosmology))
            for model in MODELS:
                kept.of(name, model, partial(in_own_process, model, sample, box))
            if other is not None:
                like = to_tune_on[key(sample.label)]
                kept.of(name, PEER, partial(peer, given.baorecon, sample, box, like, other))
            print("\n".join(lines({name: kept.found[name]})), flush=True)


def main() -> None:
    """Tune, score, print and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run", type=Path, nargs="?", help="of held-out boxes; where not given the tables of --scores"
    )
    parser.add_argument("--seed", type=int, default=1001, help="of its box")
    parser.add_argument("--epochs", help="of the run, as z0.000,z0.590; all where not given")
    parser.add_argument("--tune-on", type=Path, help="a run of other boxes, for baorecon")
    parser.add_argument("--tune-seed", type=int, default=501)
    parser.add_argument(
        "--baorecon", type=Path, help="a Python that has it; its rows are left out where not given"
    )
    parser.add_argument(
        "--only", default="", help="words that the labels of samples must hold, as halos,0.003"
    )
    parser.add_argument(
        "--scores", type=Path, default=Path("docs/results/peers.json"), help="kept from call to call"
    )
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    given = parser.parse_args()
    if given.baorecon is not None and given.tune_on is None:
        parser.error("--baorecon needs --tune-on")
    kept = Scores(given.scores)
    if given.run is not None:
        measure(given, kept)
    if given.docs:
        replace_between(given.docs, {"peers": "\n".join(lines(kept.found)).rstrip()})


if __name__ == "__main__":
    main()
