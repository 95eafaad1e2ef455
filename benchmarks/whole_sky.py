r"""A whole-sky, flux-limited survey seen from inside, against the truth of its box, for docs/whole-sky.md.

    peculiar simulate matter --seeds 1001 --box 600 --particles 240 --cells 120 --redshift 0 --cosmology wang2024
    peculiar simulate boxes --seeds 1001 --kind painted --matter matter --host-mass 5e11 --model survey-painter
    python benchmarks/whole_sky.py boxes --scratch mocks --variants \
        --docs docs/whole-sky.md --figure docs/images/whole-sky.png

`peculiar mock --survey two_mrs` observes the box from random places (`--seed`); every model reconstructs as `peculiar
reconstruct` does. The iterative FFT is also given the smoothing, of a grid, that correlates best with the truth of the
very mock, within 100 and within 200 Mpc/h. `--variants` adds what else was tried: one bias at all distances, groups,
and redshifts in the observer's own frame. The marks `whole sky`, `whole sky shells`, `whole sky variants` are filled.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from astropy.table import Table
from general import Scores
from reproduction import replace_between

from peculiar.catalogues import Survey, load_survey, read_survey, to_catalogue
from peculiar.catalogues.frames import from_galactic_axes, to_galactic_axes
from peculiar.catalogues.survey_catalogue import SurveyCatalogue
from peculiar.core import Cosmology, Reconstructor
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.fields.files import read_fields
from peculiar.figures.style import DIVERGING, TRUTH, name_panel, save, styled
from peculiar.inference.reconstruction import Reconstruction
from peculiar.linear import IterativeFFT, MultiTracerWiener
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.workflows.mock import make_mocks
from peculiar.workflows.mock_settings import MockSettings
from peculiar.workflows.reconstruct import reconstruct

DENSITY = 2.4e-2
"""Of the mock near the observer [(h/Mpc)^3]: that of the luminosity function of 2MRS."""
CELL = 4.6875
"""What surveys are given where they state none [Mpc/h]."""
MODELS = ("iterative", "wiener", "general")
SMOOTHINGS = (4.0, 5.5, 7.5, 10.0, 14.0)
REACHES = (100.0, 200.0)
SHELLS = ((5.0, 50.0), (50.0, 100.0), (100.0, 150.0), (150.0, 200.0))
LATITUDES = ((5.0, 15.0), (15.0, 30.0), (30.0, 90.0))
SPHERES = (20.0, 30.0, 50.0, 70.0, 100.0, 150.0)
ZONE, ZONE_REACH = 5.0, 100.0
"""Latitude that 2MRS does not reach [deg], and how far the zone is compared [Mpc/h]."""


@dataclass(frozen=True, eq=False)
class Sky:
    """A mock of one observer: what is observed, and the truth."""

    table: Table
    made: SurveyCatalogue
    truth: Mapping[str, Any]
    cosmology: Cosmology

    @cached_property
    def v_los(self) -> dict[str, np.ndarray]:
        """Along the line of sight, of each object itself and of the matter where it is, (n,) [km/s]."""
        rows = self.table[self.made.rows]
        real = np.stack([rows[f"{axis}_real"] for axis in "xyz"], axis=1)
        sight = real / np.linalg.norm(real, axis=1, keepdims=True)
        matter = (self.truth["velocity"].at(real) * sight).sum(axis=1)
        return {"own": np.asarray(rows["v_los"]), "flow": matter}


def latitude(points: np.ndarray) -> np.ndarray:
    """Return |b| [deg] of places about the observer, (n,)."""
    axes = to_galactic_axes(points)
    return np.degrees(np.abs(np.arcsin(axes[:, 2] / np.linalg.norm(points, axis=1))))


def observe(
    run: Path,
    seed: int,
    place: int,
    scratch: Path,
    *,
    laid: tuple[Survey, float] | None = None,
    **changes: Any,
) -> Sky:
    """Make a mock, of 2MRS or of another survey with so many objects at most, and read it, with changes of it."""
    survey, density = laid or (load_survey("two_mrs"), DENSITY)
    out = scratch / f"{survey.name}-{seed}-{place}"
    if not out.exists():
        settings = MockSettings(number_density=density, seed=place)
        make_mocks(run, out=out, survey=survey, settings=settings, seeds=[seed])
    (path,) = out.glob("mock-*.fits")
    table = Table.read(path)
    cosmology = SimulatedBox.open(open_run(run, [seed])[0]).cosmology
    read = load_survey(out / "survey.toml").with_changes({"cell_size": CELL, "groups": "ignore", **changes})
    read = read.model_copy(update={"box": None})  # the mesh of the truth has other cells
    truth = read_fields(path.with_suffix(".zarr"))
    if changes.get("frame") == "cmb":
        table = table.copy()
        table["z"] = seen_by(table, truth["velocity"].at(np.zeros((1, 3)))[0])
    sample = read_survey(table, read, cosmology=cosmology)
    return Sky(table, to_catalogue(sample, sample.box(cell_size=CELL)), truth, cosmology)


def seen_by(table: Table, velocity: np.ndarray) -> np.ndarray:
    """Return the redshifts that an observer sees who moves with a velocity [km/s] (to first order)."""
    ra, dec = np.radians(table["ra"]), np.radians(table["dec"])
    sight = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    cmb = (1 + table["z_cosmological"]) * (1 + table["v_los"] / SPEED_OF_LIGHT)
    return np.asarray(cmb * (1 - sight @ velocity / SPEED_OF_LIGHT) - 1)


def result_of(sky: Sky, model: str | Reconstructor) -> Reconstruction:
    """Reconstruct, silently."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reconstruct(sky.made.catalogue, model=model, cosmology=sky.cosmology)


