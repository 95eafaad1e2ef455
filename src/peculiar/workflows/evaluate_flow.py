"""Velocity and momentum from the density against the truth of simulated boxes, linear theory beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.core import Field, InputError
from peculiar.core.output import atomic_output, check_output
from peculiar.linear.matter import linear_flow, tune_smoothing
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.mocks import SimulatedBox, VelocityRule
from peculiar.workflows.evaluation import SCHEMA, Evaluation
from peculiar.workflows.measure_flow import choose_edges, derived_flow, measure_flow, true_counts
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.provenance import provenance
from peculiar.workflows.scoreboard import average
from peculiar.workflows.scoreboard_flow import LINEAR, PUBLISHED, SMOOTHED, Published, flow_markdown

Predictor = Callable[[Field], Mapping[str, Field]]

SMOOTHING = 2.0  # Mpc/h, where none is tuned
WINDOW = 40.0  # Mpc/h, side of the slices: the paper's
SHOWN_AT = (1.0, 0.9, 0.5)
"""Slices are shown where the variance of the density is at these quantiles of all windows of the first box."""
_SLICED = ("velocity", "momentum", "velocity_divergence", "momentum_curl")


def evaluate_flow(
    paths: Sequence[Path | str],
    predictors: Mapping[str, Predictor],
    *,
    out: str | Path,
    settings: Mapping[str, Any],
    tune_on: Sequence[Path | str] = (),
    velocity: VelocityRule = "neighbours",
    published: Published = PUBLISHED,
    figures: bool = True,
    force: bool = False,
) -> Path:
    """Predict velocity and momentum from the true density of boxes and compare with their truth.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes of one kind and cosmology.
    predictors : name -> callable
        Each takes the overdensity, a Field, and returns "velocity" and "momentum" [km/s] on the same box. Baselines
        always run beside them: linear theory, as it is and smoothed.
    settings : mapping
        Where the boxes and the predictors come from, for the record.
    tune_on : sequence of path
        Other boxes, on which the baseline's smoothing is tuned for least velocity error; 2 Mpc/h without.
    velocity : "neighbours", "background" or "volume"
        Definition of the true velocity, see `SimulatedBox.velocity_by`.
    published : score -> (network, linear theory)
        Printed figures that stand beside ours in ``scores.md``; empty for none.
    out, figures, force : as in `peculiar.workflows.evaluate.evaluate`

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If there are no boxes, they differ in kind, one to tune on is also evaluated, or a name is a baseline's.

    Notes
    -----
    Boxes are read one at a time. Memory 1.1 GB for 128^3 cells, without figures.
    """
    target = check_output(out, overwrite=force, inputs=[*paths, *tune_on])
    boxes = [SimulatedBox.open(path) for path in paths]
    refuse_broken([*paths, *tune_on])
    validation = [SimulatedBox.open(path) for path in tune_on]
    _check(boxes, validation, predictors)
    first = boxes[0]
    factor = first.cosmology.velocity_factor(first.redshift)
    if validation:
        smoothing = tune_smoothing(
            [(box.density, box.velocity_by(velocity)) for box in validation], velocity_factor=factor
        )
    else:
        smoothing = SMOOTHING
    models: dict[str, Predictor] = {
        **predictors,
        SMOOTHED: lambda density: linear_flow(density, velocity_factor=factor, smoothing=smoothing),
        LINEAR: lambda density: linear_flow(density, velocity_factor=factor),
    }
    scores, arrays, definition = _measure_all(paths, models, velocity)
    inputs = {"velocity": velocity, "tune_on": [str(path) for path in tune_on], **settings}
    record = {
        "schema": SCHEMA,
        "kind": "flow",
        "boxes": [Path(path).name for path in paths],
        "settings": inputs,
        "models": list(models),
        "baselines": [SMOOTHED, LINEAR],
        "smoothing": smoothing,
        "tuned_on": [Path(path).name for path in tune_on],
        "velocity_definition": definition,
        "box": {"size": first.box.size, "cells": first.box.mesh, "redshift": first.redshift},
        "results": [
            {"model": name, "scores": {key: average([row[key] for row in entries]) for key in entries[0]}}
            for name, entries in scores.items()
        ],
        "provenance": provenance(settings=inputs, inputs=[*paths, *tune_on]),
    }
    evaluation = Evaluation(record, arrays)
    with atomic_output(target, overwrite=force) as temporary:
        evaluation.save(temporary)
        (temporary / "scores.md").write_text(flow_markdown(record, published=published), encoding="utf-8")
        if figures:
            from peculiar.workflows.figures import draw_evaluation

            draw_evaluation(evaluation, temporary / "figures")
    return target


def _measure_all(
    paths: Sequence[Path | str], models: Mapping[str, Predictor], velocity: VelocityRule
) -> tuple[dict[str, list[dict[str, float]]], dict[str, np.ndarray], str]:
    """Measure every model on every box: scores by model and box, arrays by name, and what the true velocity is."""
    rows: dict[str, list[np.ndarray]] = {}
    sums: dict[str, np.ndarray] = {}
    once: dict[str, np.ndarray] = {}
    edges: dict[str, np.ndarray] = {}
    windows: list[tuple[int, int, int]] = []
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    definition = ""

    def add(label: str, counts: Mapping[str, np.ndarray]) -> None:
        for key, values in counts.items():
            sums[f"{label}/{key}"] = sums.get(f"{label}/{key}", 0) + values

    with progress_bar("predictions", total=len(paths) * len(models)) as advance:
        for path in paths:
            box = SimulatedBox.open(path)
            density, flow = box.density, box.velocity_by(velocity)
            truth = derived_flow({"velocity": flow, "momentum": box.momentum})
            if not edges:
                definition, edges, windows = (
                    flow.definition,
                    choose_edges(truth, density),
                    choose_windows(density),
                )
                once |= {f"edges/{name}": values for name, values in edges.items()}
                once |= _slices("truth", {"density": density, **truth}, windows)
            add("truth", true_counts(truth, density, edges=edges))
            for name, predict in models.items():
                predicted = derived_flow(predict(density))
                measured = measure_flow(predicted, truth, density, edges=edges)
                if not scores[name]:
                    once |= _slices(name, predicted, windows)
                scores[name].append(measured.scores)
                once["k"] = measured.k
                for key, values in measured.spectra.items():
                    rows.setdefault(f"{name}/{key}", []).append(values)
                add(name, measured.counts)
                advance(1)
    for entries in scores.values():
        for entry, smoothed, plain in zip(entries, scores[SMOOTHED], scores[LINEAR], strict=True):
            own = entry["residual_speed_median"]
            entry["median_ratio"] = own / plain["residual_speed_median"]
            entry["median_ratio_smoothed"] = own / smoothed["residual_speed_median"]
    return scores, {key: np.stack(values) for key, values in rows.items()} | sums | once, definition


def choose_windows(density: Field) -> list[tuple[int, int, int]]:
    """Choose the slices to show, one layer thick: lowest x and y cell, and z, by the density's variance in them."""
    n = density.box.mesh
    side = window_cells(density)
    count = n // side
    values = density.numpy()[0][: count * side, : count * side]
    spread = values.reshape(count, side, count, side, n).var(axis=(1, 3))
    order = np.argsort(spread, axis=None)
    chosen = [order[round(quantile * (len(order) - 1))] for quantile in SHOWN_AT]
    return [
        (int(i) * side, int(j) * side, int(k))
        for i, j, k in (np.unravel_index(c, spread.shape) for c in chosen)
    ]


