"""Velocities on a light cone of N-body halos: the slope of true on predicted ones in bins of redshift.

    peculiar simulate RUN --seeds 1001 --box 400 --particles 256 --cells 80 --redshifts 0.4,0.5,0.6,0.7,0.8,0.9,1,1.1
    python benchmarks/light_cone.py RUN --scratch /tmp/light-cone --docs docs/results/light_cone.md

`peculiar mock --light-cone` observes the run as a complete patch of the sky of LRG-like density, and the iterative FFT
reconstructs it as `peculiar reconstruct` does it: each object and cell with its own epoch, with one epoch for all,
and with the bias of the halos of each epoch from their cross-power with matter. A slope of 1 is unbiased. What stands
between the markers `slopes` of the page is filled.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from reproduction import replace_between

from peculiar.catalogues import load_survey, read_survey, to_catalogue
from peculiar.catalogues.survey import Survey
from peculiar.core import Catalogue, Cosmology, Field
from peculiar.fields.files import read_fields
from peculiar.fields.fourier import k_squared, to_fourier
from peculiar.fields.paint import paint
from peculiar.linear import IterativeFFT
from peculiar.linear.light_cone import of_epoch
from peculiar.simulate.light_cone import LightCone, open_light_cones
from peculiar.workflows.mock import make_mocks
from peculiar.workflows.mock_settings import MockSettings
from peculiar.workflows.reconstruct import reconstruct

BINS = np.arange(0.4, 1.1, 0.1)
RA, DEC = (20.0, 46.0), (15.0, 41.0)  # no axis of the box, along which it would repeat
EDGE = 2.5  # degrees: 47 to 105 Mpc/h from the sides of the patch, beyond which nothing is known of the flow
FACES = 75.0  # Mpc/h from its near and far faces, likewise
CELL = 10.0  # Mpc/h


def survey(density: float) -> Survey:
    """Return a complete patch of the sky with one density."""
    return Survey.model_validate(
        {
            "frame": "cmb",
            "sky": [{"ra": RA, "dec": DEC}],
            "redshifts": (0.4, 1.1),
            "radial": "tabulated",
            "n_of_z": {"redshift": (0.4, 1.1), "density": (density, density)},
        }
    )


def halo_bias(cone: LightCone, density: float, satellites: float) -> dict[float, float]:
    """Return P_hm / P_mm at k < 0.1 h/Mpc of the observed objects of each epoch."""
    found = {}
    for box in cone.boxes:
        halos = box.catalogue(density, satellite_fraction=satellites, space="real").positions
        counts = paint(halos, box.box)[0]
        tracers, matter = (to_fourier(one) for one in (counts / counts.mean() - 1, box.density.data[0]))
        large = k_squared(box.box) < 0.1**2
        cross = (tracers * matter.conj()).real[large].sum()
        found[box.redshift] = float(cross / matter.abs().square()[large].sum())
    return found


def slope(true: np.ndarray, predicted: np.ndarray, part: np.ndarray) -> tuple[float, float]:
    """Return the slope of true on predicted velocities, and its jackknife error over parts of the sky."""

    def fit(rows: np.ndarray) -> float:
        x, y = (values[rows] - values[rows].mean() for values in (predicted, true))
        return float((x * y).sum() / (x * x).sum())

    parts = np.unique(part)
    left = np.array([fit(part != one) for one in parts])
    return fit(np.ones(len(part), bool)), float(np.sqrt((len(parts) - 1) * left.var()))


def places(sight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which directions lie inside the edge, and in which of 16 parts of the patch."""
    ra, dec = np.degrees(np.arctan2(sight[:, 1], sight[:, 0])), np.degrees(np.arcsin(sight[:, 2]))
    inside = (ra > RA[0] + EDGE) & (ra < RA[1] - EDGE) & (dec > DEC[0] + EDGE) & (dec < DEC[1] - EDGE)
    part = [
        np.clip(4 * (value - low) / (high - low), 0, 3.999).astype(int)
        for value, (low, high) in ((ra, RA), (dec, DEC))
    ]
    return inside, 4 * part[0] + part[1]