def at_objects(sky: Sky, found: np.ndarray, part: np.ndarray) -> dict[str, float]:
    """Return r with the objects' own velocities and the flow, and rms error [km/s] and slope of the flow on found."""
    a, flow = found[part], sky.v_los["flow"][part]
    return {
        "own": float(np.corrcoef(a, sky.v_los["own"][part])[0, 1]),
        "r": float(np.corrcoef(a, flow)[0, 1]),
        "error": float(np.sqrt(np.mean((a - flow) ** 2))),
        "slope": float((a * flow).sum() / (a * a).sum()),
    }


def scores(sky: Sky, result: Reconstruction) -> dict[str, Any]:
    """Return what the page tells of a reconstruction."""
    found = result.at_objects().v_los
    return at_parts(sky, found) | zone(sky, result) | flows(sky, result)


def parts(sky: Sky) -> dict[str, np.ndarray]:
    """Return which objects lie within each reach, shell, and range of latitude, by name."""
    distance = np.linalg.norm(sky.made.catalogue.positions, axis=1)  # as the objects are seen
    b = latitude(sky.made.catalogue.positions)
    found = {f"to {reach:g}": (distance > 5) & (distance < reach) for reach in REACHES}
    found |= {f"{low:g} to {high:g} Mpc/h": (distance >= low) & (distance < high) for low, high in SHELLS}
    near = (distance > 5) & (distance < ZONE_REACH)
    return found | {f"|b| {low:g} to {high:g} deg": near & (b >= low) & (b < high) for low, high in LATITUDES}


def at_parts(sky: Sky, found: np.ndarray) -> dict[str, Any]:
    """Return scores at the objects of each part."""
    return {name: at_objects(sky, found, part) for name, part in parts(sky).items()}