def window_cells(density: Field) -> int:
    """Cells along the side of a slice."""
    return min(density.box.mesh, max(1, round(WINDOW / density.box.cell_size)))


def _slices(
    label: str, fields: Mapping[str, Field], windows: Sequence[tuple[int, int, int]]
) -> dict[str, np.ndarray]:
    """Cut (channel, x, y) out of fields at each window."""
    cut = {}
    for index, (x, y, z) in enumerate(windows):
        for name in ("density", *_SLICED):
            if name in fields:
                side = window_cells(fields[name])
                cut[f"{label}/slice/{index}/{name}"] = (
                    fields[name].numpy()[:, x : x + side, y : y + side, z].copy()
                )
    return cut


def _check(
    boxes: Sequence[SimulatedBox], validation: Sequence[SimulatedBox], predictors: Mapping[str, Predictor]
) -> None:
    if not boxes:
        raise InputError("paths must hold at least one simulated box, got none")
    for box in (*boxes, *validation):
        kind = (box.box, box.redshift, box.cosmology)
        if kind != (boxes[0].box, boxes[0].redshift, boxes[0].cosmology):
            raise InputError(
                f"boxes must be of one kind and cosmology, got {box.path} unlike {boxes[0].path}: evaluate them apart"
            )
    if shared := {box.seed for box in validation} & {box.seed for box in boxes}:
        raise InputError(f"tune_on must hold boxes that are not evaluated, got the seeds {sorted(shared)}")
    if taken := {SMOOTHED, LINEAR} & set(predictors):
        raise InputError(f"predictors must not have a baseline's name, got {sorted(taken)}")
