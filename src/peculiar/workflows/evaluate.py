"""Reconstructions against the truth of simulated boxes, all baselines in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peculiar.core import Catalogue, Field, InputError, Reconstructor
from peculiar.core.output import atomic_output, check_output
from peculiar.fields.paint import paint
from peculiar.inference.model_card import DEFAULT_MODEL, available_models
from peculiar.linear import IterativeFFT, LinearTheory
from peculiar.linear.tuning import tune
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run
from peculiar.statistics.modes import catalogue_modes
from peculiar.statistics.multipoles import correlation_plane, power_multipoles
from peculiar.workflows.evaluation import SCHEMA, Evaluation, fraction_name
from peculiar.workflows.measure import derived, joint_edges, measure, object_scores
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.provenance import provenance
from peculiar.workflows.reconstruct import CLASSICAL, at_objects, make_reconstructor
from peculiar.workflows.scoreboard import average, markdown, multipole_scores, range_scores

SLAB_THICKNESS = 23.0  # Mpc/h, as in figure 4 of Xiao et al. 2024
VOLUME_CELLS = 48  # of the fields kept for the interactive view
TUNABLE = (IterativeFFT, LinearTheory)
TUNING_GRID = {"smoothing": (2.0, 3.0, 4.5), "bias": (1.2, 1.5, 1.8, 2.1)}
"""First values of the baselines' tuning, refined twice: smoothing [Mpc/h] and bias."""
PLANE_REACH = 40.0  # Mpc/h, largest separation of xi(r_perp, r_par)