def errors(run: Path, seed: int, place: int, scratch: Path) -> dict[str, Any]:
    """Return the rms errors [km/s], the stated ones and the share of objects within them, of `general` with groups."""
    sky = observe(run, seed, place, scratch, groups="collapse")
    found = result_of(sky, "general").with_errors().at_objects()
    assert found.v_los_error is not None
    off = np.abs(found.v_los - sky.v_los["flow"])
    return {
        name: {
            "error": float(np.sqrt(np.mean(off[part] ** 2))),
            "stated": float(np.sqrt(np.mean(found.v_los_error[part] ** 2))),
            "share": float(np.mean(off[part] < found.v_los_error[part])),
        }
        for name, part in parts(sky).items()
    }


def zone(sky: Sky, result: Reconstruction) -> dict[str, Any]:
    """Return correlations and slopes of velocity components and density in cells inside and outside the zone."""
    centres = result.box.centres()
    distance = np.linalg.norm(centres, axis=1)
    centres = centres[(distance < ZONE_REACH) & (distance > 5)]
    inside = latitude(centres) < ZONE
    told: dict[str, Any] = {}
    for where, part in (("zone", inside), ("elsewhere", ~inside)):
        for name in ("velocity", "density"):
            found, truth = (fields[name].at(centres[part]).ravel() for fields in (result, sky.truth))
            told[f"{name}, {where}"] = {
                "r": float(np.corrcoef(found, truth)[0, 1]),
                "error": float(np.sqrt(np.mean((found - truth) ** 2))),
                "slope": float(np.cov(found, truth)[0, 1] / found.var()),
            }
    return told


def flows(sky: Sky, result: Reconstruction) -> dict[str, Any]:
    """Return bulk flows and the observer's velocity, found and true [km/s]."""
    side = np.arange(-200.0, 201.0, 5.0)
    points = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(points, axis=1)
    places = {f"bulk {radius:g}": points[distance < radius] for radius in SPHERES}
    places["observer"] = np.zeros((1, 3))
    return {
        name: [fields["velocity"].at(inside).mean(axis=0).tolist() for fields in (result, sky.truth)]
        for name, inside in places.items()
    }


def tuned(sky: Sky) -> dict[str, Any]:
    """Return what the iterative FFT finds at objects with each smoothing of the grid, by smoothing."""
    method = IterativeFFT(surroundings=True).fitted(sky.made.catalogue, cosmology=sky.cosmology)
    return {
        f"{smoothing:g}": at_parts(
            sky, result_of(sky, replace(method, smoothing=smoothing)).at_objects().v_los
        )
        for smoothing in SMOOTHINGS
    }


def variants(sky: Sky, run: Path, seed: int, place: int, scratch: Path) -> dict[str, Any]:
    """Return scores of what else was tried, by name."""
    found: dict[str, Any] = {}
    for name, method in (
        ("iterative", IterativeFFT(surroundings=True, evolution=1.0)),
        ("wiener", MultiTracerWiener(evolution=1.0)),
    ):
        found[f"{name}, one bias"] = scores(sky, result_of(sky, method))
    together = observe(run, seed, place, scratch, groups="collapse")
    for name in MODELS:
        found[f"{name}, groups"] = scores(together, result_of(together, name))
    own = observe(run, seed, place, scratch, frame="cmb")
    found["wiener, observer's frame"] = scores(own, result_of(own, "wiener"))
    return found


def mean(skies: Sequence[Mapping[str, Any]], part: str, what: str) -> float:
    """Return the mean of a score over skies."""
    return float(np.mean([one[part][what] for one in skies]))


def text_of(skies: Sequence[Mapping[str, Any]], part: str, whats: Mapping[str, int]) -> str:
    """Return means of scores over skies with so many digits each."""
    return ", ".join(f"{mean(skies, part, what):.{digits}f}" for what, digits in whats.items())


OBJECTS = {"own": 3, "r": 3, "error": 0, "slope": 2}