def slopes(
    model: str | IterativeFFT, catalogue: Catalogue, table: Table, truth: Field, cosmology: Cosmology
) -> dict[str, list[tuple[float, float]]]:
    """Return slopes in each bin: in cells, of objects where they are found to be, and where they are.

    The true velocities of objects are their own, which `v_los` and `v_los_own` are held against.
    """
    fields = reconstruct(catalogue, model=model, cosmology=cosmology)
    objects, box = fields.at_objects(), truth.box
    centres = box.centres()
    distance = np.linalg.norm(centres, axis=1)
    sight = centres / distance[:, None]
    predicted, true = (
        along(field.data.reshape(3, -1).numpy().T, sight) for field in (fields["velocity"], truth)
    )
    complete = catalogue.completeness.data.reshape(-1).numpy() > 0.9
    real = np.stack([table[f"{axis}_real"] for axis in "xyz"], axis=1)
    away = real / np.linalg.norm(real, axis=1, keepdims=True)
    halos, z = np.asarray(table["v_los"]), np.asarray(table["z_cosmological"])
    sets = {
        "in cells": (true, predicted, cosmology.redshift_at(distance), sight, complete),
        "at objects": (halos, objects.v_los, z, away, True),
        "at objects, their own": (halos, objects.v_los_own, z, away, True),
        "at their true places": (
            halos,
            along(fields["velocity"].at(real), away),
            z,
            away,
            box.contains(real),
        ),
    }
    near, far = cosmology.comoving_distance(np.array([0.4, 1.1]))
    nearest, farthest = cosmology.redshift_at(np.array([near + FACES, far - FACES]))
    found: dict[str, list[tuple[float, float]]] = {}
    for name, (actual, guess, redshift, direction, kept) in sets.items():
        inside, part = places(direction)
        rows = inside & kept & np.isfinite(guess)
        rows &= (redshift > nearest) & (redshift < farthest)
        shells = [rows & (redshift >= low) & (redshift < low + 0.1) for low in BINS]
        found[name] = [slope(actual[shell], guess[shell], part[shell]) for shell in shells]
    return found


def along(vectors: np.ndarray, sight: np.ndarray) -> np.ndarray:
    """Return the components of vectors (n, 3) along unit vectors (n, 3)."""
    return np.einsum("ij,ij->i", vectors, sight)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--part", default="slopes", help="Of the page that is filled.")
    parser.add_argument("--density", type=float, default=5e-4)
    parser.add_argument("--satellites", type=float, default=0.1)
    parser.add_argument("--only", nargs="*", help="Of the methods: all by default.")
    arguments = parser.parse_args()
    (cone,) = open_light_cones(arguments.run)
    cosmology = cone.cosmology
    out = arguments.scratch / "mocks"
    settings = MockSettings(light_cone=True, satellites=arguments.satellites, randoms=0.0)
    summary = make_mocks(
        arguments.run, out=out, survey=survey(arguments.density), settings=settings, force=True
    )
    (name,) = summary.objects
    table = Table.read(out / name)  # all of its rows are kept: mocks are made with the survey that reads them
    read = load_survey(out / "survey.toml")
    sample = read_survey(table, read, cosmology=cosmology)
    fine = sample.box()
    times = round(CELL / fine.cell_size)
    box = fine.with_cells(tuple(n // times for n in fine.shape))
    fields = read_fields(out / f"{Path(name).stem}.zarr")
    coarse = torch.nn.functional.avg_pool3d(fields["velocity"].data[None], times)[0]
    truth = fields["velocity"].replace(data=coarse, box=box)
    catalogue = to_catalogue(sample, box).catalogue
    bias = halo_bias(cone, arguments.density, arguments.satellites)

    def true_bias(redshift: float) -> float:
        return float(np.interp(redshift, list(bias), list(bias.values())))

    middle = true_bias(catalogue.redshift)
    evolution = of_epoch(catalogue, lambda z: true_bias(z) / middle, cosmology=cosmology)
    real = np.stack([table[f"{axis}_real"] for axis in "xyz"], axis=1)
    iterative = IterativeFFT(surroundings=True)
    methods = {
        "iterative": (iterative, catalogue),
        "iterative, one epoch": (iterative, catalogue.replace(light_cone=False)),
        "iterative, true bias": (replace(iterative, bias=middle, evolution=evolution), catalogue),
        "iterative, real space": (iterative, catalogue.replace(positions=real, space="real")),
        "wiener": ("wiener", catalogue),
    }
    lines = [
        f"{len(table)} objects: {summary.told[0]}. Cells of {box.cell_size:g} Mpc/h; {EDGE:g} degrees from the sides "
        f"of the patch and {FACES:g} Mpc/h from its near and far faces are left out. "
        "The bias of the objects (P_hm / P_mm) is "
        + ", ".join(f"{value:.2f} at z = {redshift:g}" for redshift, value in bias.items())
        + ".",
        "",
        "| slope of true on predicted | "
        + " | ".join(f"z = {low:.1f} to {low + 0.1:.1f}" for low in BINS)
        + " |",
        "| --- |" + " --- |" * len(BINS),
    ]
    for title, (method, seen) in methods.items():
        if arguments.only and title not in arguments.only:
            continue
        if isinstance(method, IterativeFFT):
            method = method.fitted(seen, cosmology=cosmology)
            title += f" (smoothing {method.smoothing:.1f} Mpc/h, bias {method.bias:.2f})"
        for where, found in slopes(method, seen, table, truth, cosmology).items():
            lines.append(f"| {title}, {where} | " + " | ".join(f"{v:.3f} ± {e:.3f}" for v, e in found) + " |")
    text = "\n".join(lines)
    print(text)
    if arguments.docs:
        replace_between(arguments.docs, {arguments.part: text})


if __name__ == "__main__":
    main()
