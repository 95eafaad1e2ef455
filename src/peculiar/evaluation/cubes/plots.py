"""The figures of an evaluation in isolated cubes: 5 to 10, 13 and 14 of Wang et al. 2024, and errors by place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from peculiar.evaluation.cubes.measure import radial_errors
from peculiar.evaluation.cubes.rows import (
    ITERATIVE,
    LINEAR,
    SURROUNDINGS,
    TRUE_PADDED,
    TRUE_PERIODIC,
    TRUE_SURROUNDINGS,
)
from peculiar.evaluation.record import TRUTH, Evaluation
from peculiar.figures import survey_scores
from peculiar.figures.distributions import Histogram2D
from peculiar.figures.slices import Slab
from peculiar.figures.style import Plot
from peculiar.figures.survey_scores import Profile

ALL_HALOS, MASSIVE = "simulation", "above 1e12"
SDSS = ("galaxies", "groups")
EDGE, OBSERVER = "the survey's edge", "the observer"
_FIT = (
    "Black: predicted = true; lines: least-squares fits to all cells shown, whose slopes include the cubes' bulk "
    "flows; tables have the mean of the cubes' own fits."
)


def cube_plots(evaluation: Evaluation) -> list[Plot]:
    """Draw every figure of an evaluation of `CubeTask`."""
    samples = evaluation.record["samples"]
    return [plot for sample in samples for plot in of_sample(evaluation, sample)] + transfer_plots(evaluation)


def transfer_plots(evaluation: Evaluation) -> list[Plot]:
    """Draw the figures that compare samples, each if both of them were evaluated: 10 and 13."""
    plots = []
    for name, shown, title in (
        ("fig10_threshold", (ALL_HALOS, MASSIVE), "All halos and those above 1e12 Msun/h"),
        ("fig13_sdss", SDSS, "Samples like those of the SDSS"),
    ):
        panels = {
            model: {sample: joint(evaluation, sample, model) for sample in shown}
            for model in evaluation.networks
            if all(model in drawn_models(evaluation, sample) for sample in shown)
        }
        if panels:
            figure = survey_scores.velocity_contours(panels)
            text = f"{_cubes(evaluation)}, all voxels and components. {_FIT}"
            plots.append(Plot(name, title, text, figure, vector=True))
    return plots


def drawn_models(evaluation: Evaluation, sample: str) -> list[str]:
    """Return the models that a sample was reconstructed by: networks first, then the baselines."""
    return [name for name in evaluation.models if evaluation.arrays.has("row", name, sample=sample)]


def joint(evaluation: Evaluation, sample: str, model: str, part: str = "all") -> Histogram2D:
    """Return the histogram of true and predicted components, the three together."""
    edges = evaluation.arrays["edges/velocity"]
    return Histogram2D(evaluation.arrays.of(f"joint/{part}", model, sample=sample).sum(axis=0), edges, edges)


def of_sample(evaluation: Evaluation, sample: str) -> list[Plot]:
    """Draw the figures of one sample: 5 to 9 and 14, and errors by place."""
    arrays, record = evaluation.arrays, evaluation.record
    models = drawn_models(evaluation, sample)
    # As in the paper the true density stands against the networks; the periodic one is in the tables.
    compared = [name for name in models if name not in (TRUE_PERIODIC, TRUE_SURROUNDINGS, LINEAR)]
    networks = [name for name in compared if name not in (SURROUNDINGS, ITERATIVE, TRUE_PADDED)]
    slug = re.sub(r"[^A-Za-z0-9.]+", "_", sample)
    cell = record["cubes"]["size"] / record["cubes"]["cells"]
    where = f"Sample: {sample}. {_cubes(evaluation)}"
    plots = []

    def add(name: str, title: str, text: str, figure: object, *, vector: bool = True) -> None:
        plots.append(Plot(f"{name}_{slug}", f"{title}: {sample}", text, figure, vector=vector))  # type: ignore[arg-type]

    for number, part, words in (
        ("fig05_contours", "all", "all voxels"),
        ("fig09_centre", "centre", "the central two thirds of each side"),
    ):
        held = {name: joint(evaluation, sample, name, part) for name in compared}
        shown = networks or [ITERATIVE]
        panels = {name: {name: held[name], **_without(held, [*networks, name])} for name in shown}
        figure = survey_scores.velocity_contours(panels, order=compared)
        add(number, "Predicted against true velocity", f"{where}, {words}, three components. {_FIT}", figure)
    positions = (np.arange(record["cubes"]["cells"]) + 0.5) * cell
    figure = survey_scores.velocity_row(
        positions,
        arrays.of("row", TRUTH, sample=sample),
        {name: arrays.of("row", name, sample=sample) for name in compared},
    )
    text = f"Sample: {sample}. First cube, the row of cells at a third of the side in x and y."
    add("fig06_row", "v_x along a row of cells", text, figure)
    first = {name: arrays.of("joint/all", name, sample=sample)[0] for name in compared}
    figure = survey_scores.velocity_pdf(
        arrays["edges/velocity"],
        next(iter(first.values())).sum(axis=1),
        {name: counts.sum(axis=0) for name, counts in first.items()},
    )
    add("fig07_pdf", "Distribution of v_x", f"{where}, all voxels.", figure)
    figure = survey_scores.direction_contours(
        {
            name: Histogram2D(
                arrays.of("direction", name, sample=sample), arrays["edges/error"], arrays["edges/cosine"]
            )
            for name in models
        }
    )
    add("fig08_direction", "Error and direction", f"{where}, all voxels.", figure, vector=False)
    figure = survey_scores.flow_over_potential(
        _slab(evaluation, sample, TRUTH), {name: _slab(evaluation, sample, name) for name in compared}
    )
    text = (
        f"Sample: {sample}. The middle of the first cube, mean of two layers of cells. Contours: gravitational "
        "potential of all matter in the simulated box, dark where it is deep."
    )
    add("fig14_potential", "Velocity over the true potential", text, figure, vector=False)
    # By place the true density stands with what it tells of the outside, as the bound.
    placed = [name for name in models if name not in (TRUE_PERIODIC, TRUE_PADDED)]
    plots += _errors(evaluation, sample, placed, slug)
    return plots


def _errors(evaluation: Evaluation, sample: str, models: Sequence[str], slug: str) -> list[Plot]:
    """Bias and scatter of the radial velocity by the distances from the edge and, where there is one, an observer."""
    arrays = evaluation.arrays
    radial = evaluation.record["radial"][sample]
    # Axes of the moments: box, moment, from the edge, from the observer.
    moments = {name: arrays.of("moments", name, sample=sample).astype(np.float64) for name in models}
    axes = {EDGE: 3, OBSERVER: 2} if radial else {EDGE: 3}
    edges = {EDGE: arrays["edges/from_edge"], OBSERVER: arrays["edges/from_observer"]}
    profiles = {
        kind: {name: _profile(values.sum(axis=axis)) for name, values in moments.items()}
        for kind, axis in axes.items()
    }
    figure = survey_scores.error_profiles({kind: edges[kind] for kind in axes}, profiles)
    text = (
        f"Sample: {sample}. {_cubes(evaluation)}. Mean and standard deviation of predicted - true velocity along the "
        "line of sight, and its least-squares slope, in bins of distance. The edge of the survey is where the "
        "completeness falls below 0.3, or a face of the cube; distances are negative outside. Bands: standard error "
        "of the mean, between boxes. Bins with fewer than 200 cells are left out."
    )
    found = [Plot(f"errors_{slug}", f"Errors by distance: {sample}", text, figure, vector=True)]
    if radial:
        maps = {name: radial_errors(values.sum(axis=0)) for name, values in moments.items()}
        figure = survey_scores.error_maps(
            (edges[EDGE], edges[OBSERVER]),
            {name: one.bias for name, one in maps.items()},
            {name: one.scatter for name, one in maps.items()},
        )
        text = f"Sample: {sample}. {_cubes(evaluation)}. As before, by both distances at once."
        found.append(Plot(f"error_maps_{slug}", f"Maps of bias and scatter: {sample}", text, figure))
    return found


def _profile(moments: np.ndarray) -> Profile:
    """Return the errors in bins of one distance, from (box, moment, bin)."""
    whole = radial_errors(moments.sum(axis=0))
    boxes = np.stack([radial_errors(box, least=1).bias for box in moments])
    error = np.full(boxes.shape[1], np.nan)
    if len(boxes) > 1:
        error = boxes.std(axis=0, ddof=1) / np.sqrt(len(boxes))
    return Profile(whole.bias, whole.scatter, whole.slope, error)


def _without(held: Mapping[str, Histogram2D], names: Sequence[str]) -> dict[str, Histogram2D]:
    return {name: histogram for name, histogram in held.items() if name not in names}


def _slab(evaluation: Evaluation, sample: str, name: str) -> Slab:
    cubes = evaluation.record["cubes"]
    cell = cubes["size"] / cubes["cells"]
    velocity = evaluation.arrays.of("slice/velocity", name, sample=sample)
    values = {"velocity": velocity}
    if name == TRUTH:
        values["potential"] = evaluation.arrays.of("slice/potential", TRUTH, sample=sample)[None, ..., None]
    start = cubes["cells"] // 3 * cell
    return Slab(
        values,
        velocity.shape[1] * cell,
        velocity.shape[-1] * cell,
        axes=("x", "y"),
        origin=(start, start),
    )


def _cubes(evaluation: Evaluation) -> str:
    cubes = evaluation.record["cubes"]
    return (
        f"{cubes['number']} cubes of {cubes['size']:g} Mpc/h at z = {evaluation.record['box']['redshift']:g}"
    )
