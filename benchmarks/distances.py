"""Tables of `peculiar compare` on mocks with known answers, for docs/compare.md.

    python benchmarks/distances.py --mocks 25 --docs docs/compare.md
    python benchmarks/distances.py --boxes runs/dense/z0.000 --seeds 1-8 --docs docs/compare.md

Each mock is a Gaussian linear field of its own (48^3 cells of 6.25 Mpc/h, smoothed with 7 Mpc/h) with objects drawn
from its density, see `peculiar.simulate.distances`. Beside the likelihood stands what is often done: the log-distance
velocities regressed on the field's velocity at the place of the observed redshift.

With `--boxes` the field is not known but reconstructed from halos of a simulated box, by a model that did not learn
from it: once taken as perfect, once known by its draws. Each box is seen from two places, with objects of its own for
each; beside them stands the true field, which tells what the objects alone leave.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reproduction import replace_between

from peculiar.core import PRESETS, Box, Cosmology, Field
from peculiar.fields.calculus import displacement
from peculiar.fields.sight import SightLines, read_along, sight_lines
from peculiar.fields.smooth import gaussian
from peculiar.inference.draws import draws
from peculiar.simulate.distances import DistanceMock, DistanceMockSettings, mock_distances
from peculiar.simulate.initial import linear_field
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.statistics.distances import DistanceSample, log_distance_velocities
from peculiar.statistics.velocity_fit import REACH, fit_velocities
from peculiar.workflows.reconstruct import reconstruct

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(300.0, 48)
SMOOTHING = 7.0  # Mpc/h
OBJECTS, HALOS, DRAWS = 300, 1e-3, 20  # in reconstructed fields; halos in (h/Mpc)^3
PLACES = ((0, 0, 0), (1, 1, 1))  # of observers: from the middle, in halves of the side
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


def look(
    mock: DistanceMock,
    velocity: Field,
    density: Field,
    *,
    observer: tuple[float, float, float],
    cosmology: Cosmology,
) -> SightLines:
    """Return what fields hold along the sight lines of a mock's objects, every 50 km/s."""
    return sight_lines(
        velocity,
        density,
        observer=observer,
        directions=mock.directions,
        redshift=mock.redshift,
        cosmology=cosmology,
        reach=REACH,
        step=50.0,
    )


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
        sight = look(mock, velocity, density, observer=settings.observer, cosmology=COSMOLOGY)
        found = fit_velocities(sample, sight, bootstraps=0)
        values.append(found.values)
        errors.append(found.errors)
        plain.append(regression(velocity, sample, settings.observer))
    return np.array(values), np.array(errors), np.array(plain)


def reconstructed_fits(path: Path, model: str) -> np.ndarray:
    """Return beta and its error of mocks in a box by the true field, the reconstructed one and its draws, (2, 3, 2)."""
    box = SimulatedBox.open(path)
    made = reconstruct(box.catalogue(HALOS, seed=7), model=model, cells=box.box.mesh, cosmology=box.cosmology)
    some = draws(made, DRAWS, seed=1)
    pairs = [(one["velocity"], one["density"]) for one in (made, *some)]
    return np.array([fits_from(place, box, pairs) for place in PLACES])


def fits_from(
    place: tuple[int, ...], box: SimulatedBox, fields: Sequence[tuple[Field, Field]]
) -> list[list[float]]:
    """Return beta and its error of a mock seen from a place: by the true field, the first of others, and the rest."""
    half = box.box.mesh // 2
    middle = (box.box.side / 2,) * 3

    def moved(field: Field) -> Field:
        return field.replace(data=field.data.roll([half * one for one in place], dims=(1, 2, 3)))

    truth = (moved(box.velocity), moved(box.density))
    settings = DistanceMockSettings(
        count=OBJECTS, observer=middle, modulus_error=(0.05, 0.1), cz_range=(1000.0, 150.0 * middle[0])
    )
    mock = mock_distances(*truth, settings, cosmology=box.cosmology, seed=box.seed)
    sample = DistanceSample(mock.directions, mock.redshift, mock.modulus, mock.modulus_error)

    def seen(velocity: Field, density: Field) -> SightLines:
        return look(mock, velocity, density, observer=middle, cosmology=box.cosmology)

    answer, *drawn = (seen(moved(velocity), moved(density)) for velocity, density in fields)
    found = (
        fit_velocities(sample, seen(*truth), bootstraps=0),
        fit_velocities(sample, answer, bootstraps=0),
        fit_velocities(sample, answer, drawn=[(one, one.log_prior()) for one in drawn], bootstraps=DRAWS),
    )
    return [[fit.beta, fit.errors[0]] for fit in found]


def reconstructed_table(paths: Sequence[Path], model: str) -> str:
    """Return the table of boxes in Markdown."""
    found = []
    for path in paths:
        found.append(reconstructed_fits(path, model))
        print(f"{path}: beta, error by truth, field and draws {found[-1].round(3).tolist()}", flush=True)
    values = np.concatenate(found)
    count = len(values)
    lines = [
        f"Truth: beta 1; {len(paths)} boxes seen from {len(PLACES)} places each, {OBJECTS} objects of 0.05 to 0.1 mag "
        f"within {settings_reach(paths[0])} Mpc/h, `{model}` from {HALOS:g} (h/Mpc)^3 halos at z = 0, {DRAWS} draws. "
        f"The scatter is known to {100 / np.sqrt(2 * count - 2):.0f} %.",
        "",
        "| field | beta: mean | less that by the true field | scatter | mean error | error over scatter | rms pull |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = ("true", "reconstructed, taken as perfect", "reconstructed, by its draws")
    for name, (beta, error) in zip(rows, np.moveaxis(values, 0, 2), strict=True):
        scatter, apart = beta.std(ddof=1), beta - values[:, 0, 0]
        lines.append(
            f"| {name} | {beta.mean():.3f} ± {scatter / np.sqrt(count):.3f} | "
            f"{apart.mean():+.3f} ± {apart.std(ddof=1) / np.sqrt(count):.3f} | {scatter:.3f} | {error.mean():.3f} | "
            f"{error.mean() / scatter:.2f} | {np.sqrt(np.mean(((beta - 1) / error) ** 2)):.2f} |"
        )
    return "\n".join(lines)


def settings_reach(path: Path) -> str:
    """Return how far objects lie in a box."""
    return f"{SimulatedBox.open(path).box.side / 2:.0f}"


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
    parser.add_argument("--boxes", type=Path, help="run of one redshift, for reconstructed fields")
    parser.add_argument("--seeds", default="1-8", help="of these boxes")
    parser.add_argument("--model", default="wiener", help="that did not learn from them")
    parser.add_argument(
        "--docs",
        type=Path,
        help="page whose tables, between `<!-- mocks: begin/end -->` and `<!-- draws: `, are filled",
    )
    arguments = parser.parse_args()
    if arguments.boxes:
        first, last = map(int, arguments.seeds.split("-"))
        boxes = open_run(arguments.boxes, list(range(first, last + 1)))
        section, text = "draws", reconstructed_table(boxes, arguments.model)
    else:
        section, text = "mocks", table(arguments.mocks)
    print(text)
    if arguments.docs:
        replace_between(arguments.docs, {section: text})
