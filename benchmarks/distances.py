"""Tables of `peculiar compare` on mocks with known answers, for docs/compare.md.

    python benchmarks/distances.py --mocks 25 --docs docs/compare.md
    peculiar simulate dense-test --box 187.5 --particles 192 --cells 80 --redshift 0 --seeds 1001-1012
    python benchmarks/distances.py --boxes dense-test --seeds 1001-1012 --docs docs/compare.md

Each mock is a Gaussian linear field of its own (48^3 cells of 6.25 Mpc/h, smoothed with 7 Mpc/h) with objects drawn
from its density, see `peculiar.simulate.distances`. Beside the likelihood stands what is often done: the log-distance
velocities regressed on the field's velocity at the place of the observed redshift.

With `--boxes` the field is not known but reconstructed from halos of a simulated box, by a model that did not learn
from it: once taken as perfect, once known by its draws. Each box is seen from two places whose objects lie apart, with
several sets of objects from each; beside them stands the true field, which tells what the objects alone leave. What is
found of a box is kept in a file (`--found`). Errors are of boxes left out one after the other, since a box has one
field.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
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
SETS = 4  # of objects, from each place
STEP = 100.0  # km/s; sigma_v is larger
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
    step: float = 50.0,
) -> SightLines:
    """Return what fields hold along the sight lines of a mock's objects, every so many km/s."""
    return sight_lines(
        velocity,
        density,
        observer=observer,
        directions=mock.directions,
        redshift=mock.redshift,
        cosmology=cosmology,
        reach=REACH,
        step=step,
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
    """Return beta and its error by the true field, the reconstructed one and its draws of a box's mocks, (n, 3, 2)."""
    box = SimulatedBox.open(path)
    made = reconstruct(box.catalogue(HALOS, seed=7), model=model, cells=box.box.mesh, cosmology=box.cosmology)
    some = draws(made, DRAWS, seed=1)
    pairs = [(one["velocity"], one["density"]) for one in (made, *some)]
    return np.array([fit for place in PLACES for fit in fits_from(place, box, pairs)])


def fits_from(
    place: tuple[int, ...], box: SimulatedBox, fields: Sequence[tuple[Field, Field]]
) -> list[list[list[float]]]:
    """Return beta and its error of mocks seen from a place: by the true field, the first of others, and the rest."""
    half = box.box.mesh // 2
    middle = (box.box.side / 2,) * 3

    def moved(field: Field) -> Field:
        return field.replace(data=field.data.roll([half * one for one in place], dims=(1, 2, 3)))

    truth, answer, *drawn = (
        (moved(velocity), moved(density)) for velocity, density in ((box.velocity, box.density), *fields)
    )
    settings = DistanceMockSettings(
        count=OBJECTS, observer=middle, modulus_error=(0.05, 0.1), cz_range=(1000.0, 150.0 * middle[0])
    )
    found = []
    for one in range(SETS):
        mock = mock_distances(*truth, settings, cosmology=box.cosmology, seed=SETS * box.seed + one)
        sample = DistanceSample(mock.directions, mock.redshift, mock.modulus, mock.modulus_error)

        def seen(pair: tuple[Field, Field], mock: DistanceMock = mock) -> SightLines:
            return look(mock, *pair, observer=middle, cosmology=box.cosmology, step=STEP)

        by_answer, by_draws = seen(answer), [(sight, sight.log_prior()) for sight in map(seen, drawn)]
        fits = (
            fit_velocities(sample, seen(truth), bootstraps=0),
            fit_velocities(sample, by_answer, bootstraps=0),
            fit_velocities(sample, by_answer, drawn=by_draws, bootstraps=DRAWS),
        )
        found.append([[fit.beta, fit.errors[0]] for fit in fits])
    return found


def without_one(of: Callable[[np.ndarray], float], boxes: np.ndarray) -> tuple[float, float]:
    """Return a statistic of what boxes have, and its error from boxes left out one after the other."""
    several = [of(np.delete(boxes, one, axis=0)) for one in range(len(boxes))]
    return of(boxes), float(np.sqrt((len(boxes) - 1) * np.var(several)))


def reconstructed_table(paths: Sequence[Path], model: str, file: Path) -> str:
    """Return the table of boxes in Markdown."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for path in paths:
        name = f"{model} {path.name}"
        if name not in kept:
            kept[name] = reconstructed_fits(path, model).tolist()
            file.write_text(json.dumps(kept))
            print(
                f"{name}: beta, error by truth, field and draws {np.round(kept[name], 3).tolist()}",
                flush=True,
            )
    values = np.array([kept[f"{model} {path.name}"] for path in paths])  # box, mock, field, (beta, error)
    box = SimulatedBox.open(paths[0])
    lines = [
        f"Truth: beta 1; {len(paths)} boxes of {box.box.size:g} Mpc/h seen from {len(PLACES)} places each, "
        f"{SETS} sets of {OBJECTS} objects of 0.05 to 0.1 mag within {box.box.side / 2:.0f} Mpc/h from each, "
        f"`{model}` from {HALOS:g} (h/Mpc)^3 halos at z = {box.redshift:g}, {DRAWS} draws.",
        "",
        "| field | beta: mean | less that by the true field | scatter | mean error | error over scatter | rms pull |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]

    def about(of: Callable[[np.ndarray], float], among: np.ndarray, form: str) -> str:
        value, error = without_one(of, among)
        return f"{value:{form}} ± {error:.3f}"

    def error_over_scatter(one: np.ndarray) -> float:
        return float(one[..., 1].mean() / one[..., 0].std(ddof=1))

    def pull(one: np.ndarray) -> float:
        return float(np.sqrt(np.mean(((one[..., 0] - 1) / one[..., 1]) ** 2)))

    rows = ("true", "reconstructed, taken as perfect", "reconstructed, by its draws")
    for name, of_row in zip(rows, np.moveaxis(values, 2, 0), strict=True):
        beta, error = np.moveaxis(of_row, -1, 0)
        ratio, ratio_error = without_one(error_over_scatter, of_row)
        rms, rms_error = without_one(pull, of_row)
        lines.append(
            f"| {name} | {about(np.mean, beta, '.3f')} | {about(np.mean, beta - values[:, :, 0, 0], '+.3f')} | "
            f"{about(lambda one: one.std(ddof=1), beta, '.3f')} | {error.mean():.3f} | "
            f"{ratio:.2f} ± {ratio_error:.2f} | {rms:.2f} ± {rms_error:.2f} |"
        )
    return "\n".join(lines)


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
        "--found", type=Path, default=Path("distances.json"), help="of boxes, kept from call to call"
    )
    parser.add_argument(
        "--docs",
        type=Path,
        help="page whose tables, between `<!-- mocks: begin/end -->` and `<!-- draws: `, are filled",
    )
    arguments = parser.parse_args()
    if arguments.boxes:
        first, last = map(int, arguments.seeds.split("-"))
        boxes = open_run(arguments.boxes, list(range(first, last + 1)))
        section, text = "draws", reconstructed_table(boxes, arguments.model, arguments.found)
    else:
        section, text = "mocks", table(arguments.mocks)
    print(text)
    if arguments.docs:
        replace_between(arguments.docs, {section: text})
