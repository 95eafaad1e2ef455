"""Table of `peculiar compare` on mocks with known answers, for docs/compare.md.

    python benchmarks/distances.py --mocks 25 --docs docs/compare.md

Each mock is a Gaussian linear field of its own (48^3 cells of 6.25 Mpc/h, smoothed with 7 Mpc/h) with objects drawn
from its density, see `peculiar.simulate.distances`. Beside the likelihood stands what is often done: the log-distance
velocities regressed on the field's velocity at the place of the observed redshift.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from reproduction import replace_between

from peculiar.core import PRESETS, Box, Field
from peculiar.fields.calculus import displacement
from peculiar.fields.sight import read_along, sight_lines
from peculiar.fields.smooth import gaussian
from peculiar.simulate.distances import DistanceMock, DistanceMockSettings, mock_distances
from peculiar.simulate.initial import linear_field
from peculiar.statistics.distances import DistanceSample, log_distance_velocities
from peculiar.statistics.velocity_fit import REACH, fit_velocities

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(300.0, 48)
SMOOTHING = 7.0  # Mpc/h
CENTRE, OUTSIDE = (150.0, 150.0, 150.0), (150.0, 150.0, -20.0)
TRUTH: dict[str, Any] = {"beta": 0.85, "external": (120.0, -60.0, 90.0), "sigma_v": 200.0, "zero_point": 0.35}
VALUES = np.array([0.85, 120.0, -60.0, 90.0, 200.0, 0.35])
SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "1000 objects of 0.1-0.4 mag, observer at the centre": {"count": 1000, "observer": CENTRE},
    "1000 objects of 0.1-0.4 mag, observer outside": {"count": 1000, "observer": OUTSIDE},
    "2000 objects of 0.4 mag (Tully-Fisher)": {
        "count": 2000,
        "observer": CENTRE,
        "modulus_error": (0.4, 0.4),
    },
    "300 objects of 0.12 mag (supernovae)": {"count": 300, "observer": CENTRE, "modulus_error": (0.12, 0.12)},
    "2000 objects of 0.05 mag (to see a small bias)": {
        "count": 2000,
        "observer": CENTRE,
        "modulus_error": (0.05, 0.05),
    },
}


def linear_flow(seed: int) -> tuple[Field, Field]:
    density = Field(linear_field(BOX, COSMOLOGY, seed=seed, redshift=0.0)[None], BOX, names=("density",))
    density = gaussian(density, SMOOTHING)
    data = COSMOLOGY.velocity_factor(0.0) * displacement(density.data[0], BOX)
    return Field(data, BOX, names=("x", "y", "z"), unit="km/s", kind="vector"), density


def regression(
    velocity: Field, sample: DistanceSample, observer: tuple[float, float, float]
) -> tuple[float, float]:
    """Return beta and its error from log-distance velocities at the places of the redshifts."""
    measured, error = log_distance_velocities(sample, cosmology=COSMOLOGY)
    place = np.asarray(COSMOLOGY.comoving_distance(sample.redshift))[:, None]
    field = np.einsum(
        "nc,nc->n", read_along(velocity, observer, sample.directions, place)[:, 0], sample.directions
    )
    noise = np.hypot(error, TRUTH["sigma_v"])
    columns = np.column_stack([field, sample.directions, place]) / noise[:, None]
    covariance = np.linalg.inv(columns.T @ columns)
    return float((covariance @ columns.T @ (measured / noise))[0]), float(np.sqrt(covariance[0, 0]))


def fits(name: str, mocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and errors of every mock, (mock, 6) each, and beta and error of the regression, (mock, 2)."""
    values, errors, plain = [], [], []
    for seed in range(mocks):
        velocity, density = linear_flow(1000 + seed)
        settings = DistanceMockSettings(**{**TRUTH, **SAMPLES[name]})
        mock: DistanceMock = mock_distances(velocity, density, settings, cosmology=COSMOLOGY, seed=seed)
        sample = DistanceSample(mock.directions, mock.redshift, mock.modulus, mock.modulus_error)
        sight = sight_lines(
            velocity,
            density,
            observer=settings.observer,
            directions=mock.directions,
            redshift=mock.redshift,
            cosmology=COSMOLOGY,
            reach=REACH,
            step=50.0,
        )
        found = fit_velocities(sample, sight, bootstraps=0)
        values.append(found.values)
        errors.append(found.errors)
        plain.append(regression(velocity, sample, settings.observer))
    return np.array(values), np.array(errors), np.array(plain)


def table(mocks: int) -> str:
    """Return the table in Markdown."""
    lines = [
        f"Truth: beta 0.85, V_ext (120, -60, 90) km/s, sigma_v 200 km/s, zero point 0.35 mag; {mocks} mocks a row. A "
        f"pull is (found - true) / error: its mean should be 0 +- {1 / np.sqrt(mocks):.2f}, its scatter 1 +- "
        f"{1 / np.sqrt(2 * mocks):.2f}.",
        "",
        "| sample | beta: mean, scatter, mean error | pull of beta: mean, scatter | pulls of V_ext: mean, scatter | "
        "sigma_v: mean, scatter [km/s] | pull of the zero point: mean, scatter | beta by regression: mean, scatter |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SAMPLES:
        values, errors, plain = fits(name, mocks)
        pulls = (values - VALUES) / errors
        beta, sigma = values[:, 0], values[:, 4]
        lines.append(
            f"| {name} | {beta.mean():.3f}, {beta.std(ddof=1):.3f}, {errors[:, 0].mean():.3f} | "
            f"{pulls[:, 0].mean():.2f}, {pulls[:, 0].std(ddof=1):.2f} | "
            f"{pulls[:, 1:4].mean():.2f}, {pulls[:, 1:4].std(ddof=1):.2f} | "
            f"{sigma.mean():.0f}, {sigma.std(ddof=1):.0f} | "
            f"{pulls[:, 5].mean():.2f}, {pulls[:, 5].std(ddof=1):.2f} | "
            f"{plain[:, 0].mean():.3f}, {plain[:, 0].std(ddof=1):.3f} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mocks", type=int, default=25)
    parser.add_argument(
        "--docs", type=Path, help="page whose table, between `<!-- mocks: begin/end -->`, is filled"
    )
    arguments = parser.parse_args()
    text = table(arguments.mocks)
    print(text)
    if arguments.docs:
        replace_between(arguments.docs, {"mocks": text})
