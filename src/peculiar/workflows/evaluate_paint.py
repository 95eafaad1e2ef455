"""Painted halos against those of simulated boxes: every mass bin, tuned baselines, and the catalogues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.core.output import atomic_output, check_output
from peculiar.inference.painting import HaloPainter, most_massive
from peculiar.linear.local_bias import LocalBias
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.matter import MatterFields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.workflows.cosmologies import cosmology_settings
from peculiar.workflows.evaluation import SCHEMA, Evaluation
from peculiar.workflows.measure_paint import (
    catalogue_statistics,
    count_limit,
    mass_edges_of,
    measure_counts,
    true_statistics,
)
from peculiar.workflows.paint_samples import (
    MassRange,
    coarser_twin,
    fit_baselines,
    halos_in_cells,
    mass_ranges,
)
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.provenance import provenance
from peculiar.workflows.scoreboard import average
from peculiar.workflows.scoreboard_paint import (
    BIASED,
    CATALOGUE,
    LOCAL,
    catalogue_scores,
    goals_reached,
    paint_markdown,
    pooled_scores,
)

DRAWS = 4
CATALOGUES = 2
"""How many draws of each box are made into catalogues."""
NUMBER_DENSITY = 3e-3
SLAB = 15.0  # Mpc/h, depth of the slices
FINER = 2.4
"""Cells of the mesh that catalogues are measured on, for each cell of counts."""

Counts = Float[Tensor, "x y z"]


@dataclass(frozen=True, eq=False)
class Painted:
    """What a model makes of one box in one range of masses: draws, and the mean counts given the density."""

    draws: Sequence[Counts]
    mean: Counts


def evaluate_paint(
    paths: Sequence[Path | str],
    painters: Mapping[str, HaloPainter],
    *,
    out: str | Path,
    settings: Mapping[str, Any],
    tune_on: Sequence[Path | str],
    number_density: float = NUMBER_DENSITY,
    draws: int = DRAWS,
    figures: bool = True,
    force: bool = False,
) -> Path:
    """Paint halos on the 2LPT twins of simulated boxes and compare with their halos.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes of one kind and cosmology.
    painters : name -> HaloPainter
        With cells of one size. Baselines always run beside them: 2LPT's density times a linear bias, and Poisson draws
        of a local bias.
    settings : mapping
        Where the boxes and the painters come from, for the record.
    tune_on : sequence of path
        Other boxes, of any cosmology, on which the baselines are tuned.
    number_density : float
        Of the catalogues that are compared [(h/Mpc)^3]; where a painter or a box has fewer, as many as both have.
    draws : int
        Draws of each box.
    out, figures, force : as in `peculiar.workflows.evaluate.evaluate`

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If there are no boxes or painters, they differ in kind or cells, none to tune on is given or one is also
        evaluated, a bin holds no halo of a box, or a name is a baseline's.

    Notes
    -----
    Memory 2 GB for boxes of 60^3 cells; one box of that size takes about a minute on one core for six mass bins.
    """
    target = check_output(out, overwrite=force, inputs=[*paths, *tune_on])
    boxes = [SimulatedBox.open(path) for path in paths]
    refuse_broken([*paths, *tune_on])
    tuning = [SimulatedBox.open(path) for path in tune_on]
    _check(boxes, tuning, painters, draws=draws, number_density=number_density)
    lightest = max(float(one.halos.masses.min()) for one in (*boxes, *tuning))
    ranges = mass_ranges([painter.card.mass_edges for painter in painters.values()], resolved=lightest)
    with progress_bar("baselines", total=len(tuning) + len(ranges)) as advance:
        baselines = fit_baselines(tuning, ranges, next(iter(painters.values())), advance)
    scores: dict[tuple[str, str], list[dict[str, float]]] = {}
    rows: dict[str, list[np.ndarray]] = {}
    once: dict[str, np.ndarray] = {}
    steps = 1 + 2 * len(painters) + len(ranges)
    with progress_bar("painting", total=len(boxes) * steps) as advance:
        for simulated in boxes:
            theory = coarser_twin(simulated, next(iter(painters.values())))
            advance(1)
            _measure_box(
                simulated, theory, painters, baselines, ranges, draws=draws, number_density=number_density,
                scores=scores, rows=rows, once=once, advance=advance,
            )  # fmt: skip
    arrays = {name: np.stack(values) for name, values in rows.items()} | once
    models = [*painters, LOCAL, BIASED]
    labels = [one.label for one in ranges]
    results: list[dict[str, Any]] = []
    for (model, sample), entries in scores.items():
        found = {key: average([entry[key] for entry in entries]) for key in entries[0]}
        found |= (
            catalogue_scores(arrays, model) if sample == CATALOGUE else pooled_scores(arrays, model, sample)
        )
        results.append({"model": model, "sample": sample, "scores": found})
    results.sort(key=lambda row: ([*labels, CATALOGUE].index(row["sample"]), models.index(row["model"])))
    first = boxes[0]
    inputs = {"draws": draws, "number_density": number_density, **settings}
    record = {
        "schema": SCHEMA,
        "kind": "paint",
        "boxes": [Path(path).name for path in paths],
        "settings": inputs,
        "models": models,
        "baselines": [LOCAL, BIASED],
        "samples": labels,
        "baseline_settings": {
            one.label: {
                "form": local.form,
                "smoothing": local.smoothing,
                "environment": local.environment,
                "exponent": local.exponent,
                "bias": bias,
            }
            for one, (local, bias) in zip(ranges, baselines, strict=True)
        },
        "tuned_on": [Path(path).name for path in tune_on],
        "box": {
            "size": first.box.size,
            "cells": int(arrays["truth/slice/density"].shape[0]),
            "redshift": first.redshift,
            "cosmology": cosmology_settings(first.cosmology),
        },
        "results": results,
        "goals": {name: goals_reached(results, name, labels) for name in painters},
        "provenance": provenance(settings=inputs, inputs=[*paths, *tune_on]),
    }
    evaluation = Evaluation(record, arrays)
    with atomic_output(target, overwrite=force) as temporary:
        evaluation.save(temporary)
        (temporary / "scores.md").write_text(paint_markdown(record), encoding="utf-8")
        if figures:
            from peculiar.workflows.figures import draw_evaluation

            draw_evaluation(evaluation, temporary / "figures")
    return target


def _measure_box(
    simulated: SimulatedBox,
    theory: MatterFields,
    painters: Mapping[str, HaloPainter],
    baselines: Sequence[tuple[LocalBias, float]],
    ranges: Sequence[MassRange],
    *,
    draws: int,
    number_density: float,
    scores: dict[tuple[str, str], list[dict[str, float]]],
    rows: dict[str, list[np.ndarray]],
    once: dict[str, np.ndarray],
    advance: Callable[[int], None],
) -> None:
    """Measure every model on one box; scores, arrays by box, and arrays of the first box are added to."""
    density = theory.density
    counted = halos_in_cells(simulated, density.box, ranges)
    seeds = [simulated.seed * 1000 + i for i in range(draws)]
    drawn: dict[str, tuple[list[Tensor], Tensor]] = {}
    for name, painter in painters.items():
        painter.check(density.box, simulated.cosmology, redshift=simulated.redshift)
        mean = painter.mean_counts(density).data
        # One field of real numbers is all that some painters know: it stands for draws as well.
        fields = [painter.counts(density, seed=seed).data for seed in seeds] if painter.stochastic else [mean]
        drawn[name] = (fields, mean)
        advance(1)

    def add(label: str, arrays: Mapping[str, np.ndarray]) -> None:
        for key, values in arrays.items():
            rows.setdefault(f"{label}/{key}", []).append(np.asarray(values))

    for i, (one, truth, (local, bias)) in enumerate(zip(ranges, counted, baselines, strict=True)):
        limits = tuple(once.setdefault(f"limits/{one.label}", np.array(count_limit(truth))))
        true = true_statistics(truth, density, limits=limits)
        once.setdefault("k", true.pop("k"))
        once.setdefault("modes", true.pop("modes"))
        add(f"{one.label}/truth", true)
        painted: dict[str, Painted] = {}
        for name, (several, mean) in drawn.items():
            bins = one.bins_of(painters[name].card.mass_edges)
            if bins is not None:
                painted[name] = Painted([counts[bins].sum(0) for counts in several], mean[bins].sum(0))
        painted[LOCAL] = Painted(
            [local.draw(density, seed=seed) for seed in seeds], local.mean_counts(density)
        )
        linear = truth.mean() * (1 + bias * density.data[0])
        painted[BIASED] = Painted([linear], linear)
        for name, own in painted.items():
            measured = measure_counts(own.draws, own.mean, truth, density, limits=limits)
            scores.setdefault((name, one.label), []).append(measured.scores)
            add(f"{one.label}/{name}", measured.arrays)
        if i == 0 and "truth/slice/density" not in once:
            once |= _slices(truth, density, painted)
        advance(1)
    for name, painter in painters.items():
        if painter.stochastic:
            found = _measure_catalogues(
                simulated, theory, painter, seeds[:CATALOGUES], number_density, once=once
            )
            scores.setdefault((name, CATALOGUE), []).append({"objects": float(found.pop("objects"))})
            add(f"{name}/{CATALOGUE}", found)
        advance(1)


def _measure_catalogues(
    simulated: SimulatedBox,
    theory: MatterFields,
    painter: HaloPainter,
    seeds: Sequence[int],
    number_density: float,
    *,
    once: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Statistics of painted catalogues, mean over draws, and with "true_" those of the simulated halos."""
    halos = simulated.halos
    low, high = painter.card.mass_edges[0], painter.card.mass_edges[-1]
    kept = (halos.masses >= low) & (halos.masses < high)
    truth = Catalogue(
        halos.positions[kept] % simulated.box.size,
        Box(simulated.box.size),
        redshift=simulated.redshift,
        space="real",
        velocities=halos.velocities[kept],
        masses=halos.masses[kept],
    )
    painted = [painter.catalogue(theory, seed=seed, redshift=simulated.redshift) for seed in seeds]
    number = min(
        round(number_density * simulated.box.volume), len(truth), *(len(catalogue) for catalogue in painted)
    )
    edges = once.setdefault(
        "mass_edges",
        mass_edges_of(
            low, min(high, 1.3 * float(halos.masses.max())), particle=float(halos.masses[0] / halos.counts[0])
        ),
    )
    cells = 2 * round(FINER * theory.density.box.mesh / 2)

    def statistics(catalogue: Catalogue) -> dict[str, np.ndarray]:
        assert catalogue.masses is not None
        masses = np.histogram(catalogue.masses, edges)[0].astype(np.float64)
        chosen = most_massive(catalogue, number / simulated.box.volume)
        return catalogue_statistics(chosen, simulated.cosmology, cells=cells) | {"masses": masses}

    several = [statistics(catalogue) for catalogue in painted]
    found = {key: np.mean([one[key] for one in several], axis=0) for key in several[0]}
    true = {f"true_{key}": values for key, values in statistics(truth).items() if key != "k"}
    return found | true | {"objects": np.float64(number)}


