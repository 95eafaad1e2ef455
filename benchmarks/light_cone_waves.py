"""Does the last bin of a light cone deviate in the mean? Gaussian universes with all waves, in real space.

    python benchmarks/light_cone_waves.py --seeds 21-27
    python benchmarks/light_cone_waves.py --seeds 21-27 --longest 400

Universes of 2560 Mpc/h, whose waves are not those of a small box repeated, are sampled by objects with a bias of
0.8 / D(z), which are equally noisy at all epochs, in the sky, redshifts and density of `light_cone.py`; their linear
velocities are the truth. Printed are the slopes of true on predicted velocity in each bin, their mean over the seeds
with its error, and the first and the last bin over the mean of those between. In cells of 20 Mpc/h the slopes
themselves are not 1: a bin is judged by the others. A seed takes a minute of a core, and 1.9 GB.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from astropy.table import Table
from light_cone import BINS, DEC, RA, along, places, slope, survey
from scipy.ndimage import map_coordinates
from scipy.stats import norm

from peculiar.catalogues import read_survey, to_catalogue
from peculiar.core import Box, Cosmology
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import to_real
from peculiar.linear import IterativeFFT, MultiTracerWiener
from peculiar.linear.light_cone import of_epoch
from peculiar.simulate.initial import integer_modes, linear_density
from peculiar.workflows.reconstruct import reconstruct

SIDE, CELLS, CELL = 2560.0, 128, 20.0  # Mpc/h
DENSITY, BIAS = 5e-4, 0.8


def universe(seed: int, longest: float, cosmology: Cosmology) -> tuple[np.ndarray, np.ndarray]:
    """Return the density today, less what a cell smears, and the velocity over a H f D, (3, x, y, z)."""
    box = Box(SIDE, CELLS)
    modes = linear_density(box, cosmology, seed=seed)
    x, y, z = integer_modes(CELLS)
    modes[x**2 + y**2 + z**2 < (SIDE / longest) ** 2 * 0.9999] = 0
    velocity = displacement_from_fourier(modes, box).numpy()
    for k in (x, y, z):
        modes /= torch.sinc(k / CELLS)
    return to_real(modes, CELLS).numpy(), velocity


def slopes(seed: int, longest: float, cosmology: Cosmology) -> dict[str, list[float]]:
    """Return the slope of each model in each bin of redshift."""
    density, velocity = universe(seed, longest, cosmology)
    random = np.random.default_rng(seed)
    step = SIDE / CELLS
    expected = np.clip(1 + BIAS * density, 0, None) * DENSITY * step**3
    # The observer stands in a corner.
    counts = random.poisson(expected)
    index = np.repeat(np.argwhere(counts), counts[counts > 0], axis=0)
    positions = (index + random.random(index.shape)) * step
    distance = np.linalg.norm(positions, axis=1)
    positions = positions[(distance > 1000) & (distance < SIDE)]
    sight = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    table = Table(
        {
            "ra": np.degrees(np.arctan2(sight[:, 1], sight[:, 0])),
            "dec": np.degrees(np.arcsin(sight[:, 2])),
            "z": cosmology.redshift_at(np.linalg.norm(positions, axis=1)),
        }
    )
    kept = (table["ra"] > RA[0]) & (table["ra"] < RA[1]) & (table["dec"] > DEC[0]) & (table["dec"] < DEC[1])
    table = table[kept & (table["z"] > 0.4) & (table["z"] < 1.1)]
    sample = read_survey(table, survey(DENSITY), cosmology=cosmology)
    fine = sample.box()
    cells = tuple(int(np.ceil(side / CELL)) for side in fine.sides)
    box = Box(tuple(CELL * n for n in cells), cells, origin=fine.origin, periodic=False)
    catalogue = to_catalogue(sample, box).catalogue.replace(space="real")
    centres = box.centres()
    distance = np.linalg.norm(centres, axis=1)
    sight, redshift = centres / distance[:, None], cosmology.redshift_at(distance)
    nodes = np.linspace(0.3, 1.5, 200)
    factor = np.interp(redshift, nodes, [cosmology.velocity_factor(z) * cosmology.growth(z) for z in nodes])
    there = (centres / step - 0.5).T
    true = factor * sum(
        map_coordinates(one, there, order=3, mode="grid-wrap") * sight[:, axis]
        for axis, one in enumerate(velocity)
    )
    complete = catalogue.completeness.numpy().reshape(-1) > 0.9
    inside, part = places(sight)
    middle = cosmology.growth(catalogue.redshift)
    counted = norm.cdf(1 / (BIAS * density.std()))  # where fewer than none are expected, none are
    exact = {
        "bias": BIAS * counted / middle,
        "evolution": of_epoch(catalogue, lambda z: middle / cosmology.growth(z), cosmology=cosmology),
    }
    found = {}
    for model in (IterativeFFT(surroundings=True, **exact), MultiTracerWiener(**exact)):
        fields = reconstruct(
            catalogue, model=model.fitted(catalogue, cosmology=cosmology), cosmology=cosmology
        )
        predicted = along(fields["velocity"].numpy().reshape(3, -1).T, sight)
        shells = [inside & complete & (redshift >= low) & (redshift < low + 0.1) for low in BINS]
        found[model.name] = [slope(true[rows], predicted[rows], part[rows])[0] for rows in shells]
    return found


def mean(values: np.ndarray) -> str:
    """Return a mean over seeds, with its error."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="21-27", help="Two at least.")
    parser.add_argument("--longest", type=float, default=SIDE, help="Longest wave that there is [Mpc/h].")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    every: dict[str, list[list[float]]] = {}
    for seed in range(int(first), int(last or first) + 1):
        for name, values in slopes(seed, arguments.longest, Cosmology()).items():
            every.setdefault(name, []).append(values)
            print(f"seed {seed} {name}: " + " ".join(f"{value:.3f}" for value in values), flush=True)
    for name, found in every.items():
        values = np.array(found)
        inner = values[:, 1:-1].mean(axis=1)
        print(f"{name}: " + " ".join(map(mean, values.T)))
        print(f"{name}, over the bins between: {mean(values[:, 0] / inner)} {mean(values[:, -1] / inner)}")


if __name__ == "__main__":
    main()