def evaluate(
    run: str | Path,
    *,
    out: str | Path,
    models: Sequence[str] | None = None,
    boxes: Sequence[int] | None = None,
    satellite_fraction: Sequence[float] = (0.0, 0.25),
    line_of_sight: str = "z",
    number_density: float = 3e-3,
    tune_on: Sequence[int] | None = None,
    seed: int = 0,
    figures: bool = True,
    force: bool = False,
) -> Path:
    """Reconstruct simulated boxes with every model and compare with their truth.

    Parameters
    ----------
    run : path
        Directory from `peculiar simulate`, or one box file.
    out : path
        Directory to write: ``scores.json`` and ``scores.md`` (means over boxes with their standard errors),
        ``arrays.npz`` (spectra, joint distributions, slabs), and ``figures/``.
    models : sequence of str, optional
        Any of "linear", "iterative", "wiener", names of shipped networks, and paths of .safetensors files; default:
        the default network and every baseline. The iterative FFT reconstruction always runs: the others are compared
        with it.
    boxes : sequence of int, optional
        Seeds; default: every box of the run.
    satellite_fraction : sequence of float
        Fractions of satellites in the catalogues, one evaluation each.
    line_of_sight : "x", "y" or "z"
    number_density : float
        Of the tracers [(h/Mpc)^3].
    tune_on : sequence of int, optional
        Seeds of boxes of the run, others than those evaluated, on which smoothing and bias of linear theory and of the
        iterative FFT are tuned for least velocity error, at each satellite fraction by itself; their defaults where
        not given.
    seed : int
        Of the satellites.
    figures : bool
        Also draw the figures, as PDF and PNG.
    force : bool
        Replace an evaluation that is there.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If the run lacks a seed, a model is unknown or named twice, or a setting is out of range.

    Notes
    -----
    Boxes are read one at a time; the memory is that of one box and one reconstruction.
    """
    target = check_output(out, overwrite=force, inputs=[run])
    paths = open_run(run, boxes)
    _check(satellite_fraction, line_of_sight, number_density)
    if models is None:
        models = [*(name for name in available_models() if name == DEFAULT_MODEL), *CLASSICAL]
    tuning = [] if tune_on is None else open_run(run, tune_on)
    if shared := set(tuning) & set(paths):
        raise InputError(
            f"tune_on must name boxes that are not evaluated, got {sorted(p.name for p in shared)}"
        )
    reconstructors, baselines = _reconstructors(models)
    boxes_of_run = [SimulatedBox.open(path) for path in [*paths, *tuning]]
    for one in boxes_of_run:
        if (one.box, one.redshift) != (boxes_of_run[0].box, boxes_of_run[0].redshift):
            raise InputError(
                f"boxes must be of one kind, got {one.path} beside {paths[0]}: evaluate them apart"
            )
    refuse_broken([*paths, *tuning])
    settings = {
        "run": str(run),
        "models": list(models),
        "satellite_fraction": [float(value) for value in satellite_fraction],
        "line_of_sight": line_of_sight,
        "number_density": number_density,
        "tune_on": [path.name for path in tuning],
    }
    observation = {"number_density": number_density, "line_of_sight": line_of_sight, "seed": seed}
    tuned = {fraction: list(reconstructors) for fraction in satellite_fraction}
    if tuning:
        with progress_bar("baselines tuned", total=len(satellite_fraction)) as advance:
            for fraction in satellite_fraction:
                tuned[fraction] = _tuned(
                    reconstructors, tuning, {**observation, "satellite_fraction": fraction}
                )
                advance(1)
    collected = _Collected(reconstructors, satellite_fraction, line_of_sight)
    with progress_bar(
        "reconstructions", total=len(paths) * len(satellite_fraction) * len(reconstructors)
    ) as advance:
        for path in paths:
            box = SimulatedBox.open(path)
            truth = derived({"density": box.density, "velocity": box.velocity, "momentum": box.momentum})
            collected.start_box(box, truth)
            for fraction in satellite_fraction:
                observed, real = (
                    box.catalogue(satellite_fraction=fraction, space=space, **observation)  # type: ignore[arg-type]
                    for space in ("redshift", "real")
                )
                collected.start_catalogue(fraction, observed, real)
                reference = None
                for reconstructor in tuned[fraction]:
                    fields = reconstructor.reconstruct(observed, cells=box.box.mesh, cosmology=box.cosmology)
                    predicted = derived(fields)
                    reference = predicted if reference is None else reference
                    collected.add(fraction, reconstructor.name, predicted, reference, observed, box)
                    advance(1)
    record = {
        "schema": SCHEMA,
        "boxes": [path.name for path in paths],
        "settings": settings,
        "models": collected.names,
        "baselines": baselines,
        "baseline_settings": {
            fraction_name(fraction): {
                one.name: {"smoothing": one.smoothing, "bias": one.bias}
                for one in row
                if isinstance(one, TUNABLE)
            }
            for fraction, row in tuned.items()
        },
        "box": collected.geometry,
        "slab_axis": thin_axis(line_of_sight),
        "results": collected.results(),
        "provenance": provenance(settings=settings, inputs=paths, seed=seed),
    }
    evaluation = Evaluation(record, collected.arrays())
    with atomic_output(target, overwrite=force) as temporary:
        evaluation.save(temporary)
        (temporary / "scores.md").write_text(markdown(record), encoding="utf-8")
        if figures:
            from peculiar.workflows.figures import draw_evaluation

            draw_evaluation(evaluation, temporary / "figures")
    return target


