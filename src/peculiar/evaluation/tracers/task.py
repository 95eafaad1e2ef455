"""Reconstructions against the truth of simulated boxes, all baselines in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from peculiar.core import Field, InputError, Reconstructor
from peculiar.core.limits import require_density
from peculiar.evaluation.protocol import Progress, Task, open_boxes
from peculiar.evaluation.record import TRUTH, Arrays, Collected, Evaluation, Measured, fraction_name
from peculiar.evaluation.scores import Score
from peculiar.evaluation.table import score_table
from peculiar.evaluation.tracers.measure import (
    derived,
    joint_edges,
    measure,
    object_scores,
    with_residual_ratios,
)
from peculiar.evaluation.tracers.plots import flow_section, fractions_of, reconstructor_label, tracer_plots
from peculiar.evaluation.tracers.rows import (
    PUBLISHED,
    ROWS,
    SOURCE,
    TILES,
    multipole_scores,
    range_scores,
    tuned_text,
)
from peculiar.evaluation.tracers.samples import TracerCase
from peculiar.fields.objects import at_objects
from peculiar.fields.paint import paint
from peculiar.figures.report import Headline, Section, Table
from peculiar.figures.slices import SLAB_THICKNESS, half, thin_axis
from peculiar.figures.style import Plot
from peculiar.figures.volume import VOLUME_CELLS, coarsen
from peculiar.inference.reading import reader_of
from peculiar.linear import IterativeFFT, LinearTheory
from peculiar.linear.tuning import tuned
from peculiar.simulate.mocks import SimulatedBox
from peculiar.statistics.modes import Modes, catalogue_modes
from peculiar.statistics.multipoles import correlation_plane, power_multipoles

TUNABLE = (IterativeFFT, LinearTheory)
TUNING_GRID = {"smoothing": (2.0, 3.0, 4.5, 7.0, 10.0), "bias": (1.2, 1.5, 1.8, 2.1)}
"""First values of the baselines' tuning, refined twice: smoothing [Mpc/h] and bias."""
PLANE_REACH = 40.0  # Mpc/h, largest separation of xi(r_perp, r_par)
TRACERS = "tracers"
"""Stands where a model's name does, for arrays of the catalogues."""