def _slices(truth: Counts, density: Field, painted: Mapping[str, Painted]) -> dict[str, np.ndarray]:
    """Sum (x, y) of a few layers: halos, 2LPT's 1 + delta (its mean), and what each model paints."""
    layers = max(1, round(SLAB / density.box.cell_size))
    found = {
        "truth/slice/density": (1 + density.data[0])[..., :layers].mean(-1),
        "truth/slice/counts": truth[..., :layers].sum(-1),
    }
    for name, own in painted.items():
        found[f"{name}/slice/draw"] = own.draws[0][..., :layers].sum(-1)
        found[f"{name}/slice/mean"] = own.mean[..., :layers].sum(-1)
    return {name: values.numpy() for name, values in found.items()}


def _check(
    boxes: Sequence[SimulatedBox],
    tuning: Sequence[SimulatedBox],
    painters: Mapping[str, HaloPainter],
    *,
    draws: int,
    number_density: float,
) -> None:
    if not boxes or not painters:
        raise InputError("paths and painters must hold at least one simulated box and one painter, got none")
    if not tuning:
        raise InputError(
            "tune_on must hold at least one other box to fit the baselines on, got none: give --tune-on 501-502"
        )
    if draws < 1 or not number_density > 0:
        raise InputError(
            f"draws must be >= 1 and number_density > 0 (h/Mpc)^3, got {draws} and {number_density}"
        )
    first = boxes[0]
    for box in boxes:
        if (box.box, box.redshift, box.cosmology) != (first.box, first.redshift, first.cosmology):
            raise InputError(
                f"boxes must be of one kind and cosmology, got {box.path} unlike {first.path}: evaluate them apart"
            )
    twins = {
        (card.cell_size, card.particles_per_cell, card.dynamics)
        for card in (painter.card for painter in painters.values())
    }
    if len(twins) > 1:
        raise InputError(
            f"painters must see densities of one kind, got {sorted(twins)} (cell size, particles per cell, dynamics): "
            "evaluate them apart"
        )
    for box in tuning:
        if (box.box.size, box.redshift) != (first.box.size, first.redshift):
            raise InputError(
                f"tune_on must hold boxes of the size and redshift of those evaluated, got {box.path}"
            )
    if shared := {box.seed for box in tuning} & {box.seed for box in boxes}:
        raise InputError(f"tune_on must hold boxes that are not evaluated, got the seeds {sorted(shared)}")
    cells = {(painter.card.cell_size, painter.card.particles_per_cell) for painter in painters.values()}
    if len(cells) > 1:
        raise InputError(f"painters must have cells of one size, got {sorted(cells)}: evaluate them apart")
    if taken := {LOCAL, BIASED, "truth"} & set(painters):
        raise InputError(f"painters must not have a baseline's name, got {sorted(taken)}")