class _Collected:
    """What has been measured so far: one row a box, or sums over boxes for counts."""

    def __init__(
        self, reconstructors: Sequence[Reconstructor], fractions: Sequence[float], line_of_sight: str
    ) -> None:
        self.names = [reconstructor.name for reconstructor in reconstructors]
        self.fractions = list(fractions)
        self.line_of_sight = line_of_sight
        self.geometry: dict[str, Any] = {}
        self._rows: dict[str, list[np.ndarray]] = {}
        self._sums: dict[str, np.ndarray] = {}
        self._once: dict[str, np.ndarray] = {}
        self._scores: dict[tuple[str, str], list[dict[str, float]]] = {}
        self._edges: dict[str, np.ndarray] = {}
        self._truth: dict[str, Field] = {}
        self._plane_edges = np.empty(0)

    def start_box(self, box: SimulatedBox, truth: dict[str, Field]) -> None:
        """Take the truth of the next box."""
        self._truth = truth
        geometry = {"size": box.box.size, "cells": box.box.mesh, "redshift": box.redshift}
        multipoles = power_multipoles(truth["density"], line_of_sight=self.line_of_sight)  # type: ignore[arg-type]
        self._append("truth/multipoles", multipoles.power)
        if self.geometry:
            return
        self.geometry = geometry
        self._edges = joint_edges(truth)
        cell = box.box.cell_size
        steps = int(min(PLANE_REACH, box.box.size / 2 - cell) / cell)
        # Bins are centred on the separations that the mesh holds; the first takes 0 and 1 together, as 0 alone is few.
        self._plane_edges = np.concatenate([[0.0], (np.arange(1, steps + 1) + 0.5) * cell])
        self._once["separation"] = 0.5 * (self._plane_edges[1:] + self._plane_edges[:-1])
        self._once |= {f"edges/{name}": values for name, values in self._edges.items()}
        self._once["multipole_k"] = multipoles.k
        self._keep("truth", truth)

    def start_catalogue(self, fraction: float, observed: Catalogue, real: Catalogue) -> None:
        """Measure a catalogue before any reconstruction."""
        label = fraction_name(fraction)
        cells = self.geometry["cells"]
        modes = catalogue_modes(observed, cells)
        multipoles = power_multipoles(modes, line_of_sight=self.line_of_sight)  # type: ignore[arg-type]
        self._append(f"{label}/tracers/multipoles", multipoles.power)
        self._append(f"{label}/tracers/xi_redshift", self._plane(modes))
        self._append(f"{label}/tracers/xi_real", self._plane(catalogue_modes(real, cells)))
        if f"{label}/tracers/slab/tracers" not in self._once:
            counts = paint(observed.positions, observed.box.with_cells(cells))
            self._once[f"{label}/tracers/slab/tracers"] = self._slab(counts.numpy() / float(counts.mean()))

    def add(
        self,
        fraction: float,
        name: str,
        predicted: dict[str, Field],
        reference: dict[str, Field],
        observed: Catalogue,
        box: SimulatedBox,
    ) -> None:
        """Measure one reconstruction of the box."""
        label = f"{fraction_name(fraction)}/{name}"
        measured = measure(predicted, self._truth, edges=self._edges, reference=reference)
        objects = at_objects(observed, predicted, cosmology=box.cosmology)
        back = observed.replace(positions=objects.positions_real, space="real")
        scores = measured.scores | object_scores(observed, objects.v_los)
        self._scores.setdefault((fraction_name(fraction), name), []).append(scores)
        self._once["k"] = measured.k
        for key, values in measured.spectra.items():
            self._append(f"{label}/{key}", values)
        for key, values in measured.counts.items():
            self._sums[f"{label}/{key}"] = self._sums.get(f"{label}/{key}", 0) + values
        multipoles = power_multipoles(predicted["density"], line_of_sight=self.line_of_sight)  # type: ignore[arg-type]
        self._append(f"{label}/multipoles", multipoles.power)
        self._append(f"{label}/xi_moved", self._plane(catalogue_modes(back, self.geometry["cells"])))
        if f"{label}/slab/density" not in self._once:
            self._keep(label, predicted)

    def results(self) -> list[dict[str, Any]]:
        """Return the scores averaged over boxes, one entry per satellite fraction and model."""
        entries = []
        for (fraction, name), boxes in self._scores.items():
            scores = {key: average([row[key] for row in boxes]) for key in boxes[0]}
            label = f"{fraction}/{name}"
            names = [
                key.removeprefix(f"{label}/power/") for key in self._rows if key.startswith(f"{label}/power/")
            ]
            power = {field: np.stack(self._rows[f"{label}/power/{field}"]) for field in names}
            true = {field: np.stack(self._rows[f"{label}/true_power/{field}"]) for field in names}
            scores |= range_scores(self._once["k"], power, true)
            scores |= multipole_scores(
                self._once["multipole_k"],
                dict(zip((0, 2, 4), np.stack(self._rows[f"{label}/multipoles"], axis=1), strict=True)),
                dict(zip((0, 2, 4), np.stack(self._rows["truth/multipoles"], axis=1), strict=True)),
            )
            entries.append({"satellite_fraction": float(fraction), "model": name, "scores": scores})
        return entries

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array, (box, ...) where boxes have rows of their own."""
        rows = {key: np.stack(values) for key, values in self._rows.items()}
        return rows | self._sums | self._once

    def _append(self, key: str, values: np.ndarray) -> None:
        self._rows.setdefault(key, []).append(values)

    def _plane(self, modes: Any) -> np.ndarray:
        edges = self._plane_edges
        plane = correlation_plane(
            modes,
            across_edges=edges,
            along_edges=edges,
            line_of_sight=self.line_of_sight,  # type: ignore[arg-type]
        )
        return plane.correlation

    def _keep(self, label: str, fields: Mapping[str, Field]) -> None:
        """Keep a slab of the first box, and coarse fields for the interactive view."""
        for name, field in fields.items():
            self._once[f"{label}/slab/{name}"] = self._slab(field.numpy())
        for name in ("density", "velocity"):
            self._once[f"{label}/volume/{name}"] = half(coarsen(fields[name].numpy(), VOLUME_CELLS))

    def _slab(self, data: np.ndarray) -> np.ndarray:
        """Cut (channel, a, b, layer) through the middle, the line of sight in its plane."""
        layers = max(1, round(SLAB_THICKNESS / (self.geometry["size"] / self.geometry["cells"])))
        start = max(0, (data.shape[-1] - layers) // 2)
        thin = 1 + "xyz".index(thin_axis(self.line_of_sight))
        layer = np.moveaxis(data, thin, -1)[..., start : start + layers]
        return half(layer)


def thin_axis(line_of_sight: str) -> str:
    """Axis along which the slab is thin, so that the line of sight lies in its plane."""
    return "x" if line_of_sight == "y" else "y"


def half(data: np.ndarray) -> np.ndarray:
    """Return what a picture needs in half precision; it ends at 65504, which only single voxels of a momentum pass."""
    limit = float(np.finfo(np.float16).max)
    return np.clip(data, -limit, limit).astype(np.float16)


def coarsen(data: np.ndarray, cells: int) -> np.ndarray:
    """Average (channel, x, y, z) over blocks, to at most `cells` along a side; blocks overlap where they must."""
    side = min(cells, data.shape[-1])
    pooled = torch.nn.functional.adaptive_avg_pool3d(torch.from_numpy(data)[None], side)
    return pooled[0].numpy()


def _check(fractions: Sequence[float], line_of_sight: str, number_density: float) -> None:
    if (
        not fractions
        or any(not 0 <= value < 1 for value in fractions)
        or len(set(fractions)) != len(fractions)
    ):
        raise InputError(
            f"satellite_fraction must be distinct values in [0, 1), at least one, got {list(fractions)}"
        )
    if line_of_sight not in ("x", "y", "z"):
        raise InputError(f"line_of_sight must be x, y or z for periodic boxes, got {line_of_sight!r}")
    if not number_density > 0:
        raise InputError(f"number_density must be > 0 (h/Mpc)^3, got {number_density}")


def _tuned(
    reconstructors: Sequence[Reconstructor], paths: Sequence[Path], observation: Mapping[str, Any]
) -> list[Reconstructor]:
    """Return the reconstructors with smoothing and bias of the classical ones tuned on boxes."""
    boxes = [SimulatedBox.open(path) for path in paths]
    validation = [(box.catalogue(**observation), box.velocity) for box in boxes]
    result = []
    for one in reconstructors:
        if isinstance(one, TUNABLE):
            best = tune(type(one), TUNING_GRID, validation, cosmology=boxes[0].cosmology).best
            one = type(one)(**best)  # type: ignore[arg-type]
        result.append(one)
    return result


def _reconstructors(models: Iterable[str]) -> tuple[list[Reconstructor], list[str]]:
    """Return the reconstructors and the baselines' names; the iterative FFT first, the others are compared with it."""
    chosen = {name: make_reconstructor(name)[0] for name in dict.fromkeys(["iterative", *models])}
    names = [reconstructor.name for reconstructor in chosen.values()]
    if len(set(names)) != len(names):
        raise InputError(f"models must have distinct names, got {names}: name each once")
    return list(chosen.values()), [chosen[name].name for name in chosen if name in CLASSICAL]