class TracerTask(Task[TracerCase]):
    """Reconstruct simulated boxes from their tracers in redshift space and compare with their truth.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes of one kind and cosmology.
    reconstructors : sequence of Reconstructor
        The first one is what the residual variance of the others is compared with.
    baselines : sequence of str
        Names of those that are classical.
    settings : mapping
        Where the boxes and the networks come from, for the record.
    satellite_fraction : sequence of float
        Fractions of satellites in the catalogues, one sample each.
    line_of_sight : "x", "y" or "z"
    number_density : float
        Of the tracers [(h/Mpc)^3].
    tune_on : sequence of path
        Other boxes, on which smoothing and bias of linear theory and of the iterative FFT are tuned for least velocity
        error, at each satellite fraction by itself; their defaults where not given.
    seed : int
        Of the satellites.

    Raises
    ------
    InputError
        If there are no boxes, they differ in kind, one to tune on is also evaluated, a reconstructor is named twice, or
        a setting is out of range.
    """

    kind = "reconstruct"
    source = SOURCE
    title = "Reconstructions"
    unit = "reconstructions"
    reconstructs = True
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "One slab through the box": ("fig04", "fig05"),
        "Voxel by voxel": ("fig06", "fig07", "fig08", "fig09"),
        "Scale by scale": ("fig10", "fig11", "fig12", "coherence"),
        "Along the line of sight": ("fig13", "fig14"),
    }

    def __init__(
        self,
        paths: Sequence[Path | str],
        reconstructors: Sequence[Reconstructor],
        *,
        baselines: Sequence[str],
        settings: Mapping[str, Any],
        satellite_fraction: Sequence[float] = (0.0, 0.25),
        line_of_sight: Literal["x", "y", "z"] = "z",
        number_density: float = 3e-3,
        tune_on: Sequence[Path | str] = (),
        seed: int = 0,
    ) -> None:
        fractions = [float(value) for value in satellite_fraction]
        if not fractions or any(not 0 <= f < 1 for f in fractions) or len(set(fractions)) != len(fractions):
            raise InputError(
                f"satellite_fraction must be distinct values in [0, 1), at least one, got {fractions}"
            )
        if line_of_sight not in ("x", "y", "z"):
            raise InputError(f"line_of_sight must be x, y or z for periodic boxes, got {line_of_sight!r}")
        require_density(number_density)
        names = [reconstructor.name for reconstructor in reconstructors]
        if len(set(names)) != len(names):
            raise InputError(f"models must have distinct names, got {names}: name each once")
        boxes, tuning = open_boxes(paths, tune_on)
        self.paths, self.tune_on = [box.path for box in boxes], [box.path for box in tuning]
        self.models, self.baselines, self.seed = names, list(baselines), seed
        self.settings = {
            "satellite_fraction": fractions,
            "line_of_sight": line_of_sight,
            "number_density": number_density,
            "tune_on": [path.name for path in self.tune_on],
            **settings,
        }
        self.fractions, self.line_of_sight = fractions, line_of_sight
        self._observation = {"number_density": number_density, "line_of_sight": line_of_sight, "seed": seed}
        for box, fraction in product((*boxes, *tuning), fractions):  # few halos are told before the work
            box.require_catalogue(number_density, satellite_fraction=fraction)
        self._tuned = {fraction: list(reconstructors) for fraction in fractions}
        self._first = boxes[0]
        self._edges: dict[str, np.ndarray] = {}
        cell, size = boxes[0].box.cell_size, boxes[0].box.side
        steps = int(min(PLANE_REACH, size / 2 - cell) / cell)
        # Bins are centred on the separations that the mesh holds; the first takes 0 and 1 together, as 0 alone is few.
        self._plane_edges = np.concatenate([[0.0], (np.arange(1, steps + 1) + 0.5) * cell])

    @property
    def steps(self) -> int:
        """Every model at every fraction of every box."""
        return len(self.paths) * len(self.fractions) * len(self.models)

    @property
    def memory(self) -> int:
        """That of the largest reconstruction."""
        return max(one.memory(self._first.box) for one in self._tuned[self.fractions[0]])

    def tune(self, progress: Progress) -> None:
        """Tune smoothing and bias of the classical ones, at each fraction by itself."""
        if not self.tune_on:
            return
        with progress("baselines tuned", total=len(self.fractions)) as advance:
            for fraction, row in self._tuned.items():
                boxes = [SimulatedBox.open(path) for path in self.tune_on]
                validation = [
                    (box.catalogue(**self._observation, satellite_fraction=fraction), box.velocity)  # type: ignore[arg-type]
                    for box in boxes
                ]
                self._tuned[fraction] = [
                    tuned(one, TUNING_GRID, validation, cosmology=boxes[0].cosmology)
                    if isinstance(one, TUNABLE)
                    else one
                    for one in row
                ]
                advance(1)

    def prepare(self) -> None:
        """Choose the edges of histograms."""
        self._edges = joint_edges(_true_fields(SimulatedBox.open(self.paths[0])))

    def cases(self, path: Path) -> Iterator[TracerCase]:
        """Open the fractions of a box."""
        box = SimulatedBox.open(path)
        truth = _true_fields(box)
        for fraction in self.fractions:
            observed, real = (
                box.catalogue(satellite_fraction=fraction, space=space, **self._observation)  # type: ignore[arg-type]
                for space in ("redshift", "real")
            )
            yield TracerCase(box, fraction, observed, real, truth, first=fraction == self.fractions[0])

    def truth(self, case: TracerCase) -> dict[tuple[str, str], Measured]:
        """Multipoles of matter and tracers, correlations of the tracers, slabs, and what all share."""
        cells = case.simulated.box.mesh
        modes = catalogue_modes(case.observed, cells)
        counts = paint(case.observed.positions, case.observed.box.with_cells(cells))
        tracers = Measured(
            rows={
                "multipoles": self._multipoles(modes).power,
                "xi_redshift": self._plane(modes),
                "xi_real": self._plane(catalogue_modes(case.real, cells)),
            },
            once={"slab/tracers": self._slab(counts.numpy() / float(counts.mean()))},
        )
        found = {(case.sample, TRACERS): tracers}
        if case.first:
            multipoles = self._multipoles(case.truth["density"])
            edges = self._plane_edges
            shared = {f"edges/{name}": values for name, values in self._edges.items()}
            shared |= {"separation": 0.5 * (edges[1:] + edges[:-1]), "multipole_k": multipoles.k}
            found["", TRUTH] = Measured(
                rows={"multipoles": multipoles.power}, once=self._pictured(case.truth), shared=shared
            )
        return found

    def contestants(self, case: TracerCase) -> Mapping[str, Callable[[], Mapping[str, Field]]]:
        """Every reconstructor, with what was tuned at this fraction."""
        mesh, cosmology = case.simulated.box.mesh, case.simulated.cosmology
        return {
            one.name: partial(one.reconstruct, case.observed, cells=mesh, cosmology=cosmology)
            for one in self._tuned[case.fraction]
        }

    def measure(self, case: TracerCase, name: str, prediction: Mapping[str, Field]) -> Measured:
        """Measure a reconstruction against the box's truth, and at the objects."""
        predicted = derived(prediction)
        measured = measure(predicted, case.truth, edges=self._edges)
        objects = at_objects(
            case.observed,
            predicted,
            cosmology=case.simulated.cosmology,
            reader=reader_of(name, cell_size=case.simulated.box.cell_size),
        )
        back = case.observed.replace(positions=objects.positions_real, space="real")
        rows = {
            **measured.rows,
            "multipoles": self._multipoles(predicted["density"]).power,
            "xi_moved": self._plane(catalogue_modes(back, case.simulated.box.mesh)),
        }
        scores = {**measured.scores, **object_scores(case.observed, objects.v_los)}
        pictured = self._pictured(predicted) if case.simulated.path == self.paths[0] else {}
        return replace(measured, scores=scores, rows=rows, once=pictured)

    def compare(self, measured: Mapping[str, Measured]) -> Mapping[str, Measured]:
        """Take residual variances over the first reconstruction's."""
        return with_residual_ratios(measured)

    def pool(
        self, arrays: Arrays, collected: Collected, model: str, sample: str, part: str
    ) -> dict[str, Score]:
        """Scores of mean spectra and multipoles."""
        power, true = (arrays.below(name, model, sample=sample) for name in ("power", "true_power"))
        predicted, truth = (
            dict(zip((0, 2, 4), np.moveaxis(rows, 1, 0), strict=True))
            for rows in (arrays.of("multipoles", model, sample=sample), arrays.of("multipoles", TRUTH))
        )
        return range_scores(arrays.of("k"), power, true) | multipole_scores(
            arrays.of("multipole_k"), predicted, truth, side=self._first.box.side
        )

    def record(self, arrays: Arrays, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Box, slab, and what the baselines were tuned to."""
        for entry in results:
            entry["satellite_fraction"] = float(entry["sample"])
        first = self._first
        return {
            "baseline_settings": {
                fraction_name(fraction): {
                    one.name: {"smoothing": one.smoothing, "bias": one.bias}
                    for one in row
                    if isinstance(one, TUNABLE)
                }
                for fraction, row in self._tuned.items()
            },
            "box": {"size": first.box.side, "cells": first.box.mesh, "redshift": first.redshift},
            "slab_axis": thin_axis(self.line_of_sight),
        }

    @classmethod
    def introduction(cls, evaluation: Evaluation) -> str:
        """What was evaluated, and how the tables are to be read."""
        settings, boxes = evaluation.record["settings"], len(evaluation.record["boxes"])
        return (
            "# Scores\n\n"
            f"Means over {boxes} box{'es' if boxes > 1 else ''}, the standard error of the mean in parentheses; after "
            f"±, the standard deviation over voxels. {settings['number_density']:g} (h/Mpc)^3, line of sight "
            f"{settings['line_of_sight']}. The published figures are of {SOURCE}, measured on its own simulations "
            "(boxes of 600 Mpc/h, without mass weighting where not said). The closest to the ideal is bold."
        )

    @classmethod
    def tables(cls, evaluation: Evaluation) -> list[Table]:
        """One table for each satellite fraction."""
        labels = {name: reconstructor_label(evaluation, name) for name in evaluation.models}
        tuned = "tuned on other boxes" if evaluation.record["settings"]["tune_on"] else "defaults"
        tables = []
        for fraction in fractions_of(evaluation):
            sample = fraction_name(fraction)
            used = tuned_text(evaluation.record["baseline_settings"][sample])
            tables.append(
                score_table(
                    ROWS,
                    evaluation.columns(sample=sample),
                    title=f"{100 * fraction:g} % satellites",
                    note=f"Settings of the baselines ({tuned}): {used}.",
                    names=labels,
                    truth=True,
                    beside=PUBLISHED,
                )
            )
        return tables

    @classmethod
    def plots(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw figures 4 to 14 of the paper, at each satellite fraction."""
        return [
            replace(plot, name=f"{plot.name}_satellites{100 * fraction:02.0f}")
            for fraction in fractions_of(evaluation)
            for plot in tracer_plots(evaluation, fraction)
        ]

    @classmethod
    def shown(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw the figures at the first satellite fraction."""
        return tracer_plots(evaluation, fractions_of(evaluation)[0])

    @classmethod
    def views(cls, evaluation: Evaluation, plots: Sequence[Plot]) -> list[Section]:
        """Return the flow in three dimensions, of the first model and of the truth."""
        return [flow_section(evaluation, next(plot for plot in plots if plot.name == "flow"))]

    @classmethod
    def headlines(cls, evaluation: Evaluation) -> list[Headline]:
        """The first model's key numbers, beside the iterative FFT's and the paper's."""
        columns = evaluation.columns(sample=fraction_name(fractions_of(evaluation)[0]))
        model, baseline = evaluation.models[0], evaluation.record["baselines"][0]
        tiles = []
        for key, label, pattern, published in TILES:
            own = columns[model].get(key)
            if own is None or own["mean"] is None:
                continue
            context = ["on simulated boxes"]
            if model != baseline:
                context.append(f"{baseline} {pattern.format(columns[baseline][key]['mean'])}")
            if published:
                context.append(f"{SOURCE} {published}")
            tiles.append(Headline(pattern.format(own["mean"]), label, "; ".join(context)))
        return tiles

    @classmethod
    def subject(cls, evaluation: Evaluation) -> str:
        """Say what was evaluated."""
        settings, box = evaluation.record["settings"], evaluation.record["box"]
        boxes = len(evaluation.record["boxes"])
        names = ", ".join(reconstructor_label(evaluation, model) for model in evaluation.models)
        return (
            f"Reconstructions by {names} on {boxes} simulated box{'es' if boxes > 1 else ''} of {box['size']:g} Mpc/h "
            f"at z = {box['redshift']:g} with known truth, {settings['number_density']:g} tracers per (Mpc/h)³ in "
            f"redshift space, line of sight {settings['line_of_sight']}. Where nothing else is said, "
            f"{100 * fractions_of(evaluation)[0]:g} % of the tracers are satellites."
        )

    def _multipoles(self, source: Field | Modes) -> Any:
        return power_multipoles(source, line_of_sight=self.line_of_sight)

    def _plane(self, modes: Modes) -> np.ndarray:
        edges, sight = self._plane_edges, self.line_of_sight
        return correlation_plane(
            modes, across_edges=edges, along_edges=edges, line_of_sight=sight
        ).correlation

    def _pictured(self, fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
        """Return a slab of the fields, and coarse fields for the interactive view."""
        slabs = {f"slab/{name}": self._slab(field.numpy()) for name, field in fields.items()}
        coarse = {
            f"volume/{name}": half(coarsen(fields[name].numpy(), VOLUME_CELLS))
            for name in ("density", "velocity")
        }
        return slabs | coarse

    def _slab(self, data: np.ndarray) -> np.ndarray:
        """Cut (channel, a, b, layer) through the middle, the line of sight in its plane."""
        layers = max(1, round(SLAB_THICKNESS / self._first.box.cell_size))
        start = max(0, (data.shape[-1] - layers) // 2)
        thin = 1 + "xyz".index(thin_axis(self.line_of_sight))
        return half(np.moveaxis(data, thin, -1)[..., start : start + layers])


def _true_fields(box: SimulatedBox) -> Mapping[str, Field]:
    return derived({"density": box.density, "velocity": box.velocity, "momentum": box.momentum})