def main_lines(kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of velocities at objects, in the zone of avoidance, and of flows."""
    skies = list(kept.values())
    models = {model: [one[model] for one in skies] for model in MODELS}
    lines = [
        f"| {len(skies)} observer{'s' if len(skies) > 1 else ''} | `iterative`, smoothing tuned | "
        + " | ".join(f"`{model}`" for model in models)
        + " |",
        "| --- |" + " ---: |" * (len(models) + 1),
    ]
    for reach in REACHES:
        part = f"to {reach:g}"
        for what, label in (("own", "objects' own velocities"), ("r", "the flow at them")):
            best = float(np.mean([max(one[part][what] for one in sky["tuned"].values()) for sky in skies]))
            ratios = [f"{(r := mean(one, part, what)):.3f}, {r / best:.3f}" for one in models.values()]
            lines.append(
                f"| `v_los` to {reach:g} Mpc/h: r with {label}, over the tuned one's | {best:.3f} | "
                + " | ".join(ratios)
                + " |"
            )
        texts = [text_of(one, part, {"error": 0, "slope": 2}) for one in models.values()]
        lines.append(f"| rms error of it [km/s], slope of the flow on it | | {' | '.join(texts)} |")
    for name, unit, digits in (("velocity", " [km/s]", 0), ("density", "", 2)):
        for where, label in (("zone", f"\\|b\\| < {ZONE:g} deg"), ("elsewhere", "elsewhere")):
            texts = [
                text_of(one, f"{name}, {where}", {"r": 2, "error": digits, "slope": 2})
                for one in models.values()
            ]
            label = f"{name} in cells to {ZONE_REACH:g} Mpc/h, {label}: r, rms error{unit}, slope"
            lines.append(f"| {label} | | {' | '.join(texts)} |")
    for name, label in (
        ("observer", "velocity of the observer"),
        *((f"bulk {radius:g}", f"bulk flow to {radius:g} Mpc/h") for radius in SPHERES),
    ):
        texts = []
        for one in models.values():
            found, truth = (np.array([sky[name][k] for sky in one]) for k in (0, 1))
            error, true = (float(np.sqrt(np.mean(each**2))) for each in (found - truth, truth))
            texts.append(f"{error:.0f} of {true:.0f}, {(found * truth).sum() / (found**2).sum():.2f}")
        lines.append(
            f"| {label}: rms error of a component of its rms [km/s], slope | | {' | '.join(texts)} |"
        )
    return lines


def shell_lines(kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of velocities at objects by distance and by latitude."""
    lines = [
        "| r own, r flow, rms error [km/s], slope | "
        + " | ".join(f"`{model}`" for model in MODELS)
        + " | `general`, groups: rms error, stated [km/s], share within it |",
        "| --- |" + " ---: |" * (len(MODELS) + 1),
    ]
    labels = {part: part for part in (f"{low:g} to {high:g} Mpc/h" for low, high in SHELLS)}
    labels |= {
        f"|b| {low:g} to {high:g} deg": f"\\|b\\| {low:g} to {high:g} deg, to {ZONE_REACH:g} Mpc/h"
        for low, high in LATITUDES
    }
    for part, label in labels.items():
        texts = [text_of([sky[model] for sky in kept.values()], part, OBJECTS) for model in MODELS]
        told = [sky["errors"] for sky in kept.values()]
        texts.append(text_of(told, part, {"error": 0, "stated": 0, "share": 2}))
        lines.append(f"| {label} | {' | '.join(texts)} |")
    return lines


def variant_lines(kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of what else was tried: near the observer and within both reaches."""
    skies = [one for one in kept.values() if "variants" in one]
    tried = {f"`{name}`": [one[name] for one in skies] for name in MODELS}
    for name in skies[0]["variants"]:
        model, what = name.split(", ", 1)
        tried[f"`{model}`, {what}"] = [one["variants"][name] for one in skies]
    parts = ("5 to 50 Mpc/h", *(f"to {reach:g}" for reach in REACHES))
    lines = [
        "| r own, r flow, rms error [km/s], slope | 5 to 50 Mpc/h | to 100 Mpc/h | to 200 Mpc/h |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in sorted(tried):
        texts = [text_of(tried[name], part, OBJECTS) for part in parts]
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return lines


@styled
def drawn(sky: Sky, fields: Mapping[str, Reconstruction]) -> matplotlib.figure.Figure:
    """Radial velocity in the plane of the galactic poles, true and found; where nothing is seen lies between lines."""
    figure = matplotlib.figure.Figure(figsize=(3.1 * (len(fields) + 1) + 0.8, 3.5))
    panels = figure.subplots(1, len(fields) + 1, sharey=True)
    side = np.arange(-150.0, 150.1, 2.5)
    x, z = np.meshgrid(side, side, indexing="ij")
    places = from_galactic_axes(np.stack([x, np.zeros_like(x), z], axis=-1).reshape(-1, 3))
    distance = np.linalg.norm(places, axis=1)
    shown = distance < side[-1]
    for panel, (name, one) in zip(panels, {"truth": sky.truth, **fields}.items(), strict=True):
        radial = (one["velocity"].at(places) * places).sum(axis=1) / np.maximum(distance, 1e-9)
        radial[~shown] = np.nan
        image = panel.imshow(
            radial.reshape(x.shape).T,
            origin="lower",
            extent=(side[0], side[-1], side[0], side[-1]),
            cmap=DIVERGING,
            vmin=-600,
            vmax=600,
        )
        for slope in (-1, 1):
            edge = side * slope * np.tan(np.radians(ZONE))
            panel.plot(side, edge, color=TRUTH, lw=0.7)
        panel.set_xlabel(r"towards $l=0$ [$h^{-1}$ Mpc]")
        name_panel(panel, name)
    panels[0].set_ylabel(r"towards $b=90^\circ$ [$h^{-1}$ Mpc]")
    figure.colorbar(image, ax=list(panels), shrink=0.85, pad=0.01).set_label(r"radial velocity [km s$^{-1}$]")
    return figure


def main() -> None:
    """Score, print, draw and fill the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="a directory for the mocks")
    parser.add_argument("--seed", type=int, default=1001, help="of the box")
    parser.add_argument("--skies", type=int, default=1, help="observers in it")
    parser.add_argument("--variants", action="store_true", help="for each observer")
    parser.add_argument("--scores", type=Path, default=Path("whole_sky.json"), help="kept from call to call")
    parser.add_argument("--docs", type=Path, help="a page with the marks")
    parser.add_argument("--figure", type=Path, help="of the first, .png")
    given = parser.parse_args()
    kept = Scores(given.scores)
    for place in range(given.skies):
        sky = observe(given.run, given.seed, place, given.scratch)
        name = f"seed {given.seed}, observer {place}"
        print(f"{name}: {sky.made}", flush=True)
        found = cache(partial(result_of, sky))
        for model in MODELS:
            kept.of(name, model, lambda by=model, of=sky, fields=found: scores(of, fields(by)))
        kept.of(name, "tuned", partial(tuned, sky))
        kept.of(name, "errors", partial(errors, given.run, given.seed, place, given.scratch))
        if given.figure and place == 0:
            shown = {one: found(one) for one in ("iterative", "general")}
            save(drawn(sky, shown), given.figure.with_suffix(""), formats=("png",))
        if given.variants:
            kept.of(name, "variants", partial(variants, sky, given.run, given.seed, place, given.scratch))
    tables = {"whole sky": main_lines(kept.found), "whole sky shells": shell_lines(kept.found)}
    if any("variants" in one for one in kept.found.values()):
        tables["whole sky variants"] = variant_lines(kept.found)
    texts = {name: "\n".join(lines) for name, lines in tables.items()}
    print("\n\n".join(texts.values()))
    if given.docs:
        replace_between(given.docs, texts)


if __name__ == "__main__":
    main()
